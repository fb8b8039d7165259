//! From a path to a profile.

use std::path::Path;

use heapledger_formats::model::Profile;
use heapledger_formats::read;

use crate::failure::{Failure, Result};
use crate::figures::Figure;

pub(crate) fn profile(path: &Path) -> Result<Profile> {
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
