//! Large blocks that are measured: mappings of our own, in one reserved range of
//! addresses, so that a comparison tells whose a block is.
//!
//! A block that need not be zero is mapped privately from the file of the
//! pattern, again and again: pages that the program never writes to stay the
//! file's. A zeroed one is an anonymous mapping, as lazy as any. Either is given
//! back as reserved addresses, so that nobody else's memory ever lies in the
//! range. Each block begins at a slot, which aligns it to 2 MiB, and may grow into
//! free slots behind it.
//!
//! Only called while the thread's gate is marked busy: the lock in here is then
//! never one that a signal handler's own thread holds.

use crate::lock::SpinLock;
use crate::record::chunks::{Chunks, Zeroable};
use crate::touch::pages;
use crate::touch::pattern::{self, Changed};
use crate::touch::pattern_file::{FILE_BYTES, PatternFile};
use crate::touch::slots::Slots;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering::Relaxed};

/// Blocks from this size on are mapped or not measured.
pub(crate) const LARGE_BYTES: usize = 256 << 10;

const SLOT_BYTES: usize = FILE_BYTES;
const WORDS: usize = 1 << 11;
const SLOTS: usize = WORDS * 64;
const ARENA_BYTES: usize = SLOTS * SLOT_BYTES;

/// The kernel's limit on mappings is 65,530 by default, for the whole process.
const PATTERN_SLOTS_MAX: usize = 1 << 14;

/// Free slots left behind a block, as a multiple of its own, for it to grow into.
const ROOM: usize = 7;

/// No user-space address is this high: nothing lies in an arena that begins here.
const NOWHERE: usize = 1 << (usize::BITS - 1);

/// Of a block that begins at a slot; zeroed memory is a slot where none does.
#[derive(Debug)]
struct Header {
    bytes: AtomicUsize,
    weight: AtomicU8,
    zeroed: AtomicU8,
}

// SAFETY: atomics, for which zero is valid.
unsafe impl Zeroable for Header {}

#[derive(Debug)]
pub(crate) struct Arena {
    base: AtomicUsize,
    headers: Chunks<Header, { SLOTS / 1024 }, 1024>,
    state: SpinLock<State>,
}

#[derive(Debug)]
struct State {
    slots: Slots<WORDS>,
    file: PatternFile,
    /// Slots mapped from the file.
    pattern_slots: usize,
    /// The system gave no addresses: never asked again.
    refused: bool,
}

/// What a block is mapped for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    pub(crate) zeroed: bool,
    /// Of the sample that it is in.
    pub(crate) weight: u8,
}

/// Is told what lies at an address.
pub(crate) type See<'a> = &'a mut dyn FnMut(usize, &[u8]);

/// What was found in a part of a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) changed: Changed,
    /// In words of 8 bytes of which some byte is not zero; of zeroed blocks.
    pub(crate) word_bytes: usize,
    /// In pages that were written to.
    pub(crate) page_bytes: usize,
}

impl Arena {
    pub(crate) const fn new() -> Self {
        Self {
            base: AtomicUsize::new(NOWHERE),
            headers: Chunks::new(),
            state: SpinLock::new(State {
                slots: Slots::new(),
                file: PatternFile::new(),
                pattern_slots: 0,
                refused: false,
            }),
        }
    }

