//! One run of a real program, written in all formats at once: every viewer comes to what the program's
//! own summary says.

use std::fs;
use std::path::Path;
use std::process::Command;

use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use heapledger_formats::read;
use viewer_compat::callgrind::open_in_callgrind_annotate;
use viewer_compat::firefox::Firefox;
use viewer_compat::flame_graph::read_flame_graph;
use viewer_compat::massif::open_in_ms_print;
use viewer_compat::pprof::open_in_pprof;
use viewer_compat::speedscope::Speedscope;
use viewer_compat::strict::read_strictly;

use crate::sum;

#[test]
fn every_viewer_agrees_with_the_summary() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let run = Command::new(env!("CARGO_BIN_EXE_profiled"))
        .arg(folder.path())
        .output()
        .unwrap();
    let summary = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{}: {summary}", run.status);
    let bytes = |line: &str| -> u64 {
        let prefix = format!("heapledger: {line}:");
        let line = summary.lines().find_map(|line| line.strip_prefix(&prefix));
        let number = line.unwrap().split_whitespace().next().unwrap();
        number.replace(',', "").parse().unwrap()
    };
    let (total, peak, end) = (bytes("Total"), bytes("At t-gmax"), bytes("At t-end"));

    let dhat = fs::read_to_string(file("dhat.json")).unwrap();
    read_strictly(&dhat).unwrap();
    let profile = read::from_slice(dhat.as_bytes()).unwrap();
    assert_eq!(sum(&profile, Metric::TotalBytes), total);

    let pprof = open_in_pprof(&file("pprof.pb.gz")).unwrap();
    for (name, bytes) in [
        ("alloc_space", total),
        ("peak_space", peak),
        ("inuse_space", end),
    ] {
        assert_eq!(pprof.totals[&format!("{name}/bytes")], bytes, "{name}");
    }
    let has = |name: &str| {
        let mut frames = pprof.locations.iter().flatten();
        frames.any(|frame| frame.contains(name) && frame.contains("profiled.rs:"))
    };
    assert!(has("profiled::nested") && has("profiled::zeroed_and_grown"));
    let is_inlined = |frames: &Vec<String>| frames.len() > 1;
    assert!(
        pprof.locations.iter().any(is_inlined),
        "inlined frames are lines of their call"
    );

    let firefox = Firefox::open(&file("firefox.json")).unwrap();
    let strategy = Some("native-retained-allocations");
    assert_eq!(firefox.functions("t-0", None).unwrap().sum(), total);
    assert_eq!(firefox.functions("t-0", strategy).unwrap().sum(), end);
    assert_eq!(firefox.memory_range().unwrap(), Some(peak));

    let massif = open_in_ms_print(&file("massif.out")).unwrap();
    assert_eq!(
        massif.snapshots.iter().map(|&(_, bytes)| bytes).max(),
        Some(peak)
    );
    assert_eq!(massif.snapshots.last().map(|&(_, bytes)| bytes), Some(end));

    let callgrind = open_in_callgrind_annotate(&file("callgrind.out")).unwrap();
    let of = |event: &str| {
        callgrind
            .events
            .iter()
            .position(|name| name == event)
            .unwrap()
    };
    for (event, bytes) in [
        ("TotalBytes", total),
        ("PeakBytes", peak),
        ("EndBytes", end),
    ] {
        assert_eq!(callgrind.totals[of(event)], bytes, "{event}");
        let own = callgrind.own.values().map(|figures| figures[of(event)]);
        assert_eq!(own.sum::<u64>(), bytes, "{event}");
    }

    let mut speedscope = Speedscope::start().unwrap();
    speedscope.load(&file("speedscope.json")).unwrap();
    let opened = speedscope.read_back().unwrap();
    let expected: Vec<u64> = Metric::of_profile(&profile)
        .iter()
        .map(|&metric| sum(&profile, metric))
        .collect();
    let seen: Vec<u64> = opened
        .profiles
        .iter()
        .map(|profile| profile.total)
        .collect();
    assert_eq!(seen, expected);
    speedscope.load(&file("folded.txt")).unwrap();
    assert_eq!(speedscope.read_back().unwrap().profiles[0].total, peak);

    for name in ["flame.svg", "diff.svg"] {
        let graph = read_flame_graph(&fs::read_to_string(file(name)).unwrap()).unwrap();
        assert_eq!(graph.total, peak, "{name}");
    }
}

/// The profile of a run of another kind, as its DHAT file has it, and what the run said.
fn run(folder: &Path, kind: &str) -> (Profile, String) {
    let run = Command::new(env!("CARGO_BIN_EXE_profiled"))
        .arg(folder)
        .arg(kind)
        .output()
        .unwrap();
    let summary = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{}: {summary}", run.status);
    let profile = read::from_path(&folder.join("dhat.json")).unwrap();
    (profile, summary)
}

#[test]
fn what_a_run_does_not_have_keeps_no_other_file_from_being_written() {
    let folder = tempfile::tempdir().unwrap();
    let (profile, summary) = run(folder.path(), "ad-hoc");
    // One event in each of four threads.
    assert_eq!(sum(&profile, Metric::TotalBytes), 1 + 2 + 3 + 4);
    let errors: Vec<&str> = summary
        .lines()
        .filter_map(|line| line.strip_prefix("heapledger: error: "))
        .collect();
    let why = "the profile has no peak-bytes; it has: total-bytes, total-blocks";
    assert_eq!(errors.len(), 4, "{summary}");
    for (error, name) in errors
        .iter()
        .zip(["massif.out", "folded.txt", "flame.svg", "diff.svg"])
    {
        assert!(error.contains(name) && error.contains(why), "{error}");
        assert!(!folder.path().join(name).exists(), "{name}");
    }
    let pprof = open_in_pprof(&folder.path().join("pprof.pb.gz")).unwrap();
    assert_eq!(pprof.totals["units/units"], 10);
    assert_eq!(pprof.totals["events/count"], 4);
    let firefox = Firefox::open(&folder.path().join("firefox.json")).unwrap();
    assert_eq!(firefox.functions("t-0", None).unwrap().sum(), 10);
}

#[test]
fn a_sampled_run_shows_its_estimates_everywhere() {
    let folder = tempfile::tempdir().unwrap();
    let (profile, _) = run(folder.path(), "sampled");
    let extension = profile.extension.as_ref().unwrap();
    assert_eq!(extension.sample_bytes, Some(4096));
    let totals = |metric| sum(&profile, metric);
    let pprof = open_in_pprof(&folder.path().join("pprof.pb.gz")).unwrap();
    assert_eq!(
        pprof.totals["alloc_space/bytes"],
        totals(Metric::TotalBytes)
    );
    assert_eq!(pprof.totals["peak_space/bytes"], totals(Metric::PeakBytes));
    let massif = open_in_ms_print(&folder.path().join("massif.out")).unwrap();
    let last = massif.snapshots.last().map(|&(_, bytes)| bytes);
    assert_eq!(last, Some(totals(Metric::EndBytes)));
    let svg = fs::read_to_string(folder.path().join("flame.svg")).unwrap();
    let graph = read_flame_graph(&svg).unwrap();
    assert_eq!(graph.total, totals(Metric::PeakBytes));
}
