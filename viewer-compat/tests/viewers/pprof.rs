//! `go tool pprof`.

use std::collections::BTreeMap;

use heapledger_formats::metric::Metric;
use heapledger_formats::model::{Mode, Profile};
use heapledger_formats::pprof::{self, Options};
use viewer_compat::ViewerError;
use viewer_compat::pprof::{Pprof, open_in_pprof, rank_in_pprof};
use viewer_compat::profiles::{self, NAMES};

use crate::{Scratch, sum, written};

fn file(profile: &Profile) -> Scratch {
    let bytes = written(|out| pprof::write(profile, &Options::default(), out));
    Scratch::new("heap.pb.gz", &bytes)
}

fn open(name: &str, profile: &Profile) -> Pprof {
    open_in_pprof(file(profile).path()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The sums that pprof must have come to.
fn totals(profile: &Profile) -> BTreeMap<String, u64> {
    let names: &[(&str, Metric)] = match profile.mode {
        Mode::AdHoc => &[
            ("events/count", Metric::TotalBlocks),
            ("units/units", Metric::TotalBytes),
        ],
        Mode::Copy => &[
            ("copies/count", Metric::TotalBlocks),
            ("bytes/bytes", Metric::TotalBytes),
        ],
        Mode::Heap => &[
            ("alloc_objects/count", Metric::TotalBlocks),
            ("alloc_space/bytes", Metric::TotalBytes),
            ("inuse_objects/count", Metric::EndBlocks),
            ("inuse_space/bytes", Metric::EndBytes),
            ("peak_objects/count", Metric::PeakBlocks),
            ("peak_space/bytes", Metric::PeakBytes),
            ("read_space/bytes", Metric::ReadBytes),
            ("written_space/bytes", Metric::WrittenBytes),
        ],
    };
    let there = names.iter().filter(|(_, metric)| metric.is_in(profile));
    there
        .map(|&(name, metric)| (name.to_owned(), sum(profile, metric)))
        .collect()
}

#[test]
fn opens_every_profile_with_every_sample_type() {
    for sample in profiles::all() {
        let read = open(sample.name, &sample.profile);
        let expected = totals(&sample.profile);
        assert_eq!(read.totals, expected, "{}", sample.name);
        let scratch = file(&sample.profile);
        for sample_type in expected.keys() {
            let (sample_type, _unit) = sample_type.split_once('/').unwrap();
            let ranking = rank_in_pprof(scratch.path(), sample_type)
                .unwrap_or_else(|error| panic!("{}: {error}", sample.name));
            assert!(
                ranking.contains(&format!("Type: {sample_type}")),
                "{ranking}"
            );
        }
    }
}

#[test]
fn inlined_frames_are_lines_of_their_call() {
    let read = open("heap", &profiles::heap());
    let stack: Vec<&[String]> = read.stacks[0]
        .iter()
        .map(|&location| read.locations[location].as_slice())
        .collect();
    assert_eq!(
        stack,
        [
            &["alloc::raw_vec::RawVec<T,A>::grow_one library/alloc/src/raw_vec.rs:334".to_owned()]
                [..],
            &[
                "app::parse src/app.rs:44".to_owned(),
                "app::run src/app.rs:20".to_owned()
            ],
            &["app::main src/main.rs:30".to_owned()],
        ]
    );
}

#[test]
fn names_are_shown_as_they_are() {
    let scratch = file(&profiles::names());
    let raw = open_in_pprof(scratch.path()).unwrap();
    let ranking = rank_in_pprof(scratch.path(), "alloc_space").unwrap();
    for (n, name) in NAMES.iter().enumerate() {
        let frame = format!("{name} src/größe (1)/file.rs:{}", n + 1);
        assert!(raw.locations.contains(&vec![frame]), "{name}");
        // Also where pprof would shorten what it takes for C++.
        assert!(ranking.contains(name), "{name} is not in\n{ranking}");
    }
}

#[test]
fn broken_files_are_refused_and_wrong_sums_are_seen() {
    let profile = profiles::heap();
    let whole = written(|out| pprof::write(&profile, &Options::default(), out));
    let cut = Scratch::new("cut.pb.gz", &whole[..whole.len() / 2]);
    assert!(matches!(
        open_in_pprof(cut.path()),
        Err(ViewerError::Refused(_))
    ));
    let scratch = Scratch::new("heap.pb.gz", &whole);
    let unknown = rank_in_pprof(scratch.path(), "no_such_type");
    assert!(matches!(unknown, Err(ViewerError::Refused(_))));

    let mut other = profile.clone();
    other.points[2].counts.end_bytes += 1;
    assert_ne!(open("heap", &other).totals, totals(&profile));
}
