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

/// Sleeps before a lock is given up by who may not wait for ever.
const LIMIT_ROUNDS: u32 = 50_000;

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
        let mut patience = Patience::default();
        loop {
            for _ in 0..SPINS {
                std::hint::spin_loop();
                if let Some(guard) = self.0.try_lock() {
                    return guard;
                }
            }
            patience.give_way();
        }
    }

    /// As [`Self::lock`]; None after some seconds, for who may have interrupted
    /// the holder.
    pub(crate) fn lock_within_limit(&self) -> Option<MutexGuard<'_, T>> {
        let mut patience = Patience::default();
        for _ in 0..LIMIT_ROUNDS {
            if let Some(guard) = self.0.try_lock() {
                return Some(guard);
            }
            patience.give_way();
        }
        None
    }

    /// Locks until [`Self::unlock_after_fork`].
    pub(crate) fn lock_for_fork(&self) {
        std::mem::forget(self.lock());
    }

    /// # Safety
    /// This thread called [`Self::lock_for_fork`], here or in the parent.
    pub(crate) unsafe fn unlock_after_fork(&self) {
        // SAFETY: locked by this thread, whose guard was forgotten.
        unsafe { self.0.force_unlock() };
    }
}

/// Waiting for a thread that may have lost its processor.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    rounds: u32,
}

impl Patience {
    /// Lets others run: at first whoever is ready, after a while by sleeping,
    /// since a scheduler may think nothing of a yield.
    pub(crate) fn give_way(&mut self) {
        self.rounds += 1;
        if self.rounds <= 8 {
            std::thread::yield_now();
        } else {
            std::thread::sleep(std::time::Duration::from_micros(50));
        }
    }
}
