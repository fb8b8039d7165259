//! The thread's error number, which the program may look at after an
//! allocation that succeeded.

/// Runs `work` and leaves `errno` as it was.
pub(crate) fn preserving<T>(work: impl FnOnce() -> T) -> T {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: the thread's own errno.
        let errno = unsafe { &mut *libc::__errno_location() };
        let before = *errno;
        let result = work();
        *errno = before;
        result
    }
    #[cfg(not(target_os = "linux"))]
    work()
}
