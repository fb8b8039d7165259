//! One scope's part of the tables.

use crate::clock::Moment;
use crate::lock::SpinLock;
use crate::record::chunks::{Chunks, Zeroable};
use crate::record::counter::{Counter32, Counter64};
use crate::record::scope::tag::MAX_SCOPE_SITES;
use crate::record::scope::tally::{Event, Tally, Usage};
use crate::record::sites::{MAX_SITES, SiteId};
use parking_lot::MutexGuard;
use std::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, Release},
};

const CHUNK: usize = 1 << 10;

/// The owner of a slot that several threads use.
const SHARED: usize = 1;

/// A thread, by the address of its block.
pub(crate) type ThreadToken = usize;

/// What a scope finds out beside totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keeps {
    pub(crate) stacks: bool,
    /// How much of each block is written to.
    pub(crate) writes: bool,
}

const STACKS: u8 = 1;
const WRITES: u8 = 2;

impl Keeps {
    /// What the scope around wants to know, the one in it has to find out.
    pub(crate) fn with(self, around: Self) -> Self {
        Self {
            stacks: self.stacks || around.stacks,
            writes: self.writes || around.writes,
        }
    }
}

/// Zeroed memory is a slot that was never used.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Who counts without the lock; [`SHARED`]: nobody.
    owner: AtomicUsize,
    lock: SpinLock<()>,
    /// The scope around this one, or 0.
    parent: AtomicU32,
    /// How many scopes there are around this one.
    depth: AtomicU32,
    keeps: AtomicU8,
    /// The owner of a slot that lies in no other, and does not look at what is written;
    /// else 0.
    simple_owner: AtomicUsize,
    /// Who can still ask for the counts: none can once this is 0.
    pub(crate) handles: AtomicU32,
    /// Slots whose parent this is.
    pub(crate) children: AtomicU32,
    /// How often the slot was given back.
    uses: AtomicU32,
    /// Operations that are missing from the counts.
    refused: AtomicU64,
    started_ticks: AtomicU64,
    started_ns: AtomicU64,
    tally: Tally,
    /// Moves on at each new peak; see `record/peak.rs`.
    epoch: Counter64,
    peak_at_ticks: Counter64,
    /// Sites in use are numbered from 1 to this.
    used: Counter32,
    sites: Chunks<ScopeSite, { MAX_SCOPE_SITES / CHUNK }, CHUNK>,
    /// The number here of each site. What a former use of the slot left is
    /// told by the number's own site, so nothing is ever cleared.
    numbers: Chunks<AtomicU32, { MAX_SITES / CHUNK }, CHUNK>,
}

// SAFETY: atomics, counters, and a lock that is unlocked when zero.
unsafe impl Zeroable for Slot {}

#[derive(Debug)]
struct ScopeSite {
    site: AtomicU32,
    /// The same site's number in the scope around.
    in_parent: AtomicU32,
    tally: Tally,
    /// What was held at the scope's peak, saved in `epoch`.
    peak_blocks: Counter64,
    peak_bytes: Counter64,
    epoch: Counter64,
}

// SAFETY: atomics and counters, for which zero is valid.
unsafe impl Zeroable for ScopeSite {}

/// The right to count, for as long as it lives.
pub(crate) type Hold<'a> = Option<MutexGuard<'a, ()>>;

impl Slot {
    /// Begins a new use. Nobody else knows the slot.
    pub(crate) fn open(
        &self,
        owner: ThreadToken,
        (parent, depth): (u32, u32),
        keeps: Keeps,
        now: Moment,
    ) {
        self.owner.store(owner, Relaxed);
        let is_simple = !keeps.writes && parent == 0;
        let simple_owner = if is_simple { owner } else { 0 };
        self.simple_owner.store(simple_owner, Relaxed);
        self.parent.store(parent, Relaxed);
        self.depth.store(depth, Relaxed);
        let stacks = if keeps.stacks { STACKS } else { 0 };
        let writes = if keeps.writes { WRITES } else { 0 };
        self.keeps.store(stacks | writes, Relaxed);
        self.handles.store(1, Relaxed);
        self.children.store(0, Relaxed);
        self.refused.store(0, Relaxed);
        self.started_ticks.store(now.ticks, Relaxed);
        self.started_ns.store(now.ns, Relaxed);
        self.tally.reset();
        self.epoch.set(1);
        self.peak_at_ticks.set(now.ticks);
        self.used.set(0);
    }

    pub(crate) fn parent(&self) -> u32 {
        self.parent.load(Relaxed)
    }

    pub(crate) fn depth(&self) -> u32 {
        self.depth.load(Relaxed)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn keeps(&self) -> Keeps {
        let keeps = self.keeps.load(Relaxed);
        Keeps {
            stacks: keeps & STACKS != 0,
            writes: keeps & WRITES != 0,
        }
    }

    pub(crate) fn started(&self) -> Moment {
        Moment {
            ticks: self.started_ticks.load(Relaxed),
            ns: self.started_ns.load(Relaxed),
        }
    }

    pub(crate) fn uses(&self) -> u32 {
        self.uses.load(Relaxed)
    }

    /// What is known of the slot's tags ends here.
    pub(crate) fn end_use(&self) {
        self.uses.fetch_add(1, Relaxed);
    }

    /// Whether a block of the scope counts in this slot alone, which this thread alone
    /// changes, and is not looked at.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_own(&self, thread: ThreadToken) -> bool {
        self.simple_owner.load(Relaxed) == thread
    }

