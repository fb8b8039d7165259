//! The shadow: which site has the block that a byte lies in, and which bytes of
//! it were written.
//!
//! The address space is divided into regions of 4 GiB. A region that holds a block
//! has two maps: a [`Tag`] for every 16 bytes, and a bit for every byte, which is
//! set when the byte is first written. Their pages exist where blocks are.

use crate::system;
use core::arch::asm;
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU16, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

pub(crate) const GRANULE_BYTES: usize = 16;

const REGION_BITS: u32 = 32;
pub(crate) const REGION_BYTES: usize = 1 << REGION_BITS;
/// Regions of user space with 4-level page tables.
pub(crate) const REGIONS: usize = 1 << (47 - REGION_BITS);

const TAGS_BYTES: usize = REGION_BYTES / GRANULE_BYTES * 4;
const WRITTEN_BYTES: usize = REGION_BYTES / 8;
/// Blocks were once in this MiB: a byte for each.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;
const USED_BYTES: usize = REGION_BYTES / CHUNK_BYTES;
/// A look at the bits of the last bytes reads beyond them.
const SLACK_BYTES: usize = 64;
const MAPPING_BYTES: usize = TAGS_BYTES + WRITTEN_BYTES + SLACK_BYTES + USED_BYTES;

/// What a granule belongs to; 0 is nothing.
///
/// | bits | |
/// |---|---|
/// | 0, 1 | what the block was filled with: [`Tag::KIND`] |
/// | 2 | its bytes are counted one by one |
/// | 3 | the block begins in this granule, but not at its first byte |
/// | 4..26 | the site's number: as it stands, the offset of its counters |
/// | 26.. | with bit 2: the number of the granule in the block |
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) u32);

impl Tag {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const KIND: u32 = 0b11;
    pub(crate) const HISTOGRAM: u32 = 1 << 2;
    pub(crate) const BEGINS_LATE: u32 = 1 << 3;
    pub(crate) const SITE_SHIFT: u32 = 4;
    pub(crate) const SITE: u32 = (crate::counters::MAX_SITES as u32 - 1) << Self::SITE_SHIFT;
    pub(crate) const GRANULE_SHIFT: u32 = 26;

    #[inline(always)]
    pub(crate) fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    #[inline(always)]
    pub(crate) fn site(self) -> usize {
        ((self.0 & Self::SITE) >> Self::SITE_SHIFT) as usize
    }

    #[inline(always)]
    pub(crate) fn kind(self) -> u32 {
        self.0 & Self::KIND
    }
}

/// The regions that a callback finds.
static ROOT: [AtomicPtr<u8>; REGIONS] = [const { AtomicPtr::new(null_mut()) }; REGIONS];
/// All that there are, so that those that are hidden are not lost.
static MAPPED: [AtomicPtr<u8>; REGIONS] = [const { AtomicPtr::new(null_mut()) }; REGIONS];

/// A region's maps.
#[derive(Clone, Copy)]
pub(crate) struct Region(*mut u8);

/// The region of an address that has one: where a block may be.
#[inline(always)]
pub(crate) fn region_of(address: usize) -> Option<Region> {
    // An address outside of user space is taken for one inside: the access that
    // follows faults.
    let region = ROOT[(address >> REGION_BITS) & (REGIONS - 1)].load(Relaxed);
    if region.is_null() {
        return None;
    }
    Some(Region(region))
}

/// Whether one of two addresses has a region.
#[inline(always)]
pub(crate) fn has_region(a: usize, b: usize) -> bool {
    let [a, b] = [a, b].map(|at| ROOT[(at >> REGION_BITS) & (REGIONS - 1)].load(Relaxed) as usize);
    a | b != 0
}

/// Maps the region of an address. None: the system gives no memory.
#[inline(always)]
pub(crate) fn make_region(address: usize) -> Option<Region> {
    region_of(address).or_else(|| make_region_slowly(address))
}

