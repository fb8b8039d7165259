//! Sampling: only some blocks are recorded, chosen at random by their bytes.
//!
//! Each thread counts down the bytes it allocates from a random gap, drawn so
//! that sampled bytes are a Poisson process: every byte is as likely to be
//! chosen as any other, whatever came before. A block with a chosen byte in it is
//! sampled. Since the process has no memory, a gap may be drawn anew at any
//! moment that does not depend on it: a thread does so when the control word
//! has changed, and so needs not be told of runs and windows.

use super::Engine;
use super::control::Control;
use super::thread::{Current, Operation, current};
use crate::capture::registers::Registers;
use crate::clock;
use crate::record::sampling::Sample;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What the threads' gaps are drawn from. Changed while no thread is in the gate.
#[derive(Debug)]
pub(crate) struct Sampling {
    /// Bytes from one sample to the next, in the mean; 0: every block is recorded.
    mean_bytes: AtomicU64,
    seed: AtomicU64,
    /// Threads that have drawn in this run.
    threads: AtomicU64,
}

/// One thread's countdown. Zeroed: it has never drawn.
struct Countdown {
    /// The control word for which the gap was drawn.
    word: Cell<u32>,
    /// The run in which `random` was seeded.
    run: Cell<u32>,
    /// Bytes up to and with the next one chosen.
    bytes_left: Cell<i64>,
    random: Cell<u64>,
}

thread_local! {
    /// Const and without a destructor, so that it can be used at any time of a
    /// thread's life without allocating.
    static COUNTDOWN: Countdown = const {
        Countdown {
            word: Cell::new(0),
            run: Cell::new(0),
            bytes_left: Cell::new(0),
            random: Cell::new(0),
        }
    };
}

impl Sampling {
    pub(crate) const fn new() -> Self {
        Self {
            mean_bytes: AtomicU64::new(0),
            seed: AtomicU64::new(0),
            threads: AtomicU64::new(0),
        }
    }

    /// For a new run, of which no thread has drawn yet. 0 `mean_bytes`: every
    /// block is recorded.
    pub(crate) fn start(&self, mean_bytes: u64, seed: u64) {
        self.mean_bytes.store(mean_bytes, Relaxed);
        self.seed.store(seed, Relaxed);
        self.threads.store(0, Relaxed);
    }

    pub(crate) fn mean_bytes(&self) -> u64 {
        self.mean_bytes.load(Relaxed)
    }
}

