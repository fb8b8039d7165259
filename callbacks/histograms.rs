//! How often each byte of a site's blocks was read or written, for sites all of
//! whose blocks have one size of at most [`MAX_BYTES`].
//!
//! A thread counts in 16 bits a byte, that stop at the largest number, which stands
//! for "at least as many" in the file as well.

use crate::counters::{MAX_SITES, Table, own_table, shared_table, tables};
use crate::shadow::{GRANULE_BYTES, Tag};
use crate::shared::MAX_HISTOGRAM_BYTES as MAX_BYTES;
use crate::system;
use core::arch::x86_64::{
    __m128i, _mm_adds_epu16, _mm_loadu_si128, _mm_set1_epi16, _mm_storeu_si128,
};
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU16, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};

/// Sizes of a site's blocks: 0 as long as there is none.
static SIZES: AtomicPtr<AtomicU16> = AtomicPtr::new(null_mut());
/// In [`SIZES`]: blocks of several sizes, of too large ones, or resized ones.
const MIXED: u16 = u16::MAX;

static WANTED: AtomicBool = AtomicBool::new(false);

/// Where histograms of all threads come from, one after another.
static ARENA: AtomicPtr<u8> = AtomicPtr::new(null_mut());
static ARENA_USED: AtomicUsize = AtomicUsize::new(0);
const ARENA_BYTES: usize = 1 << 36;

/// An access may reach beyond the block's last granule, in a block whose size is
/// no multiple of it.
const MARGIN: usize = GRANULE_BYTES;

/// Whether histograms are counted from now on. False: the system gives no memory.
pub(crate) fn start(wanted: bool) -> bool {
    WANTED.store(false, Relaxed);
    if SIZES.load(Relaxed).is_null() {
        if !wanted {
            return true;
        }
        SIZES.store(system::map(2 * MAX_SITES).cast(), Relaxed);
        ARENA.store(system::map(ARENA_BYTES), Relaxed);
    }
    let (sizes, arena) = (SIZES.load(Relaxed), ARENA.load(Relaxed));
    if sizes.is_null() || arena.is_null() {
        return !wanted;
    }
    // SAFETY: whole mappings of ours.
    unsafe {
        system::zero_pages(sizes.cast(), 2 * MAX_SITES);
        system::zero_pages(arena, ARENA_BYTES);
    }
    ARENA_USED.store(0, Relaxed);
    WANTED.store(wanted, Relaxed);
    true
}

fn size_of_site(site: usize) -> Option<&'static AtomicU16> {
    let sizes = SIZES.load(Relaxed);
    if sizes.is_null() {
        return None;
    }
    // SAFETY: a number below MAX_SITES; never unmapped.
    Some(unsafe { &*sizes.add(site & (MAX_SITES - 1)) })
}

/// The site has a new block. Whether its bytes are to be counted.
pub(crate) fn is_counted(site: usize, address: usize, bytes: usize) -> bool {
    if !WANTED.load(Relaxed) {
        return false;
    }
    let Some(size) = size_of_site(site) else {
        return false;
    };
    if bytes > MAX_BYTES || !address.is_multiple_of(GRANULE_BYTES) {
        size.store(MIXED, Relaxed);
        return false;
    }
    let bytes = bytes as u16;
    match size.compare_exchange(0, bytes, Relaxed, Relaxed) {
        Ok(_) => true,
        Err(before) if before == bytes => true,
        Err(_) => {
            size.store(MIXED, Relaxed);
            false
        }
    }
}

/// The site has a block of more than one size.
pub(crate) fn give_up(site: usize) {
    if WANTED.load(Relaxed)
        && let Some(size) = size_of_site(site)
    {
        size.store(MIXED, Relaxed);
    }
}

/// The one size of the site's blocks, if they are counted byte by byte.
fn single_size(site: usize) -> Option<usize> {
    match size_of_site(site)?.load(Relaxed) {
        0 | MIXED => None,
        bytes => Some(usize::from(bytes)),
    }
}

/// `BYTES` (at most 16) of a block were accessed, whose tag asks for it.
#[inline(never)]
pub(crate) fn count<const BYTES: usize>(table: &Table, tag: Tag, address: usize) {
    let Some(counts) = counts_in(table, tag) else {
        return;
    };
    // SAFETY: all bytes of the block's granules and a margin are counted there, by
    // this thread alone; x86-64 has these instructions.
    unsafe {
        let counts = counts.add(offset(tag, address));
        match BYTES {
            8 => add_eight(counts),
            16 => {
                add_eight(counts);
                add_eight(counts.add(8));
            }
            _ => add_own(counts, BYTES),
        }
    }
}

