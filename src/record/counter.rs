//! A number with one writing thread, which others may read at any time.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Relaxed load and store compile to plain memory operations. All arithmetic
/// wraps: a thread that frees what others allocated holds less than nothing,
/// and only the sum over threads is a count.
#[derive(Debug, Default)]
pub(crate) struct Counter64(AtomicU64);

impl Counter64 {
    pub(crate) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn add(&self, amount: u64) {
        self.set(self.get().wrapping_add(amount));
    }
}

/// As [`Counter64`], with a fraction.
#[derive(Debug)]
pub(crate) struct CounterF64(AtomicU64);

impl CounterF64 {
    pub(crate) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Relaxed))
    }

    pub(crate) fn add(&self, amount: f64) {
        self.0.store((self.get() + amount).to_bits(), Relaxed);
    }
}

/// As [`Counter64`], in 32 bits.
#[derive(Debug, Default)]
pub(crate) struct Counter32(AtomicU32);

impl Counter32 {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Relaxed)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn set(&self, value: u32) {
        self.0.store(value, Relaxed);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn add(&self, amount: u32) {
        self.set(self.get().wrapping_add(amount));
    }
}
