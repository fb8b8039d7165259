//! `go tool pprof`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::command::{printed, program};
use crate::error::ViewerError;

/// What pprof read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pprof {
    /// Sums over all samples, by `type/unit`.
    pub totals: BTreeMap<String, u64>,
    /// Calls, each with what was inlined into it, innermost first: `function file:line`.
    pub locations: Vec<Vec<String>>,
    /// Stacks, as numbers of `locations`, innermost first.
    pub stacks: Vec<Vec<usize>>,
}

/// Lets pprof read a file and print all of it.
pub fn open_in_pprof(file: &Path) -> Result<Pprof, ViewerError> {
    let text = pprof(file, &["-raw"])?;
    Pprof::parse(&text).ok_or_else(|| ViewerError::Refused(format!("unexpected text: {text}")))
}

/// Lets pprof rank functions by a sample type: the sum as it prints it in bytes, and the functions.
pub fn rank_in_pprof(file: &Path, sample_type: &str) -> Result<String, ViewerError> {
    let sample_index = format!("-sample_index={sample_type}");
    pprof(
        file,
        &["-top", "-nodefraction=0", "-nodecount=20000", &sample_index],
    )
}

fn pprof(file: &Path, arguments: &[&str]) -> Result<String, ViewerError> {
    let mut command = Command::new(program("go", "golang-go")?);
    // Nothing is to be looked up: not in the home folder, not on the network.
    command.args(["tool", "pprof", "-symbolize=none"]);
    command.args(arguments).arg(file);
    command.env("PPROF_TMPDIR", std::env::temp_dir());
    printed(&mut command)
}

impl Pprof {
    /// The text of `-raw`: `Samples:`, a line of types, a line for each sample, `Locations`.
    fn parse(text: &str) -> Option<Self> {
        let (_, text) = text.split_once("\nSamples:\n")?;
        let (samples, rest) = text.split_once("\nLocations\n")?;
        let (locations, _) = rest.split_once("Mappings\n")?;
        let mut lines = samples.lines();
        let types: Vec<String> = lines
            .next()?
            .split_whitespace()
            .map(|name| name.trim_end_matches("[dflt]").to_owned())
            .collect();
        let mut read = Self {
            totals: types.iter().map(|name| (name.clone(), 0)).collect(),
            ..Self::default()
        };
        for line in lines {
            let (values, stack) = line.split_once(':')?;
            let values: Vec<u64> = numbers(values)?;
            if values.len() != types.len() {
                return None;
            }
            for (name, value) in types.iter().zip(values) {
                *read.totals.get_mut(name)? += value;
            }
            let stack: Vec<usize> = numbers(stack)?;
            read.stacks
                .push(stack.iter().map(|number| number - 1).collect());
        }
        for line in locations.lines() {
            // `  1: 0x3000 M=1 function file:line s=0()`, and without the first three an inlined one.
            let frame = |text: &str| text.rsplit_once(" s=").map(|(frame, _)| frame.to_owned());
            match line.split_once(" M=1 ") {
                Some((_, rest)) => read.locations.push(vec![frame(rest)?]),
                None => read.locations.last_mut()?.push(frame(line.trim_start())?),
            }
        }
        Some(read)
    }
}

fn numbers<T: std::str::FromStr>(text: &str) -> Option<Vec<T>> {
    text.split_whitespace()
        .map(|word| word.parse().ok())
        .collect()
}
