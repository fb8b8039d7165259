//! Memory for the profiler's own tables: straight from the system, never
//! through the global allocator, never through `malloc`.

use allocator_api2::alloc::{AllocError, Allocator, Layout};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const PAGE_BYTES: usize = 4096;

/// Miri knows no reserve.
const NO_RESERVE: libc::c_int = if cfg!(miri) { 0 } else { libc::MAP_NORESERVE };

/// Maps at least `bytes` of zeroed memory; pages cost nothing until touched.
/// None when the system refuses.
pub(crate) fn map(bytes: usize) -> Option<NonNull<u8>> {
    // SAFETY: a new private anonymous mapping touches no existing memory.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            round_up(bytes),
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | NO_RESERVE,
            -1,
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return None;
    }
    NonNull::new(address.cast())
}

/// What huge pages have on x86-64.
const REGION_BYTES: usize = 2 << 20;
/// Larger blocks would leave too much of a region unused.
const IN_REGION_BYTES_MAX: usize = 256 << 10;
/// As long as less than this was mapped, whole regions would be too much.
const FEW_BYTES: usize = 4 << 20;

/// Memory that all of is used soon, and visited at random: once there is much of it, it lies in
/// huge pages, where the system has them. So a visit waits for no page tables, and the system
/// need not bring each page by itself.
#[derive(Debug)]
pub(crate) struct DenseMemory {
    /// The region that is given out, and in its low bits how much of it was; 0: there is none.
    region: AtomicUsize,
    /// What was mapped in all.
    bytes: AtomicUsize,
}

impl DenseMemory {
    pub(crate) const fn new() -> Self {
        Self {
            region: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    /// As [`map`].
    pub(crate) fn map(&self, bytes: usize) -> Option<NonNull<u8>> {
        let bytes = round_up(bytes);
        let before = self.bytes.fetch_add(bytes, Relaxed);
        if before < FEW_BYTES || bytes > IN_REGION_BYTES_MAX || cfg!(miri) {
            return map(bytes);
        }
        let exchange = |old, new| {
            let exchanged = self.region.compare_exchange(old, new, Relaxed, Relaxed);
            exchanged.is_ok()
        };
        loop {
            let region = self.region.load(Relaxed);
            let end = region.next_multiple_of(REGION_BYTES);
            if end - region >= bytes {
                let rest = if end - region == bytes {
                    0
                } else {
                    region + bytes
                };
                if exchange(region, rest) {
                    return NonNull::new(std::ptr::with_exposed_provenance_mut(region));
                }
                continue;
            }
            let Some(fresh) = map_region() else {
                return map(bytes);
            };
            if exchange(region, fresh.as_ptr().expose_provenance() + bytes) {
                return Some(fresh);
            }
            // Another thread has mapped one.
            // SAFETY: just mapped.
            unsafe { unmap(fresh, REGION_BYTES) };
        }
    }
}

/// Maps a region at a multiple of its size.
fn map_region() -> Option<NonNull<u8>> {
    let block = map(2 * REGION_BYTES)?;
    let before = block.as_ptr().align_offset(REGION_BYTES);
    // SAFETY: parts of what was just mapped, whose rest is given back.
    unsafe {
        let region = block.add(before);
        if before > 0 {
            unmap(block, before);
        }
        unmap(region.add(REGION_BYTES), REGION_BYTES - before);
        #[cfg(target_os = "linux")]
        libc::madvise(region.as_ptr().cast(), REGION_BYTES, libc::MADV_HUGEPAGE);
        Some(region)
    }
}

/// # Safety
/// `address` came from [`map`] or a [`DenseMemory`] with these `bytes`, and nothing uses it any more.
pub(crate) unsafe fn unmap(address: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller gives back a whole mapping that is out of use.
    unsafe { libc::munmap(address.as_ptr().cast(), round_up(bytes)) };
}

/// Makes a mapping read as zero again and gives its pages back.
///
/// # Safety
/// `address` came from [`map`] or a [`DenseMemory`] with at least these `bytes`, and no thread
/// reads or writes it during the call.
pub(crate) unsafe fn zero(address: NonNull<u8>, bytes: usize) {
    if cfg!(miri) {
        // SAFETY: a mapping of ours, by the caller's promise.
        return unsafe { address.write_bytes(0, bytes) };
    }
    // SAFETY: on a private anonymous mapping MADV_DONTNEED gives zero pages.
    unsafe {
        libc::madvise(
            address.as_ptr().cast(),
            round_up(bytes),
            libc::MADV_DONTNEED,
        )
    };
}

/// Maps a zeroed `T`.
///
/// # Safety
/// All-zero bytes are a valid `T`, and `T` needs no alignment above a page.
pub(crate) unsafe fn map_zeroed<T>() -> Option<NonNull<T>> {
    const { assert!(align_of::<T>() <= PAGE_BYTES) };
    Some(map(size_of::<T>())?.cast())
}

fn round_up(bytes: usize) -> usize {
    bytes.next_multiple_of(PAGE_BYTES)
}

/// The allocator of the hash tables on the recording side.
#[cfg_attr(feature = "striped-tables", allow(dead_code))]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Untracked;

// SAFETY: every block is a mapping of its own that stays valid until it is
// deallocated; all copies of this zero-sized type are the same allocator.
unsafe impl Allocator for Untracked {
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.align() > PAGE_BYTES {
            return Err(AllocError);
        }
        let block = map(layout.size().max(1)).ok_or(AllocError)?;
        Ok(NonNull::slice_from_raw_parts(block, layout.size()))
    }

    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block came from `allocate` with the same layout.
        unsafe { unmap(block, layout.size().max(1)) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also of threads that ask for a new region at the same time.
    #[test]
    fn pieces_of_dense_memory_are_zeroed_and_apart() {
        const PIECES: usize = if cfg!(miri) { 4 } else { 64 };
        const BYTES: usize = 96 << 10;
        let memory = DenseMemory::new();
        // SAFETY: its last byte.
        let ends = |piece: NonNull<u8>| [piece, unsafe { piece.add(BYTES - 1) }];
        std::thread::scope(|scope| {
            for thread in 1..=4_u8 {
                let memory = &memory;
                scope.spawn(move || {
                    let pieces: Vec<_> = (0..PIECES).map(|_| memory.map(BYTES).unwrap()).collect();
                    for end in pieces.iter().flat_map(|piece| ends(*piece)) {
                        // SAFETY: a piece of this thread's own.
                        unsafe {
                            assert_eq!(end.read(), 0);
                            end.write(thread);
                        }
                    }
                    for piece in pieces {
                        // SAFETY: as above; each is given back once.
                        unsafe {
                            assert_eq!(ends(piece).map(|end| end.read()), [thread; 2]);
                            unmap(piece, BYTES);
                        }
                    }
                });
            }
        });
    }
}
