//! What this thread has measured last, for assertions that do not say of what.

use crate::alloc::ENGINE;
use crate::testing::scope::Scope;
use crate::testing::usage::HeapUsage;
use std::cell::{Cell, RefCell};

thread_local! {
    static LAST: RefCell<Option<HeapUsage>> = const { RefCell::new(None) };
    /// Whether there is one; can be asked at any time of a thread's life.
    static IS_THERE: Cell<bool> = const { Cell::new(false) };
}

/// A `measure` has finished on this thread.
pub(crate) fn set(usage: &HeapUsage) {
    ENGINE.ignoring(|| {
        let replaced = LAST.try_with(|last| last.replace(Some(usage.clone())));
        IS_THERE.set(replaced.is_ok());
    });
}

/// This thread has left a scope.
pub(crate) fn forget() {
    if IS_THERE.replace(false) {
        ENGINE.ignoring(|| drop(LAST.try_with(RefCell::take)));
    }
}

/// The counts of the scope that this thread is in; in none, of its last `measure`.
///
/// # Errors
/// What to do, if there is neither.
pub(crate) fn usage() -> Result<HeapUsage, &'static str> {
    if let Some(scope) = Scope::of_this_thread() {
        return Ok(scope.usage());
    }
    let last = LAST.try_with(|last| last.borrow().clone());
    last.ok().flatten().ok_or(
        "nothing was measured on this thread, and it is in no scope: call heapledger::measure \
         before, or name a HeapUsage",
    )
}
