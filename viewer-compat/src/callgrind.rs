//! `callgrind_annotate`, which comes with Valgrind.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::command::program;
use crate::error::ViewerError;

/// What callgrind_annotate made of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callgrind {
    /// All that it printed, annotated sources included.
    pub text: String,
    /// The names of the events: each list of figures below is in their order.
    pub events: Vec<String>,
    /// Its `PROGRAM TOTALS`.
    pub totals: Vec<u64>,
    /// Whether it added them up by itself: from a file that has none, or nothing but 0.
    pub is_added_up: bool,
    /// Of each `file:function` or `file:function [object]`, its own. What it prints as a dot is 0.
    pub own: BTreeMap<String, Vec<u64>>,
    /// Of each of these, what was done in it and below.
    pub inclusive: BTreeMap<String, Vec<u64>>,
}

/// Lets callgrind_annotate read a file, for what functions did themselves and for what was done in them.
pub fn open_in_callgrind_annotate(file: &Path) -> Result<Callgrind, ViewerError> {
    let text = annotate(file, "no")?;
    let events: Vec<String> = text
        .lines()
        .find_map(|line| line.strip_prefix("Events recorded:"))
        .map(|names| names.split_whitespace().map(str::to_owned).collect())
        .unwrap_or_default();
    let mut own = figures(&text, events.len());
    let mut inclusive = figures(&annotate(file, "yes")?, events.len());
    let added_up = own.remove(ADDED_UP);
    let is_added_up = added_up.is_some();
    let totals = own
        .remove(TOTALS)
        .or(added_up)
        .ok_or_else(|| ViewerError::Refused(format!("callgrind_annotate: no totals in {text}")))?;
    inclusive.retain(|name, _| name != TOTALS && name != ADDED_UP);
    Ok(Callgrind {
        text,
        events,
        totals,
        is_added_up,
        own,
        inclusive,
    })
}

/// Sums that the file tells.
const TOTALS: &str = "PROGRAM TOTALS";
/// Sums that it does not.
const ADDED_UP: &str = "PROGRAM TOTALS (calculated)";

/// It ends with success whatever it met: a warning is a refusal.
fn annotate(file: &Path, inclusive: &str) -> Result<String, ViewerError> {
    // Names of files below the current folder are shortened.
    let folder = tempfile::tempdir()?;
    let output = Command::new(program("callgrind_annotate", "valgrind")?)
        .args(["--threshold=100", "--show-percs=no"])
        .arg(format!("--inclusive={inclusive}"))
        .arg(file)
        .current_dir(folder.path())
        .output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !stderr.is_empty() {
        let status = output.status;
        return Err(ViewerError::Refused(format!(
            "callgrind_annotate: {status}: {stderr}"
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// ` 1,234   .  56  src/main.rs:app::main`, as far as there are no annotated sources.
fn figures(text: &str, events: usize) -> BTreeMap<String, Vec<u64>> {
    let tables = text.split("-- Auto-annotated source").next();
    let rows = tables.unwrap_or_default().lines();
    rows.filter_map(|line| {
        let mut rest = line;
        let mut figures = Vec::new();
        for _ in 0..events {
            let (word, behind) = rest.trim_start().split_once(' ')?;
            figures.push(match word {
                "." => 0,
                number => number.replace(',', "").parse().ok()?,
            });
            rest = behind;
        }
        Some((rest.trim_start().to_owned(), figures))
    })
    .collect()
}
