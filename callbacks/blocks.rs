//! Blocks in the shadow: put in when they are the program's, taken out before they
//! go back to the allocator.

use crate::accesses::{bits_from_to, mark_written};
use crate::canary::{self, kind};
use crate::counters::{self, add_read, add_written};
use crate::histograms;
use crate::shadow::{
    CHUNK_BYTES, GRANULE_BYTES, REGION_BYTES, Region, Tag, each_region, make_region, region_of,
};
use crate::shared::{Content, FEW_KEPT, Moving};
use crate::system::{self, PAGE_BYTES};
use core::arch::x86_64::{__m128i, _mm_set1_epi32, _mm_storeu_si128};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Maps of at least so many bytes are not overwritten with zeros but given back.
const WORTH_A_SYSTEM_CALL: usize = 4 << 20;

/// Blocks that are not in the shadow: no memory for it, or a granule that another
/// block has already.
pub(crate) static REFUSED: AtomicU64 = AtomicU64::new(0);
/// Blocks too large to be filled.
pub(crate) static NOT_FILLED: AtomicU64 = AtomicU64::new(0);

/// Whether there was ever a block that begins inside of a granule. As long as there
/// is none, what a granule belongs to when a block is put there is out of date.
static GRANULES_ARE_SHARED: AtomicBool = AtomicBool::new(false);

/// A block's own range of whole granules.
fn granules(address: usize, bytes: usize) -> (usize, usize) {
    let start = address & !(GRANULE_BYTES - 1);
    let end = (address + bytes).next_multiple_of(GRANULE_BYTES);
    (start, end - start)
}

/// A block was allocated.
///
/// # Safety
/// It is the caller's, who has not yet given it to the program.
pub(crate) unsafe fn allocated(address: usize, bytes: usize, site: usize, content: Content) {
    let kind = match content {
        _ if bytes > canary::MAX_BYTES => kind::NONE,
        Content::Nothing => kind::PATTERN,
        Content::Zeros => kind::ZEROS,
    };
    if kind == kind::NONE {
        NOT_FILLED.fetch_add(1, Relaxed);
    }
    let mut tag = (site as u32) << Tag::SITE_SHIFT & Tag::SITE | kind;
    if histograms::is_counted(site, address, bytes) {
        tag |= Tag::HISTOGRAM;
    }
    if put(address, bytes, tag) && kind == kind::PATTERN {
        // SAFETY: the caller's block, which the program has not seen.
        unsafe { canary::fill(address, bytes, kind) };
    }
}

/// Puts a block in, with no byte written. False: refused.
#[inline(always)]
fn put(address: usize, bytes: usize, tag: u32) -> bool {
    if bytes <= SMALL_BYTES && put_small(address, bytes, tag) {
        return true;
    }
    put_any(address, bytes, tag)
}

/// Most blocks are no larger.
const SMALL_BYTES: usize = 1024;

/// As [`put`], if nothing is out of the ordinary. False: nothing was done.
#[inline(always)]
fn put_small(address: usize, bytes: usize, mut tag: u32) -> bool {
    let Some(region) = region_of(address) else {
        return false;
    };
    let in_region = address & (REGION_BYTES - 1);
    if !address.is_multiple_of(GRANULE_BYTES)
        || in_region > REGION_BYTES - 2 * SMALL_BYTES
        || GRANULES_ARE_SHARED.load(Relaxed)
        || counters::are_many()
        || bytes == 0
    {
        return false;
    }
    let used = region.used(address);
    if used.load(Relaxed) == 0 || region.used(address + bytes).load(Relaxed) == 0 {
        return false;
    }
    let (end, mut at) = (address + bytes, address);
    let granules_end = end.next_multiple_of(GRANULE_BYTES);
    let tags = region.tag_at(address).as_ptr();
    let granules = (granules_end - address) / GRANULE_BYTES;
    if tag & Tag::HISTOGRAM == 0 {
        // SAFETY: as in `put_any`.
        unsafe { write_tags(tags, granules, tag) };
    } else {
        for granule in 0..granules {
            // SAFETY: as in `put_any`.
            unsafe { tags.add(granule).write(tag) };
            tag = tag.wrapping_add(1 << Tag::GRANULE_SHIFT);
        }
    }
    // The bits of the block's bytes are 0 then, those of the rest of its last granule 1.
    while at < end {
        let next = (at | 63) + 1;
        let behind = match next <= end || end == granules_end {
            true => 0,
            false => bits_from_to(end, granules_end),
        };
        match bits_from_to(at, next.min(granules_end)) {
            u64::MAX => region.written_64(at).store(behind, Relaxed),
            ours => {
                region.keep_in_64(at, !ours);
                if behind != 0 {
                    region.set_in_64(at, behind);
                }
            }
        }
        at = next;
    }
    true
}

