//! Where operations meet the tables: who may enter, how a thread gets its
//! block, how a reading stops the world. Everything that is recorded hangs off
//! one [`Engine`], a static.
//!
//! **The gate.** An operation marks its thread busy, then looks at the control
//! word; a reader changes the control word, then looks at all threads' marks.
//! One of the two sees the other, as long as neither's look can move before its
//! own write. The reader pays for that: it has the kernel put a barrier into
//! every running thread, so that operations need none.

pub(crate) mod control;
mod gatekeeper;
mod operations;
mod readings;
mod fork;
mod copies;
#[cfg(feature = "interpose")]
pub(crate) mod passing;
pub(crate) mod thread;
pub(crate) mod thread_end;
pub(crate) mod timing;
pub(crate) mod touching;
pub(crate) mod large_blocks;
mod live_blocks;
#[cfg(feature = "interpose")]
mod unsized_blocks;
pub(crate) mod sampling;
mod unloading;
mod windows;
pub(crate) mod scopes;
mod own_scope;
mod timed_scopes;
mod scoped_writes;
pub(crate) mod reachable;
#[cfg(test)]
mod capture_tests;

use crate::capture::back_end::BackEnd;
use crate::capture::cfi::RuleDeriver;
use crate::capture::rules::{Rule, RuleCache, Rules};
use crate::lock::SpinLock;
use crate::record::Recorder;
use crate::record::block_entry::Entry;
use crate::record::touch_counters::Measure;
use crate::touch::arena::Arena;
use control::{ControlWord, HeapRecording, Watching};
use sampling::Sampling;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use thread::{Refused, Registry, Thread, ThreadList, gate};
use timing::Timing;

/// Frames that are kept before a run has said how many.
const DEFAULT_FRAME_LIMIT: usize = 80;

#[derive(Debug)]
pub(crate) struct Engine {
    control: ControlWord,
    rules: RuleCache,
    deriver: RuleDeriver,
    recorder: Recorder,
    threads: ThreadList,
    /// Held by whoever changes the control word or the set of threads.
    registry: SpinLock<Registry>,
    /// Frames to keep, for threads that come during the run.
    frame_limit: AtomicUsize,
    /// Counts the runs, so that a block taken out in one is not put into the next.
    run: AtomicU32,
    /// Allocations of threads for which there was no block.
    blockless: AtomicU64,
    /// Operations of signal handlers on threads that were getting or giving
    /// back their block.
    in_transit: Refused,
    sampling: Sampling,
    /// Pauses that gave up on a suspended thread.
    torn_readings: AtomicU64,
    pub(crate) timing: Timing,
    /// Counts how often what was remembered of code had to be forgotten.
    code_epoch: AtomicU32,
    /// Large blocks that are measured.
    arena: Arena,
    /// Whether the last run that was started measures blocks.
    touches: AtomicBool,
}

/// A block that is between two addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    entry: Entry,
    run: u32,
    /// Of a measured block: what it stands for, what is cut off from it, and what
    /// it is known by if it gets its new size, where that is decided.
    weight: u8,
    cut: Measure,
    decided: Option<Entry>,
}

/// A thread inside the gate, which opens again when this is dropped.
struct Inside<'t> {
    thread: &'t mut Thread,
}

impl Inside<'_> {
    /// Whether blocks are the profiler's own.
    #[inline(always)]
    fn is_ignoring(&self) -> bool {
        self.thread.gate.load(Relaxed) & gate::IGNORING != 0
    }
}

impl Drop for Inside<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.thread.leave();
    }
}

/// What a run records, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunSettings {
    pub(crate) ad_hoc: bool,
    /// Copies; with `ad_hoc`.
    pub(crate) copies: bool,
    /// How often each byte of small blocks is accessed.
    pub(crate) histograms: bool,
    /// Exact peaks with any number of threads.
    pub(crate) exact: bool,
    /// Walk stacks by frame pointers, if the program keeps them.
    pub(crate) frame_pointers: bool,
    /// Time calls of the inner allocator.
    pub(crate) timed: bool,
    /// Measure what is written to blocks.
    pub(crate) touch: bool,
    /// Innermost frames to keep.
    pub(crate) frame_limit: usize,
    /// Mean number of bytes from a sample to the next; 0: every block is recorded.
    pub(crate) sample_bytes: u64,
    /// What samples are drawn from.
    pub(crate) sample_seed: u64,
}

impl Rules for Engine {
    #[inline(always)]
    fn rule(&self, return_address: u64) -> Rule {
        // The call, not what follows it, tells which rule holds: a call that
        // does not return can be the last instruction of its function.
        self.rules
            .get(return_address, |address| self.derived_rule(address))
    }

    #[inline(always)]
    fn rule_at(&self, pc: u64) -> Rule {
        self.rule(pc.wrapping_add(1))
    }
}

impl Engine {
    pub(crate) const fn new() -> Self {
        Self {
            control: ControlWord::new(),
            rules: RuleCache::new(),
            deriver: RuleDeriver::new(),
            recorder: Recorder::new(),
            threads: ThreadList::new(),
            registry: SpinLock::new(Registry::new()),
            frame_limit: AtomicUsize::new(DEFAULT_FRAME_LIMIT),
            run: AtomicU32::new(0),
            blockless: AtomicU64::new(0),
            in_transit: Refused::new(),
            sampling: Sampling::new(),
            torn_readings: AtomicU64::new(0),
            timing: Timing::new(),
            code_epoch: AtomicU32::new(0),
            arena: Arena::new(),
            touches: AtomicBool::new(false),
        }
    }

    /// Whether allocations are recorded: the only thing that an operation of
    /// an idle program does.
    #[inline(always)]
    pub(crate) fn records_heap(&self) -> Option<HeapRecording> {
        self.control.records_heap()
    }

    /// Whether blocks that go must be looked at: also those of the arena, once
    /// nothing is recorded any more.
    #[inline(always)]
    pub(crate) fn watches(&self) -> Option<Watching> {
        self.control.watches()
    }

    /// How stacks are taken in this run.
    pub(crate) fn back_end(&self) -> BackEnd {
        self.deriver.back_end()
    }

    /// Called before the first walk.
    pub(crate) fn prepare_to_derive(&self) {
        self.deriver.prepare();
    }
}
