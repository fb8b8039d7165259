//! The side of the child processes: one workload under one allocator.

use crate::usage::Usage;
use crate::work::{self, Done, Work};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a profiler says of its run, for the driver to compare.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    pub blocks: u64,
    pub bytes: u64,
    pub peak_bytes: u64,
}

/// A profiler under comparison.
pub trait Peer {
    type Running;

    /// Starts recording with the tool's defaults.
    fn start(output: &Path) -> Self::Running;

    /// As `start`, without the tool's estimate of bytes written, if it has one.
    fn start_without_touch(output: &Path) -> Self::Running {
        Self::start(output)
    }

    fn totals(running: &Self::Running) -> Option<Totals>;
}

/// What the driver says a child is to do.
struct Task {
    work: Work,
    output: PathBuf,
    option: Option<String>,
}

impl Task {
    /// # Panics
    /// If the arguments are not the driver's.
    fn from_arguments() -> Self {
        let mut arguments = std::env::args().skip(1);
        let mut next = |what: &str| {
            arguments
                .next()
                .unwrap_or_else(|| panic!("no {what} given"))
        };
        let workload = next("workload");
        let parameter = next("parameter").parse().expect("a number");
        let output = PathBuf::from(next("output"));
        Self {
            work: work::prepare(&workload, parameter),
            output,
            option: arguments.next(),
        }
    }
}

/// Runs what the arguments say: workload, parameter, output file, and
/// perhaps `idle`, which leaves the profiler out, or `no-touch`, which leaves out its
/// estimate of bytes written.
///
/// # Panics
/// If the arguments are not the driver's.
pub fn main<P: Peer>() {
    let task = Task::from_arguments();
    let is_idle = task.option.as_deref() == Some("idle");
    let start = match task.option.as_deref() {
        Some("no-touch") => P::start_without_touch,
        _ => P::start,
    };
    let running = (!is_idle).then(|| start(&task.output));
    let (before, start) = (Usage::own(), Instant::now());
    let done = (task.work)();
    let wall = start.elapsed();
    let usage = Usage::own() - before;
    let totals = running.as_ref().and_then(P::totals);
    let end = Instant::now();
    drop(running);
    tell(done, wall, end.elapsed(), usage, totals);
}

/// As [`main`], for tools that measure a closure: `measure` is given the work and
/// the option.
///
/// # Panics
/// If the arguments are not the driver's.
pub fn measured(measure: impl FnOnce(Work, Option<&str>) -> (Done, Totals)) {
    let task = Task::from_arguments();
    let (before, start) = (Usage::own(), Instant::now());
    let (done, totals) = measure(task.work, task.option.as_deref());
    let wall = start.elapsed();
    let usage = Usage::own() - before;
    tell(done, wall, Duration::ZERO, usage, Some(totals));
}

fn tell(done: Done, wall: Duration, end: Duration, usage: Usage, totals: Option<Totals>) {
    println!("checksum={}", done.checksum);
    println!("operations={}", done.operations);
    println!("cpu_ns={}", usage.cpu.as_nanos());
    println!("system_ns={}", usage.system.as_nanos());
    println!("wall_ns={}", wall.as_nanos());
    println!("end_ns={}", end.as_nanos());
    println!("working_rss={}", usage.peak_rss_bytes);
    if let Some(totals) = totals {
        println!("blocks={}", totals.blocks);
        println!("bytes={}", totals.bytes);
        println!("peak_bytes={}", totals.peak_bytes);
    }
}
