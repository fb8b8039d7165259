//! Threads, one at a time, so that every figure is the same at every run.

use std::hint::black_box;
use std::thread;

pub(crate) fn one_after_another() {
    let _profiler = dhat::Profiler::builder().file_name("threads.json").build();
    work_on_threads();
}

pub(crate) fn stats_in_testing_mode() {
    let _profiler = dhat::Profiler::builder().testing().build();
    work_on_threads();
    let stats = dhat::HeapStats::get();
    dhat::assert!(stats.curr_bytes > 0);
}

fn work_on_threads() {
    let mut kept = Vec::new();
    for n in 1..=8_usize {
        let worker = thread::spawn(move || worker(n));
        kept.push(worker.join());
        show(n);
    }
    // Freed by another thread than allocated them.
    let block = black_box(vec![1_u8; 70_000]);
    let other = thread::spawn(move || block.len());
    println!("{:?}", other.join());
    drop(kept);
    show(0);
}

fn show(step: usize) {
    println!("{step}: {:?}", dhat::HeapStats::get());
}

#[inline(never)]
fn worker(n: usize) -> Vec<usize> {
    let scratch = black_box(vec![n; 1000 * n]);
    (0..scratch.len() / 10).collect()
}
