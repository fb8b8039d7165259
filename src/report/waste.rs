//! The summary's lines about bytes that were allocated and never written to.

use super::profile::{Point, Profile};
use super::summary::{Thousands, site_name};
use crate::record::snapshot::Touched;
use std::fmt;

/// Sites that are named.
const TOP_WASTES: usize = 3;

/// None where it was not measured.
pub(super) fn lines(profile: &Profile<'_>) -> Vec<String> {
    let mut all = Touched::default();
    // Those that waste most, the most first; of equal ones the first.
    let mut top: Vec<(Touched, &Point)> = Vec::new();
    for point in &profile.points {
        let touched = profile.counts(point).touched;
        all.add(&touched);
        let wasted = touched.never_written_bytes();
        let place = top.partition_point(|(other, _)| other.never_written_bytes() >= wasted);
        if wasted > 0 && place < TOP_WASTES {
            top.truncate(TOP_WASTES - 1);
            top.insert(place, (touched, point));
        }
    }
    if all.all_bytes == 0 {
        return Vec::new();
    }
    let mut lines = vec![format!(
        "Written:   {} of {} bytes ({}%), an estimate",
        Written(&all),
        Thousands(all.all_bytes),
        Part::of(&all),
    )];
    if !top.is_empty() {
        lines.push("Most bytes never written by:".to_owned());
    }
    for (rank, (touched, point)) in top.into_iter().enumerate() {
        lines.push(format!(
            "{:>2}. allocated {} bytes, wrote {} ({}%), unused at the end of blocks {}: {}",
            rank + 1,
            Thousands(touched.all_bytes),
            Written(&touched),
            Part::of(&touched),
            Thousands(touched.all_tail_bytes),
            site_name(profile, point),
        ));
    }
    lines
}

/// A number, and its interval if it is one.
struct Written<'a>(&'a Touched);

impl fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Touched {
            all_written_bytes, ..
        } = *self.0;
        match self.0.interval() {
            (low, high) if low == high => write!(f, "{}", Thousands(low)),
            (low, high) => write!(
                f,
                "{} (from {} to {})",
                Thousands(all_written_bytes),
                Thousands(low),
                Thousands(high)
            ),
        }
    }
}

/// A share with two decimals: of a waste, little is written.
struct Part(f64);

impl Part {
    fn of(touched: &Touched) -> Self {
        Self(touched.all_written_bytes as f64 * 100.0 / touched.all_bytes.max(1) as f64)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::snapshot::{Counts, Kind};
    use crate::report::sample;
    use crate::report::trim::Trim;

    fn counts(all_bytes: u64, all_written_bytes: u64, error_above: u64) -> Counts {
        let touched = Touched {
            blocks: 1,
            all_bytes,
            all_written_bytes,
            all_tail_bytes: (all_bytes - all_written_bytes) / 2,
            error_above,
            ..Touched::default()
        };
        Counts {
            touched,
            ..sample::counts(1_200)
        }
    }

    fn lines_of(sites: &[(&[u64], Counts)]) -> Vec<String> {
        let snapshot = sample::snapshot(Kind::Heap, sites);
        let options = sample::options(Trim::To(64));
        lines(&Profile::from_snapshot(&snapshot, &options))
    }

    #[test]
    fn the_worst_sites_are_those_with_the_most_bytes_never_written() {
        let sites: &[(&[u64], Counts)] = &[
            (&[1], counts(5_000_000, 5_000_000, 0)),
            (&[2], counts(1_000_000, 100, 0)),
            (&[3], counts(3_000_000, 1_000_000, 20_000)),
        ];
        assert_eq!(
            lines_of(sites),
            [
                "Written:   6,000,100 (from 6,000,100 to 6,020,100) of 9,000,000 bytes (66.67%), an estimate",
                "Most bytes never written by:",
                " 1. allocated 3,000,000 bytes, wrote 1,000,000 (from 1,000,000 to 1,020,000) (33.33%), \
                 unused at the end of blocks 1,000,000: 0x3: ??? (in ???)",
                " 2. allocated 1,000,000 bytes, wrote 100 (0.01%), \
                 unused at the end of blocks 499,950: 0x2: ??? (in ???)",
            ]
        );
    }

    #[test]
    fn nothing_is_said_where_nothing_was_measured_or_wasted() {
        assert!(lines_of(&[(&[1], sample::counts(12))]).is_empty());
        assert_eq!(lines_of(&[(&[1], counts(10, 10, 0))]).len(), 1);
    }
}
