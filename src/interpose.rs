//! The C library's `malloc` and its siblings, put in front of the C library's own:
//! what C and C++ code allocates comes into the same profile.
//!
//! The program's definitions come first wherever a library looks these names up, so
//! that static and shared C code, `operator new`, and the C library itself
//! (`strdup`, `fopen`) all end here. Each function passes the call on, unchanged, to
//! whoever would have served it otherwise ([`real`]): blocks are what they were, and
//! `malloc_usable_size` and the rest of the C library's functions need not be ours
//! (`reallocarray` calls `realloc`).
//!
//! A Rust allocation that is served by `malloc` would be seen twice, so the door
//! marks its thread while it is in the inner allocator ([`passing`]). The mark also
//! stands while the profiler itself calls what may allocate.
//!
//! C frees without telling the size. It is kept beside the block map, for the blocks
//! of C only; sizes are put in after, and taken out before, the block itself is
//! recorded, by the thread that has it in its hands.

mod real;

use crate::alloc::ENGINE;
use crate::engine::control::HeapRecording;
use crate::engine::passing;
use crate::engine::touching::Contents;
use std::ffi::{c_int, c_void};

#[cfg(target_feature = "crt-static")]
compile_error!(
    "heapledger's feature `interpose` needs a program that loads the C library: \
     build without `-C target-feature=+crt-static`"
);

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
compile_error!("heapledger's feature `interpose` works with glibc on Linux");

/// Whether C code's calls end here: not if another definition comes before ours, or
/// if this crate is in a library that was loaded later.
pub(crate) fn is_in_place() -> bool {
    // SAFETY: a look-up by a NUL-terminated name.
    let first = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"malloc".as_ptr()) };
    std::ptr::eq(first, malloc as *const c_void)
}

/// How operations of C are recorded now, if they are.
#[inline(always)]
fn recording() -> Option<HeapRecording> {
    ENGINE.records_heap().filter(|_| !passing::is_passing())
}

/// Has the next allocator serve the program. One that has its functions call each
/// other, as a preloaded one may, comes by here again.
#[inline(always)]
fn served<T>(call: impl FnOnce() -> T) -> T {
    passing::passing(call)
}

#[inline(always)]
fn allocated(block: *mut c_void, bytes: usize, contents: Contents) -> *mut c_void {
    if let Some(recording) = recording()
        && !block.is_null()
        && (!recording.is_shut() || recording.has_scopes())
    {
        passing::with_thread(&ENGINE, || {
            if recording.is_sampled() {
                if !ENGINE.sample(recording.word(), block.addr(), bytes) {
                    return;
                }
            } else if recording.has_scopes() {
                let fresh = (block.addr(), bytes);
                ENGINE.on_alloc_beside_scopes(recording, fresh, contents);
            } else {
                ENGINE.on_touched_alloc_of(block.addr(), bytes, contents);
            }
            // Without memory for its size its free will be counted as one that
            // was not recorded.
            let _ = ENGINE.recorder().c_sizes.insert(block.addr(), bytes);
        });
    }
    block
}

/// Whether the block may be one that was recorded.
#[inline(always)]
fn may_know(recording: HeapRecording, block: *mut c_void) -> bool {
    match recording.is_sampled() {
        true => ENGINE.may_have_sampled(block.addr()),
        false => recording.knows_most() || ENGINE.may_know(block.addr()),
    }
}

#[inline(always)]
fn about_to_free(block: *mut c_void) {
    if let Some(recording) = recording()
        && !block.is_null()
        && may_know(recording, block)
    {
        passing::with_thread(&ENGINE, || {
            match ENGINE.recorder().c_sizes.remove(block.addr()) {
                Some(bytes) if recording.has_scopes() => {
                    ENGINE.on_free_beside_scopes(block.addr(), bytes);
                }
                Some(bytes) if recording.is_sampled() => {
                    ENGINE.on_sampled_free(block.addr(), bytes);
                }
                Some(bytes) => ENGINE.on_touched_free(block.addr(), bytes),
                None => ENGINE.on_unsized_free(block.addr()),
            }
        });
    }
}

