//! Marks of a thread for the sake of `malloc` (feature `interpose`), where the same
//! allocation may come by twice and where threads end later than anywhere else.

use crate::engine::Engine;
use crate::engine::thread::{Current, current};
use std::cell::Cell;

thread_local! {
    /// Const and without a destructor, as all that is read on the way.
    static MARKS: Cell<u8> = const { Cell::new(0) };
}

/// What is asked of `malloc` is part of an operation that is already counted, or
/// the profiler's own.
const PASSING: u8 = 1;
/// The C library is looking up a function for us.
const LOOKING_UP: u8 = 2;
/// The threads library has told that this thread ends.
const ENDED: u8 = 4;
/// After that end: whoever gets a block gives it back.
const LATE: u8 = 8;

/// Marks the thread for the time of `call`, which does not unwind.
#[inline(always)]
fn marked<T>(mark: u8, call: impl FnOnce() -> T) -> T {
    let before = MARKS.get();
    MARKS.set(before | mark);
    let result = call();
    // A mark that came meanwhile stays.
    MARKS.set(MARKS.get() & !mark | before & mark);
    result
}

/// Makes a call that may come to `malloc` and is not to be counted there.
#[inline(always)]
pub(crate) fn passing<T>(call: impl FnOnce() -> T) -> T {
    marked(PASSING, call)
}

#[inline(always)]
pub(crate) fn is_passing() -> bool {
    MARKS.get() & PASSING != 0
}

/// None: a look-up on this thread is under way already.
pub(crate) fn looking_up<T>(call: impl FnOnce() -> T) -> Option<T> {
    (MARKS.get() & LOOKING_UP == 0).then(|| marked(LOOKING_UP | PASSING, call))
}

/// The thread's block has been given back for the last time that we are told of.
pub(crate) fn thread_has_ended() {
    MARKS.set(MARKS.get() | ENDED);
}

/// Asks to be told of the thread's end, which may allocate, unless it is too late.
pub(super) fn arming(arm: impl FnOnce()) {
    if MARKS.get() & LATE == 0 {
        passing(arm);
    }
}

/// Records an operation. On a thread that has ended (the C library frees what it kept
/// for the thread) the block that it gets for that is given back at once, as
/// nobody will tell later.
#[inline(always)]
pub(crate) fn with_thread<T>(engine: &'static Engine, record: impl FnOnce() -> T) -> T {
    if MARKS.get() & ENDED != 0 && matches!(current(), Current::None) {
        return late(engine, record);
    }
    record()
}

#[cold]
fn late<T>(engine: &'static Engine, record: impl FnOnce() -> T) -> T {
    let result = marked(LATE, record);
    if let Current::Block(thread) = current() {
        engine.release_thread(thread);
    }
    result
}
