//! Blocks that are still the program's when the run ends: what was written to them
//! without a callback.

use crate::canary::{self, changed, kind, mark_untold};
use crate::shadow::{CHUNK_BYTES, GRANULE_BYTES, REGION_BYTES, Region, Tag, regions};
use crate::system::{self, PAGE_BYTES};
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes of blocks that could not be read.
pub(crate) static UNREADABLE: AtomicU64 = AtomicU64::new(0);

/// Looks at all blocks in the shadow. No memory of the program is touched but through
/// the kernel: a block that was freed behind the profiler's back is no fault.
pub(crate) fn scan() {
    let page = system::map(PAGE_BYTES);
    if page.is_null() {
        return;
    }
    for (start, region) in regions() {
        for chunk in (start..start + REGION_BYTES).step_by(CHUNK_BYTES) {
            if region.used(chunk).load(Relaxed) == 0 {
                continue;
            }
            for address in (chunk..chunk + CHUNK_BYTES).step_by(PAGE_BYTES) {
                scan_page(region, address, page);
            }
        }
    }
    // SAFETY: mapped above.
    unsafe { system::unmap(page, PAGE_BYTES) };
}

fn scan_page(region: Region, address: usize, page: *mut u8) {
    if !(0..PAGE_BYTES)
        .step_by(64)
        .any(|at| region.has_tags_in_64(address + at))
    {
        return;
    }
    let granules = (0..PAGE_BYTES).step_by(GRANULE_BYTES);
    let is_filled = |granule: &usize| {
        let tag = region.tag(address + granule);
        tag != Tag::NONE
            && tag.kind() != kind::NONE
            && region.written_granule(address + granule).load(Relaxed) != !0
    };
    if !granules.clone().any(|granule| is_filled(&granule)) {
        return;
    }
    // SAFETY: `page` has room for one.
    let readable = unsafe { system::read_if_mapped(address, page, PAGE_BYTES) };
    for granule in granules.filter(is_filled) {
        if !readable {
            UNREADABLE.fetch_add(GRANULE_BYTES as u64, Relaxed);
            continue;
        }
        let tag = region.tag(address + granule);
        let told = region.written_granule(address + granule).load(Relaxed);
        // SAFETY: in the copy, which is aligned as the page is.
        let changed = unsafe { changed(page.add(granule), tag.kind()) };
        canary::count(tag, mark_untold(region, address + granule, changed & !told));
    }
}
