//! `merge`: many processes' profiles as one.

mod table;

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use heapledger_formats::dhat;
use heapledger_formats::model::Profile;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::failure::{Failure, Result};
use crate::load;
use crate::output;
pub(crate) use table::Merged;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The profiles
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The file to write, `-` for standard output
    #[arg(long, short)]
    output: PathBuf,
    /// Keep what each process had of each point: `top --processes` and `show` tell it
    #[arg(long)]
    per_process: bool,
}

/// A pattern and a name beside it may well mean the same file.
fn refuse_doubles(files: &[PathBuf]) -> Result<()> {
    let mut known = HashSet::new();
    for path in files {
        let Ok(place) = fs::canonicalize(path) else {
            continue;
        };
        if place.is_file() && !known.insert(place) {
            let what = "is given twice, and would be counted twice";
            return Err(Failure::of_path(path, what));
        }
    }
    Ok(())
}

pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<()> {
    refuse_doubles(&options.files)?;
    let bar = ProgressBar::new(options.files.len() as u64);
    let style = "{bar:30} {pos}/{len} files, {eta} left";
    bar.set_style(ProgressStyle::with_template(style).expect("a template of indicatif's own"));
    let merged = merge(&options.files, options.per_process, &bar);
    bar.finish_and_clear();
    let profile = merged?.into_profile();
    let whole = dhat::Options::default();
    output::write(&options.output, |sink| dhat::write(&profile, &whole, sink))?;
    output::announce(&options.output, out)
}

/// While some files are put into the one table, the next are read, as many as there are processors:
/// what is held is that table, and those files. The order is that of the paths, so that the same files
/// make the same profile.
fn merge(files: &[PathBuf], per_process: bool, bar: &ProgressBar) -> Result<Merged> {
    let load = |paths: &[PathBuf]| -> Result<Vec<Profile>> {
        paths.par_iter().map(|path| load::silently(path)).collect()
    };
    let mut merged: Option<Merged> = None;
    let mut batches = files.chunks(rayon::current_num_threads());
    let mut next = batches
        .next()
        .map(|paths| load(paths).map(|profiles| (paths, profiles)))
        .transpose()?;
    while let Some((paths, profiles)) = next {
        let add = || -> Result<()> {
            for (path, profile) in paths.iter().zip(profiles) {
                let merged =
                    merged.get_or_insert_with(|| Merged::like(&profile, path, per_process));
                merged
                    .add(&profile, path)
                    .map_err(|what| Failure::of_path(path, what))?;
                bar.inc(1);
            }
            Ok(())
        };
        let following = batches.next();
        let (added, loaded) = rayon::join(add, || {
            following.map(|paths| load(paths).map(|profiles| (paths, profiles)))
        });
        added?;
        next = loaded.transpose()?;
    }
    merged.ok_or_else(|| Failure::new("there is no file to merge"))
}