/// Any number of bytes of a block were accessed.
#[inline(always)]
pub(crate) fn count_range(tag: Tag, address: usize, bytes: usize) {
    if tag.has(Tag::HISTOGRAM) {
        count_bytes(tag, address, bytes);
    }
}

#[inline(never)]
fn count_bytes(tag: Tag, address: usize, bytes: usize) {
    let own = own_table();
    let Some(table) = own.or_else(shared_table) else {
        return;
    };
    let (Some(counts), Some(size)) = (counts_in(table, tag), single_size(tag.site())) else {
        return;
    };
    let offset = offset(tag, address);
    // A program may ask for more than its block, and never come to it.
    let bytes = bytes.min(size.saturating_sub(offset));
    // SAFETY: as in `count`; those of a shared table are used as atomics.
    unsafe {
        let counts = counts.add(offset);
        if own.is_none() {
            return add_shared(counts, bytes);
        }
        let mut at = 0;
        while bytes - at >= 8 {
            add_eight(counts.add(at));
            at += 8;
        }
        add_own(counts.add(at), bytes - at);
    }
}

#[inline(always)]
fn offset(tag: Tag, address: usize) -> usize {
    (tag.0 >> Tag::GRANULE_SHIFT) as usize * GRANULE_BYTES + address % GRANULE_BYTES
}

/// # Safety
/// There are eight counts, and no other thread has them.
#[inline(always)]
unsafe fn add_eight(counts: *mut u16) {
    let counts = counts.cast::<__m128i>();
    // SAFETY: the caller's promise.
    unsafe {
        let sum = _mm_adds_epu16(_mm_loadu_si128(counts), _mm_set1_epi16(1));
        _mm_storeu_si128(counts, sum);
    }
}

/// # Safety
/// There are so many counts, and no other thread has them.
#[inline(always)]
unsafe fn add_own(counts: *mut u16, bytes: usize) {
    for at in 0..bytes {
        // SAFETY: the caller's promise.
        unsafe {
            let count = counts.add(at);
            count.write(count.read().saturating_add(1));
        }
    }
}

/// # Safety
/// There are so many counts, which all threads use as atomics.
#[cold]
#[inline(never)]
unsafe fn add_shared(counts: *mut u16, bytes: usize) {
    for at in 0..bytes {
        // SAFETY: the caller's promise.
        let count = unsafe { &*counts.add(at).cast::<AtomicU16>() };
        let _ = count.fetch_update(Relaxed, Relaxed, |count| count.checked_add(1));
    }
}

/// Where a thread counts the bytes of the site: as many as its blocks have, up to the
/// end of their last granule, and a margin.
#[inline(always)]
fn counts_in(table: &Table, tag: Tag) -> Option<*mut u16> {
    let counts = table.histogram_of(tag).load(Acquire);
    if counts.is_null() {
        return make_counts(table, tag);
    }
    Some(counts)
}

#[cold]
#[inline(never)]
fn make_counts(table: &Table, tag: Tag) -> Option<*mut u16> {
    // A site that is mixed by now has blocks left that are counted, of any size.
    let size = single_size(tag.site()).unwrap_or(MAX_BYTES);
    let counts = size.next_multiple_of(GRANULE_BYTES) + MARGIN;
    let used = ARENA_USED.fetch_add(2 * counts, Relaxed);
    if used + 2 * (MAX_BYTES + 2 * MARGIN) > ARENA_BYTES {
        ARENA_USED.store(ARENA_BYTES, Relaxed);
        return None;
    }
    // SAFETY: inside of the arena.
    let fresh = unsafe { ARENA.load(Relaxed).add(used) }.cast::<u16>();
    let slot = table.histogram_of(tag);
    match slot.compare_exchange(null_mut(), fresh, AcqRel, Acquire) {
        Ok(_) => Some(fresh),
        Err(theirs) => Some(theirs),
    }
}

/// Adds up what all threads have counted for a site. Returns the size of its blocks,
/// or 0 if there is no histogram of it.
pub(crate) fn sum(site: usize, into: &mut [u16; MAX_BYTES]) -> usize {
    let Some(size) = single_size(site) else {
        return 0;
    };
    for sum in &mut *into {
        *sum = 0;
    }
    for table in tables() {
        let counts = table.histograms[site & (MAX_SITES - 1)].load(Acquire);
        if counts.is_null() {
            continue;
        }
        for (at, sum) in into.iter_mut().enumerate().take(size) {
            // SAFETY: a site of one size has so many counts.
            let count = unsafe { counts.add(at).read_volatile() };
            *sum = sum.saturating_add(count);
        }
    }
    size
}
