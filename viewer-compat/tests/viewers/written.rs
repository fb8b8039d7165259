//! One run of a real program, written in all formats at once: every viewer comes to what the program's
//! own summary says.

use std::fs;
use std::process::Command;

use heapledger_formats::metric::Metric;
use heapledger_formats::read;
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
