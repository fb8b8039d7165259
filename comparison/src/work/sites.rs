//! `parameter` allocations, each with a stack of its own, that differ in the
//! six innermost frames: what the end of a run costs when there is much to
//! write. Six, so that stacks cut to ten frames differ as well.

use super::{Done, Work};
use std::hint::black_box;

const LEVELS: u32 = 6;

pub(super) fn prepare(count: usize) -> Work {
    assert!(count <= 1 << (3 * LEVELS), "more stacks than paths");
    Box::new(move || {
        let kept: Vec<Box<u64>> = (0..count as u64).map(Level::<LEVELS>::descend).collect();
        Done {
            checksum: kept.iter().map(|kept| **kept).sum(),
            operations: count as u64,
        }
    })
}

struct Level<const LEFT: u32>;

/// Calls the next level from one of eight places, by the path's lowest digit.
macro_rules! levels {
    ($($this:literal => $next:literal)*) => {$(
        impl Level<$this> {
            #[inline(never)]
            fn descend(path: u64) -> Box<u64> {
                // Each adds another number, so that no two calls can be merged.
                let next = |number| Level::<$next>::descend(path / 8 + black_box(number));
                match path % 8 {
                    0 => black_box(next(0)),
                    1 => black_box(next(1 << 40)),
                    2 => black_box(next(2 << 40)),
                    3 => black_box(next(3 << 40)),
                    4 => black_box(next(4 << 40)),
                    5 => black_box(next(5 << 40)),
                    6 => black_box(next(6 << 40)),
                    _ => black_box(next(7 << 40)),
                }
            }
        }
    )*};
}

levels! { 1 => 0  2 => 1  3 => 2  4 => 3  5 => 4  6 => 5 }

impl Level<0> {
    #[inline(never)]
    fn descend(path: u64) -> Box<u64> {
        black_box(Box::new(path))
    }
}
