//! Where files of tests go.

use std::path::{Path, PathBuf};

/// The folder for profiles of failed assertions, in place of the build's.
const FOLDER: &str = "HEAPLEDGER_DIR";

/// The build's folder has this file.
const BUILD_FOLDER_MARK: &str = "CACHEDIR.TAG";

/// Where the profile of a test goes that has failed: `<test name>.json` in
/// `HEAPLEDGER_DIR`, or in `heapledger` in the build's folder.
pub(crate) fn profile_of(test: &str) -> PathBuf {
    let name: String = test_name(test)
        .split("::")
        .collect::<Vec<_>>()
        .join(".")
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let folder = match std::env::var_os(FOLDER) {
        Some(folder) => PathBuf::from(folder),
        None => build_folder().join("heapledger"),
    };
    folder.join(format!("{name}.json"))
}

/// The test function's path, from that of an item inside of it.
pub(crate) fn test_name(item: &str) -> &str {
    let (function, _) = item.rsplit_once("::").unwrap_or((item, ""));
    let end = function.find("::{{closure}}").unwrap_or(function.len());
    &function[..end]
}

/// The folder that cargo builds into; without one, `target` in the current folder.
fn build_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let mut folders = program.ancestors().skip(1);
    let marked = folders.find(|folder| folder.join(BUILD_FOLDER_MARK).is_file());
    marked.map_or_else(|| PathBuf::from("target"), Path::to_owned)
}

/// As it is written from the current folder.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let shown = path.strip_prefix(&here).unwrap_or(path);
    shown.display().to_string()
}

/// A file of the package whose manifest lies in `package`, which is where it
/// was when it was compiled.
pub(crate) fn in_package(package: &str, path: &str) -> PathBuf {
    let folder =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| package.into(), PathBuf::from);
    folder.join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_are_named_by_their_function() {
        assert_eq!(
            test_name("suite::lexer::words::here"),
            "suite::lexer::words"
        );
        assert_eq!(
            test_name("suite::words::{{closure}}::{{closure}}::here"),
            "suite::words"
        );
        let path = profile_of("suite::words::here");
        assert!(path.ends_with("heapledger/suite.words.json"), "{path:?}");
    }
}
