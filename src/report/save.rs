//! Puts a file in place whole, or not at all.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Temporary names that may be taken by what earlier, killed runs left behind.
const MAX_TEMPORARY_NAMES: u32 = 100;

/// Why a profile was not saved, in one line.
#[derive(Debug)]
pub(crate) struct SaveError {
    path: PathBuf,
    cause: io::Error,
}

/// Writes to a temporary file beside `path` and renames it, so that a reader never
/// sees half a file and a failure leaves the previous file as it was. Something other
/// than a file (a terminal, a pipe, `/dev/null`) is written to directly.
pub(crate) fn save(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> Result<(), SaveError> {
    let result = match fs::metadata(path) {
        Ok(target) if target.is_dir() => Err(ErrorKind::IsADirectory.into()),
        Ok(target) if !target.is_file() => OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|mut file| write(&mut file)),
        // A file, or nothing, or a link that leads nowhere: the rename replaces it.
        _ => replace(path, write),
    };
    result.map_err(|cause| SaveError {
        path: path.to_owned(),
        cause,
    })
}

fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(ErrorKind::IsADirectory.into());
    }
    let (temporary, mut file) = create_temporary(path.parent().unwrap_or(Path::new("")))?;
    let result = write(&mut file).and_then(|()| {
        drop(file);
        fs::rename(&temporary, path)
    });
    if result.is_err() {
        // The first failure is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// Creates a file that nobody else has, and nobody else may read: a profile names
/// the paths and arguments of the program.
fn create_temporary(folder: &Path) -> io::Result<(PathBuf, File)> {
    let mut options = OpenOptions::new();
    // `create_new` does not follow a link that somebody else put there.
    options.write(true).create_new(true).mode(0o600);
    let mut last = ErrorKind::AlreadyExists.into();
    for attempt in 0..MAX_TEMPORARY_NAMES {
        let path = folder.join(format!(".heapledger-{}-{attempt}.tmp", std::process::id()));
        match options.open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.cause.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                "make room there, or choose a file name on another disk"
            }
            ErrorKind::IsADirectory => "choose the name of a file in it",
            ErrorKind::NotFound | ErrorKind::NotADirectory => {
                "create its directory, or choose another file name"
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                "choose a file name in a directory that this process may write to"
            }
            ErrorKind::AlreadyExists => "delete the files `.heapledger-*.tmp` beside it",
            _ => "choose another file name",
        };
        // Debug form: a path may hold a line break.
        write!(f, "cannot write {:?}: {}; {advice}", self.path, self.cause)
    }
}

impl std::error::Error for SaveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.cause)
    }
}
