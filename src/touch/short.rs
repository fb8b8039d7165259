//! The pattern in short blocks, which most are: without a branch on the size, which no
//! processor foresees where it varies, and without a loop.

use crate::touch::pattern::{Changed, PATTERN, turned};
use std::arch::asm;
use std::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set1_epi64x};
use std::hint::select_unpredictable;

/// No longer ones are short.
pub(crate) const SHORT_BYTES: usize = 64;

const LANE: usize = 16;

/// Fills a block; what does not fit into it is written to `spare`.
///
/// # Safety
/// The block is the caller's, as are 8 bytes at `spare`; `1 <= bytes <= SHORT_BYTES`.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) unsafe fn fill(block: *mut u8, bytes: usize, spare: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe {
        match bytes {
            0..=LANE => fill_a_lane(block, bytes, spare),
            _ => fill_lanes(block, bytes),
        }
    }
}

/// # Safety
/// As for [`fill`]; up to 16 bytes.
#[cfg_attr(not(debug_assertions), inline(always))]
unsafe fn fill_a_lane(block: *mut u8, bytes: usize, spare: *mut u8) {
    let last = turned(PATTERN, bytes);
    // SAFETY: each is within the block if that is as large as the number here says, else
    // in the spare bytes. The one in the middle is for blocks of 3.
    unsafe {
        let from = |size: usize| select_unpredictable(bytes >= size, block, spare);
        let up_to = |size: usize| {
            let at = block.wrapping_add(bytes).wrapping_sub(size);
            select_unpredictable(bytes >= size, at, spare)
        };
        from(8).cast::<u64>().write_unaligned(PATTERN);
        up_to(8).cast::<u64>().write_unaligned(last);
        from(4).cast::<u32>().write_unaligned(PATTERN as u32);
        up_to(4).cast::<u32>().write_unaligned((last >> 32) as u32);
        block.write(PATTERN as u8);
        let middle = bytes / 2;
        block.add(middle).write(turned(PATTERN, middle) as u8);
        block.add(bytes - 1).write((last >> 56) as u8);
    }
}

/// # Safety
/// As for [`fill`]; 16 bytes or more.
#[cfg_attr(not(debug_assertions), inline(always))]
unsafe fn fill_lanes(block: *mut u8, bytes: usize) {
    let last = turned(PATTERN, bytes);
    // SAFETY: within the block; where that ends before a lane does, the first lane is
    // written once more.
    unsafe {
        let lane = |end: usize| {
            let offset = select_unpredictable(bytes >= end, end - LANE, 0);
            block.add(offset)
        };
        for at in [block, lane(2 * LANE), lane(3 * LANE)] {
            at.cast::<[u64; 2]>().write_unaligned([PATTERN; 2]);
        }
        let at = block.add(bytes - LANE);
        at.cast::<[u64; 2]>().write_unaligned([last; 2]);
    }
}

/// Which bytes of a block have changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChangedBits {
    bits: u64,
    all: u64,
}

impl ChangedBits {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_all(self) -> bool {
        self.bits == self.all
    }

    pub(crate) fn count(self) -> Changed {
        Changed {
            bytes: self.bits.count_ones() as usize,
            end: 64 - self.bits.leading_zeros() as usize,
        }
    }
}

/// What was written to a block that was filled.
///
/// # Safety
/// The block is the caller's, and begins at a multiple of 16; `1 <= bytes <=
/// SHORT_BYTES`.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) unsafe fn changed(block: *const u8, bytes: usize) -> ChangedBits {
    let all = !0 >> (SHORT_BYTES - bytes);
    // SAFETY: the lanes have bytes of the block.
    let bits = unsafe {
        match bytes {
            0..=LANE => changed_in_lane(block),
            _ => {
                let last = (bytes - 1) & !(LANE - 1);
                let lane = |at: usize| changed_in_lane(block.add(at.min(last))) << at;
                lane(0) | lane(LANE) | lane(2 * LANE) | lane(3 * LANE)
            }
        }
    };
    let bits = bits & all;
    ChangedBits { bits, all }
}

/// A bit for each byte of a lane that is not the pattern's; those behind the end of the
/// block mean nothing.
///
/// # Safety
/// The lane begins at a multiple of 16, and its first byte is readable.
#[cfg_attr(not(debug_assertions), inline(always))]
unsafe fn changed_in_lane(lane: *const u8) -> u64 {
    let found: __m128i;
    // SAFETY: one load, which is within a page. It may be of bytes that are not the
    // block's, which no Rust code could read.
    unsafe {
        asm!(
            "movdqa {found}, xmmword ptr [{lane}]",
            found = lateout(xmm_reg) found,
            lane = in(reg) lane,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    // SAFETY: SSE2 is part of the architecture.
    let same = unsafe {
        let pattern = _mm_set1_epi64x(PATTERN as i64);
        _mm_movemask_epi8(_mm_cmpeq_epi8(found, pattern))
    };
    u64::from(!same as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::touch::pattern;
    use std::mem::MaybeUninit;

    #[repr(align(16))]
    struct Room([u8; 2 * SHORT_BYTES]);

    const OUTSIDE: u8 = 0x11;

    #[test]
    fn short_blocks_are_filled_as_others_and_nothing_beside_them() {
        for bytes in 1..=SHORT_BYTES {
            for start in 0..16 {
                let mut room = Room([OUTSIDE; 2 * SHORT_BYTES]);
                let mut spare = [0; 8];
                // SAFETY: within the room.
                unsafe { fill(room.0.as_mut_ptr().add(start), bytes, spare.as_mut_ptr()) };
                let mut expected = [MaybeUninit::new(OUTSIDE); 2 * SHORT_BYTES];
                pattern::fill(&mut expected[start..start + bytes], 0);
                // SAFETY: made with values.
                let expected = expected.iter().map(|byte| unsafe { byte.assume_init() });
                assert!(room.0.iter().copied().eq(expected), "{bytes} at {start}");
            }
        }
    }

    #[test]
    fn what_was_written_to_short_blocks_is_found_as_in_others() {
        let mut room = Room([OUTSIDE; 2 * SHORT_BYTES]);
        let block = room.0.as_mut_ptr();
        for bytes in 1..=SHORT_BYTES {
            // Every pair of bytes, one alone, and none.
            for first in 0..=bytes {
                for second in first..=bytes {
                    let mut spare = [0; 8];
                    // SAFETY: within the room, at its begin.
                    let found = unsafe {
                        fill(block, bytes, spare.as_mut_ptr());
                        for at in [first, second] {
                            block.add(at).write(OUTSIDE);
                        }
                        changed(block, bytes).count()
                    };
                    assert_eq!(
                        found,
                        pattern::changed(&room.0[..bytes], 0),
                        "{bytes}: {first}, {second}"
                    );
                }
            }
            // SAFETY: as above.
            let all = unsafe {
                block.write_bytes(OUTSIDE, bytes);
                changed(block, bytes)
            };
            assert!(all.is_all());
            assert_eq!(all.count(), Changed { bytes, end: bytes });
        }
    }
}
