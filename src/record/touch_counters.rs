//! One thread's sums of what was measured of each site's blocks; and which
//! blocks are.
//!
//! Small blocks are measured always, of larger ones the first few of each site
//! and thread and then a sample, in which a block of twice the size is half as
//! likely to be. Which, is decided before the block is used, so that the sample
//! stands for all of them.

use crate::record::chunks::{Chunks, Zeroable};
use crate::record::counter::{Counter32, Counter64};
use crate::record::sites::{MAX_SITES, SiteId};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// As the book's other counters.
const CHUNK: usize = super::book::CHUNK;

/// Blocks up to this size are measured always.
pub(crate) const SMALL_BYTES: usize = 4096;

/// So many larger blocks of each site and thread are measured always. Programs
/// whose first blocks are unlike the rest are not rare.
const FIRST_BLOCKS: u32 = 16;

/// Later ones with a probability of this over their size.
const SAMPLED_BYTES: usize = 2048;

/// What was found in a block, or in a part of one. All in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measure {
    pub(crate) bytes: u64,
    /// Surely written: a lower bound.
    pub(crate) written: u64,
    /// Likely written.
    pub(crate) likely: u64,
    /// No more than this was written.
    pub(crate) at_most: u64,
    /// Behind the last byte that was written.
    pub(crate) tail: u64,
}

/// Whether a block is measured, and for how many it stands: 2 to this power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    Measure {
        weight: u8,
    },
    /// Others stand for it.
    Leave,
}

/// The weight of a sampled block of this size.
pub(crate) fn weight_of(bytes: usize) -> u8 {
    let times = bytes.div_ceil(SAMPLED_BYTES).max(1);
    times.next_power_of_two().ilog2() as u8
}

/// Zeroed memory is a thread that measures nothing.
#[derive(Debug)]
pub(crate) struct TouchBook {
    on: Cell<bool>,
    random: Cell<u64>,
    spare: Cell<u64>,
    always: Chunks<AlwaysMeasured, { MAX_SITES / CHUNK }, CHUNK>,
    sampled: Chunks<Sampled, { MAX_SITES / CHUNK }, CHUNK>,
}

impl TouchBook {
    pub(crate) fn set_on(&self, on: bool, seed: u64) {
        self.on.set(on);
        if self.random.get() == 0 {
            self.random.set(seed | 1);
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_on(&self) -> bool {
        self.on.get()
    }

    /// 8 bytes of this thread that nobody reads.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn spare(&self) -> *mut u8 {
        self.spare.as_ptr().cast()
    }

    /// Whether a block of more than [`SMALL_BYTES`] is measured.
    pub(crate) fn decide(&self, site: SiteId, bytes: usize) -> Decision {
        let Some(sampled) = self.sampled.get_or_map(site.get() as usize) else {
            return Decision::Leave;
        };
        let blocks = sampled.larger_blocks.get();
        if blocks < FIRST_BLOCKS {
            sampled.larger_blocks.add(1);
            return Decision::Measure { weight: 0 };
        }
        sampled.population_blocks.add(1);
        sampled.population_bytes.add(bytes as u64);
        match self.chance(weight_of(bytes)) {
            true => Decision::Measure {
                weight: weight_of(bytes),
            },
            false => Decision::Leave,
        }
    }

    /// A block that the sample stands for, or is in, has grown; `weight` is
    /// None if it is not in. Whether it is still.
    pub(crate) fn grow(
        &self,
        site: SiteId,
        weight: Option<u8>,
        old_bytes: usize,
        bytes: usize,
    ) -> Decision {
        if let Some(sampled) = self.sampled.get_or_map(site.get() as usize) {
            sampled.population_bytes.add((bytes - old_bytes) as u64);
        }
        let Some(old_weight) = weight else {
            return Decision::Leave;
        };
        let weight = weight_of(bytes).max(old_weight);
        match self.chance(weight - old_weight) {
            true => Decision::Measure { weight },
            false => Decision::Leave,
        }
    }

    /// True once in 2 to this power times.
    fn chance(&self, power: u8) -> bool {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        random >> 20 & ((1 << power) - 1) == 0
    }

    /// The sums of small blocks of a site, if it has any.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn sums_of_small(&self, site: SiteId) -> Option<&AlwaysMeasured> {
        self.always.get(site.get() as usize)
    }