/// The same tag to so many granules.
///
/// # Safety
/// They are of one region and one block.
#[inline(always)]
unsafe fn write_tags(tags: *mut u32, granules: usize, tag: u32) {
    let mut at = 0;
    // SAFETY: the caller's promise; x86-64 has these instructions.
    unsafe {
        while granules - at >= 4 {
            _mm_storeu_si128(tags.add(at).cast::<__m128i>(), _mm_set1_epi32(tag as i32));
            at += 4;
        }
        if (granules - at) & 2 != 0 {
            tags.add(at).cast::<[u32; 2]>().write_unaligned([tag; 2]);
            at += 2;
        }
        if (granules - at) & 1 != 0 {
            tags.add(at).write(tag);
        }
    }
}

/// As [`put`].
#[inline(never)]
fn put_any(address: usize, bytes: usize, mut tag: u32) -> bool {
    let last = address + bytes.max(1) - 1;
    let (Some(first_region), Some(last_region)) = (make_region(address), make_region(last)) else {
        REFUSED.fetch_add(1, Relaxed);
        return false;
    };
    if !address.is_multiple_of(GRANULE_BYTES) {
        GRANULES_ARE_SHARED.store(true, Relaxed);
        tag |= Tag::BEGINS_LATE;
    }
    if GRANULES_ARE_SHARED.load(Relaxed)
        && (!address.is_multiple_of(8)
            || first_region.tag(address) != Tag::NONE
            || last_region.tag(last) != Tag::NONE)
    {
        REFUSED.fetch_add(1, Relaxed);
        return false;
    }
    let (start, length) = granules(address, bytes);
    clear(start, length, Map::Written);
    // Bytes of the granules at the ends that are not the block's count as written,
    // so that nobody looks at them.
    let before = !(u16::MAX << (address - start));
    let after = match (last + 1) % GRANULE_BYTES {
        0 => 0,
        used => u16::MAX << used,
    };
    set(first_region, start, before);
    set(last_region, last, after);
    let step = if tag & Tag::HISTOGRAM != 0 {
        1 << Tag::GRANULE_SHIFT
    } else {
        0
    };
    each_region(start, length, |address, bytes| {
        if let Some(region) = make_region(address) {
            mark_used(region, address, bytes);
            let tags = region.tag_at(address).as_ptr();
            for granule in 0..bytes / GRANULE_BYTES {
                // SAFETY: the tags of one region lie one after another. Nobody looks at
                // these until the program has the block.
                unsafe { tags.add(granule).write(tag) };
                tag = tag.wrapping_add(step) & !Tag::BEGINS_LATE;
            }
        }
    });
    true
}

/// Marks bytes of a granule that is this block's alone as written.
#[inline(always)]
fn set(region: Region, granule: usize, bytes: u16) {
    if bytes != 0 {
        let bits = region.written_granule(granule);
        bits.store(bits.load(Relaxed) | bytes, Relaxed);
    }
}

fn mark_used(region: Region, address: usize, bytes: usize) {
    let mut chunk = address & !(CHUNK_BYTES - 1);
    while chunk < address + bytes {
        let used = region.used(chunk);
        if used.load(Relaxed) == 0 {
            used.store(1, Relaxed);
            let [tags, written] = region.maps_of(chunk, CHUNK_BYTES);
            // Soon all of the chunk is, most often. Of a large block, all tags are at once, but
            // what is written of it the program decides.
            // SAFETY: whole pages of the maps.
            unsafe {
                system::populate(tags.0, tags.1);
                if bytes < CHUNK_BYTES {
                    system::populate(written.0, written.1);
                }
            }
        }
        chunk += CHUNK_BYTES;
    }
}

/// The tag of the block that begins at `address`, if it is in the shadow.
fn tag_of_block(address: usize) -> Option<Tag> {
    let tag = region_of(address)?.tag(address);
    let begins_late = !address.is_multiple_of(GRANULE_BYTES);
    (tag != Tag::NONE && tag.has(Tag::BEGINS_LATE) == begins_late).then_some(tag)
}

