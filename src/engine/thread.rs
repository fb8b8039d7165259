//! What each thread owns: its gate, its walker, its book; and the registry of
//! them all. A thread's block is made at its first recorded operation, is given
//! back when the thread ends, and then serves the next new thread.

use crate::capture::walk::Walker;
use crate::engine::Engine;
use crate::engine::control::Control;
use crate::engine::timing::Sampler;
use crate::record::book::Book;
use crate::untracked;
use std::cell::Cell;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{
    AtomicPtr, AtomicU8, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Bits of a thread's gate; 0 is open.
pub(crate) mod gate {
    /// In the middle of recording: readers wait, and a nested operation (a
    /// signal handler that allocates) is refused.
    pub(crate) const BUSY: u8 = 1;
    /// The profiler's own work on this thread: allocations are not the program's.
    pub(crate) const IGNORING: u8 = 2;
    /// This thread has paused all others: it must not wait for the pause to end.
    pub(crate) const PAUSING: u8 = 4;
}

/// Zeroed memory is a thread that has never recorded.
#[derive(Debug)]
pub(crate) struct Thread {
    pub(crate) gate: AtomicU8,
    /// The control word that the book's mode was set for.
    pub(crate) acted_on: Cell<Control>,
    /// The innermost scope that this thread is in, or 0.
    pub(crate) scope: Cell<u32>,
    pub(crate) refused: Refused,
    /// Allocations seen while ignoring; how `Profiler` finds out whether the
    /// allocator is installed.
    pub(crate) ignored: Cell<u64>,
    /// Allocations for which there was no memory in the tables.
    pub(crate) dropped: Cell<u64>,
    pub(crate) truncated: Cell<u64>,
    /// Frees by C of blocks whose size is not known.
    pub(crate) unsized_frees: Cell<u64>,
    /// Whose block this is, for the end of the thread.
    pub(crate) engine: Cell<Option<&'static Engine>>,
    /// The engine's, when this thread last followed it.
    pub(crate) code_epoch: Cell<u32>,
    pub(crate) sampler: Sampler,
    pub(crate) walker: Walker,
    pub(crate) book: Book,
    /// The next in the list of all blocks; set once.
    next: AtomicPtr<Thread>,
    /// The next in the list of blocks whose thread has ended; under the
    /// registry's lock.
    next_free: Cell<*mut Thread>,
}

impl Thread {
    /// Opens the gate again. Release: a reader that sees it open sees what was
    /// recorded.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        self.gate
            .store(self.gate.load(Relaxed) & !gate::BUSY, Release);
    }
}

/// All threads' blocks, in use or not; none is ever unmapped.
#[derive(Debug)]
pub(crate) struct ThreadList {
    first: AtomicPtr<Thread>,
}

impl ThreadList {
    pub(crate) const fn new() -> Self {
        Self {
            first: AtomicPtr::new(null_mut()),
        }
    }

    /// Every block there is. Raw: its own thread may be using it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = NonNull<Thread>> + Clone + use<> {
        let mut at = self.first.load(Acquire);
        std::iter::from_fn(move || {
            let thread = NonNull::new(at)?;
            // SAFETY: blocks in the list stay mapped, and `next` is atomic.
            at = unsafe { &(*thread.as_ptr()).next }.load(Acquire);
            Some(thread)
        })
    }
}

/// The part of the registry that is under a lock.
#[derive(Debug)]
pub(crate) struct Registry {
    free: *mut Thread,
    /// Threads with a block.
    pub(crate) alive: u32,
}

// SAFETY: the blocks behind the pointer are used under the lock only.
unsafe impl Send for Registry {}

impl Registry {
    pub(crate) const fn new() -> Self {
        Self {
            free: null_mut(),
            alive: 0,
        }
    }

