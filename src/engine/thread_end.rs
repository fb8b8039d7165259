//! Hears of the end of threads, through a key of the threads library: Rust's
//! own thread-local destructors would allocate to be registered.

use once_cell::race::OnceNonZeroUsize;
use std::ffi::c_void;
use std::num::NonZeroUsize;

/// The key plus one.
static KEY: OnceNonZeroUsize = OnceNonZeroUsize::new();

/// Makes the key; called before recording starts. `at_end` is called on every
/// thread that armed it, with what it armed it with, when that thread ends.
pub(crate) fn prepare(at_end: unsafe extern "C" fn(*mut c_void)) {
    let made = KEY.get_or_try_init(|| {
        let mut key = 0;
        // SAFETY: `key` is valid to write to.
        match unsafe { libc::pthread_key_create(&mut key, Some(at_end)) } {
            0 => NonZeroUsize::new(key as usize + 1).ok_or(()),
            _ => Err(()),
        }
    });
    // Without a key, blocks of ended threads are not used again: their counts
    // stay right.
    let _ = made;
}

/// Asks for the call at the end of this thread; `value` is not null.
pub(crate) fn arm(value: *mut c_void) {
    if let Some(key) = KEY.get() {
        // SAFETY: a key that `prepare` made. Failure means no memory: as above.
        unsafe { libc::pthread_setspecific((key.get() - 1) as libc::pthread_key_t, value) };
    }
}
