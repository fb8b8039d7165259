//! The few lines that a run ends with.

use std::fmt::{self, Write};

use super::allocator_time;
use super::estimate::Intervals;
use super::frames::{Frame, FrameId, Place};
use super::paths;
use super::profile::{Point, Profile};
use super::trim;
use super::waste;
use crate::record::snapshot::{Accesses, BackEnd, Counts, Kind};

/// Sites that are named.
pub(super) const TOP_SITES: usize = 5;

/// Lines that each begin with `heapledger: ` and end with a line break.
pub(crate) fn summary(profile: &Profile<'_>) -> String {
    let mut text = String::new();
    let mut line = |content: fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "heapledger: {content}");
    };
    let units = Units::of(profile.snapshot.kind);
    let totals = &profile.snapshot.totals;
    if let Some(sample_bytes) = profile.snapshot.sample_bytes {
        line(format_args!(
            "Estimates from samples, one in {} bytes; total bytes with the interval of 95 %:",
            Thousands(sample_bytes)
        ));
    }
    line(format_args!(
        "Total:     {}",
        units.amount(totals.total_bytes, totals.total_blocks)
    ));
    if profile.snapshot.kind == Kind::Heap {
        line(format_args!(
            "At t-gmax: {}",
            units.amount(totals.peak_bytes, totals.peak_blocks)
        ));
        line(format_args!(
            "At t-end:  {}",
            units.amount(totals.live_bytes, totals.live_blocks)
        ));
    }
    if let Accesses::Counted(accesses) = &profile.snapshot.accesses {
        let total = accesses.total();
        line(format_args!(
            "Accesses:  {} bytes read, not counting reads by code that comes compiled (std's, C)",
            Thousands(total.read)
        ));
        line(format_args!(
            "           {} bytes written, {} of them found by their change; {} distinct bytes",
            Thousands(total.written),
            Thousands(total.untold),
            Thousands(total.touched)
        ));
    }
    let points = profile
        .points
        .iter()
        .filter(|point| profile.counts(point).total_blocks > 0);
    for (rank, point) in points.take(TOP_SITES).enumerate() {
        if rank == 0 {
            line(format_args!("Most {} by:", units.bytes));
        }
        let counts = profile.counts(point);
        line(format_args!(
            "{:>2}. {} ({}%) {}",
            rank + 1,
            site_amount(profile, &counts, &units),
            Percent {
                part: counts.total_bytes,
                whole: totals.total_bytes
            },
            site_name(profile, point),
        ));
    }
    for sentence in waste::lines(profile) {
        line(format_args!("{sentence}"));
    }
    for sentence in allocator_time::lines(profile) {
        line(format_args!("{sentence}"));
    }
    let capture = profile.snapshot.capture;
    let unusual = [BackEnd::FramePointers, BackEnd::Platform];
    if unusual.iter().any(|back_end| back_end.name() == capture) {
        line(format_args!("Stacks were taken by {capture}."));
    }
    for path in profile.compressed_modules() {
        line(format_args!(
            "No lines are known of {}: its debug information is compressed, and not with zlib. Link it with -Wl,--compress-debug-sections=zlib.",
            path.display()
        ));
    }
    for sentence in limits(profile) {
        line(format_args!("{sentence}"));
    }
    text
}

/// What a site allocated; of an estimate, with its interval.
fn site_amount(profile: &Profile<'_>, counts: &Counts, units: &Units) -> String {
    let Some(sample_bytes) = profile.snapshot.sample_bytes else {
        return units.amount(counts.total_bytes, counts.total_blocks);
    };
    let (low, high) = Intervals::of(counts, sample_bytes).total_bytes;
    format!(
        "about {} {} ({} to {}) in {} {}",
        Thousands(counts.total_bytes),
        units.bytes,
        Thousands(low),
        Thousands(high),
        Thousands(counts.total_blocks),
        units.blocks
    )
}

