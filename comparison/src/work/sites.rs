//! `parameter` allocations, each with a stack of its own, that differ in the
//! nine innermost frames: what the end of a run costs when there is much to
//! write.

use super::{Done, Work};
use std::hint::black_box;

const LEVELS: u32 = 9;

pub(super) fn prepare(count: usize) -> Work {
    assert!(count <= 1 << (2 * LEVELS), "more stacks than paths");
    Box::new(move || {
        let kept: Vec<Box<u64>> = (0..count)
            .map(|path| Level::<9>::descend(path as u64))
            .collect();
        Done {
            checksum: kept.iter().map(|kept| **kept).sum(),
            operations: count as u64,
        }
    })
}

/// Calls the next level from one of four places, by the path's lowest digit.
macro_rules! levels {
    ($($this:literal => $next:literal)*) => {$(
        impl Level<$this> {
            #[inline(never)]
            fn descend(path: u64) -> Box<u64> {
                let rest = path / 4;
                match path % 4 {
                    0 => black_box(Level::<$next>::descend(rest)),
                    1 => black_box(Level::<$next>::descend(black_box(rest))),
                    2 => black_box(black_box(Level::<$next>::descend(rest))),
                    _ => black_box(Level::<$next>::descend(black_box(black_box(rest)))),
                }
            }
        }
    )*};
}

struct Level<const LEFT: u32>;

levels! { 1 => 0  2 => 1  3 => 2  4 => 3  5 => 4  6 => 5  7 => 6  8 => 7  9 => 8 }

impl Level<0> {
    #[inline(never)]
    fn descend(path: u64) -> Box<u64> {
        black_box(Box::new(path))
    }
}
