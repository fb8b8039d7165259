use std::env;
use std::path::{Path, PathBuf};

use crate::error::ViewerError;

const CHROMIUM_NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
const VALGRIND_DIRS: [&str; 5] = [
    "/usr/libexec/valgrind",
    "/usr/lib/valgrind",
    "/usr/lib/x86_64-linux-gnu/valgrind",
    "/usr/local/libexec/valgrind",
    "/usr/local/lib/valgrind",
];

/// Where the two programs of a check are installed.
#[derive(Clone, Debug)]
pub struct Programs {
    pub chromium: PathBuf,
    pub viewer_page: PathBuf,
}

impl Programs {
    /// Looks in the usual places. `CHROMIUM` (a program) and `DHAT_VIEWER_DIR` (a folder) come first.
    pub fn find() -> Result<Self, ViewerError> {
        Ok(Self {
            chromium: first_file(chromium_candidates())
                .ok_or_else(|| missing("chromium", "chromium"))?,
            viewer_page: first_file(viewer_candidates())
                .ok_or_else(|| missing("Valgrind's DHAT viewer (dh_view.html)", "valgrind"))?,
        })
    }

    /// Checked again at every start: a path given by hand may lead nowhere.
    pub(crate) fn check(&self) -> Result<(), ViewerError> {
        let script = self.viewer_page.with_extension("js");
        for (path, package) in [
            (&self.chromium, "chromium"),
            (&self.viewer_page, "valgrind"),
            (&script, "valgrind"),
        ] {
            if !path.is_file() {
                return Err(missing(&path.display().to_string(), package));
            }
        }
        Ok(())
    }
}

fn missing(what: &str, package: &str) -> ViewerError {
    ViewerError::Missing(format!(
        "{what} is not installed: run scripts/setup.sh, or install the Debian package `{package}`"
    ))
}

fn chromium_candidates() -> Vec<PathBuf> {
    let mut candidates: Vec<PathBuf> = env::var_os("CHROMIUM")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    let path = env::var_os("PATH").unwrap_or_default();
    for dir in env::split_paths(&path) {
        candidates.extend(CHROMIUM_NAMES.iter().map(|name| dir.join(name)));
    }
    candidates
}

fn viewer_candidates() -> Vec<PathBuf> {
    let chosen = env::var_os("DHAT_VIEWER_DIR").map(PathBuf::from);
    chosen
        .into_iter()
        .chain(VALGRIND_DIRS.iter().map(PathBuf::from))
        .map(|dir| dir.join("dh_view.html"))
        .collect()
}

fn first_file(candidates: Vec<PathBuf>) -> Option<PathBuf> {
    candidates
        .into_iter()
        .find(|path: &PathBuf| Path::is_file(path))
}