/// A line for each thing that the profile does not hold, or holds as a bound: what,
/// how many, and what to do.
fn limits(profile: &Profile<'_>) -> Vec<String> {
    let refusals = &profile.snapshot.refusals;
    let accesses = match &profile.snapshot.accesses {
        Accesses::Counted(accesses) => accesses,
        Accesses::NotCounted | Accesses::Silent(_) => &Box::default(),
    };
    let limits = [
        (
            "Allocations not recorded because a table was full or had no memory",
            refusals.dropped_allocs,
            "Profile a shorter part of the program, or give it more memory.",
        ),
        (
            "Allocations not recorded because they interrupted the profiler on its own thread",
            refusals.reentrant_allocs,
            "Do not allocate in signal handlers.",
        ),
        (
            "Frees not recorded for the same reason, whose blocks stay counted as live",
            refusals.reentrant_frees,
            "Do not free in signal handlers.",
        ),
        (
            "Stacks that end early at a frame without unwind information",
            refusals.truncated_stacks,
            "Compile C code with -fasynchronous-unwind-tables, Rust with -C force-unwind-tables=yes.",
        ),
        (
            "Blocks allocated by Rust and freed by C's free, which stay counted as live",
            refusals.unsized_frees,
            "Free a block in the language that allocated it.",
        ),
        (
            "Readings that did not wait for a thread suspended while it recorded",
            refusals.torn_readings,
            "They can be off by one operation of that thread.",
        ),
        (
            "Blocks of which it is not known what was written to them",
            unmeasured_blocks(profile),
            "They are left out of the bytes written.",
        ),
        (
            "Bytes that the true t-gmax may lie above the one told, since threads met there",
            refusals.peak_slack_bytes,
            "All other numbers are exact.",
        ),
        (
            "Sites used by several threads, whose own maximum (mb) is known to 1/64 or 1 KiB a thread",
            refusals.bounded_max_sites,
            "All other numbers are exact; ProfilerBuilder::exact_peaks makes it so too.",
        ),
        (
            "Points that stand for several stacks of equal frames, whose maximum (mb) is a lower bound",
            profile.merged_points,
            "All other numbers are exact; turn trimming off to see each.",
        ),
        (
            "Smallest points summed up as [other], since viewers cannot show so many",
            profile.folded_points,
            "Keep fewer frames of each stack to see them.",
        ),
    ];
    let limits = limits.into_iter().chain([
        (
            "Blocks whose accesses are not counted",
            accesses.refused_blocks,
            "There was no memory for it, or the inner allocator places blocks less than 16 bytes apart.",
        ),
        (
            "Bytes of blocks live at the end that could not be searched for writes by code that comes compiled",
            accesses.unreadable_bytes,
            "Let the process call process_vm_readv on itself.",
        ),
    ]);
    let told = limits.into_iter().filter(|&(_, count, _)| count > 0);
    told.map(|(what, count, advice)| format!("{what}: {}. {advice}", Thousands(count)))
        .collect()
}

fn unmeasured_blocks(profile: &Profile<'_>) -> u64 {
    let points = profile.points.iter();
    points
        .map(|point| profile.counts(point).touched.unmeasured_blocks)
        .sum()
}

/// The innermost frame that somebody wrote who does not work on the standard
/// library, else the innermost frame.
pub(super) fn site_name(profile: &Profile<'_>, point: &Point) -> String {
    let frames = profile.frames();
    let is_user = |&frame: &FrameId| trim::owner_of(frames, frames.get(frame)).is_user();
    let user_frame = profile.frames_of(point).find(is_user);
    let Some(frame) = user_frame.or_else(|| profile.frames_of(point).next()) else {
        return String::new();
    };
    match frames.get(frame) {
        Frame::Code {
            function: Some(function),
            place: Place::Source { file, line, .. },
            ..
        } => {
            let here = std::env::current_dir().ok();
            let file = paths::seen_from(here.as_deref(), frames.text(file));
            format!("{} ({file}:{line})", frames.text(function))
        }
        Frame::Code {
            function: Some(function),
            place: Place::Module(path),
            ..
        } => {
            format!("{} (in {})", frames.text(function), frames.text(path))
        }
        Frame::Code { function: None, .. } | Frame::Note(_) => frames.display(frame).to_string(),
    }
}

struct Units {
    bytes: &'static str,
    blocks: &'static str,
}

impl Units {
    fn of(kind: Kind) -> Units {
        match kind {
            Kind::Heap => Units {
                bytes: "bytes",
                blocks: "blocks",
            },
            Kind::AdHoc => Units {
                bytes: "units",
                blocks: "events",
            },
            Kind::Copies => Units {
                bytes: "bytes",
                blocks: "copies",
            },
        }
    }

