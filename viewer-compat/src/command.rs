//! Programs that are run with a file, and what they print.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::error::ViewerError;

/// A program of the machine, by its name.
pub(crate) fn program(name: &str, package: &str) -> Result<PathBuf, ViewerError> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| missing(name, package))
}

/// A file of a package that `viewers/package.json` names.
pub(crate) fn npm_file(file: &str) -> Result<PathBuf, ViewerError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("viewers/node_modules");
    let path = folder.join(file);
    if path.is_file() {
        Ok(path)
    } else {
        Err(missing(&path.display().to_string(), "npm"))
    }
}

fn missing(what: &str, package: &str) -> ViewerError {
    ViewerError::Missing(format!(
        "{what} is not installed: run scripts/setup.sh, or install the Debian package `{package}`"
    ))
}

/// What a program prints, or what it says when it refuses.
pub(crate) fn printed(command: &mut Command) -> Result<String, ViewerError> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output()?;
    let stderr = String::from_utf8_lossy(&stderr);
    if !status.success() {
        let program = command.get_program().to_string_lossy().into_owned();
        return Err(ViewerError::Refused(format!(
            "{program}: {status}: {stderr}"
        )));
    }
    String::from_utf8(stdout)
        .map_err(|error| ViewerError::Refused(format!("printed no UTF-8: {error}")))
}