    /// Whether a block is in here. Any thread that has the block's address knows
    /// of the arena, too: relaxed is enough.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn contains(&self, address: usize) -> bool {
        address.wrapping_sub(self.base.load(Relaxed)) < ARENA_BYTES
    }

    /// Maps a block. None when there is no room, or the system gives none.
    pub(crate) fn map(&self, bytes: usize, align: usize, purpose: Purpose) -> Option<NonNull<u8>> {
        if align > SLOT_BYTES || bytes > ARENA_BYTES / 16 {
            return None;
        }
        let count = bytes.div_ceil(SLOT_BYTES).max(1);
        let mut state = self.state.lock();
        let base = self.reserved(&mut state)?;
        let first = state.slots.take(count, count * ROOM)?;
        let address = base + first * SLOT_BYTES;
        let header = self.headers.get_or_map(first);
        let is_mapped = header.is_some() && self.map_slots(&mut state, address, 0..count, purpose);
        let (Some(header), true) = (header, is_mapped) else {
            state.slots.give_back(first..first + count);
            return None;
        };
        header.bytes.store(bytes, Relaxed);
        header.weight.store(purpose.weight, Relaxed);
        header.zeroed.store(u8::from(purpose.zeroed), Relaxed);
        NonNull::new(std::ptr::with_exposed_provenance_mut(address))
    }

    pub(crate) fn purpose(&self, address: usize) -> Purpose {
        let header = self.header(address);
        Purpose {
            zeroed: header.is_some_and(|header| header.zeroed.load(Relaxed) != 0),
            weight: header.map_or(0, |header| header.weight.load(Relaxed)),
        }
    }

    /// Its weight from now on.
    pub(crate) fn set_weight(&self, address: usize, weight: u8) {
        if let Some(header) = self.header(address) {
            header.weight.store(weight, Relaxed);
        }
    }

    pub(crate) fn bytes(&self, address: usize) -> usize {
        self.header(address)
            .map_or(0, |header| header.bytes.load(Relaxed))
    }

    /// Gives a block's memory back.
    ///
    /// # Safety
    /// `address` is that of a block from [`Self::map`], which nobody uses any more.
    pub(crate) unsafe fn unmap(&self, address: usize) {
        let Some(header) = self.header(address) else {
            return;
        };
        let count = header.bytes.swap(0, Relaxed).div_ceil(SLOT_BYTES).max(1);
        let zeroed = header.zeroed.load(Relaxed) != 0;
        let mut state = self.state.lock();
        // SAFETY: the caller's promise: the slots are this block's.
        let is_reserved = unsafe { reserve_again(address, count * SLOT_BYTES) };
        if is_reserved {
            let first = self.slot(address);
            state.slots.give_back(first..first + count);
            if !zeroed {
                state.pattern_slots -= count;
            }
        } else {
            // At the kernel's limit on mappings: the addresses are lost, the
            // memory need not be.
            // SAFETY: as above.
            unsafe { drop_pages(address, count * SLOT_BYTES) };
        }
    }

    /// Makes a block of another size where it is: new bytes at its end are as in
    /// a fresh block, and those cut off are forgotten. False: there is no room.
    ///
    /// # Safety
    /// As [`Self::unmap`]'s for what is cut off; and no other thread uses the block.
    pub(crate) unsafe fn resize(&self, address: usize, bytes: usize) -> bool {
        let Some(header) = self.header(address) else {
            return false;
        };
        let old_bytes = header.bytes.load(Relaxed);
        let purpose = self.purpose(address);
        if bytes < old_bytes {
            // SAFETY: what is cut off is nobody's any more.
            unsafe { self.forget(address + bytes..address + old_bytes, bytes, purpose) };
        }
        let count = |bytes: usize| bytes.div_ceil(SLOT_BYTES).max(1);
        let (old, new) = (count(old_bytes), count(bytes));
        if new != old {
            let mut state = self.state.lock();
            let first = self.slot(address);
            if new < old {
                let cut = address + new * SLOT_BYTES;
                // SAFETY: these slots lie behind the block now.
                if unsafe { reserve_again(cut, (old - new) * SLOT_BYTES) } {
                    state.slots.give_back(first + new..first + old);
                    if !purpose.zeroed {
                        state.pattern_slots -= old - new;
                    }
                }
            } else {
                if !state.slots.take_these(first + old..first + new) {
                    return false;
                }
                if !self.map_slots(&mut state, address, old..new, purpose) {
                    state.slots.give_back(first + old..first + new);
                    return false;
                }
            }
        }
        header.bytes.store(bytes, Relaxed);
        true
    }

    /// Copies the first `bytes` of a block to another block of the arena that is
    /// fresh and of the same kind: only pages that were written to.
    ///
    /// # Safety
    /// Both are blocks of at least `bytes`, used by this thread alone.
    pub(crate) unsafe fn copy(&self, from: usize, to: usize, bytes: usize) {
        let copy = |part: Range<usize>| {
            // SAFETY: within both blocks, which do not overlap.
            unsafe {
                std::ptr::copy_nonoverlapping(
                    std::ptr::with_exposed_provenance::<u8>(part.start),
                    std::ptr::with_exposed_provenance_mut(part.start - from + to),
                    part.len(),
                );
            }
        };
        if pages::own_pages(from..from + bytes, copy).is_err() {
            copy(from..from + bytes);
        }
    }

    /// What was written to `part` of a block, found with `read`, which is given
    /// ranges of addresses and passes their contents on. The end is relative to
    /// the part.
    pub(crate) fn look(
        &self,
        address: usize,
        part: Range<usize>,
        mut read: impl FnMut(Range<usize>, See<'_>),
    ) -> Found {
        let zeroed = self.purpose(address).zeroed;
        let start = address + part.start;
        let range = start..address + part.end;
        let mut look_at = |found: &mut Found, run: Range<usize>| {
            found.page_bytes += run.len();
            read(run, &mut |at, bytes| {
                let changed = match zeroed {
                    true => pattern::nonzero(bytes),
                    false => pattern::changed(bytes, at - address),
                };
                found.changed.bytes += changed.bytes;
                if changed.end > 0 {
                    found.changed.end = at - start + changed.end;
                }
                if zeroed {
                    found.word_bytes += pattern::nonzero_word_bytes(bytes);
                }
            });
        };
        let mut found = Found::default();
        let told = pages::own_pages(range.clone(), |run| look_at(&mut found, run));
        if told.is_err() {
            found = Found::default();
            look_at(&mut found, range);
        }
        found
    }

    pub(crate) fn lock_for_fork(&self) {
        self.state.lock_for_fork();
    }

    /// # Safety
    /// This thread called [`Self::lock_for_fork`], here or in the parent.
    pub(crate) unsafe fn unlock_after_fork(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.state.unlock_after_fork() };
    }

    fn slot(&self, address: usize) -> usize {
        (address - self.base.load(Relaxed)) / SLOT_BYTES
    }

    fn header(&self, address: usize) -> Option<&Header> {
        self.headers.get(self.slot(address))
    }

    /// The reserved addresses; reserves them at the first call.
    fn reserved(&self, state: &mut State) -> Option<usize> {
        let base = self.base.load(Relaxed);
        if base != NOWHERE {
            return Some(base);
        }
        if state.refused {
            return None;
        }
        let Some(base) = reserve() else {
            state.refused = true;
            return None;
        };
        self.base.store(base, Relaxed);
        Some(base)
    }

    /// Maps some slots of a block; all or none.
    fn map_slots(
        &self,
        state: &mut State,
        address: usize,
        slots: Range<usize>,
        purpose: Purpose,
    ) -> bool {
        let start = address + slots.start * SLOT_BYTES;
        let bytes = slots.len() * SLOT_BYTES;
        if purpose.zeroed {
            // SAFETY: reserved slots that are nobody's but the block's.
            return unsafe { map_over(start, bytes, READ_WRITE, None) };
        }
        if state.pattern_slots + slots.len() > PATTERN_SLOTS_MAX {
            return false;
        }
        let Some(file) = state.file.get() else {
            return false;
        };
        for at in (start..start + bytes).step_by(SLOT_BYTES) {
            // SAFETY: as above.
            if !unsafe { map_over(at, SLOT_BYTES, READ_WRITE, Some(file)) } {
                // SAFETY: as above. It fails only where the addresses stay reserved
                // or mapped by us, and then their slots are mapped anew.
                unsafe { reserve_again(start, at - start) };
                return false;
            }
        }
        state.pattern_slots += slots.len();
        true
    }

    /// Makes a part of a block, which begins at `offset` in it, as in a fresh one.
    ///
    /// # Safety
    /// The part's contents are nobody's.
    unsafe fn forget(&self, part: Range<usize>, offset: usize, purpose: Purpose) {
        let page_bytes = pages::page_bytes();
        let whole = part.start.next_multiple_of(page_bytes).min(part.end);
        // SAFETY: the rest of one page of the block.
        let rest = unsafe {
            std::slice::from_raw_parts_mut(
                std::ptr::with_exposed_provenance_mut::<MaybeUninit<u8>>(part.start),
                whole - part.start,
            )
        };
        match purpose.zeroed {
            true => rest.fill(MaybeUninit::new(0)),
            false => pattern::fill(rest, offset),
        }
        let end = part.end.next_multiple_of(page_bytes);
        if whole < end {
            // SAFETY: whole pages behind the block's new end.
            unsafe { drop_pages(whole, end - whole) };
        }
    }
}

