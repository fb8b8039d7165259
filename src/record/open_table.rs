//! A hash table for stacks that are met for the first time: one array, so that a look costs
//! one line of memory, and so that it can be asked for ahead of time.

use crate::untracked::{self, DenseMemory};
use std::marker::PhantomData;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// Apart from what is never given back, whose huge pages would be cut into pieces.
static TABLES: DenseMemory = DenseMemory::new();

/// What a table holds.
///
/// # Safety
/// Zeroed memory is a valid, free one.
pub(crate) unsafe trait Entry: Copy + Send {
    /// Where it is looked for, in parts of the whole table.
    fn place(&self) -> Place;
    fn is_free(&self) -> bool;
}

/// So many 2^32th of a table from its beginning: so one that has grown has its entries in the
/// same order, and growing reads and writes straight on.
pub(crate) type Place = u32;

#[cfg_attr(not(debug_assertions), inline(always))]
fn index(place: Place, capacity: usize) -> usize {
    ((u64::from(place) * capacity as u64) >> Place::BITS) as usize
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn next(at: usize, capacity: usize) -> usize {
    if at + 1 == capacity { 0 } else { at + 1 }
}

const PAGE_BYTES: usize = 4096;

/// A fifth of all entries stays free, so that looks are short.
#[cfg_attr(not(debug_assertions), inline(always))]
fn is_full(used: usize, capacity: usize) -> bool {
    used * 5 > capacity * 4
}

pub(crate) struct OpenTable<E: Entry> {
    /// Dangling while there are none.
    entries: NonNull<E>,
    capacity: usize,
    used: usize,
    owned: PhantomData<E>,
}

// SAFETY: memory of its own.
unsafe impl<E: Entry> Send for OpenTable<E> {}

impl<E: Entry> std::fmt::Debug for OpenTable<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenTable").finish_non_exhaustive()
    }
}

/// The system gave no memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoMemory;

impl<E: Entry> OpenTable<E> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: NonNull::dangling(),
            capacity: 0,
            used: 0,
            owned: PhantomData,
        }
    }

    pub(crate) fn entries_mut(&mut self) -> &mut [E] {
        // SAFETY: `capacity` entries, zeroed or written, of this table alone.
        unsafe { std::slice::from_raw_parts_mut(self.entries.as_ptr(), self.capacity) }
    }

    fn entries(&self) -> &[E] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(self.entries.as_ptr(), self.capacity) }
    }

    #[inline]
    pub(crate) fn find(&self, place: Place, is_it: impl Fn(&E) -> bool) -> Option<E> {
        let entries = self.entries();
        let mut at = index(place, entries.len());
        while let Some(entry) = entries.get(at)
            && !entry.is_free()
        {
            if is_it(entry) {
                return Some(*entry);
            }
            at = next(at, entries.len());
        }
        None
    }

    /// Makes room for one more.
    #[inline]
    pub(crate) fn reserve(&mut self) -> Result<(), NoMemory> {
        match is_full(self.used + 1, self.capacity) {
            true => self.grow(),
            false => Ok(()),
        }
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) -> Result<(), NoMemory> {
        let capacity = (self.capacity * 2).max(PAGE_BYTES / size_of::<E>());
        let entries = TABLES.map(capacity * size_of::<E>()).ok_or(NoMemory)?;
        let mut grown = Self {
            entries: entries.cast(),
            capacity,
            used: 0,
            owned: PhantomData,
        };
        for entry in self.entries().iter().filter(|entry| !entry.is_free()) {
            grown.insert(*entry);
        }
        // The old entries go with it.
        std::mem::swap(self, &mut grown);
        Ok(())
    }

    /// After [`Self::reserve`].
    #[inline]
    pub(crate) fn insert(&mut self, entry: E) {
        self.used += 1;
        let entries = self.entries_mut();
        let mut at = index(entry.place(), entries.len());
        while let Some(place) = entries.get_mut(at) {
            if place.is_free() {
                *place = entry;
                return;
            }
            at = next(at, entries.len());
        }
    }
}

impl<E: Entry> Drop for OpenTable<E> {
    fn drop(&mut self) {
        if self.capacity > 0 {
            // SAFETY: mapped by `grow` with this size.
            unsafe { untracked::unmap(self.entries.cast(), self.capacity * size_of::<E>()) };
        }
    }
}

/// Where a table's entries are, for those who do not hold its lock. May be out of date.
#[derive(Debug)]
pub(crate) struct Hint<E> {
    entries: AtomicPtr<E>,
    capacity: AtomicUsize,
}

impl<E: Entry> Hint<E> {
    pub(crate) const fn new() -> Self {
        Self {
            entries: AtomicPtr::new(null_mut()),
            capacity: AtomicUsize::new(0),
        }
    }

    #[inline]
    pub(crate) fn set(&self, table: &OpenTable<E>) {
        if self.capacity.load(Relaxed) != table.capacity {
            self.entries.store(table.entries.as_ptr(), Relaxed);
            self.capacity.store(table.capacity, Relaxed);
        }
    }

    /// Has the processor bring the line in which `place` begins, while this goes on.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn fetch(&self, place: Place) {
        let at = index(place, self.capacity.load(Relaxed));
        let entry = self.entries.load(Relaxed).wrapping_add(at);
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        // SAFETY: reads nothing, and cannot fault, whatever the address.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(entry.cast());
        }
        #[cfg(not(all(target_arch = "x86_64", not(miri))))]
        let _ = entry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Number(u32, u32);

    // SAFETY: two numbers.
    unsafe impl Entry for Number {
        fn place(&self) -> Place {
            self.0
        }

        fn is_free(&self) -> bool {
            self.1 == 0
        }
    }

    proptest! {
        /// Also where many are looked for at the same place, and around the end.
        #[test]
        fn holds_what_was_put_in(places in prop::collection::vec(prop_oneof![
            0_u32..40, u32::MAX - 20..u32::MAX, any::<u32>(),
        ], 0..1200)) {
            let mut table = OpenTable::new();
            let mut model = HashMap::new();
            for (number, place) in (1..).zip(places) {
                let is_it = |entry: &Number| entry.0 == place;
                prop_assert_eq!(table.find(place, is_it).map(|e| e.1), model.get(&place).copied());
                if model.insert(place, number).is_none() {
                    table.reserve().unwrap();
                    table.insert(Number(place, number));
                } else {
                    model.insert(place, table.find(place, is_it).unwrap().1);
                }
            }
            for (place, number) in model {
                let found = table.find(place, |entry| entry.0 == place);
                prop_assert_eq!(found, Some(Number(place, number)));
            }
            let free = table.entries().iter().filter(|entry| entry.is_free());
            prop_assert!(free.count() * 5 >= table.capacity);
        }
    }
}
