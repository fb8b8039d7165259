//! How far an estimate from samples can be off.

use crate::record::snapshot::Counts;

/// Of the standard normal distribution: 95 % lie between its negative and it.
const NORMAL_97_5: f64 = 1.959_964;

/// The true figure lies between these in 95 of 100 runs, both included.
pub(crate) type Interval = (u64, u64);

/// 95 % intervals of a point's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intervals {
    pub(crate) total_bytes: Interval,
    pub(crate) total_blocks: Interval,
    pub(crate) end_bytes: Interval,
    pub(crate) end_blocks: Interval,
}

impl Intervals {
    /// Of counts that rest on samples, taken with a mean distance of `sample_bytes`.
    pub(crate) fn of(counts: &Counts, sample_bytes: u64) -> Self {
        let samples = &counts.samples;
        // What a further sample would add: a block of the mean size.
        let size = counts.total_bytes as f64 / counts.total_blocks.max(1) as f64;
        let weight = -1.0 / (-size.max(1.0) / sample_bytes as f64).exp_m1();
        let spread = weight * (weight - 1.0);
        let one_more_bytes = (weight * size, spread * size * size);
        let bytes = |estimate, variance| interval((estimate, variance), one_more_bytes);
        let blocks = |estimate, variance| interval((estimate, variance), (weight, spread));
        Self {
            total_bytes: bytes(counts.total_bytes, samples.bytes_variance),
            total_blocks: blocks(counts.total_blocks, samples.blocks_variance),
            end_bytes: bytes(counts.end_bytes, samples.end_bytes_variance),
            end_blocks: blocks(counts.end_blocks, samples.end_blocks_variance),
        }
    }
}

/// The interval of Fay and Feuer (1997) for weighted sums of Poisson counts: where
/// there are many samples it is the normal one, and where there are few it is
/// as wide and as lopsided as it must be. Takes an estimate with its variance, and what
/// one more sample would add to both.
fn interval((estimate, variance): (u64, f64), (step, spread): (f64, f64)) -> Interval {
    let estimate = estimate as f64;
    // Sums of differences: what remains of nothing is not quite nothing.
    let variance = variance.max(0.0);
    let low = quantile(estimate, variance, -NORMAL_97_5).min(estimate);
    let high = quantile(estimate + step, variance + spread, NORMAL_97_5).max(estimate);
    (low.max(0.0) as u64, high.ceil() as u64)
}

/// Of a gamma distribution, where a normal one has `normal`.
fn quantile(mean: f64, variance: f64, normal: f64) -> f64 {
    if mean <= 0.0 || variance <= 0.0 {
        return mean;
    }
    let freedom = 2.0 * mean * mean / variance;
    mean * chi_square(freedom, normal) / freedom
}

/// The point below which a chi-square variable lies as often as a normal one below
/// `normal` (Wilson and Hilferty, 1931).
fn chi_square(freedom: f64, normal: f64) -> f64 {
    let ninth = 2.0 / (9.0 * freedom);
    freedom * (1.0 - ninth + normal * ninth.sqrt()).max(0.0).powi(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_samples_have_a_normal_interval() {
        // 10,000 samples of weight 100.
        let (low, high) = interval((1_000_000, 1e8), (100.0, 1e4));
        assert!((980_000..981_000).contains(&low), "{low}");
        assert!((1_019_500..1_021_000).contains(&high), "{high}");
    }

    #[test]
    fn few_samples_have_the_interval_of_a_poisson_count() {
        // Of 3, 4 and 10 events; the exact intervals of a Poisson count.
        for (count, exact) in [(3.0, (0.619, 8.767)), (10.0, (4.795, 18.39))] {
            let weight = 1e6;
            let estimate = ((count * weight) as u64, count * weight * weight);
            let (low, high) = interval(estimate, (weight, weight * weight));
            assert!((low as f64 / weight - exact.0).abs() < 0.05, "{low}");
            assert!((high as f64 / weight - exact.1).abs() < 0.05, "{high}");
        }
    }

    #[test]
    fn blocks_that_are_all_sampled_are_certain() {
        assert_eq!(interval((5000, 0.0), (0.0, 0.0)), (5000, 5000));
    }

    #[test]
    fn nothing_may_be_something_that_was_missed() {
        let (low, high) = interval((0, 0.0), (512.0, 512.0 * 512.0));
        assert_eq!(low, 0);
        // 3.69 times the mean distance: e^-3.69 is 2.5 %.
        assert!((1850..1900).contains(&high), "{high}");
    }
}
