//! Allocator time: a part of the inner allocator's calls is timed, and each
//! sample stands for [`MEAN_GAP`] calls.
//!
//! Every call is as likely to be timed as any other, whatever came before it,
//! so sums over samples are estimates without a bias. Short calls are timed by
//! the time-stamp counter; if one takes longer than [`SHORT_CALL_NS`] the thread was
//! interrupted meanwhile, and only that much counts. Calls for large blocks,
//! which can take as long by themselves, are held against the thread's
//! processor time.
//!
//! **What timing adds to a call** is more than reading the clock twice: both
//! readings wait until the processor has nothing else under way, so that a call
//! which otherwise overlaps with its surroundings stands alone. So before the run
//! the allocator's own calls are made with and without a timer, and the
//! difference is taken off each sample.
//!
//! **What recording takes** is sampled in the same way, at other calls: the share
//! of the processor that the program spends in its allocator is one of the time
//! that is the program's own.

use super::control::Control;
use super::thread::{Operation, Thread, gate};
use super::touching::Contents;
use super::{Engine, Taken};
use crate::capture::registers::Registers;
use crate::clock;
use crate::record::sites::SiteId;
use crate::record::snapshot::{AllocatorTime, ProcessTime};
use crate::record::time_counters::{Call, TimeSum};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Calls from one that is timed to the next, in the mean.
pub(crate) const MEAN_GAP: u32 = 64;

/// What a call for a block of less than [`LARGE_BYTES`] takes at most.
const SHORT_CALL_NS: u64 = 100_000;

/// How far off, in the mean, a short call, or what recording it took, can be told
/// although timing was calibrated: alone it does not overlap with what is around it.
const CALIBRATION_ERROR_NS: f64 = 2.0;

/// Blocks from this size on are mapped, unmapped, or copied for long.
const LARGE_BYTES: usize = 64 * 1024;

/// Rounds of calibration. Half of them may be disturbed by something.
const ROUNDS: usize = 31;

/// Calls of the allocator in a round.
const CALLS: u64 = 128;

/// Of the blocks that are allocated to calibrate.
const CALIBRATION_BYTES: usize = 32;

/// How long ticks and nanoseconds are compared to learn how long a tick is.
const CALIBRATION_NS: u64 = 20_000;

/// What timing needs to know of the run.
#[derive(Debug)]
pub(crate) struct Timing {
    on: AtomicBool,
    /// Ticks that a sample is too long by.
    cost_ticks: AtomicU64,
    /// Ticks that the way over a timer adds to [`CALLS`] calls, timed or not.
    way_ticks: AtomicU64,
    /// Of [`SHORT_CALL_NS`].
    short_call_ticks: AtomicU64,
    /// The process's processor time in windows of the run that are over.
    cpu_before_ns: AtomicU64,
    /// That of the whole process when the present window was opened, modulo
    /// 2⁶⁴; [`SHUT`] between windows.
    cpu_base_ns: AtomicU64,
    cpu_at_fork_ns: AtomicU64,
}

/// No processor time.
const SHUT: u64 = u64::MAX;

impl Timing {
    pub(crate) const fn new() -> Self {
        Self {
            on: AtomicBool::new(false),
            cost_ticks: AtomicU64::new(0),
            way_ticks: AtomicU64::new(0),
            short_call_ticks: AtomicU64::new(0),
            cpu_before_ns: AtomicU64::new(0),
            cpu_base_ns: AtomicU64::new(SHUT),
            cpu_at_fork_ns: AtomicU64::new(0),
        }
    }

