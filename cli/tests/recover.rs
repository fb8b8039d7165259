//! A profile of a process that was aborted, by the command.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use support::{heapledger, printed};

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

#[inline(never)]
fn held_to_the_end() {
    std::mem::forget(std::hint::black_box(vec![1_u8; 12_345]));
}

#[test]
#[ignore = "dies: run by the test below"]
fn dies() {
    let _profiler = heapledger::Profiler::builder().crash_safe(true).build();
    held_to_the_end();
    std::process::abort();
}

#[test]
fn what_an_abort_leaves_becomes_a_profile() {
    let folder = tempfile::tempdir().unwrap();
    let died = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "dies"])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(died.status.signal().is_some(), "{died:?}");
    let files = fs::read_dir(folder.path()).unwrap();
    let [crash_file] = &files.map(|file| file.unwrap().path()).collect::<Vec<_>>()[..] else {
        panic!("not one file");
    };
    let crash_file = crash_file.to_str().unwrap();
    let said = printed(["recover", crash_file]);
    let profile = said.trim();
    assert!(profile.ends_with(".recovered.json"), "{said}");
    let shown = printed(["show", profile, "held_to_the_end"]);
    assert!(shown.contains("12,345"), "{shown}");
    let top = printed(["top", profile]);
    assert!(
        top.contains("\nRecovered from what the process left"),
        "{top}"
    );
    let again = printed(["recover", crash_file, "-o", "-"]);
    assert_eq!(again, fs::read_to_string(profile).unwrap());

    let refused = heapledger(["recover", profile]);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(why.contains("not a crash file of heapledger"), "{why}");
    let missing = heapledger(["recover", "no/such/file.crash"]);
    assert_eq!(missing.status.code(), Some(2));
}
