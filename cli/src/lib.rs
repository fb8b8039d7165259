//! The companion of heapledger: the commands `heapledger`, which looks at heap profiles, and
//! `cargo heapledger`, which makes them.
//!
//! A profile may come from a stranger: no file that it names is ever opened, and nothing in it reaches
//! a terminal or a page unescaped.
#![forbid(unsafe_code)]

mod args;
mod cargo;
mod top;
mod show;
mod convert;
mod diff;
mod merge;
mod resolve;
mod recover;
mod view;
mod report;
mod manual;
mod load;
mod sites;
mod code;
mod folder;
mod figures;
mod names;
mod notes;
mod output;
mod terminal;
mod failure;
#[cfg(test)]
mod hostile_tests;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use failure::Result;

/// The exit code of a comparison that found too much growth.
const TOO_MUCH: u8 = 1;
/// The exit code of whatever could not be done; clap's own, too.
const FAILED: u8 = 2;

/// The command `heapledger`.
pub fn heapledger() -> ExitCode {
    let arguments = Arguments::parse();
    with_output(|out| run(&arguments.command, out))
}

/// The command `cargo-heapledger`, which cargo starts as `cargo heapledger`.
pub fn cargo_heapledger() -> ExitCode {
    let cargo::Arguments::Heapledger { command } = cargo::Arguments::parse();
    with_output(|out| cargo::run(&command, out))
}

/// Colours only where somebody sees them, and NO_COLOR is not set.
fn with_output(work: impl FnOnce(&mut dyn Write) -> Result<ExitCode>) -> ExitCode {
    let mut out = std::io::BufWriter::new(anstream::stdout().lock());
    let done = work(&mut out).and_then(|code| Ok(out.flush().map(|()| code)?));
    exit_code(done)
}

fn exit_code(done: Result<ExitCode>) -> ExitCode {
    match done {
        Ok(code) => code,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            let red = anstyle::AnsiColor::Red.on_default().bold();
            anstream::eprintln!("{red}error:{red:#} {failure}");
            ExitCode::from(FAILED)
        }
    }
}

fn run(command: &Command, out: &mut dyn Write) -> Result<ExitCode> {
    match command {
        Command::Top { file, options } => top::run(&file.path, options, out)?,
        Command::Show { file, options } => show::run(&file.path, options, out)?,
        Command::Report { file, options } => report::run(&file.path, options, out)?,
        Command::View { file, options } => view::run(&file.path, options, out)?,
        Command::Flame { file, options } => convert::run_flame(&file.path, options, out)?,
        Command::Convert { file, options } => convert::run(&file.path, options, out)?,
        Command::Diff(options) => {
            if !diff::run(options, out)? {
                return Ok(ExitCode::from(TOO_MUCH));
            }
        }
        Command::Merge(options) => merge::run(options, out)?,
        Command::Resolve { file, options } => resolve::run(&file.path, options, out)?,
        Command::Recover { path, options } => recover::run(path, options, out)?,
        Command::Completions { shell } => manual::completions(*shell, out)?,
        Command::Man { folder } => manual::pages(folder.as_deref(), out)?,
    }
    Ok(ExitCode::SUCCESS)
}
