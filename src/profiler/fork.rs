//! A copy of the process goes on with the run that this one is in.

use super::PHASE;
use crate::alloc::ENGINE;
use crate::process;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Registers for copies that are made from now on.
pub(super) fn go_on_in_copies() {
    process::at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/// The locks that `before_fork` took, or could not take because it runs in a
/// signal handler that interrupted their holder.
static LOCKED_FOR_FORK: AtomicBool = AtomicBool::new(false);

/// Whether this process was copied from one that had begun a run.
static IS_COPY: AtomicBool = AtomicBool::new(false);

pub(super) fn is_copy() -> bool {
    IS_COPY.load(Relaxed)
}

extern "C" fn before_fork() {
    let may_lock = ENGINE.may_lock();
    if may_lock {
        PHASE.lock_for_fork();
        ENGINE.before_fork();
    }
    LOCKED_FOR_FORK.store(may_lock, Relaxed);
}

extern "C" fn after_fork_in_parent() {
    if LOCKED_FOR_FORK.swap(false, Relaxed) {
        ENGINE.after_fork_in_parent();
        // SAFETY: locked by this thread in `before_fork`.
        unsafe { PHASE.unlock_after_fork() };
    }
}

extern "C" fn after_fork_in_child() {
    IS_COPY.store(true, Relaxed);
    if LOCKED_FOR_FORK.swap(false, Relaxed) {
        ENGINE.after_fork_in_child();
        // SAFETY: locked by this thread in `before_fork`.
        unsafe { PHASE.unlock_after_fork() };
    }
}
