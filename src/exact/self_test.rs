//! Whether accesses are counted as they should be: the flags are LLVM's own, outside
//! of what Rust promises, so that a compiler may accept them and do nothing.

use super::{Content, allocated, freed, moving, sum_of};
use crate::untracked;
use std::hint::black_box;
use std::ptr::NonNull;

/// The number of a site that no stack has, whose blocks the test makes.
pub(crate) const SITE: u32 = (1 << 22) - 1;

const BYTES: usize = 256;

/// Why accesses are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Silent {
    /// There was no memory for the test.
    NoMemory,
    /// The compiler put no callbacks in, or not all.
    Callbacks,
    /// A write without a callback was not found, or a wrong number of bytes.
    Canary,
}

/// Makes a block, does to it what programs do, and looks at the counts.
pub(crate) fn run() -> Result<(), Silent> {
    let block = untracked::map(BYTES).ok_or(Silent::NoMemory)?;
    let result = count_in(block);
    // SAFETY: mapped above; nothing of it is used any more.
    unsafe { untracked::unmap(block, BYTES) };
    result
}

fn count_in(block: NonNull<u8>) -> Result<(), Silent> {
    let address = block.as_ptr() as usize;
    // SAFETY: a block of the right size that is nobody else's.
    unsafe { allocated(address, BYTES, SITE, Content::Nothing) };
    let before = sum_of(SITE);
    touch(black_box(block));
    let after = sum_of(SITE);
    let (read, written) = (after.read - before.read, after.written - before.written);
    let distinct = after.distinct - before.distinct;
    // SAFETY: still allocated; it stays where it is.
    unsafe {
        moving(address, (BYTES, BYTES), || {
            write_unseen(block);
            block.as_ptr()
        });
        freed(address, BYTES);
    }
    let end = sum_of(SITE);
    if (read, written, distinct) != (READ, WRITTEN, DISTINCT) {
        return Err(Silent::Callbacks);
    }
    // The move counts as a copy of the whole block.
    let untold = end.untold - after.untold;
    if untold != 8 || end.written - after.written != BYTES as u64 + 8 {
        return Err(Silent::Canary);
    }
    Ok(())
}

const READ: u64 = 1 + 2 + 4 + 8 + 40;
const WRITTEN: u64 = 1 + 2 + 4 + 8 + 40;
/// The first four writes are to the same bytes.
const DISTINCT: u64 = 8 + 40;

/// Reads and writes of all sizes, and a copy; none that a compiler may leave out.
#[inline(never)]
fn touch(block: NonNull<u8>) {
    // SAFETY: inside of the block, and aligned as it is.
    unsafe {
        block.write_volatile(1);
        block.cast::<u16>().write_volatile(2);
        block.cast::<u32>().write_volatile(3);
        block.cast::<u64>().write_volatile(4);
        black_box(block.read_volatile());
        black_box(block.cast::<u16>().read_volatile());
        black_box(block.cast::<u32>().read_volatile());
        black_box(block.cast::<u64>().read_volatile());
        block.copy_to(block.add(64), black_box(40));
    }
}

/// A write that no callback tells of, as of code that comes compiled.
#[inline(never)]
fn write_unseen(block: NonNull<u8>) {
    #[cfg(all(heapledger_exact, target_arch = "x86_64"))]
    // SAFETY: inside of the block.
    unsafe {
        std::arch::asm!(
            "mov qword ptr [{at}], 7",
            at = in(reg) block.as_ptr().add(200),
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(all(heapledger_exact, target_arch = "x86_64")))]
    let _ = block;
}