impl Countdown {
    /// The next of the thread's random numbers, at least 0 and less than 1.
    fn random(&self) -> f64 {
        // SplitMix64.
        let state = self.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.random.set(state);
        (mixed(state) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn draw_gap(&self, mean_bytes: u64) {
        let gap = -(1.0 - self.random()).ln() * mean_bytes as f64;
        self.bytes_left.set(gap.ceil().max(1.0) as i64);
    }
}

fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A sampled block that is being reallocated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakenSample {
    sample: Sample,
    run: u32,
}

impl Engine {
    /// Counts down the bytes of a block that the program allocates, or is about to: true if that was all.
    /// Else nothing was done, and once it is there, [`Self::sample`] is to be called. `word` is the control
    /// word that says that blocks are sampled.
    ///
    /// Bytes that it then does not get are as good as any others to count down: those that it gets are
    /// chosen without regard to them.
    #[inline(always)]
    pub(crate) fn passes_over(&self, word: u32, bytes: usize) -> bool {
        COUNTDOWN.with(|countdown| {
            let left = countdown.bytes_left.get();
            let is_passed_over = countdown.word.get() == word && left > bytes as i64;
            if is_passed_over {
                countdown.bytes_left.set(left - bytes as i64);
            }
            is_passed_over
        })
    }

    /// The program allocated a block, which is recorded if it is sampled; tells
    /// whether it was. `word` as above.
    #[inline(always)]
    pub(crate) fn sample(&'static self, word: u32, address: usize, bytes: usize) -> bool {
        !self.passes_over(word, bytes) && self.sample_or_draw(word, address, bytes)
    }

    #[cold]
    #[inline(never)]
    fn sample_or_draw(&'static self, word: u32, address: usize, bytes: usize) -> bool {
        // One of ours draws nothing, so that the program's threads draw the same with and without it.
        if matches!(current(), Current::Ours) {
            return false;
        }
        let mean_bytes = self.sampling.mean_bytes();
        let is_sampled = COUNTDOWN.with(|countdown| {
            if countdown.word.get() != word {
                self.seed(countdown);
                countdown.draw_gap(mean_bytes);
                countdown.word.set(word);
            }
            let left = countdown.bytes_left.get().wrapping_sub(bytes as i64);
            countdown.bytes_left.set(left);
            if left <= 0 {
                countdown.draw_gap(mean_bytes);
            }
            left <= 0
        });
        if is_sampled {
            self.on_sampled_alloc(address, bytes);
        }
        is_sampled
    }

    fn seed(&self, countdown: &Countdown) {
        let run = self.run.load(Relaxed);
        if countdown.run.get() != run {
            let number = self.sampling.threads.fetch_add(1, Relaxed);
            let seed = self.sampling.seed.load(Relaxed);
            countdown.random.set(mixed(seed ^ mixed(number)));
            countdown.run.set(run);
        }
    }

    /// Makes this thread sample its next block.
    pub(crate) fn sample_next(&self) {
        COUNTDOWN.with(|countdown| {
            self.seed(countdown);
            countdown.word.set(self.control.get().word());
            countdown.bytes_left.set(0);
        });
    }

    /// The program allocated a block that is to be sampled.
    fn on_sampled_alloc(&'static self, address: usize, bytes: usize) {
        let start = Registers::here();
        let Some(inside) = self.enter(Operation::Alloc) else {
            return;
        };
        if inside.is_ignoring() {
            inside.thread.ignored.set(inside.thread.ignored.get() + 1);
            return;
        }
        let thread = &mut *inside.thread;
        let mean_bytes = self.sampling.mean_bytes();
        if mean_bytes == 0 {
            // The next run has begun meanwhile.
            return;
        }
        // SAFETY: `start` is of this function.
        let Some(site) = (unsafe { self.site_at(thread, start) }) else {
            return thread.dropped.set(thread.dropped.get() + 1);
        };
        let fraction = COUNTDOWN.with(Countdown::random);
        let sample = Sample::new(site, bytes, mean_bytes, fraction);
        let times = (mean_bytes, clock::ticks());
        let book = &mut thread.book;
        match self
            .recorder
            .alloc_sampled(book, sample, address, bytes, times)
        {
            Ok(true) => {}
            Ok(false) => thread.refused.count(Operation::Free),
            Err(_) => thread.dropped.set(thread.dropped.get() + 1),
        }
    }

    /// Whether the block at `address` may be a sampled one. Outside of the gate.
    #[inline(always)]
    pub(crate) fn may_have_sampled(&self, address: usize) -> bool {
        self.recorder.may_have_sampled(address)
    }

    /// The program is about to free a block that may have been sampled.
    #[inline(never)]
    pub(crate) fn on_sampled_free(&'static self, address: usize, bytes: usize) {
        if !self.may_know(address) {
            return;
        }
        let Some(inside) = self.enter(Operation::Free) else {
            return;
        };
        let mean_bytes = self.sampling.mean_bytes();
        if mean_bytes == 0 {
            return;
        }
        if let Some(sample) = self.recorder.take_sampled(address) {
            let times = (mean_bytes, clock::ticks());
            let book = &mut inside.thread.book;
            self.recorder.free_sampled(book, sample, bytes, times);
        }
    }

    /// The program is about to reallocate a block that may have been sampled.
    #[inline(never)]
    pub(crate) fn before_sampled_realloc(&'static self, address: usize) -> Option<TakenSample> {
        let _inside = self.enter(Operation::Free)?;
        self.recorder
            .take_sampled(address)
            .map(|sample| TakenSample {
                sample,
                run: self.run.load(Relaxed),
            })
    }

    /// It did: the sampled block is no more, or, if that failed, what it was. The
    /// new one is a block of its own.
    #[inline(never)]
    pub(crate) fn after_sampled_realloc(
        &'static self,
        taken: TakenSample,
        (address, bytes): (usize, usize),
        failed: bool,
    ) {
        let Some(inside) = self.enter(Operation::Free) else {
            return;
        };
        if taken.run != self.run.load(Relaxed) {
            return;
        }
        let sample = taken.sample;
        if failed {
            if self.recorder.put_back_sampled(address, sample).is_err() {
                let dropped = &inside.thread.dropped;
                dropped.set(dropped.get() + 1);
            }
            return;
        }
        let times = (self.sampling.mean_bytes(), clock::ticks());
        let book = &mut inside.thread.book;
        self.recorder.free_sampled(book, sample, bytes, times);
    }
}

impl Control {
    /// The word itself, to be compared only.
    fn word(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn countdown(seed: u64) -> Countdown {
        Countdown {
            word: Cell::new(0),
            run: Cell::new(0),
            bytes_left: Cell::new(0),
            random: Cell::new(seed),
        }
    }

    #[test]
    fn random_numbers_are_even() {
        let countdown = countdown(1);
        let mut counts = [0_u32; 16];
        for _ in 0..160_000 {
            counts[(countdown.random() * 16.0) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)));
    }

    #[test]
    fn gaps_are_exponential() {
        const MEAN: u64 = 1000;
        const GAPS: u32 = 100_000;
        let countdown = countdown(2);
        let (mut sum, mut beyond) = (0, 0);
        for _ in 0..GAPS {
            countdown.draw_gap(MEAN);
            let gap = countdown.bytes_left.get();
            assert!(gap > 0);
            sum += gap;
            beyond += u32::from(gap > 2 * MEAN as i64);
        }
        // Rounded up to whole bytes: half a byte longer.
        let mean = sum as f64 / f64::from(GAPS);
        assert!((990.0..1010.0).contains(&mean), "{mean}");
        let share = f64::from(beyond) / f64::from(GAPS);
        assert!((share - (-2.0_f64).exp()).abs() < 0.005, "{share}");
    }
}
