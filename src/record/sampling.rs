//! What a sampled block stands for, and one thread's samples of one site.
//!
//! A block of `s` bytes is sampled with the probability p = 1 − e^(−s/n), so
//! each sample stands for w = 1/p blocks of its size. To keep every count a
//! whole number, w is rounded up with a chance of its fraction and down
//! otherwise; which of the two it was is kept with the block, so that its free
//! takes away exactly what its allocation has added.
//!
//! Of the estimate Σ W·s, an unbiased estimate of the variance is Σ W(W−1)·s²:
//! for each block E(I·W·s)² − s² where I tells whether it was sampled, and of
//! both terms the samples' W times their value is an unbiased estimate.

use crate::lock::SpinLock;
use crate::record::book::Book;
use crate::record::chunks::{Zeroable, kept};
use crate::record::counter::{Counter64, CounterF64};
use crate::record::scope::tag::Tag;
use crate::record::site_counters::Change;
use crate::record::sites::{MAX_SITES, SiteId};
use crate::record::{NotRecorded, Recorder};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The largest mean distance of samples: a weight is to stay far below 2³².
pub(crate) const MAX_SAMPLE_BYTES: u64 = 1 << 30;

/// In the block map, beside a site: the block's weight was rounded up.
const ROUNDED_UP: u32 = 1 << 23;
const _: () = assert!(MAX_SITES <= ROUNDED_UP as usize);

/// The blocks that a sample of `bytes` stands for, with a fraction.
pub(crate) fn weight(bytes: usize, sample_bytes: u64) -> f64 {
    let ratio = bytes.max(1) as f64 / sample_bytes as f64;
    -1.0 / (-ratio).exp_m1()
}

/// A sampled block, as it is found in the block map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample(SiteId);

impl Sample {
    /// `fraction` is random, at least 0 and less than 1.
    pub(crate) fn new(site: SiteId, bytes: usize, sample_bytes: u64, fraction: f64) -> Self {
        match fraction < weight(bytes, sample_bytes).fract() {
            true => Self(site | ROUNDED_UP),
            false => Self(site),
        }
    }

    fn site(self) -> Option<SiteId> {
        SiteId::new(self.0.get() & !ROUNDED_UP)
    }

    fn blocks(self, bytes: usize, sample_bytes: u64) -> u64 {
        weight(bytes, sample_bytes) as u64 + u64::from(self.0.get() & ROUNDED_UP != 0)
    }
}

/// Which addresses may be those of sampled blocks: a bit for each hash, small enough to stay in the cache
/// nearest to the processor, so that most frees need not look further.
#[derive(Debug)]
pub(crate) struct SampledAddresses {
    bits: [AtomicU64; SLOTS / 64],
    /// How many sampled blocks each bit stands for. A count that reaches its limit stays there.
    counts: SpinLock<[u8; SLOTS]>,
}

const SLOTS: usize = 1 << 15;

