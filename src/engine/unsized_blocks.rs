//! Blocks whose size is not known when they are freed: of Rust code, freed by C's
//! `free`. That is wrong by the rules of both, and works with many allocators. Such a
//! block is forgotten, stays counted as live, and the free is told in the summary.

use crate::engine::sampling::TakenSample;
use crate::engine::thread::Operation;
use crate::engine::{Engine, Taken};

impl Engine {
    /// The program is about to free a block, if it is one of ours.
    #[inline(never)]
    pub(crate) fn on_unsized_free(&'static self, address: usize) {
        if let Some(inside) = self.enter(Operation::Free)
            && let Some((value, _)) = self.recorder.take_value(address)
        {
            self.refuse_in_scope_of(value);
            let count = &inside.thread.unsized_frees;
            count.set(count.get() + 1);
        }
    }

    /// The program has reallocated a block that was taken out: `address` is null if
    /// that failed. The block that it has now is a new one.
    #[inline(never)]
    pub(crate) fn after_unsized_realloc(
        &'static self,
        taken: Option<Taken>,
        old_address: usize,
        (address, bytes): (usize, usize),
    ) {
        if address == 0 {
            // Put back as it was: no size is looked at.
            return self.after_realloc(taken, (old_address, 0), (0, 0));
        }
        if let Some(inside) = self.enter(Operation::Free) {
            let count = &inside.thread.unsized_frees;
            count.set(count.get() + 1);
        }
        self.after_realloc(None, (old_address, 0), (address, bytes));
    }

    /// As [`Self::after_unsized_realloc`], of a sampled block; the new one is not recorded.
    #[inline(never)]
    pub(crate) fn after_unsized_sampled_realloc(
        &'static self,
        taken: TakenSample,
        old_address: usize,
        failed: bool,
    ) {
        if failed {
            // Put back as it was: no size is looked at.
            return self.after_sampled_realloc(taken, (old_address, 0), true);
        }
        if let Some(inside) = self.enter(Operation::Free) {
            let count = &inside.thread.unsized_frees;
            count.set(count.get() + 1);
        }
    }
}