    /// A block for a new thread: one whose thread has ended, else a new one,
    /// put into `list`. None when the system gives no memory.
    pub(crate) fn claim(&mut self, list: &ThreadList) -> Option<NonNull<Thread>> {
        let thread = match NonNull::new(self.free) {
            Some(thread) => {
                // SAFETY: a block on the free list is nobody else's.
                self.free = unsafe { thread.as_ref() }.next_free.get();
                thread
            }
            None => {
                // SAFETY: zeroed memory is a valid `Thread`: integers, cells,
                // null pointers, no reference (`Option<&Engine>`), and enums
                // whose first variant is 0 (`Mode`, `Ended`).
                let thread = unsafe { untracked::map_zeroed::<Thread>() }?;
                // SAFETY: just mapped, nobody else's yet. One pusher at a
                // time: under the lock.
                unsafe { thread.as_ref() }
                    .next
                    .store(list.first.load(Relaxed), Relaxed);
                list.first.store(thread.as_ptr(), Release);
                thread
            }
        };
        self.alive += 1;
        Some(thread)
    }

    /// Takes back the block of a thread that ends.
    pub(crate) fn give_back(&mut self, thread: NonNull<Thread>) {
        // SAFETY: its thread has let go of it.
        unsafe { thread.as_ref() }.next_free.set(self.free);
        self.free = thread.as_ptr();
        self.alive -= 1;
    }
}

/// What a refused operation would have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Alloc,
    Free,
}

/// Operations of signal handlers that interrupted recording on the same thread.
#[derive(Debug)]
pub(crate) struct Refused {
    allocs: AtomicU64,
    frees: AtomicU64,
}

impl Refused {
    pub(crate) const fn new() -> Self {
        Self {
            allocs: AtomicU64::new(0),
            frees: AtomicU64::new(0),
        }
    }

    #[cold]
    pub(crate) fn count(&self, operation: Operation) {
        let count = match operation {
            Operation::Alloc => &self.allocs,
            Operation::Free => &self.frees,
        };
        count.fetch_add(1, Relaxed);
    }

    pub(crate) fn get(&self) -> (u64, u64) {
        (self.allocs.load(Relaxed), self.frees.load(Relaxed))
    }

    pub(crate) fn reset(&self) {
        self.allocs.store(0, Relaxed);
        self.frees.store(0, Relaxed);
    }
}

thread_local! {
    /// This thread's block, null, [`IN_TRANSIT`] or [`OURS`]. Const and without a
    /// destructor, so that it can be read at any time of a thread's life
    /// without allocating.
    static CURRENT: Cell<*mut Thread> = const { Cell::new(null_mut()) };
}

/// Addresses that no block has.
const IN_TRANSIT: *mut Thread = std::ptr::without_provenance_mut(1);
const OURS: *mut Thread = std::ptr::without_provenance_mut(2);

/// Whether this thread has a block.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Current {
    None,
    /// It is getting one, or giving it back.
    InTransit,
    /// It never has one: a thread of the profiler's, of which nothing is recorded, frees no more than
    /// allocations, and which is none of those that peaks are divided among.
    Ours,
    Block(NonNull<Thread>),
}

impl Current {
    /// The block's address, or null.
    pub(crate) fn as_ptr(self) -> *mut Thread {
        match self {
            Self::Block(thread) => thread.as_ptr(),
            Self::None | Self::InTransit | Self::Ours => null_mut(),
        }
    }
}

/// This thread's block, if it has one and is not giving it back.
#[inline(always)]
pub(crate) fn current_block() -> Option<NonNull<Thread>> {
    let current = CURRENT.get();
    if current.addr() <= OURS.addr() {
        return None;
    }
    NonNull::new(current)
}

#[inline(always)]
pub(crate) fn current() -> Current {
    let current = CURRENT.get();
    match NonNull::new(current) {
        Some(_) if current == IN_TRANSIT => Current::InTransit,
        Some(_) if current == OURS => Current::Ours,
        Some(thread) => Current::Block(thread),
        None => Current::None,
    }
}

pub(crate) fn set_current(current: Current) {
    CURRENT.set(match current {
        Current::None => null_mut(),
        Current::InTransit => IN_TRANSIT,
        Current::Ours => OURS,
        Current::Block(thread) => thread.as_ptr(),
    });
}
