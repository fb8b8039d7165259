//! In a build with the flags of `exact-flags.txt`, compiles `callbacks/` without them,
//! and has it linked. In any other build, does nothing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FLAGS: &str = include_str!("exact-flags.txt");
const LIBRARY: &str = "heapledger_callbacks";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=callbacks");
    println!("cargo:rerun-if-changed=exact-flags.txt");
    println!("cargo:rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    println!("cargo:rustc-check-cfg=cfg(heapledger_callbacks, heapledger_exact)");
    plant_defect_for_sanitizers();

    let given = given_flags();
    let (link, trace): (Vec<&str>, Vec<&str>) = FLAGS
        .lines()
        .filter(|line| line.starts_with('-'))
        .partition(|line| line.starts_with("-Clink-arg="));
    let has = |flag: &&str| given.iter().any(|given| given == flag);
    let traces = trace.iter().any(has);
    if !traces && !link.iter().any(has) {
        return;
    }
    let wanted = link.iter().chain(trace.iter().filter(|_| traces));
    let lacking: Vec<&str> = wanted.filter(|flag| !has(flag)).copied().collect();
    assert!(
        lacking.is_empty(),
        "this has some of the flags of an exact build, but lacks these: {}. \
         Pass all of heapledger's exact-flags.txt; its docs/exact.md tells how",
        lacking.join(" ")
    );
    let target = variable("TARGET");
    let is_known = variable("CARGO_CFG_TARGET_ARCH") == "x86_64"
        && variable("CARGO_CFG_TARGET_OS") == "linux"
        && variable("CARGO_CFG_TARGET_POINTER_WIDTH") == "64";
    assert!(
        is_known,
        "exact builds are for x86-64 Linux, not for {target}; build without the flags of exact-flags.txt"
    );

    let folder = PathBuf::from(variable("OUT_DIR"));
    let object = folder.join("callbacks.o");
    compile(&target, &object);
    let archive = folder.join(format!("lib{LIBRARY}.a"));
    let content = fs::read(&object).expect("the object just compiled");
    fs::write(&archive, archive_of(&content)).expect("OUT_DIR is writable");
    println!("cargo:rustc-link-search=native={}", folder.display());
    println!("cargo:rustc-link-lib=static:+whole-archive={LIBRARY}");
    println!("cargo:rustc-cfg=heapledger_callbacks");
    if traces {
        println!("cargo:rustc-cfg=heapledger_exact");
    }
}

/// `scripts/prove.sh` sees to it that sanitizers find what is wrong.
fn plant_defect_for_sanitizers() {
    const WANTED: &str = "HEAPLEDGER_PLANTED_DEFECT";
    println!("cargo:rerun-if-env-changed={WANTED}");
    println!(
        "cargo:rustc-check-cfg=cfg(heapledger_planted_defect, values(\"race\", \"use after free\"))"
    );
    if let Ok(defect) = env::var(WANTED) {
        println!("cargo:rustc-cfg=heapledger_planted_defect=\"{defect}\"");
    }
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}

/// The target's flags; what follows a lone `-C` is a part of it.
fn given_flags() -> Vec<String> {
    let encoded = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    let mut flags: Vec<String> = Vec::new();
    for flag in encoded.split('\u{1f}') {
        match flags.last_mut() {
            Some(last) if last == "-C" => last.push_str(flag),
            _ => flags.push(flag.to_owned()),
        }
    }
    flags
}

/// The compiler itself, without a wrapper and without the flags: a callback that is
/// traced would call itself.
fn compile(target: &str, object: &Path) {
    let source = Path::new(&variable("CARGO_MANIFEST_DIR")).join("callbacks/lib.rs");
    let status = Command::new(variable("RUSTC"))
        .args(["--edition", "2024", "--crate-type", "lib"])
        .args(["--crate-name", LIBRARY, "--target", target])
        .args(["--emit=obj", "-Copt-level=3", "-Ccodegen-units=1"])
        .args(["-Cpanic=abort", "-Cforce-unwind-tables=yes"])
        .args(["-Crelocation-model=pie", "-Cdebuginfo=line-tables-only"])
        .arg("-o")
        .arg(object)
        .arg(&source)
        .status()
        .expect("starts rustc");
    assert!(status.success(), "{} does not compile", source.display());
}

/// An archive of one object. Without an index: it is linked whole.
fn archive_of(object: &[u8]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    let header = format!(
        "{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
        "callbacks.o/",
        0,
        0,
        0,
        644,
        object.len()
    );
    archive.extend(header.bytes());
    archive.extend(object);
    if !archive.len().is_multiple_of(2) {
        archive.push(b'\n');
    }
    archive
}