/// # Safety
/// As C says of `malloc`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn malloc(bytes: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    allocated(
        served(|| unsafe { real::malloc(bytes) }),
        bytes,
        Contents::Undefined,
    )
}

/// # Safety
/// As C says of `calloc`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn calloc(count: usize, bytes_each: usize) -> *mut c_void {
    // SAFETY: the caller's promise. Of a product that overflows there is no block.
    let block = served(|| unsafe { real::calloc(count, bytes_each) });
    allocated(block, count.wrapping_mul(bytes_each), Contents::Zeros)
}

/// # Safety
/// As C says of `free`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free(block: *mut c_void) {
    if ENGINE.is_mapped(block.addr()) {
        // Of Rust code, against the rules.
        return ENGINE.free_mapped(block.addr(), ENGINE.mapped_bytes(block.addr()));
    }
    about_to_free(block);
    // SAFETY: the caller's promise.
    served(|| unsafe { real::free(block) });
}

/// # Safety
/// As C says of `free_sized`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free_sized(block: *mut c_void, _bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { free(block) };
}

/// # Safety
/// As C says of `free_aligned_sized`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free_aligned_sized(
    block: *mut c_void,
    _align: usize,
    _bytes: usize,
) {
    // SAFETY: the caller's promise.
    unsafe { free(block) };
}

/// # Safety
/// As C says of `realloc`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn realloc(block: *mut c_void, bytes: usize) -> *mut c_void {
    if block.is_null() {
        // SAFETY: what `realloc` of null is.
        return unsafe { malloc(bytes) };
    }
    if ENGINE.is_mapped(block.addr()) {
        // SAFETY: the caller's promise.
        return unsafe { realloc_mapped(block, bytes) };
    }
    let Some(recording) = recording() else {
        // SAFETY: the caller's promise.
        return served(|| unsafe { real::realloc(block, bytes) });
    };
    if bytes == 0 {
        about_to_free(block);
        // SAFETY: the caller's promise. The C library frees the block and returns
        // null; an allocator that returns a new block instead has it recorded.
        return allocated(
            served(|| unsafe { real::realloc(block, bytes) }),
            bytes,
            Contents::Known,
        );
    }
    if recording.is_sampled() {
        // SAFETY: the caller's promise.
        return unsafe { sampled_realloc(recording, block, bytes) };
    }
    passing::with_thread(&ENGINE, || {
        if recording.has_scopes() {
            // SAFETY: the caller's promise.
            return unsafe { realloc_beside_scopes(recording, block, bytes) };
        }
        let sizes = &ENGINE.recorder().c_sizes;
        let old_bytes = sizes.remove(block.addr());
        let taken =
            ENGINE.before_touched_realloc(block.addr(), (old_bytes.unwrap_or_default(), bytes));
        // SAFETY: the caller's promise.
        let new = served(|| unsafe { real::realloc(block, bytes) });
        let (old_address, new_address) = (block.addr(), new.addr());
        match old_bytes {
            // Rust's own block, of a size that is not known here.
            None if taken.is_some() => {
                ENGINE.after_unsized_realloc(taken, old_address, (new_address, bytes));
            }
            _ if taken.is_none() && recording.is_shut() => return new,
            _ => {
                let old = (old_address, old_bytes.unwrap_or_default());
                ENGINE.after_touched_realloc(taken, old, (new_address, bytes));
            }
        }
        let sized = match new_address {
            0 => old_bytes.map(|bytes| (old_address, bytes)),
            _ => Some((new_address, bytes)),
        };
        if let Some((address, bytes)) = sized {
            let _ = sizes.insert(address, bytes);
        }
        new
    })
}

