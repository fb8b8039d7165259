//! What is remembered: sites, which site each live block belongs to, and
//! counts. Allocates only straight from the system, never panics, never waits
//! for anything but a [`SpinLock`](crate::lock::SpinLock). Never looks into
//! user memory: an address is a number here.
//!
//! In reading order: the numbers a reading yields ([`snapshot`]); stacks
//! ([`stack_tree`]) and [`sites`], in [`open_table`]s; blocks ([`block_map`], [`odd_blocks`]);
//! counts by site and thread ([`site_counters`], [`site_max`],
//! [`realloc_counters`]), by thread
//! ([`book`]), and the [`peak`]; what the inner allocator takes ([`time_counters`]);
//! [`scope`]s, which count apart.

pub(crate) mod snapshot;
pub(crate) mod site_list;
mod accesses;
pub(crate) mod hashing;
pub(crate) mod counter;
pub(crate) mod chunks;
pub(crate) mod open_table;
pub(crate) mod stack_tree;
pub(crate) mod sites;
pub(crate) mod site_cache;
pub(crate) mod block_entry;
pub(crate) mod block_map;
#[cfg(not(feature = "striped-tables"))]
pub(crate) mod odd_blocks;
#[cfg(feature = "striped-tables")]
mod striped_map;
#[cfg(feature = "interpose")]
pub(crate) mod c_sizes;
pub(crate) mod site_counters;
pub(crate) mod site_max;
pub(crate) mod sampling;
pub(crate) mod realloc_counters;
pub(crate) mod time_counters;
pub(crate) mod touch_counters;
pub(crate) mod touch_estimate;
pub(crate) mod peak;
pub(crate) mod timeline;
pub(crate) mod book;
pub(crate) mod recovered;
pub(crate) mod scope;

use crate::capture::walk::Stack;
use crate::clock::Scale;
use crate::exact;
#[cfg(test)]
mod model_tests;

use block_entry::{Entry, Measured, More};
use block_map::{BlockMap, GRANULE_BYTES};
use book::Book;
use peak::Peak;
use sampling::{SampleSum, SampledAddresses};
use scope::slots::Slots;
use site_counters::{Change, SiteSum};
use sites::{Site, SiteId, Sites};
use snapshot::{
    AllocatorTime, CountedAccesses, Counts, Node, SiteAccesses, SiteCounts, SiteList, SitePlace,
    Totals, Touched,
};
use time_counters::{SiteTimeSum, TimeSum};
use touch_counters::TouchSum;

/// The tables that all threads share.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) peak: Peak,
    sites: Sites,
    blocks: BlockMap,
    pub(crate) scopes: Slots,
    #[cfg(feature = "interpose")]
    pub(crate) c_sizes: c_sizes::CSizes,
    sampled: SampledAddresses,
}

/// A reading of all books, still by site number and in ticks.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) totals: Totals,
    /// The number of the site that the lists by site begin with.
    pub(crate) first: usize,
    pub(crate) by_site: Vec<SiteSum>,
    /// Of a sampled run, as long as `by_site`; else empty.
    pub(crate) samples: Vec<SampleSum>,
    /// As long as `by_site`, or empty if nothing was measured.
    pub(crate) touch_by_site: Vec<TouchSum>,
    /// Sites that several threads have used.
    pub(crate) shared_sites: u64,
    /// What was live over time.
    pub(crate) timeline: Vec<timeline::Moment>,
    pub(crate) time: TimeSum,
    /// Empty if calls are not timed.
    pub(crate) time_by_site: Vec<SiteTimeSum>,
}

/// Something was not recorded: there was no memory for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotRecorded;

impl Recorder {
    pub(crate) const fn new() -> Self {
        Self {
            peak: Peak::new(),
            sites: Sites::new(),
            blocks: BlockMap::new(),
            scopes: Slots::new(),
            #[cfg(feature = "interpose")]
            c_sizes: c_sizes::CSizes::new(),
            sampled: SampledAddresses::new(),
        }
    }

