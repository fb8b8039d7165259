//! The few lines that a run ends with.

use std::fmt::{self, Write};

use super::frames::{Frame, FrameId, Place};
use super::profile::{MAX_POINTS, Point, Profile};
use super::trim;
use crate::record::snapshot::Kind;

/// Sites that are named.
const TOP_SITES: usize = 5;

/// Lines that each begin with `heapledger: ` and end with a line break.
pub(crate) fn summary(profile: &Profile<'_>) -> String {
    let mut text = String::new();
    let mut line = |content: fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "heapledger: {content}");
    };
    let units = Units::of(profile.snapshot.kind);
    let totals = &profile.snapshot.totals;
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
            units.amount(counts.total_bytes, counts.total_blocks),
            Percent {
                part: counts.total_bytes,
                whole: totals.total_bytes
            },
            site_name(profile, point),
        ));
    }
    for sentence in limits(profile) {
        line(format_args!("{sentence}"));
    }
    text
}

/// One sentence for each thing that the profile does not hold, or holds as a bound.
fn limits(profile: &Profile<'_>) -> Vec<String> {
    let refusals = &profile.snapshot.refusals;
    let sentences = [
        (
            refusals.dropped_allocs,
            "allocations were not recorded because a table was full or the system \
            had no memory for it: profile a shorter part of the program, or give it more memory.",
        ),
        (
            refusals.reentrant_allocs,
            "allocations were not recorded because they came while the profiler was \
            at work on the same thread: avoid allocating in signal handlers.",
        ),
        (
            refusals.truncated_stacks,
            "stacks end early because a frame had no unwind information: compile \
            everything with `-C force-unwind-tables=yes`, C code with `-fasynchronous-unwind-tables`.",
        ),
        (
            refusals.peak_slack_bytes,
            "bytes at most are missing from t-gmax: threads reached it at the same \
            time. Run with one thread if it must be exact.",
        ),
        (
            refusals.bounded_max_sites,
            "sites were used by several threads at once: their maximum (`mb`) is a \
            lower bound; all other numbers are exact.",
        ),
        (
            profile.merged_points,
            "points stand for several stacks that look the same: their maximum (`mb`) is \
            a lower bound; all other numbers are exact. Profile without trimming to see each.",
        ),
    ];
    let mut limits: Vec<String> = sentences
        .into_iter()
        .filter(|&(count, _)| count > 0)
        .map(|(count, sentence)| format!("{} {sentence}", Thousands(count)))
        .collect();
    if profile.folded_points > 0 {
        limits.push(format!(
            "{} of the smallest points are summed up as [other], because viewers cannot show more than {}: \
             trim stacks to fewer frames to see them.",
            Thousands(profile.folded_points),
            Thousands(MAX_POINTS as u64),
        ));
    }
    limits
}

/// The innermost frame that somebody wrote who does not work on the standard
/// library, else the innermost frame.
fn site_name(profile: &Profile<'_>, point: &Point) -> String {
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
        } => format!("{} ({}:{line})", frames.text(function), frames.text(file)),
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
struct Thousands(u64);

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
struct Percent {
    part: u64,
    whole: u64,
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.whole.max(1) as f64;
        write!(f, "{:.1}", self.part as f64 * 100.0 / whole)
    }
}
