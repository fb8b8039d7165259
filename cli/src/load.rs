//! From a path to a profile.

use std::io::{self, BufReader, Cursor, Read};
use std::path::Path;
use std::time::Duration;

use flate2::read::MultiGzDecoder;
use heapledger_formats::model::Profile;
use heapledger_formats::read::{self, ReadError};
use heapledger_formats::text::shortened_to;
use indicatif::ProgressBar;

use crate::failure::{Failure, Result};
use crate::figures::Figure;
use crate::terminal::escaped_path;

/// Files that take a moment to read, in bytes.
const LARGE: u64 = 64 << 20;

/// Tells on a terminal that a large file is being read.
pub(crate) fn profile(path: &Path) -> Result<Profile> {
    let is_large = std::fs::metadata(path).is_ok_and(|about| about.len() > LARGE);
    let spinner = is_large.then(|| {
        let name = escaped_path(path);
        let spinner = ProgressBar::new_spinner().with_message(format!("reading {name}"));
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    });
    let profile = silently(path);
    if let Some(spinner) = spinner {
        spinner.finish_and_clear();
    }
    profile
}

/// For whoever tells by itself how far it is.
pub(crate) fn silently(path: &Path) -> Result<Profile> {
    let mut profile = read(path).map_err(|error| Failure::of_path(path, error))?;
    shorten_texts(&mut profile);
    Ok(profile)
}

/// Of a longer text the middle is left out: one such text on each of many stacks would be looked through
/// for each of them, and a unit is shown with each sum. Names of compilers are shorter.
const MAX_TEXT: usize = 16 << 10;

fn shorten_texts(profile: &mut Profile) {
    for frame in &mut profile.frames {
        if frame.len() > MAX_TEXT {
            *frame = shortened_to(frame, MAX_TEXT).into();
        }
    }
    let (time_unit, time_unit_million) = &mut profile.time_units;
    let mut texts = vec![
        &mut profile.verb,
        &mut profile.command,
        time_unit,
        time_unit_million,
    ];
    if let Some(units) = &mut profile.units {
        texts.extend([&mut units.byte, &mut units.bytes, &mut units.blocks]);
    }
    if let Some(extension) = &mut profile.extension {
        texts.push(&mut extension.capture);
        for module in &mut extension.modules {
            texts.extend([&mut module.path, &mut module.build_id]);
        }
        for process in &mut extension.processes {
            texts.extend([&mut process.command, &mut process.file]);
        }
    }
    for text in texts {
        if text.len() > MAX_TEXT {
            *text = shortened_to(text, MAX_TEXT).into_owned();
        }
    }
}

/// The path that stands for standard input.
const STDIN: &str = "-";

/// What a file that gzip has written begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A file, a pipe, or standard input, as it is or compressed with gzip. What is unpacked has the limit
/// of a plain file.
fn read(path: &Path) -> std::result::Result<Profile, ReadError> {
    if path.as_os_str() == STDIN {
        return unpacked(io::stdin().lock(), 0);
    }
    let (file, length) = read::open(path)?;
    unpacked(file, length)
}

fn unpacked(mut input: impl Read, length: u64) -> std::result::Result<Profile, ReadError> {
    let mut start = Vec::new();
    let read = input.by_ref().take(2).read_to_end(&mut start);
    read.map_err(ReadError::Unreadable)?;
    let is_packed = start == GZIP;
    let whole = Cursor::new(start).chain(input);
    if is_packed {
        read::from_reader(MultiGzDecoder::new(BufReader::new(whole)), 0)
    } else {
        read::from_reader(whole, length)
    }
}

/// Whether the path is standard input's or a pipe's: no place to write something beside.
pub(crate) fn is_stream(path: &Path) -> bool {
    path.as_os_str() == STDIN
        || std::fs::metadata(path).is_ok_and(|about| !about.is_file() && !about.is_dir())
}

/// Fails if the profile does not have the figure that was asked for.
pub(crate) fn check_figure(path: &Path, profile: &Profile, figure: Figure) -> Result<()> {
    if figure.is_in(profile) {
        return Ok(());
    }
    let known = Figure::of_profile(profile)
        .iter()
        .map(Figure::to_string)
        .collect::<Vec<_>>();
    let what = format!("has no {figure}; it has {}", known.join(", "));
    Err(Failure::of_path(path, what))
}
