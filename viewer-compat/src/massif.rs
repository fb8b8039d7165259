//! `ms_print`, which comes with Valgrind.

use std::path::Path;
use std::process::Command;

use crate::command::{printed, program};
use crate::error::ViewerError;

/// What ms_print made of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Massif {
    /// All that it printed.
    pub text: String,
    /// Its table: time and live bytes of each snapshot.
    pub snapshots: Vec<(String, u64)>,
}

/// Lets ms_print draw a file.
pub fn open_in_ms_print(file: &Path) -> Result<Massif, ViewerError> {
    let mut command = Command::new(program("ms_print", "valgrind")?);
    // It writes a temporary file into the current folder.
    let folder = tempfile::tempdir()?;
    let text = printed(
        command
            .arg("--threshold=0")
            .arg(file)
            .current_dir(folder.path()),
    )?;
    let snapshots = text.lines().filter_map(snapshot).collect();
    Ok(Massif { text, snapshots })
}

/// `  1          75.27        2,151,840        2,151,840             0            0`
fn snapshot(line: &str) -> Option<(String, u64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [number, time, total, _, _, _] = words[..] else {
        return None;
    };
    number.parse::<u64>().ok()?;
    Some((time.to_owned(), total.replace(',', "").parse().ok()?))
}