/// A block is about to be freed.
///
/// # Safety
/// It is still allocated.
pub(crate) unsafe fn freed(address: usize, bytes: usize) {
    if let Some(tag) = tag_of_block(address) {
        // SAFETY: the caller's promise.
        unsafe { canary::scan(tag, address, bytes) };
        clear_tags(address, bytes);
    }
}

/// A block's granules are nobody's.
#[inline(always)]
fn clear_tags(address: usize, bytes: usize) {
    let (start, length) = granules(address, bytes);
    if length <= SMALL_BYTES
        && start & (REGION_BYTES - 1) <= REGION_BYTES - SMALL_BYTES
        && let Some(region) = region_of(start)
    {
        let tags = region.tag_at(start).as_ptr();
        // SAFETY: one block's, which do not reach beyond the region.
        return unsafe { write_tags(tags, length / GRANULE_BYTES, Tag::NONE.0) };
    }
    clear(start, length, Map::Tags);
}

/// Where the bits of the kept bytes is. Null: there was no memory for it.
fn bits_of(moving: &mut Moving) -> *mut u8 {
    if moving.kept <= FEW_KEPT {
        return moving.few.as_mut_ptr();
    }
    moving.many
}

fn bytes_of_bits(moving: &Moving) -> usize {
    moving.kept.div_ceil(8)
}

/// A block is about to be reallocated.
///
/// # Safety
/// It is still allocated; `moving` is writable.
pub(crate) unsafe fn take(address: usize, bytes: usize, new_bytes: usize, moving: *mut Moving) {
    // SAFETY: the caller's promise. `few` may be uninitialized: plain bytes.
    let moving = unsafe {
        (&raw mut (*moving).tag).write(0);
        (&raw mut (*moving).kept).write(bytes.min(new_bytes));
        (&raw mut (*moving).many).write(core::ptr::null_mut());
        &mut *moving
    };
    let Some(tag) = tag_of_block(address) else {
        return;
    };
    let mut kind = tag.kind();
    let kept = moving.kept;
    // SAFETY: the caller's promise.
    unsafe {
        if kind != kind::NONE && new_bytes > canary::MAX_BYTES {
            // It will not be looked at again.
            canary::scan(tag, address, bytes);
            NOT_FILLED.fetch_add(1, Relaxed);
            kind = kind::NONE;
        } else {
            canary::scan(tag, address + kept, bytes - kept);
        }
    }
    moving.tag = tag.0 & Tag::SITE | kind;
    if kept > FEW_KEPT {
        moving.many = system::map(bytes_of_bits(moving));
    }
    let saved = bits_of(moving);
    if !saved.is_null() {
        // SAFETY: room for a bit a byte.
        unsafe { save_written(address, kept, saved) };
    }
    clear_tags(address, bytes);
}

/// The block is at `address` now, with `bytes`; or, if it could not be
/// reallocated, where and as it was.
///
/// # Safety
/// `moving` was filled by [`take`]; the block is the caller's, and what is new of it
/// uninitialized.
pub(crate) unsafe fn put_back(moving: *mut Moving, address: usize, bytes: usize, failed: bool) {
    // SAFETY: the caller's promise.
    let moving = unsafe { &mut *moving };
    let tag = Tag(moving.tag);
    if tag == Tag::NONE {
        return;
    }
    let kept = moving.kept;
    let saved = bits_of(moving);
    histograms::give_up(tag.site());
    if put(address, bytes, tag.0) {
        if saved.is_null() {
            mark_written(address, kept);
        } else {
            // SAFETY: filled in `take`.
            unsafe { restore_written(address, kept, saved) };
        }
        if failed {
            // Looked at in `take`.
            mark_written(address + kept, bytes - kept);
        } else {
            // SAFETY: new bytes.
            unsafe { canary::fill(address + kept, bytes - kept, tag.kind()) };
        }
    }
    if !failed {
        // The copy, as DHAT counts it, made or not.
        add_read(tag, kept);
        add_written(tag, kept);
    }
    if !moving.many.is_null() {
        // SAFETY: mapped in `take`.
        unsafe { system::unmap(moving.many, bytes_of_bits(moving)) };
    }
}

