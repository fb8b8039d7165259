//! Readings of the run in progress.

use crate::alloc::ENGINE;
use crate::profiler::{Question, totals};

/// Totals of the heap profile in progress.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let _profiler = heapledger::Profiler::builder().testing().build();
///     let numbers = vec![1_u32, 2, 3];
///     let stats = heapledger::HeapStats::get();
///     heapledger::assert_eq!(stats.curr_bytes, 12);
///     drop(numbers);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapStats {
    /// Blocks allocated since the start; a reallocation counts as one more.
    pub total_blocks: u64,
    /// Bytes allocated since the start; a reallocation counts with its new size.
    pub total_bytes: u64,
    /// Blocks live now.
    pub curr_blocks: usize,
    /// Bytes live now.
    pub curr_bytes: usize,
    /// Blocks live at the global peak: when `curr_bytes` was highest.
    pub max_blocks: usize,
    /// Bytes live at the global peak. Exact in testing mode, with
    /// [`exact_peaks`](crate::ProfilerBuilder::exact_peaks), and as long as
    /// one thread allocates; otherwise at most 1/64 (or, if that is more, 1 KiB a
    /// thread) below the true peak, beside what is in flight.
    pub max_bytes: usize,
}

impl HeapStats {
    /// Reads the totals, all at one moment.
    ///
    /// # Panics
    /// If no profiler is running, if it does not profile the heap, after one
    /// of the crate's assertions has failed, and if
    /// [`Alloc`](struct@crate::Alloc) is not the global allocator.
    pub fn get() -> Self {
        let totals = totals(Question::HeapTotals);
        Self {
            total_blocks: totals.total_blocks,
            total_bytes: totals.total_bytes,
            curr_blocks: totals.live_blocks as usize,
            curr_bytes: totals.live_bytes as usize,
            max_blocks: totals.peak_blocks as usize,
            max_bytes: totals.peak_bytes as usize,
        }
    }
}

/// The heap profile in progress, for a metrics endpoint: no thread is stopped or kept
/// waiting, so it can be read as often as one likes.
///
/// Counts of threads that allocate meanwhile are read at slightly different
/// moments. In a [sampled](crate::ProfilerBuilder::sample_bytes) run all of them are
/// estimates.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let _profiler = heapledger::Profiler::builder().testing().build();
///     let numbers = vec![1_u32, 2, 3];
///     let gauges = heapledger::HeapGauges::read().expect("a run is in progress");
///     println!("heap_live_bytes {}", gauges.live_bytes);
///     drop(numbers);
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeapGauges {
    /// Blocks allocated since the start; a reallocation counts as one more.
    pub total_blocks: u64,
    /// Bytes allocated since the start.
    pub total_bytes: u64,
    /// Blocks live now.
    pub live_blocks: u64,
    /// Bytes live now.
    pub live_bytes: u64,
    /// The most bytes that were live at once, as far as threads have told: see
    /// [`HeapStats::max_bytes`].
    pub max_bytes: u64,
    /// Mean number of bytes from a sample to the next; None: every block is recorded.
    pub sample_bytes: Option<u64>,
}

impl HeapGauges {
    /// Reads the counters. None: no heap profile is in progress.
    pub fn read() -> Option<Self> {
        let (totals, sample_bytes) = ENGINE.gauges()?;
        // What one thread freed and another allocated may be read in the wrong order.
        let live = |count: u64| (count as i64).max(0) as u64;
        Some(Self {
            total_blocks: totals.total_blocks,
            total_bytes: totals.total_bytes,
            live_blocks: live(totals.live_blocks),
            live_bytes: live(totals.live_bytes),
            max_bytes: totals.peak_bytes.max(live(totals.live_bytes)),
            sample_bytes,
        })
    }
}

/// Totals of the ad hoc profile in progress.
///
/// # Examples
/// ```
/// let _profiler = heapledger::Profiler::builder().ad_hoc().testing().build();
/// heapledger::ad_hoc_event(30);
/// heapledger::ad_hoc_event(12);
/// let stats = heapledger::AdHocStats::get();
/// assert_eq!((stats.total_events, stats.total_units), (2, 42));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdHocStats {
    /// Calls of [`ad_hoc_event`] since the start.
    pub total_events: u64,
    /// The sum of their weights.
    pub total_units: u64,
}

impl AdHocStats {
    /// Reads the totals.
    ///
    /// # Panics
    /// If no profiler is running, if it does not profile ad hoc events, and
    /// after one of the crate's assertions has failed.
    pub fn get() -> Self {
        let totals = totals(Question::AdHocTotals);
        Self {
            total_events: totals.total_blocks,
            total_units: totals.total_bytes,
        }
    }
}

/// Records an event of this weight, with its stack, if an ad hoc profile is in
/// progress. What a unit of weight is, is up to the program.
///
/// # Examples
/// ```
/// heapledger::ad_hoc_event(3); // no profiler: nothing happens
/// ```
#[inline]
pub fn ad_hoc_event(weight: usize) {
    ENGINE.on_event(weight);
}
