//! Hears of the end of the process and of its copies, from the C library.

/// Calls `handler` when the process exits, unless it is killed or aborts.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the handler is a plain function that is never unloaded before
    // the process ends. A failure (no memory) leaves the ends that drop the
    // profiler.
    unsafe { libc::atexit(handler) };
}

/// Calls `before` in a thread that is about to fork, then `in_parent` and
/// `in_child` in that thread and its copy.
pub(crate) fn at_fork(
    before: unsafe extern "C" fn(),
    in_parent: unsafe extern "C" fn(),
    in_child: unsafe extern "C" fn(),
) {
    // SAFETY: plain functions that are never unloaded before the process
    // ends. A failure (no memory) leaves forks as unsafe as any lock makes them.
    unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
}

/// A number that no two threads of all processes share at a time.
pub(crate) fn thread_number() -> u64 {
    // SAFETY: asks for a number.
    #[cfg(target_os = "linux")]
    let thread = unsafe { libc::syscall(libc::SYS_gettid) } as u64;
    // SAFETY: as above.
    #[cfg(not(target_os = "linux"))]
    let thread = unsafe { libc::pthread_self() } as u64;
    u64::from(std::process::id()) << 32 | (thread & 0xFFFF_FFFF)
}