    /// A small block that began as the pattern.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn add_small(&self, site: SiteId, bytes: usize, written: usize, tail: usize) {
        if let Some(always) = self.always.get_or_map(site.get() as usize) {
            always.add_small(bytes, written, tail);
        }
    }

    /// A block, or with `blocks` of 0 a part that was cut off from one.
    #[cold]
    pub(crate) fn add(&self, site: SiteId, weight: u8, blocks: u64, measure: &Measure) {
        let site = site.get() as usize;
        if weight != 0 {
            if let Some(sampled) = self.sampled.get_or_map(site) {
                sampled.sums.add(f64::from(1 << weight), blocks, measure);
            }
            return;
        }
        if let Some(always) = self.always.get_or_map(site) {
            always.add(blocks, measure.bytes, measure.written, measure.tail);
        }
        if measure.at_most != measure.written
            && let Some(sampled) = self.sampled.get_or_map(site)
        {
            sampled.always_likely.add(measure.likely - measure.written);
            sampled
                .always_at_most
                .add(measure.at_most - measure.written);
        }
    }

    /// Adds this thread's sums to a site's.
    pub(crate) fn add_to(&self, site: usize, sum: &mut TouchSum) {
        if let Some(always) = self.always.get(site) {
            sum.always_blocks += always.blocks.get();
            sum.always.bytes += always.bytes.get();
            sum.always.written += always.written.get();
            sum.always.likely += always.written.get();
            sum.always.at_most += always.written.get();
            sum.always.tail += always.tail.get();
        }
        if let Some(sampled) = self.sampled.get(site) {
            sum.always.likely += sampled.always_likely.get();
            sum.always.at_most += sampled.always_at_most.get();
            sum.population_blocks += sampled.population_blocks.get();
            sum.population_bytes += sampled.population_bytes.get();
            sampled.sums.add_to(&mut sum.sampled);
        }
    }

    /// Whether there may be sums of sites from this one to the end of its chunk.
    pub(crate) fn has_chunk_of(&self, site: usize) -> bool {
        self.always.get(site).is_some() || self.sampled.get(site).is_some()
    }

    /// # Safety
    /// No other thread uses the sums meanwhile.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn forget_chunk_of(&self, site: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            self.always.zero_chunk_of(site);
            self.sampled.zero_chunk_of(site);
        }
    }

    /// # Safety
    /// No other thread uses the sums meanwhile.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn reset(&self) {
        self.on.set(false);
        // SAFETY: the caller's promise.
        unsafe {
            self.always.zero();
            self.sampled.zero();
        }
    }
}

#[derive(Debug)]
#[repr(C, align(32))]
pub(crate) struct AlwaysMeasured {
    blocks: Counter64,
    bytes: Counter64,
    written: Counter64,
    tail: Counter64,
}

// SAFETY: atomics, for which zero is valid.
unsafe impl Zeroable for AlwaysMeasured {}

impl AlwaysMeasured {
    /// A small block that began as the pattern.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn add_small(&self, bytes: usize, written: usize, tail: usize) {
        self.add(1, bytes as u64, written as u64, tail as u64);
    }

    /// One that was written to everywhere.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn add_filled(&self, bytes: usize) {
        self.blocks.add(1);
        self.bytes.add(bytes as u64);
        self.written.add(bytes as u64);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn add(&self, blocks: u64, bytes: u64, written: u64, tail: u64) {
        self.blocks.add(blocks);
        self.bytes.add(bytes);
        self.written.add(written);
        self.tail.add(tail);
    }
}

