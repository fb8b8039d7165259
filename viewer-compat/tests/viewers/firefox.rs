//! Firefox Profiler: its own format, and DHAT files, which it opens as well.

use std::thread;

use heapledger_formats::firefox::{self, Options};
use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use viewer_compat::ViewerError;
use viewer_compat::firefox::{Firefox, Source};
use viewer_compat::profiles::{self, NAMES, Sample};

use crate::{Scratch, dhat, sum, written};

fn file(profile: &Profile) -> Scratch {
    let bytes = written(|out| firefox::write(profile, &Options::default(), out));
    Scratch::new("profile.json", &bytes)
}

fn open(name: &str, file: &Scratch) -> Firefox {
    Firefox::open(file.path()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Call trees and the figures that they are of, in Firefox's order: first the main one, then by name.
fn threads(profile: &Profile) -> Vec<(String, Metric)> {
    let all = [
        Metric::TotalBytes,
        Metric::PeakBytes,
        Metric::EndBytes,
        Metric::TotalBlocks,
    ];
    let mut threads: Vec<_> = all
        .into_iter()
        .filter(|metric| metric.is_in(profile))
        .map(|metric| (metric.title(profile), metric))
        .collect();
    threads[1..].sort_by(|a, b| a.0.cmp(&b.0));
    threads
}

/// Opens a few at a time: the program waits for itself most of the time.
fn open_all(check: impl Fn(&Sample) + Sync) {
    let samples = profiles::all();
    for some in samples.chunks(4) {
        thread::scope(|scope| {
            for sample in some {
                // Of an empty profile there is nothing to show, which it says.
                if !sample.profile.points.is_empty() {
                    scope.spawn(|| check(sample));
                }
            }
        });
    }
}

#[test]
fn opens_every_profile() {
    open_all(|Sample { name, profile }| {
        let viewer = open(name, &file(profile));
        for (number, (title, metric)) in threads(profile).into_iter().enumerate() {
            let functions = viewer.functions(&format!("t-{number}"), None).unwrap();
            assert_eq!(functions.thread(), title, "{name}");
            assert_eq!(functions.sum(), sum(profile, metric), "{name}: {title}");
        }
        if profile.has_lifetimes {
            let allocated = viewer.functions("t-0", Some("native-allocations")).unwrap();
            assert_eq!(allocated.sum(), sum(profile, Metric::TotalBytes), "{name}");
            let strategy = Some("native-retained-allocations");
            let retained = viewer.functions("t-0", strategy).unwrap();
            assert_eq!(retained.sum(), sum(profile, Metric::EndBytes), "{name}");
        }
    });
}

#[test]
fn an_empty_profile_is_opened_without_functions() {
    let empty = profiles::all()
        .into_iter()
        .find(|sample| sample.name == "empty");
    let viewer = open("empty", &file(&empty.unwrap().profile));
    assert_eq!(viewer.memory_range().unwrap(), Some(0));
}

#[test]
fn memory_over_time() {
    let profile = profiles::heap();
    let viewer = open("heap", &file(&profile));
    // From nothing to the largest moment of the timeline or the peak.
    let largest = sum(&profile, Metric::PeakBytes).max(300_000);
    assert_eq!(viewer.memory_range().unwrap(), Some(largest));
    viewer.zoom(0.0, 1.5001).unwrap();
    let strategy = Some("native-retained-allocations");
    let retained = viewer.functions("t-0", strategy).unwrap();
    assert_eq!(retained.sum(), sum(&profile, Metric::PeakBytes));
}

#[test]
fn names_files_and_lines_are_shown_as_they_are() {
    let viewer = open("names", &file(&profiles::names()));
    let functions = viewer.functions("t-0", None).unwrap();
    for name in NAMES {
        assert!(
            functions.handle(name).is_some(),
            "no {name} in {:#?}",
            functions.names()
        );
    }
    // One file, and in each of its lines something of one of the functions.
    let expected = Source {
        file: "src/größe (1)/file.rs".to_owned(),
        lines: (1..=NAMES.len() as u64).collect(),
    };
    let handle = functions.handle(NAMES[0]).unwrap();
    assert_eq!(viewer.source(handle).unwrap(), expected);
}

#[test]
fn opens_dhat_files() {
    open_all(|Sample { name, profile }| {
        let scratch = Scratch::new("dhat.json", dhat::text(profile).as_bytes());
        let functions = open(name, &scratch).functions("t-0", None).unwrap();
        assert_eq!(functions.sum(), sum(profile, Metric::TotalBytes), "{name}");
    });
}

#[test]
fn broken_files_are_refused_and_wrong_sums_are_seen() {
    let refused = |text: &str| {
        let scratch = Scratch::new("broken.json", text.as_bytes());
        matches!(Firefox::open(scratch.path()), Err(ViewerError::Refused(_)))
    };
    assert!(refused("{\"meta\":{}}"));
    let text = dhat::text(&profiles::heap());
    assert!(refused(&text.replace("\"fs\":[3,1]", "\"fs\":[3,99]")));

    let mut other = profiles::heap();
    other.points[2].counts.end_bytes += 1;
    let viewer = open("heap", &file(&other));
    let (_, metric) = threads(&other)[2].clone();
    assert_eq!(metric, Metric::EndBytes);
    let functions = viewer.functions("t-2", None).unwrap();
    assert_ne!(functions.sum(), sum(&profiles::heap(), metric));
}
