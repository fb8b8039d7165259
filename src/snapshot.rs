//! A profile of the run so far, taken while the program goes on.

use crate::alloc::ENGINE;
use crate::profiler::{Profiler, read_running};
use crate::record::snapshot::Snapshot as Reading;
use crate::report::output::{Format, Formats};
use crate::report::profile::{Options, Profile};
use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};
use std::time::Duration;

/// Everything that was recorded between the start of the run and one moment;
/// to be written as often and in as many formats as needed.
///
/// Other threads are kept from recording only while the counters are copied
/// ([`pause`](Self::pause) tells how long that took); naming the frames and
/// writing happen while they go on. What the calling thread allocates for it is left
/// out of the profile.
///
/// There is one at a time: as long as one exists, the next is refused. So a
/// service cannot be asked for profiles faster than it can serve them.
pub struct Snapshot {
    reading: Reading,
    options: Options,
    pause: Duration,
    _only: OnlyOne,
}

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Another one exists: it is being taken or written. Try again later.
    Busy,
    /// There is nothing to be read.
    NotRunning(&'static str),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("another snapshot is being made; try again when it is done"),
            Self::NotRunning(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SnapshotError {}

impl Profiler {
    /// Reads what was recorded so far, without ending the run.
    ///
    /// # Errors
    /// If another snapshot exists, if the run is over, and if
    /// [`Alloc`](struct@crate::Alloc) is not the global allocator.
    ///
    /// # Examples
    /// ```
    /// #[global_allocator]
    /// static ALLOC: heapledger::Alloc = heapledger::Alloc;
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     let profiler = heapledger::Profiler::builder().testing().build();
    ///     let held = vec![1, 2, 3];
    ///     let mut json = Vec::new();
    ///     profiler.snapshot()?.write_dhat(&mut json)?;
    ///     assert!(json.starts_with(b"{"));
    ///     # drop(held);
    ///     # Ok(())
    /// }
    /// ```
    pub fn snapshot(&self) -> Result<Snapshot, SnapshotError> {
        Snapshot::take()
    }
}

impl Snapshot {
    /// As [`Profiler::snapshot`], of whichever run is in progress: for code that
    /// does not hold the profiler.
    ///
    /// # Errors
    /// As [`Profiler::snapshot`]; also if no profiler is running.
    ///
    /// # Examples
    /// ```
    /// use heapledger::{Snapshot, SnapshotError};
    /// assert!(matches!(Snapshot::take(), Err(SnapshotError::NotRunning(_))));
    /// ```
    pub fn take() -> Result<Self, SnapshotError> {
        ENGINE.ignoring(|| {
            let only = OnlyOne::claim().ok_or(SnapshotError::Busy)?;
            let (reading, options, pause_ns) = read_running().map_err(SnapshotError::NotRunning)?;
            Ok(Self {
                reading,
                options,
                pause: Duration::from_nanos(pause_ns),
                _only: only,
            })
        })
    }

    /// How long other threads were kept from recording. One that allocated or
    /// freed meanwhile has waited at most that long.
    pub fn pause(&self) -> Duration {
        self.pause
    }

    /// Writes a DHAT file, as the end of a run does.
    ///
    /// # Errors
    /// Those of `writer`.
    ///
    /// # Examples
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let file = std::fs::File::create("now.json")?;
    /// heapledger::Snapshot::take()?.write_dhat(file)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write_dhat(&self, writer: impl Write) -> io::Result<()> {
        self.write(&Format::Dhat, writer)
    }

    /// Writes the profile in any format.
    ///
    /// # Errors
    /// Those of `writer`, and if the run does not have what the format shows.
    ///
    /// # Examples
    /// ```no_run
    /// use heapledger::{Format, Snapshot};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// Snapshot::take()?.write(&Format::Dhat, std::io::stdout())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn write(&self, format: &Format, writer: impl Write) -> io::Result<()> {
        self.with_profile(|profile| Formats::of(profile).write(format, writer))
    }

    fn with_profile<T>(&self, work: impl FnOnce(&Profile<'_>) -> T) -> T {
        ENGINE.ignoring(|| work(&Profile::from_snapshot(&self.reading, &self.options)))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("sites", &self.reading.sites.len())
            .field("pause", &self.pause)
            .finish_non_exhaustive()
    }
}

static CLAIMED: AtomicBool = AtomicBool::new(false);

/// Held by the one snapshot that there may be.
struct OnlyOne;

impl OnlyOne {
    fn claim() -> Option<Self> {
        (!CLAIMED.swap(true, Acquire)).then(|| Self)
    }
}

impl Drop for OnlyOne {
    fn drop(&mut self) {
        CLAIMED.store(false, Release);
    }
}
