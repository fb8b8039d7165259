//! From what was measured of a site's blocks to all of them.
//!
//! What a sample stands for is estimated by a ratio: the part of the sampled
//! bytes that was written, weighted, of all bytes of these blocks. The interval
//! around it is as wide as the sample is scattered, and no narrower than if two
//! more blocks had been written in full and two not at all, so that a small
//! sample of equal blocks is not taken for certainty.

use crate::record::snapshot::Touched;
use crate::record::touch_counters::{TouchSum, WeightedSum};

/// Half the width of a 95 % interval, in standard errors.
const STANDARD_ERRORS: f64 = 1.96;

/// Blocks that the interval is drawn with beyond those in the sample; half of
/// them written in full.
const IMAGINED: f64 = 4.0;

/// Of a site that handed out `blocks` of `bytes` in all, the growth of
/// reallocated ones included.
pub(crate) fn estimate(sum: &TouchSum, blocks: u64, bytes: u64) -> Touched {
    let known_blocks = sum.always_blocks + sum.population_blocks;
    let TouchSum {
        always, sampled, ..
    } = sum;
    let mut touched = Touched {
        blocks: sum.always_blocks + sampled.blocks,
        bytes: always.bytes + sampled.bytes,
        written_bytes: always.written + sampled.written,
        tail_bytes: always.tail + sampled.tail,
        all_bytes: (always.bytes + sum.population_bytes).min(bytes),
        all_written_bytes: always.likely,
        all_tail_bytes: always.tail,
        unsure_below: always.likely - always.written,
        unsure_above: always.at_most - always.likely,
        unmeasured_blocks: blocks.saturating_sub(known_blocks),
        ..Touched::default()
    };
    if sum.population_bytes == 0 {
        return touched;
    }
    let population = sum.population_bytes as f64;
    let part = match sampled.blocks {
        0 => unsampled(always.likely, always.bytes),
        _ => Part::of(sampled, sum.population_blocks),
    };
    let whole = |part: f64| (part * population).round() as u64;
    touched.all_written_bytes += whole(part.written);
    touched.all_tail_bytes += whole(part.tail);
    touched.unsure_below += whole(part.unsure);
    touched.unsure_above += whole(part.above);
    touched.error_below = whole(part.written - part.low);
    touched.error_above = whole(part.high - part.written);
    touched
}

/// Parts of 1.
struct Part {
    written: f64,
    low: f64,
    high: f64,
    tail: f64,
    unsure: f64,
    above: f64,
}

/// No block of the population was sampled: the others of the site are the best
/// guess, and anything is possible.
fn unsampled(likely: u64, bytes: u64) -> Part {
    Part {
        written: likely as f64 / bytes.max(1) as f64,
        low: 0.0,
        high: 1.0,
        tail: 0.0,
        unsure: 0.0,
        above: 0.0,
    }
}

