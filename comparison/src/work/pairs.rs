//! An allocation of 64 bytes and its free, over and over, under `parameter`
//! frames of recursion, for a fixed time.

use super::{Done, Work};
use std::hint::black_box;
use std::time::{Duration, Instant};

const TIME: Duration = Duration::from_millis(300);
const BETWEEN_LOOKS: u64 = 500;

pub(super) fn prepare(depth: usize) -> Work {
    Box::new(move || Done {
        checksum: depth as u64,
        operations: descend(depth),
    })
}

#[inline(never)]
fn descend(depth: usize) -> u64 {
    match depth {
        0 => pairs(),
        _ => black_box(descend(depth - 1)),
    }
}

#[inline(never)]
fn pairs() -> u64 {
    let start = Instant::now();
    let mut count = 0;
    while start.elapsed() < TIME {
        for _ in 0..BETWEEN_LOOKS {
            black_box(Box::new(black_box([0_u8; 64])));
        }
        count += BETWEEN_LOOKS;
    }
    count
}