const READ_WRITE: libc::c_int = libc::PROT_READ | libc::PROT_WRITE;

/// Replaces the mapping of a range of the arena.
///
/// # Safety
/// The range is reserved, and in use by nobody.
unsafe fn map_over(
    address: usize,
    bytes: usize,
    protection: libc::c_int,
    file: Option<libc::c_int>,
) -> bool {
    let kind = match file {
        Some(_) => libc::MAP_PRIVATE | libc::MAP_NORESERVE,
        None => libc::MAP_PRIVATE | libc::MAP_NORESERVE | libc::MAP_ANONYMOUS,
    };
    // SAFETY: the caller's promise.
    let mapped = unsafe {
        libc::mmap(
            std::ptr::with_exposed_provenance_mut(address),
            bytes,
            protection,
            kind | libc::MAP_FIXED,
            file.unwrap_or(-1),
            0,
        )
    };
    mapped != libc::MAP_FAILED
}

/// Drops the pages of a range that were written to: they read as the file, or as
/// zeros, again.
///
/// # Safety
/// What is in the range is nobody's any more.
unsafe fn drop_pages(address: usize, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        libc::madvise(
            std::ptr::with_exposed_provenance_mut(address),
            bytes,
            libc::MADV_DONTNEED,
        )
    };
}

