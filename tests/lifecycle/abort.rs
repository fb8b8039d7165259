//! Programs built with `panic = "abort"`: a package of its own, because that
//! setting holds for all that is linked into a program.

use crate::ends::known_blocks_are_in;
use crate::support::Scenario;
use crate::support::child::Child;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("abort/panic_in_main", no_program, |child| {
        panics_and_aborts(&child, "main");
    }),
    Scenario::new("abort/panic_in_a_thread", no_program, |child| {
        panics_and_aborts(&child, "thread");
    }),
    Scenario::new("abort/main_returns", no_program, |child| {
        drop(child);
        known_blocks_are_in(&aborting("returns").run().exited_with(0));
    }),
];

fn no_program() {
    unreachable!("runs another program");
}

const PROGRAM: &str = r#"
#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

#[inline(never)]
fn known_blocks() {
    for bytes in [1000, 2000, 3000] {
        std::mem::forget(std::hint::black_box(Vec::<u8>::with_capacity(bytes)));
    }
    drop(std::hint::black_box(Vec::<u8>::with_capacity(4000)));
}

fn main() {
    let _profiler = heapledger::Profiler::new_heap();
    known_blocks();
    match std::env::var("HEAPLEDGER_TEST_ARGUMENT").as_deref() {
        Ok("main") => panic!("the program's own panic"),
        Ok("thread") => {
            let _ = std::thread::spawn(|| panic!("the program's own panic")).join();
        }
        _ => {}
    }
}
"#;

/// Built once for all scenarios.
static ABORTING: LazyLock<PathBuf> = LazyLock::new(|| {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aborting");
    fs::create_dir_all(folder.join("src")).expect("folder");
    let manifest = format!(
        "[package]\nname = \"aborting\"\nedition = \"2024\"\n\
         [dependencies]\nheapledger = {{ path = {crate_folder:?} }}\n\
         [profile.dev]\npanic = \"abort\"\n\
         [profile.dev.package.\"*\"]\ndebug = false\n\
         [workspace]\n"
    );
    for (name, text) in [("Cargo.toml", &*manifest), ("src/main.rs", PROGRAM)] {
        let file = folder.join(name);
        if fs::read_to_string(&file).ok().as_deref() != Some(text) {
            fs::write(file, text).expect("a file of the package");
        }
    }
    // The same versions as here, which are on this machine.
    let lock = crate_folder.join("Cargo.lock");
    if lock.exists() {
        fs::copy(lock, folder.join("Cargo.lock")).expect("the lock file");
    }
    let target = folder.join("target");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .output()
        .expect("cargo starts");
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    target.join("debug/aborting")
});

fn aborting(argument: &str) -> Child {
    Child::of_program("aborting", &ABORTING).argument(argument)
}

/// The file is written by the panic hook: nothing is unwound, nothing dropped.
fn panics_and_aborts(_child: &Child, place: &str) {
    let ended = aborting(place).run().killed_by(libc::SIGABRT);
    assert!(ended.stderr.contains("the program's own panic"));
    known_blocks_are_in(&ended);
}