impl SampledAddresses {
    pub(crate) const fn new() -> Self {
        Self {
            bits: [const { AtomicU64::new(0) }; SLOTS / 64],
            counts: SpinLock::new([0; SLOTS]),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn slot(address: usize) -> usize {
        let hash = (address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash >> (64 - SLOTS.trailing_zeros())) as usize
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn may_hold(&self, address: usize) -> bool {
        let slot = Self::slot(address);
        self.bits[slot / 64].load(Relaxed) >> (slot % 64) & 1 != 0
    }

    fn add(&self, address: usize) {
        let slot = Self::slot(address);
        let mut counts = self.counts.lock();
        counts[slot] = counts[slot].saturating_add(1);
        self.bits[slot / 64].fetch_or(1 << (slot % 64), Relaxed);
    }

    fn remove(&self, address: usize) {
        let slot = Self::slot(address);
        let mut counts = self.counts.lock();
        // At its limit, a count may stand for any number.
        if counts[slot] != u8::MAX {
            counts[slot] = counts[slot].saturating_sub(1);
        }
        // Under the lock: nobody sets it again in between.
        if counts[slot] == 0 {
            self.bits[slot / 64].fetch_and(!(1 << (slot % 64)), Relaxed);
        }
    }

    /// No other thread samples or frees samples meanwhile.
    pub(crate) fn clear(&self) {
        self.counts.lock().fill(0);
        for bits in &self.bits {
            bits.store(0, Relaxed);
        }
    }
}

/// One thread's samples of one site. Zeroed memory is a site without any.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct SampleCounters {
    samples: Counter64,
    /// Wraps, as what is live does.
    live_samples: Counter64,
    largest_bytes: Counter64,
    bytes_variance: CounterF64,
    blocks_variance: CounterF64,
    end_bytes_variance: CounterF64,
    end_blocks_variance: CounterF64,
}

// SAFETY: atomics, for which zero is valid.
unsafe impl Zeroable for SampleCounters {
    const KEPT_AS: u32 = kept::SAMPLES;
}

impl SampleCounters {
    fn count(&self, bytes: usize, blocks: u64, is_free: bool) {
        let blocks = blocks as f64;
        let blocks_variance = blocks * (blocks - 1.0);
        let bytes_variance = blocks_variance * (bytes as f64) * (bytes as f64);
        if is_free {
            self.live_samples.add(u64::MAX);
            self.end_bytes_variance.add(-bytes_variance);
            self.end_blocks_variance.add(-blocks_variance);
            return;
        }
        self.samples.add(1);
        self.live_samples.add(1);
        self.largest_bytes
            .set(self.largest_bytes.get().max(bytes as u64));
        self.bytes_variance.add(bytes_variance);
        self.blocks_variance.add(blocks_variance);
        self.end_bytes_variance.add(bytes_variance);
        self.end_blocks_variance.add(blocks_variance);
    }

    pub(crate) fn add_to(&self, sum: &mut SampleSum) {
        sum.samples += self.samples.get();
        sum.live_samples = sum.live_samples.wrapping_add(self.live_samples.get());
        sum.largest_bytes = sum.largest_bytes.max(self.largest_bytes.get());
        sum.bytes_variance += self.bytes_variance.get();
        sum.blocks_variance += self.blocks_variance.get();
        sum.end_bytes_variance += self.end_bytes_variance.get();
        sum.end_blocks_variance += self.end_blocks_variance.get();
    }
}

/// How many samples figures rest on, and the variances of the figures. All 0 where
/// every block was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct SampleSum {
    pub(crate) samples: u64,
    pub(crate) live_samples: u64,
    pub(crate) largest_bytes: u64,
    /// Of the total bytes and blocks.
    pub(crate) bytes_variance: f64,
    pub(crate) blocks_variance: f64,
    /// Of what is live at the end.
    pub(crate) end_bytes_variance: f64,
    pub(crate) end_blocks_variance: f64,
}

impl SampleSum {
    pub(crate) fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        self.live_samples += other.live_samples;
        self.largest_bytes = self.largest_bytes.max(other.largest_bytes);
        self.bytes_variance += other.bytes_variance;
        self.blocks_variance += other.blocks_variance;
        self.end_bytes_variance += other.end_bytes_variance;
        self.end_blocks_variance += other.end_blocks_variance;
    }
}

impl Recorder {
    /// A block of `bytes` at `address` was sampled. Ok(false): one was there
    /// before, whose free was not seen.
    pub(crate) fn alloc_sampled(
        &self,
        book: &mut Book,
        sample: Sample,
        address: usize,
        bytes: usize,
        (sample_bytes, now): (u64, u64),
    ) -> Result<bool, NotRecorded> {
        let before = self.blocks.insert(address, sample.0);
        let before = before.map_err(|_| NotRecorded)?;
        let blocks = sample.blocks(bytes, sample_bytes);
        let change = Change::alloc_of(blocks, bytes, now);
        if self
            .count_sample(book, sample, &change, bytes, now)
            .is_err()
        {
            self.blocks.remove(address);
            return Err(NotRecorded);
        }
        self.sampled.add(address);
        Ok(before.is_none())
    }

