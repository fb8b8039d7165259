//! Reads a DHAT file of version 2, whoever wrote it: heapledger, dhat-rs, heapscope, Valgrind.
//!
//! A file may come from a stranger: whatever its bytes are, the answer is a profile whose indices
//! all hold, or an error that names the place. Keys that the format does not know are skipped.

mod error;
mod point;
mod scalar;
mod top;

use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub use error::ReadError;
use top::Parts;

use crate::model::Profile;

/// A larger file is refused before it is read: what it holds could not be shown by any viewer.
pub const MAX_FILE_BYTES: u64 = 2 << 30;

/// The longest per-byte histogram (`acc`) that a point can have: DHAT keeps them for blocks of at
/// most this size.
pub const MAX_HISTOGRAM_BYTES: usize = 1024;

/// Reads the file at `path`.
///
/// # Errors
///
/// When the path leads to no readable regular file, the file is larger than [`MAX_FILE_BYTES`], or
/// its text is not a profile.
pub fn from_path(path: &Path) -> Result<Profile, ReadError> {
    let (file, length) = open(path)?;
    from_reader(file, length)
}

/// Opens what may be a profile, and tells how long it is; of a pipe that is 0.
///
/// # Errors
///
/// As [`from_path`], of the file itself.
pub fn open(path: &Path) -> Result<(File, u64), ReadError> {
    let file = File::open(path).map_err(ReadError::Unreadable)?;
    let about = file.metadata().map_err(ReadError::Unreadable)?;
    if about.is_dir() {
        return Err(ReadError::Directory);
    }
    if about.len() > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge(about.len()));
    }
    Ok((file, about.len()))
}

/// Enough to see that something is no profile.
const START: u64 = 4096;

/// Reads what a pipe holds, or an unpacked file; `length` is how much is expected, or 0.
///
/// # Errors
///
/// As soon as it cannot be a profile, when it does not end within [`MAX_FILE_BYTES`], or when its text
/// is not a profile.
pub fn from_reader(mut input: impl Read, length: u64) -> Result<Profile, ReadError> {
    // A pipe has no length, and a file may grow while it is read: both end at the limit too.
    let length = length.min(MAX_FILE_BYTES);
    let mut text = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    let mut read = |most, text: &mut Vec<u8>| {
        let read = input.by_ref().take(most).read_to_end(text);
        read.map(drop).map_err(ReadError::Unreadable)
    };
    read(START, &mut text)?;
    let start = without_mark(&text);
    // Blanks may go on for longer.
    if !start.trim_ascii_start().is_empty() {
        error::refuse_other_formats(start)?;
    }
    read(MAX_FILE_BYTES + 1 - START, &mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge(text.len() as u64));
    }
    from_slice(&text)
}

/// Reads the text of a file.
///
/// ```
/// let text = br#"{"dhatFileVersion":2,"mode":"ad-hoc","verb":"Allocated","bklt":false,
///     "bkacc":false,"tu":"s","Mtu":"Ms","cmd":"app","pid":1,"te":9,
///     "pps":[{"tb":8,"tbk":1,"fs":[1]}],"ftbl":["[root]","0x1: main (main.rs:1)"]}"#;
/// let profile = heapledger_formats::read::from_slice(text).unwrap();
/// assert_eq!(profile.points[0].counts.total_bytes, 8);
/// ```
///
/// # Errors
///
/// When the text is not JSON, ends early, is of another version, lacks a key, or has a value that
/// is out of range.
pub fn from_slice(text: &[u8]) -> Result<Profile, ReadError> {
    let text = without_mark(text);
    error::refuse_other_formats(text)?;
    let text = readable(text);
    let parts = Parts::default();
    let mut json = serde_json::Deserializer::from_str(&text);
    let read = parts.read(&mut json).and_then(|()| json.end());
    read.map_err(|error| ReadError::from_json(&error, text.as_bytes(), &parts.place))?;
    parts.into_profile()
}

/// Without what some editors put in front of UTF-8.
fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// Valgrind writes names and arguments as the bytes that they are. Each that is no part of a character
/// becomes `?`, so that what follows stays where it is.
fn readable(text: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(text) {
        return Cow::Borrowed(text);
    }
    let mut readable = String::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        readable.push_str(chunk.valid());
        readable.extend(chunk.invalid().iter().map(|_| '?'));
    }
    Cow::Owned(readable)
}

#[cfg(test)]
mod tests;
