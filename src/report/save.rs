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

fn create_temporary(folder: &Path) -> io::Result<(PathBuf, File)> {
    let pid = std::process::id();
    create_new(folder, |attempt| format!(".heapledger-{pid}-{attempt}.tmp"))
}

/// Creates a file that nobody else has, and nobody else may read: a profile names
/// the paths and arguments of the program. `name` is asked for another name as long as a file of
/// that name exists.
pub(crate) fn create_new(
    folder: &Path,
    name: impl Fn(u32) -> String,
) -> io::Result<(PathBuf, File)> {
    let mut options = OpenOptions::new();
    // `create_new` does not follow a link that somebody else put there.
    options.read(true).write(true).create_new(true).mode(0o600);
    let mut last = ErrorKind::AlreadyExists.into();
    for attempt in 0..MAX_TEMPORARY_NAMES {
        let path = folder.join(name(attempt));
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
            // It says by itself what to do.
            ErrorKind::InvalidInput => {
                return write!(f, "cannot write {:?}: {}", self.path, self.cause);
            }
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A directory that is removed with all that is in it.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path =
                std::env::temp_dir().join(format!("heapledger-save-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Scratch(path)
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write_text(text: &'static str) -> impl FnOnce(&mut File) -> io::Result<()> {
        move |file| file.write_all(text.as_bytes())
    }

    fn line_of(result: Result<(), SaveError>) -> String {
        let line = result.unwrap_err().to_string();
        assert_eq!(line.lines().count(), 1, "{line}");
        line
    }

    #[test]
    fn replaces_what_was_there_and_leaves_nothing_else() {
        let scratch = Scratch::new("replace");
        let path = scratch.0.join("dhat-heap.json");
        save(&path, write_text("one, which is longer")).unwrap();
        save(&path, write_text("two")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(scratch.names(), ["dhat-heap.json"]);
    }

    #[test]
    fn a_failure_keeps_the_previous_file() {
        let scratch = Scratch::new("failure");
        let path = scratch.0.join("dhat-heap.json");
        save(&path, write_text("one")).unwrap();
        let fail = |file: &mut File| {
            file.write_all(b"half")?;
            Err(ErrorKind::StorageFull.into())
        };
        let line = line_of(save(&path, fail));
        assert!(
            line.contains("dhat-heap.json") && line.contains("make room"),
            "{line}"
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert_eq!(scratch.names(), ["dhat-heap.json"]);
    }

    #[test]
    fn what_cannot_be_written_is_told_in_one_line() {
        let scratch = Scratch::new("refused");
        let is_told = |path: &Path, advice: &str| {
            let line = line_of(save(path, write_text("")));
            assert!(
                line.starts_with("cannot write \"") && line.contains(advice),
                "{line}"
            );
        };
        is_told(&scratch.0, "choose the name of a file in it");
        is_told(Path::new("/"), "choose the name of a file in it");
        is_told(&scratch.0.join(".."), "choose the name of a file in it");
        is_told(&scratch.0.join("missing/a.json"), "create its directory");
        is_told(Path::new(""), "choose the name of a file in it");
        is_told(Path::new("/proc/a\nb.json"), "\\n");
        is_told(Path::new("/dev/null/a.json"), "create its directory");
        assert_eq!(scratch.names(), [""; 0]);
    }

    #[test]
    fn a_full_device_is_told() {
        let fill = |file: &mut File| {
            let mut writer = io::BufWriter::new(file);
            writer.write_all(b"{}")?;
            writer.flush()
        };
        let line = line_of(save(Path::new("/dev/full"), fill));
        assert!(line.contains("make room"), "{line}");
        assert!(Path::new("/dev/full").exists(), "a device is not replaced");
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let scratch = Scratch::new("link");
        let (path, other) = (scratch.0.join("a.json"), scratch.0.join("other"));
        fs::write(&other, "other").unwrap();
        symlink(&other, &path).unwrap();
        save(&path, write_text("profile")).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "other");
        assert_eq!(fs::read_to_string(&path).unwrap(), "profile");
    }

    #[test]
    fn a_temporary_file_that_was_left_behind_is_no_obstacle() {
        let scratch = Scratch::new("leftover");
        let leftover = scratch
            .0
            .join(format!(".heapledger-{}-0.tmp", std::process::id()));
        fs::write(&leftover, "old").unwrap();
        save(&scratch.0.join("a.json"), write_text("new")).unwrap();
        assert_eq!(fs::read_to_string(&leftover).unwrap(), "old");
        assert_eq!(fs::read_to_string(scratch.0.join("a.json")).unwrap(), "new");
    }
}