#[cold]
fn make_region_slowly(address: usize) -> Option<Region> {
    let number = (address >> REGION_BITS) & (REGIONS - 1);
    let slot = &MAPPED[number];
    let mut region = slot.load(Acquire);
    if region.is_null() {
        let fresh = system::map(MAPPING_BYTES);
        if fresh.is_null() {
            return None;
        }
        region = match slot.compare_exchange(null_mut(), fresh, AcqRel, Acquire) {
            Ok(_) => fresh,
            Err(theirs) => {
                // SAFETY: just mapped, and never published.
                unsafe { system::unmap(fresh, MAPPING_BYTES) };
                theirs
            }
        };
    }
    ROOT[number].store(region, Release);
    Some(Region(region))
}

/// Every region, with the address that it begins at.
pub(crate) fn regions() -> impl Iterator<Item = (usize, Region)> {
    (0..REGIONS).filter_map(|number| {
        let region = MAPPED.get(number)?.load(Acquire);
        (!region.is_null()).then_some((number << REGION_BITS, Region(region)))
    })
}

/// Hides all regions until a block is put into them: no access is counted, and each
/// callback returns after its first look.
pub(crate) fn hide_regions() {
    for (root, mapped) in ROOT.iter().zip(&MAPPED) {
        if !mapped.load(Acquire).is_null() {
            root.store(null_mut(), Relaxed);
        }
    }
}

