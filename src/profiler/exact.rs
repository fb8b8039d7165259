//! What builds with the flags of `exact-flags.txt` can do beyond others: count reads
//! and writes, and see copies.

use super::{ProfilerBuilder, while_running};
use crate::alloc::ENGINE;
use crate::exact::{self, self_test};
use crate::record::snapshot::{Accesses, Kind, SiteList};
use std::hint::black_box;

impl ProfilerBuilder {
    /// Counts, for each byte of blocks of up to 1,024 bytes, how often it was read or
    /// written; DHAT's viewer shows it for every place all of whose blocks have one
    /// size. Makes an exact build about a quarter slower.
    ///
    /// Only in an exact build, as docs/exact.md in the repository tells how to make; in any
    /// other a line on standard error says so, and all else is recorded.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().histograms(true).build();
    /// ```
    pub fn histograms(mut self, count: bool) -> Self {
        self.histograms = count;
        self
    }

    /// Profiles copies, not allocations: each call of `memcpy` and `memmove` of the
    /// program, with its stack and its bytes. The file is `dhat-copies.json`
    /// unless [`file_name`](Self::file_name) says otherwise.
    ///
    /// Only in a build with the flags that make copies visible, as docs/exact.md in the
    /// repository tells; in any other a line on standard error says so, and no file is
    /// written.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().copies().build();
    /// ```
    pub fn copies(mut self) -> Self {
        (self.copies, self.ad_hoc) = (true, false);
        self
    }
}

pub(super) const MISSING_FLAGS_FOR_COPIES: &str = "error: no copy can be recorded, because the program was \
     built without the flags that make copies visible; docs/exact.md of heapledger tells how to build it";

const MISSING_FLAGS_FOR_HISTOGRAMS: &str = "error: no histograms, because the program was built without the \
     flags that count reads and writes; docs/exact.md of heapledger tells how to build it";

const SILENT: &str = "error: the program was built with the flags that count reads and writes, but this \
     compiler does not count all of them; build it with a Rust version that docs/exact.md of heapledger lists";

const NO_MEMORY: &str = "error: reads and writes are not counted, because the system gives no memory for \
     the tables; profile a shorter part of the program, or give it more address space";

/// How a run counts reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// This is no build for it, or no run.
    Nothing {
        objection: Option<&'static str>,
    },
    Silent(&'static str),
    Accesses {
        histograms: bool,
    },
}

/// Called when a run has started. Of copies, ends with [`stop`].
pub(super) fn start(kind: Kind, histograms: bool) -> Counting {
    match kind {
        Kind::AdHoc => return Counting::Nothing { objection: None },
        Kind::Copies => {
            exact::listen_to_copies(Some(copying));
            return Counting::Nothing { objection: None };
        }
        Kind::Heap => {}
    }
    if !exact::COUNTS_ACCESSES {
        let objection = histograms.then_some(MISSING_FLAGS_FOR_HISTOGRAMS);
        return Counting::Nothing { objection };
    }
    match self_test::run() {
        Ok(()) => Counting::Accesses { histograms },
        Err(self_test::Silent::NoMemory) => Counting::Silent(NO_MEMORY),
        Err(self_test::Silent::Callbacks | self_test::Silent::Canary) => Counting::Silent(SILENT),
    }
}

/// Before a run is read for the last time.
pub(super) fn stop() {
    exact::listen_to_copies(None);
}

/// When a run has been read for the last time.
pub(super) fn rest() {
    exact::rest();
}

/// What is to be told about the run that has just started.
pub(super) fn objection() -> Option<&'static str> {
    while_running(|run| match run.accesses {
        Counting::Nothing { objection } => objection,
        Counting::Silent(why) => Some(why),
        Counting::Accesses { .. } => None,
    })?
}

/// What was counted.
pub(super) fn read(counting: Counting, sites: &SiteList) -> Accesses {
    match counting {
        Counting::Nothing { .. } => Accesses::NotCounted,
        Counting::Silent(why) => Accesses::Silent(why),
        Counting::Accesses { histograms } => {
            Accesses::Counted(Box::new(ENGINE.recorder().accesses(sites, histograms)))
        }
    }
}

unsafe extern "C" fn copying(bytes: usize) {
    ENGINE.on_copy(bytes);
}

/// Makes a copy and looks whether it was heard of. Called while recording, with what
/// this thread does ignored.
pub(super) fn copies_are_seen() -> bool {
    let before = ENGINE.ignored_allocations();
    let from = black_box([1_u8; 300]);
    let mut to = [0; 300];
    let bytes = black_box(from.len());
    to[..bytes].copy_from_slice(&from[..bytes]);
    black_box(to);
    ENGINE.ignored_allocations() != before
}
