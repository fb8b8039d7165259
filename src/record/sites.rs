//! Sites: distinct stacks, numbered. A number stays valid for the life of the
//! process, so that other tables can hold it in 32 bits.

use crate::capture::walk::Stack;
use crate::lock::SpinLock;
use crate::record::chunks::{Chunks, Zeroable};
use crate::record::hashing::stripe_of;
use crate::record::site_counters::SiteCounters;
use crate::record::site_max::{Joined, SharedMax};
use crate::record::stack_tree::StackTree;
use crate::untracked::Untracked;
use hashbrown::HashTable;
use std::num::NonZeroU32;
use std::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

const STRIPES: usize = 64;
const CHUNK: usize = 1 << 10;

/// Sites that the tables can hold. Blocks of further stacks are all counted
/// under [`OVERFLOW`], so that totals stay exact.
pub(crate) const MAX_SITES: usize = 1 << 22;

/// The number of a site; never 0.
pub(crate) type SiteId = NonZeroU32;

/// The site of all blocks whose stack could not be kept.
pub(crate) const OVERFLOW: SiteId = SiteId::new(1).unwrap();

/// What all threads share of a site. Zeroed memory is a site not yet in use.
#[derive(Debug)]
pub(crate) struct Site {
    key: AtomicU64,
    check: AtomicU32,
    leaf: AtomicU32,
    pub(crate) max: SharedMax,
}

// SAFETY: atomics, and a lock that is unlocked when zero.
unsafe impl Zeroable for Site {}

// SAFETY: an atomic, for which zero is valid.
unsafe impl Zeroable for AtomicU8 {}

impl Site {
    /// The innermost node of the site's stack.
    pub(crate) fn leaf(&self) -> u32 {
        self.leaf.load(Relaxed)
    }
}

#[derive(Debug)]
pub(crate) struct Sites {
    pub(crate) tree: StackTree,
    sites: Chunks<Site, { MAX_SITES / CHUNK }, CHUNK>,
    /// Which sites several threads have used: a byte each, beside one another,
    /// because every count looks.
    shared: Chunks<AtomicU8, 1, MAX_SITES>,
    /// The highest site number in use, at least `OVERFLOW` once any is.
    last: AtomicU32,
    /// Numbers of the sites, found by the keys in the sites.
    stripes: [SpinLock<HashTable<SiteId, Untracked>>; STRIPES],
}

impl Sites {
    pub(crate) const fn new() -> Self {
        Self {
            tree: StackTree::new(),
            sites: Chunks::new(),
            shared: Chunks::new(),
            last: AtomicU32::new(OVERFLOW.get()),
            stripes: [const { SpinLock::new(HashTable::new_in(Untracked)) }; STRIPES],
        }
    }

    /// The site of a stack. None when the limit is reached or there is no memory.
    ///
    /// Stacks with equal 64-bit keys are told apart by their check words (the
    /// innermost address and the depth).
    pub(crate) fn intern(&self, stack: &mut Stack<'_>) -> Option<SiteId> {
        let (key, check) = (stack.key, stack.check);
        let mut stripe = self.stripes[stripe_of(key, STRIPES)].lock();
        let is_it = |&id: &SiteId| {
            self.get(id).is_some_and(|site| {
                site.key.load(Relaxed) == key && site.check.load(Relaxed) == check
            })
        };
        if let Some(&id) = stripe.find(key, is_it) {
            return Some(id);
        }
        let rehash = |&id: &SiteId| self.get(id).map_or(0, |site| site.key.load(Relaxed));
        stripe.try_reserve(1, rehash).ok()?;
        // The tree's locks are taken inside a stripe's, never the other way.
        let leaf = self.tree.intern(stack)?;
        let id = self.claim_id()?;
        let site = self.sites.get_or_map(id.get() as usize)?;
        site.key.store(key, Relaxed);
        site.check.store(check, Relaxed);
        site.leaf.store(leaf, Relaxed);
        stripe.insert_unique(key, id, rehash);
        Some(id)
    }

    fn claim_id(&self) -> Option<SiteId> {
        let next = |last: u32| (last + 1 < MAX_SITES as u32).then_some(last + 1);
        let before = self.last.fetch_update(AcqRel, Acquire, next).ok()?;
        SiteId::new(before + 1)
    }

    #[inline]
    pub(crate) fn get(&self, id: SiteId) -> Option<&Site> {
        self.sites.get(id.get() as usize)
    }

    /// The overflow site, which has no key.
    pub(crate) fn overflow(&self) -> Option<SiteId> {
        self.sites
            .get_or_map(OVERFLOW.get() as usize)
            .map(|_| OVERFLOW)
    }

    /// A thread is about to count a site for the first time.
    pub(crate) fn join(&self, id: SiteId, counters: &SiteCounters) -> Joined {
        let Some(site) = self.get(id) else {
            return Joined::AsOwner;
        };
        site.max.join(counters, || {
            if let Some(shared) = self.shared.get_or_map(id.get() as usize) {
                shared.store(1, Relaxed);
            }
        })
    }

    /// Whether several threads have used the site. A thread may learn it one
    /// change late.
    #[inline(always)]
    pub(crate) fn is_shared(&self, id: SiteId) -> bool {
        self.shared
            .get(id.get() as usize)
            .is_some_and(|shared| shared.load(Relaxed) != 0)
    }

    /// Forgets all maxima and who used which site; the sites stay.
    ///
    /// # Safety
    /// No other thread counts meanwhile.
    pub(crate) unsafe fn reset_max(&self) {
        for site in self.ids().filter_map(|id| self.get(id)) {
            site.max.reset();
        }
        // SAFETY: the caller's promise.
        unsafe { self.shared.zero() };
    }

    pub(crate) fn last_number(&self) -> usize {
        self.last.load(Acquire) as usize
    }

    /// All site numbers in use.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SiteId> + use<> {
        (OVERFLOW.get()..=self.last.load(Acquire)).filter_map(SiteId::new)
    }
}
