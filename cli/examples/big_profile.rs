//! Writes a profile of a million points, 279 MB, reads it, and prints what that took.
//!
//! `cargo run --release -p heapledger-cli --example big_profile [POINTS [FILE]]`; with a FILE, the profile
//! is left there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use heapledger_formats::read;

const FRAMES: u64 = 40_000;
/// Frames of a stack, on average: so that a million points are 279 MB.
const DEPTH: u64 = 28;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let points = arguments
        .next()
        .map_or(Ok(1_000_000), |count| count.parse())?;
    let kept = arguments.next().map(PathBuf::from);
    let folder = tempfile::tempdir()?;
    let path = kept.unwrap_or_else(|| folder.path().join("big.json"));
    write(&path, points)?;
    let bytes = fs::metadata(&path)?.len();
    println!("{} MB, {points} points", bytes / 1_000_000);

    // Resident so far, at most: what reading adds comes on top.
    let before = peak_bytes()?;
    let (start, cpu_before) = (Instant::now(), cpu_seconds()?);
    let profile = read::from_path(&path)?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds()? - cpu_before);
    let peak = peak_bytes()?;
    #[expect(clippy::cast_precision_loss, reason = "printed with two digits")]
    let times = peak as f64 / bytes as f64;
    println!(
        "read in {seconds:.2} s, {cpu:.2} s of CPU; peak memory {} MB, {times:.2} times the file ({} MB before)",
        peak / 1_000_000,
        before / 1_000_000
    );
    assert_eq!(profile.points.len(), points);
    Ok(())
}

/// What this thread has had of a processor.
fn cpu_seconds() -> io::Result<f64> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds = text
        .split_whitespace()
        .next()
        .and_then(|first| first.parse::<f64>().ok());
    nanoseconds
        .map(|count| count / 1e9)
        .ok_or_else(|| io::Error::other("no schedstat"))
}

/// `VmHWM` of this process.
fn peak_bytes() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes
        .map(|count| count * 1024)
        .ok_or_else(|| io::Error::other("no VmHWM"))
}

/// The same at every run.
fn write(path: &Path, points: usize) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    write!(
        out,
        "{{\"dhatFileVersion\":2,\"mode\":\"heap\",\"verb\":\"Allocated\",\"bklt\":true,\"bkacc\":false,\
         \"tu\":\"µs\",\"Mtu\":\"s\",\"tuth\":10,\"cmd\":\"big\",\"pid\":1,\"tg\":900000,\"te\":1000000,\n\"pps\":["
    )?;
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for index in 0..points {
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let (blocks, size) = (1 + next(10_000), 8 + next(4_000));
        let live = next(blocks);
        let comma = if index == 0 { "" } else { "," };
        write!(
            out,
            "{comma}\n{{\"tb\":{},\"tbk\":{blocks},\"tl\":{},\"mb\":{},\"mbk\":{live},\"gb\":{},\"gbk\":{},\"eb\":{},\"ebk\":{},\"fs\":[",
            blocks * size,
            next(1_000_000_000),
            live * size,
            live / 2 * size,
            live / 2,
            live / 4 * size,
            live / 4
        )?;
        // Outer frames are shared by many stacks, inner ones by few.
        let depth = DEPTH / 2 + next(DEPTH);
        for at in 0..depth {
            let outermost = depth - at;
            let below = (1 << outermost.min(13)).min(FRAMES / DEPTH);
            let frame = 1 + outermost.min(DEPTH - 1) * (FRAMES / DEPTH) + next(below);
            write!(out, "{}{frame}", if at == 0 { "" } else { "," })?;
        }
        write!(out, "]}}")?;
    }
    write!(out, "],\n\"ftbl\":[\"[root]\"")?;
    for frame in 0..FRAMES + 1 {
        write!(
            out,
            ",\n\"{:#x}: crate_{}::module_{}::function_{frame} (src/module_{}.rs:{}:{})\"",
            0x1000 + frame * 16,
            frame / 2000,
            frame / 100,
            frame / 100,
            frame % 977 + 1,
            frame % 40
        )?;
    }
    writeln!(out, "]}}")?;
    out.flush()
}
