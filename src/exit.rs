//! Hears of the end of the process.

/// Calls `handler` when the process exits, unless it is killed or aborts.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler is a plain function that is never unloaded before
    // the process ends. A failure (no memory) leaves the ends that drop the
    // profiler.
    unsafe { libc::atexit(handler) };
}
