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

use super::project::{self, Package, Project, Wanted};
use super::{Build, crash_files, exact, init, written};
use crate::failure::{Failure, Result};
use crate::terminal::{escaped, escaped_path};
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
    let wanted = match (&options.example, &options.test) {
        (Some(name), _) => Wanted::example(name),
        (_, Some(name)) => Wanted::test(Some(name)),
        (None, None) => Wanted::bin(options.bin.as_deref()),
    };
    profile(&wanted, false, &options.build, &options.arguments, out)
}

pub(crate) fn test(options: &TestOptions, out: &mut dyn Write) -> Result<ExitCode> {
    let wanted = Wanted::test(options.test.as_deref());
    profile(
        &wanted,
        options.lib,
        &options.build,
        &options.arguments,
        out,
    )
}

fn profile(
    wanted: &Wanted<'_>,
    lib: bool,
    build: &Build,
    arguments: &[OsString],
    out: &mut dyn Write,
) -> Result<ExitCode> {
    let manifest_path = build.manifest_path.as_deref();
    let read = |features: &[&str]| Project::read(manifest_path, features);
    let mut features = build.feature_arguments();
    let mut project = read(&features)?;
    let package = project.package(build.package.as_deref(), wanted)?;
    let gates: Vec<String> = package
        .profiling_features()
        .into_iter()
        .map(str::to_owned)
        .collect();
    if !project.has_profiler(package, wanted) {
        match &gates[..] {
            [] => offer(package, build, wanted, out)?,
            [gate] => {
                let shown = escaped(gate);
                writeln!(
                    out,
                    "Building with the feature `{shown}`, which brings the profiler."
                )?;
                features.extend(["--features", gate]);
            }
            several => {
                let what = format!(
                    "{} has a profiler behind several features: choose by --features: {}",
                    package.name,
                    several.join(", ")
                );
                return Err(Failure::new(what));
            }
        }
        project = read(&features)?;
    }
    let package = project.package(build.package.as_deref(), wanted)?;
    let folder = project.target_directory.join("heapledger");
    let mut command = cargo_command(wanted, build, &features, &project, &folder)?;
    if lib {
        command.arg("--lib");
    }
    command.args(["--package", &package.name]);
    if !arguments.is_empty() {
        command.arg("--").args(arguments);
    }
    // A program with the allocator and no profiler of its own is told from outside.
    if !wanted.is_test()
        && std::env::var_os(VARIABLE).is_none()
        && !package.starts_a_profiler(wanted)
    {
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
        return Err(Failure::new(match package.starts_a_profiler(wanted) {
            true => elsewhere(&folders),
            false => no_profile(build, wanted),
        }));
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

/// What may be wrong with a program that has all that it needs.
fn elsewhere(folders: &[PathBuf]) -> String {
    let folders: Vec<String> = folders
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    format!(
        "the program ended and wrote no profile into any of {}: if it puts it elsewhere, look at it with `heapledger view FILE`",
        folders.join(", ")
    )
}

/// What a program lacks that has the crate, and recorded nothing.
fn no_profile(build: &Build, wanted: &Wanted<'_>) -> String {
    let advice = match wanted.is_test() {
        true => TEST_LINES.to_owned(),
        false => format!(
            "`cargo heapledger init{}` adds what it needs",
            wanted.words(build.package.as_deref())
        ),
    };
    format!("the program ended and wrote no profile here: {advice}")
}

/// What tests need.
const TEST_LINES: &str = "a test needs the line `#[global_allocator] static ALLOC: heapledger::Alloc = heapledger::Alloc;`, \
                          and in it `let _profiler = heapledger::Profiler::new_heap();`";

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
    wanted: &Wanted<'_>,
    build: &Build,
    features: &[&str],
    project: &Project,
    folder: &Path,
) -> Result<Command> {
    let mut command = project::cargo();
    command
        .arg(if wanted.is_test() { "test" } else { "run" })
        .args(wanted.arguments())
        .args(["--profile", &build.profile]);
    if let Some(path) = &build.manifest_path {
        command.arg("--manifest-path").arg(path);
    }
    command.args(features);
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
fn offer(package: &Package, build: &Build, wanted: &Wanted<'_>, out: &mut dyn Write) -> Result<()> {
    let is_interactive = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if is_interactive && !wanted.is_test() {
        return init::run(&init::Options::of_run(build, wanted), out);
    }
    let advice = match wanted.is_test() {
        true => format!("`cargo add --dev heapledger`; {TEST_LINES}"),
        false => format!(
            "`cargo heapledger init{}` adds the dependency and two lines",
            wanted.words(build.package.as_deref())
        ),
    };
    Err(Failure::new(format!(
        "{} does not use heapledger yet: {advice}",
        package.name
    )))
}

fn tell(files: &[PathBuf], folder: &Path, open: bool, out: &mut dyn Write) -> Result<()> {
    let reports = folder.join("reports");
    let mut pages: Vec<PathBuf> = Vec::new();
    for path in files {
        // What one file lacks is no reason not to tell of the others, nor to hide how the program ended.
        let profile = match load::profile(path) {
            Ok(profile) => profile,
            Err(why) => {
                writeln!(out, "\nProfile: {why}")?;
                continue;
            }
        };
        writeln!(out)?;
        top::print_summary(&profile, ROWS, out)?;
        writeln!(out, "\nProfile: {}", escaped_path(path))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        // Profiles of one name may lie in several folders.
        let names = (1..).map(|number: u32| match number {
            1 => format!("{name}.html"),
            _ => format!("{name}-{number}.html"),
        });
        let page = names
            .map(|name| reports.join(name))
            .find(|page| !pages.contains(page));
        let page = page.expect("there is always a further number");
        let written = report::page(&profile).and_then(|content| {
            fs::create_dir_all(&reports).map_err(|error| Failure::of_path(&reports, error))?;
            output::write_privately(&page, content.as_bytes())
        });
        match written {
            Ok(()) => {
                writeln!(out, "Report:  {}", escaped_path(&page))?;
                pages.push(page);
            }
            Err(why) => writeln!(out, "Report:  none, because {why}")?,
        }
    }
    let Some(last) = pages.last() else {
        return Ok(());
    };
    if !open {
        writeln!(out, "Open the report in a browser, or run with --open.")?;
    } else if !view::open_browser(&last.display().to_string()) {
        writeln!(
            out,
            "No browser could be started here: open the report yourself."
        )?;
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