/// # Safety
/// As [`map_over`]'s.
unsafe fn reserve_again(address: usize, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    bytes == 0 || unsafe { map_over(address, bytes, libc::PROT_NONE, None) }
}

/// A range of addresses that nothing can be read from or written to, aligned to
/// a slot.
fn reserve() -> Option<usize> {
    if cfg!(not(target_os = "linux")) {
        return None;
    }
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping touches no existing memory.
    let mapped = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            ARENA_BYTES + SLOT_BYTES,
            libc::PROT_NONE,
            kind,
            -1,
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return None;
    }
    Some(mapped.expose_provenance().next_multiple_of(SLOT_BYTES))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    const PATTERN: Purpose = Purpose {
        zeroed: false,
        weight: 3,
    };
    const ZEROED: Purpose = Purpose {
        zeroed: true,
        weight: 0,
    };

    fn write(address: usize, at: usize, bytes: usize) {
        // SAFETY: in the block of the test.
        unsafe {
            std::ptr::with_exposed_provenance_mut::<u8>(address + at).write_bytes(7, bytes);
        }
    }

    fn look(arena: &Arena, address: usize, part: Range<usize>) -> (usize, usize, usize) {
        let found = arena.look(address, part, |run, see| {
            let start = std::ptr::with_exposed_provenance(run.start);
            // SAFETY: in the block of the test.
            see(run.start, unsafe {
                std::slice::from_raw_parts(start, run.len())
            });
        });
        (found.changed.bytes, found.changed.end, found.page_bytes)
    }

    fn map(arena: &Arena, bytes: usize, purpose: Purpose) -> usize {
        let address = arena
            .map(bytes, 64, purpose)
            .expect("mapped")
            .as_ptr()
            .expose_provenance();
        assert!(arena.contains(address) && arena.purpose(address) == purpose);
        assert_eq!(arena.bytes(address), bytes);
        address
    }

    #[test]
    fn what_was_written_is_found_and_nothing_else_is_resident() {
        let page = pages::page_bytes();
        let arena = Box::new(Arena::new());
        assert!(!arena.contains(0) && !arena.contains(usize::MAX / 4));
        for (bytes, purpose) in [
            (1_000_000, PATTERN),
            (7_000_001, PATTERN),
            (9_000_000, ZEROED),
        ] {
            let block = map(&arena, bytes, purpose);
            assert_eq!(look(&arena, block, 0..bytes), (0, 0, 0));
            write(block, 0, 100);
            assert_eq!(look(&arena, block, 0..bytes), (100, 100, page));
            write(block, bytes - 10, 10);
            let found = look(&arena, block, 0..bytes);
            let last_page = (bytes - 1) % page + 1;
            assert_eq!(found, (110, bytes, page + last_page), "{bytes}");
            assert_eq!(
                look(&arena, block, 50..bytes - 5),
                (55, bytes - 55, page - 50 + last_page - 5)
            );
            // SAFETY: not used any more.
            unsafe { arena.unmap(block) };
        }
        assert_eq!(arena.state.lock().pattern_slots, 0);
    }

    #[test]
    fn a_block_grows_into_free_slots_and_what_is_cut_off_is_fresh_again() {
        let arena = Box::new(Arena::new());
        for purpose in [PATTERN, ZEROED] {
            let block = map(&arena, 300_000, purpose);
            write(block, 299_990, 10);
            // SAFETY: this test's block.
            unsafe {
                assert!(arena.resize(block, 6_000_000));
                write(block, 5_000_000, 1_000_000);
                assert_eq!(look(&arena, block, 0..6_000_000).0, 1_000_010);
                assert!(arena.resize(block, 4_999_999));
                assert!(arena.resize(block, 6_000_000));
                assert_eq!(look(&arena, block, 0..6_000_000).0, 10);
                assert!(arena.resize(block, 299_995));
                assert!(arena.resize(block, 300_000));
            }
            assert_eq!(look(&arena, block, 0..300_000).0, 5);
            let first = arena.slot(block);
            assert!(
                !arena.state.lock().slots.take_these(first..first + 1),
                "in use"
            );
            // SAFETY: not used any more.
            unsafe { arena.unmap(block) };
        }
        assert!(
            arena.state.lock().slots.take_these(0..SLOTS),
            "all is given back"
        );
    }

    #[test]
    fn a_block_that_cannot_grow_is_copied() {
        let arena = Box::new(Arena::new());
        let (first, second) = (map(&arena, 1 << 21, PATTERN), 8 * SLOT_BYTES);
        let behind = first + second;
        let next = map(&arena, 1 << 21, PATTERN);
        assert_eq!(next, behind, "as much room as is left");
        write(first, 12_345, 5);
        // SAFETY: blocks of the test.
        unsafe {
            assert!(arena.resize(first, 16 << 20));
            assert!(!arena.resize(first, (16 << 20) + 1));
            arena.copy(first, next, 1 << 21);
        }
        assert_eq!(
            look(&arena, next, 0..1 << 21),
            (5, 12_350, pages::page_bytes())
        );
    }

    #[test]
    fn another_file_under_our_number_is_not_mapped() {
        let arena = Box::new(Arena::new());
        let block = map(&arena, 1 << 20, PATTERN);
        let file = arena.state.lock().file.get().unwrap();
        // SAFETY: puts another file in the place of ours.
        unsafe {
            let other = libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY);
            assert_eq!(libc::dup2(other, file), file);
        }
        let next = map(&arena, 1 << 20, PATTERN);
        assert_eq!(look(&arena, next, 0..1 << 20), (0, 0, 0));
        write(next, 0, 3);
        assert_eq!(look(&arena, next, 0..1 << 20).0, 3);
        assert_eq!(look(&arena, block, 0..1 << 20).0, 0);
    }

    #[test]
    fn what_cannot_be_mapped_is_refused() {
        let arena = Box::new(Arena::new());
        assert!(arena.map(1 << 20, SLOT_BYTES * 2, PATTERN).is_none());
        assert!(arena.map(usize::MAX / 2, 1, ZEROED).is_none());
        arena.state.lock().pattern_slots = PATTERN_SLOTS_MAX;
        assert!(arena.map(1 << 20, 1, PATTERN).is_none());
        assert!(arena.map(1 << 20, 1, ZEROED).is_some());
    }
}