/// # Safety
/// `into` has room for a bit a byte.
unsafe fn save_written(address: usize, bytes: usize, into: *mut u8) {
    let mut into = into;
    if !address.is_multiple_of(8) {
        for first in (0..bytes).step_by(8) {
            let mut bits = 0;
            for at in first..bytes.min(first + 8) {
                bits |= u8::from(is_written(address + at)) << (at - first);
            }
            // SAFETY: the caller's promise.
            unsafe {
                into.write(bits);
                into = into.add(1);
            }
        }
        return;
    }
    each_region(address, bytes, |address, bytes| {
        let Some(region) = region_of(address) else {
            return;
        };
        let words = bytes / 64 * 64;
        for first in (0..words).step_by(64) {
            let bits = region.written_long_word(address + first);
            // SAFETY: the caller's promise.
            unsafe {
                into.cast::<u64>().write_unaligned(bits);
                into = into.add(8);
            }
        }
        for first in (words..bytes).step_by(8) {
            let bits = region.written_byte(address + first).load(Relaxed);
            // SAFETY: the caller's promise.
            unsafe {
                into.write(bits);
                into = into.add(1);
            }
        }
    });
}

fn is_written(address: usize) -> bool {
    region_of(address)
        .is_some_and(|region| region.written_byte(address).load(Relaxed) >> (address % 8) & 1 != 0)
}

/// # Safety
/// `from` has a bit a byte. The block was just put in.
unsafe fn restore_written(address: usize, bytes: usize, from: *const u8) {
    let in_region = address & (REGION_BYTES - 1);
    let words = match region_of(address) {
        Some(region) if address.is_multiple_of(8) && in_region + bytes <= REGION_BYTES => {
            let words = bytes / 64 * 64;
            for first in (0..words).step_by(64) {
                // SAFETY: the caller's promise; all of these bits are the block's.
                unsafe {
                    let bits = from.add(first / 8).cast::<u64>().read_unaligned();
                    region.write_long_word(address + first, bits);
                }
            }
            words
        }
        _ => 0,
    };
    for first in (words..bytes).step_by(8) {
        // SAFETY: the caller's promise.
        let bits = unsafe { from.add(first / 8).read() };
        let wanted = (bytes - first).min(8);
        let bits = bits & 0xFF_u8 >> (8 - wanted);
        if address.is_multiple_of(8)
            && let Some(region) = region_of(address + first)
        {
            let place = region.written_byte(address + first);
            place.store(place.load(Relaxed) | bits, Relaxed);
            continue;
        }
        for at in (0..wanted).filter(|at| bits >> at & 1 != 0) {
            mark_written(address + first + at, 1);
        }
    }
}

#[derive(Clone, Copy)]
enum Map {
    Tags,
    Written,
}

/// Zeroes one of the maps of whole granules.
fn clear(start: usize, length: usize, map: Map) {
    each_region(start, length, |address, bytes| {
        if let Some(region) = region_of(address) {
            let (place, bytes) = region.maps_of(address, bytes)[map as usize];
            // SAFETY: of granules that are one block's; 2 or 4 bytes each.
            unsafe { zero(place, bytes) };
        }
    });
}

/// # Safety
/// The bytes are the caller's; place and number are even.
unsafe fn zero(place: *mut u8, bytes: usize) {
    let mut at = place;
    // SAFETY: one past the caller's bytes.
    let end = unsafe { place.add(bytes) };
    if bytes >= WORTH_A_SYSTEM_CALL {
        let first_page = (place as usize).next_multiple_of(PAGE_BYTES);
        let last_page = end as usize & !(PAGE_BYTES - 1);
        // SAFETY: whole pages of the caller's bytes; the rest is done below.
        unsafe {
            system::zero_pages(first_page as *mut u8, last_page - first_page);
            zero(place, first_page - place as usize);
        }
        at = last_page as *mut u8;
    }
    // SAFETY: between the caller's place and end.
    unsafe {
        if end as usize - at as usize <= 32 {
            // Of a small block: no more instructions than it takes.
            while at < end {
                at.cast::<u16>().write(0);
                at = at.add(2);
            }
            return;
        }
        while !(at as usize).is_multiple_of(8) {
            at.cast::<u16>().write(0);
            at = at.add(2);
        }
        while end as usize - at as usize >= 8 {
            at.cast::<u64>().write(0);
            at = at.add(8);
        }
        while at < end {
            at.cast::<u16>().write(0);
            at = at.add(2);
        }
    }
}
