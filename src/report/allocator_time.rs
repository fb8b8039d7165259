//! The summary's lines about the time that the program spends in its allocator.

use super::profile::{Point, Profile};
use super::summary::{Percent, TOP_SITES, site_name};
use crate::record::snapshot::{AllocatorTime, ProcessTime};
use std::cmp::Reverse;
use std::fmt;

/// None where it was not measured.
pub(super) fn lines(profile: &Profile<'_>) -> Vec<String> {
    let Some(time) = &profile.snapshot.time else {
        return Vec::new();
    };
    let mut lines = vec![process_line(time)];
    let mut points: Vec<(&AllocatorTime, &Point)> = profile
        .points
        .iter()
        .filter_map(|point| Some((profile.time(point)?, point)))
        .filter(|(time, _)| time.total_ns() > 0)
        .collect();
    points.sort_by_key(|(time, _)| Reverse(time.total_ns()));
    if !points.is_empty() {
        lines.push("Most allocator time by:".to_owned());
    }
    for (rank, (site, point)) in points.into_iter().take(TOP_SITES).enumerate() {
        lines.push(format!(
            "{:>2}. {} {}",
            rank + 1,
            Shares { of: site, time },
            site_name(profile, point),
        ));
    }
    lines
}

fn process_line(time: &ProcessTime) -> String {
    let error = Percent {
        part: time.error_ns,
        whole: time.program_ns(),
    };
    let shares = Shares {
        of: &time.allocator,
        time,
    };
    format!(
        "Allocator time: {shares}, ± {error}, from 1 call in {}; the program took {} s, without {} s of the profiler",
        time.calls_a_sample,
        Seconds(time.program_ns()),
        Seconds(time.profiler_ns),
    )
}

/// Of the program's processor time.
struct Shares<'a> {
    of: &'a AllocatorTime,
    time: &'a ProcessTime,
}

impl fmt::Display for Shares<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.time.program_ns();
        let percent = |part| Percent { part, whole };
        write!(
            f,
            "{}% of CPU (alloc {}, realloc {}, free {})",
            percent(self.of.total_ns()),
            percent(self.of.alloc_ns),
            percent(self.of.realloc_ns),
            percent(self.of.free_ns),
        )
    }
}

struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0 as f64 / 1e9)
    }
}