    fn amount(&self, bytes: u64, blocks: u64) -> String {
        format!(
            "{} {} in {} {}",
            Thousands(bytes),
            self.bytes,
            Thousands(blocks),
            self.blocks
        )
    }
}

/// A number with commas between its thousands.
pub(crate) struct Thousands(pub(crate) u64);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.char_indices() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A share with one decimal.
pub(super) struct Percent {
    pub(super) part: u64,
    pub(super) whole: u64,
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.whole.max(1) as f64;
        write!(f, "{:.1}", self.part as f64 * 100.0 / whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::snapshot::{Counts, Snapshot};
    use crate::report::sample;
    use crate::report::trim::Trim;

    fn summary_of(snapshot: &Snapshot) -> String {
        summary(&Profile::from_snapshot(
            snapshot,
            &sample::options(Trim::To(2)),
        ))
    }

    #[test]
    fn an_ordinary_run_tells_totals_and_sites_only() {
        let large = Counts {
            total_bytes: 1_234_567,
            ..sample::counts(1200)
        };
        let small = Counts {
            total_bytes: 33,
            total_blocks: 1_000,
            ..sample::counts(12)
        };
        let snapshot = sample::snapshot(Kind::Heap, &[(&[1], large), (&[2], small)]);
        assert_eq!(
            summary_of(&snapshot),
            "heapledger: Total:     1,234,600 bytes in 1,010 blocks\n\
             heapledger: At t-gmax: 404 bytes in 6 blocks\n\
             heapledger: At t-end:  303 bytes in 4 blocks\n\
             heapledger: Most bytes by:\n\
             heapledger:  1. 1,234,567 bytes in 10 blocks (100.0%) 0x1: ??? (in ???)\n\
             heapledger:  2. 33 bytes in 1,000 blocks (0.0%) 0x2: ??? (in ???)\n"
        );
    }

    #[test]
    fn ad_hoc_runs_have_units_and_events() {
        let counts = Counts {
            total_blocks: 2,
            total_bytes: 0,
            ..Counts::default()
        };
        let snapshot = sample::snapshot(Kind::AdHoc, &[(&[1], counts)]);
        assert_eq!(
            summary_of(&snapshot),
            "heapledger: Total:     0 units in 2 events\n\
             heapledger: Most units by:\n\
             heapledger:  1. 0 units in 2 events (0.0%) 0x1: ??? (in ???)\n"
        );
    }

    #[test]
    fn nothing_allocated() {
        let text = summary_of(&sample::snapshot(Kind::Heap, &[]));
        assert_eq!(text.lines().count(), 3, "{text}");
    }

    #[test]
    fn at_most_five_sites() {
        let stacks: Vec<Vec<u64>> = (1..=9).map(|address| vec![address]).collect();
        let sites: Vec<(&[u64], Counts)> = stacks
            .iter()
            .map(|stack| (stack.as_slice(), sample::counts(120)))
            .collect();
        let text = summary_of(&sample::snapshot(Kind::Heap, &sites));
        assert_eq!(text.lines().count(), 4 + 5, "{text}");
    }

    #[test]
    fn each_limit_is_one_line() {
        let sites: &[(&[u64], Counts)] = &[
            (&[1, 2, 3], sample::counts(12)),
            (&[1, 2, 4], sample::counts(12)),
        ];
        let mut snapshot = sample::snapshot(Kind::Heap, sites);
        let refusals = &mut snapshot.refusals;
        refusals.reentrant_allocs = 1_001;
        refusals.dropped_allocs = 1_002;
        refusals.truncated_stacks = 1_003;
        refusals.peak_slack_bytes = 1_004;
        refusals.bounded_max_sites = 1_005;
        let text = summary_of(&snapshot);
        for count in ["1,001", "1,002", "1,003", "1,004", "1,005", "1"] {
            let told = text
                .lines()
                .filter(|line| line.contains(&format!(": {count}. ")));
            assert_eq!(told.count(), 1, "{count}: {text}");
        }
    }

    #[test]
    fn thousands_and_shares() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345_678, "12,345,678"),
        ] {
            assert_eq!(Thousands(number).to_string(), text);
        }
        assert_eq!(Percent { part: 1, whole: 3 }.to_string(), "33.3");
        assert_eq!(Percent { part: 0, whole: 0 }.to_string(), "0.0");
    }
}
