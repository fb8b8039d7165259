//! The figures that points are ranked by: those of the format, and those that follow from them or
//! from what heapledger adds.

use std::fmt;
use std::str::FromStr;

use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;

/// What points are ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Figure {
    Metric(Metric),
    /// Bytes that were allocated and never written: counted, or estimated for all blocks.
    Unwritten,
    /// Measured bytes behind the last one that was written.
    UnusedTail,
    /// Blocks of points whose blocks live for less than `tuth` on average.
    ShortLived,
    Reallocs,
    /// Bytes that reallocations copied.
    Copied,
    /// Processor time in the allocator, in ns: from samples.
    AllocatorTime,
}

/// What DHAT's viewer tells of a whole profile: names, a short and a long one, of sums of bytes and of blocks.
pub(crate) const TOTALS: [(&str, &str, Metric, Option<Metric>); 5] = [
    (
        "Total",
        "Total",
        Metric::TotalBytes,
        Some(Metric::TotalBlocks),
    ),
    (
        "At t-gmax",
        "At the peak (t-gmax)",
        Metric::PeakBytes,
        Some(Metric::PeakBlocks),
    ),
    (
        "At t-end",
        "At the end (t-end)",
        Metric::EndBytes,
        Some(Metric::EndBlocks),
    ),
    ("Reads", "Reads", Metric::ReadBytes, None),
    ("Writes", "Writes", Metric::WrittenBytes, None),
];

const DERIVED: [(Figure, &str); 6] = [
    (Figure::Unwritten, "unwritten-bytes"),
    (Figure::UnusedTail, "tail-bytes"),
    (Figure::ShortLived, "short-lived-blocks"),
    (Figure::Reallocs, "reallocs"),
    (Figure::Copied, "copied-bytes"),
    (Figure::AllocatorTime, "allocator-ns"),
];

impl Figure {
    pub(crate) fn is_in(self, profile: &Profile) -> bool {
        let extensions = &profile.point_extensions;
        match self {
            Self::Metric(metric) => metric.is_in(profile),
            Self::Unwritten => {
                profile.has_accesses || extensions.iter().any(|point| point.touch.is_some())
            }
            Self::UnusedTail => extensions.iter().any(|point| point.touch.is_some()),
            Self::ShortLived => profile.has_lifetimes && profile.short_lived_below.is_some(),
            Self::Reallocs | Self::Copied => !extensions.is_empty(),
            Self::AllocatorTime => extensions.iter().any(|point| point.time.is_some()),
        }
    }

    /// Of the point with this number.
    pub(crate) fn of(self, profile: &Profile, index: usize) -> u64 {
        let counts = &profile.points[index].counts;
        let extension = profile.point_extensions.get(index);
        let touch = extension.and_then(|extension| extension.touch);
        match self {
            Self::Metric(metric) => metric.of(counts),
            Self::Unwritten if profile.has_accesses => {
                counts.total_bytes.saturating_sub(counts.written_bytes)
            }
            Self::Unwritten => touch.map_or(0, |touch| {
                touch.all_bytes.saturating_sub(touch.all_written_bytes)
            }),
            Self::UnusedTail => touch.map_or(0, |touch| touch.all_tail_bytes),
            Self::ShortLived => {
                let limit = profile.short_lived_below.unwrap_or(0);
                let blocks = counts.total_blocks;
                let is_short =
                    u128::from(counts.lifetimes) < u128::from(limit) * u128::from(blocks);
                if is_short { blocks } else { 0 }
            }
            Self::Reallocs => extension.map_or(0, |extension| extension.reallocs),
            Self::Copied => extension.map_or(0, |extension| extension.copied_bytes),
            Self::AllocatorTime => {
                extension
                    .and_then(|extension| extension.time)
                    .map_or(0, |time| {
                        time.alloc_ns
                            .saturating_add(time.realloc_ns)
                            .saturating_add(time.free_ns)
                    })
            }
        }
    }

    /// Of all points.
    pub(crate) fn sum(self, profile: &Profile) -> u128 {
        let of = |index| u128::from(self.of(profile, index));
        (0..profile.points.len()).map(of).sum()
    }

    /// Between what a figure that is an estimate lies, with a certainty of 95 %.
    pub(crate) fn interval(self, profile: &Profile, index: usize) -> Option<(u64, u64)> {
        let extension = profile.point_extensions.get(index)?;
        match self {
            Self::Metric(metric) => {
                let estimate = extension.estimate?;
                match metric {
                    Metric::TotalBytes => Some(estimate.tb),
                    Metric::TotalBlocks => Some(estimate.tbk),
                    Metric::EndBytes => Some(estimate.eb),
                    Metric::EndBlocks => Some(estimate.ebk),
                    _ => None,
                }
            }
            Self::Unwritten if !profile.has_accesses => {
                let touch = extension.touch?;
                let (low, high) = touch.all_written_interval;
                let unwritten = |written| touch.all_bytes.saturating_sub(written);
                Some((unwritten(high), unwritten(low)))
            }
            _ => None,
        }
    }

    /// A column's header: `allocated bytes`.
    pub(crate) fn title(self, profile: &Profile) -> String {
        match self {
            Self::Metric(metric) => metric.title(profile),
            Self::Unwritten if profile.has_accesses => "bytes never written".into(),
            Self::Unwritten => "bytes never written (estimate)".into(),
            Self::UnusedTail => "bytes of unused tails (estimate)".into(),
            Self::ShortLived => "short-lived blocks".into(),
            Self::Reallocs => "reallocations".into(),
            Self::Copied => "bytes copied by reallocations".into(),
            Self::AllocatorTime => "ns in the allocator (estimate)".into(),
        }
    }

    /// All that a profile has.
    pub(crate) fn of_profile(profile: &Profile) -> Vec<Figure> {
        let metrics = Metric::of_profile(profile).into_iter().map(Figure::Metric);
        let derived = DERIVED.iter().map(|&(figure, _)| figure);
        metrics
            .chain(derived.filter(|figure| figure.is_in(profile)))
            .collect()
    }
}

impl FromStr for Figure {
    type Err = String;

    fn from_str(text: &str) -> Result<Figure, String> {
        if let Some((figure, _)) = DERIVED.iter().find(|(_, known)| *known == text) {
            return Ok(*figure);
        }
        let derived: Vec<&str> = DERIVED.iter().map(|&(_, text)| text).collect();
        text.parse().map(Figure::Metric).map_err(
            |error: heapledger_formats::metric::UnknownMetric| {
                format!("{error}, {}", derived.join(", "))
            },
        )
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metric(metric) => metric.fmt(f),
            derived => {
                let text = DERIVED.iter().find(|(figure, _)| figure == derived);
                f.pad(text.map_or("", |(_, text)| text))
            }
        }
    }
}
