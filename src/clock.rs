//! Time stamps for lifetimes: the processor's invariant time-stamp counter
//! where there is one, else the monotonic clock.
//!
//! Ticks have no fixed unit. A reading compares the ticks and the nanoseconds
//! that went by since the start of profiling, and converts with that ratio.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

const UNKNOWN: u8 = 0;
const TSC: u8 = 1;
const MONOTONIC: u8 = 2;

/// Which clock this machine gets. Whoever finds it unknown asks the processor,
/// which always says the same.
static SOURCE: AtomicU8 = AtomicU8::new(UNKNOWN);

/// The current time in ticks.
#[inline]
pub(crate) fn ticks() -> u64 {
    if SOURCE.load(Relaxed) == TSC {
        return time_stamp_counter();
    }
    ticks_of_other_source()
}

/// The current time in ticks, if that is the processor's counter.
#[inline(always)]
pub(crate) fn counter() -> Option<u64> {
    (SOURCE.load(Relaxed) == TSC).then(time_stamp_counter)
}

#[cold]
#[inline(never)]
fn ticks_of_other_source() -> u64 {
    if SOURCE.load(Relaxed) == UNKNOWN {
        SOURCE.store(detect(), Relaxed);
        return ticks();
    }
    monotonic_ns()
}

/// The current time in ticks, read when everything before it is done. For spans
/// of a few nanoseconds.
#[inline]
pub(crate) fn ordered_ticks() -> u64 {
    #[cfg(target_arch = "x86_64")]
    #[allow(unused_unsafe, reason = "the intrinsic is safe in newer toolchains")]
    // SAFETY: every x86_64 processor has LFENCE.
    unsafe {
        std::arch::x86_64::_mm_lfence();
    }
    ticks()
}

/// CPUID leaf 0x8000_0007, EDX bit 8: the counter runs at one rate in all
/// power states, and in step on all cores.
#[cfg(target_arch = "x86_64")]
#[cold]
fn detect() -> u8 {
    use std::arch::x86_64::__cpuid;
    #[allow(unused_unsafe, reason = "the intrinsic is safe in newer toolchains")]
    // SAFETY: every x86_64 processor has CPUID.
    let (highest, features) = unsafe { (__cpuid(0x8000_0000).eax, __cpuid(0x8000_0007).edx) };
    if highest >= 0x8000_0007 && features & (1 << 8) != 0 {
        TSC
    } else {
        MONOTONIC
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[cold]
fn detect() -> u8 {
    MONOTONIC
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn time_stamp_counter() -> u64 {
    // SAFETY: every x86_64 processor has RDTSC.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn time_stamp_counter() -> u64 {
    monotonic_ns()
}

/// Nanoseconds of the monotonic clock.
pub(crate) fn monotonic_ns() -> u64 {
    read_ns(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds that all threads of the process have run, in the kernel too.
pub(crate) fn process_cpu_ns() -> u64 {
    read_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Nanoseconds that the calling thread has run. A system call.
pub(crate) fn thread_cpu_ns() -> u64 {
    read_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid timespec to write to.
    unsafe { libc::clock_gettime(clock, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A moment on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) ticks: u64,
    pub(crate) ns: u64,
}

impl Moment {
    pub(crate) fn now() -> Self {
        Self {
            ticks: ticks(),
            ns: monotonic_ns(),
        }
    }
}

/// Converts tick counts of the interval from `start` to `end`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    ticks: u64,
    ns: u64,
}

impl Scale {
    pub(crate) fn between(start: Moment, end: Moment) -> Self {
        Self {
            ticks: end.ticks.saturating_sub(start.ticks).max(1),
            ns: end.ns.saturating_sub(start.ns),
        }
    }

    pub(crate) fn to_us(self, ticks: u64) -> u64 {
        let us = u128::from(ticks) * u128::from(self.ns) / u128::from(self.ticks) / 1_000;
        u64::try_from(us).unwrap_or(u64::MAX)
    }

    /// Nanoseconds a tick.
    pub(crate) fn ns_per_tick(self) -> f64 {
        self.ns as f64 / self.ticks as f64
    }
}
