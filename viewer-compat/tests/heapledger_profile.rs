//! A program profiled by heapledger: its file opens, and its summary, its file and the viewer agree.

use std::fs;
use std::process::Command;

use viewer_compat::{file_sums, open_in_dhat_viewer};

/// Of `profiled`: its threads times their rounds times the recursion's frames.
const NESTED_BLOCKS: u64 = 4 * 200 * 13;

#[test]
fn a_profiled_program_is_shown_as_it_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dhat.json");
    let run = Command::new(env!("CARGO_BIN_EXE_profiled"))
        .arg(folder.path())
        .output()
        .unwrap();
    let summary = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{}: {summary}", run.status);

    let file = fs::read_to_string(&path).unwrap();
    let viewed = open_in_dhat_viewer(&file).unwrap();
    viewed.assert_sound();
    let totals = &viewed.totals;
    assert_eq!(*totals, file_sums(&file));
    for (line, bytes, blocks) in [
        ("Total", totals.total_bytes, totals.total_blocks),
        ("At t-gmax", totals.at_gmax_bytes, totals.at_gmax_blocks),
        ("At t-end", totals.at_end_bytes, totals.at_end_blocks),
    ] {
        assert_eq!(
            summary_line(&summary, line),
            (bytes.unwrap(), blocks.unwrap()),
            "{line} in:\n{summary}"
        );
    }

    assert!(totals.total_blocks.unwrap() > NESTED_BLOCKS);
    // A megabyte, zeroed and then grown: alive together with what the threads left.
    assert!(totals.at_gmax_bytes.unwrap() >= 1 << 20);
    // What the program leaked: a string for each round of each thread, at least.
    assert!(totals.at_end_blocks.unwrap() >= 4 * 200);
    assert!(viewed.header("Command").unwrap().contains("profiled"));

    for name in [
        "profiled::nested",
        "profiled::doubled",
        "profiled::work",
        "profiled::zeroed_and_grown",
    ] {
        let named = |frame: &String| frame.contains(name) && frame.contains("profiled.rs:");
        assert!(
            viewed.frames.iter().any(named),
            "no frame {name} with its file and line: {:#?}",
            viewed.frames
        );
    }
}

/// The bytes and blocks of `heapledger: NAME: 1,234 bytes in 5 blocks`.
#[track_caller]
fn summary_line(summary: &str, name: &str) -> (u64, u64) {
    let prefix = format!("heapledger: {name}:");
    let line = summary
        .lines()
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("no {prefix:?} in:\n{summary}"));
    let numbers: Vec<u64> = line
        .split_whitespace()
        .filter_map(|word| word.replace(',', "").parse().ok())
        .collect();
    let [bytes, blocks, ..] = numbers[..] else {
        panic!("no two numbers in {line:?}")
    };
    (bytes, blocks)
}
