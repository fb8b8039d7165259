//! What LLVM's pass puts before each access.

use crate::accesses::{self, SHORT_BYTES, load, load_range, store, store_range};
use crate::copies;
use core::arch::x86_64::__m128i;

macro_rules! fixed {
    ($($name:ident: $does:ident $bytes:literal;)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name(address: usize) {
            $does::<$bytes>(address);
        }
    )*};
}

fixed! {
    __asan_load1: load 1;
    __asan_load2: load 2;
    __asan_load4: load 4;
    __asan_load8: load 8;
    __asan_load16: load 16;
    __asan_store1: store 1;
    __asan_store2: store 2;
    __asan_store4: store 4;
    __asan_store8: store 8;
    __asan_store16: store 16;
}

#[unsafe(no_mangle)]
extern "C" fn __asan_loadN(address: usize, bytes: usize) {
    load_range(address, bytes);
}

#[unsafe(no_mangle)]
extern "C" fn __asan_storeN(address: usize, bytes: usize) {
    store_range(address, bytes);
}

/// Before a call that does not return: for the sanitizer's own use of the stack.
#[unsafe(no_mangle)]
extern "C" fn __asan_handle_no_return() {}

unsafe extern "C" {
    fn __real_memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8;
    fn __real_memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8;
    fn __real_memset(to: *mut u8, value: i32, bytes: usize) -> *mut u8;
}

/// A copy that a program without callbacks would mostly make in place: of a value.
/// Whatever takes longer is left to `otherwise`, by a jump: this saves no register.
///
/// # Safety
/// As for `memmove`.
#[inline(always)]
unsafe fn copy_value(
    to: *mut u8,
    from: *const u8,
    bytes: usize,
    otherwise: unsafe extern "C" fn(*mut u8, *const u8, usize) -> *mut u8,
) -> *mut u8 {
    if !(8..=SHORT_BYTES).contains(&bytes)
        || copies::are_heard()
        || !accesses::copy_value(to as usize, from as usize, bytes)
    {
        // SAFETY: the caller's promise.
        return unsafe { otherwise(to, from, bytes) };
    }
    // SAFETY: the caller's promise. Everything is read before anything is written.
    unsafe {
        if bytes > 32 {
            let [a, b] = [0, 16].map(|at| from.add(at).cast::<__m128i>().read_unaligned());
            let [c, d] = [32, 16].map(|at| from.add(bytes - at).cast::<__m128i>().read_unaligned());
            to.cast::<__m128i>().write_unaligned(a);
            to.add(16).cast::<__m128i>().write_unaligned(b);
            to.add(bytes - 32).cast::<__m128i>().write_unaligned(c);
            to.add(bytes - 16).cast::<__m128i>().write_unaligned(d);
        } else if bytes >= 16 {
            let first = from.cast::<__m128i>().read_unaligned();
            let last = from.add(bytes - 16).cast::<__m128i>().read_unaligned();
            to.cast::<__m128i>().write_unaligned(first);
            to.add(bytes - 16).cast::<__m128i>().write_unaligned(last);
        } else {
            let first = from.cast::<u64>().read_unaligned();
            let last = from.add(bytes - 8).cast::<u64>().read_unaligned();
            to.cast::<u64>().write_unaligned(first);
            to.add(bytes - 8).cast::<u64>().write_unaligned(last);
        }
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __asan_memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: the caller's promises are those of the real one.
    unsafe { copy_value(to, from, bytes, memcpy) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __asan_memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: as above.
    unsafe { copy_value(to, from, bytes, memmove) }
}

#[inline(never)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    copies::tell(bytes);
    load_range(from as usize, bytes);
    store_range(to as usize, bytes);
    // SAFETY: as above.
    unsafe { __real_memcpy(to, from, bytes) }
}

#[inline(never)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    copies::tell(bytes);
    load_range(from as usize, bytes);
    store_range(to as usize, bytes);
    // SAFETY: as above.
    unsafe { __real_memmove(to, from, bytes) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __asan_memset(to: *mut u8, value: i32, bytes: usize) -> *mut u8 {
    store_range(to as usize, bytes);
    // SAFETY: as above.
    unsafe { __real_memset(to, value, bytes) }
}
