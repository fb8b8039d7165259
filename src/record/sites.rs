//! Sites: distinct stacks, numbered. A number stays valid for the life of the
//! process, so that other tables can hold it in 32 bits.

use crate::capture::walk::Stack;
use crate::crash_file::CRASH_FILE;
use crate::lock::SpinLock;
use crate::record::chunks::{Chunks, Zeroable, kept};
use crate::record::hashing::{spread, stripe_of};
use crate::record::open_table::{Entry, OpenTable, Place};
use crate::record::site_counters::SiteCounters;
use crate::record::site_max::{FirstUser, Joined, SharedMax};
use crate::record::stack_tree::StackTree;
use std::num::NonZeroU32;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
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
#[repr(C)]
pub(crate) struct Site {
    leaf: AtomicU32,
    /// The number of its [`SharedMax`]; 0 while at most one thread has used the site.
    shared: AtomicU32,
    largest_bytes: AtomicU64,
    first_user: FirstUser,
}

// SAFETY: atomics.
unsafe impl Zeroable for Site {
    const KEPT_AS: u32 = kept::SITES;
    const IS_DENSE: bool = true;
}

// SAFETY: an atomic, for which zero is valid.
unsafe impl Zeroable for AtomicU32 {}

/// What every count looks at: how large the site's largest block is at least, and in the
/// highest bit whether several threads have used it. So one comparison as signed
/// numbers tells that neither concerns a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts(u32);

const SHARED: u32 = 1 << 31;
const LARGEST_BYTES_MAX: u64 = (SHARED - 1) as u64;

impl Facts {
    /// A thread may learn it one change late.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_shared(self) -> bool {
        self.0 & SHARED != 0
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn largest_bytes_at_least(self) -> u64 {
        u64::from(self.0 & !SHARED)
    }

    /// Whether several threads use the site, and it has had a block of `bytes` or more.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn are_usual_of_shared(self, bytes: u64) -> bool {
        self.is_shared() && bytes <= self.largest_bytes_at_least()
    }

    /// Whether only one thread uses the site, and it has had a block of `bytes` or more.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn are_usual(self, bytes: u64) -> bool {
        bytes as i64 <= i64::from(self.0 as i32)
    }
}

impl Site {
    /// The innermost node of the site's stack.
    pub(crate) fn leaf(&self) -> u32 {
        self.leaf.load(Relaxed)
    }

    /// The largest block, of any thread.
    pub(crate) fn largest_bytes(&self) -> u64 {
        self.largest_bytes.load(Relaxed)
    }
}

#[derive(Debug)]
pub(crate) struct Sites {
    pub(crate) tree: StackTree,
    sites: Chunks<Site, { MAX_SITES / CHUNK }, CHUNK>,
    /// Beside one another, because every count looks.
    facts: Chunks<AtomicU32, 1, MAX_SITES>,
    /// Of the sites that several threads have used; the first is of none.
    shared: Chunks<SharedMax, { MAX_SITES / CHUNK }, CHUNK>,
    /// How many of these are in use.
    shared_count: SpinLock<u32>,
    /// The highest site number in use, at least `OVERFLOW` once any is.
    last: AtomicU32,
    stripes: [SpinLock<OpenTable<Keyed>>; STRIPES],
}

/// The number of a site, found by the key and the check word of its stack.
#[derive(Clone, Copy, Debug)]
struct Keyed {
    key: u64,
    check: u32,
    site: Option<SiteId>,
}

/// By other bits than its stripe.
#[cfg_attr(not(debug_assertions), inline(always))]
fn place_of(key: u64) -> Place {
    (key >> 32) as Place
}

// SAFETY: zero is no number.
unsafe impl Entry for Keyed {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn place(&self) -> Place {
        place_of(self.key)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_free(&self) -> bool {
        self.site.is_none()
    }
}

impl Sites {
    pub(crate) const fn new() -> Self {
        Self {
            tree: StackTree::new(),
            sites: Chunks::new(),
            facts: Chunks::new(),
            shared: Chunks::new(),
            shared_count: SpinLock::new(0),
            last: AtomicU32::new(OVERFLOW.get()),
            stripes: [const { SpinLock::new(OpenTable::new()) }; STRIPES],
        }
    }

    /// The site of a stack. None when the limit is reached or there is no memory.
    ///
    /// Stacks with equal 64-bit keys are told apart by their check words (the
    /// innermost address and the depth).
    pub(crate) fn intern(&self, stack: &mut Stack<'_>) -> Option<SiteId> {
        let (key, check) = (stack.key, stack.check);
        let mut stripe = self.stripes[stripe_of(key, STRIPES)].lock();
        if let Some(site) = Self::site_in(&stripe, stack) {
            return Some(site);
        }
        stripe.reserve().ok()?;
        // The tree's locks are taken inside a stripe's, never the other way.
        let leaf = self.tree.intern(stack)?;
        let id = self.claim_id()?;
        let site = self.sites.get_or_map(id.get() as usize)?;
        site.leaf.store(leaf, Relaxed);
        stripe.insert(Keyed {
            key,
            check,
            site: Some(id),
        });
        Some(id)
    }

