//! The door: what the program's allocations come through.

use crate::engine::Engine;
use crate::engine::control::{HeapRecording, Watching};
use crate::engine::large_blocks::Large;
use crate::engine::touching::Contents;
use crate::exact::{self, Content};
use crate::touch::arena::LARGE_BYTES;
use std::alloc::{GlobalAlloc, Layout, System};

mod sampled;

/// Everything that is recorded hangs off this static.
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
// A large block may be a mapping of the profiler's own: it never reaches the
// inner allocator, also when nothing is recorded any more.
//
// SAFETY: every method returns what the inner allocator returns for the same
// arguments, and changes no block but for bytes that have no value; or a mapping
// that is as large and as aligned as was asked for, zeroed if it must be, which
// is the program's until it comes back here.
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
            Some(recording) => unsafe { Self::special_alloc(recording, layout, self) },
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
            Some(recording) => unsafe { self.special_alloc_zeroed(recording, layout) },
        };
        counted(block, layout, Content::Zeros)
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: it is still allocated.
        unsafe { exact::freed(block as usize, layout.size()) };
        if let Some(watching) = ENGINE.watches() {
            if !watching.is_plain() {
                // SAFETY: the caller's promises are this method's.
                return unsafe { Self::special_dealloc(watching, block, layout, self) };
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
        let Some(watching) = ENGINE.watches() else {
            // SAFETY: the caller's promises are the inner allocator's.
            return self.served(|inner| unsafe { inner.realloc(block, layout, new_size) });
        };
        if !watching.is_plain() {
            // SAFETY: the caller's promises are this method's.
            return unsafe { Self::special_realloc(watching, block, layout, new_size, self) };
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
    if exact::COUNTS_ACCESSES && !block.is_null() && ENGINE.records_heap().is_some() {
        // SAFETY: fresh from the inner allocator.
        unsafe { count_accesses(block as usize, layout.size(), content) };
    }
    block
}

/// # Safety
/// As for [`exact::allocated`].
#[inline(never)]
#[cfg_attr(
    heapledger_exact,
    unsafe(export_name = "__asan_heapledger_count_accesses")
)]
unsafe fn count_accesses(address: usize, bytes: usize, content: Content) {
    if let Some(site) = ENGINE.recorder().site_of_block(address) {
        // SAFETY: the caller's promise.
        unsafe { exact::allocated(address, bytes, site.get(), content) };
    }
}

#[inline(always)]
fn recorded(block: *mut u8, layout: Layout) -> *mut u8 {
    if !block.is_null() {
        ENGINE.on_alloc(block as usize, layout.size());
    }
    block
}

/// The same where blocks are measured or sampled, between windows, while calls are timed, and
/// while scopes are open.
impl<A: GlobalAlloc> Alloc<A> {
    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[inline(always)]
    unsafe fn inner_alloc(&self, layout: Layout, contents: Contents) -> *mut u8 {
        // SAFETY: the caller's promises are the inner allocator's.
        self.served(|inner| unsafe {
            match contents {
                Contents::Zeros => inner.alloc_zeroed(layout),
                _ => inner.alloc(layout),
            }
        })
    }

    /// Has little to keep over the calls that are usual.
    ///
    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[inline(never)]
    unsafe fn unsampled_alloc(recording: HeapRecording, layout: Layout, this: &Self) -> *mut u8 {
        if !recording.is_touching() || layout.size() >= LARGE_BYTES {
            return match recording.has_scopes() {
                // SAFETY: the caller's promises are this method's.
                true => unsafe { this.scoped_alloc(recording, layout, Contents::Undefined) },
                // SAFETY: as above.
                false => unsafe { this.rare_alloc(recording, layout, Contents::Undefined) },
            };
        }
        // SAFETY: the caller's promises are the inner allocator's.
        let block = this.served(|inner| unsafe { inner.alloc(layout) });
        if !block.is_null() {
            ENGINE.on_touched_alloc(block as usize, layout.size());
        }
        block
    }

