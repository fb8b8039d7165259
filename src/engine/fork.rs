//! The process is copied.

use crate::crash_file::CRASH_FILE;
use crate::engine::Engine;
use crate::engine::control::{self, Control};
use crate::engine::thread::{Current, Registry, current, gate, set_current};
use crate::exact;
use std::sync::atomic::Ordering::{Relaxed, Release};

impl Engine {
    /// Before the process is copied: keeps every thread out of the gate, so
    /// that the copy's tables are whole and no lock in it is held by a thread
    /// that it does not have. This thread's own operations, of what else
    /// happens around a fork, are refused until it is over.
    pub(crate) fn before_fork(&'static self) {
        match self.this_thread() {
            // SAFETY: this thread's own block.
            Some(own) => unsafe { own.as_ref() }.gate.store(gate::PAUSING, Relaxed),
            None => set_current(Current::InTransit),
        }
        self.registry.lock_for_fork();
        self.control.change(Control::PAUSED, 0);
        control::barrier_everywhere();
        self.wait_until_outside(current().as_ptr());
        self.timing.before_fork();
        self.arena.lock_for_fork();
        CRASH_FILE.copy();
    }

    pub(crate) fn after_fork_in_parent(&'static self) {
        CRASH_FILE.drop_copies();
        // SAFETY: this thread locked it in `before_fork`.
        unsafe { self.arena.unlock_after_fork() };
        self.resume();
        // SAFETY: this thread locked it in `before_fork`.
        unsafe { self.registry.unlock_after_fork() };
        self.open_own_gate();
    }

    pub(super) fn open_own_gate(&self) {
        match current() {
            // SAFETY: this thread's own block.
            Current::Block(own) => unsafe { own.as_ref() }.gate.store(0, Release),
            _ => set_current(Current::None),
        }
    }

    /// In the copy only this thread goes on. The books of the others stay part
    /// of every sum; their blocks serve new threads.
    pub(crate) fn after_fork_in_child(&'static self) {
        // The file is the parent's alone.
        CRASH_FILE.take_copies();
        exact::after_fork();
        self.timing.after_fork_in_child();
        // SAFETY: this thread locked it in `before_fork`, in the parent.
        unsafe { self.arena.unlock_after_fork() };
        self.publish_all_books();
        let own = current().as_ptr();
        let mut registry = Registry::new();
        for thread in self.threads.iter() {
            registry.alive += 1;
            if thread.as_ptr() != own {
                // SAFETY: its thread does not exist in this process.
                unsafe { thread.as_ref() }.gate.store(0, Relaxed);
                registry.give_back(thread);
            }
        }
        self.recorder.peak.set_threads(registry.alive);
        // SAFETY: this thread locked it in `before_fork`, in the parent.
        unsafe { self.registry.unlock_after_fork() };
        *self.registry.lock() = registry;
        self.control.change(0, Control::MANY);
        self.resume();
        self.open_own_gate();
    }

    /// Whether this thread may take locks: not if it is a signal handler that
    /// interrupted their holder, nor a thread of ours, which may hold them itself.
    pub(crate) fn may_lock(&self) -> bool {
        match current() {
            Current::None => true,
            Current::InTransit | Current::Ours => false,
            // SAFETY: this thread's own block.
            Current::Block(thread) => unsafe { thread.as_ref() }.gate.load(Relaxed) == 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    static ENGINE: Engine = Engine::new();

    #[test]
    fn who_may_hold_the_locks_takes_none() {
        assert!(thread::spawn(|| ENGINE.may_lock()).join().expect("joins"));
        for is_ours in [false, true] {
            let may_lock = thread::spawn(move || {
                set_current(if is_ours {
                    Current::Ours
                } else {
                    Current::InTransit
                });
                let may_lock = ENGINE.may_lock();
                set_current(Current::None);
                may_lock
            });
            assert!(!may_lock.join().expect("joins"), "ours: {is_ours}");
        }
    }
}