impl Part {
    fn of(sum: &WeightedSum, population_blocks: u64) -> Self {
        let of_bytes = |part: f64| (part / sum.w_bytes.max(1.0)).clamp(0.0, 1.0);
        let written = of_bytes(sum.w_likely);
        // The sum of squares of what each block differs by from the ratio.
        let residual = sum.v_likely_likely - 2.0 * written * sum.v_likely_bytes
            + written * written * sum.v_bytes_bytes;
        let error = residual.max(0.0).sqrt() / sum.w_bytes.max(1.0);
        let count = sum.blocks as f64;
        // As if each of `count` blocks were one value: their variance, ...
        let variance = error * error * count * count / (count - 1.0).max(1.0);
        // ... with the imagined ones, which matter less the less is left out.
        let imagined = IMAGINED * (1.0 - count / population_blocks.max(1) as f64).max(0.0);
        let all = count + imagined;
        let center = (count * written + imagined / 2.0) / all;
        let squares = count * (variance + (written - center).powi(2))
            + imagined / 2.0 * (center.powi(2) + (1.0 - center).powi(2));
        let half = STANDARD_ERRORS * (squares / all / all).sqrt();
        Self {
            written,
            low: (center - half).clamp(0.0, written),
            high: (center + half).clamp(written, 1.0),
            tail: of_bytes(sum.w_tail),
            unsure: of_bytes(sum.w_unsure),
            above: of_bytes(sum.w_above),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::sites::SiteId;
    use crate::record::touch_counters::{Decision, Measure, TouchBook};

    fn measure(bytes: u64, written: u64) -> Measure {
        Measure {
            bytes,
            written,
            likely: written,
            at_most: written,
            tail: bytes - written,
        }
    }

    /// Runs `blocks` of a size and what is written of it through the sampling;
    /// the truth and the estimate.
    fn sampled(seed: u64, blocks: impl Iterator<Item = (u64, u64)>) -> (u64, Touched) {
        // SAFETY: zeroed memory is a valid book, and this one is leaked.
        let book = unsafe {
            crate::untracked::map_zeroed::<TouchBook>()
                .unwrap()
                .as_ref()
        };
        book.set_on(true, seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let site = SiteId::new(1).unwrap();
        let (mut truth, mut count, mut all) = (0, 0, 0);
        for (bytes, written) in blocks {
            (truth, count, all) = (truth + written, count + 1, all + bytes);
            if let Decision::Measure { weight } = book.decide(site, bytes as usize) {
                book.add(site, weight, 1, &measure(bytes, written));
            }
        }
        let mut sum = TouchSum::default();
        book.add_to(1, &mut sum);
        let touched = estimate(&sum, count, all);
        assert_eq!((touched.all_bytes, touched.unmeasured_blocks), (all, 0));
        (truth, touched)
    }

    fn random(number: u64) -> u64 {
        number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40
    }

    #[test]
    fn what_is_measured_always_is_a_count() {
        let mut sum = TouchSum::default();
        sum.add_live(0, &measure(100, 30));
        sum.add_live(0, &measure(50, 50));
        let touched = estimate(&sum, 3, 200);
        assert_eq!((touched.blocks, touched.unmeasured_blocks), (2, 1));
        assert_eq!((touched.bytes, touched.all_bytes), (150, 150));
        assert_eq!(touched.interval(), (80, 80));
        assert_eq!((touched.written_bytes, touched.all_written_bytes), (80, 80));
        assert_eq!((touched.tail_bytes, touched.all_tail_bytes), (70, 70));
    }

    /// First blocks in full, the others empty: 22 times off without the first
    /// stratum, 0 without the second.
    #[test]
    fn a_site_whose_first_blocks_are_unlike_the_rest() {
        let blocks = (0..10_000).map(|number| (65_536, if number < 16 { 65_536 } else { 100 }));
        let (truth, touched) = sampled(1, blocks);
        let (low, high) = touched.interval();
        assert!(low <= truth && truth <= high);
        let error = touched.all_written_bytes as f64 / truth as f64 - 1.0;
        assert!(error.abs() < 0.001, "{error}");
    }

    /// Over many seeds the interval holds the truth as often as it says, for
    /// sites of one size and of many, evenly written and all or nothing.
    #[test]
    fn the_interval_holds_the_truth_19_times_of_20() {
        type Shape = fn(u64) -> (u64, u64);
        let shapes: [Shape; 4] = [
            |n| (16_384, random(n) % 16_385),
            |n| {
                (
                    16_384,
                    if random(n).is_multiple_of(10) {
                        16_384
                    } else {
                        0
                    },
                )
            },
            |n| {
                let bytes = 5_000 + random(n) % 250_000;
                (bytes, bytes / 3 + random(n + 1) % (bytes / 2))
            },
            |n| (8_192, if n.is_multiple_of(2) { 8_000 } else { 7_000 }),
        ];
        for (which, shape) in shapes.into_iter().enumerate() {
            let (mut held, mut sum_of_errors) = (0, 0.0);
            let runs = 300;
            for seed in 1..=runs {
                let blocks = (0..3_000).map(|n| shape(n + seed * 10_000));
                let (truth, touched) = sampled(seed, blocks);
                let (low, high) = touched.interval();
                held += u32::from(low <= truth && truth <= high);
                sum_of_errors += touched.all_written_bytes as f64 / truth as f64 - 1.0;
            }
            let share = f64::from(held) / runs as f64;
            assert!(share >= 0.93, "shape {which}: {share}");
            let bias = sum_of_errors / runs as f64;
            assert!(bias.abs() < 0.02, "shape {which}: {bias}");
        }
    }

    #[test]
    fn a_small_sample_of_equal_blocks_is_not_certainty() {
        let (_, touched) = sampled(3, (0..300).map(|_| (65_536, 65_536)));
        let (low, high) = touched.interval();
        assert_eq!(high, touched.all_bytes);
        assert!(touched.blocks < 60, "{}", touched.blocks);
        let part = low as f64 / high as f64;
        assert!((0.6..0.98).contains(&part), "{part}");
    }

    #[test]
    fn nothing_sampled_is_anything() {
        let mut sum = TouchSum::default();
        sum.add_live(0, &measure(100, 30));
        (sum.population_blocks, sum.population_bytes) = (10, 1_000);
        let touched = estimate(&sum, 11, 1_100);
        assert_eq!(touched.all_written_bytes, 330);
        assert_eq!(touched.interval(), (30, 1_030));
    }

    #[test]
    fn zeroed_blocks_have_an_interval_without_any_chance() {
        let mut sum = TouchSum::default();
        let zeroed = Measure {
            bytes: 1_000,
            written: 10,
            likely: 80,
            at_most: 1_000,
            tail: 200,
        };
        sum.add_live(0, &zeroed);
        let touched = estimate(&sum, 1, 1_000);
        assert_eq!(touched.all_written_bytes, 80);
        assert_eq!(touched.interval(), (10, 1_000));
    }
}
