//! Allocator time by site: one thread's samples of what the inner allocator's
//! calls took. Beside the book's counters and not in them, so that they keep
//! to their cache line; mapped when the first call is timed.
//!
//! Ticks are sums of signed numbers: the cost of reading the clock is taken off
//! each sample, and a call can take less than that is off by.

use crate::record::chunks::{Chunks, Zeroable};
use crate::record::counter::Counter64;
use crate::record::sites::{MAX_SITES, SiteId};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// As the book's other counters.
const CHUNK: usize = super::book::CHUNK;

/// What was asked of the inner allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Alloc = 0,
    Realloc = 1,
    Free = 2,
}

/// One thread's samples of one site. Zeroed memory is a site without any.
#[derive(Debug)]
#[repr(align(32))]
struct SiteTimes {
    ticks: [Counter64; 3],
    samples: Counter64,
}

// SAFETY: atomics, for which zero is valid.
#[allow(unsafe_code)]
unsafe impl Zeroable for SiteTimes {}

/// Zeroed memory is a thread without samples.
#[derive(Debug)]
pub(crate) struct TimeCounters {
    by_site: Chunks<SiteTimes, { MAX_SITES / CHUNK }, CHUNK>,
    ticks: [Counter64; 3],
    samples: Counter64,
    /// Sum of the squares of all samples, as the bits of an f64.
    squares: AtomicU64,
    /// What recording took in the calls of which that was timed.
    recording_ticks: Counter64,
}

impl TimeCounters {
    /// A call took `ticks`. `site` is the one that allocated the block; None:
    /// that was not recorded.
    pub(crate) fn add(&self, site: Option<SiteId>, call: Call, ticks: i64) {
        self.ticks[call as usize].add(ticks as u64);
        self.samples.add(1);
        let squares = f64::from_bits(self.squares.load(Relaxed)) + (ticks as f64) * (ticks as f64);
        self.squares.store(squares.to_bits(), Relaxed);
        // Without memory for it the time counts in the sum alone.
        if let Some(times) = site.and_then(|site| self.by_site.get_or_map(site.get() as usize)) {
            times.ticks[call as usize].add(ticks as u64);
            times.samples.add(1);
        }
    }

    /// Recording a call took `ticks`.
    pub(crate) fn add_recording(&self, ticks: i64) {
        self.recording_ticks.add(ticks as u64);
    }

    pub(crate) fn add_to(&self, sum: &mut TimeSum) {
        for (sum, ticks) in sum.ticks.iter_mut().zip(&self.ticks) {
            *sum += ticks.get() as i64;
        }
        sum.samples += self.samples.get();
        sum.squares += f64::from_bits(self.squares.load(Relaxed));
        sum.recording_ticks += self.recording_ticks.get() as i64;
    }

    /// Adds the samples of sites to `sums`, the first of which is of site `first`.
    pub(crate) fn add_sites_to(&self, first: usize, sums: &mut [SiteTimeSum]) {
        let mut site = first;
        while site - first < sums.len() {
            let Some(times) = self.by_site.get(site) else {
                site = (site / CHUNK + 1) * CHUNK;
                continue;
            };
            let sum = &mut sums[site - first];
            for (sum, ticks) in sum.ticks.iter_mut().zip(&times.ticks) {
                *sum += ticks.get() as i64;
            }
            sum.samples += times.samples.get();
            site += 1;
        }
    }

    /// # Safety
    /// No other thread uses or looks at the counters meanwhile.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn forget_chunk_of(&self, site: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.by_site.zero_chunk_of(site) };
    }

    /// # Safety
    /// No other thread uses or looks at the counters meanwhile.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn reset(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.by_site.zero() };
        for counter in self
            .ticks
            .iter()
            .chain([&self.samples, &self.recording_ticks])
        {
            counter.set(0);
        }
        self.squares.store(0, Relaxed);
    }
}

/// Samples of all threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimeSum {
    /// By [`Call`].
    pub(crate) ticks: [i64; 3],
    pub(crate) samples: u64,
    pub(crate) squares: f64,
    pub(crate) recording_ticks: i64,
}

/// Samples of a site, of all threads.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SiteTimeSum {
    /// By [`Call`].
    pub(crate) ticks: [i64; 3],
    pub(crate) samples: u64,
}
