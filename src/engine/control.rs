//! The control word: one atomic that every operation reads, which says whether
//! to record and how. Each change gives it a new value, so a thread that
//! compares it with the value it last acted on misses nothing.

use crate::futex;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, SeqCst},
};

/// A value of the control word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Control(pub(super) u32);

impl Control {
    /// Unlike every value that the word takes.
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) const RECORDING: u32 = 1 << 0;
    /// Nobody may enter: a reading is under way.
    pub(crate) const PAUSED: u32 = 1 << 1;
    /// More than one thread has a book open.
    pub(crate) const MANY: u32 = 1 << 2;
    /// The peak is exact with any number of threads.
    pub(crate) const EXACT: u32 = 1 << 3;
    /// The kernel cannot fence other threads for us; each fences for itself.
    pub(crate) const FENCE: u32 = 1 << 4;
    /// Ad hoc events are recorded, not allocations.
    pub(crate) const AD_HOC: u32 = 1 << 5;
    /// Copies are recorded, not allocations, nor ad hoc events: with `AD_HOC`.
    pub(crate) const COPIES: u32 = 1 << 9;
    /// Between windows: blocks recorded so far are followed, new ones left out.
    pub(crate) const SHUT: u32 = 1 << 8;
    /// Scopes are open: threads in one record what they allocate, and frees of
    /// such blocks are seen on any thread.
    pub(crate) const SCOPES: u32 = 1 << 7;
    /// Operations on the heap are looked at, for a run or for scopes. Set and
    /// cleared by [`ControlWord::change`] alone.
    const HEAP: u32 = 1 << 11;
    /// Some of the inner allocator's calls are timed.
    pub(crate) const TIMED: u32 = 1 << 6;
    /// Only some blocks are recorded.
    pub(crate) const SAMPLED: u32 = 1 << 10;

    /// What is written to blocks is measured.
    pub(crate) const TOUCH: u32 = 1 << 13;
    /// There have been blocks that are mappings of the profiler's own. Stays.
    pub(crate) const ARENA: u32 = 1 << 14;
    /// With any of these an operation does not go the usual way.
    const UNUSUAL: u32 = Self::SHUT | Self::SAMPLED | Self::TIMED | Self::SCOPES | Self::TOUCH;

    const FLAG_BITS: u32 = 16;

    #[inline(always)]
    pub(crate) fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// Whether a heap profile is being recorded, or followed to its end.
    #[inline(always)]
    pub(crate) fn has_run(self) -> bool {
        self.0 & (Self::RECORDING | Self::AD_HOC) == Self::RECORDING
    }

    /// Whether new blocks are recorded for a run.
    #[inline(always)]
    pub(crate) fn records_run(self) -> bool {
        self.0 & (Self::RECORDING | Self::AD_HOC | Self::SHUT) == Self::RECORDING
    }

    /// As [`Self::records_run`], each of them.
    pub(crate) fn records_all_blocks(self) -> bool {
        self.records_run() && !self.has(Self::SAMPLED)
    }

    pub(crate) fn without(self, flag: u32) -> Self {
        Self(self.0 & !flag)
    }
}

/// Allocations are recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeapRecording {
    word: u32,
}

impl HeapRecording {
    /// Whether it goes the usual way: new blocks count, for a run alone, no call is
    /// timed, and no block measured.
    #[inline(always)]
    pub(crate) fn is_plain(self) -> bool {
        self.word & Control::UNUSUAL == 0
    }

    /// Whether it does but that blocks are measured.
    #[inline(always)]
    pub(crate) fn is_touching(self) -> bool {
        self.word & Control::UNUSUAL == Control::TOUCH
    }

    /// Whether scopes are open.
    #[inline(always)]
    pub(crate) fn has_scopes(self) -> bool {
        self.word & Control::SCOPES != 0
    }

    /// Whether most blocks are known.
    #[cfg(feature = "interpose")]
    pub(crate) fn knows_most(self) -> bool {
        self.is_plain() || self.records_all()
    }

    /// Whether new blocks of threads in no scope count, too.
    #[inline(always)]
    pub(crate) fn records_all(self) -> bool {
        Control(self.word).records_run()
    }

    /// Whether all new blocks are left out.
    #[inline(always)]
    pub(crate) fn is_shut(self) -> bool {
        self.word & Control::SHUT != 0
    }

    #[inline(always)]
    pub(crate) fn is_sampled(self) -> bool {
        self.word & Control::SAMPLED != 0
    }

    /// The control word, to be compared only.
    #[inline(always)]
    pub(crate) fn word(self) -> u32 {
        self.word
    }

