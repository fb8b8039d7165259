//! The door: what the program's allocations come through.

use crate::engine::Engine;
use crate::engine::control::HeapRecording;
use crate::exact::{self, Content};
use std::alloc::{GlobalAlloc, Layout, System};

/// The one static of the crate: everything that is recorded.
pub(crate) static ENGINE: Engine = Engine::new();

/// A global allocator that records what passes through it, while a
/// [`Profiler`](crate::Profiler) is running, and serves it from another
/// allocator: the system's, or any that is given to [`Alloc::new`].
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
/// # fn main() {}
/// ```
/// Around another allocator (here one of one's own; mimalloc's and jemalloc's
/// are used in the same way):
/// ```
/// # use std::alloc::{GlobalAlloc, Layout, System};
/// struct Mine;
/// // SAFETY: as `System`, which it passes everything to.
/// unsafe impl GlobalAlloc for Mine {
///     unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
///         unsafe { System.alloc(layout) }
///     }
///     unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
///         unsafe { System.dealloc(block, layout) }
///     }
/// }
///
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc<Mine> = heapledger::Alloc::new(Mine);
/// # fn main() {}
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Alloc<A = System> {
    inner: A,
}

/// The [`Alloc`](struct@Alloc) around the system's allocator, as a value: so that
/// `static ALLOC: heapledger::Alloc = heapledger::Alloc;` reads as it does with
/// other allocators.
#[allow(
    non_upper_case_globals,
    reason = "has the name of the type whose usual value it is"
)]
pub const Alloc: Alloc = Alloc::new(System);

impl<A> Alloc<A> {
    /// Records what passes through it and serves it from `inner`.
    pub const fn new(inner: A) -> Self {
        Self { inner }
    }

    /// Has the inner allocator serve the program. What it then asks of `malloc` is
    /// part of an operation that is counted here.
    #[inline(always)]
    fn served<T>(&self, call: impl FnOnce(&A) -> T) -> T {
        #[cfg(feature = "interpose")]
        return crate::engine::passing::passing(|| call(&self.inner));
        #[cfg(not(feature = "interpose"))]
        call(&self.inner)
    }
}

// Not recording, each method is one relaxed load and the inner call.
// Recording, a block is in the tables only while it is the program's: put in
// after the inner allocation, taken out before the inner free, because in
// between another thread may be given the same address.
//
// While inner calls are timed, all go another way, the timed ones and the
// others: what a block's stack is must not depend on which it was.
//
// SAFETY: every method returns what the inner allocator returns for the same
// arguments, and changes no block.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Alloc<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = match ENGINE.records_heap() {
            // SAFETY: the caller's promises are the inner allocator's.
            None => self.served(|inner| unsafe { inner.alloc(layout) }),
            Some(recording) if recording.is_plain() => {
                // SAFETY: as above.
                let block = self.served(|inner| unsafe { inner.alloc(layout) });
                recorded(block, layout)
            }
            // SAFETY: as above.
            Some(recording) => unsafe { self.special_alloc(recording, layout, false) },
        };
        counted(block, layout, Content::Nothing)
    }

    /// Forwarded as such: the inner allocator knows memory that is zero
    /// already, so that an untouched zeroed block is never made resident.
    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let block = match ENGINE.records_heap() {
            // SAFETY: the caller's promises are the inner allocator's.
            None => self.served(|inner| unsafe { inner.alloc_zeroed(layout) }),
            Some(recording) if recording.is_plain() => {
                // SAFETY: as above.
                let block = self.served(|inner| unsafe { inner.alloc_zeroed(layout) });
                recorded(block, layout)
            }
            // SAFETY: as above.
            Some(recording) => unsafe { self.special_alloc(recording, layout, true) },
        };
        counted(block, layout, Content::Zeros)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: it is still allocated.
        unsafe { exact::freed(block as usize, layout.size()) };
        if let Some(recording) = ENGINE.records_heap() {
            if !recording.is_plain() {
                // SAFETY: the caller's promises are this method's.
                return unsafe { self.special_dealloc(recording, block, layout) };
            }
            ENGINE.on_free(block as usize, layout.size());
        }
        // SAFETY: the caller's promises are the inner allocator's.
        self.served(|inner| unsafe { inner.dealloc(block, layout) })
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promises, here and in the closure.
        unsafe {
            exact::moving(block as usize, (layout.size(), new_size), || {
                self.recorded_realloc(block, layout, new_size)
            })
        }
    }
}

impl<A: GlobalAlloc> Alloc<A> {
    /// # Safety
    /// As for [`GlobalAlloc::realloc`].
    #[inline(always)]
    unsafe fn recorded_realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Some(recording) = ENGINE.records_heap() else {
            // SAFETY: the caller's promises are the inner allocator's.
            return self.served(|inner| unsafe { inner.realloc(block, layout, new_size) });
        };
        if !recording.is_plain() {
            // SAFETY: the caller's promises are this method's.
            return unsafe { self.special_realloc(recording, block, layout, new_size) };
        }
        let taken = ENGINE.before_realloc(block as usize);
        let old = (block as usize, layout.size());
        // SAFETY: the caller's promises are the inner allocator's.
        let block = self.served(|inner| unsafe { inner.realloc(block, layout, new_size) });
        ENGINE.after_realloc(taken, old, (block as usize, new_size));
        block
    }
}

/// In a build that counts accesses: those to this block are counted from now on, if it
/// was recorded. Until now the program has not seen it.
#[inline(always)]
fn counted(block: *mut u8, layout: Layout, content: Content) -> *mut u8 {
    if exact::COUNTS_ACCESSES
        && !block.is_null()
        && ENGINE.records_heap().is_some()
        && let Some(site) = ENGINE.recorder().site_of_block(block as usize)
    {
        // SAFETY: fresh from the inner allocator.
        unsafe { exact::allocated(block as usize, layout.size(), site.get(), content) };
    }
    block
}