#[derive(Debug)]
struct Sampled {
    /// Of the first ones.
    larger_blocks: Counter32,
    /// All that the sample stands for, itself included.
    population_blocks: Counter64,
    population_bytes: Counter64,
    /// What was measured always, above what was surely written.
    always_likely: Counter64,
    always_at_most: Counter64,
    sums: WeightedCounters,
}

// SAFETY: atomics, for which zero is valid.
unsafe impl Zeroable for Sampled {}

/// A number with one writing thread.
#[derive(Debug, Default)]
struct CounterF64(AtomicU64);

impl CounterF64 {
    fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    fn add(&self, amount: f64) {
        self.0.store((self.get() + amount).to_bits(), Relaxed);
    }
}

#[derive(Debug, Default)]
struct WeightedCounters {
    blocks: Counter64,
    bytes: Counter64,
    written: Counter64,
    tail: Counter64,
    weighted: [CounterF64; WEIGHTED],
}

const WEIGHTED: usize = 8;

/// Sums over a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct WeightedSum {
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    pub(crate) written: u64,
    pub(crate) tail: u64,
    /// Times the weight: bytes, and what was likely written of them, ...
    pub(crate) w_bytes: f64,
    pub(crate) w_likely: f64,
    /// ... behind the last byte written, likely but not surely written, and
    /// perhaps but not likely.
    pub(crate) w_tail: f64,
    pub(crate) w_unsure: f64,
    pub(crate) w_above: f64,
    /// Products of likely and bytes, times the weight and the weight less 1.
    pub(crate) v_likely_likely: f64,
    pub(crate) v_likely_bytes: f64,
    pub(crate) v_bytes_bytes: f64,
}

impl WeightedCounters {
    fn add(&self, weight: f64, blocks: u64, measure: &Measure) {
        self.blocks.add(blocks);
        self.bytes.add(measure.bytes);
        self.written.add(measure.written);
        self.tail.add(measure.tail);
        let (likely, bytes) = (measure.likely as f64, measure.bytes as f64);
        let unsure = (measure.likely - measure.written) as f64;
        let above = (measure.at_most - measure.likely) as f64;
        let spread = weight * (weight - 1.0);
        let added: [f64; WEIGHTED] = [
            weight * bytes,
            weight * likely,
            weight * measure.tail as f64,
            weight * unsure,
            weight * above,
            spread * likely * likely,
            spread * likely * bytes,
            spread * bytes * bytes,
        ];
        for (counter, amount) in self.weighted.iter().zip(added) {
            counter.add(amount);
        }
    }

    fn add_to(&self, sum: &mut WeightedSum) {
        sum.blocks += self.blocks.get();
        sum.bytes += self.bytes.get();
        sum.written += self.written.get();
        sum.tail += self.tail.get();
        let fields: [&mut f64; WEIGHTED] = [
            &mut sum.w_bytes,
            &mut sum.w_likely,
            &mut sum.w_tail,
            &mut sum.w_unsure,
            &mut sum.w_above,
            &mut sum.v_likely_likely,
            &mut sum.v_likely_bytes,
            &mut sum.v_bytes_bytes,
        ];
        for (field, counter) in fields.into_iter().zip(&self.weighted) {
            *field += counter.get();
        }
    }
}

#[cfg(test)]
impl WeightedSum {
    /// Adds one more block, as a thread's counters do.
    fn add(&mut self, weight: u8, measure: &Measure) {
        let counters = WeightedCounters::default();
        counters.add(f64::from(1 << weight), 1, measure);
        counters.add_to(self);
    }
}

/// A site's sums over all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct TouchSum {
    pub(crate) always_blocks: u64,
    pub(crate) always: Measure,
    pub(crate) population_blocks: u64,
    pub(crate) population_bytes: u64,
    pub(crate) sampled: WeightedSum,
}