    /// # Safety
    /// As for [`GlobalAlloc::alloc_zeroed`].
    #[inline(never)]
    unsafe fn special_alloc_zeroed(&self, recording: HeapRecording, layout: Layout) -> *mut u8 {
        if recording.is_sampled() {
            // SAFETY: the caller's promises are this method's.
            return unsafe { Self::sampled_alloc(recording, layout, Contents::Zeros, self) };
        }
        if !recording.is_touching() || layout.size() >= LARGE_BYTES {
            return match recording.has_scopes() {
                // SAFETY: the caller's promises are this method's.
                true => unsafe { self.scoped_alloc(recording, layout, Contents::Zeros) },
                // SAFETY: as above.
                false => unsafe { self.rare_alloc(recording, layout, Contents::Zeros) },
            };
        }
        // SAFETY: the caller's promises are the inner allocator's.
        let block = self.served(|inner| unsafe { inner.alloc_zeroed(layout) });
        if !block.is_null() {
            ENGINE.on_touched_alloc_of(block as usize, layout.size(), Contents::Zeros);
        }
        block
    }

    /// # Safety
    /// As for [`GlobalAlloc::dealloc`].
    #[inline(never)]
    unsafe fn unusual_dealloc(watching: Watching, block: *mut u8, layout: Layout, this: &Self) {
        // SAFETY: the caller's promises are the inner allocator's.
        let call = || this.served(|inner| unsafe { inner.dealloc(block, layout) });
        if watching.has_mapped() && ENGINE.is_mapped(block as usize) {
            return ENGINE.free_mapped(block as usize, layout.size());
        }
        if watching.is_sampled() {
            if ENGINE.may_have_sampled(block as usize) {
                ENGINE.on_sampled_free(block as usize, layout.size());
            }
            return call();
        }
        if watching.is_touching() {
            ENGINE.on_touched_free(block as usize, layout.size());
            return call();
        }
        match watching.heap() {
            Some(recording) if recording.has_scopes() && !recording.is_timed() => {
                ENGINE.on_free_beside_scopes(block as usize, layout.size());
                call();
            }
            // SAFETY: the caller's promises are this method's.
            Some(recording) => unsafe { this.rare_dealloc(recording, block, layout) },
            None => call(),
        }
    }

