//! What `src/exact` of the crate calls, and declares once more.

use crate::blocks;
use crate::copies::{self, Listener};
use crate::counters::{self, tables};
use crate::histograms;
use crate::live;
use crate::shadow::{hide_regions, regions};
use crate::shared::{Content, Limits, MAX_HISTOGRAM_BYTES, Moving, SiteSum};
use core::sync::atomic::Ordering::Relaxed;

/// Forgets everything, for a new run. Whether histograms can be counted, if wanted.
///
/// # Safety
/// No other thread is in one of the functions below.
#[unsafe(no_mangle)]
unsafe extern "C" fn heapledger_exact_reset(with_histograms: bool) -> bool {
    for (_, region) in regions() {
        region.clear();
    }
    for table in tables() {
        table.clear();
    }
    blocks::REFUSED.store(0, Relaxed);
    blocks::NOT_FILLED.store(0, Relaxed);
    live::UNREADABLE.store(0, Relaxed);
    histograms::start(with_histograms)
}

/// Counts no more until [`heapledger_exact_reset`]; what was counted stays.
#[unsafe(no_mangle)]
extern "C" fn heapledger_exact_rest() {
    hide_regions();
}

#[unsafe(no_mangle)]
extern "C" fn heapledger_exact_attach() {
    counters::attach();
}

#[unsafe(no_mangle)]
extern "C" fn heapledger_exact_detach() {
    counters::detach();
}

#[unsafe(no_mangle)]
extern "C" fn heapledger_exact_after_fork() {
    counters::only_this_thread();
}

/// # Safety
/// As for [`blocks::allocated`].
#[unsafe(no_mangle)]
unsafe extern "C" fn heapledger_exact_allocated(
    address: usize,
    bytes: usize,
    site: u32,
    content: Content,
) {
    // SAFETY: the caller's promise.
    unsafe { blocks::allocated(address, bytes, site as usize, content) };
}

/// # Safety
/// As for [`blocks::freed`].
#[unsafe(no_mangle)]
unsafe extern "C" fn heapledger_exact_freed(address: usize, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { blocks::freed(address, bytes) };
}

/// # Safety
/// As for [`blocks::take`].
#[unsafe(no_mangle)]
unsafe extern "C" fn heapledger_exact_take(
    address: usize,
    bytes: usize,
    new_bytes: usize,
    moving: *mut Moving,
) {
    // SAFETY: the caller's promise.
    unsafe { blocks::take(address, bytes, new_bytes, moving) };
}

/// # Safety
/// As for [`blocks::put_back`].
#[unsafe(no_mangle)]
unsafe extern "C" fn heapledger_exact_put_back(
    moving: *mut Moving,
    address: usize,
    bytes: usize,
    failed: bool,
) {
    // SAFETY: the caller's promise.
    unsafe { blocks::put_back(moving, address, bytes, failed) };
}

/// Looks for untold writes to all blocks that are still there.
#[unsafe(no_mangle)]
extern "C" fn heapledger_exact_scan_live() {
    live::scan();
}

/// What all threads did to the blocks of a site.
#[unsafe(no_mangle)]
extern "C" fn heapledger_exact_site(site: u32) -> SiteSum {
    let site = site as usize & (counters::MAX_SITES - 1);
    let mut sum = SiteSum::default();
    for table in tables() {
        let counts = &table.counts[site];
        sum.read += counts.read.load(Relaxed);
        sum.written += counts.written.load(Relaxed);
        sum.distinct += counts.distinct.load(Relaxed);
        sum.untold += counts.untold.load(Relaxed);
    }
    sum
}

/// How often each byte of the site's blocks was accessed. Returns the size of the
/// blocks, or 0 if there is no such count.
#[unsafe(no_mangle)]
extern "C" fn heapledger_exact_histogram(
    site: u32,
    into: &mut [u16; MAX_HISTOGRAM_BYTES],
) -> usize {
    histograms::sum(site as usize, into)
}

#[unsafe(no_mangle)]
extern "C" fn heapledger_exact_limits() -> Limits {
    Limits {
        refused_blocks: blocks::REFUSED.load(Relaxed),
        unsearched_blocks: blocks::NOT_FILLED.load(Relaxed),
        unreadable_bytes: live::UNREADABLE.load(Relaxed),
    }
}

#[unsafe(no_mangle)]
extern "C" fn heapledger_exact_listen_to_copies(listener: Option<Listener>) {
    copies::listen(listener);
}
