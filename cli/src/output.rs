//! Files that appear whole, or not at all.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::failure::{Failure, Result};
use crate::terminal::escaped;

/// The path that stands for standard output.
const STDOUT: &str = "-";

/// Writes beside `path` and renames, so that nobody sees half a file and a failure leaves what was
/// there. `-` is standard output, which gets everything at once; a device is written to directly.
pub(crate) fn write<E: Into<Problem>>(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> std::result::Result<(), E>,
) -> Result<()> {
    let content = |sink: &mut dyn Write| content(sink).map_err(Into::into);
    if path.as_os_str() == STDOUT {
        let mut whole = Vec::new();
        content(&mut whole).map_err(|Problem(what)| Failure::new(what))?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&whole)?;
        return Ok(stdout.flush()?);
    }
    let fail = |Problem(what)| Failure::of_path(path, format!("cannot write it: {what}"));
    let about = fs::metadata(path);
    if about.as_ref().is_ok_and(fs::Metadata::is_dir) {
        return Err(Failure::of_path(path, "is a directory: name a file in it"));
    }
    if about.is_ok_and(|about| !about.is_file()) {
        let device = fs::OpenOptions::new().write(true).open(path);
        let mut device = BufWriter::new(device.map_err(|error| fail(error.into()))?);
        content(&mut device).map_err(fail)?;
        return device.flush().map_err(|error| fail(error.into()));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file = NamedTempFile::new_in(folder).map_err(|error| fail(error.into()))?;
    let mut writer = BufWriter::new(file);
    content(&mut writer).map_err(fail)?;
    let file = writer
        .into_inner()
        .map_err(|error| fail(error.into_error().into()))?;
    file.persist(path)
        .map_err(|error| fail(error.error.into()))?;
    Ok(())
}

/// Tells where a file is, unless the output is the file.
pub(crate) fn announce(path: &Path, out: &mut dyn Write) -> Result<()> {
    if path.as_os_str() != STDOUT {
        writeln!(out, "{}", escaped(&path.display().to_string()))?;
    }
    Ok(())
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