    /// The block at `address` is about to be freed, moved or resized. None:
    /// it is not a sampled one.
    pub(crate) fn take_sampled(&self, address: usize) -> Option<Sample> {
        let value = self.blocks.remove(address)?;
        if Tag::of(value).is_some() {
            // What a scope left that has ended.
            return None;
        }
        self.sampled.remove(address);
        Some(Sample(value))
    }

    /// A block that was taken out is at `address`, unchanged.
    pub(crate) fn put_back_sampled(
        &self,
        address: usize,
        sample: Sample,
    ) -> Result<(), NotRecorded> {
        let inserted = self.blocks.insert(address, sample.0);
        inserted.map_err(|_| NotRecorded)?;
        self.sampled.add(address);
        Ok(())
    }

    /// A block that was taken out is no more.
    pub(crate) fn free_sampled(
        &self,
        book: &mut Book,
        sample: Sample,
        bytes: usize,
        (sample_bytes, now): (u64, u64),
    ) {
        let blocks = sample.blocks(bytes, sample_bytes);
        let change = Change::free_of(blocks, bytes, now);
        // Cannot fail for lack of memory in the thread that allocated; in
        // another one the block then stays counted as live.
        let _ = self.count_sample(book, sample, &change, bytes, now);
    }

    fn count_sample(
        &self,
        book: &mut Book,
        sample: Sample,
        change: &Change,
        bytes: usize,
        now: u64,
    ) -> Result<(), NotRecorded> {
        let site = sample.site().ok_or(NotRecorded)?;
        let is_free = change.allocated_blocks == 0;
        let blocks = match is_free {
            true => change.live.blocks.wrapping_neg(),
            false => change.allocated_blocks,
        };
        let samples = book.samples(site).map_err(|_| NotRecorded)?;
        samples.count(bytes, blocks, is_free);
        book.count(site, change, now, &self.sites, &self.peak)
            .map_err(|_| NotRecorded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(number: u32) -> SiteId {
        SiteId::new(number).unwrap()
    }

    #[test]
    fn weights_are_one_over_the_chance_to_be_sampled() {
        assert_eq!(weight(1 << 40, 1024), 1.0);
        let of_mean = 1.0 / (1.0 - (-1.0_f64).exp());
        assert!((weight(1024, 1024) - of_mean).abs() < 1e-12);
        // Small blocks: n/s + 1/2, to first order.
        assert!((weight(16, 1 << 19) - 32768.5).abs() < 1e-3);
        assert!(weight(1, MAX_SAMPLE_BYTES) < f64::from(u32::MAX));
    }

    #[test]
    fn weights_are_rounded_without_a_bias() {
        const STEPS: u32 = 10_000;
        for (bytes, sample_bytes) in [(64, 64), (100, 40), (7, 50), (1, 3)] {
            let blocks = (0..STEPS).map(|step| {
                let fraction = f64::from(step) / f64::from(STEPS);
                let sample = Sample::new(site(5), bytes, sample_bytes, fraction);
                assert_eq!(sample.site(), Some(site(5)));
                sample.blocks(bytes, sample_bytes)
            });
            let mean = blocks.sum::<u64>() as f64 / f64::from(STEPS);
            assert!((mean - weight(bytes, sample_bytes)).abs() < 1e-3, "{mean}");
        }
    }

    #[test]
    fn addresses_are_counted() {
        let filter = Box::new(SampledAddresses::new());
        let addresses = || (0..20_000_usize).map(|n| 0x7f00_0000_1000 + n * 4000);
        assert!(!addresses().any(|address| filter.may_hold(address)));
        addresses().for_each(|address| filter.add(address));
        assert!(addresses().all(|address| filter.may_hold(address)));
        addresses().for_each(|address| filter.remove(address));
        assert!(!addresses().any(|address| filter.may_hold(address)));
        // More than a count can tell: it stays.
        (0..300).for_each(|_| filter.add(64));
        (0..300).for_each(|_| filter.remove(64));
        assert!(filter.may_hold(64));
        filter.clear();
        assert!(!filter.may_hold(64));
    }
}