    /// The site of a stack, if there is one.
    pub(crate) fn find(&self, stack: &Stack<'_>) -> Option<SiteId> {
        Self::site_in(&self.stripes[stripe_of(stack.key, STRIPES)].lock(), stack)
    }

    fn site_in(stripe: &OpenTable<Keyed>, stack: &Stack<'_>) -> Option<SiteId> {
        let (key, check) = (stack.key, stack.check);
        let is_it = |entry: &Keyed| entry.key == key && entry.check == check;
        stripe.find(place_of(key), is_it)?.site
    }

    /// Makes sites whose stacks lead through these addresses be found no more.
    pub(crate) fn retire_through(&self, range: (u64, u64)) {
        for stripe in &self.stripes {
            for entry in stripe.lock().entries_mut() {
                let site = entry.site.and_then(|site| self.get(site));
                if site.is_some_and(|site| self.leads_through(site, range)) {
                    // A key that no stack has but by chance, as any other.
                    entry.key = spread(entry.key.wrapping_add(1));
                }
            }
        }
    }

    fn leads_through(&self, site: &Site, (start, end): (u64, u64)) -> bool {
        let mut node = self.tree.node(site.leaf());
        while node.address != 0 {
            if (start..end).contains(&node.address.wrapping_sub(1)) {
                return true;
            }
            node = self.tree.node(node.parent);
        }
        false
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

    /// A thread is about to count a site for the first time. None: there is no memory to
    /// add up what several threads hold.
    #[inline]
    pub(crate) fn join(&self, id: SiteId, counters: &SiteCounters) -> Option<Joined> {
        let site = self.get(id)?;
        match site.first_user.or_become(counters) {
            None => Some(Joined::AsOwner),
            Some(owner) => self.share(id, site, owner),
        }
    }

    #[cold]
    #[inline(never)]
    fn share(&self, id: SiteId, site: &Site, owner: &SiteCounters) -> Option<Joined> {
        let mut count = self.shared_count.lock();
        if site.shared.load(Relaxed) == 0 {
            let number = *count + 1;
            self.shared.get_or_map(number as usize)?.begin(owner);
            let facts = self.facts.get_or_map(id.get() as usize)?;
            *count = number;
            site.shared.store(number, Release);
            // Release: who sees this sees the number.
            facts.fetch_or(SHARED, Release);
        }
        Some(Joined::AsSharer)
    }

    /// What is summed of a site that several threads have used.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn shared_max(&self, id: SiteId) -> Option<&SharedMax> {
        match self.get(id)?.shared.load(Acquire) {
            0 => None,
            number => self.shared.get(number as usize),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn facts(&self, id: SiteId) -> Facts {
        let facts = self.facts.get(id.get() as usize);
        Facts(facts.map_or(0, |facts| facts.load(Relaxed)))
    }

    /// As [`Self::facts`], if there are any yet.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn known_facts(&self, id: SiteId) -> Option<Facts> {
        let facts = self.facts.get(id.get() as usize)?;
        Some(Facts(facts.load(Relaxed)))
    }

    /// A block that is larger than the facts tell.
    #[cold]
    #[inline(never)]
    pub(crate) fn note_largest(&self, id: SiteId, bytes: u64) {
        if let Some(site) = self.get(id) {
            site.largest_bytes.fetch_max(bytes, Relaxed);
        }
        if let Some(facts) = self.facts.get_or_map(id.get() as usize) {
            let told = bytes.min(LARGEST_BYTES_MAX) as u32;
            let grown = |facts: u32| (told > facts & !SHARED).then_some(told | facts & SHARED);
            // Err: another thread has seen a larger one.
            let _ = facts.fetch_update(Relaxed, Relaxed, grown);
        }
    }

    /// Forgets all maxima and who used which site; the sites stay.
    ///
    /// # Safety
    /// No other thread counts meanwhile.
    pub(crate) unsafe fn reset_max(&self) {
        for site in self.ids().filter_map(|id| self.get(id)) {
            site.first_user.reset();
            site.shared.store(0, Relaxed);
            site.largest_bytes.store(0, Relaxed);
        }
        *self.shared_count.lock() = 0;
        // SAFETY: the caller's promise.
        unsafe { self.facts.zero() };
    }

    /// Moves sites and stacks into the crash file, if there is one.
    ///
    /// # Safety
    /// No other thread uses them meanwhile.
    pub(crate) unsafe fn keep(&self) {
        if let Some(header) = CRASH_FILE.header() {
            let leaf_at = std::mem::offset_of!(Site, leaf);
            header.site_bytes.store(size_of::<Site>() as u64, Relaxed);
            let largest_at = std::mem::offset_of!(Site, largest_bytes);
            header.site_leaf_at.store(leaf_at as u64, Relaxed);
            header.site_largest_at.store(largest_at as u64, Relaxed);
            // SAFETY: the caller's promise.
            unsafe {
                self.sites.keep(true);
                self.tree.keep();
            }
        }
    }

    pub(crate) fn last_number(&self) -> usize {
        self.last.load(Acquire) as usize
    }

    /// All site numbers in use.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SiteId> + use<> {
        (OVERFLOW.get()..=self.last.load(Acquire)).filter_map(SiteId::new)
    }
}