    #[inline(always)]
    pub(crate) fn is_timed(self) -> bool {
        self.word & Control::TIMED != 0
    }

    #[inline(always)]
    pub(crate) fn touches(self) -> bool {
        self.word & Control::TOUCH != 0
    }
}

/// Blocks that go must be looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watching {
    word: u32,
}

impl Watching {
    /// Whether heap is recorded in the usual way, and no block is measured or can lie
    /// in a mapping of the profiler's own.
    #[inline(always)]
    pub(crate) fn is_plain(self) -> bool {
        self.word & (Control::UNUSUAL | Control::ARENA) == 0
    }

    /// Whether it is but that blocks are measured, and may lie in such a mapping.
    #[inline(always)]
    pub(crate) fn is_touching(self) -> bool {
        self.word & Control::UNUSUAL == Control::TOUCH
    }

    /// Whether blocks may lie in such a mapping.
    #[inline(always)]
    pub(crate) fn has_mapped(self) -> bool {
        self.word & Control::ARENA != 0
    }

    /// Whether heap is recorded, some of its blocks.
    #[inline(always)]
    pub(crate) fn is_sampled(self) -> bool {
        self.word & Control::SAMPLED != 0
    }

    /// If some of the blocks are recorded, and none can lie in such a mapping.
    #[inline(always)]
    pub(crate) fn only_sampled(self) -> Option<HeapRecording> {
        let word = self.word;
        (word & (Control::SAMPLED | Control::ARENA) == Control::SAMPLED)
            .then_some(HeapRecording { word })
    }

    #[inline(always)]
    pub(crate) fn heap(self) -> Option<HeapRecording> {
        let word = self.word;
        (word & Control::HEAP != 0).then_some(HeapRecording { word })
    }
}

#[derive(Debug)]
pub(crate) struct ControlWord(AtomicU32);

impl ControlWord {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// The one load of the idle path. Relaxed: a thread that records looks
    /// again after it has entered.
    #[inline(always)]
    pub(crate) fn records_heap(&self) -> Option<HeapRecording> {
        let word = self.0.load(Relaxed);
        (word & Control::HEAP != 0).then_some(HeapRecording { word })
    }

    /// As [`Self::records_heap`].
    #[inline(always)]
    pub(crate) fn watches(&self) -> Option<Watching> {
        let word = self.0.load(Relaxed);
        (word & (Control::HEAP | Control::ARENA) != 0).then_some(Watching { word })
    }

    /// Acquire: what was prepared before a change is visible with it.
    #[inline(always)]
    pub(crate) fn get(&self) -> Control {
        Control(self.0.load(Acquire))
    }

    /// Sets and clears flags, and makes the word differ from all recent values.
    pub(crate) fn change(&self, set: u32, clear: u32) {
        let changed = |word: u32| {
            let flags = (word | set) & !clear & ((1 << Control::FLAG_BITS) - 1);
            let heap = Control(flags).has_run() || Control(flags).has(Control::SCOPES);
            let flags = match heap {
                true => flags | Control::HEAP,
                false => flags & !Control::HEAP,
            };
            let generation = (word >> Control::FLAG_BITS).wrapping_add(1);
            Some(generation << Control::FLAG_BITS | flags)
        };
        // SeqCst: ordered before the look at other threads' gates that follows
        // a pause; see `Engine::pause`.
        let _ = self.0.fetch_update(SeqCst, SeqCst, changed);
    }

    /// Sleeps until the word is no longer `seen`. Returns early at will.
    pub(crate) fn wait_for_change(&self, seen: Control) {
        futex::wait(&self.0, seen.0, None);
    }

    /// Wakes all who wait for a change.
    pub(crate) fn wake_all(&self) {
        futex::wake_all(&self.0);
    }
}

/// Whether the kernel can put a full memory barrier into every running thread
/// of the process. Registers the process for it.
pub(crate) fn register_barrier() -> bool {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: a system call that touches no memory of ours.
        unsafe {
            libc::syscall(
                libc::SYS_membarrier,
                libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED,
                0,
                0,
            ) == 0
        }
    }
    #[cfg(not(target_os = "linux"))]
    false
}

/// A full barrier in every running thread, if [`register_barrier`] said that
/// there is one; at least in this one.
pub(crate) fn barrier_everywhere() {
    #[cfg(target_os = "linux")]
    // SAFETY: a system call that touches no memory of ours.
    unsafe {
        libc::syscall(
            libc::SYS_membarrier,
            libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED,
            0,
            0,
        );
    }
    std::sync::atomic::fence(SeqCst);
}
