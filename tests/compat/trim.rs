//! How many frames of a stack are kept.

use std::hint::black_box;

/// The names that `dhat_compat.rs` looks for, and what they ask for.
const SETTINGS: [(&str, Option<usize>); 7] = [
    ("trim_0.json", Some(0)),
    ("trim_4.json", Some(4)),
    ("trim_5.json", Some(5)),
    ("trim_10.json", Some(10)),
    ("trim_20.json", Some(20)),
    ("trim_max.json", Some(usize::MAX)),
    ("trim_none.json", None),
];

pub(crate) fn every_setting() {
    println!("standard output has its buffer before profiling starts");
    for (file, frames) in SETTINGS {
        let _profiler = dhat::Profiler::builder()
            .trim_backtraces(frames)
            .file_name(file)
            .build();
        let depth = descend(30);
        println!("{file}: {depth} {:?}", dhat::HeapStats::get());
    }
}

/// One block at the deepest point, so that there is one stack to compare.
#[inline(never)]
fn descend(levels: usize) -> usize {
    if levels == 0 {
        return bottom();
    }
    // Not a tail call.
    black_box(descend(levels - 1)) + 1
}

#[inline(never)]
fn bottom() -> usize {
    let block = black_box(vec![1_u8; 500]);
    block.len() / 500
}
