//! One access: whose bytes they are, how many, and which were never written before.

use crate::counters::{self, Table, add_first, add_read, add_written, own_table};
use crate::histograms;
use crate::shadow::{REGION_BYTES, Region, Tag, each_region, region_of};
use core::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

// Of the next two, every path ends in a call that needs no stack frame of theirs, so
// that the shortest saves no register.

/// The program reads `BYTES` (at most 16) from `address` on.
#[inline(always)]
pub(crate) fn load<const BYTES: usize>(address: usize) {
    let Some(region) = region_of(address) else {
        return;
    };
    let tag = region.tag(address);
    if tag == Tag::NONE {
        return;
    }
    let Some(table) = own_table() else {
        return load_among_many(tag, address, BYTES);
    };
    table.add_read(tag, BYTES);
    if tag.has(Tag::HISTOGRAM) {
        histograms::count::<BYTES>(table, tag, address);
    }
}

/// The program writes `BYTES` (at most 16) from `address` on.
#[inline(always)]
pub(crate) fn store<const BYTES: usize>(address: usize) {
    let Some(region) = region_of(address) else {
        return;
    };
    let tag = region.tag(address);
    if tag == Tag::NONE {
        return;
    }
    let Some(table) = own_table() else {
        return store_among_many(tag, address, BYTES);
    };
    table.add_written(tag, BYTES);
    let bits = ((1 << BYTES) - 1) << (address & 7);
    if region.written_word(address) & bits != bits {
        return store_first::<BYTES>(region, tag, address, table);
    }
    if tag.has(Tag::HISTOGRAM) {
        histograms::count::<BYTES>(table, tag, address);
    }
}

/// Of these bytes, some are written for the first time.
#[inline(never)]
fn store_first<const BYTES: usize>(region: Region, tag: Tag, address: usize, table: &Table) {
    let first = mark_short(region, address, BYTES);
    table.add_first(tag, first);
    if tag.has(Tag::HISTOGRAM) {
        histograms::count::<BYTES>(table, tag, address);
    }
}

/// Of a thread without a table of its own.
#[cold]
#[inline(never)]
fn load_among_many(tag: Tag, address: usize, bytes: usize) {
    add_read(tag, bytes);
    histograms::count_range(tag, address, bytes);
}

/// Of a thread without a table of its own.
#[cold]
#[inline(never)]
fn store_among_many(tag: Tag, address: usize, bytes: usize) {
    add_written(tag, bytes);
    add_first(tag, mark_written(address, bytes));
    histograms::count_range(tag, address, bytes);
}

/// The program reads `bytes`, any number of them.
#[inline(always)]
pub(crate) fn load_range(address: usize, bytes: usize) {
    let Some(region) = region_of(address) else {
        return;
    };
    let tag = region.tag(address);
    if tag == Tag::NONE || bytes == 0 {
        return;
    }
    add_read(tag, bytes);
    histograms::count_range(tag, address, bytes);
}

/// The program writes `bytes`, any number of them.
#[inline(always)]
pub(crate) fn store_range(address: usize, bytes: usize) {
    let Some(region) = region_of(address) else {
        return;
    };
    let tag = region.tag(address);
    if tag == Tag::NONE || bytes == 0 {
        return;
    }
    add_written(tag, bytes);
    if bytes > SHORT_BYTES || !is_written(region, address, bytes) {
        store_range_first(tag, address, bytes);
    }
    histograms::count_range(tag, address, bytes);
}

/// So many bits are in a word wherever they begin in its first byte.
pub(crate) const SHORT_BYTES: usize = 57;

/// The bits of up to [`SHORT_BYTES`] bytes, where the word from `address` has them.
#[inline(always)]
fn short_bits(address: usize, bytes: usize) -> u64 {
    ((1_u64 << bytes) - 1) << (address & 7)
}

#[inline(always)]
fn is_written(region: Region, address: usize, bytes: usize) -> bool {
    let bits = short_bits(address, bytes);
    region.written_long_word(address) & bits == bits
}

/// As [`mark_written`], of up to [`SHORT_BYTES`] bytes.
#[inline(always)]
fn mark_short(region: Region, address: usize, bytes: usize) -> u32 {
    match can_mark_words(address) {
        true => mark_words(region, address, bytes),
        false => mark_written(address, bytes),
    }
}

