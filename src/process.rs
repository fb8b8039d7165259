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

/// Whether this is a set-user-ID program or the like: it does not write where its environment says.
pub(crate) fn has_more_rights_than_its_caller() -> bool {
    // SAFETY: asks for a number.
    #[cfg(target_os = "linux")]
    return unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    // SAFETY: ask for numbers.
    #[cfg(not(target_os = "linux"))]
    return unsafe { libc::getuid() != libc::geteuid() || libc::getgid() != libc::getegid() };
}

/// Does `work`, in which this thread writes to files and pipes that may be full or closed, without
/// the signals that would end the process for it.
pub(crate) fn surviving_writes<T>(work: impl FnOnce() -> T) -> T {
    const DEADLY: [libc::c_int; 2] = [libc::SIGXFSZ, libc::SIGPIPE];
    // SAFETY: valid sets, for the time of the calls. The signals come to the thread that writes.
    unsafe {
        let mut deadly = std::mem::zeroed::<libc::sigset_t>();
        let mut before = std::mem::zeroed::<libc::sigset_t>();
        let mut pending = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut deadly);
        for signal in DEADLY {
            libc::sigaddset(&mut deadly, signal);
        }
        libc::sigpending(&mut pending);
        libc::pthread_sigmask(libc::SIG_BLOCK, &deadly, &mut before);
        let result = work();
        for signal in DEADLY {
            // One that was there before is not ours to take away.
            if libc::sigismember(&before, signal) == 0 && libc::sigismember(&pending, signal) == 0 {
                take_pending(signal);
            }
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result
    }
}

/// Takes away a blocked signal that this thread may have got.
fn take_pending(signal: libc::c_int) {
    // SAFETY: valid structures, for the time of the calls; waits only for what is there.
    unsafe {
        let mut pending = std::mem::zeroed::<libc::sigset_t>();
        libc::sigpending(&mut pending);
        if libc::sigismember(&pending, signal) == 1 {
            let mut one = std::mem::zeroed::<libc::sigset_t>();
            let mut taken = 0;
            libc::sigemptyset(&mut one);
            libc::sigaddset(&mut one, signal);
            libc::sigwait(&one, &mut taken);
        }
    }
}
