//! `cargo heapledger`: profiles the project that one stands in.

mod crash_files;
mod exact;
mod init;
mod main_function;
mod profilers;
mod project;
mod run;
mod written;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::args::Command;
use crate::failure::Result;

/// What cargo starts: its own name and the subcommand's come first.
#[derive(Debug, Parser)]
#[command(name = "cargo", bin_name = "cargo")]
pub(crate) enum Arguments {
    /// Profiles the heap of the project that one stands in, and looks at profiles
    #[command(version, max_term_width = 100)]
    #[command(
        after_help = "From nothing to a flame graph, in the folder of a project:
  cargo heapledger init         # adds the dependency and two lines, after showing them
  cargo heapledger run --open   # builds, runs, and opens the report

A program with heapledger has its profile also where Ctrl-C or a crash ends it.
HEAPLEDGER_CRASH_SAFE=0 leaves that out, and the thread that it takes.

Exit codes: that of the program or test, 2 if something else could not be done."
    )]
    Heapledger {
        #[command(subcommand)]
        command: CargoCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CargoCommand {
    /// Build the program as it should be for profiling, run it, and show what it wrote
    #[command(after_help = "Examples:
  cargo heapledger run --open
  cargo heapledger run --bin server -- --port 8000
  cargo heapledger run --exact --example parse    # every byte read and written, on x86-64 Linux")]
    Run(#[command(flatten)] run::RunOptions),
    /// Build tests as they should be for profiling, run them, and show what they wrote
    #[command(after_help = "Examples:
  cargo heapledger test --test heap
  cargo heapledger test -- parsing_is_frugal")]
    Test(#[command(flatten)] run::TestOptions),
    /// Add heapledger to the project, after showing what will change
    #[command(after_help = "Examples:
  cargo heapledger init
  cargo heapledger init --bin server --yes")]
    Init(#[command(flatten)] init::Options),
    #[command(flatten)]
    Look(Command),
}

/// Which project, and how it is built.
#[derive(Args, Debug)]
pub(crate) struct Build {
    /// The package, in a workspace of several
    #[arg(long, short, value_name = "NAME")]
    package: Option<String>,
    /// Path of a Cargo.toml
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<PathBuf>,
    /// Features to build with
    #[arg(long, short = 'F', value_name = "LIST")]
    features: Vec<String>,
    /// Build without the default feature
    #[arg(long)]
    no_default_features: bool,
    /// Build with all features
    #[arg(long)]
    all_features: bool,
    /// The profile to build with; its debug lines are turned on
    #[arg(long, default_value = "release")]
    profile: String,
    /// Count every byte that is read and written (x86-64 Linux; about 4 times slower)
    #[arg(long)]
    exact: bool,
    /// Open the report in a browser, of several profiles the last one's
    #[arg(long)]
    open: bool,
}

impl Build {
    /// As cargo wants to be told.
    fn feature_arguments(&self) -> Vec<&str> {
        let mut arguments: Vec<&str> = Vec::new();
        for features in &self.features {
            arguments.extend(["--features", features]);
        }
        if self.no_default_features {
            arguments.push("--no-default-features");
        }
        if self.all_features {
            arguments.push("--all-features");
        }
        arguments
    }
}

pub(crate) fn run(command: &CargoCommand, out: &mut dyn Write) -> Result<ExitCode> {
    match command {
        CargoCommand::Run(options) => run::run(options, out),
        CargoCommand::Test(options) => run::test(options, out),
        CargoCommand::Init(options) => {
            init::run(options, out)?;
            Ok(ExitCode::SUCCESS)
        }
        CargoCommand::Look(command) => crate::run(command, out),
    }
}
