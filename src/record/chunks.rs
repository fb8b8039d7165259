//! An append-only array in untracked memory whose elements never move, so
//! that readers need no lock.

use crate::crash_file::CRASH_FILE;
use crate::untracked::{self, DenseMemory};
use std::fmt;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{
    AtomicPtr,
    Ordering::{Acquire, Relaxed, Release},
};

pub(crate) static DENSE: DenseMemory = DenseMemory::new();

/// A type for which all-zero bytes are a valid value.
///
/// # Safety
/// That must hold, and the type must tolerate being shared between threads
/// from the moment its memory exists.
#[allow(unsafe_code)]
pub(crate) unsafe trait Zeroable: Sync {
    /// Which of the tables that outlive the process an array of these is; 0: none.
    const KEPT_AS: u32 = 0;
    /// Whether the elements of an array of these are used one after the other, all of them.
    const IS_DENSE: bool = false;
}

/// The tables that outlive the process, by [`Zeroable::KEPT_AS`]; what they hold has one layout
/// in all builds of one version.
pub(crate) mod kept {
    pub(crate) const COUNTERS: u32 = 1;
    pub(crate) const SITES: u32 = 2;
    pub(crate) const NODES: u32 = 3;
    pub(crate) const SAMPLES: u32 = 4;
}

/// `DIRECTORY` chunks of `CHUNK` elements each; a chunk is mapped when first
/// needed, and its pages cost memory when first touched.
pub(crate) struct Chunks<T, const DIRECTORY: usize, const CHUNK: usize> {
    directory: [AtomicPtr<T>; DIRECTORY],
}

impl<T, const DIRECTORY: usize, const CHUNK: usize> fmt::Debug for Chunks<T, DIRECTORY, CHUNK> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunks").finish_non_exhaustive()
    }
}

impl<T: Zeroable, const DIRECTORY: usize, const CHUNK: usize> Chunks<T, DIRECTORY, CHUNK> {
    pub(crate) const fn new() -> Self {
        const { assert!(CHUNK.is_power_of_two()) };
        Self {
            directory: [const { AtomicPtr::new(null_mut()) }; DIRECTORY],
        }
    }

    /// The element, if its chunk exists.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        // Acquire: pairs with the release in `make_chunk`, so the chunk's
        // zeroed contents are visible with its address.
        let chunk = NonNull::new(self.directory.get(index / CHUNK)?.load(Acquire))?;
        // SAFETY: a chunk holds `CHUNK` elements, zeroed memory is valid for
        // them, and chunks are not unmapped before `self` is dropped.
        Some(unsafe { chunk.add(index % CHUNK).as_ref() })
    }

    /// The element; maps its chunk if need be. None beyond the capacity or
    /// when the system gives no memory.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn get_or_map(&self, index: usize) -> Option<&T> {
        match self.get(index) {
            Some(element) => Some(element),
            None => self.make_chunk(index),
        }
    }

    #[cold]
    fn make_chunk(&self, index: usize) -> Option<&T> {
        let slot = self.directory.get(index / CHUNK)?;
        let bytes = CHUNK * size_of::<T>();
        let fresh = match T::IS_DENSE {
            true => DENSE.map(bytes),
            false => untracked::map(bytes),
        }?;
        if T::KEPT_AS != 0 {
            let which = (T::KEPT_AS, self.owner(), index / CHUNK);
            // SAFETY: just mapped, zeroed, and stays if it is published.
            unsafe { CRASH_FILE.keep(fresh, bytes, which, false) };
        }
        // Of two threads that map the same chunk one wins; the other gives
        // its memory back and uses the winner's.
        if slot
            .compare_exchange(null_mut(), fresh.as_ptr().cast(), Release, Relaxed)
            .is_err()
        {
            CRASH_FILE.forget(fresh);
            // SAFETY: just mapped, and never published.
            unsafe { untracked::unmap(fresh, bytes) };
        }
        self.get(index)
    }

    /// Tells this array from others of its type.
    fn owner(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Moves all chunks into the crash file, if there is one. `has_contents`: they may be other
    /// than zero.
    ///
    /// # Safety
    /// No other thread uses the elements meanwhile.
    pub(crate) unsafe fn keep(&self, has_contents: bool) {
        for (index, slot) in self.directory.iter().enumerate() {
            if let Some(chunk) = NonNull::new(slot.load(Acquire)) {
                let which = (T::KEPT_AS, self.owner(), index);
                let bytes = CHUNK * size_of::<T>();
                // SAFETY: a whole mapping of ours, out of use by the caller's promise.
                unsafe { CRASH_FILE.keep(chunk.cast(), bytes, which, has_contents) };
            }
        }
    }

    /// Sets the element and all others of its chunk back to zero, and gives their memory back.
    ///
    /// # Safety
    /// No other thread uses the elements meanwhile.
    pub(crate) unsafe fn zero_chunk_of(&self, index: usize) {
        let slot = self.directory.get(index / CHUNK);
        if let Some(chunk) = slot.and_then(|slot| NonNull::new(slot.load(Acquire))) {
            // SAFETY: a whole mapping of ours, out of use by the caller's promise.
            unsafe { untracked::zero(chunk.cast(), CHUNK * size_of::<T>()) };
        }
    }

    /// Sets every element back to zero.
    ///
    /// # Safety
    /// No other thread uses the elements meanwhile.
    pub(crate) unsafe fn zero(&self) {
        for slot in &self.directory {
            if let Some(chunk) = NonNull::new(slot.load(Acquire)) {
                // SAFETY: a whole mapping of ours, out of use by the caller's promise.
                unsafe { untracked::zero(chunk.cast(), CHUNK * size_of::<T>()) };
            }
        }
    }
}

impl<T, const DIRECTORY: usize, const CHUNK: usize> Drop for Chunks<T, DIRECTORY, CHUNK> {
    fn drop(&mut self) {
        for slot in &mut self.directory {
            if let Some(chunk) = NonNull::new(*slot.get_mut()) {
                // SAFETY: mapped by `make_chunk` with this size; `&mut self`
                // means that nobody uses it.
                unsafe { untracked::unmap(chunk.cast(), CHUNK * size_of::<T>()) };
            }
        }
    }
}
