//! The examples show what the walk-through tells of them.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds an example as this test was built, unless that was done before.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--example", name, "--target-dir"])
        .arg(profile.parent().unwrap())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "{cargo:?}");
    profile.join("examples").join(name)
}

/// The profile that an example writes.
fn profile(name: &str, file: &str) -> Value {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("example-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    let status = Command::new(example(name))
        .current_dir(&folder)
        .status()
        .unwrap();
    assert!(status.success());
    let text = std::fs::read_to_string(folder.join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Blocks of the points one of whose frames has all of `words`.
fn blocks(profile: &Value, words: &[&str]) -> u64 {
    let frames = profile["ftbl"].as_array().unwrap();
    let has_words = |frame: &Value| {
        let text = frames[frame.as_u64().unwrap() as usize].as_str().unwrap();
        words.iter().all(|word| text.contains(word))
    };
    let points = profile["pps"].as_array().unwrap();
    let wanted = points
        .iter()
        .filter(|point| point["fs"].as_array().unwrap().iter().any(has_words));
    wanted.map(|point| point["tbk"].as_u64().unwrap()).sum()
}

/// The line of an example's source that contains `code`.
fn line(source: &str, code: &str) -> String {
    let index = source.lines().position(|line| line.contains(code));
    format!(".rs:{}:", index.expect(code) + 1)
}

#[test]
fn formatted_strings_are_attributed_to_their_line() {
    let source = include_str!("../examples/formatted_strings.rs");
    let profile = profile("formatted_strings", "dhat-heap.json");
    let at = line(source, "format!");
    let blocks = blocks(&profile, &["formatted_strings::main", &at]);
    assert!(blocks >= 100_000, "{blocks} blocks at {at}");
    let named = profile["ftbl"].as_array().unwrap().iter();
    let nameless: Vec<_> = named
        .filter(|frame| frame.as_str().unwrap().contains("???"))
        .collect();
    assert!(nameless.is_empty(), "{nameless:?}");
}

#[test]
fn borrowing_makes_the_blocks_of_each_line_vanish() {
    let before = profile("log_before", "log_before.json");
    let after = profile("log_after", "log_after.json");
    assert_eq!(blocks(&before, &["process_logs"]), 300_000);
    assert_eq!(blocks(&after, &["process_logs"]), 0);
}

#[test]
fn the_service_spends_its_time_on_labels() {
    let profile = profile("json_service", "json_service.json");
    let frames = profile["ftbl"].as_array().unwrap();
    let allocator_ns = |function: &str| -> u64 {
        let is_of = |frame: &Value| {
            let frame = &frames[frame.as_u64().unwrap() as usize];
            frame.as_str().unwrap().contains(function)
        };
        let points = profile["pps"].as_array().unwrap().iter();
        let points = points.filter(|point| point["fs"].as_array().unwrap().iter().any(is_of));
        let times = points.filter_map(|point| point["heapledger"]["time"].as_object());
        times
            .flat_map(|time| ["alloc_ns", "realloc_ns", "free_ns"].map(|key| &time[key]))
            .map(|ns| ns.as_u64().unwrap())
            .sum()
    };
    let (labels, parser) = (allocator_ns("label_metrics"), allocator_ns("serde_json"));
    assert!(labels > 4 * parser && parser > 0, "{labels} {parser}");
    assert!(profile["heapledger"]["cpu_ns"].as_u64().unwrap() > 0);
}
