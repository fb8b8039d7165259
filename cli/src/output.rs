//! Files that appear whole, or not at all.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use heapledger_formats::text::is_deceptive;

use crate::failure::{Failure, Result};
use crate::terminal::escaped_path;

/// The path that stands for standard output.
const STDOUT: &str = "-";

/// Links that are followed, as many as the system follows.
const MAX_LINKS: u32 = 40;

/// Where content goes.
#[derive(Debug)]
enum Target {
    Stdout,
    Stderr,
    /// A device or a pipe, which gets everything at once.
    Device(PathBuf),
    /// A file that is replaced, or made.
    File(PathBuf),
}

/// Writes beside `path` and renames, so that nobody sees half a file and a failure leaves what was
/// there. `-` is standard output, which gets everything at once, as devices and pipes do. A link stays,
/// and what it leads to is replaced.
pub(crate) fn write<E: Into<Problem>>(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> std::result::Result<(), E>,
) -> Result<()> {
    let content = |sink: &mut dyn Write| content(sink).map_err(Into::into);
    let fail = |Problem(what)| Failure::of_path(path, format!("cannot write it: {what}"));
    if fs::metadata(path).is_ok_and(|about| about.is_dir()) {
        return Err(Failure::of_path(path, "is a directory: name a file in it"));
    }
    let mut whole = Vec::new();
    match target(path).map_err(|error| fail(error.into()))? {
        Target::Stdout => {
            content(&mut whole).map_err(|Problem(what)| Failure::new(what))?;
            let mut stdout = io::stdout().lock();
            stdout.write_all(&whole)?;
            Ok(stdout.flush()?)
        }
        Target::Stderr => {
            content(&mut whole).map_err(fail)?;
            let written = io::stderr().lock().write_all(&whole);
            written.map_err(|error| fail(error.into()))
        }
        Target::Device(path) => {
            content(&mut whole).map_err(fail)?;
            let file = OpenOptions::new().write(true).open(path);
            file.and_then(|mut file| file.write_all(&whole))
                .map_err(|error| fail(error.into()))
        }
        Target::File(path) => replace(&path, content).map_err(fail),
    }
}

fn target(path: &Path) -> io::Result<Target> {
    if path.as_os_str() == STDOUT {
        return Ok(Target::Stdout);
    }
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Some(number) = descriptor(&path) {
            return match number.as_str() {
                "1" => Ok(Target::Stdout),
                "2" => Ok(Target::Stderr),
                // Opened by this path, it would have a place of its own to go on at.
                _ if fs::metadata(&path)?.is_file() => Err(io::Error::other(
                    "it is a file that is open already, and where to go on in it is not known: name the file, or use `-`",
                )),
                _ => Ok(Target::Device(path)),
            };
        }
        match fs::read_link(&path) {
            Ok(link) => path = folder_of(&path).join(link),
            Err(_) => {
                let is_device = fs::metadata(&path).is_ok_and(|about| !about.is_file());
                return Ok(if is_device {
                    Target::Device(path)
                } else {
                    Target::File(path)
                });
            }
        }
    }
    Err(io::Error::other("too many links"))
}

/// The number of one of this process's open files, which `/dev/stdout` and `/dev/fd/3` lead to.
fn descriptor(path: &Path) -> Option<String> {
    let folder = fs::canonicalize(folder_of(path)).ok()?;
    let own = Path::new("/proc").join(std::process::id().to_string());
    let is_own = folder == own.join("fd") || folder == Path::new("/dev/fd");
    let name = path.file_name()?.to_str()?;
    (is_own && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.to_owned())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What is new has the rights that a new file has; what was there keeps its own, and its owner and group.
fn replace(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> std::result::Result<(), Problem>,
) -> std::result::Result<(), Problem> {
    let about = match fs::metadata(path) {
        // What may not be written to is not replaced either.
        Ok(about) => OpenOptions::new()
            .write(true)
            .open(path)
            .map(|_| Some(about))?,
        Err(_) => None,
    };
    // Not tempfile's own way to open it, which gives rights to nobody else.
    let file = tempfile::Builder::new()
        .prefix(".heapledger-")
        .make_in(folder_of(path), |path| File::create_new(path))?;
    if let Some(about) = about {
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, fchown};
            if fchown(file.as_file(), Some(about.uid()), Some(about.gid())).is_err() {
                return write_in_place(path, content);
            }
        }
        file.as_file().set_permissions(about.permissions())?;
    }
    let mut writer = BufWriter::new(file);
    content(&mut writer)?;
    let file = writer.into_inner().map_err(|error| error.into_error())?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Into the file that is there: only root makes one that is somebody else's.
#[cfg(unix)]
fn write_in_place(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> std::result::Result<(), Problem>,
) -> std::result::Result<(), Problem> {
    let mut whole = Vec::new();
    content(&mut whole)?;
    Ok(fs::write(path, whole)?)
}

/// Writes what, as a profile does, names paths and arguments of a program: for its owner alone.
pub(crate) fn write_privately(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(folder_of(path))?;
        file.write_all(content)?;
        file.persist(path).map_err(|error| error.error)
    };
    write()
        .map(drop)
        .map_err(|error| Failure::of_path(path, format!("cannot write it: {error}")))
}

/// Whether what is written there is written to standard output.
pub(crate) fn is_stdout(path: &Path) -> bool {
    matches!(target(path), Ok(Target::Stdout))
}

/// Tells where a file is, unless the output is the file.
pub(crate) fn announce(path: &Path, out: &mut dyn Write) -> Result<()> {
    if !is_stdout(path) {
        writeln!(out, "{}", escaped_path(path))?;
    }
    Ok(())
}

/// Prints it for programs, in lines, of which a terminal acts upon nothing.
pub(crate) fn write_json(value: &impl serde::Serialize, out: &mut dyn Write) -> Result<()> {
    let json = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    let mut harmless = String::with_capacity(json.len() + 1);
    for character in json.chars() {
        // Between values there are blanks and ends of lines; whatever else acts is within a text.
        if is_deceptive(character) && character != '\n' {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(harmless, "\\u{unit:04x}");
            }
        } else {
            harmless.push(character);
        }
    }
    Ok(writeln!(out, "{harmless}")?)
}

/// Why the content could not be made.
#[derive(Debug)]
pub(crate) struct Problem(String);

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Problem {
        Problem(error.to_string())
    }
}

impl From<heapledger_formats::Error> for Problem {
    fn from(error: heapledger_formats::Error) -> Problem {
        Problem(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "old").unwrap();
        let failure = write(&path, |sink| {
            sink.write_all(b"half")?;
            Err::<(), _>(io::Error::other("no more"))
        });
        assert!(
            failure
                .unwrap_err()
                .to_string()
                .ends_with("out: cannot write it: no more")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        write(&path, |sink| sink.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write(folder.path(), |sink| sink.write_all(b"x")).is_err());
    }
}
