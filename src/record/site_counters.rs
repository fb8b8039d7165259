//! One thread's counts of one site: a cache line that only that thread writes.

use crate::record::chunks::{Zeroable, kept};
use crate::record::counter::{Counter32, Counter64};
use crate::record::peak::Amount;
use crate::record::site_max::SharedMax;

/// Zeroed memory is a site that the thread has not used.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct SiteCounters {
    total_blocks: Counter64,
    total_bytes: Counter64,
    live_bytes: Counter64,
    /// Sum of the times of all frees less that of all allocations: with the
    /// time of a reading for every live block added, the sum of lifetimes.
    lifetime_ticks: Counter64,
    peak_bytes: Counter64,
    /// The site's maximum while this thread is its only user; afterwards what
    /// this thread has published of `live_bytes`.
    max_or_published_bytes: Counter64,
    live_blocks: Counter32,
    peak_blocks: Counter32,
    max_or_published_blocks: Counter32,
    /// Epoch in which the `peak_` fields were saved, times two; the low bit
    /// says that the `max_or_published_` fields hold what was published.
    epoch_and_shared: Counter32,
}

const _: () = assert!(size_of::<SiteCounters>() == 64);

// SAFETY: atomics, for which zero is valid.
unsafe impl Zeroable for SiteCounters {
    const KEPT_AS: u32 = kept::COUNTERS;
}

const SHARED: u32 = 1;

/// One allocation, free, or change of size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// Added to the totals.
    pub(crate) allocated_blocks: u64,
    pub(crate) allocated_bytes: u64,
    /// Added to what is live; wrapping.
    pub(crate) live: Amount,
    /// Added to the lifetimes; wrapping.
    pub(crate) ticks: u64,
}

impl Change {
    /// Whether more can be live afterwards. Known at compile time for all but
    /// reallocations, as is its opposite.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn can_grow(&self) -> bool {
        self.allocated_blocks != 0
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn can_shrink(&self) -> bool {
        self.live.blocks != 1
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn alloc(bytes: usize, now: u64) -> Self {
        Self {
            allocated_blocks: 1,
            allocated_bytes: bytes as u64,
            live: Amount {
                bytes: bytes as u64,
                blocks: 1,
            },
            ticks: now.wrapping_neg(),
        }
    }

    /// `blocks` blocks of equal size, at once.
    pub(crate) fn alloc_of(blocks: u64, bytes: usize, now: u64) -> Self {
        let all_bytes = blocks.wrapping_mul(bytes as u64);
        Self {
            allocated_blocks: blocks,
            allocated_bytes: all_bytes,
            live: Amount {
                bytes: all_bytes,
                blocks,
            },
            ticks: blocks.wrapping_mul(now).wrapping_neg(),
        }
    }

    /// `blocks` blocks of equal size, at once.
    pub(crate) fn free_of(blocks: u64, bytes: usize, now: u64) -> Self {
        let all = Amount {
            bytes: blocks.wrapping_mul(bytes as u64),
            blocks,
        };
        Self {
            allocated_blocks: 0,
            allocated_bytes: 0,
            live: Amount::default().minus(all),
            ticks: blocks.wrapping_mul(now),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn free(bytes: usize, now: u64) -> Self {
        Self {
            allocated_blocks: 0,
            allocated_bytes: 0,
            live: Amount::default().minus(Amount {
                bytes: bytes as u64,
                blocks: 1,
            }),
            ticks: now,
        }
    }

    /// One more allocation, of the new size; the block lives on, so neither
    /// its number nor its time of birth changes.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn realloc(old_bytes: usize, new_bytes: usize) -> Self {
        Self {
            allocated_blocks: 1,
            allocated_bytes: new_bytes as u64,
            live: Amount {
                bytes: (new_bytes as u64).wrapping_sub(old_bytes as u64),
                blocks: 0,
            },
            ticks: 0,
        }
    }

    /// An ad hoc event: totals only.
    pub(crate) fn event(weight: usize) -> Self {
        Self {
            allocated_blocks: 1,
            allocated_bytes: weight as u64,
            live: Amount::default(),
            ticks: 0,
        }
    }
}

impl SiteCounters {
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes.get()
    }

    /// Whether this thread has never counted the site.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_unused(&self) -> bool {
        self.epoch_and_shared.get() == 0
    }

    /// Other threads have used the site before this one.
    pub(crate) fn set_shared(&self) {
        self.epoch_and_shared
            .set(self.epoch_and_shared.get() | SHARED);
    }

