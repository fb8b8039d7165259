//! What the flags of a build make of it, and what is said where they are lacking.

use crate::builds::{COPIES, DEBUG, PLAIN, RELEASE, SILENCED, root, target};
use std::path::Path;
use std::process::Command;

#[test]
fn without_the_flags_a_line_says_what_to_do() {
    let ran = PLAIN.run("histograms").in_order();
    let stderr = ran.stderr();
    assert!(stderr.contains("no histograms"), "{stderr}");
    assert!(stderr.contains("docs/exact.md"), "{stderr}");
    let profile = ran.profile();
    assert!(!profile.bkacc);
    let counted = profile
        .pps
        .iter()
        .any(|point| point.rb.is_some() || point.wb.is_some() || point.acc.is_some());
    assert!(!counted && !profile.pps.is_empty());
    // Nobody asked for anything: nothing is said.
    let stderr = PLAIN.run("counts").in_order().stderr();
    assert!(!stderr.contains("docs/exact.md"), "{stderr}");
}

#[test]
fn callbacks_that_stay_silent_are_found_out() {
    let ran = SILENCED.run("counts").in_order();
    let stderr = ran.stderr();
    assert!(stderr.contains("does not count all of them"), "{stderr}");
    let profile = ran.profile();
    assert!(!profile.bkacc);
    assert!(profile.pps.iter().all(|point| point.wb.is_none()));
    assert_eq!(profile.sum_of("sparse_block").total_bytes, 1_000_000);
}

#[test]
fn copies_are_profiled_with_their_stacks() {
    for build in [COPIES, RELEASE] {
        let profile = build.run("copies").in_order().profile();
        assert_eq!(
            (&*profile.mode, profile.bkacc),
            ("copy", false),
            "{build:?}"
        );
        let copied = profile.sum_of("copied_here");
        assert_eq!((copied.total_bytes, copied.total_blocks), (3_500, 7));
        let moved = profile.sum_of("moved_here");
        assert_eq!((moved.total_bytes, moved.total_blocks), (300, 1));
        for frame in &profile.ftbl {
            assert!(!frame.contains("heapledger"), "{frame}");
            assert!(
                !frame.contains("__wrap") && !frame.contains("__asan"),
                "{frame}"
            );
        }
    }
}

#[test]
fn without_the_flags_no_copies_are_claimed() {
    let ran = PLAIN.run("copies").in_order();
    let stderr = ran.stderr();
    assert!(stderr.contains("no copy can be recorded"), "{stderr}");
    assert!(ran.files().is_empty(), "{ran:?}");
}

/// The program's own build script and the proc macros of its dependencies are built
/// too, and the program of the test has a harness.
#[test]
fn tests_of_a_program_count_as_well() {
    let output = DEBUG
        .cargo("test")
        .args(["--lib"])
        .env("EXACT_BUILD", "1")
        .output()
        .expect("starts cargo");
    let text = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{stderr}");
    assert!(text.contains("1 passed"), "{text}");
}

/// The build script, with the flags that cargo would tell it of.
#[test]
fn some_of_the_flags_are_not_enough() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("build-script");
    let status = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
        .args(["--edition", "2024", "-o"])
        .arg(&program)
        .arg(root().join("build.rs"))
        .status()
        .expect("starts rustc");
    assert!(status.success());
    let run = |flags: &str, arch: &str| {
        let output = Command::new(&program)
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            .env("TARGET", format!("{arch}-unknown-linux-gnu"))
            .env("CARGO_CFG_TARGET_ARCH", arch)
            .env("CARGO_CFG_TARGET_OS", "linux")
            .env("CARGO_CFG_TARGET_POINTER_WIDTH", "64")
            .output()
            .expect("starts the build script");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), stderr)
    };
    assert!(run("-Cforce-frame-pointers=yes", "x86_64").0);
    let (success, stderr) = run("-C\u{1f}link-arg=-Wl,--wrap=memcpy", "x86_64");
    assert!(!success);
    assert!(
        stderr.contains("lacks these: -Clink-arg=-Wl,--wrap=memmove"),
        "{stderr}"
    );
    let all = DEBUG.flags();
    let (success, stderr) = run(&all, "aarch64");
    assert!(!success);
    assert!(
        stderr.contains("not for aarch64-unknown-linux-gnu"),
        "{stderr}"
    );
}

/// All that Valgrind counts in small cases is counted, and nothing else.
#[test]
fn valgrind_counts_the_same() {
    let output = Command::new(root().join("scripts/compare-with-valgrind.sh"))
        .env("EXACT_TARGET_DIR", target())
        .output()
        .expect("starts the script");
    let text = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{stderr}");
    assert!(text.contains("0 unexplained differences"), "{text}");
}
