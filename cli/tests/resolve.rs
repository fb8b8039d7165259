//! A stripped program's profile, and names from the files that were kept.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use support::{heapledger, printed};

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

/// Where the copy of this program that is profiled writes to.
const PROFILE: &str = "RESOLVE_TEST_PROFILE";

#[inline(never)]
fn an_allocation_of_this_test(size: usize) -> Vec<u8> {
    std::hint::black_box(vec![1; size])
}

/// In the test's own process, nothing; in a copy of it, the program that is profiled.
#[test]
fn profiled() {
    let Some(path) = std::env::var_os(PROFILE) else {
        return;
    };
    let _profiler = heapledger::Profiler::builder().file_name(path).build();
    drop(an_allocation_of_this_test(12_345));
}

fn run(program: &str, arguments: &[&Path]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn names_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let stripped = folder.path().join("app");
    let debug = folder.path().join("app.debug");
    fs::copy(std::env::current_exe().unwrap(), &whole).unwrap();
    run("objcopy", &[Path::new("--only-keep-debug"), &whole, &debug]);
    run("objcopy", &[Path::new("--strip-all"), &whole, &stripped]);
    let profile = folder.path().join("prof.json");
    let output = Command::new(&stripped)
        .args(["--exact", "profiled"])
        .env(PROFILE, &profile)
        .output();
    assert!(output.unwrap().status.success());
    let functions = |path: &Path| {
        printed([
            "top".as_ref(),
            path.as_os_str(),
            "--group".as_ref(),
            "function".as_ref(),
            "-n".as_ref(),
            "0".as_ref(),
        ])
    };
    assert!(!functions(&profile).contains("an_allocation_of_this_test"));

    let resolve = |exe: &Path, more: &[&str]| {
        let mut arguments = vec![
            "resolve".as_ref(),
            profile.as_os_str(),
            "--exe".as_ref(),
            exe.as_os_str(),
        ];
        arguments.extend(more.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
        heapledger(arguments)
    };
    // The debug file by its name, the whole program by its build id.
    for exe in [&debug, &whole] {
        let done = resolve(exe, &[]);
        assert!(done.status.success(), "{done:?}");
        let named = folder.path().join("prof.resolved.json");
        let text = functions(&named);
        assert!(
            text.contains("resolve::an_allocation_of_this_test (")
                && text.contains("tests/resolve.rs)"),
            "{text}"
        );
        fs::remove_file(named).unwrap();
    }

    // Another build of the same name is refused.
    let other = folder.path().join("other");
    fs::create_dir(&other).unwrap();
    let other = other.join("app");
    fs::copy(env!("CARGO_BIN_EXE_heapledger"), &other).unwrap();
    let refused = resolve(&other, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("is another build of app: its build id is")
    );

    let refused = resolve(&folder.path().join("none"), &[]);
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("cannot read it")
    );
    let refused = resolve(Path::new(env!("CARGO_BIN_EXE_cargo-heapledger")), &[]);
    assert!(
        String::from_utf8(refused.stderr)
            .unwrap()
            .contains("no file was given for its modules")
    );
}
