//! Functions of the C library that the linker redirects here: called by the program,
//! by those parts of the standard library that come compiled, and by C code in it.

use crate::accesses::{load_range, store_range};
use crate::copies;

/// `struct iovec`.
#[repr(C)]
pub struct Part {
    at: usize,
    bytes: usize,
}

macro_rules! real {
    ($($wrapper:ident = $real:ident($($name:ident: $kind:ty),*) -> $result:ty
        $(, before $before:block)? $(, after |$returned:ident| $after:block)?;)*) => {
        unsafe extern "C" {
            $(fn $real($($name: $kind),*) -> $result;)*
        }
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $wrapper($($name: $kind),*) -> $result {
                $($before)?
                // SAFETY: the caller's promises are those of the real one.
                let returned = unsafe { $real($($name),*) };
                $(
                    let $returned = returned;
                    $after
                )?
                returned
            }
        )*
    };
}

real! {
    __wrap_memcpy = __real_memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8,
        before {
            copies::tell(bytes);
            load_range(from as usize, bytes);
            store_range(to as usize, bytes);
        };
    __wrap_memmove = __real_memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8,
        before {
            copies::tell(bytes);
            load_range(from as usize, bytes);
            store_range(to as usize, bytes);
        };
    __wrap_memset = __real_memset(to: *mut u8, value: i32, bytes: usize) -> *mut u8,
        before { store_range(to as usize, bytes); };
    __wrap_memchr = __real_memchr(at: *const u8, value: i32, bytes: usize) -> *const u8,
        after |found| {
            let searched = if found.is_null() { bytes } else { found as usize - at as usize + 1 };
            load_range(at as usize, searched);
        };
    __wrap_memrchr = __real_memrchr(at: *const u8, value: i32, bytes: usize) -> *const u8,
        after |found| {
            let from = if found.is_null() { at } else { found } as usize;
            load_range(from, at as usize + bytes - from);
        };
    __wrap_strlen = __real_strlen(text: *const u8) -> usize,
        after |bytes| { load_range(text as usize, bytes + 1); };
    __wrap_read = __real_read(file: i32, into: *mut u8, bytes: usize) -> isize,
        after |done| { came(into, done); };
    __wrap_pread64 = __real_pread64(file: i32, into: *mut u8, bytes: usize, at: i64) -> isize,
        after |done| { came(into, done); };
    __wrap_recv = __real_recv(socket: i32, into: *mut u8, bytes: usize, flags: i32) -> isize,
        after |done| { came(into, done); };
    __wrap_write = __real_write(file: i32, from: *const u8, bytes: usize) -> isize,
        after |done| { went(from, done); };
    __wrap_pwrite64 = __real_pwrite64(file: i32, from: *const u8, bytes: usize, at: i64) -> isize,
        after |done| { went(from, done); };
    __wrap_send = __real_send(socket: i32, from: *const u8, bytes: usize, flags: i32) -> isize,
        after |done| { went(from, done); };
    __wrap_readv = __real_readv(file: i32, parts: *const Part, count: i32) -> isize,
        after |done| {
            // SAFETY: what has just been read into.
            unsafe { each_part(parts, count, done, store_range) };
        };
    __wrap_writev = __real_writev(file: i32, parts: *const Part, count: i32) -> isize,
        after |done| {
            // SAFETY: what has just been written from.
            unsafe { each_part(parts, count, done, load_range) };
        };
}

unsafe extern "C" {
    fn __real_memcmp(a: *const u8, b: *const u8, bytes: usize) -> i32;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_memcmp(a: *const u8, b: *const u8, bytes: usize) -> i32 {
    // SAFETY: the caller's promises are those of the real one.
    unsafe { compare(a, b, bytes) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_bcmp(a: *const u8, b: *const u8, bytes: usize) -> i32 {
    // SAFETY: as above.
    unsafe { compare(a, b, bytes) }
}

/// What is shorter is compared here, since where it differs has to be found anyway.
const SHORT_COMPARISON: usize = 64;

/// As `memcmp`. What is read ends with the first difference.
///
/// # Safety
/// As for `memcmp`.
#[inline(always)]
unsafe fn compare(a: *const u8, b: *const u8, bytes: usize) -> i32 {
    // SAFETY: the caller's promise.
    let common = unsafe {
        match bytes > SHORT_COMPARISON && __real_memcmp(a, b, bytes) == 0 {
            true => bytes,
            false => common(a, b, bytes),
        }
    };
    let read = bytes.min(common + 1);
    load_range(a as usize, read);
    load_range(b as usize, read);
    if common == bytes {
        return 0;
    }
    // SAFETY: the first bytes that differ.
    let [a, b] = unsafe { [a, b].map(|from| i32::from(from.add(common).read())) };
    a - b
}

/// How many bytes are equal before the first that is not, if there is one.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn common(a: *const u8, b: *const u8, bytes: usize) -> usize {
    let mut at = 0;
    // SAFETY: the caller's promise.
    unsafe {
        while bytes - at >= 8 {
            let [a, b] = [a, b].map(|from| from.add(at).cast::<u64>().read_unaligned());
            if a != b {
                return at + ((a ^ b).trailing_zeros() / 8) as usize;
            }
            at += 8;
        }
        while at < bytes && a.add(at).read() == b.add(at).read() {
            at += 1;
        }
    }
    at
}

#[inline(always)]
fn came(into: *mut u8, done: isize) {
    store_range(into as usize, done.max(0) as usize);
}

#[inline(always)]
fn went(from: *const u8, done: isize) {
    load_range(from as usize, done.max(0) as usize);
}

/// # Safety
/// So many parts are readable.
unsafe fn each_part(parts: *const Part, count: i32, done: isize, visit: fn(usize, usize)) {
    let mut left = done.max(0) as usize;
    for number in 0..count.max(0) as usize {
        // SAFETY: the caller's promise.
        let part = unsafe { &*parts.add(number) };
        let bytes = part.bytes.min(left);
        visit(part.at, bytes);
        left -= bytes;
    }
}
