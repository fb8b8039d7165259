//! Whoever would have served the program without this crate: the next definition of
//! each function, of a preloaded library or of the C library.

use crate::engine::passing;
use std::ffi::{CStr, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering::Relaxed};

/// A function of the C library's, looked up at its first call.
struct Next {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
}

impl Next {
    const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            found: AtomicPtr::new(null_mut()),
        }
    }

    /// None: it is being looked up on this thread, by a look-up that allocates.
    /// Old C libraries do, and go on without.
    #[inline(always)]
    fn get(&self) -> Option<*mut c_void> {
        let found = self.found.load(Relaxed);
        if found.is_null() {
            return self.look_up();
        }
        Some(found)
    }

    #[cold]
    fn look_up(&self) -> Option<*mut c_void> {
        let found = passing::looking_up(|| {
            // SAFETY: a look-up by a NUL-terminated name.
            unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) }
        })?;
        if found.is_null() {
            // Nothing else can serve the program.
            std::process::abort();
        }
        // Relaxed: all who look find the same function.
        self.found.store(found, Relaxed);
        Some(found)
    }
}

/// Defines functions that pass their call on; `else` is the answer while the
/// look-up itself asks.
macro_rules! next {
    ($($name:ident: fn($($argument:ident: $type:ty),*) -> $result:ty, else $otherwise:expr;)*) => {$(
        /// # Safety
        /// As of the C function of this name.
        #[inline(always)]
        pub(super) unsafe fn $name($($argument: $type),*) -> $result {
            type Function = unsafe extern "C" fn($($type),*) -> $result;
            static NEXT: Next = {
                const NAME: &str = concat!(stringify!($name), "\0");
                match CStr::from_bytes_with_nul(NAME.as_bytes()) {
                    Ok(name) => Next::new(name),
                    Err(_) => unreachable!(),
                }
            };
            match NEXT.get() {
                // SAFETY: the function of this name has this type; its caller's
                // promise is ours.
                Some(function) => unsafe {
                    std::mem::transmute::<*mut c_void, Function>(function)($($argument),*)
                },
                None => $otherwise,
            }
        }
    )*};
}

next! {
    malloc: fn(bytes: usize) -> *mut c_void, else null_mut();
    calloc: fn(count: usize, bytes: usize) -> *mut c_void, else null_mut();
    realloc: fn(block: *mut c_void, bytes: usize) -> *mut c_void, else null_mut();
    free: fn(block: *mut c_void) -> (), else ();
    aligned_alloc: fn(align: usize, bytes: usize) -> *mut c_void, else null_mut();
    posix_memalign: fn(block: *mut *mut c_void, align: usize, bytes: usize) -> c_int,
        else libc::ENOMEM;
    memalign: fn(align: usize, bytes: usize) -> *mut c_void, else null_mut();
    valloc: fn(bytes: usize) -> *mut c_void, else null_mut();
    pvalloc: fn(bytes: usize) -> *mut c_void, else null_mut();
}
