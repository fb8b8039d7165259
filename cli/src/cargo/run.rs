//! `run` and `test`: builds with what a profile needs, runs, and tells where everything is.

use std::ffi::OsString;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use clap::Args;
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use super::project::{self, Package, Project};
use super::{Build, crash_files, exact, init, written};
use crate::failure::{Failure, Result};
use crate::terminal::escaped;
use crate::{load, output, report, top, view};

/// Starts a run in any program that has heapledger's allocator.
const VARIABLE: &str = "HEAPLEDGER";

/// Rows of the table that a run ends with.
const ROWS: usize = 5;

#[derive(Args, Debug)]
pub(crate) struct RunOptions {
    /// The program to run
    #[arg(long, value_name = "NAME")]
    bin: Option<String>,
    /// The example to run
    #[arg(long, value_name = "NAME", conflicts_with = "bin")]
    example: Option<String>,
    /// The test binary to run
    #[arg(long, value_name = "NAME", conflicts_with_all = ["bin", "example"])]
    test: Option<String>,
    #[command(flatten)]
    build: Build,
    /// Arguments of the program
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

#[derive(Args, Debug)]
pub(crate) struct TestOptions {
    /// Only this test binary
    #[arg(long, value_name = "NAME")]
    test: Option<String>,
    /// Only the library's own tests
    #[arg(long, conflicts_with = "test")]
    lib: bool,
    #[command(flatten)]
    build: Build,
    /// Arguments of the test binaries, such as a test's name
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn run(options: &RunOptions, out: &mut dyn Write) -> Result<ExitCode> {
    let (verb, target) = match (&options.bin, &options.example, &options.test) {
        (Some(name), ..) => ("run", vec!["--bin", name]),
        (_, Some(name), _) => ("run", vec!["--example", name]),
        (.., Some(name)) => ("test", vec!["--test", name]),
        (None, None, None) => ("run", Vec::new()),
    };
    profile(
        verb,
        &target,
        &options.build,
        options.bin.as_deref(),
        &options.arguments,
        out,
    )
}

pub(crate) fn test(options: &TestOptions, out: &mut dyn Write) -> Result<ExitCode> {
    let target = match &options.test {
        Some(name) => vec!["--test", name],
        None if options.lib => vec!["--lib"],
        None => Vec::new(),
    };
    profile(
        "test",
        &target,
        &options.build,
        None,
        &options.arguments,
        out,
    )
}

fn profile(
    verb: &str,
    target: &[&str],
    build: &Build,
    bin: Option<&str>,
    arguments: &[OsString],
    out: &mut dyn Write,
) -> Result<ExitCode> {
    let mut project = Project::read(build.manifest_path.as_deref())?;
    if !project.has_profiler() {
        offer(&project, build, bin, out)?;
        project = Project::read(build.manifest_path.as_deref())?;
    }
    let package = project.package(build.package.as_deref())?;
    let folder = project.target_directory.join("heapledger");
    let mut command = cargo_command(verb, target, build, &project, &folder)?;
    command.args(["--package", &package.name]);
    if !arguments.is_empty() {
        command.arg("--").args(arguments);
    }
    // A program with the allocator and no profiler of its own is told from outside.
    if verb == "run" && std::env::var_os(VARIABLE).is_none() && !package.starts_a_profiler() {
        command.env(VARIABLE, "out=dhat-heap.json");
    }
    if std::env::var_os(crash_files::VARIABLE).is_none() {
        command.env(crash_files::VARIABLE, "1");
    }
    out.flush()?;
    let start = SystemTime::now();
    let status = to_its_end(&mut command)?;
    let folders = folders(package, &project);
    crash_files::recover(start, &folders, out)?;
    let files = written::since(start, &folders);
    tell(&files, &folder, build.open, out)?;
    if files.is_empty() && status.success() {
        return Err(Failure::new(
            "the program ended and wrote no profile here: does its main function begin with \
             `let _profiler = heapledger::Profiler::new_heap();`?",
        ));
    }
    Ok(exit_code(status))
}

/// Ctrl-C is the program's as long as it runs; what is to be told of it comes after.
fn to_its_end(command: &mut Command) -> Result<ExitStatus> {
    let is_over = Arc::new(AtomicBool::new(false));
    flag::register_conditional_default(SIGINT, Arc::clone(&is_over))
        .map_err(|error| Failure::new(format!("cannot wait for Ctrl-C: {error}")))?;
    let status = command.status();
    is_over.store(true, Ordering::SeqCst);
    status.map_err(|error| Failure::new(format!("cannot run cargo: {error}")))
}

/// Where profiles go unless a program says otherwise, and where tests put theirs.
fn folders(package: &Package, project: &Project) -> Vec<PathBuf> {
    vec![
        PathBuf::from("."),
        package.folder().to_owned(),
        project.workspace_root.clone(),
        project.target_directory.join("heapledger"),
    ]
}

/// A build folder of its own, so that switching between this and other builds compiles nothing anew.
fn cargo_command(
    verb: &str,
    target: &[&str],
    build: &Build,
    project: &Project,
    folder: &Path,
) -> Result<Command> {
    let mut command = project::cargo();
    command
        .arg(verb)
        .args(target)
        .args(["--profile", &build.profile]);
    if let Some(path) = &build.manifest_path {
        command.arg("--manifest-path").arg(path);
    }
    for features in &build.features {
        command.args(["--features", features]);
    }
    if build.no_default_features {
        command.arg("--no-default-features");
    }
    if build.all_features {
        command.arg("--all-features");
    }
    // Lines for frames, and nothing stripped that names them. Cargo calls the profile `dev` by that name.
    let profile = build.profile.to_uppercase().replace('-', "_");
    command.env(format!("CARGO_PROFILE_{profile}_DEBUG"), "line-tables-only");
    command.env(format!("CARGO_PROFILE_{profile}_STRIP"), "none");
    if build.exact {
        let exact = exact::exact(project)?;
        command.args(["--target", &exact.target]);
        command.env("CARGO_ENCODED_RUSTFLAGS", exact.rustflags);
        command.arg("--target-dir").arg(folder.join("exact-build"));
    } else {
        command.arg("--target-dir").arg(folder.join("build"));
    }
    Ok(command)
}

/// On a terminal one is asked, and need not know of `init`.
fn offer(project: &Project, build: &Build, bin: Option<&str>, out: &mut dyn Write) -> Result<()> {
    let package = project.package(build.package.as_deref())?;
    if !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        let what = format!(
            "{} does not use heapledger yet: `cargo heapledger init` adds the dependency and two lines",
            package.name
        );
        return Err(Failure::new(what));
    }
    let options = init::Options::of_run(build, bin);
    init::run(&options, out)
}

fn tell(files: &[PathBuf], folder: &Path, open: bool, out: &mut dyn Write) -> Result<()> {
    let reports = folder.join("reports");
    for path in files {
        let profile = load::profile(path)?;
        let name = path.with_extension("html");
        let page = reports.join(name.file_name().unwrap_or_default());
        fs::create_dir_all(&reports).map_err(|error| Failure::of_path(&reports, error))?;
        let content = report::page(&profile);
        output::write(&page, |sink| sink.write_all(content.as_bytes()))?;
        writeln!(out)?;
        top::print_summary(&profile, ROWS, out)?;
        writeln!(out, "\nProfile: {}", escaped(&path.display().to_string()))?;
        writeln!(out, "Report:  {}", escaped(&page.display().to_string()))?;
        if open {
            view::open_browser(&page.display().to_string());
        }
    }
    if !files.is_empty() && !open {
        writeln!(out, "Open the report in a browser, or run with --open.")?;
    }
    Ok(())
}

/// The program's own, as a shell tells it.
fn exit_code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal: Option<i32> = None;
    let code = status.code().or_else(|| Some(128 + signal?));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