    /// Before the first call of a run is timed.
    pub(crate) fn start(&self, on: bool) {
        self.on.store(on, Relaxed);
        self.cpu_base_ns.store(SHUT, Relaxed);
        self.cpu_before_ns.store(0, Relaxed);
        if on {
            self.calibrate();
            self.resume();
        }
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Relaxed)
    }

    /// A window, or the run, ends.
    pub(crate) fn pause(&self) {
        self.cpu_before_ns.store(self.cpu_ns(), Relaxed);
        self.cpu_base_ns.store(SHUT, Relaxed);
    }

    /// A window begins.
    pub(crate) fn resume(&self) {
        if self.is_on() {
            self.pause();
            self.cpu_base_ns.store(clock::process_cpu_ns(), Relaxed);
        }
    }

    /// The process's processor time in all windows so far.
    fn cpu_ns(&self) -> u64 {
        let before = self.cpu_before_ns.load(Relaxed);
        match self.cpu_base_ns.load(Relaxed) {
            SHUT => before,
            base => before + clock::process_cpu_ns().saturating_sub(base),
        }
    }

    /// A copy of the process begins with a processor time of 0, and with all
    /// that was recorded so far.
    pub(crate) fn before_fork(&self) {
        self.cpu_at_fork_ns.store(self.cpu_ns(), Relaxed);
    }

    pub(crate) fn after_fork_in_child(&self) {
        if self.cpu_base_ns.load(Relaxed) != SHUT {
            let before = self.cpu_at_fork_ns.load(Relaxed);
            self.cpu_before_ns.store(before, Relaxed);
            self.cpu_base_ns.store(0, Relaxed);
        }
    }

    /// The process's processor time in the run so far, in which `sum` was sampled.
    pub(crate) fn process_time(&self, sum: &TimeSum, ns_per_tick: f64) -> ProcessTime {
        let (gap, cpu_ns) = (f64::from(MEAN_GAP), self.cpu_ns());
        let calls = sum.samples as f64 * gap;
        // Of a sum in which each call counts with probability 1/gap.
        let deviation = gap * (sum.squares * (1.0 - 1.0 / gap)).sqrt() * ns_per_tick;
        let way = self.way_ticks.load(Relaxed) as f64 / CALLS as f64;
        let profiler = (sum.recording_ticks as f64 * gap + calls * way) * ns_per_tick;
        ProcessTime {
            allocator: AllocatorTime::of(sum.ticks, sum.samples, ns_per_tick * gap),
            error_ns: (1.96 * deviation).hypot(calls * CALIBRATION_ERROR_NS) as u64,
            profiler_ns: (profiler.max(0.0) as u64).min(cpu_ns),
            cpu_ns,
            calls_a_sample: MEAN_GAP,
        }
    }

    fn calibrate(&self) {
        let start = clock::Moment::now();
        self.cost_ticks.store(0, Relaxed);
        self.short_call_ticks.store(u64::MAX, Relaxed);
        let empty = || each_call(|_| ());
        let untimed = || each_call(|call| call());
        let timed = || {
            let mut ticks = 0;
            each_call(|call| {
                let timer = black_box(Timer::start(0, None, 0));
                call();
                ticks += timer.stop(self).map_or(0, |spent| spent.0);
            });
            ticks as u64
        };
        let sampler = Sampler::new();
        let on_the_way = || {
            each_call(|call| {
                let timer = black_box(match sampler.next() {
                    Sampled::Call => Timer::start(0, None, 0),
                    _ => Timer::NONE,
                });
                call();
                black_box(timer.stop(self).is_some());
            })
        };
        let untimed = median(untimed);
        let calls = untimed.saturating_sub(median(empty));
        let cost = median(timed).saturating_sub(calls) / CALLS;
        let way = median(on_the_way).saturating_sub(untimed);
        let mut now = clock::Moment::now();
        while now.ns < start.ns + CALIBRATION_NS {
            now = clock::Moment::now();
        }
        let ticks_per_ns = 1.0 / clock::Scale::between(start, now).ns_per_tick();
        let short_call = SHORT_CALL_NS as f64 * ticks_per_ns;
        self.short_call_ticks.store(short_call as u64, Relaxed);
        self.cost_ticks.store(cost, Relaxed);
        self.way_ticks.store(way, Relaxed);
    }
}

