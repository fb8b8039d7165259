//! How large the blocks of C code are, by address: `free` is not told.

use crate::record::block_map::{BlockMap, NoRoom};
use std::num::NonZeroU32;

/// A u32 a granule, as in the block map: the size plus one. One that needs more has
/// [`LARGE`] there, and lies in three parts in the following granules, which are
/// the block's own.
#[derive(Debug)]
pub(crate) struct CSizes(BlockMap);

const LARGE: NonZeroU32 = NonZeroU32::MAX;
const PART_BITS: u32 = 24;
const PARTS: usize = 3;
const GRANULE_BYTES: usize = 16;

impl CSizes {
    pub(crate) const fn new() -> Self {
        Self(BlockMap::new())
    }

    #[inline]
    pub(crate) fn insert(&self, address: usize, bytes: usize) -> Result<(), NoRoom> {
        let size = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| bytes.checked_add(1));
        match size.and_then(NonZeroU32::new) {
            Some(size) if size != LARGE => self.0.insert(address, size).map(drop),
            _ => self.insert_large(address, bytes),
        }
    }

    #[inline]
    pub(crate) fn remove(&self, address: usize) -> Option<usize> {
        match self.0.remove(address)? {
            LARGE => self.remove_parts(address),
            size => Some(size.get() as usize - 1),
        }
    }

    #[cold]
    fn insert_large(&self, address: usize, bytes: usize) -> Result<(), NoRoom> {
        for index in 0..PARTS {
            let part = bytes >> (PART_BITS as usize * index) & ((1 << PART_BITS) - 1);
            if let Some(part) = NonZeroU32::new(part as u32 + 1) {
                self.0.insert(part_address(address, index), part)?;
            }
        }
        self.0.insert(address, LARGE).map(drop)
    }

    #[cold]
    fn remove_parts(&self, address: usize) -> Option<usize> {
        let mut bytes = 0;
        for index in 0..PARTS {
            let part = self.0.remove(part_address(address, index))?.get() as usize - 1;
            bytes |= part << (PART_BITS as usize * index);
        }
        Some(bytes)
    }

    /// # Safety
    /// No other thread uses the sizes meanwhile.
    pub(crate) unsafe fn clear(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.0.clear() };
    }
}

fn part_address(address: usize, index: usize) -> usize {
    address + GRANULE_BYTES * (index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_all_magnitudes_come_back_once() {
        let sizes = Box::new(CSizes::new());
        let large = u32::MAX as usize;
        let all = [
            0,
            1,
            24,
            4096,
            (1 << 24) - 1,
            1 << 24,
            large - 2,
            large - 1,
            large,
            large + 1,
            1 << 40,
            (1 << 47) - 1,
        ];
        for (n, &bytes) in all.iter().enumerate() {
            sizes.insert((n + 1) << 20, bytes).unwrap();
        }
        for (n, &bytes) in all.iter().enumerate() {
            assert_eq!(sizes.remove((n + 1) << 20), Some(bytes));
            assert_eq!(sizes.remove((n + 1) << 20), None);
        }
    }

    /// A block whose free was not seen leaves nothing that the next one is given.
    #[test]
    fn a_new_size_takes_the_place_of_the_old() {
        let sizes = Box::new(CSizes::new());
        sizes.insert(0x1000, 1 << 40).unwrap();
        sizes.insert(0x1000, 5).unwrap();
        assert_eq!(sizes.remove(0x1000), Some(5));
        sizes.insert(0x1000, (1 << 40) + 7).unwrap();
        assert_eq!(sizes.remove(0x1000), Some((1 << 40) + 7));
    }
}
