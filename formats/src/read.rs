//! Reads a DHAT file of version 2, whoever wrote it: heapledger, dhat-rs, heapscope, Valgrind.
//!
//! A file may come from a stranger: whatever its bytes are, the answer is a profile whose indices
//! all hold, or an error that names the place. Keys that the format does not know are skipped.

mod error;
mod point;
mod scalar;
mod top;

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
    let mut file = File::open(path).map_err(ReadError::Unreadable)?;
    let about = file.metadata().map_err(ReadError::Unreadable)?;
    if about.is_dir() {
        return Err(ReadError::Directory);
    }
    if about.len() > MAX_FILE_BYTES {
        return Err(ReadError::TooLarge(about.len()));
    }
    // A pipe has no length, and a file may grow while it is read: both end at the limit too.
    let mut text = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0) + 1);
    let read = file
        .by_ref()
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut text);
    read.map_err(ReadError::Unreadable)?;
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
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    error::refuse_other_formats(text)?;
    let parts = Parts::default();
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = parts.read(&mut json).and_then(|()| json.end());
    read.map_err(|error| ReadError::from_json(&error, text, &parts.place))?;
    parts.into_profile()
}

#[cfg(test)]
mod tests;
