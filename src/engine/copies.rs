//! Copies as the program makes them, where a build makes them visible.

use crate::capture::registers::Registers;
use crate::clock;
use crate::engine::Engine;
use crate::engine::control::Control;
use crate::engine::thread::{Current, Operation, Thread, current, gate};
use std::sync::atomic::Ordering::Relaxed;

impl Engine {
    /// The program is about to copy `bytes`.
    #[inline(never)]
    #[cfg_attr(heapledger_exact, unsafe(export_name = "__asan_heapledger_on_copy"))]
    pub(crate) fn on_copy(&'static self, bytes: usize) {
        let control = self.control.get();
        if !control.has(Control::COPIES) || control.has(Control::SHUT) {
            return;
        }
        if let Current::Block(own) = current()
            // SAFETY: this thread's own block.
            && unsafe { own.as_ref() }.gate.load(Relaxed) & !gate::IGNORING != 0
        {
            // A copy of our own, or of a signal handler that interrupted one.
            return;
        }
        let start = Registers::here();
        let Some(inside) = self.enter(Operation::Alloc) else {
            return;
        };
        if inside.is_ignoring() {
            inside.thread.ignored.set(inside.thread.ignored.get() + 1);
            return;
        }
        let Thread { walker, book, .. } = &mut *inside.thread;
        // SAFETY: `start` is of this function.
        let mut stack = unsafe { self.stack(walker, start) };
        if self
            .recorder
            .event(book, &mut stack, bytes, clock::ticks())
            .is_err()
        {
            inside.thread.dropped.set(inside.thread.dropped.get() + 1);
        }
    }
}
