//! The most that a site ever held live.
//!
//! As long as one thread alone has used a site, that thread's own counters know
//! the maximum exactly. When a second thread joins, what each holds is summed
//! here: at every change in exact mode, else when a thread's part has changed by
//! more than a slack; the maximum is then known to within slack × threads.

use crate::lock::SpinLock;
use crate::record::chunks::Zeroable;
use crate::record::peak::{Amount, SLACK_BYTES_MIN, SLACK_DIVISOR};
use crate::record::site_counters::SiteCounters;
use std::ptr::null_mut;
use std::sync::atomic::{
    AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

const SLACK_BLOCKS_MIN: u64 = 16;

/// Who counted a site first. Zeroed memory is nobody.
#[derive(Debug)]
pub(crate) struct FirstUser(AtomicPtr<SiteCounters>);

impl FirstUser {
    /// Called once for each thread's counters, before their first change. The first user's
    /// counters, if these are not the first.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn or_become(&self, counters: &SiteCounters) -> Option<&SiteCounters> {
        let own = std::ptr::from_ref(counters).cast_mut();
        let first = self.0.compare_exchange(null_mut(), own, AcqRel, Acquire);
        // SAFETY: counters are never unmapped while recording is on.
        first.err().and_then(|first| unsafe { first.as_ref() })
    }

    /// Nobody again. No thread counts meanwhile.
    pub(crate) fn reset(&self) {
        self.0.store(null_mut(), Relaxed);
    }
}

/// The sum over the threads that use a site, once there are several. Zeroed memory is one not in use.
#[derive(Debug)]
pub(crate) struct SharedMax {
    /// How far a thread's part may change before it is published.
    slack_bytes: AtomicU64,
    slack_blocks: AtomicU64,
    sums: SpinLock<Sums>,
}

// SAFETY: atomics, and a lock that is unlocked when zero.
unsafe impl Zeroable for SharedMax {}

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
    /// A second thread joins `owner`, who does not know yet.
    pub(crate) fn begin(&self, owner: &SiteCounters) {
        let mut sums = self.sums.lock();
        // The owner may be counting right now: its part is off by at most
        // that one change, until it publishes the next time.
        let owner_part = owner.live();
        *sums = Sums {
            owner_part,
            live: owner_part,
            max: owner_part,
        };
        self.slack_bytes.store(SLACK_BYTES_MIN, Relaxed);
        self.slack_blocks.store(SLACK_BLOCKS_MIN, Relaxed);
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

    /// The maximum of the published sums.
    pub(crate) fn max(&self) -> Amount {
        self.sums.lock().max
    }
}
