//! Builds of the fixture, each made once.

use crate::dhat_file::DhatFile;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{LazyLock, Mutex};

pub(crate) const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// A way to build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Build {
    /// The folder below the target folder.
    name: &'static str,
    arguments: &'static [&'static str],
    variables: &'static [(&'static str, &'static str)],
    flags: Flags,
}

#[derive(Clone, Copy, Debug)]
enum Flags {
    None,
    Exact,
    /// Those that make copies visible.
    Copies,
    /// With one that takes some callbacks away again.
    Silenced,
}

pub(crate) const DEBUG: Build = Build {
    name: "exact",
    arguments: &[],
    variables: &[],
    flags: Flags::Exact,
};

/// The one that `scripts/compare-with-valgrind.sh` uses as well.
pub(crate) const RELEASE: Build = Build {
    name: "exact",
    arguments: &["--release"],
    variables: &[],
    flags: Flags::Exact,
};

/// Fat link-time optimization and abort on panic. Little of it, as it is not the speed
/// that is tested.
pub(crate) const LTO: Build = Build {
    name: "lto-abort",
    arguments: &["--release"],
    variables: &[
        ("CARGO_PROFILE_RELEASE_LTO", "fat"),
        ("CARGO_PROFILE_RELEASE_PANIC", "abort"),
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ],
    flags: Flags::Exact,
};

pub(crate) const PLAIN: Build = Build {
    name: "plain",
    arguments: &["--release"],
    variables: &[],
    flags: Flags::None,
};

pub(crate) const COPIES: Build = Build {
    name: "copies",
    arguments: &[],
    variables: &[],
    flags: Flags::Copies,
};

pub(crate) const SILENCED: Build = Build {
    name: "silenced",
    arguments: &[],
    variables: &[],
    flags: Flags::Silenced,
};

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Where all builds are, those of the script too.
pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("../exact")
}

impl Build {
    pub(crate) fn flags(&self) -> String {
        let script = |option: &[&str]| {
            let printed = Command::new(root().join("scripts/exact-flags.sh"))
                .args(option)
                .output()
                .expect("runs the script");
            assert!(printed.status.success(), "{printed:?}");
            String::from_utf8(printed.stdout).expect("flags are text")
        };
        match self.flags {
            Flags::None => String::new(),
            Flags::Exact => script(&[]),
            Flags::Copies => script(&["--copies"]),
            Flags::Silenced => script(&[]) + "\u{1f}-Cllvm-args=-asan-instrument-writes=0",
        }
    }

    /// Cargo, with all that makes this build.
    pub(crate) fn cargo(&self, command: &str) -> Command {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args([command, "--quiet", "--package", "exact-fixture"])
            .args(["--target", TRIPLE])
            .args(self.arguments)
            .current_dir(root())
            .env("CARGO_TARGET_DIR", target().join(self.name))
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags())
            .env("CARGO_PROFILE_DEV_DEBUG", "line-tables-only")
            .envs(self.variables.iter().copied());
        cargo
    }

    /// The folder of the fixture's programs.
    fn programs(&self) -> PathBuf {
        static BUILT: LazyLock<Mutex<Vec<PathBuf>>> = LazyLock::new(Mutex::default);
        let profile = match self.arguments {
            ["--release"] => "release",
            _ => "debug",
        };
        let folder = target().join(self.name).join(TRIPLE).join(profile);
        // One build at a time: they would only take the processors from each other.
        let mut built = BUILT
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if !built.contains(&folder) {
            let output = self
                .cargo("build")
                .args(["--bin", "scenarios"])
                .output()
                .expect("starts cargo");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{self:?}:\n{stderr}");
            built.push(folder.clone());
        }
        folder
    }

    pub(crate) fn run(&self, scenario: &str) -> Ran {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let program = self.programs().join("scenarios");
        let number = COUNT.fetch_add(1, Relaxed);
        let name = format!("exact-{scenario}-{}-{number}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).expect("a folder");
        let output = Command::new(&program)
            .args([scenario, "profile.json"])
            .current_dir(&folder)
            .env("RUST_BACKTRACE", "0")
            .output()
            .expect("runs");
        Ran { folder, output }
    }
}

/// A scenario that was run.
#[derive(Debug)]
pub(crate) struct Ran {
    folder: PathBuf,
    output: Output,
}

impl Ran {
    #[track_caller]
    pub(crate) fn in_order(self) -> Self {
        assert!(self.output.status.success(), "{}", self.stderr());
        self
    }

    pub(crate) fn stderr(&self) -> String {
        format!(
            "{}\n{}",
            self.output.status,
            String::from_utf8_lossy(&self.output.stderr)
        )
    }

    pub(crate) fn profile(&self) -> DhatFile {
        DhatFile::read(&self.folder.join("profile.json"))
    }

    /// The names of the files it has left, and what they hold.
    pub(crate) fn files(&self) -> Vec<(String, DhatFile)> {
        let entries = std::fs::read_dir(&self.folder).expect("its folder");
        let files = entries.map(|entry| {
            let path = entry.expect("entry").path();
            let name = path.file_name().expect("name").to_string_lossy();
            (name.into_owned(), DhatFile::read(&path))
        });
        files.collect()
    }
}

impl Drop for Ran {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.folder);
        }
    }
}
