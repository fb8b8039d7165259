//! Handles to the steps of an allocation, one by one, for benches. Not for
//! users: nothing here is stable.

use crate::alloc::ENGINE;
use crate::capture::registers::Registers;
use crate::capture::rules::Rules;
use crate::capture::stack_bounds::StackBounds;
use crate::capture::stack_memory::OwnStack;
use crate::capture::walk::{Stack, Walker};
use crate::capture::walk_trial;
use crate::clock;
use crate::record::block_map::BlockMap;
use crate::record::book::Book;
use crate::record::peak::{Mode, Peak};
use crate::record::site_counters::Change;
use crate::record::sites::{OVERFLOW, SiteId, Sites};
use crate::untracked;
use std::fmt;
use std::ptr::NonNull;

/// Walks as the bytes say, for fuzzing.
///
/// # Panics
/// If a walk with the memo finds something else than one without.
pub fn try_walks(bytes: &[u8]) {
    walk_trial::try_walks(bytes);
}

/// Reads the clock.
#[inline(always)]
pub fn clock_ticks() -> u64 {
    clock::ticks()
}

/// The unwind rule of a return address, from the cache that walks use.
#[inline(always)]
pub fn cached_rule(return_address: u64) -> impl Copy {
    ENGINE.rule(return_address)
}

/// As [`cached_rule`] where the cache does not have it.
#[inline(always)]
pub fn derived_rule(return_address: u64) -> impl Copy {
    ENGINE.derived_rule(return_address)
}

/// What the allocator does after an allocation while recording.
#[inline(always)]
pub fn on_alloc(address: usize, bytes: usize) {
    ENGINE.on_alloc(address, bytes);
}

/// What the allocator does before a free while recording.
#[inline(always)]
pub fn on_free(address: usize, bytes: usize) {
    ENGINE.on_free(address, bytes);
}

/// The parts of one thread, with tables of its own.
pub struct Parts {
    walker: NonNull<Walker>,
    book: NonNull<Book>,
    sites: Box<Sites>,
    blocks: Box<BlockMap>,
    peak: Peak,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

impl Parts {
    /// Parts for this thread, that keep `frame_limit` frames.
    ///
    /// # Panics
    /// If the system gives no memory.
    #[allow(clippy::new_without_default, reason = "a constructor of a handle")]
    pub fn new(frame_limit: usize) -> Self {
        ENGINE.prepare_to_derive();
        // SAFETY: zeroed memory is a valid walker and a valid book.
        let (walker, book) = unsafe {
            (
                untracked::map_zeroed::<Walker>(),
                untracked::map_zeroed::<Book>(),
            )
        };
        let mut parts = Self {
            walker: walker.expect("memory"),
            book: book.expect("memory"),
            sites: Box::new(Sites::new()),
            blocks: Box::new(BlockMap::new()),
            peak: Peak::new(),
        };
        parts.peak.set_threads(1);
        parts.sites.overflow().expect("memory");
        // SAFETY: just mapped, and used by `parts` alone.
        unsafe {
            let walker = parts.walker.as_mut();
            walker.reset(
                StackBounds::of_this_thread(Registers::here().sp),
                frame_limit,
            );
            let book = parts.book.as_mut();
            book.set_mode(Mode::Single, false, &parts.peak, 0);
        }
        parts
    }

    /// Walks from here with the memo, that is: with the last stack at hand.
    #[inline(never)]
    pub fn walk(&mut self) -> Walked<'_> {
        let start = Registers::here();
        // SAFETY: used by `self` alone.
        let walker = unsafe { self.walker.as_mut() };
        // SAFETY: `start` is of this function.
        let memory = unsafe { OwnStack::above(start.sp, walker.bounds()) };
        Walked {
            stack: walker.capture(start, &memory, &ENGINE, |_| 0),
            // SAFETY: used by `self` alone.
            book: unsafe { self.book.as_mut() },
            sites: &self.sites,
        }
    }

    /// Walks from here by rules alone.
    #[inline(never)]
    pub fn walk_without_memo(&mut self) -> Walked<'_> {
        let start = Registers::here();
        // SAFETY: used by `self` alone.
        let walker = unsafe { self.walker.as_mut() };
        // SAFETY: `start` is of this function.
        let memory = unsafe { OwnStack::above(start.sp, walker.bounds()) };
        Walked {
            stack: walker.capture_foreign(start, &memory, &ENGINE, |_| 0),
            // SAFETY: used by `self` alone.
            book: unsafe { self.book.as_mut() },
            sites: &self.sites,
        }
    }

    /// Puts the block at `address` into the block map and takes it out.
    #[inline(always)]
    pub fn insert_and_remove_block(&mut self, address: usize) -> bool {
        let inserted = self.blocks.insert(address, OVERFLOW).is_ok();
        inserted & self.blocks.remove(address).is_some()
    }

    /// The return addresses from here, innermost first, as the walk, the
    /// walk without its memo, and the platform's unwinder find them.
    #[inline(always)]
    pub fn compare_captures(&mut self) -> [Vec<u64>; 3] {
        // SAFETY: used by `self` alone.
        ENGINE.compare_captures(unsafe { self.walker.as_mut() })
    }

    /// Counts an allocation of `bytes` and its free.
    #[inline(always)]
    pub fn count_pair(&mut self, bytes: usize, now: u64) -> bool {
        // SAFETY: used by `self` alone.
        let book = unsafe { self.book.as_mut() };
        let mut count = |change| {
            book.count(OVERFLOW, &change, now, &self.sites, &self.peak)
                .is_ok()
        };
        count(Change::alloc(bytes, now)) & count(Change::free(bytes, now))
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, with these sizes. The book's chunks of
        // counters stay mapped, as those of a thread do.
        unsafe {
            untracked::unmap(self.walker.cast(), size_of::<Walker>());
            untracked::unmap(self.book.cast(), size_of::<Book>());
        }
    }
}

/// A stack that was just walked, and what it may be looked up in.
#[derive(Debug)]
pub struct Walked<'a> {
    stack: Stack<'a>,
    book: &'a mut Book,
    sites: &'a Sites,
}

impl Walked<'_> {
    pub fn depth(&self) -> usize {
        self.stack.frames.len()
    }

    pub fn key(&self) -> u64 {
        self.stack.key
    }

    /// The stack's site, as a thread looks it up: from its cache unless it has
    /// not met the stack yet.
    #[inline(always)]
    pub fn site(&mut self) -> u32 {
        let site = self.book.site_of(&mut self.stack, self.sites);
        site.map_or(0, SiteId::get)
    }

    /// The stack's site from the table that all threads share.
    #[inline(always)]
    pub fn shared_site(&mut self) -> u32 {
        self.sites.intern(&mut self.stack).map_or(0, SiteId::get)
    }

    /// Makes a site of a stack with the same frames but another key, which the
    /// table does not know.
    #[inline(always)]
    pub fn new_site(&mut self) -> u32 {
        self.stack.key = self.stack.key.wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.shared_site()
    }
}
