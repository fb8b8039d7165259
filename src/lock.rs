//! The one lock of the recording side.
//!
//! `parking_lot` keeps a process-wide table of parked threads. A thread of the
//! application that grows this table holds all of its buckets while it calls
//! the allocator, so an allocator that parks there deadlocks. Therefore this
//! lock only ever tries, spins and yields: it never parks, and so its unlock
//! never finds a parked thread to wake.

use parking_lot::{Mutex, MutexGuard};

/// Failed attempts before the processor is given away.
const SPINS: u32 = 64;

/// A lock whose holders run a short, bounded section that neither allocates
/// through the global allocator nor waits for anything else.
#[derive(Debug, Default)]
pub(crate) struct SpinLock<T>(Mutex<T>);

impl<T> SpinLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(parking_lot::const_mutex(value))
    }

    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        match self.0.try_lock() {
            Some(guard) => guard,
            None => self.lock_contended(),
        }
    }

    #[cold]
    fn lock_contended(&self) -> MutexGuard<'_, T> {
        loop {
            for _ in 0..SPINS {
                std::hint::spin_loop();
                if let Some(guard) = self.0.try_lock() {
                    return guard;
                }
            }
            std::thread::yield_now();
        }
    }
}
