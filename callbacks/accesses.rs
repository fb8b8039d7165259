//! One access: whose bytes they are, how many, and which were never written before.

use crate::counters::{self, Table, add_first, add_read, add_written, own_table};
use crate::histograms;
use crate::shadow::{REGION_BYTES, Region, Tag, each_region, region_of};
use core::sync::atomic::Ordering::Relaxed;

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
    let here = bits << place;
    let before = region.written_64(address).load(Relaxed) & here;
    region.set_in_64(address, here);
    if place + bytes <= 64 {
        return match before {
            0 => bytes as u32,
            _ => (here ^ before).count_ones(),
        };
    }
    let there = bits >> (64 - place);
    let before_there = region.written_64(address + 64).load(Relaxed) & there;
    region.set_in_64(address + 64, there);
    match before | before_there {
        0 => bytes as u32,
        _ => (here ^ before).count_ones() + (there ^ before_there).count_ones(),
    }
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

/// What became of a copy of a value.
pub(crate) enum ValueCopy {
    Counted,
    /// Nothing was counted: some of the bytes may be written for the first time, and
    /// some not, or their bits are in two words.
    Mixed,
    /// Nothing was counted: it takes longer to find out.
    Unusual,
}

/// The program copies `bytes` between what has these tags; as many as a value has: at
/// most [`SHORT_BYTES`].
#[inline(always)]
pub(crate) fn copy_value(to: usize, bytes: usize, (to_tag, from_tag): (Tag, Tag)) -> ValueCopy {
    let Some(table) = own_table() else {
        return ValueCopy::Unusual;
    };
    if (to_tag.0 | from_tag.0) & Tag::HISTOGRAM != 0 {
        return ValueCopy::Unusual;
    }
    if to_tag != Tag::NONE {
        let Some(region) = region_of(to) else {
            return ValueCopy::Unusual;
        };
        if (to & 63) + bytes > 64 {
            return ValueCopy::Mixed;
        }
        let bits = bits_from_to(to, to + bytes);
        let before = region.written_64(to).load(Relaxed) & bits;
        if before != bits {
            if before != 0 || counters::are_many() {
                return ValueCopy::Mixed;
            }
            region.set_in_64(to, bits);
            table.add_first(to_tag, bytes as u32);
        }
        table.add_written(to_tag, bytes);
    }
    if from_tag != Tag::NONE {
        table.add_read(from_tag, bytes);
    }
    ValueCopy::Counted
}

/// As [`copy_value`], where it returned [`ValueCopy::Mixed`].
#[inline(always)]
pub(crate) fn copy_value_mixed(
    to: usize,
    bytes: usize,
    (to_tag, from_tag): (Tag, Tag),
) -> ValueCopy {
    let (Some(table), Some(region)) = (own_table(), region_of(to)) else {
        return ValueCopy::Unusual;
    };
    match can_mark_words(to) {
        true => table.add_first(to_tag, mark_words(region, to, bytes)),
        false if is_written(region, to, bytes) => {}
        false => return ValueCopy::Unusual,
    }
    table.add_written(to_tag, bytes);
    if from_tag != Tag::NONE {
        table.add_read(from_tag, bytes);
    }
    ValueCopy::Counted
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

/// As [`mark_written`], of bytes in one region.
fn mark_in_region(region: Region, address: usize, bytes: usize) -> u32 {
    let end = address + bytes;
    let mut at = address;
    let mut first = 0;
    while at < end {
        let next = (at | 63) + 1;
        let wanted = bits_from_to(at, next.min(end));
        let word = region.written_64(at);
        let missing = wanted & !word.load(Relaxed);
        if missing != 0 {
            first += match wanted {
                // All of these bytes are this write's.
                u64::MAX => {
                    word.store(wanted, Relaxed);
                    missing
                }
                _ if counters::are_many() => wanted & !word.fetch_or(wanted, Relaxed),
                _ => {
                    region.set_in_64(at, wanted);
                    missing
                }
            }
            .count_ones();
        }
        at = next;
    }
    first
}

/// The bits of bytes from `at` to before `end`, where one word of 64 has them all.
#[inline(always)]
pub(crate) fn bits_from_to(at: usize, end: usize) -> u64 {
    (u64::MAX >> (64 - (end - at))) << (at & 63)
}