    /// The site of a stack. None: there is no memory for it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn site_of(&self, book: &mut Book, stack: &mut Stack<'_>) -> Option<SiteId> {
        book.site_of(stack, &self.sites).ok()
    }

    /// A block of `bytes` was allocated at `address` by the entry's site.
    /// Ok(false): so was one before, whose free was not seen.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn alloc(
        &self,
        book: &mut Book,
        entry: Entry,
        address: usize,
        bytes: usize,
        now: u64,
    ) -> Result<bool, NotRecorded> {
        let before = self
            .blocks
            .insert(address, entry.word())
            .map_err(|_| NotRecorded)?;
        let change = Change::alloc(bytes, now);
        if book
            .count(entry.site(), &change, now, &self.sites, &self.peak)
            .is_err()
        {
            self.blocks.remove(address);
            return Err(NotRecorded);
        }
        Ok(before.and_then(Entry::from_word).is_none())
    }

    /// As [`Self::alloc`], if nothing is out of the ordinary: as in [`Book::count_if_usual`].
    /// False: nothing was done.
    #[cfg(not(feature = "striped-tables"))]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn alloc_if_usual<const SHARED: bool>(
        &self,
        book: &mut Book,
        site: SiteId,
        address: usize,
        bytes: usize,
    ) -> bool {
        let Some(slot) = self.blocks.slot_at(address) else {
            return false;
        };
        if slot.site().is_some() {
            return false;
        }
        let change = |now| Change::alloc(bytes, now);
        if !self.count_if_usual::<SHARED>(book, site, crate::clock::counter, change) {
            return false;
        }
        slot.set(site);
        true
    }

    /// As [`Self::free`], if nothing is out of the ordinary. False: nothing was done.
    #[cfg(not(feature = "striped-tables"))]
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn free_if_usual<const SHARED: bool>(
        &self,
        book: &mut Book,
        address: usize,
        bytes: usize,
    ) -> bool {
        let Some(slot) = self.blocks.slot_at(address) else {
            return false;
        };
        let Some(site) = slot.site() else {
            return false;
        };
        let change = |now| Change::free(bytes, now);
        if !self.count_if_usual::<SHARED>(book, site, crate::clock::counter, change) {
            return false;
        }
        slot.clear();
        true
    }

    /// As [`Self::alloc_if_usual`], of a block of which more than its site is known.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn alloc_measured_if_usual<const SHARED: bool>(
        &self,
        book: &mut Book,
        site: SiteId,
        (entry, more): (Entry, Option<More>),
        (address, bytes): (usize, usize),
        now: Option<u64>,
    ) -> bool {
        let Some(slot) = self.blocks.slot_at(address) else {
            return false;
        };
        if slot.site().and_then(Entry::from_word).is_some() {
            return false;
        }
        if let Some(more) = more {
            let Some(next) = slot.next() else {
                return false;
            };
            next.set(more.word());
        }
        let change = |now| Change::alloc(bytes, now);
        if !self.count_if_usual::<SHARED>(book, site, || now, change) {
            return false;
        }
        slot.set(entry.word());
        true
    }

    /// As [`Self::free_if_usual`], of a block that began as the pattern and is measured
    /// always. Its site.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn free_pattern_if_usual<const SHARED: bool>(
        &self,
        book: &mut Book,
        address: usize,
        bytes: usize,
        now: Option<u64>,
    ) -> Option<SiteId> {
        let slot = self.blocks.slot_at(address)?;
        let entry = slot.site().and_then(Entry::from_word)?;
        let site = entry.site();
        if entry.how() != Measured::Pattern {
            return None;
        }
        let change = |now| Change::free(bytes, now);
        if !self.count_if_usual::<SHARED>(book, site, || now, change) {
            return None;
        }
        slot.clear();
        Some(site)
    }

    /// [`Book::count_if_usual`] with these tables.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn count_if_usual<const SHARED: bool>(
        &self,
        book: &mut Book,
        site: SiteId,
        now: impl FnOnce() -> Option<u64>,
        change: impl Fn(u64) -> Change,
    ) -> bool {
        book.count_if_usual::<SHARED>(site, now, change, &self.sites, &self.peak)
    }

    /// The block of `bytes` at `address` is about to be freed. Blocks that
    /// were not recorded are ignored. Returns what was known of it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn free(
        &self,
        book: &mut Book,
        address: usize,
        bytes: usize,
        now: u64,
    ) -> Option<Entry> {
        let entry = self.take(address)?;
        // Cannot fail for lack of memory in the thread that allocated; in
        // another one the block then stays counted as live.
        let _ = book.count(
            entry.site(),
            &Change::free(bytes, now),
            now,
            &self.sites,
            &self.peak,
        );
        Some(entry)
    }

    /// Whether there may be a block at `address`; if not, there is none.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn may_know(&self, address: usize) -> bool {
        self.blocks.may_hold(address)
    }

    /// The site of a stack that this thread has not met, if another one has.
    pub(crate) fn others_site(&self, book: &mut Book, stack: &Stack<'_>) -> Option<SiteId> {
        let site = self.sites.find(stack)?;
        book.cache.insert(stack.key, stack.check, site);
        Some(site)
    }

    /// Makes sites whose stacks lead through these addresses be found no more.
    pub(crate) fn retire_sites_through(&self, range: (u64, u64)) {
        self.sites.retire_through(range);
    }

    /// The site of the block at `address`.
    #[cfg_attr(heapledger_exact, inline)]
    pub(crate) fn site_of_block(&self, address: usize) -> Option<SiteId> {
        Some(
            self.entry_in_run(address, self.blocks.get(address)?)?
                .site(),
        )
    }

    /// As [`Self::may_know`], while blocks are sampled.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn may_have_sampled(&self, address: usize) -> bool {
        self.sampled.may_hold(address)
    }

    /// The block at `address` is about to be freed, to move or to change its
    /// size: takes it out, so that whoever gets the address next finds it free.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn take(&self, address: usize) -> Option<Entry> {
        self.entry_in_run(address, self.blocks.remove(address)?)
    }

    /// A block that was taken out is at `address`, unchanged.
    pub(crate) fn put_back(&self, address: usize, entry: Entry) -> Result<(), NotRecorded> {
        self.put_value(address, entry.word())
    }

    /// Keeps the rest of what is to be known of the measured block at `address`.
    /// False: the map has no place for it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn note_more(&self, address: usize, more: More) -> bool {
        self.blocks.put_beside(address + GRANULE_BYTES, more.word())
    }

    /// What was kept. Until another block begins in this one's place.
    pub(crate) fn more(&self, address: usize) -> Option<More> {
        More::from_word(self.blocks.get(address + GRANULE_BYTES)?)
    }

    /// Every block of which more than its site is known, in order of addresses
    /// but for those at odd ones; with its size, unless it is mapped, and weight.
    pub(crate) fn each_measured(&self, mut visit: impl FnMut(usize, Entry, usize, u8)) {
        self.blocks.each(|address, word| {
            let Some(entry) = self.entry_in_run(address, word) else {
                return;
            };
            match (entry.how(), entry.tiny_bytes()) {
                (Measured::Not | Measured::Represented, _) => {}
                (Measured::Mapped, _) => visit(address, entry, 0, 0),
                (_, Some(bytes)) => visit(address, entry, bytes, 0),
                (_, None) => {
                    if let Some(more) = self.more(address) {
                        visit(address, entry, more.bytes(), more.weight());
                    }
                }
            }
        });
    }

    /// A block that was taken out is now of another size, at the second of two
    /// addresses.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn resized(
        &self,
        book: &mut Book,
        entry: Entry,
        (old_address, address): (usize, usize),
        (old_bytes, new_bytes): (usize, usize),
        now: u64,
    ) -> Result<(), NotRecorded> {
        self.put_back(address, entry)?;
        let (places, sizes) = ((old_address, address), (old_bytes, new_bytes));
        self.count_resized(book, entry.site(), places, sizes, now)
    }

    /// As [`Self::resized`], of a block that is in its place.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn count_resized(
        &self,
        book: &mut Book,
        site: SiteId,
        (old_address, address): (usize, usize),
        (old_bytes, new_bytes): (usize, usize),
        now: u64,
    ) -> Result<(), NotRecorded> {
        let change = Change::realloc(old_bytes, new_bytes);
        book.count(site, &change, now, &self.sites, &self.peak)
            .map_err(|_| NotRecorded)?;
        let moved = old_address != address;
        if let Ok(reallocs) = book.reallocs(site) {
            reallocs.count(old_bytes, new_bytes, moved);
        }
        Ok(())
    }

    /// An ad hoc event.
    pub(crate) fn event(
        &self,
        book: &mut Book,
        stack: &mut Stack<'_>,
        weight: usize,
        now: u64,
    ) -> Result<(), NotRecorded> {
        let site = book.site_of(stack, &self.sites).map_err(|_| NotRecorded)?;
        book.count(site, &Change::event(weight), now, &self.sites, &self.peak)
            .map_err(|_| NotRecorded)
    }

    /// How many entries [`Sums::by_site`] needs to hold every site of now.
    pub(crate) fn site_numbers(&self) -> usize {
        self.sites.last_number() + 1
    }

    /// The whole process's counts. No thread counts meanwhile.
    pub(crate) fn totals<'a>(&self, books: impl Iterator<Item = &'a Book>) -> Totals {
        let epoch = self.peak.epoch();
        let mut totals = Totals::default();
        for book in books {
            book.add_to(&mut totals, epoch);
        }
        totals
    }

    /// All counts. No thread counts meanwhile. `sums.by_site` and `sums.timeline` must have
    /// room; nothing is allocated here.
    pub(crate) fn read<'a>(&self, books: impl Iterator<Item = &'a Book> + Clone, sums: &mut Sums) {
        self.read_process(books.clone(), sums);
        self.read_sites(books, sums);
    }

    /// As [`Self::read`], without what is by site.
    pub(crate) fn read_process<'a>(
        &self,
        books: impl Iterator<Item = &'a Book> + Clone,
        sums: &mut Sums,
    ) {
        sums.totals = self.totals(books.clone());
        sums.timeline.extend(self.peak.timeline.moments());
        for book in books {
            book.times.add_to(&mut sums.time);
        }
    }

    /// As [`Self::read`], only what is by site.
    pub(crate) fn read_sites<'a>(&self, books: impl Iterator<Item = &'a Book>, sums: &mut Sums) {
        let epoch = self.peak.epoch();
        for book in books {
            book.add_sites_to(sums, epoch);
        }
        let numbers = sums.first..=self.sites.last_number();
        for (sum, number) in sums.by_site.iter_mut().zip(numbers) {
            let Some(id) = SiteId::new(number as u32) else {
                continue;
            };
            if let Some(shared) = self.sites.shared_max(id) {
                let shared = shared.max();
                if shared.bytes >= sum.owner_max.bytes {
                    sum.owner_max = shared;
                }
                sums.shared_sites += 1;
            }
        }
    }

    /// Turns a reading into sites and stacks. `end` is the time of the reading.
    pub(crate) fn resolve<'a>(
        &'a self,
        sums: &'a Sums,
        scale: Scale,
        end: u64,
    ) -> impl Iterator<Item = SiteCounts> + 'a {
        self.used_sites(sums).map(move |(index, sum, site)| {
            let end_blocks = u64::from(sum.live.blocks);
            let lifetimes = sum
                .lifetime_ticks
                .wrapping_add(end.wrapping_mul(end_blocks));
            let samples = sums.samples.get(index).copied();
            let mut counts = Counts {
                total_blocks: sum.total_blocks,
                total_bytes: sum.total_bytes,
                // Clocks of two processors may differ by a few ticks.
                lifetimes_us: scale.to_us((lifetimes as i64).max(0) as u64),
                max_bytes: sum.owner_max.bytes,
                // Parts of several threads that were published at different
                // moments can add up to less than one block.
                max_blocks: (sum.owner_max.blocks as u32 as i32).max(0) as u64,
                peak_bytes: sum.peak.bytes,
                peak_blocks: u64::from(sum.peak.blocks),
                end_bytes: sum.live.bytes,
                end_blocks,
                // Counted by weight where blocks are sampled.
                largest_bytes: samples
                    .map_or_else(|| site.largest_bytes(), |samples| samples.largest_bytes),
                reallocs: sum.reallocs,
                kept_bytes: sum.kept_bytes,
                copied_bytes: sum.copied_bytes,
                samples: samples.unwrap_or_default(),
                touched: Touched::default(),
            };
            // Between two publications of a shared site the maximum may have
            // been missed, but what it held at these moments is known.
            for (bytes, blocks) in [
                (counts.peak_bytes, counts.peak_blocks),
                (counts.end_bytes, counts.end_blocks),
            ] {
                if bytes > counts.max_bytes {
                    (counts.max_bytes, counts.max_blocks) = (bytes, blocks);
                }
            }
            if let Some(touch) = sums.touch_by_site.get(index) {
                let blocks = counts.total_blocks - counts.reallocs;
                let bytes = counts.total_bytes - counts.kept_bytes;
                counts.touched = touch_estimate::estimate(touch, blocks, bytes);
            }
            SiteCounts {
                number: (sums.first + index) as u32,
                leaf: site.leaf(),
                counts,
            }
        })
    }

    /// The sites of a reading that have had blocks, with their indices in its lists.
    fn used_sites<'a>(
        &'a self,
        sums: &'a Sums,
    ) -> impl Iterator<Item = (usize, &'a SiteSum, &'a Site)> {
        let used = sums
            .by_site
            .iter()
            .enumerate()
            .filter(|(_, sum)| sum.total_blocks != 0);
        used.filter_map(|(index, sum)| {
            let number = SiteId::new((sums.first + index) as u32)?;
            Some((index, sum, self.sites.get(number)?))
        })
    }

    /// The time spent in the inner allocator for each of the sites that
    /// [`Self::resolve`] gives, each tick of a sample standing for `ns` nanoseconds.
    pub(crate) fn resolve_times<'a>(
        &'a self,
        sums: &'a Sums,
        ns: f64,
    ) -> impl Iterator<Item = AllocatorTime> + 'a {
        self.used_sites(sums).map(move |(index, _, _)| {
            let sum = sums.time_by_site.get(index).copied().unwrap_or_default();
            AllocatorTime::of(sum.ticks, sum.samples, ns)
        })
    }

    /// What was read and written, of these sites, in their order.
    pub(crate) fn accesses(&self, sites: &SiteList, with_histograms: bool) -> CountedAccesses {
        let mut accesses = CountedAccesses::default();
        for SitePlace { number, .. } in sites.places() {
            let number = *number;
            let sum = exact::sum_of(number);
            accesses.sites.push(SiteAccesses {
                read: sum.read,
                written: sum.written,
                touched: sum.distinct,
                untold: sum.untold,
            });
            if with_histograms {
                accesses.histograms.push(exact::histogram_of(number));
            }
        }
        let limits = exact::limits();
        accesses.refused_blocks = limits.refused_blocks;
        accesses.unsearched_blocks = limits.unsearched_blocks;
        accesses.unreadable_bytes = limits.unreadable_bytes;
        accesses
    }

    /// A copy of the stack tree.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        (0..self.sites.tree.len())
            .map(|number| self.sites.tree.node(number))
            .collect()
    }

    /// Moves what all threads share into the crash file, if there is one.
    ///
    /// # Safety
    /// No other thread uses the tables meanwhile.
    pub(crate) unsafe fn keep(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.sites.keep() };
    }

    /// Back to a process that holds nothing. Stacks and sites are kept: their
    /// numbers stay valid in the threads' caches.
    ///
    /// # Safety
    /// No other thread counts meanwhile, and all books are reset too.
    pub(crate) unsafe fn reset(&self, now: u64) {
        self.peak.reset(now);
        self.sampled.clear();
        // SAFETY: the caller's promise.
        unsafe {
            self.sites.reset_max();
            self.forget_blocks_outside_scopes();
        }
    }
}
