//! What a reading of the tables yields: plain numbers, no pointers into live
//! state. `report` sees this and nothing else.

pub(crate) use super::accesses::{Accesses, CountedAccesses, SiteAccesses};
pub(crate) use crate::capture::back_end::BackEnd;
#[cfg(test)]
pub(crate) use crate::capture::module_map::BuildId;
pub(crate) use crate::capture::module_map::{Module, NotedModule};
pub(crate) use crate::record::sampling::SampleSum;
pub(crate) use crate::record::site_list::{SiteList, SitePlace};
use crate::record::time_counters::Call;

/// What was profiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Every allocation and free of the process.
    Heap,
    /// The weights passed to `ad_hoc_event`.
    AdHoc,
    /// The bytes copied by each call of `memcpy` and `memmove`.
    Copies,
}

/// The whole process's counts. For ad hoc profiles blocks are events, bytes
/// are units, and everything but the totals is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) total_blocks: u64,
    pub(crate) total_bytes: u64,
    pub(crate) live_blocks: u64,
    pub(crate) live_bytes: u64,
    /// Blocks live at t-gmax.
    pub(crate) peak_blocks: u64,
    /// Bytes live at t-gmax: the sum of every site's `peak_bytes`.
    pub(crate) peak_bytes: u64,
}

impl Totals {
    /// The moments that were marked, with the three that are known exactly: nothing was live at the
    /// start, and what was live at the peak and is at the reading.
    pub(crate) fn framing(
        &self,
        marked: impl Iterator<Item = MomentInTime>,
        peak_at_us: u64,
        duration_us: u64,
    ) -> Vec<MomentInTime> {
        let peak = MomentInTime {
            at_us: peak_at_us.min(duration_us),
            live_bytes: self.peak_bytes,
            live_blocks: self.peak_blocks,
            is_peak: true,
            ..MomentInTime::default()
        };
        let end = MomentInTime {
            at_us: duration_us,
            live_bytes: self.live_bytes,
            live_blocks: self.live_blocks,
            is_peak: false,
            ..MomentInTime::default()
        };
        let mut moments = vec![MomentInTime::default()];
        // In the peak's own microsecond the peak is what counts.
        moments.extend(marked.filter(|moment| {
            moment.at_us > 0 && moment.at_us < duration_us && moment.at_us != peak.at_us
        }));
        moments.push(peak);
        moments.sort_by_key(|moment| moment.at_us);
        moments.push(end);
        moments
    }
}

/// One site's counts; a site is one distinct captured stack.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) total_blocks: u64,
    pub(crate) total_bytes: u64,
    /// Sum of the lifetimes of all blocks; blocks still live count up to the reading.
    pub(crate) lifetimes_us: u64,
    /// The most bytes this site ever held live.
    pub(crate) max_bytes: u64,
    /// Blocks live when `max_bytes` was (last) reached.
    pub(crate) max_blocks: u64,
    /// Bytes and blocks held at t-gmax.
    pub(crate) peak_bytes: u64,
    pub(crate) peak_blocks: u64,
    /// Bytes and blocks still live at the reading.
    pub(crate) end_bytes: u64,
    pub(crate) end_blocks: u64,
    /// The largest block, as it was allocated or after it was reallocated.
    pub(crate) largest_bytes: u64,
    /// Reallocations among the total blocks.
    pub(crate) reallocs: u64,
    /// What they left as it was: the lesser of the old and the new size. The
    /// total bytes hold it twice.
    pub(crate) kept_bytes: u64,
    /// Of that, what they copied because the block moved.
    pub(crate) copied_bytes: u64,
    /// What all of these rest on, in a sampled run.
    pub(crate) samples: SampleSum,
    pub(crate) touched: Touched,
}

/// How much of a site's blocks the program wrote to: an estimate. A reallocated
/// block is one block, of all bytes that it ever had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Touched {
    /// Blocks that were measured, and their bytes.
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    /// Of these bytes, those surely written.
    pub(crate) written_bytes: u64,
    /// Of these bytes, those behind the last one written in their block.
    pub(crate) tail_bytes: u64,
    /// Bytes of all blocks but the unmeasured ones.
    pub(crate) all_bytes: u64,
    /// Of those, bytes written, and behind the last one written: estimates.
    pub(crate) all_written_bytes: u64,
    pub(crate) all_tail_bytes: u64,
    /// Of zeroed blocks it cannot be seen what zeros were written: so much less,
    /// or more, than estimated may be written.
    pub(crate) unsure_below: u64,
    pub(crate) unsure_above: u64,
    /// And so much by chance, where blocks were sampled, 19 times of 20.
    pub(crate) error_below: u64,
    pub(crate) error_above: u64,
    /// Blocks of which nothing is known, not even through others of their site.
    pub(crate) unmeasured_blocks: u64,
}

impl Touched {
    /// Where the bytes written lie, 19 times of 20.
    pub(crate) fn interval(&self) -> (u64, u64) {
        let below = self.unsure_below + self.error_below;
        let above = self.unsure_above + self.error_above;
        let high = self.all_written_bytes + above;
        (
            self.all_written_bytes.saturating_sub(below),
            high.min(self.all_bytes),
        )
    }

    pub(crate) fn never_written_bytes(&self) -> u64 {
        self.all_bytes.saturating_sub(self.all_written_bytes)
    }

