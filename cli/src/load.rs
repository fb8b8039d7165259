//! From a path to a profile.

use std::path::Path;
use std::time::Duration;

use heapledger_formats::model::Profile;
use heapledger_formats::read;
use indicatif::ProgressBar;

use crate::failure::{Failure, Result};
use crate::figures::Figure;
use crate::terminal::escaped;

/// Files that take a moment to read, in bytes.
const LARGE: u64 = 64 << 20;

/// Tells on a terminal that a large file is being read.
pub(crate) fn profile(path: &Path) -> Result<Profile> {
    let is_large = std::fs::metadata(path).is_ok_and(|about| about.len() > LARGE);
    let spinner = is_large.then(|| {
        let name = escaped(&path.display().to_string()).to_string();
        let spinner = ProgressBar::new_spinner().with_message(format!("reading {name}"));
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    });
    let profile = silently(path);
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    profile
}

/// For whoever tells by itself how far it is.
pub(crate) fn silently(path: &Path) -> Result<Profile> {
    read::from_path(path).map_err(|error| Failure::of_path(path, error))
}

/// Fails if the profile does not have the figure that was asked for.
pub(crate) fn check_figure(path: &Path, profile: &Profile, figure: Figure) -> Result<()> {
    if figure.is_in(profile) {
        return Ok(());
    }
    let known = Figure::of_profile(profile)
        .iter()
        .map(Figure::to_string)
        .collect::<Vec<_>>();
    let what = format!("has no {figure}; it has {}", known.join(", "));
    Err(Failure::of_path(path, what))
}
