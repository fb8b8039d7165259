//! One thread's book: its counts, by site and in all. Only its thread writes
//! it; when the thread ends the next new thread goes on with the same book, so
//! nothing is ever merged on the way.

use crate::capture::walk::Stack;
use crate::record::chunks::Chunks;
use crate::record::counter::{Counter32, Counter64};
use crate::record::peak::{Amount, Mode, Peak, SLACK_DIVISOR};
use crate::record::realloc_counters::ReallocCounters;
use crate::record::sampling::SampleCounters;
use crate::record::site_cache::SiteCache;
use crate::record::site_counters::{Change, SiteCounters};
use crate::record::site_max::Joined;
use crate::record::sites::{MAX_SITES, OVERFLOW, SiteId, Sites};
use crate::record::snapshot::Totals;
use crate::record::time_counters::TimeCounters;
use crate::record::timeline::{Moment, TOP, Top};
use crate::record::touch_counters::TouchBook;
use std::cmp::Reverse;

pub(crate) mod by_site;

/// Sites of one chunk of counters.
pub(crate) const CHUNK: usize = 1 << 10;

/// Less than this is no change worth a moment of the timeline: to allocate it costs far more than to
/// mark it.
pub(crate) const MOMENT_BYTES_MIN: u64 = 64 << 10;

/// Zeroed memory is an empty book, to be opened with [`Book::set_mode`].
#[derive(Debug)]
pub(crate) struct Book {
    mode: Mode,
    /// Whether sites that several threads have used are summed at every change.
    exact: bool,
    /// When `live` leaves this range: publish, or in single mode mark a moment of the timeline or a
    /// peak.
    low: i64,
    high: i64,
    /// In single mode: whether `high` is where the process reaches its peak.
    peaks_at_high: bool,
    /// In single mode: how far below `live` the range begins.
    slack: i64,
    live_bytes: Counter64,
    live_blocks: Counter64,
    total_bytes: Counter64,
    total_blocks: Counter64,
    /// What was live at the peak, saved in `epoch`.
    peak_bytes: Counter64,
    peak_blocks: Counter64,
    epoch: Counter32,
    /// This book's part of the published sum.
    published: Amount,
    /// In single mode: what all other books hold.
    others: Amount,
    counters: Chunks<SiteCounters, { MAX_SITES / CHUNK }, CHUNK>,
    reallocs: Chunks<ReallocCounters, { MAX_SITES / CHUNK }, CHUNK>,
    samples: Chunks<SampleCounters, { MAX_SITES / CHUNK }, CHUNK>,
    pub(crate) touch: TouchBook,
    pub(crate) cache: SiteCache,
    pub(crate) times: TimeCounters,
}

impl Book {
    /// Sets how this book notices peaks, from the present state of `peak`.
    pub(crate) fn set_mode(&mut self, mode: Mode, exact: bool, peak: &Peak, now: u64) {
        self.mode = mode;
        self.exact = exact;
        self.peaks_at_high = false;
        match mode {
            Mode::Single => {
                self.others = peak.published().minus(self.published);
                self.set_range(peak);
            }
            Mode::Many | Mode::ManyExact => self.publish(peak, now),
        }
    }

    /// Makes the published sum right, for when this book's thread ends or is
    /// no longer the only one.
    pub(crate) fn publish(&mut self, peak: &Peak, now: u64) {
        let held = peak.lock();
        let live = self.live();
        peak.publish(live.minus(self.published), now, &held);
        self.published = live;
        if self.mode == Mode::ManyExact {
            // No change is a usual one.
            (self.low, self.high) = (i64::MAX, i64::MIN);
            return;
        }
        let slack = peak.slack_bytes(&held) as i64;
        self.low = (live.bytes as i64).saturating_sub(slack);
        self.high = (live.bytes as i64).saturating_add(slack);
    }

