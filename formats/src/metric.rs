//! What the size of a point can mean.

use std::fmt;
use std::str::FromStr;

use crate::model::{Counts, Mode, Profile};

/// One figure of a point. Its text, which [`FromStr`] reads back, is words with hyphens:
/// `total-bytes`, `peak-blocks`.
///
/// # Examples
/// ```
/// use heapledger_formats::metric::Metric;
/// assert_eq!("peak-bytes".parse(), Ok(Metric::PeakBytes));
/// assert_eq!(Metric::EndBlocks.to_string(), "end-blocks");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Metric {
    /// `tb`: all bytes that were ever allocated (or copied; or units of events).
    #[default]
    TotalBytes,
    /// `tbk`: all blocks (or calls, or events).
    TotalBlocks,
    /// `gb`: bytes live when most were.
    PeakBytes,
    /// `gbk`: blocks of that moment.
    PeakBlocks,
    /// `eb`: bytes live at the end.
    EndBytes,
    /// `ebk`: blocks live at the end.
    EndBlocks,
    /// `mb`: the most bytes that the point itself held; these do not add up to a moment.
    MaxBytes,
    /// `mbk`: blocks of that moment.
    MaxBlocks,
    /// `tl`: the sum of all lifetimes, in the profile's unit of time.
    Lifetimes,
    /// `rb`: bytes read.
    ReadBytes,
    /// `wb`: bytes written.
    WrittenBytes,
}

/// All metrics and their texts.
const TEXTS: [(Metric, &str); 11] = [
    (Metric::TotalBytes, "total-bytes"),
    (Metric::TotalBlocks, "total-blocks"),
    (Metric::PeakBytes, "peak-bytes"),
    (Metric::PeakBlocks, "peak-blocks"),
    (Metric::EndBytes, "end-bytes"),
    (Metric::EndBlocks, "end-blocks"),
    (Metric::MaxBytes, "max-bytes"),
    (Metric::MaxBlocks, "max-blocks"),
    (Metric::Lifetimes, "lifetimes"),
    (Metric::ReadBytes, "read-bytes"),
    (Metric::WrittenBytes, "written-bytes"),
];

/// No metric has this text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMetric(String);

impl Metric {
    /// All that a profile has, in the order above.
    pub fn of_profile(profile: &Profile) -> Vec<Self> {
        TEXTS
            .iter()
            .map(|&(metric, _)| metric)
            .filter(|metric| metric.is_in(profile))
            .collect()
    }

    /// Whether a profile has this figure.
    pub fn is_in(self, profile: &Profile) -> bool {
        match self {
            Self::TotalBytes | Self::TotalBlocks => true,
            Self::ReadBytes | Self::WrittenBytes => profile.has_accesses,
            _ => profile.has_lifetimes,
        }
    }

    /// A point's figure.
    pub fn of(self, counts: &Counts) -> u64 {
        match self {
            Self::TotalBytes => counts.total_bytes,
            Self::TotalBlocks => counts.total_blocks,
            Self::PeakBytes => counts.peak_bytes,
            Self::PeakBlocks => counts.peak_blocks,
            Self::EndBytes => counts.end_bytes,
            Self::EndBlocks => counts.end_blocks,
            Self::MaxBytes => counts.max_bytes,
            Self::MaxBlocks => counts.max_blocks,
            Self::Lifetimes => counts.lifetimes,
            Self::ReadBytes => counts.read_bytes,
            Self::WrittenBytes => counts.written_bytes,
        }
    }

    /// Whether it is a number of bytes (or of an ad hoc profile's units).
    pub fn is_bytes(self) -> bool {
        !matches!(
            self,
            Self::TotalBlocks
                | Self::PeakBlocks
                | Self::EndBlocks
                | Self::MaxBlocks
                | Self::Lifetimes
        )
    }

    /// What it is counted in, in the plural and in the profile's own words: bytes, blocks, units, µs.
    pub fn unit(self, profile: &Profile) -> &str {
        match (self, &profile.units) {
            (Self::Lifetimes, _) => &profile.time_units.0,
            (_, Some(units)) if self.is_bytes() => &units.bytes,
            (_, Some(units)) => &units.blocks,
            (_, None) if self.is_bytes() => "bytes",
            (_, None) => "blocks",
        }
    }

    /// A title for a picture or a table in the profile's own words: `allocated bytes`,
    /// `bytes live at the peak`.
    pub fn title(self, profile: &Profile) -> String {
        let unit = self.unit(profile);
        let done = match profile.mode {
            Mode::Heap => "allocated ",
            Mode::AdHoc => "",
            Mode::Copy => "copied ",
        };
        match self {
            Self::TotalBytes => format!("{done}{unit}"),
            Self::TotalBlocks if profile.units.is_none() => format!("{done}{unit}"),
            Self::TotalBlocks => unit.to_owned(),
            Self::PeakBytes | Self::PeakBlocks => format!("{unit} live at the peak"),
            Self::EndBytes | Self::EndBlocks => format!("{unit} live at the end"),
            Self::MaxBytes => format!("most {unit} live at once"),
            Self::MaxBlocks => format!("{unit} when most bytes were live"),
            Self::Lifetimes => format!("sum of lifetimes in {unit}"),
            Self::ReadBytes => format!("{unit} read"),
            Self::WrittenBytes => format!("{unit} written"),
        }
    }

    /// Fails if the profile does not have it.
    #[cfg(any(feature = "folded", feature = "speedscope", feature = "massif"))]
    pub(crate) fn check(self, profile: &Profile) -> Result<(), crate::Error> {
        if self.is_in(profile) {
            return Ok(());
        }
        Err(crate::Error::NoSuchMetric {
            metric: self,
            available: Self::of_profile(profile),
        })
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = TEXTS.iter().find(|(metric, _)| metric == self);
        f.pad(text.map_or("", |(_, text)| text))
    }
}

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(text: &str) -> Result<Self, UnknownMetric> {
        let found = TEXTS.iter().find(|(_, known)| *known == text);
        found
            .map(|&(metric, _)| metric)
            .ok_or_else(|| UnknownMetric(text.to_owned()))
    }
}

impl fmt::Display for UnknownMetric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known: Vec<&str> = TEXTS.iter().map(|&(_, text)| text).collect();
        write!(
            f,
            "there is no metric {:?}; choose one of {}",
            self.0,
            known.join(", ")
        )
    }
}

impl std::error::Error for UnknownMetric {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_read_back() {
        for (metric, text) in TEXTS {
            assert_eq!(
                (text.parse(), metric.to_string()),
                (Ok(metric), text.to_owned())
            );
        }
        let error = "bytes".parse::<Metric>().unwrap_err().to_string();
        assert!(
            error.contains("\"bytes\"") && error.contains("peak-bytes"),
            "{error}"
        );
    }
}
