//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueHint};

use crate::{convert, diff, merge, recover, report, resolve, show, top, view};

/// Looks at heap profiles: any DHAT file, from heapledger, dhat-rs, heapscope or Valgrind
#[derive(Debug, Parser)]
#[command(name = "heapledger", version, max_term_width = 100)]
#[command(after_help = "Examples:
  heapledger top dhat-heap.json --by peak-bytes --group function
  heapledger diff before.json after.json --fail-over 5%

To profile a cargo project: cargo heapledger --help
Exit codes: 0 done, 1 `diff --fail-over` found more growth than allowed, 2 could not be done.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the totals, and who has most
    #[command(after_help = "Examples:
  heapledger top dhat-heap.json
  heapledger top dhat-heap.json --by end-bytes          # what was never freed
  heapledger top dhat-heap.json --by short-lived-blocks # what a reused buffer would save
  heapledger top dhat-heap.json --group own             # lines of the program's own code
  heapledger top dhat-heap.json --group crate --json

Figures: total-bytes, total-blocks, peak-bytes, peak-blocks, end-bytes, end-blocks, max-bytes,
max-blocks, lifetimes, read-bytes, written-bytes, unwritten-bytes, tail-bytes,
short-lived-blocks, reallocs, copied-bytes, allocator-ns; a file has those that its profiler measured.")]
    Top {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        options: top::Options,
    },
    /// Print all that is known of some sites, with their stacks
    #[command(after_help = "Examples:
  heapledger show dhat-heap.json 1          # the first row of `top`
  heapledger show dhat-heap.json my_crate::parse")]
    Show {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        options: show::Options,
    },
    /// Write the whole profile as one HTML page that needs nothing else
    #[command(after_help = "Example:
  heapledger report dhat-heap.json -o profile.html")]
    Report {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        options: report::Options,
    },
    /// Show that page in a browser, served to this machine alone
    #[command(after_help = "Example:
  heapledger view dhat-heap.json")]
    View {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        options: view::Options,
    },
    /// Write a flame graph (SVG)
    #[command(after_help = "Example:
  heapledger flame dhat-heap.json --by peak-bytes -o peak.svg")]
    Flame {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        options: convert::FlameOptions,
    },
    /// Write what other programs open
    #[command(after_help = "Examples:
  heapledger convert dhat-heap.json --to pprof    # dhat-heap.pb.gz; look: go tool pprof -http : …
  heapledger convert dhat-heap.json --to folded -o - | sort | head")]
    Convert {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        options: convert::Options,
    },
    /// Compare two profiles, whatever their addresses and line numbers
    #[command(after_help = "Examples:
  heapledger diff before.json after.json --by total-blocks
  heapledger diff before.json after.json --format markdown >> $GITHUB_STEP_SUMMARY
  heapledger diff before.json after.json --fail-over 5%   # exit code 1 if it grew by more
  heapledger diff before.json after.json --flame change.svg
  heapledger diff <(zcat before.json.gz) after.json

JSON: by, totals {figure: {before, after}}, all_changes (number of sites that differ),
changes [{name, before, after, before_blocks, after_blocks}], the largest change first.")]
    Diff(#[command(flatten)] diff::Options),
    /// Make one profile of many processes' profiles
    #[command(after_help = "Example:
  heapledger merge run-*.json -o all.json --per-process")]
    Merge(#[command(flatten)] merge::Options),
    /// Add the names that a stripped program's profile lacks
    #[command(after_help = "Examples:
  heapledger resolve prof.json --exe target/release/app
  heapledger resolve prof.json --exe app=symbols/app-1.2.debug -o named.json

Frames and files belong together by name; build ids must be the same.")]
    Resolve {
        #[command(flatten)]
        file: File,
        #[command(flatten)]
        options: resolve::Options,
    },
    /// Make a profile of what a killed process has left (`crash_safe`)
    #[command(after_help = "Example:
  heapledger recover dhat-heap.json.4711.crash -o recovered.json

Names come from the program's own files, which the crash file tells: recover what your own process left.")]
    Recover {
        /// The crash file, beside where the profile was to be
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        path: PathBuf,
        #[command(flatten)]
        options: recover::Options,
    },
    /// Print what a shell needs to complete this command
    #[command(after_help = "Example:
  heapledger completions bash > ~/.local/share/bash-completion/completions/heapledger")]
    Completions { shell: clap_complete::Shell },
    /// Print the manual page, or write one for each subcommand
    #[command(after_help = "Example:
  heapledger man | man -l -")]
    Man {
        /// Write a page for each subcommand into this folder
        #[arg(value_hint = ValueHint::DirPath)]
        folder: Option<PathBuf>,
    },
}

#[derive(clap::Args, Debug)]
pub(crate) struct File {
    /// The profile, a DHAT file of version 2, may be compressed with gzip; `-` for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) path: PathBuf,
}