    /// Errors by chance of different sites are independent of each other.
    pub(crate) fn add(&mut self, other: &Self) {
        let root = |a: u64, b: u64| (a as f64).hypot(b as f64).round() as u64;
        self.blocks += other.blocks;
        self.bytes += other.bytes;
        self.written_bytes += other.written_bytes;
        self.tail_bytes += other.tail_bytes;
        self.all_bytes += other.all_bytes;
        self.all_written_bytes += other.all_written_bytes;
        self.all_tail_bytes += other.all_tail_bytes;
        self.unsure_below += other.unsure_below;
        self.unsure_above += other.unsure_above;
        self.error_below = root(self.error_below, other.error_below);
        self.error_above = root(self.error_above, other.error_above);
        self.unmeasured_blocks += other.unmeasured_blocks;
    }
}

/// A frame in the stack tree. A stack is a node and its ancestors, innermost
/// first; nodes below one parent share their outer frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// Index of the caller's node, or 0: node 0 is the empty stack.
    pub(crate) parent: u32,
    /// Return address in this process; `address - 1` lies in the call
    /// instruction, so that is what is symbolized.
    pub(crate) address: u64,
}

/// A distinct stack and its counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct SiteCounts {
    /// In the order in which sites were made.
    pub(crate) number: u32,
    /// Index into [`Snapshot::nodes`] of the innermost frame.
    pub(crate) leaf: u32,
    pub(crate) counts: Counts,
}

/// Time spent in the inner allocator: an estimate from calls that were timed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AllocatorTime {
    pub(crate) alloc_ns: u64,
    pub(crate) realloc_ns: u64,
    /// Of frees, which count for the site that allocated the block.
    pub(crate) free_ns: u64,
    /// Calls that were timed.
    pub(crate) samples: u64,
}

impl AllocatorTime {
    pub(crate) fn of(ticks: [i64; 3], samples: u64, ns_per_tick: f64) -> Self {
        // What takes no time can come out below 0.
        let ns = |ticks: i64| (ticks.max(0) as f64 * ns_per_tick) as u64;
        Self {
            alloc_ns: ns(ticks[Call::Alloc as usize]),
            realloc_ns: ns(ticks[Call::Realloc as usize]),
            free_ns: ns(ticks[Call::Free as usize]),
            samples,
        }
    }

    pub(crate) fn total_ns(&self) -> u64 {
        self.alloc_ns + self.realloc_ns + self.free_ns
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.alloc_ns += other.alloc_ns;
        self.realloc_ns += other.realloc_ns;
        self.free_ns += other.free_ns;
        self.samples += other.samples;
    }
}

/// The process's processor time during the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessTime {
    pub(crate) allocator: AllocatorTime,
    /// In 19 of 20 runs the allocator's time lies this close to the estimate.
    pub(crate) error_ns: u64,
    /// All of it, in the kernel too.
    pub(crate) cpu_ns: u64,
    /// An estimate of the part that recording took.
    pub(crate) profiler_ns: u64,
    /// Calls that each sample stands for.
    pub(crate) calls_a_sample: u32,
}

impl ProcessTime {
    /// What the program itself took, its allocator included.
    pub(crate) fn program_ns(&self) -> u64 {
        self.cpu_ns.saturating_sub(self.profiler_ns)
    }
}

/// What was not recorded, or only within a bound. All zero on an ordinary run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    /// Allocations made while the profiler itself was at work on the same
    /// thread (a signal handler that allocates): not recorded.
    pub(crate) reentrant_allocs: u64,
    /// Frees of the same kind: their blocks, if recorded, stay counted as live.
    pub(crate) reentrant_frees: u64,
    /// Allocations dropped because a named limit was reached or the system
    /// gave no memory for the tables.
    pub(crate) dropped_allocs: u64,
    /// Stacks cut short because a frame had no usable unwind information.
    pub(crate) truncated_stacks: u64,
    /// Frees by C code of blocks of Rust code, whose size C does not tell: the
    /// blocks stay counted as live.
    pub(crate) unsized_frees: u64,
    /// Readings that did not wait for a thread that was suspended in the middle
    /// of recording: they can be off by one operation of it.
    pub(crate) torn_readings: u64,
    /// The true global peak is at most this many bytes above the reported
    /// one; 0 means that the reported peak is exact.
    pub(crate) peak_slack_bytes: u64,
    /// Sites used by several threads, whose `max_bytes` is known to within 1/64
    /// (or, if that is more, 1 KiB) for each of these threads, and whose
    /// `max_blocks` to within 1/64 or 16.
    pub(crate) bounded_max_sites: u64,
}

/// What the process held at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MomentInTime {
    pub(crate) at_us: u64,
    pub(crate) live_bytes: u64,
    pub(crate) live_blocks: u64,
    pub(crate) is_peak: bool,
    /// What held most, as index into [`Snapshot::sites`], and its bytes; 0 for none. Known at some
    /// moments of a program with one thread.
    pub(crate) top: [(u32, u64); 3],
}

/// One consistent reading of everything recorded so far.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) kind: Kind,
    /// Time from the start of profiling to this reading.
    pub(crate) duration_us: u64,
    /// Time from the start of profiling to t-gmax.
    pub(crate) peak_at_us: u64,
    pub(crate) totals: Totals,
    pub(crate) sites: SiteList,
    /// Where allocator time was measured.
    pub(crate) time: Option<ProcessTime>,
    /// Of each of `sites`; empty where it was not measured.
    pub(crate) site_times: Vec<AllocatorTime>,
    pub(crate) accesses: Accesses,
    /// What was live over time, in order: of a heap profile from the start, through the peak, to this
    /// reading.
    pub(crate) timeline: Vec<MomentInTime>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) modules: Vec<Module>,
    /// Mean number of bytes from a sample to the next, where blocks were sampled:
    /// then all counts are estimates.
    pub(crate) sample_bytes: Option<u64>,
    pub(crate) refusals: Refusals,
    /// What took the stacks.
    pub(crate) capture: &'static str,
}