#[cfg(test)]
impl TouchSum {
    /// Adds a block, as a thread's counters do.
    pub(crate) fn add_live(&mut self, weight: u8, measure: &Measure) {
        if weight != 0 {
            return self.sampled.add(weight, measure);
        }
        self.always_blocks += 1;
        let always = &mut self.always;
        always.bytes += measure.bytes;
        always.written += measure.written;
        always.likely += measure.likely;
        always.at_most += measure.at_most;
        always.tail += measure.tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_twice_the_size_stands_for_twice_as_many() {
        for (bytes, weight) in [
            (1, 0),
            (2048, 0),
            (2049, 1),
            (4096, 1),
            (4097, 2),
            (8192, 2),
        ] {
            assert_eq!(weight_of(bytes), weight, "{bytes}");
        }
        assert_eq!(weight_of(1 << 40), 29);
    }

    fn book() -> &'static TouchBook {
        // SAFETY: zeroed memory is a valid book, and this one is leaked.
        unsafe {
            crate::untracked::map_zeroed::<TouchBook>()
                .unwrap()
                .as_ref()
        }
    }

    #[test]
    fn the_first_are_measured_and_then_a_part_that_stands_for_all() {
        let (book, site) = (book(), SiteId::new(5).unwrap());
        book.set_on(true, 42);
        let blocks = 200_000;
        let bytes = 16 << 10;
        let mut standing_for = 0;
        for number in 0..blocks {
            match book.decide(site, bytes) {
                Decision::Measure { weight: 0 } => assert!(number < 16),
                Decision::Measure { weight } => standing_for += 1 << weight,
                Decision::Leave => assert!(number >= 16),
            }
        }
        let mut sum = TouchSum::default();
        book.add_to(5, &mut sum);
        assert_eq!(sum.population_blocks, blocks - 16);
        assert_eq!(sum.population_bytes, (blocks - 16) * bytes as u64);
        // One in 8, with a standard deviation of 1 % of the 25,000.
        let ratio = f64::from(standing_for) / blocks as f64;
        assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
    }

    /// However a block comes to its size, it is as likely to be in the sample.
    #[test]
    fn blocks_that_grow_leave_the_sample_one_by_one() {
        let (book, site) = (book(), SiteId::new(1).unwrap());
        book.set_on(true, 7);
        let mut standing_for = 0_u64;
        for _ in 0..200_000 {
            let mut decision = book.decide(site, 5_000);
            for (old, bytes) in [(5_000, 10_000), (10_000, 40_000)] {
                decision = match decision {
                    Decision::Measure { weight: 0 } => break,
                    Decision::Measure { weight } => book.grow(site, Some(weight), old, bytes),
                    Decision::Leave => book.grow(site, None, old, bytes),
                };
            }
            if let Decision::Measure { weight } = decision {
                standing_for += if weight == 0 { 0 } else { 1 << weight };
            }
        }
        let ratio = standing_for as f64 / 200_000.0;
        assert!((ratio - 1.0).abs() < 0.08, "{ratio}");
        let mut sum = TouchSum::default();
        book.add_to(1, &mut sum);
        assert_eq!(sum.population_bytes, (200_000 - 16) * 40_000);
    }

    #[test]
    fn live_blocks_add_up_as_freed_ones_do() {
        let (book, site) = (book(), SiteId::new(3).unwrap());
        let measure = Measure {
            bytes: 100,
            written: 10,
            likely: 16,
            at_most: 80,
            tail: 70,
        };
        let mut live = TouchSum::default();
        for weight in [0, 3, 0, 4, 3] {
            book.add(site, weight, 1, &measure);
            live.add_live(weight, &measure);
        }
        let mut freed = TouchSum::default();
        book.add_to(3, &mut freed);
        assert_eq!(freed, live);
        assert_eq!((freed.always_blocks, freed.sampled.blocks), (2, 3));
        assert_eq!((freed.always.likely, freed.always.at_most), (32, 160));
    }
}