/// Whether no other thread sets bits, and the region does not end here.
#[inline(always)]
fn can_mark_words(address: usize) -> bool {
    !counters::are_many() && address & (REGION_BYTES - 1) <= REGION_BYTES - 128
}

/// As [`mark_written`], of up to [`SHORT_BYTES`] bytes where [`can_mark_words`]. Words are
/// read as they were written: the processor need not wait for one that it has just written.
#[inline(always)]
fn mark_words(region: Region, address: usize, bytes: usize) -> u32 {
    let (bits, place) = ((1_u64 << bytes) - 1, address & 63);
    let missing = mark_word(region.written_64(address), bits << place);
    if place + bytes <= 64 {
        return match missing == bits << place {
            true => bytes as u32,
            false => missing.count_ones(),
        };
    }
    let rest = mark_word(region.written_64(address + 64), bits >> (64 - place));
    missing.count_ones() + rest.count_ones()
}

/// Sets bits; returns those that were not.
#[inline(always)]
fn mark_word(word: &AtomicU64, bits: u64) -> u64 {
    let before = word.load(Relaxed);
    word.store(before | bits, Relaxed);
    bits & !before
}

#[inline(never)]
fn store_range_first(tag: Tag, address: usize, bytes: usize) {
    let first = match region_of(address) {
        Some(region) if bytes <= SHORT_BYTES => mark_short(region, address, bytes),
        _ => mark_written(address, bytes),
    };
    if first != 0 {
        add_first(tag, first);
    }
}

/// The tags of what is copied to and from.
#[inline(always)]
pub(crate) fn tags_of_copy(to: usize, from: usize) -> (Tag, Tag) {
    let tag = |address| match region_of(address) {
        Some(region) => region.tag(address),
        None => Tag::NONE,
    };
    (tag(to), tag(from))
}

/// The program copies `bytes`, which are as many as a value has: at most
/// [`SHORT_BYTES`]. False: nothing was counted, since it takes longer to find out.
#[inline(always)]
pub(crate) fn copy_value(to: usize, from: usize, bytes: usize) -> bool {
    let Some(table) = own_table() else {
        return false;
    };
    let (to_tag, from_tag) = tags_of_copy(to, from);
    if (to_tag.0 | from_tag.0) & Tag::HISTOGRAM != 0 {
        return false;
    }
    if to_tag != Tag::NONE
        && let Some(region) = region_of(to)
    {
        if !is_written(region, to, bytes) {
            if !can_mark_words(to) {
                return false;
            }
            table.add_first(to_tag, mark_words(region, to, bytes));
        }
        table.add_written(to_tag, bytes);
    }
    if from_tag != Tag::NONE {
        table.add_read(from_tag, bytes);
    }
    true
}

/// Marks bytes as written; returns how many of them were not.
pub(crate) fn mark_written(address: usize, bytes: usize) -> u32 {
    let mut first = 0;
    each_region(address, bytes, |address, bytes| {
        if let Some(region) = region_of(address) {
            first += mark_in_region(region, address, bytes);
        }
    });
    first
}

/// Sets bits; returns what was set before. Other threads, if there are any, may be
/// setting those beside these.
#[inline(always)]
fn add_bits(bits: &AtomicU8, wanted: u8) -> u8 {
    if counters::are_many() {
        return bits.fetch_or(wanted, Relaxed);
    }
    let before = bits.load(Relaxed);
    bits.store(before | wanted, Relaxed);
    before
}

/// As [`mark_written`], of bytes in one region.
fn mark_in_region(region: Region, address: usize, bytes: usize) -> u32 {
    let end = address + bytes;
    let mut at = address;
    let mut first = 0;
    while at < end {
        if at & 63 == 0 && end - at >= 64 {
            let bits = region.written_64(at);
            let before = bits.load(Relaxed);
            if before != !0 {
                bits.store(!0, Relaxed);
                first += before.count_zeros();
            }
            at += 64;
            continue;
        }
        let next = (at | 7) + 1;
        let part = next.min(end) - at;
        let wanted = (0xFF_u8 >> (8 - part)) << (at & 7);
        let bits = region.written_byte(at);
        let before = bits.load(Relaxed);
        if before & wanted != wanted {
            first += match wanted {
                0xFF => {
                    bits.store(0xFF, Relaxed);
                    before.count_zeros()
                }
                _ => (wanted & !add_bits(bits, wanted)).count_ones(),
            };
        }
        at += part;
    }
    first
}