impl Region {
    #[inline(always)]
    pub(crate) fn tag_at(self, address: usize) -> &'static AtomicU32 {
        let granule = (address & (REGION_BYTES - 1)) / GRANULE_BYTES;
        // SAFETY: in the map of tags; regions are never unmapped.
        unsafe { &*self.0.add(granule * 4).cast::<AtomicU32>() }
    }

    #[inline(always)]
    pub(crate) fn tag(self, address: usize) -> Tag {
        Tag(self.tag_at(address).load(Relaxed))
    }

    #[inline(always)]
    fn written(self, address: usize) -> *mut u8 {
        let byte = (address & (REGION_BYTES - 1)) / 8;
        // SAFETY: in the map of bits.
        unsafe { self.0.add(TAGS_BYTES + byte) }
    }

    /// The bits of the bytes from a multiple of 8 below `address` on; at least 24
    /// of them are of the region, unless it ends there.
    #[inline(always)]
    pub(crate) fn written_word(self, address: usize) -> u32 {
        // SAFETY: behind the last bit there is slack.
        unsafe { load_unaligned(self.written(address)) }
    }

    /// As [`Self::written_word`]: at least 57 bits.
    #[inline(always)]
    pub(crate) fn written_long_word(self, address: usize) -> u64 {
        let value: u64;
        // SAFETY: behind the last bit there is slack. A load that others may be
        // writing to meanwhile.
        unsafe {
            asm!(
                "mov {value}, qword ptr [{from}]",
                from = in(reg) self.written(address),
                value = out(reg) value,
                options(nostack, readonly, preserves_flags),
            );
        }
        value
    }

    /// The bits of the 64 bytes from `address` on, a multiple of 8.
    ///
    /// # Safety
    /// The bytes are the caller's, and in this region.
    #[inline(always)]
    pub(crate) unsafe fn write_long_word(self, address: usize, bits: u64) {
        // SAFETY: in the map of bits; of nobody else's bytes.
        unsafe { self.written(address).cast::<u64>().write_unaligned(bits) };
    }

    /// The bits of the 8 bytes that `address` is among.
    #[inline(always)]
    pub(crate) fn written_byte(self, address: usize) -> &'static AtomicU8 {
        // SAFETY: in the map of bits; regions are never unmapped.
        unsafe { &*self.written(address).cast::<AtomicU8>() }
    }

    /// The bits of the granule that `address` is in.
    #[inline(always)]
    pub(crate) fn written_granule(self, address: usize) -> &'static AtomicU16 {
        // SAFETY: as above; a granule's bits are 2 bytes at a multiple of 2.
        unsafe {
            &*self
                .written(address & !(GRANULE_BYTES - 1))
                .cast::<AtomicU16>()
        }
    }

    /// The bits of the 64 bytes that `address` is among.
    #[inline(always)]
    pub(crate) fn written_64(self, address: usize) -> &'static AtomicU64 {
        // SAFETY: as above; they are 8 bytes at a multiple of 8.
        unsafe { &*self.written(address & !63).cast::<AtomicU64>() }
    }

    /// Sets bits in a word of [`Self::written_64`], in one instruction: where the thread is
    /// interrupted, or stopped, no other one's bits get lost.
    #[inline(always)]
    pub(crate) fn set_in_64(self, address: usize, bits: u64) {
        // SAFETY: 8 bytes of the map of bits.
        unsafe {
            asm!(
                "or qword ptr [{at}], {bits}",
                at = in(reg) self.written_64(address).as_ptr(),
                bits = in(reg) bits,
                options(nostack),
            );
        }
    }

    /// As [`Self::set_in_64`]: leaves only these of them.
    #[inline(always)]
    pub(crate) fn keep_in_64(self, address: usize, bits: u64) {
        // SAFETY: 8 bytes of the map of bits.
        unsafe {
            asm!(
                "and qword ptr [{at}], {bits}",
                at = in(reg) self.written_64(address).as_ptr(),
                bits = in(reg) bits,
                options(nostack),
            );
        }
    }

    /// The tags of the four granules that `address` is among, as one number.
    #[inline(always)]
    pub(crate) fn has_tags_in_64(self, address: usize) -> bool {
        let tags = self.tag_at(address & !63).as_ptr().cast::<AtomicU64>();
        // SAFETY: 16 bytes of the map of tags, at a multiple of 16.
        unsafe { (*tags).load(Relaxed) | (*tags.add(1)).load(Relaxed) != 0 }
    }

    /// Whether there were ever blocks in the chunk that begins at `address`.
    #[inline(always)]
    pub(crate) fn used(self, address: usize) -> &'static AtomicU8 {
        let chunk = (address & (REGION_BYTES - 1)) / CHUNK_BYTES;
        // SAFETY: in the map of used chunks.
        unsafe {
            &*self
                .0
                .add(TAGS_BYTES + WRITTEN_BYTES + SLACK_BYTES + chunk)
                .cast::<AtomicU8>()
        }
    }

    /// The place of the tags, and of the bits, of `bytes` from `address` on; all of
    /// them in this region.
    pub(crate) fn maps_of(self, address: usize, bytes: usize) -> [(*mut u8, usize); 2] {
        [
            (self.tag_at(address).as_ptr().cast(), bytes / 4),
            (self.written(address), bytes / 8),
        ]
    }

    /// Forgets all blocks.
    pub(crate) fn clear(self) {
        // SAFETY: whole pages of ours.
        unsafe { system::zero_pages(self.0, MAPPING_BYTES) };
    }
}

/// A load of memory that others may be writing, at any alignment.
///
/// # Safety
/// The memory is readable.
#[inline(always)]
unsafe fn load_unaligned(from: *const u8) -> u32 {
    let value: u32;
    // SAFETY: one load of readable memory.
    unsafe {
        asm!(
            "mov {value:e}, dword ptr [{from}]",
            from = in(reg) from,
            value = out(reg) value,
            options(nostack, readonly, preserves_flags),
        );
    }
    value
}

/// The parts of `bytes` from `address` on that lie in one region each.
#[inline(always)]
pub(crate) fn each_region(address: usize, bytes: usize, mut visit: impl FnMut(usize, usize)) {
    let end = address.wrapping_add(bytes);
    let mut at = address;
    while at != end {
        let to_border = REGION_BYTES - (at & (REGION_BYTES - 1));
        let part = to_border.min(end.wrapping_sub(at));
        visit(at, part);
        at = at.wrapping_add(part);
    }
}
