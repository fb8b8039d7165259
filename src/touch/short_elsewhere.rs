//! Stands for what is faster with instructions of x86-64.

use crate::touch::pattern::{self, Changed};
use std::mem::MaybeUninit;

pub(crate) const SHORT_BYTES: usize = 64;

/// Fills a block.
///
/// # Safety
/// The block is the caller's.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) unsafe fn fill(block: *mut u8, bytes: usize, _spare: *mut u8) {
    // SAFETY: the caller's promise.
    let block = unsafe { std::slice::from_raw_parts_mut(block.cast::<MaybeUninit<u8>>(), bytes) };
    pattern::fill(block, 0);
}

/// What was written to a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangedBits {
    changed: Changed,
    of: usize,
}

impl ChangedBits {
    pub(crate) fn is_all(self) -> bool {
        self.changed.bytes == self.of
    }

    pub(crate) fn count(self) -> Changed {
        self.changed
    }
}

/// What was written to a block that was filled.
///
/// # Safety
/// The block is the caller's.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) unsafe fn changed(block: *const u8, bytes: usize) -> ChangedBits {
    // SAFETY: the caller's promise.
    let changed = pattern::changed(unsafe { std::slice::from_raw_parts(block, bytes) }, 0);
    ChangedBits { changed, of: bytes }
}
