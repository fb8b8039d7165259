//! The callbacks are in this program.

use super::shared::{Content, Limits, MAX_HISTOGRAM_BYTES, Moving, SiteSum};
use std::mem::MaybeUninit;

unsafe extern "C" {
    fn heapledger_exact_reset(with_histograms: bool) -> bool;
    safe fn heapledger_exact_rest();
    safe fn heapledger_exact_attach();
    safe fn heapledger_exact_detach();
    safe fn heapledger_exact_after_fork();
    fn heapledger_exact_allocated(address: usize, bytes: usize, site: u32, content: Content);
    fn heapledger_exact_freed(address: usize, bytes: usize);
    fn heapledger_exact_take(address: usize, bytes: usize, new_bytes: usize, moving: *mut Moving);
    fn heapledger_exact_put_back(moving: *mut Moving, address: usize, bytes: usize, failed: bool);
    safe fn heapledger_exact_scan_live();
    safe fn heapledger_exact_site(site: u32) -> SiteSum;
    safe fn heapledger_exact_histogram(site: u32, into: &mut [u16; MAX_HISTOGRAM_BYTES]) -> usize;
    safe fn heapledger_exact_limits() -> Limits;
    safe fn heapledger_exact_listen_to_copies(listener: Option<unsafe extern "C" fn(usize)>);
}

/// Forgets everything, for a new run. Whether histograms can be counted, if wanted.
///
/// # Safety
/// No other thread is recording.
pub(crate) unsafe fn reset(with_histograms: bool) -> bool {
    // SAFETY: the caller's promise.
    unsafe { heapledger_exact_reset(with_histograms) }
}

/// Counts no more until [`reset`], so that what the program does meanwhile takes it less
/// time. What was counted stays.
pub(crate) fn rest() {
    heapledger_exact_rest();
}

/// This thread counts in a table of its own from now on, until [`detach`].
pub(crate) fn attach() {
    heapledger_exact_attach();
}

pub(crate) fn detach() {
    heapledger_exact_detach();
}

/// In a process made by `fork`, whose only thread this is.
pub(crate) fn after_fork() {
    heapledger_exact_after_fork();
}

/// A block of `site` was allocated.
///
/// # Safety
/// The block is the caller's, and as `content` says.
#[cfg(heapledger_exact)]
#[inline(always)]
pub(crate) unsafe fn allocated(address: usize, bytes: usize, site: u32, content: Content) {
    // SAFETY: the caller's promise.
    unsafe { heapledger_exact_allocated(address, bytes, site, content) };
}

/// # Safety
/// As for its namesake.
#[cfg(not(heapledger_exact))]
#[inline(always)]
pub(crate) unsafe fn allocated(_address: usize, _bytes: usize, _site: u32, _content: Content) {}

/// A block is about to be freed.
///
/// # Safety
/// It is still allocated.
#[inline(always)]
pub(crate) unsafe fn freed(address: usize, bytes: usize) {
    if super::COUNTS_ACCESSES {
        // SAFETY: the caller's promise.
        unsafe { heapledger_exact_freed(address, bytes) };
    }
}

/// Does `reallocate`, which returns the block's new address, or null if it failed.
///
/// # Safety
/// The block is allocated with `bytes`, and is then reallocated to `new_bytes`.
#[inline(always)]
pub(crate) unsafe fn moving(
    address: usize,
    (bytes, new_bytes): (usize, usize),
    reallocate: impl FnOnce() -> *mut u8,
) -> *mut u8 {
    if !super::COUNTS_ACCESSES {
        return reallocate();
    }
    let mut moving = MaybeUninit::uninit();
    // SAFETY: the caller's promise; `take` fills what `put_back` reads.
    unsafe {
        heapledger_exact_take(address, bytes, new_bytes, moving.as_mut_ptr());
        let block = reallocate();
        let (address, bytes) = match block.is_null() {
            true => (address, bytes),
            false => (block as usize, new_bytes),
        };
        heapledger_exact_put_back(moving.as_mut_ptr(), address, bytes, block.is_null());
        block
    }
}

/// Counts what was written unseen to the blocks that are still allocated.
pub(crate) fn scan_live() {
    heapledger_exact_scan_live();
}

pub(crate) fn sum_of(site: u32) -> SiteSum {
    heapledger_exact_site(site)
}

/// How often each byte of the site's blocks was accessed, if these are of one size.
pub(crate) fn histogram_of(site: u32) -> Option<Box<[u16]>> {
    let mut counts = [0; MAX_HISTOGRAM_BYTES];
    let bytes = heapledger_exact_histogram(site, &mut counts);
    (bytes != 0).then(|| counts[..bytes].into())
}

pub(crate) fn limits() -> Limits {
    heapledger_exact_limits()
}

/// `listener` is called with the bytes of each copy from now on; None ends it.
pub(crate) fn listen_to_copies(listener: Option<unsafe extern "C" fn(usize)>) {
    heapledger_exact_listen_to_copies(listener);
}
