//! The global peak: when the process held the most live bytes, and what it
//! held then.
//!
//! Every new peak starts a new *epoch*. Whoever is about to change a count
//! first saves it as "at peak" if that was not yet done in this epoch; so a
//! count's value at the peak is the saved one if it was saved in the last
//! epoch, and its present one otherwise. That costs one comparison a change,
//! and no walk over all sites at a peak.
//!
//! How a peak is noticed depends on how many threads there are:
//! * one: after every change, exactly;
//! * several: each thread *publishes* what it holds once that has changed by
//!   more than a slack, so live bytes are known to within slack × threads;
//! * several, exact on request: as with one, every change under a lock.

use crate::lock::SpinLock;
use crate::record::counter::Counter64;
use crate::record::timeline::{Moment, Timeline};
use parking_lot::MutexGuard;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

/// How peaks are noticed; see the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Mode {
    #[default]
    Single,
    Many,
    ManyExact,
}

/// A thread may run ahead by this part of the peak, divided among the threads...
pub(crate) const SLACK_DIVISOR: u64 = 64;
/// ...but by no less than this.
pub(crate) const SLACK_BYTES_MIN: u64 = 1024;

/// Bytes and blocks, of a thread or of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) bytes: u64,
    pub(crate) blocks: u64,
}

impl Amount {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.wrapping_add(other.bytes),
            blocks: self.blocks.wrapping_add(other.blocks),
        }
    }

    /// Whether this change, up or down, is no larger than `slack`.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_within(self, slack: Self) -> bool {
        (self.bytes as i64).unsigned_abs() <= slack.bytes
            && (self.blocks as i64).unsigned_abs() <= slack.blocks
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.wrapping_sub(other.bytes),
            blocks: self.blocks.wrapping_sub(other.blocks),
        }
    }
}

/// Fields are written under `lock`, or by the only thread there is.
#[derive(Debug)]
pub(crate) struct Peak {
    epoch: AtomicU32,
    published_bytes: Counter64,
    published_blocks: Counter64,
    max_bytes: Counter64,
    at_ticks: Counter64,
    threads: AtomicU32,
    /// The most that live bytes can have exceeded the published sum by.
    slack_bytes_total: Counter64,
    pub(crate) timeline: Timeline,
    lock: SpinLock<()>,
}

/// Proof that the holder may publish.
pub(crate) type Publishing<'a> = MutexGuard<'a, ()>;

impl Peak {
    pub(crate) const fn new() -> Self {
        Self {
            epoch: AtomicU32::new(1),
            published_bytes: Counter64::new(),
            published_blocks: Counter64::new(),
            max_bytes: Counter64::new(),
            at_ticks: Counter64::new(),
            threads: AtomicU32::new(1),
            slack_bytes_total: Counter64::new(),
            timeline: Timeline::new(),
            lock: SpinLock::new(()),
        }
    }

    /// Back to a process that holds nothing, at `now`. No thread counts meanwhile.
    pub(crate) fn reset(&self, now: u64) {
        self.epoch.store(1, Relaxed);
        self.published_bytes.set(0);
        self.published_blocks.set(0);
        self.max_bytes.set(0);
        self.at_ticks.set(now);
        self.slack_bytes_total.set(0);
        self.timeline.reset(now);
    }

    pub(crate) fn set_threads(&self, threads: u32) {
        self.threads.store(threads.max(1), Relaxed);
    }

    /// Acquire: a thread that sees an epoch also sees what its starter did
    /// before; its own next change then belongs after that peak.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Acquire)
    }

    pub(crate) fn lock(&self) -> Publishing<'_> {
        self.lock.lock()
    }

    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes.get()
    }

    pub(crate) fn at_ticks(&self) -> u64 {
        self.at_ticks.get()
    }

    /// How much higher than `peak_bytes`, which is what the books add up to,
    /// the true peak can have been. 0: it is exact.
    pub(crate) fn slack_above(&self, peak_bytes: u64) -> u64 {
        match self.slack_bytes_total.get() {
            0 => 0,
            slack => (self.max_bytes.get() + slack).saturating_sub(peak_bytes),
        }
    }

    /// What all threads have published.
    pub(crate) fn published(&self) -> Amount {
        Amount {
            bytes: self.published_bytes.get(),
            blocks: self.published_blocks.get(),
        }
    }

    /// A new peak of `bytes`.
    #[inline]
    pub(crate) fn set(&self, bytes: u64, now: u64) {
        self.max_bytes.set(bytes);
        self.at_ticks.set(now);
        // An epoch that came round again could be taken for the last one, so
        // the last epochs are never left: the peak then stays where it is in
        // blocks by site, 2 billion new peaks after the start.
        let epoch = self.epoch.load(Relaxed);
        if epoch < EPOCH_MAX {
            self.epoch.store(epoch + 1, Release);
        }
    }

    /// Adds a thread's change to the published sum; starts a new epoch if
    /// that makes a peak.
    pub(crate) fn publish(&self, change: Amount, now: u64, _held: &Publishing<'_>) {
        let sum = self.published().plus(change);
        self.published_bytes.set(sum.bytes);
        self.published_blocks.set(sum.blocks);
        // Bytes that went from one thread to another can make the sum
        // negative for a moment: the taker published first.
        if sum.bytes as i64 >= self.max_bytes.get() as i64 {
            self.set(sum.bytes, now);
        }
        self.timeline.mark(Moment {
            ticks: now,
            live: sum,
            ..Moment::default()
        });
    }

    /// How far a thread may now run ahead before it publishes.
    pub(crate) fn slack_bytes(&self, _held: &Publishing<'_>) -> u64 {
        let threads = u64::from(self.threads.load(Relaxed));
        let slack = (self.max_bytes.get() / SLACK_DIVISOR / threads).max(SLACK_BYTES_MIN);
        let total = slack * threads;
        if total > self.slack_bytes_total.get() {
            self.slack_bytes_total.set(total);
        }
        slack
    }
}

/// Epochs share a word with one flag bit of the site counters.
pub(crate) const EPOCH_MAX: u32 = u32::MAX >> 1;
