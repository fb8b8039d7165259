//! The most that a site ever held live.
//!
//! As long as one thread alone has used a site, that thread's own counters know
//! the maximum exactly. When a second thread joins, what each holds is summed
//! here: at every change in exact mode, else when a thread's part has changed by
//! more than a slack; the maximum is then known to within slack × threads.

use crate::lock::SpinLock;
use crate::record::peak::{Amount, SLACK_BYTES_MIN, SLACK_DIVISOR};
use crate::record::site_counters::SiteCounters;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};

const SLACK_BLOCKS_MIN: u64 = 16;

/// Zeroed memory is a site that no thread has used.
#[derive(Debug)]
pub(crate) struct SharedMax {
    /// The counters of the first thread that used the site.
    owner: AtomicPtr<SiteCounters>,
    /// How far a thread's part may change before it is published.
    slack_bytes: AtomicU64,
    slack_blocks: AtomicU64,
    sums: SpinLock<Sums>,
}

#[derive(Debug, Default)]
struct Sums {
    /// What the owner held when the site became shared.
    owner_part: Amount,
    live: Amount,
    max: Amount,
}

/// How a thread's counters use their two maximum fields from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The site's only user: they hold the maximum.
    AsOwner,
    /// One of several: they hold what was published.
    AsSharer,
}

impl SharedMax {
    /// Called once for each thread's counters, before their first change.
    pub(crate) fn join(&self, counters: &SiteCounters, mark_shared: impl FnOnce()) -> Joined {
        let mut sums = self.sums.lock();
        let Some(owner) = NonNull::new(self.owner.load(Relaxed)) else {
            self.owner
                .store(std::ptr::from_ref(counters).cast_mut(), Relaxed);
            return Joined::AsOwner;
        };
        if self.slack_bytes.load(Relaxed) == 0 {
            // The owner may be counting right now: its part is off by at most
            // that one change, until it publishes the next time.
            // SAFETY: counters are never unmapped while recording is on.
            sums.owner_part = unsafe { owner.as_ref() }.live();
            sums.live = sums.owner_part;
            sums.max = sums.live;
            self.slack_bytes.store(SLACK_BYTES_MIN, Relaxed);
            self.slack_blocks.store(SLACK_BLOCKS_MIN, Relaxed);
        }
        mark_shared();
        Joined::AsSharer
    }

    /// The owner learns that it is not alone: hands its maximum over, and gets
    /// what it counts as having published.
    pub(crate) fn hand_over(&self, owners_max: Amount) -> Amount {
        let mut sums = self.sums.lock();
        // It is of before the site became shared: an equal one since then is later.
        if owners_max.bytes > sums.max.bytes {
            sums.max = owners_max;
        }
        sums.owner_part
    }

    pub(crate) fn slack(&self) -> Amount {
        Amount {
            bytes: self.slack_bytes.load(Relaxed),
            blocks: self.slack_blocks.load(Relaxed),
        }
    }

    /// Adds one thread's change to the site's sum.
    pub(crate) fn publish(&self, change: Amount) {
        let mut sums = self.sums.lock();
        sums.live = sums.live.plus(change);
        if sums.live.bytes as i64 >= sums.max.bytes as i64 {
            sums.max = sums.live;
            let slack = |max: u64, min: u64| (max / SLACK_DIVISOR).max(min);
            let Amount { bytes, blocks } = sums.max;
            // Negative blocks are those of threads that have not published yet.
            let blocks = (blocks as i64).max(0) as u64;
            self.slack_bytes
                .store(slack(bytes, SLACK_BYTES_MIN), Relaxed);
            self.slack_blocks
                .store(slack(blocks, SLACK_BLOCKS_MIN), Relaxed);
        }
    }

    /// The maximum of the published sums; 0 unless shared.
    pub(crate) fn max(&self) -> Amount {
        self.sums.lock().max
    }

    /// Back to a site that no thread has used. No thread counts meanwhile.
    pub(crate) fn reset(&self) {
        self.owner.store(null_mut(), Relaxed);
        self.slack_bytes.store(0, Relaxed);
        *self.sums.lock() = Sums::default();
    }
}
