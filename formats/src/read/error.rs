//! Why a file is no profile, in one line: the place, what is there, what to do.

use std::cell::Cell;
use std::fmt;
use std::io;

use serde_json::error::Category;

use super::MAX_FILE_BYTES;

/// Why a file could not be read as a profile.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The system refused to open or read it.
    Unreadable(io::Error),
    /// The path is a folder's.
    Directory,
    /// It has this many bytes.
    TooLarge(u64),
    /// The text is not JSON: what it is instead.
    NotJson(String),
    /// The text ends at this byte, inside the named field.
    Truncated {
        /// Length of the text.
        offset: usize,
        /// As in `pps[12].tb`.
        field: String,
    },
    /// The file is of this version of the format.
    Version(u64),
    /// A value that the format does not allow.
    Invalid {
        /// Byte of the text, where one is to be blamed.
        offset: Option<usize>,
        /// As in `pps[12].tb`.
        field: String,
        /// What is there, and what should be.
        problem: String,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "cannot read it: {error}"),
            Self::Directory => f.write_str("is a directory, not a DHAT file"),
            Self::TooLarge(bytes) => write!(
                f,
                "has {bytes} bytes, and at most {MAX_FILE_BYTES} are read: record fewer frames of each stack"
            ),
            Self::NotJson(what) => write!(f, "not JSON: {what}"),
            Self::Truncated { offset, field } => {
                write!(f, "truncated: the file ends at byte {offset}, in {field}")
            }
            Self::Version(version) => write!(
                f,
                "dhatFileVersion: the file is of version {version}, and only version 2 is read: write it anew with Valgrind 3.17 or later"
            ),
            Self::Invalid {
                offset: Some(offset),
                field,
                problem,
            } => write!(f, "{field}: {problem} (at byte {offset})"),
            Self::Invalid { field, problem, .. } => write!(f, "{field}: {problem}"),
        }
    }
}

impl std::error::Error for ReadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}

impl ReadError {
    pub(super) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> ReadError {
        ReadError::Invalid {
            offset: None,
            field: field.into(),
            problem: problem.into(),
        }
    }

    pub(super) fn from_json(error: &serde_json::Error, text: &[u8], place: &Place) -> ReadError {
        if let Some(version) = place.version.get() {
            return ReadError::Version(version);
        }
        let offset = byte_of(error, text);
        let field = place.to_string();
        match error.classify() {
            Category::Eof => ReadError::Truncated {
                offset: text.len(),
                field,
            },
            Category::Syntax | Category::Data | Category::Io => {
                let mut problem = error.to_string();
                // The offset tells it, in one number that an editor and `dd` both take.
                if let Some(at) = problem.rfind(" at line ") {
                    problem.truncate(at);
                }
                ReadError::Invalid {
                    offset: Some(offset),
                    field,
                    problem,
                }
            }
        }
    }
}

/// The error's line and column, both counted from 1, as a number of bytes.
fn byte_of(error: &serde_json::Error, text: &[u8]) -> usize {
    let mut line_start = 0;
    for _ in 1..error.line() {
        let line = text[line_start..].iter().position(|&byte| byte == b'\n');
        line_start += line.map_or(0, |length| length + 1);
    }
    (line_start + error.column().saturating_sub(1)).min(text.len())
}

const UTF_16: &str = "it is text in UTF-16: save it in UTF-8";

/// A JSON reader would say "expected value": here is what people really hand over.
pub(super) fn refuse_other_formats(text: &[u8]) -> Result<(), ReadError> {
    let start = text.iter().position(|byte| !byte.is_ascii_whitespace());
    let Some(start) = start else {
        return Err(ReadError::NotJson("the file is empty".into()));
    };
    let what = match &text[start..] {
        [b'{', 0, ..] => UTF_16.into(),
        [b'{', ..] => return Ok(()),
        [0x1f, 0x8b, ..] => "it is compressed: unpack it with gunzip first".into(),
        [0x28, 0xb5, 0x2f, 0xfd, ..]
        | [0xfd, b'7', b'z', ..]
        | [b'B', b'Z', b'h', ..]
        | [b'P', b'K', 3, 4, ..] => "it is compressed: unpack it first".into(),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, b'{', ..] => UTF_16.into(),
        [0x7f, b'E', b'L', b'F', ..] => "it is a program; run it to get its profile".into(),
        [first, ..] => format!(
            "a DHAT file starts with `{{`, and byte {start} is 0x{first:02x}: was it written by a DHAT-style profiler?"
        ),
        [] => unreachable!("start is an index"),
    };
    Err(ReadError::NotJson(what))
}

/// Where the reader is: for errors.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Key of the file.
    pub(super) top: Cell<&'static str>,
    /// Element of its array.
    pub(super) index: Cell<Option<usize>>,
    /// Key of the element.
    pub(super) key: Cell<&'static str>,
    /// A version that is not read.
    pub(super) version: Cell<Option<u64>>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.top.get() {
            "" => return f.write_str("the file's first level"),
            top => f.write_str(top)?,
        }
        if let Some(index) = self.index.get() {
            write!(f, "[{index}]")?;
        }
        match self.key.get() {
            "" => Ok(()),
            key => write!(f, ".{key}"),
        }
    }
}
