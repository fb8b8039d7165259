//! The door where not all goes the usual way, and first of all where blocks are sampled. Most blocks are
//! passed over then: whether one is, is known before the inner allocator is called, so that there is nothing
//! to come back for.

use super::{Alloc, ENGINE};
use crate::engine::control::{HeapRecording, Watching};
use crate::engine::touching::Contents;
use std::alloc::{GlobalAlloc, Layout};

impl<A: GlobalAlloc> Alloc<A> {
    // `this` comes last, so that what is handed on stays in the registers that it is in.

    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[inline(never)]
    pub(super) unsafe fn special_alloc(
        recording: HeapRecording,
        layout: Layout,
        this: &Self,
    ) -> *mut u8 {
        if !recording.is_sampled() {
            // SAFETY: the caller's promises are this method's.
            return unsafe { Self::unsampled_alloc(recording, layout, this) };
        }
        if !ENGINE.passes_over(recording.word(), layout.size()) {
            // SAFETY: as above.
            return unsafe { Self::sampled_alloc(recording, layout, Contents::Undefined, this) };
        }
        // SAFETY: the caller's promises are the inner allocator's.
        this.served(|inner| unsafe { inner.alloc(layout) })
    }

    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[inline(never)]
    pub(super) unsafe fn sampled_alloc(
        recording: HeapRecording,
        layout: Layout,
        contents: Contents,
        this: &Self,
    ) -> *mut u8 {
        // SAFETY: the caller's promises are this method's.
        let block = unsafe { this.inner_alloc(layout, contents) };
        if !block.is_null() && !recording.is_shut() {
            ENGINE.sample(recording.word(), block as usize, layout.size());
        }
        block
    }

    /// # Safety
    /// As for [`GlobalAlloc::dealloc`].
    #[inline(never)]
    pub(super) unsafe fn special_dealloc(
        watching: Watching,
        block: *mut u8,
        layout: Layout,
        this: &Self,
    ) {
        if watching.only_sampled().is_none() || ENGINE.may_have_sampled(block as usize) {
            // SAFETY: the caller's promises are this method's.
            return unsafe { Self::unusual_dealloc(watching, block, layout, this) };
        }
        // SAFETY: the caller's promises are the inner allocator's.
        this.served(|inner| unsafe { inner.dealloc(block, layout) })
    }

    /// # Safety
    /// As for [`GlobalAlloc::realloc`].
    #[inline(never)]
    pub(super) unsafe fn special_realloc(
        watching: Watching,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
        this: &Self,
    ) -> *mut u8 {
        let passes_over = |recording: HeapRecording| {
            !ENGINE.may_have_sampled(block as usize)
                && ENGINE.passes_over(recording.word(), new_size)
        };
        if !watching.only_sampled().is_some_and(passes_over) {
            // SAFETY: the caller's promises are this method's.
            return unsafe { Self::unusual_realloc(watching, block, layout, new_size, this) };
        }
        // SAFETY: the caller's promises are the inner allocator's.
        this.served(|inner| unsafe { inner.realloc(block, layout, new_size) })
    }

    /// Of a sampled block that is reallocated nothing goes on: the new block is
    /// sampled or not as any other.
    ///
    /// # Safety
    /// As for [`GlobalAlloc::realloc`].
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn sampled_realloc(
        &self,
        recording: HeapRecording,
        block: *mut u8,
        layout: Layout,
        new_size: usize,
    ) -> *mut u8 {
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
}
