//! Sleeping until a word changes: by the kernel, with no lock and no memory of its own, so that a
//! signal handler may wake.

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while the word is `seen`, but no longer than `limit`. Returns early at will.
pub(crate) fn wait(word: &AtomicU32, seen: u32, limit: Option<Duration>) {
    #[cfg(target_os = "linux")]
    {
        let limit = limit.map(|limit| libc::timespec {
            tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: limit.subsec_nanos() as libc::c_long,
        });
        let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the kernel compares the word with `seen` and sleeps; no memory is written.
        unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
                seen,
                limit,
            );
        }
    }
    #[cfg(not(target_os = "linux"))]
    if word.load(std::sync::atomic::Ordering::Acquire) == seen {
        match limit {
            Some(limit) => std::thread::sleep(limit.min(Duration::from_millis(10))),
            None => std::thread::yield_now(),
        }
    }
}

/// Wakes all who wait for a change of the word.
pub(crate) fn wake_all(word: &AtomicU32) {
    #[cfg(target_os = "linux")]
    // SAFETY: wakes sleepers on the word's address; no memory is touched.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            i32::MAX,
        );
    }
    #[cfg(not(target_os = "linux"))]
    let _ = word;
}