    /// In which epoch what is held was last saved.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch_and_shared.get() >> 1
    }

    /// Saves what is held as what was held at the peak: once an epoch, before the first
    /// change in it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn save_at_peak(&self, epoch: u32) {
        let shared = self.epoch_and_shared.get() & SHARED;
        self.peak_bytes.set(self.live_bytes.get());
        self.peak_blocks.set(self.live_blocks.get());
        self.epoch_and_shared.set(epoch << 1 | shared);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn apply(&self, change: &Change) {
        if change.allocated_blocks != 0 {
            self.total_blocks.add(change.allocated_blocks);
            self.total_bytes.add(change.allocated_bytes);
        }
        self.live_bytes.add(change.live.bytes);
        self.live_blocks.add(change.live.blocks as u32);
        self.lifetime_ticks.add(change.ticks);
    }

    /// Keeps the maximum, of a site that only this thread uses. A later equal
    /// maximum replaces an earlier one.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn update_own_max(&self) {
        let live = self.live_bytes.get();
        if live >= self.max_or_published_bytes.get() {
            self.max_or_published_bytes.set(live);
            self.max_or_published_blocks.set(self.live_blocks.get());
        }
    }

    /// Publishes this thread's part of a site that several use, once it has
    /// changed by more than the slack, or by anything if `exact`.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn update_shared_max(&self, shared: &SharedMax, exact: bool) {
        let slack = match exact {
            true => Amount::default(),
            false => shared.slack(),
        };
        if !self.is_published(Amount::default(), slack) {
            self.publish(shared);
        }
    }

    /// Whether [`Self::update_shared_max`] does nothing after this change, if not exact.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_published_after(&self, change: &Change, shared: &SharedMax) -> bool {
        self.is_published(change.live, shared.slack())
    }

    /// Whether this thread knows that the site is shared, and will hold no more than the slack beyond
    /// what it has published, after `next`.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_published(&self, next: Amount, slack: Amount) -> bool {
        let knows = self.epoch_and_shared.get() & SHARED != 0;
        knows && self.unpublished(next).is_within(slack)
    }

    #[cold]
    #[inline(never)]
    fn publish(&self, shared: &SharedMax) {
        if self.epoch_and_shared.get() & SHARED == 0 {
            let part = shared.hand_over(self.max_or_published());
            self.set_published(part);
            self.set_shared();
        }
        shared.publish(self.unpublished(Amount::default()));
        self.set_published(self.live());
    }

    /// How much this thread will hold after `next` beyond what it has published.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn unpublished(&self, next: Amount) -> Amount {
        let change = self.live().plus(next).minus(self.max_or_published());
        Amount {
            // Blocks wrap at 32 bits here and at 64 there.
            blocks: i64::from(change.blocks as u32 as i32) as u64,
            ..change
        }
    }

    fn set_published(&self, published: Amount) {
        self.max_or_published_bytes.set(published.bytes);
        self.max_or_published_blocks.set(published.blocks as u32);
    }

    fn max_or_published(&self) -> Amount {
        Amount {
            bytes: self.max_or_published_bytes.get(),
            blocks: self.max_or_published_blocks.get().into(),
        }
    }

    /// What this thread holds of the site; blocks modulo 2³².
    pub(crate) fn live(&self) -> Amount {
        Amount {
            bytes: self.live_bytes.get(),
            blocks: self.live_blocks.get().into(),
        }
    }

    /// The last epoch in which anything was saved.
    pub(crate) fn saved_epoch(&self) -> u32 {
        self.epoch_and_shared.get() >> 1
    }

    /// Adds this thread's counts to a site's sum. `epoch` is that of the peak.
    pub(crate) fn add_to(&self, sum: &mut SiteSum, epoch: u32) {
        let saved = self.epoch_and_shared.get();
        if saved == 0 {
            return;
        }
        sum.total_blocks += self.total_blocks.get();
        sum.total_bytes += self.total_bytes.get();
        sum.lifetime_ticks = sum.lifetime_ticks.wrapping_add(self.lifetime_ticks.get());
        let live = self.live();
        sum.live.add(live);
        if saved >> 1 == epoch {
            sum.peak.add(Amount {
                bytes: self.peak_bytes.get(),
                blocks: self.peak_blocks.get().into(),
            });
        } else {
            sum.peak.add(live);
        }
        if saved & SHARED == 0 {
            sum.owner_max = self.max_or_published();
        }
    }
}

/// A site's counts, summed over threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SiteSum {
    pub(crate) total_blocks: u64,
    pub(crate) total_bytes: u64,
    pub(crate) lifetime_ticks: u64,
    pub(crate) live: WrappedAmount,
    pub(crate) peak: WrappedAmount,
    /// The maximum known to the site's first user.
    pub(crate) owner_max: Amount,
    pub(crate) reallocs: u64,
    pub(crate) kept_bytes: u64,
    pub(crate) copied_bytes: u64,
}

/// A sum of amounts whose blocks are known modulo 2³²; a site holds fewer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WrappedAmount {
    pub(crate) bytes: u64,
    pub(crate) blocks: u32,
}

impl WrappedAmount {
    fn add(&mut self, amount: Amount) {
        self.bytes = self.bytes.wrapping_add(amount.bytes);
        self.blocks = self.blocks.wrapping_add(amount.blocks as u32);
    }
}
