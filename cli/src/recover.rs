//! `recover`: a profile of what a process has left that was killed.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use heapledger::{Format, RecoverError};

use crate::convert;
use crate::failure::{Failure, Result};
use crate::output;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The file to write, `-` for standard output; by default the crash file's name with
    /// `.recovered.json`
    #[arg(long, short)]
    output: Option<PathBuf>,
}

pub(crate) fn run(path: &Path, options: &Options, out: &mut dyn Write) -> Result<()> {
    let target = match &options.output {
        Some(path) => path.clone(),
        None => path.with_extension("recovered.json"),
    };
    convert::refuse_loss(path, &target)?;
    // Before the target is touched: what is wrong with the crash file is told as such.
    let profile = profile(path)?;
    output::write(&target, |sink| sink.write_all(&profile))?;
    output::announce(&target, out)
}

/// The profile that a crash file becomes, as a DHAT file.
pub(crate) fn profile(path: &Path) -> Result<Vec<u8>> {
    let mut profile = Vec::new();
    heapledger::recover(path, &Format::Dhat, &mut profile).map_err(|error| {
        let what = match error {
            RecoverError::Io(error) => format!("cannot read it: {error}"),
            other => other.to_string(),
        };
        Failure::of_path(path, what)
    })?;
    Ok(profile)
}