    /// Counts one change of a site. `sites` knows the site's maximum among
    /// threads.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn count(
        &mut self,
        site: SiteId,
        change: &Change,
        now: u64,
        sites: &Sites,
        peak: &Peak,
    ) -> Result<(), NoCounters> {
        if self.mode == Mode::ManyExact {
            return self.count_exact(site, *change, now, sites, peak);
        }
        self.apply(site, change, sites, peak)?;
        let live = self.live_bytes.get() as i64;
        if change.can_shrink() && live < self.low {
            self.left_range(sites, peak, now);
        } else if change.can_grow() && live >= self.high {
            if self.peaks_at_high && !peak.timeline.is_due(now) {
                self.set_own_peak(peak, now);
            } else {
                self.left_range(sites, peak, now);
            }
        }
        Ok(())
    }

    /// As [`Self::count`] for what is usual: a site that this thread has counted
    /// before and no other one has, or if `SHARED` one that others have and of which there is nothing
    /// to publish; no block larger than before, no peak among several threads. `now` is asked for the
    /// time and `change` given it. False: nothing was done. Calls nothing.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn count_if_usual<const SHARED: bool>(
        &mut self,
        site: SiteId,
        now: impl FnOnce() -> Option<u64>,
        change: impl Fn(u64) -> Change,
        sites: &Sites,
        peak: &Peak,
    ) -> bool {
        let Some(counters) = self.counters.get(site.get() as usize) else {
            return false;
        };
        let Some(facts) = sites.known_facts(site) else {
            return false;
        };
        // The same at any time.
        let allocated_bytes = change(0).allocated_bytes;
        let is_usual = match SHARED {
            true => !self.exact && facts.are_usual_of_shared(allocated_bytes),
            false => facts.are_usual(allocated_bytes),
        };
        if !is_usual {
            return false;
        }
        let Some(now) = now() else {
            return false;
        };
        let change = &change(now);
        if SHARED {
            let shared = sites.shared_max(site);
            if !shared.is_some_and(|shared| counters.is_published_after(change, shared)) {
                return false;
            }
        }
        let live = self.live_bytes.get().wrapping_add(change.live.bytes) as i64;
        if change.can_shrink() && live < self.low {
            return false;
        }
        let is_peak = change.can_grow() && live >= self.high;
        if is_peak && (!self.peaks_at_high || peak.timeline.is_due(now)) {
            return false;
        }
        let epoch = peak.epoch();
        if counters.epoch() != epoch {
            if counters.is_unused() {
                return false;
            }
            counters.save_at_peak(epoch);
        }
        self.save_at_peak(epoch);
        counters.apply(change);
        if change.can_grow() && !SHARED {
            counters.update_own_max();
        }
        self.add(change);
        if is_peak {
            self.set_own_peak(peak, now);
        }
        true
    }

    /// Keeps what is held as what was held at the peak, once an epoch.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn save_at_peak(&self, epoch: u32) {
        if self.epoch.get() != epoch {
            self.peak_bytes.set(self.live_bytes.get());
            self.peak_blocks.set(self.live_blocks.get());
            self.epoch.set(epoch);
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn add(&self, change: &Change) {
        if change.allocated_blocks != 0 {
            self.total_blocks.add(change.allocated_blocks);
            self.total_bytes.add(change.allocated_bytes);
        }
        self.live_bytes.add(change.live.bytes);
        self.live_blocks.add(change.live.blocks);
    }

    /// What this thread holds makes the process's peak: it is the only thread.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn set_own_peak(&mut self, peak: &Peak, now: u64) {
        let live = self.live_bytes.get();
        peak.set(live.wrapping_add(self.others.bytes), now);
        // Often it is the same peak again.
        let live = live as i64;
        if live > self.high {
            self.high = live;
            self.low = live - self.slack;
        }
    }

    #[cold]
    #[inline(never)]
    fn left_range(&mut self, sites: &Sites, peak: &Peak, now: u64) {
        match self.mode {
            Mode::Single => self.mark_moment(sites, peak, now),
            Mode::Many | Mode::ManyExact => self.publish(peak, now),
        }
    }

    /// In single mode, after a change that was applied: marks a moment, and the peak if it is one.
    fn mark_moment(&mut self, sites: &Sites, peak: &Peak, now: u64) {
        // A peak was not marked if it came before the slot was over. It may have lasted.
        if peak.at_ticks() > peak.timeline.last_ticks() {
            let at_peak = Amount {
                bytes: self.peak_bytes.get(),
                blocks: self.peak_blocks.get(),
            };
            peak.timeline.mark(Moment {
                ticks: peak.at_ticks(),
                live: at_peak.plus(self.others),
                ..Moment::default()
            });
        }
        let live = self.live().plus(self.others);
        let top = self.top_of_new_slot(sites, peak, now);
        peak.timeline.mark(Moment {
            ticks: now,
            live,
            top,
        });
        if live.bytes >= peak.max_bytes() {
            peak.set(live.bytes, now);
        }
        self.set_range(peak);
    }

    /// The sites that hold most, if a slot begins, there are few enough of them, and this book has all
    /// that is live.
    fn top_of_new_slot(&self, sites: &Sites, peak: &Peak, now: u64) -> Top {
        let mut top = Top::default();
        let count = sites.last_number();
        let is_all = self.others == Amount::default();
        if !is_all || !peak.timeline.is_due(now) || count > peak.timeline.affordable_sites() {
            return top;
        }
        for site in 1..=count {
            let live = self.counters.get(site).map_or(0, SiteCounters::live_bytes);
            // Of a site whose blocks came from a thread that has ended it may be less than nothing.
            if live as i64 > top[TOP - 1].1 as i64 {
                top[TOP - 1] = (site as u32, live);
                top.sort_unstable_by_key(|&(_, bytes)| Reverse(bytes));
            }
        }
        top
    }

    /// In single mode: the range around what is live now, up to the peak.
    fn set_range(&mut self, peak: &Peak) {
        self.slack = (peak.max_bytes() / SLACK_DIVISOR).max(MOMENT_BYTES_MIN) as i64;
        let live = self.live_bytes.get() as i64;
        // Live reaches this when the process as a whole reaches its peak.
        let peak = peak.max_bytes().wrapping_sub(self.others.bytes) as i64;
        self.low = live - self.slack;
        self.high = peak.min(live + self.slack);
        self.peaks_at_high = self.high == peak;
    }

    #[cold]
    #[inline(never)]
    fn count_exact(
        &mut self,
        site: SiteId,
        change: Change,
        now: u64,
        sites: &Sites,
        peak: &Peak,
    ) -> Result<(), NoCounters> {
        let held = peak.lock();
        self.apply(site, &change, sites, peak)?;
        let live = self.live();
        peak.publish(live.minus(self.published), now, &held);
        self.published = live;
        Ok(())
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn apply(
        &mut self,
        site: SiteId,
        change: &Change,
        sites: &Sites,
        peak: &Peak,
    ) -> Result<(), NoCounters> {
        let Some(counters) = self.counters.get_or_map(site.get() as usize) else {
            return Err(NoCounters);
        };
        let epoch = peak.epoch();
        self.save_at_peak(epoch);
        if counters.is_unused() && sites.join(site, counters).ok_or(NoCounters)? == Joined::AsSharer
        {
            counters.set_shared();
        }
        if counters.epoch() != epoch {
            counters.save_at_peak(epoch);
        }
        counters.apply(change);
        let facts = sites.facts(site);
        if change.allocated_bytes > facts.largest_bytes_at_least() {
            sites.note_largest(site, change.allocated_bytes);
        }
        if facts.is_shared() {
            if let Some(shared) = sites.shared_max(site) {
                counters.update_shared_max(shared, self.exact);
            }
        } else if change.can_grow() {
            counters.update_own_max();
        }
        self.add(change);
        Ok(())
    }

    /// What is known of the samples of a site, beside its counts.
    pub(crate) fn samples(&self, site: SiteId) -> Result<&SampleCounters, NoCounters> {
        self.samples
            .get_or_map(site.get() as usize)
            .ok_or(NoCounters)
    }

    pub(crate) fn reallocs(&self, site: SiteId) -> Result<&ReallocCounters, NoCounters> {
        self.reallocs
            .get_or_map(site.get() as usize)
            .ok_or(NoCounters)
    }

    fn live(&self) -> Amount {
        Amount {
            bytes: self.live_bytes.get(),
            blocks: self.live_blocks.get(),
        }
    }

    /// Adds this book's counts to the process's. Wrapping: only the sum over
    /// all books is a count.
    pub(crate) fn add_to(&self, totals: &mut Totals, epoch: u32) {
        let live = self.live();
        let peak = if self.epoch.get() == epoch {
            Amount {
                bytes: self.peak_bytes.get(),
                blocks: self.peak_blocks.get(),
            }
        } else {
            live
        };
        totals.total_blocks += self.total_blocks.get();
        totals.total_bytes += self.total_bytes.get();
        totals.live_blocks = totals.live_blocks.wrapping_add(live.blocks);
        totals.live_bytes = totals.live_bytes.wrapping_add(live.bytes);
        totals.peak_blocks = totals.peak_blocks.wrapping_add(peak.blocks);
        totals.peak_bytes = totals.peak_bytes.wrapping_add(peak.bytes);
    }

    /// As [`Self::add_to`], without the peak, and while the book is in use.
    ///
    /// # Safety
    /// `book` is one that stays mapped.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn add_gauges_to(book: *const Self, totals: &mut Totals) {
        // SAFETY: the caller's promise; atomics, and no reference to the whole.
        let counters = unsafe {
            [
                (&(*book).total_blocks, &mut totals.total_blocks),
                (&(*book).total_bytes, &mut totals.total_bytes),
                (&(*book).live_blocks, &mut totals.live_blocks),
                (&(*book).live_bytes, &mut totals.live_bytes),
            ]
        };
        for (counter, sum) in counters {
            *sum = sum.wrapping_add(counter.get());
        }
    }

    /// Back to an empty book; what the cache knows stays true.
    ///
    /// # Safety
    /// No other thread uses the book or looks at its counters meanwhile.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn reset(&mut self) {
        // SAFETY: the caller's promise covers all counters.
        unsafe {
            self.counters.zero();
            self.reallocs.zero();
            self.times.reset();
            self.samples.zero();
            self.touch.reset();
        }
        for total in [
            &self.live_bytes,
            &self.live_blocks,
            &self.total_bytes,
            &self.total_blocks,
            &self.peak_bytes,
            &self.peak_blocks,
        ] {
            total.set(0);
        }
        self.epoch.set(0);
        self.published = Amount::default();
    }

    /// Moves the counters, which are zero, into the crash file, if there is one.
    ///
    /// # Safety
    /// As for [`Self::reset`].
    #[allow(unsafe_code)]
    pub(crate) unsafe fn keep(&self) {
        // SAFETY: the caller's promise.
        unsafe {
            self.counters.keep(false);
            self.samples.keep(false);
        }
    }

    /// The site of a stack, from the cache or the tables. Where neither has
    /// room for it, the overflow site.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn site_of(
        &mut self,
        stack: &mut Stack<'_>,
        sites: &Sites,
    ) -> Result<SiteId, NoCounters> {
        match self.cache.get(stack.key, stack.check) {
            Some(site) => Ok(site),
            None => self.intern(stack, sites),
        }
    }

    #[cold]
    #[inline(never)]
    fn intern(&mut self, stack: &mut Stack<'_>, sites: &Sites) -> Result<SiteId, NoCounters> {
        let site = match sites.intern(stack) {
            Some(site) => site,
            None => sites.overflow().ok_or(NoCounters)?,
        };
        debug_assert!(site >= OVERFLOW);
        self.cache.insert(stack.key, stack.check, site);
        Ok(site)
    }
}

/// The system gave no memory for counters: nothing was counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoCounters;
