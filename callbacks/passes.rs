//! What LLVM's pass puts before each access.

use crate::accesses::{self, SHORT_BYTES, ValueCopy, load, load_range, store, store_range};
use crate::copies;
use crate::shadow::{Tag, has_region};
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

type Copy = unsafe extern "C" fn(*mut u8, *const u8, usize) -> *mut u8;
/// The same, with the tags of where to and where from.
type TaggedCopy = unsafe extern "C" fn(*mut u8, *const u8, usize, u32, u32) -> *mut u8;

// Each of the next leaves what takes longer to another one, by a jump: so it saves no register.

/// A copy, most often of a value, and from the stack to the stack.
///
/// # Safety
/// As for `memmove`, of which `counted` is the sequel.
#[inline(always)]
unsafe fn copy(
    to: *mut u8,
    from: *const u8,
    bytes: usize,
    counted: TaggedCopy,
    real: Copy,
) -> *mut u8 {
    if has_region(to as usize, from as usize) || copies::are_heard() {
        let (to_tag, from_tag) = accesses::tags_of_copy(to as usize, from as usize);
        if to_tag.0 | from_tag.0 != 0 || copies::are_heard() {
            // SAFETY: the caller's promise.
            return unsafe { counted(to, from, bytes, to_tag.0, from_tag.0) };
        }
    }
    if bytes > VALUE_BYTES {
        // SAFETY: the caller's promise.
        return unsafe { real(to, from, bytes) };
    }
    // SAFETY: the caller's promise.
    unsafe { move_value(to, from, bytes) }
}

/// As [`copy`], to or from a block.
///
/// # Safety
/// As for `memmove`.
#[inline(always)]
unsafe fn copy_of_block(
    to: *mut u8,
    from: *const u8,
    bytes: usize,
    (to_tag, from_tag): (u32, u32),
    mixed: TaggedCopy,
    otherwise: Copy,
) -> *mut u8 {
    // SAFETY: the caller's promise, here and below.
    unsafe {
        if !(1..=SHORT_BYTES).contains(&bytes) || copies::are_heard() {
            return otherwise(to, from, bytes);
        }
        match accesses::copy_value(to as usize, bytes, (Tag(to_tag), Tag(from_tag))) {
            ValueCopy::Counted => move_value(to, from, bytes),
            ValueCopy::Mixed => mixed(to, from, bytes, to_tag, from_tag),
            ValueCopy::Unusual => otherwise(to, from, bytes),
        }
    }
}

/// As [`copy_of_block`], its sequel.
///
/// # Safety
/// As for `memmove`.
#[inline(always)]
unsafe fn mixed_copy_of_block(
    to: *mut u8,
    from: *const u8,
    bytes: usize,
    (to_tag, from_tag): (u32, u32),
    otherwise: Copy,
) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe {
        match accesses::copy_value_mixed(to as usize, bytes, (Tag(to_tag), Tag(from_tag))) {
            ValueCopy::Counted => move_value(to, from, bytes),
            _ => otherwise(to, from, bytes),
        }
    }
}

const VALUE_BYTES: usize = 64;
const _: () = assert!(SHORT_BYTES <= VALUE_BYTES);

/// Copies up to [`VALUE_BYTES`]. Everything is read before anything is written.
///
/// # Safety
/// As for `memmove`.
#[inline(always)]
unsafe fn move_value(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    /// # Safety
    /// As for `memmove`, of the size of one `T` to that of two.
    #[inline(always)]
    unsafe fn both_ends<T: core::marker::Copy>(to: *mut u8, from: *const u8, bytes: usize) {
        let end = bytes - size_of::<T>();
        // SAFETY: the caller's promise.
        unsafe {
            let first = from.cast::<T>().read_unaligned();
            let last = from.add(end).cast::<T>().read_unaligned();
            to.cast::<T>().write_unaligned(first);
            to.add(end).cast::<T>().write_unaligned(last);
        }
    }
    // SAFETY: the caller's promise.
    unsafe {
        match bytes {
            33.. => {
                let read = |at: usize| from.add(at).cast::<__m128i>().read_unaligned();
                let (a, b, c, d) = (read(0), read(16), read(bytes - 32), read(bytes - 16));
                let write = |at: usize, lane| to.add(at).cast::<__m128i>().write_unaligned(lane);
                write(0, a);
                write(16, b);
                write(bytes - 32, c);
                write(bytes - 16, d);
            }
            16.. => both_ends::<__m128i>(to, from, bytes),
            8.. => both_ends::<u64>(to, from, bytes),
            4.. => both_ends::<u32>(to, from, bytes),
            2.. => both_ends::<u16>(to, from, bytes),
            1 => to.write(from.read()),
            0 => {}
        }
    }
    to
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __asan_memcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: the caller's promises are those of the real one.
    unsafe { copy(to, from, bytes, memcpy_of_block, __real_memcpy) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn __asan_memmove(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: as above.
    unsafe { copy(to, from, bytes, memmove_of_block, __real_memmove) }
}

macro_rules! of_block {
    ($($name:ident, mixed $mixed:ident, otherwise $otherwise:ident;)*) => {$(
        #[inline(never)]
        unsafe extern "C" fn $name(
            to: *mut u8,
            from: *const u8,
            bytes: usize,
            to_tag: u32,
            from_tag: u32,
        ) -> *mut u8 {
            // SAFETY: as above.
            unsafe { copy_of_block(to, from, bytes, (to_tag, from_tag), $mixed, $otherwise) }
        }

        #[inline(never)]
        unsafe extern "C" fn $mixed(
            to: *mut u8,
            from: *const u8,
            bytes: usize,
            to_tag: u32,
            from_tag: u32,
        ) -> *mut u8 {
            // SAFETY: as above.
            unsafe { mixed_copy_of_block(to, from, bytes, (to_tag, from_tag), $otherwise) }
        }
    )*};
}

of_block! {
    memcpy_of_block, mixed mixed_memcpy_of_block, otherwise memcpy;
    memmove_of_block, mixed mixed_memmove_of_block, otherwise memmove;
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