fn median(round: impl FnMut() -> u64) -> u64 {
    let mut rounds = [0; ROUNDS];
    rounds.fill_with(round);
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

/// Makes [`CALLS`] calls of the allocator, each through `make`. Returns the ticks
/// that all took.
fn each_call(mut make: impl FnMut(&mut dyn FnMut())) -> u64 {
    let start = clock::ordered_ticks();
    let mut block: Vec<u8> = Vec::new();
    for call in 0..CALLS {
        // Counters that tick every few nanoseconds must not keep step with this.
        let pause = call * 7 % 32;
        black_box((0..pause).fold(pause, |x, _| black_box(x).wrapping_mul(5)));
        match call % 2 {
            0 => make(&mut || block = Vec::with_capacity(black_box(CALIBRATION_BYTES))),
            _ => make(&mut || drop(black_box(std::mem::take(&mut block)))),
        }
    }
    clock::ordered_ticks().wrapping_sub(start)
}

/// A call under way; empty if it is not timed.
#[derive(Debug)]
pub(crate) struct Timer(Option<Started>);

#[derive(Debug)]
struct Started {
    ticks: u64,
    /// The monotonic and the thread's processor clock, for large blocks.
    clocks_ns: Option<(u64, u64)>,
    /// Of the block, where that is taken out before the call.
    site: Option<SiteId>,
    run: u32,
}

/// What a call took, in ticks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent(i64);

impl Timer {
    pub(super) const NONE: Self = Self(None);

    #[cold]
    #[inline(never)]
    fn start(bytes: usize, site: Option<SiteId>, run: u32) -> Self {
        let clocks_ns = match bytes < LARGE_BYTES {
            true => None,
            false => Some((clock::monotonic_ns(), clock::thread_cpu_ns())),
        };
        Self(Some(Started {
            ticks: clock::ordered_ticks(),
            clocks_ns,
            site,
            run,
        }))
    }

    #[inline(always)]
    pub(super) fn stop(&self, timing: &Timing) -> Option<Spent> {
        self.0.as_ref().map(|started| started.stop(timing))
    }
}

impl Started {
    #[cold]
    #[inline(never)]
    fn stop(&self, timing: &Timing) -> Spent {
        let ticks = clock::ordered_ticks().wrapping_sub(self.ticks);
        let ticks = match self.clocks_ns {
            None => ticks.min(timing.short_call_ticks.load(Relaxed)),
            Some((wall, cpu)) => {
                let wall = clock::monotonic_ns().saturating_sub(wall).max(1);
                let cpu = clock::thread_cpu_ns().saturating_sub(cpu);
                (ticks as f64 * (cpu as f64 / wall as f64).min(1.0)) as u64
            }
        };
        Spent(short(ticks) - short(timing.cost_ticks.load(Relaxed)))
    }
}

/// What is timed of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sampled {
    Nothing,
    /// The inner allocator's part.
    Call,
    /// The profiler's part.
    Recording,
}

/// A span of ticks as a signed number. Nothing timed here takes years.
fn short(ticks: u64) -> i64 {
    i64::try_from(ticks).unwrap_or(0)
}

/// Which of a thread's calls are timed. Zeroed memory is a thread that has not
/// made any.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// Calls up to the next one to time, that one included; 0: not yet drawn.
    left: Cell<u32>,
    random: Cell<u64>,
}

impl Sampler {
    const fn new() -> Self {
        Self {
            left: Cell::new(0),
            random: Cell::new(0),
        }
    }

    #[inline]
    fn next(&self) -> Sampled {
        let left = self.left.get();
        if left > 1 {
            self.left.set(left - 1);
            return Sampled::Nothing;
        }
        self.draw(left == 1)
    }

    #[cold]
    fn draw(&self, this_one: bool) -> Sampled {
        if !this_one {
            let seed = std::ptr::from_ref(self) as u64 ^ clock::ticks();
            self.random.set(seed | 1);
            self.left.set(self.gap());
            return self.next();
        }
        self.left.set(self.gap());
        match self.random() >> 63 {
            0 => Sampled::Call,
            _ => Sampled::Recording,
        }
    }