#[inline(always)]
fn recorded(block: *mut u8, layout: Layout) -> *mut u8 {
    if !block.is_null() {
        ENGINE.on_alloc(block as usize, layout.size());
    }
    block
}

/// The same where blocks are sampled, between windows, while calls are timed, and
/// while scopes are open.
impl<A: GlobalAlloc> Alloc<A> {
    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[inline(never)]
    unsafe fn special_alloc(
        &self,
        recording: HeapRecording,
        layout: Layout,
        zeroed: bool,
    ) -> *mut u8 {
        if !recording.is_sampled() {
            // SAFETY: the caller's promises are this method's.
            return unsafe { self.rare_alloc(recording, layout, zeroed) };
        }
        // SAFETY: the caller's promises are the inner allocator's.
        let block = self.served(|inner| unsafe {
            match zeroed {
                true => inner.alloc_zeroed(layout),
                false => inner.alloc(layout),
            }
        });
        if !block.is_null() && !recording.is_shut() {
            ENGINE.sample(recording.word(), block as usize, layout.size());
        }
        block
    }

    /// # Safety
    /// As for [`GlobalAlloc::dealloc`].
    #[inline(never)]
    unsafe fn special_dealloc(&self, recording: HeapRecording, block: *mut u8, layout: Layout) {
        if !recording.is_sampled() {
            // SAFETY: the caller's promises are this method's.
            return unsafe { self.rare_dealloc(recording, block, layout) };
        }
        if ENGINE.may_have_sampled(block as usize) {
            ENGINE.on_sampled_free(block as usize, layout.size());
        }
        // SAFETY: the caller's promises are the inner allocator's.
        self.served(|inner| unsafe { inner.dealloc(block, layout) });
    }

    /// Of a sampled block that is reallocated nothing goes on: the new block is
    /// sampled or not as any other.
    ///
    /// # Safety
    /// As for [`GlobalAlloc::realloc`].
    #[inline(never)]
    unsafe fn special_realloc(
        &self,
        recording: HeapRecording,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> *mut u8 {
        if !recording.is_sampled() {
            // SAFETY: the caller's promises are this method's.
            return unsafe { self.rare_realloc(recording, block, layout, new_size) };
        }
        let old = (block as usize, layout.size());
        let taken = match ENGINE.may_have_sampled(old.0) {
            true => ENGINE.before_sampled_realloc(old.0),
            false => None,
        };
        // SAFETY: the caller's promises are the inner allocator's.
        let block = self.served(|inner| unsafe { inner.realloc(block, layout, new_size) });
        if let Some(taken) = taken {
            ENGINE.after_sampled_realloc(taken, old, block.is_null());
        }
        if !block.is_null() && !recording.is_shut() {
            ENGINE.sample(recording.word(), block as usize, new_size);
        }
        block
    }

    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[cold]
    #[inline(never)]
    unsafe fn rare_alloc(&self, recording: HeapRecording, layout: Layout, zeroed: bool) -> *mut u8 {
        let call = || {
            // SAFETY: the caller's promises are the inner allocator's.
            self.served(|inner| unsafe {
                match zeroed {
                    true => inner.alloc_zeroed(layout),
                    false => inner.alloc(layout),
                }
            })
        };
        if recording.has_scopes() {
            let block = call();
            ENGINE.on_alloc_beside_scopes(recording, block as usize, layout.size());
            return block;
        }
        if recording.is_shut() {
            return call();
        }
        let timer = ENGINE.start_timer(layout.size());
        let block = call();
        ENGINE.on_timed_alloc(&timer, block as usize, layout.size());
        block
    }

    /// # Safety
    /// As for [`GlobalAlloc::dealloc`].
    #[cold]
    #[inline(never)]
    unsafe fn rare_dealloc(&self, recording: HeapRecording, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are the inner allocator's.
        let call = || self.served(|inner| unsafe { inner.dealloc(block, layout) });
        if recording.has_scopes() {
            ENGINE.on_free_beside_scopes(block as usize, layout.size());
            return call();
        }
        if recording.is_shut() {
            if ENGINE.may_know(block as usize) {
                ENGINE.on_free(block as usize, layout.size());
            }
            return call();
        }
        let timer = ENGINE.before_timed_free(block as usize, layout.size());
        call();
        ENGINE.after_timed_free(&timer);
    }

    /// # Safety
    /// As for [`GlobalAlloc::realloc`].
    #[cold]
    #[inline(never)]
    unsafe fn rare_realloc(
        &self,
        recording: HeapRecording,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> *mut u8 {
        // SAFETY: the caller's promises are the inner allocator's.
        let call = || self.served(|inner| unsafe { inner.realloc(block, layout, new_size) });
        let old = (block as usize, layout.size());
        if recording.has_scopes() {
            let taken = ENGINE.before_realloc_beside_scopes(block as usize);
            let block = call();
            let new = (block as usize, new_size);
            ENGINE.after_realloc_beside_scopes(recording, taken, old, new);
            return block;
        }
        if recording.is_shut() {
            let taken = ENGINE.before_realloc(block as usize);
            if taken.is_none() {
                return call();
            }
            let block = call();
            ENGINE.after_realloc(taken, old, (block as usize, new_size));
            return block;
        }
        let before = ENGINE.before_timed_realloc(old, new_size);
        let block = call();
        ENGINE.after_timed_realloc(&before, old, (block as usize, new_size));
        block
    }
}
