//! A real crate's parser that allocates twice what it needs: the message names
//! the line.
//!
//! The crate is taken from where cargo keeps it, one line of a copy is changed so
//! that it clones what it returns, and a test of a package that depends on the copy
//! fails as a user's test would.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const CRATE: &str = "shlex";

/// The line that returns a word, and what becomes of it.
const BEFORE: &str = "Some(result)";
const AFTER: &str = "Some(result.clone())";

const MANIFEST: &str = r#"
[package]
name = "words"
version = "0.0.0"
edition = "2024"

[dependencies]
heapledger = { path = "HEAPLEDGER" }
shlex = { path = "shlex" }

[profile.dev]
debug = "line-tables-only"

[workspace]
"#;

const TEST: &str = r#"
#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

const LINE: &str = "one two three four five six seven eight nine ten";

#[test]
fn splitting_is_frugal() {
    let (words, heap) = heapledger::measure(|| shlex::split(LINE));
    // Ten words, and the vector's two sizes.
    heapledger::assert_heap!(heap.total_blocks <= 20, heap.max_bytes <= 4096);
    drop(words);
}
"#;

/// Line 77 lets a word grow and line 81 returns it.
const MESSAGE: &str = "\
heapledger: assertion failed: heap.total_blocks <= 20
  left: 23
 right: 20
most total blocks:
         10  shlex::bytes::Shlex::parse_word (shlex/src/bytes.rs:77)
         10  shlex::bytes::Shlex::parse_word (shlex/src/bytes.rs:81)
          3  shlex::split (shlex/src/lib.rs:102)
all of it, for DHAT's viewer: target/heapledger/words.splitting_is_frugal.json
";

/// Where cargo has unpacked the crate.
fn sources() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--offline", "--locked"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo starts");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let packages = metadata["packages"].as_array().expect("packages");
    let package = packages.iter().find(|package| package["name"] == CRATE);
    let manifest = package.expect("a dependency")["manifest_path"].as_str();
    let manifest = Path::new(manifest.expect("a path"));
    manifest.parent().expect("a folder").to_owned()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(fs::copy(&from, &to).expect("copied")),
        }
    }
}

#[test]
fn a_doubled_allocation_is_told_with_its_line() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("doubled");
    // What was built before is used again.
    let _ = fs::remove_dir_all(folder.join("shlex"));
    copy(&sources(), &folder.join("shlex"));
    fs::create_dir_all(folder.join("src")).expect("a folder");
    fs::write(folder.join("src/lib.rs"), TEST).expect("written");
    let manifest = MANIFEST.replace("HEAPLEDGER", env!("CARGO_MANIFEST_DIR"));
    fs::write(folder.join("Cargo.toml"), manifest).expect("written");
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    fs::copy(lock, folder.join("Cargo.lock")).expect("copied");

    let run = || {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["test", "--offline", "--quiet", "--lib"])
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .env("RUST_BACKTRACE", "0")
            .output()
            .expect("cargo starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text, output.stderr)
    };
    let (passes, text, errors) = run();
    assert!(passes, "{text}{}", String::from_utf8_lossy(&errors));

    let path = folder.join("shlex/src/bytes.rs");
    let source = fs::read_to_string(&path).expect("read");
    let before = &source[..source.find(BEFORE).expect("the line")];
    assert_eq!(
        before.lines().count(),
        81,
        "the message is of another version"
    );
    fs::write(&path, source.replacen(BEFORE, AFTER, 1)).expect("written");

    let (passes, text, errors) = run();
    assert!(!passes, "{text}{}", String::from_utf8_lossy(&errors));
    assert!(text.contains(MESSAGE), "{text}");
    assert!(
        folder
            .join("target/heapledger/words.splitting_is_frugal.json")
            .is_file()
    );
}
