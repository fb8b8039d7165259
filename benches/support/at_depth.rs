//! Stacks of a given depth.

use std::hint::black_box;

/// Calls `work` under `depth` frames of recursion.
#[inline(never)]
pub(crate) fn at_depth<T>(depth: usize, work: &mut dyn FnMut() -> T) -> T {
    match depth {
        0 => work(),
        // Not a tail call, so that the frame is there.
        _ => black_box(at_depth(depth - 1, work)),
    }
}