    /// Geometric, so that each call is timed with the same probability. The two
    /// parts of a call are timed with half of it each.
    fn gap(&self) -> u32 {
        // Uniform in (0, 1].
        let uniform = ((self.random() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
        let gap = uniform.ln() / (1.0 - 2.0 / f64::from(MEAN_GAP)).ln();
        gap as u32 + 1
    }

    fn random(&self) -> u64 {
        let mut random = self.random.get();
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        self.random.set(random);
        random.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}

impl Engine {
    /// What is to be timed of the call that this thread is about to make. Of
    /// the profiler's own, nothing.
    pub(super) fn sampled(&'static self) -> Sampled {
        if self.control.get().has(Control::SHUT) {
            return Sampled::Nothing;
        }
        let Some(thread) = self.this_thread() else {
            return Sampled::Nothing;
        };
        // SAFETY: this thread's own block.
        let Thread {
            gate: own_gate,
            sampler,
            ..
        } = unsafe { thread.as_ref() };
        let is_own_work = gate::BUSY | gate::PAUSING | gate::IGNORING;
        match own_gate.load(Relaxed) & is_own_work {
            0 => sampler.next(),
            _ => Sampled::Nothing,
        }
    }

    pub(super) fn timer(&self, bytes: usize, site: Option<SiteId>) -> Timer {
        Timer::start(bytes, site, self.run.load(Relaxed))
    }

    /// Before the inner allocator is asked for a block. The second: whether to
    /// time what recording takes.
    #[inline(never)]
    pub(crate) fn start_timer(&'static self, bytes: usize) -> (Timer, bool) {
        match self.sampled() {
            Sampled::Call => (self.timer(bytes, None), false),
            sampled => (Timer::NONE, sampled == Sampled::Recording),
        }
    }

    /// As [`Self::on_alloc`], after [`Self::start_timer`]; `address` may be null.
    #[inline(never)]
    pub(crate) fn on_timed_alloc(
        &'static self,
        (timer, times_recording): &(Timer, bool),
        address: usize,
        bytes: usize,
        contents: Contents,
    ) {
        let start = Registers::here();
        let spent = timer.stop(&self.timing);
        if address == 0 || self.control.get().has(Control::SHUT) {
            return;
        }
        let recording = times_recording.then(|| self.timer(0, None));
        let Some(inside) = self.enter(Operation::Alloc) else {
            return;
        };
        if inside.is_ignoring() {
            inside.thread.ignored.set(inside.thread.ignored.get() + 1);
            return;
        }
        let block = (address, bytes, contents);
        // SAFETY: `start` is of this function.
        unsafe { self.record_touched(inside.thread, start, block) };
        self.credit_recording(inside.thread, recording.as_ref());
        if let Some(spent) = spent {
            let site = self.recorder.site_of_block(address);
            self.credit(inside.thread, timer, spent, Call::Alloc, site);
        }
    }

    /// As [`Self::on_free`].
    #[inline(never)]
    pub(crate) fn before_timed_free(&'static self, address: usize, bytes: usize) -> Timer {
        let sampled = self.sampled();
        let recording = (sampled == Sampled::Recording).then(|| self.timer(0, None));
        let mut site = None;
        if let Some(inside) = self.enter(Operation::Free) {
            if sampled == Sampled::Call {
                site = self.recorder.site_of_block(address);
            }
            self.free_touched(inside.thread, address, bytes);
            self.credit_recording(inside.thread, recording.as_ref());
        }
        match sampled {
            Sampled::Call => self.timer(bytes, site),
            _ => Timer::NONE,
        }
    }

    /// After the inner allocator freed the block.
    #[inline(never)]
    pub(crate) fn after_timed_free(&'static self, timer: &Timer) {
        if let Some(spent) = timer.stop(&self.timing)
            && let Some(inside) = self.enter(Operation::Free)
        {
            self.credit(inside.thread, timer, spent, Call::Free, None);
        }
    }

    /// As [`Self::before_realloc`]. The last: whether to time what recording takes.
    #[inline(never)]
    pub(crate) fn before_timed_realloc(
        &'static self,
        (address, bytes): (usize, usize),
        new_bytes: usize,
    ) -> (Option<Taken>, Timer, bool) {
        let sampled = self.sampled();
        let recording = (sampled == Sampled::Recording).then(|| self.timer(0, None));
        let taken = self.before_touched_realloc(address, (bytes, new_bytes));
        let times_recording = recording.is_some();
        if times_recording && let Some(inside) = self.enter(Operation::Free) {
            self.credit_recording(inside.thread, recording.as_ref());
        }
        let timer = match sampled {
            Sampled::Call => self.timer(bytes.max(new_bytes), None),
            _ => Timer::NONE,
        };
        (taken, timer, times_recording)
    }

    /// As [`Self::after_realloc`].
    #[inline(never)]
    pub(crate) fn after_timed_realloc(
        &'static self,
        (taken, timer, times_recording): &(Option<Taken>, Timer, bool),
        old: (usize, usize),
        new: (usize, usize),
    ) {
        let start = Registers::here();
        let spent = timer.stop(&self.timing);
        let recording = times_recording.then(|| self.timer(0, None));
        let Some(mut inside) = self.enter(Operation::Alloc) else {
            return;
        };
        self.put_back_touched(&mut inside, start, *taken, old, new);
        self.credit_recording(inside.thread, recording.as_ref());
        if let Some(spent) = spent {
            let site = self
                .recorder
                .site_of_block(if new.0 == 0 { old.0 } else { new.0 });
            self.credit(inside.thread, timer, spent, Call::Realloc, site);
        }
    }

    /// Counts a sample of the inner allocator's part of a call.
    pub(super) fn credit(
        &self,
        inside: &Thread,
        timer: &Timer,
        spent: Spent,
        call: Call,
        site: Option<SiteId>,
    ) {
        if let Some(started) = &timer.0
            && started.run == self.run.load(Relaxed)
        {
            let site = started.site.or(site);
            inside.book.times.add(site, call, spent.0);
        }
    }

    /// Counts a sample of the profiler's part.
    pub(super) fn credit_recording(&self, inside: &Thread, timer: Option<&Timer>) {
        if let Some(spent) = timer.and_then(|timer| timer.stop(&self.timing)) {
            inside.book.times.add_recording(spent.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_in_the_mean_gap_is_timed_and_gaps_have_no_memory() {
        let sampler = Sampler::new();
        const CALLS: usize = 1 << 20;
        let sampled: Vec<Sampled> = (0..CALLS).map(|_| sampler.next()).collect();
        for part in [Sampled::Call, Sampled::Recording] {
            let timed: Vec<usize> = (0..CALLS).filter(|&at| sampled[at] == part).collect();
            let expected = CALLS as f64 / f64::from(MEAN_GAP);
            // Six standard deviations.
            let tolerance = 6.0 * expected.sqrt();
            assert!(
                (timed.len() as f64 - expected).abs() < tolerance,
                "{}",
                timed.len()
            );
            // A geometric gap is as long as its mean or longer with probability
            // (1 - 1/64)^63 = 0.37; one of fixed length always is, or never.
            let gaps = timed.windows(2).map(|pair| pair[1] - pair[0]);
            let long = gaps.filter(|&gap| gap >= MEAN_GAP as usize).count() as f64;
            let share = long / (timed.len() - 1) as f64;
            assert!((share - 0.371).abs() < 0.025, "{share}");
        }
    }

    #[test]
    fn processor_time_counts_in_windows_and_goes_on_in_a_copy() {
        const SECOND: u64 = 1_000_000_000;
        let timing = Timing::new();
        timing.start(true);
        let now = clock::process_cpu_ns();
        timing
            .cpu_base_ns
            .store(now.saturating_sub(SECOND).max(1), Relaxed);
        timing.pause();
        let first = timing.cpu_ns();
        assert_eq!(timing.cpu_ns(), first, "shut");
        timing.resume();
        timing.before_fork();
        let at_fork = timing.cpu_ns();
        assert!(at_fork >= first);
        timing.after_fork_in_child();
        // A copy's clock begins at 0, this one's did not.
        let in_copy = timing.cpu_ns() - clock::process_cpu_ns();
        assert!(in_copy.abs_diff(at_fork) < SECOND, "{in_copy} {at_fork}");
    }
}