    /// # Safety
    /// As for [`GlobalAlloc::realloc`].
    #[inline(never)]
    unsafe fn unusual_realloc(
        watching: Watching,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
        this: &Self,
    ) -> *mut u8 {
        if ENGINE.is_mapped(block as usize) {
            // SAFETY: the caller's promises.
            return unsafe { this.realloc_mapped(block, layout, new_size) };
        }
        let Some(recording) = watching.heap() else {
            // SAFETY: the caller's promises are the inner allocator's.
            return this.served(|inner| unsafe { inner.realloc(block, layout, new_size) });
        };
        // SAFETY: the caller's promises are this method's.
        unsafe {
            match recording.is_sampled() {
                true => this.sampled_realloc(recording, block, layout, new_size),
                false => this.rare_realloc(recording, block, layout, new_size),
            }
        }
    }

    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[inline(never)]
    unsafe fn scoped_alloc(
        &self,
        recording: HeapRecording,
        layout: Layout,
        contents: Contents,
    ) -> *mut u8 {
        if recording.touches() && layout.size() >= LARGE_BYTES && ENGINE.is_in_no_scope() {
            // SAFETY: the caller's promises are this method's.
            return unsafe { self.rare_alloc(recording, layout, contents) };
        }
        if recording.is_timed() {
            // SAFETY: the caller's promises are this method's.
            return unsafe { self.timed_scoped_alloc(recording, layout, contents) };
        }
        // SAFETY: the caller's promises are the inner allocator's.
        let block = unsafe { self.inner_alloc(layout, contents) };
        ENGINE.on_alloc_beside_scopes(recording, (block as usize, layout.size()), contents);
        block
    }

    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[cold]
    #[inline(never)]
    unsafe fn timed_scoped_alloc(
        &self,
        recording: HeapRecording,
        layout: Layout,
        contents: Contents,
    ) -> *mut u8 {
        let timer = ENGINE.start_timer(layout.size());
        // SAFETY: the caller's promises are the inner allocator's.
        let block = unsafe { self.inner_alloc(layout, contents) };
        let fresh = (block as usize, layout.size());
        ENGINE.on_timed_alloc_beside_scopes(&timer, recording, fresh, contents);
        block
    }

    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[cold]
    #[inline(never)]
    unsafe fn rare_alloc(
        &self,
        recording: HeapRecording,
        layout: Layout,
        contents: Contents,
    ) -> *mut u8 {
        // SAFETY: the caller's promises are the inner allocator's.
        let call = || unsafe { self.inner_alloc(layout, contents) };
        if recording.is_shut() {
            return call();
        }
        if !recording.is_timed() {
            return match ENGINE.large_alloc(layout.size(), layout.align(), contents) {
                Large::Mapped(block) => block.as_ptr(),
                Large::Inner(taken) => {
                    let block = call();
                    if !block.is_null() {
                        ENGINE.on_large_alloc(taken, block as usize, layout.size());
                    }
                    block
                }
            };
        }
        let timer = ENGINE.start_timer(layout.size());
        let block = call();
        ENGINE.on_timed_alloc(&timer, block as usize, layout.size(), contents);
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
            let timer = ENGINE.before_timed_free_beside_scopes(block as usize, layout.size());
            call();
            return ENGINE.after_timed_free(&timer);
        }
        if recording.is_shut() {
            if ENGINE.may_know(block as usize) {
                ENGINE.on_touched_free(block as usize, layout.size());
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
            let sizes = (layout.size(), new_size);
            if recording.is_timed() {
                let before = ENGINE.before_timed_realloc_beside_scopes(block as usize, sizes);
                let block = call();
                let new = (block as usize, new_size);
                ENGINE.after_timed_realloc_beside_scopes(&before, recording, old, new);
                return block;
            }
            let taken = ENGINE.before_realloc_beside_scopes(block as usize, sizes);
            let block = call();
            let new = (block as usize, new_size);
            ENGINE.after_realloc_beside_scopes(recording, taken, old, new);
            return block;
        }
        if !recording.is_timed() || recording.is_shut() {
            let sizes = (layout.size(), new_size);
            let large = match recording.touches() && new_size >= LARGE_BYTES {
                true => ENGINE.before_large_realloc(old.0, layout.align(), sizes),
                false => Large::Inner(ENGINE.before_touched_realloc(old.0, sizes)),
            };
            let taken = match large {
                Large::Inner(taken) => taken,
                Large::Mapped(new) => {
                    // SAFETY: the program's block is the new one.
                    self.served(|inner| unsafe { inner.dealloc(block, layout) });
                    return new.as_ptr();
                }
            };
            if taken.is_none() && recording.is_shut() {
                return call();
            }
            let block = call();
            ENGINE.after_touched_realloc(taken, old, (block as usize, new_size));
            return block;
        }
        let before = ENGINE.before_timed_realloc(old, new_size);
        let block = call();
        ENGINE.after_timed_realloc(&before, old, (block as usize, new_size));
        block
    }

    /// # Safety
    /// As for [`GlobalAlloc::realloc`], of a block that is a mapping of the
    /// profiler's own.
    unsafe fn realloc_mapped(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let sizes = (layout.size(), new_size);
        let resized = ENGINE.realloc_mapped(block as usize, layout.align(), sizes);
        if let Some(new) = resized {
            return new.as_ptr();
        }
        // SAFETY: the caller's promises: a valid size, and the same alignment.
        let new = self.served(|inner| unsafe {
            inner.alloc(Layout::from_size_align_unchecked(new_size, layout.align()))
        });
        if !new.is_null() {
            let kept = layout.size().min(new_size);
            // SAFETY: two blocks of at least that size.
            unsafe { new.copy_from_nonoverlapping(block, kept) };
            ENGINE.left_mapping((block as usize, layout.size()), (new as usize, new_size));
        }
        new
    }
}
