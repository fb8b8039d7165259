//! speedscope: its own format, and folded stacks and pprof's, which it opens as well.

use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use heapledger_formats::{folded, pprof, speedscope};
use viewer_compat::ViewerError;
use viewer_compat::profiles::{self, NAMES};
use viewer_compat::speedscope::{Speedscope, SpeedscopeFile};

use crate::{Scratch, sum, written};

fn file(profile: &Profile) -> Scratch {
    let bytes = written(|out| speedscope::write(profile, &speedscope::Options::default(), out));
    Scratch::new("heap.speedscope.json", &bytes)
}

#[track_caller]
fn open(viewer: &mut Speedscope, name: &str, file: &Scratch) -> SpeedscopeFile {
    let result = viewer.load(file.path()).and_then(|()| viewer.read_back());
    result.unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn opens_every_profile_with_every_figure() {
    let mut viewer = Speedscope::start().unwrap();
    for sample in profiles::all() {
        let (name, profile) = (sample.name, &sample.profile);
        let opened = open(&mut viewer, name, &file(profile));
        let metrics = Metric::of_profile(profile);
        let seen: Vec<(&str, u64)> = opened
            .profiles
            .iter()
            .map(|profile| (profile.name.as_str(), profile.total))
            .collect();
        let titles: Vec<String> = metrics.iter().map(|metric| metric.title(profile)).collect();
        let expected: Vec<(&str, u64)> = titles
            .iter()
            .zip(&metrics)
            .map(|(title, &metric)| (title.as_str(), sum(profile, metric)))
            .collect();
        if metrics.contains(&Metric::MaxBytes) && name.contains("recursion") {
            // Maxima of points that became one are no sums.
            let without = |all: Vec<(&str, u64)>| -> Vec<(String, u64)> {
                let kept = all.into_iter().filter(|(title, _)| !title.contains("most"));
                kept.map(|(title, total)| (title.to_owned(), total))
                    .collect()
            };
            assert_eq!(without(seen), without(expected), "{name}");
        } else {
            assert_eq!(seen, expected, "{name}");
        }
        assert!(
            opened.title.contains(&profile.command),
            "{name}: {}",
            opened.title
        );
        assert_eq!(opened.rows.is_empty(), profile.points.is_empty(), "{name}");
    }
}

#[test]
fn names_files_and_lines_are_shown_as_they_are() {
    let mut viewer = Speedscope::start().unwrap();
    let opened = open(&mut viewer, "names", &file(&profiles::names()));
    for (n, name) in NAMES.iter().enumerate() {
        let frame = format!("{name} src/größe (1)/file.rs:{}", n + 1);
        assert!(
            opened.frames.contains(&frame),
            "{frame} is not in {:#?}",
            opened.frames
        );
        assert!(
            opened.rows.iter().any(|row| row.contains(name)),
            "{:#?}",
            opened.rows
        );
    }
}

#[test]
fn opens_folded_stacks_and_pprof() {
    let mut viewer = Speedscope::start().unwrap();
    let profile = profiles::heap();
    let options = folded::Options {
        metric: Metric::PeakBytes,
        places: true,
    };
    let lines = Scratch::new(
        "folded.txt",
        &written(|out| folded::write(&profile, &options, out)),
    );
    let opened = open(&mut viewer, "folded", &lines);
    assert_eq!(opened.profiles[0].total, sum(&profile, Metric::PeakBytes));
    let bytes = written(|out| pprof::write(&profile, &pprof::Options::default(), out));
    let opened = open(&mut viewer, "pprof", &Scratch::new("heap.pb.gz", &bytes));
    assert_eq!(opened.profiles[0].total, sum(&profile, Metric::TotalBytes));
}

#[test]
fn broken_files_are_refused_and_wrong_sums_are_seen() {
    let mut viewer = Speedscope::start().unwrap();
    let broken = Scratch::new(
        "broken.speedscope.json",
        b"{\"$schema\": 1, \"profiles\": [{}]}",
    );
    let result = viewer.load(broken.path());
    assert!(matches!(result, Err(ViewerError::Refused(_))), "{result:?}");
    let mut other = profiles::heap();
    other.points[0].counts.total_bytes += 1;
    let opened = open(&mut viewer, "heap", &file(&other));
    assert_ne!(
        opened.profiles[0].total,
        sum(&profiles::heap(), Metric::TotalBytes)
    );
}
