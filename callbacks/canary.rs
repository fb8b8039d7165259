//! Writes that no callback told of: by C code, and by those parts of the standard
//! library that come compiled.
//!
//! A fresh block is filled with a pattern. A byte that has changed, and that no
//! callback told of, was written without one. (A byte that was written with what was
//! there already is not found: a lower bound.)

use crate::accesses::bits_from_to;
use crate::counters::{add_first, add_untold, add_written};
use crate::shadow::{GRANULE_BYTES, Region, Tag, each_region, region_of};
use core::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi64x,
};
use core::sync::atomic::Ordering::Relaxed;

/// What a block was filled with, as its tags say.
pub(crate) mod kind {
    /// Nothing: its writes are those that callbacks tell of.
    pub(crate) const NONE: u32 = 0;
    pub(crate) const PATTERN: u32 = 1;
    /// It came zeroed.
    pub(crate) const ZEROS: u32 = 2;
}

/// Blocks larger than this are not filled: all of their pages would become resident.
pub(crate) const MAX_BYTES: usize = (256 << 10) - 1;

/// Bytes that do not occur in UTF-8 and are rare in numbers. A byte's place in it
/// is its address modulo 8, so that it stays in place when a block moves.
const PATTERN: u64 = 0xFDF8_F6FA_F7FB_F9F5;

fn filling(kind: u32) -> u64 {
    if kind == kind::PATTERN { PATTERN } else { 0 }
}

/// # Safety
/// The bytes are the caller's, and uninitialized.
pub(crate) unsafe fn fill(address: usize, bytes: usize, kind: u32) {
    if kind == kind::NONE {
        return;
    }
    let filling = filling(kind);
    let end = address + bytes;
    let mut at = address;
    // SAFETY: of a place between the caller's first byte and the end.
    let put_byte = |at: usize| unsafe { (at as *mut u8).write((filling >> (at % 8 * 8)) as u8) };
    while at < end && !at.is_multiple_of(8) {
        put_byte(at);
        at += 1;
    }
    // SAFETY: there are as many bytes, from a multiple of 8 on.
    unsafe {
        while end - at >= 16 {
            (at as *mut [u64; 2]).write([filling; 2]);
            at += 16;
        }
        if end - at >= 8 {
            (at as *mut u64).write(filling);
            at += 8;
        }
        let rest = end - at;
        if rest & 4 != 0 {
            (at as *mut u32).write(filling as u32);
            at += 4;
        }
        if rest & 2 != 0 {
            (at as *mut u16).write((filling >> (at % 8 * 8)) as u16);
            at += 2;
        }
    }
    if at < end {
        put_byte(at);
    }
}

/// Counts what was written to a block without a callback.
///
/// # Safety
/// The bytes are of one block that is still allocated.
pub(crate) unsafe fn scan(tag: Tag, address: usize, bytes: usize) {
    if tag.kind() == kind::NONE {
        return;
    }
    let mut untold = 0;
    each_region(address, bytes, |address, bytes| {
        if let Some(region) = region_of(address) {
            // SAFETY: the caller's promise.
            untold += unsafe { scan_in_region(region, tag, address, bytes) };
        }
    });
    count(tag, untold);
}

/// # Safety
/// As for [`scan`].
unsafe fn scan_in_region(region: Region, tag: Tag, address: usize, bytes: usize) -> u32 {
    let end = address + bytes;
    let mut untold = 0;
    let mut at = address;
    while at < end {
        let next = (at | 63) + 1;
        // Only the asked for bytes of the granules at the ends.
        let asked = bits_from_to(at, next.min(end));
        let mut not_told = asked & !region.written_64(at).load(Relaxed);
        let mut granule = at & !63;
        while not_told != 0 {
            let wanted = not_told as u16;
            if wanted != 0 {
                // SAFETY: the whole granule is readable, as a part of it is.
                let changed = unsafe { changed(granule as *const u8, tag.kind()) };
                untold += mark_untold(region, granule, changed & wanted);
            }
            not_told >>= GRANULE_BYTES;
            granule += GRANULE_BYTES;
        }
        at = next;
    }
    untold
}

/// Which bytes of a granule are no longer what they were filled with.
///
/// # Safety
/// 16 bytes at a multiple of 16 are readable.
#[inline(always)]
pub(crate) unsafe fn changed(granule: *const u8, kind: u32) -> u16 {
    // SAFETY: the caller's promise; x86-64 has these instructions.
    unsafe {
        let filling = _mm_set1_epi64x(filling(kind) as i64);
        let content = _mm_load_si128(granule.cast::<__m128i>());
        !_mm_movemask_epi8(_mm_cmpeq_epi8(content, filling)) as u16
    }
}

/// Marks bytes of a granule as written; returns how many were not, so that none is
/// counted twice.
pub(crate) fn mark_untold(region: Region, granule: usize, bytes: u16) -> u32 {
    if bytes == 0 {
        return 0;
    }
    let before = region.written_granule(granule).fetch_or(bytes, Relaxed);
    (bytes & !before).count_ones()
}

pub(crate) fn count(tag: Tag, untold: u32) {
    if untold != 0 {
        add_first(tag, untold);
        add_untold(tag, untold);
        add_written(tag, untold as usize);
    }
}
