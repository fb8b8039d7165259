//! Runs a child and collects what it and the kernel say about it.

use crate::builds::Builds;
use crate::cases::{Case, PeerUse};
use comparison::usage::Usage;
use comparison::work::SOURCES_VARIABLE;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

/// One run of a child. Times in seconds, sizes in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    pub(crate) checksum: u64,
    pub(crate) operations: f64,
    /// Of the work alone.
    pub(crate) cpu: f64,
    /// Of that, outside of the kernel.
    pub(crate) user: f64,
    pub(crate) wall: f64,
    /// From the end of the work to when the profile is written.
    pub(crate) end: f64,
    /// Peaks of resident memory: until the end of the work, and of the process.
    pub(crate) working_rss: f64,
    pub(crate) peak_rss: f64,
    pub(crate) file: f64,
    /// Program points in the file.
    pub(crate) points: usize,
    /// Blocks, bytes and peak bytes as the profiler counted them.
    pub(crate) totals: Option<[u64; 3]>,
}

pub(crate) struct Runner<'a> {
    builds: &'a Builds,
}

impl<'a> Runner<'a> {
    pub(crate) fn new(builds: &'a Builds) -> Result<Self, String> {
        Ok(Self { builds })
    }

    pub(crate) fn run(&self, case: &Case, peer: &PeerUse) -> Result<Measured, String> {
        let output = self.builds.output(peer);
        // So that a child that writes none is not credited with the last one's.
        let _ = std::fs::remove_file(&output);
        let mut child = Command::new(self.builds.program(peer))
            .arg(case.workload)
            .arg(case.parameter.to_string())
            .arg(&output)
            .args(peer.option)
            .env(SOURCES_VARIABLE, &self.builds.sources)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", peer.program))?;
        let mut text = String::new();
        let mut stdout = child.stdout.take().ok_or("no output")?;
        stdout
            .read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
        let (status, usage) = wait(child.id());
        if status != 0 {
            return Err(format!(
                "{} under {} ended with status {status}",
                case.label, peer.name
            ));
        }
        let values: HashMap<&str, u64> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
            .collect();
        let value = |name| {
            let value = values.get(name).copied();
            value.ok_or(format!(
                "{} under {} did not report {name}",
                case.label, peer.name
            ))
        };
        let seconds = |name| value(name).map(|ns| ns as f64 / 1e9);
        let (file, points) = look_at(&output);
        let totals = ["blocks", "bytes", "peak_bytes"].map(|name| values.get(name).copied());
        Ok(Measured {
            checksum: value("checksum")?,
            operations: value("operations")? as f64,
            cpu: seconds("cpu_ns")?,
            user: seconds("cpu_ns")? - seconds("system_ns")?,
            wall: seconds("wall_ns")?,
            end: seconds("end_ns")?,
            working_rss: value("working_rss")? as f64,
            peak_rss: usage.peak_rss_bytes as f64,
            file,
            points,
            totals: match totals {
                [Some(blocks), Some(bytes), Some(peak)] => Some([blocks, bytes, peak]),
                _ => None,
            },
        })
    }
}

/// The size of a DHAT file and the number of its points. Read piece by piece: a
/// child's peak of resident memory starts from what this process holds.
fn look_at(profile: &Path) -> (f64, usize) {
    let Ok(file) = File::open(profile) else {
        return (0.0, 0);
    };
    // Every point has one list of frames.
    let pieces = BufReader::new(file).split(b'"');
    let (mut bytes, mut points) = (0, 0);
    for piece in pieces.map_while(Result::ok) {
        bytes += piece.len() + 1;
        points += usize::from(piece == b"fs");
    }
    (bytes as f64, points)
}

/// Waits for the end of a child of ours.
fn wait(id: u32) -> (i32, Usage) {
    let mut status = 0;
    // SAFETY: zero is valid for a struct of integers.
    let mut usage = unsafe { std::mem::zeroed::<libc::rusage>() };
    // SAFETY: writes a status and one `rusage`.
    unsafe { libc::wait4(id as libc::pid_t, &mut status, 0, &mut usage) };
    (status, usage.into())
}