/// The old block is no more, and the new one is sampled or not as any other.
///
/// # Safety
/// As C says of `realloc`, of a block and a size that are not 0.
unsafe fn sampled_realloc(
    recording: HeapRecording,
    block: *mut c_void,
    bytes: usize,
) -> *mut c_void {
    let sizes = &ENGINE.recorder().c_sizes;
    let known = may_know(recording, block);
    let old = known.then(|| {
        passing::with_thread(&ENGINE, || {
            let taken = ENGINE.before_sampled_realloc(block.addr())?;
            Some((taken, sizes.remove(block.addr())))
        })
    });
    // SAFETY: the caller's promise.
    let new = served(|| unsafe { real::realloc(block, bytes) });
    if let Some((taken, old_bytes)) = old.flatten() {
        passing::with_thread(&ENGINE, || match old_bytes {
            Some(old_bytes) => {
                let failed = new.is_null();
                ENGINE.after_sampled_realloc(taken, (block.addr(), old_bytes), failed);
                if failed {
                    let _ = sizes.insert(block.addr(), old_bytes);
                }
            }
            // Rust's own block, of a size that is not known here.
            None => ENGINE.after_unsized_sampled_realloc(taken, block.addr(), new.is_null()),
        });
    }
    allocated(new, bytes, Contents::Known)
}

/// # Safety
/// As C says of `realloc`, of a block and to a size that are not null.
#[cold]
unsafe fn realloc_beside_scopes(
    recording: HeapRecording,
    block: *mut c_void,
    bytes: usize,
) -> *mut c_void {
    let sizes = &ENGINE.recorder().c_sizes;
    let old_bytes = sizes.remove(block.addr());
    let taken = match old_bytes {
        Some(old_bytes) => ENGINE.before_realloc_beside_scopes(block.addr(), (old_bytes, bytes)),
        None => {
            ENGINE.on_unsized_free(block.addr());
            None
        }
    };
    // SAFETY: the caller's promise.
    let new = served(|| unsafe { real::realloc(block, bytes) });
    let old = (block.addr(), old_bytes.unwrap_or_default());
    ENGINE.after_realloc_beside_scopes(recording, taken, old, (new.addr(), bytes));
    let sized = match new.addr() {
        0 => old_bytes.map(|bytes| (block.addr(), bytes)),
        address => Some((address, bytes)),
    };
    if let Some((address, bytes)) = sized {
        let _ = sizes.insert(address, bytes);
    }
    new
}

/// A block of Rust code, against the rules, that is a mapping of the profiler's own.
///
/// # Safety
/// As for [`realloc`].
#[cold]
unsafe fn realloc_mapped(block: *mut c_void, bytes: usize) -> *mut c_void {
    // SAFETY: a new block; then the caller's promise, for as much as both hold.
    unsafe {
        let new = malloc(bytes);
        if !new.is_null() {
            let kept = ENGINE.mapped_bytes(block.addr()).min(bytes);
            new.copy_from_nonoverlapping(block, kept);
            free(block);
        }
        new
    }
}

/// # Safety
/// As C says of `aligned_alloc`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn aligned_alloc(align: usize, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    allocated(
        served(|| unsafe { real::aligned_alloc(align, bytes) }),
        bytes,
        Contents::Undefined,
    )
}

/// # Safety
/// As POSIX says of `posix_memalign`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_memalign(
    block: *mut *mut c_void,
    align: usize,
    bytes: usize,
) -> c_int {
    // SAFETY: the caller's promise.
    let error = served(|| unsafe { real::posix_memalign(block, align, bytes) });
    if error == 0 {
        // SAFETY: written by the call.
        allocated(unsafe { block.read() }, bytes, Contents::Undefined);
    }
    error
}

/// # Safety
/// As the C library says of `memalign`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn memalign(align: usize, bytes: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    allocated(
        served(|| unsafe { real::memalign(align, bytes) }),
        bytes,
        Contents::Undefined,
    )
}

/// # Safety
/// As the C library says of `valloc`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn valloc(bytes: usize) -> *mut c_void {
    // SAFETY: the caller's promise.
    allocated(
        served(|| unsafe { real::valloc(bytes) }),
        bytes,
        Contents::Undefined,
    )
}

/// Counts the whole pages that it is asked for.
///
/// # Safety
/// As the C library says of `pvalloc`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pvalloc(bytes: usize) -> *mut c_void {
    // SAFETY: asks for a number.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
    // SAFETY: the caller's promise. Where the rounding overflows there is no block.
    let block = served(|| unsafe { real::pvalloc(bytes) });
    let bytes = bytes.checked_next_multiple_of(page).unwrap_or(bytes);
    allocated(block, bytes, Contents::Undefined)
}
