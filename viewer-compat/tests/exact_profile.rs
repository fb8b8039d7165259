//! A profile with reads, writes and counts by byte is shown under every sort metric that the viewer has for
//! them, with the sums that the file has.

use std::path::{Path, PathBuf};
use std::process::Command;

use viewer_compat::{file_sums, open_in_dhat_viewer};

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Builds the program with the flags, into the folder that the tests of exact counts use.
fn program() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let flags = Command::new(root.join("scripts/exact-flags.sh"))
        .output()
        .unwrap();
    assert!(flags.status.success(), "{flags:?}");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../exact/exact");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--release", "--target", TRIPLE])
        .args(["--package", "exact-fixture", "--bin", "micro"])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", &target)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            String::from_utf8(flags.stdout).unwrap(),
        )
        .status()
        .unwrap();
    assert!(status.success());
    target.join(TRIPLE).join("release/micro")
}

#[test]
fn reads_and_writes_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exact.json");
    let run = Command::new(program()).arg(&path).output().unwrap();
    let summary = String::from_utf8(run.stderr).unwrap();
    assert!(run.status.success(), "{summary}");

    let file = std::fs::read_to_string(&path).unwrap();
    let viewed = open_in_dhat_viewer(&file).unwrap();
    viewed.assert_sound();
    assert_eq!(viewed.totals, file_sums(&file));
    assert!(viewed.totals.reads_bytes.unwrap() > 300_000);
    assert!(viewed.totals.writes_bytes.unwrap() > 200_000);
    // Nothing is greyed out.
    assert_eq!(viewed.disabled_metrics, [""; 0]);
    for words in [
        "reads",
        "writes",
        "zero reads or zero writes",
        "low-access",
        "high-access",
    ] {
        let found = viewed
            .metrics
            .iter()
            .any(|metric| metric.label.to_lowercase().contains(words));
        let labels: Vec<_> = viewed.metrics.iter().map(|metric| &metric.label).collect();
        assert!(found, "{words}: {labels:#?}");
    }
    // Counts by byte are drawn: the fields of the structure, and its padding never touched.
    let text = &viewed.metrics[0].text;
    assert!(text.contains("Accesses: {"), "{text}");
}