    /// Whether this thread may count, with or without the lock.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn admits(&self, thread: ThreadToken) -> bool {
        let owner = self.owner.load(Relaxed);
        owner == thread || owner == SHARED
    }

    /// Lets every thread count. No thread is inside the gate.
    pub(crate) fn share(&self) {
        self.simple_owner.store(0, Relaxed);
        self.owner.store(SHARED, Release);
    }

    /// `thread` is one that the slot admits.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn hold(&self, thread: ThreadToken) -> Hold<'_> {
        (self.owner.load(Relaxed) != thread).then(|| self.lock.lock())
    }

    /// Something is missing from the counts.
    #[cold]
    pub(crate) fn refuse(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    // ---- sites ------------------------------------------------------------

    /// The number of a site here, if it has one.
    #[inline]
    pub(crate) fn number_of(&self, site: SiteId, _held: &Hold<'_>) -> Option<u32> {
        let number = self.numbers.get(site.get() as usize)?.load(Relaxed);
        if number == 0 || number > self.used.get() {
            return None;
        }
        let known = self.sites.get(number as usize)?.site.load(Relaxed);
        (known == site.get()).then_some(number)
    }

    /// Gives a site that has none a number. None: there is no room.
    #[cold]
    pub(crate) fn add_site(&self, site: SiteId, in_parent: u32, _held: &Hold<'_>) -> Option<u32> {
        let number = self.used.get() + 1;
        if number as usize >= MAX_SCOPE_SITES {
            return None;
        }
        let entry = self.sites.get_or_map(number as usize)?;
        let slot = self.numbers.get_or_map(site.get() as usize)?;
        entry.site.store(site.get(), Relaxed);
        entry.in_parent.store(in_parent, Relaxed);
        entry.tally.reset();
        entry.epoch.set(0);
        entry.save_at_peak(self.epoch.get());
        slot.store(number, Relaxed);
        self.used.set(number);
        Some(number)
    }

    /// The site that a number stands for.
    pub(crate) fn site(&self, number: u32) -> Option<SiteId> {
        SiteId::new(self.sites.get(number as usize)?.site.load(Relaxed))
    }

    /// The same site's number in the scope around; 0 for 0.
    #[inline]
    pub(crate) fn in_parent(&self, number: u32) -> u32 {
        match number {
            0 => 0,
            _ => self
                .sites
                .get(number as usize)
                .map_or(0, |site| site.in_parent.load(Relaxed)),
        }
    }

    // ---- counting ---------------------------------------------------------

    /// Counts what happened to a block of `bytes`, of the site `number`, or of
    /// no known site if that is 0.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn count(
        &self,
        number: u32,
        event: Event,
        bytes: usize,
        now: u64,
        _held: &Hold<'_>,
    ) {
        let site = match number {
            0 => None,
            _ => self.sites.get(number as usize),
        };
        if let Some(site) = site {
            site.save_at_peak(self.epoch.get());
            site.tally.count(event, bytes, now);
        }
        self.tally.count(event, bytes, now);
        if matches!(event, Event::Free | Event::MovedOut) {
            return;
        }
        if let Some(site) = site {
            site.tally.keep_max();
        }
        if self.tally.keep_max() {
            self.epoch.add(1);
            if now != 0 {
                self.peak_at_ticks.set(now);
            }
        }
    }

    /// Counts bytes of a block of the site `number` that were never written.
    pub(crate) fn add_unwritten(&self, number: u32, bytes: u64, _held: &Hold<'_>) {
        if let Some(site) = self.sites.get(number as usize).filter(|_| number != 0) {
            site.tally.add_unwritten(bytes);
        }
        self.tally.add_unwritten(bytes);
    }

    pub(crate) fn live_blocks(&self, _held: &Hold<'_>) -> u64 {
        self.tally.live().0
    }

    pub(crate) fn usage(&self, _held: &Hold<'_>) -> Usage {
        let usage = self.tally.read((0, 0));
        Usage {
            peak_blocks: usage.max_blocks,
            peak_bytes: usage.max_bytes,
            ..usage
        }
    }

    pub(crate) fn peak_at_ticks(&self, _held: &Hold<'_>) -> u64 {
        self.peak_at_ticks.get()
    }

    /// How many entries [`Slot::read_sites`] adds.
    pub(crate) fn sites_used(&self) -> usize {
        self.used.get() as usize
    }

    /// Adds each site's counts to `sites`, which must have room.
    pub(crate) fn read_sites(&self, sites: &mut Vec<(SiteId, Usage)>, _held: &Hold<'_>) {
        for number in 1..=self.used.get() {
            let Some(site) = self.sites.get(number as usize) else {
                return;
            };
            let peak = match site.epoch.get() == self.epoch.get() {
                true => (site.peak_blocks.get(), site.peak_bytes.get()),
                false => site.tally.live(),
            };
            if let Some(id) = SiteId::new(site.site.load(Relaxed)) {
                sites.push((id, site.tally.read(peak)));
            }
        }
    }
}

impl ScopeSite {
    /// Saves what is held as what was held at the scope's peak, once an epoch.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn save_at_peak(&self, epoch: u64) {
        if self.epoch.get() != epoch {
            let (blocks, bytes) = self.tally.live();
            self.peak_blocks.set(blocks);
            self.peak_bytes.set(bytes);
            self.epoch.set(epoch);
        }
    }
}
