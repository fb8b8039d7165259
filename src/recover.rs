//! A profile of a process that did not come to its end.

use crate::alloc::ENGINE;
use crate::profiler::About;
use crate::record::recovered::{self, NotRecovered};
use crate::record::snapshot::{Accesses, Kind, Refusals, Snapshot};
use crate::report::output::{Format, Formats};
use crate::report::profile::{Options, Profile};
use crate::report::trim::Trim;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::slice;
use std::sync::atomic::AtomicU8;

/// Why a crash file did not become a profile.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecoverError {
    /// The file cannot be read, or the profile not be written.
    Io(io::Error),
    /// It is no crash file, or one that is cut short.
    NotACrashFile,
    /// Another version of heapledger has written it; only that one can read it.
    OtherVersion,
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NotACrashFile => f.write_str(
                "not a crash file of heapledger: give the file that ends with .crash, beside where \
                 the profile was to be",
            ),
            Self::OtherVersion => f.write_str(
                "written by another version of heapledger: recover it with the version that the \
                 program was built with",
            ),
        }
    }
}

impl std::error::Error for RecoverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NotACrashFile | Self::OtherVersion => None,
        }
    }
}

impl From<io::Error> for RecoverError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Turns the crash file that a killed process has left
/// ([`crash_safe`](crate::ProfilerBuilder::crash_safe)) into a profile. The file stays.
///
/// Frames are named from the program's own files, which must still be there unchanged. Each
/// thread may have been in the middle of one operation. The maximum (`mb`) of a site
/// that several threads used is a lower bound, and what became of
/// reallocations is not known.
///
/// # Errors
/// See [`RecoverError`].
///
/// # Examples
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let profile = std::fs::File::create("recovered.json")?;
/// heapledger::recover("dhat-heap.json.4711.crash".as_ref(), &heapledger::Format::Dhat, profile)?;
/// # Ok(())
/// # }
/// ```
pub fn recover(crash_file: &Path, format: &Format, writer: impl Write) -> Result<(), RecoverError> {
    ENGINE.ignoring(|| {
        let file = File::open(crash_file)?;
        let file = memmap2::MmapOptions::new().map_raw_read_only(&file)?;
        // SAFETY: as long as the mapping, which outlives it. Another process that changes the file
        // meanwhile makes the figures wrong, which are checked wherever they are used as indices.
        let bytes = unsafe { slice::from_raw_parts(file.as_ptr().cast::<AtomicU8>(), file.len()) };
        let recovered = recovered::read(bytes).map_err(|why| match why {
            NotRecovered::NotACrashFile => RecoverError::NotACrashFile,
            NotRecovered::OtherVersion => RecoverError::OtherVersion,
        })?;
        // Without it frames have no names.
        let about: About = serde_json::from_slice(&recovered.about).unwrap_or_default();
        let options = Options {
            trim: about.frames.map_or(Trim::Off, Trim::To),
            command: about.command,
            pid: recovered.pid,
            touch_as_accesses: false,
        };
        let snapshot = Snapshot {
            kind: Kind::Heap,
            duration_us: recovered.duration_us,
            peak_at_us: recovered.peak_at_us,
            timeline: recovered.totals.framing(
                std::iter::empty(),
                recovered.peak_at_us,
                recovered.duration_us,
            ),
            totals: recovered.totals,
            sites: recovered.sites,
            time: None,
            site_times: Vec::new(),
            accesses: Accesses::NotCounted,
            nodes: recovered.nodes,
            modules: about.modules.into_iter().map(Into::into).collect(),
            sample_bytes: recovered.sample_bytes,
            refusals: Refusals {
                torn_readings: recovered.threads,
                dropped_allocs: recovered.lost_chunks,
                ..Refusals::default()
            },
            capture: "recovered",
        };
        let profile = Profile::from_snapshot(&snapshot, &options);
        Formats::of(&profile).write(format, writer)?;
        Ok(())
    })
}
