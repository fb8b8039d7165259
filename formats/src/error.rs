use std::fmt;
use std::io;

use crate::metric::Metric;

/// Why a file was not written, in one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The output did not take it.
    Io(io::Error),
    /// The profile has no such figures.
    NoSuchMetric {
        /// What was asked for.
        metric: Metric,
        /// What it has.
        available: Vec<Metric>,
    },
    /// Stacks whose names, written for each, are longer than anybody reads.
    TooLong {
        /// What was to be written.
        format: &'static str,
    },
    /// A figure that the format has no place for.
    TooLarge {
        /// Of which figure.
        metric: Metric,
        /// What was to be written.
        format: &'static str,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NoSuchMetric { metric, available } => {
                write!(f, "the profile has no {metric}; it has: ")?;
                for (index, metric) in available.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{metric}")?;
                }
                Ok(())
            }
            Self::TooLong { format } => write!(
                f,
                "the names on the profile's stacks are more than the 4 GiB of text that {format} can hold: `convert` to another format"
            ),
            Self::TooLarge { metric, format } => write!(
                f,
                "the profile's {metric} are more than {format} can hold: is the file damaged?"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NoSuchMetric { .. } | Self::TooLong { .. } | Self::TooLarge { .. } => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::Io(error.into())
    }
}
