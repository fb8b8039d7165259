//! A program whose global allocator is Rust's own: that allocates from `malloc`, so all
//! of it is recorded nevertheless.

#[path = "../../support/mod.rs"]
mod support;

use heapledger::{HeapStats, Profiler};
use support::Scenario;
use support::blocks::Block;
use support::child::tell;
use support::storm::{storm, storm_is_in};

const SCENARIOS: &[Scenario] = &[
    Scenario::new("without_alloc/blocks", blocks, |child| {
        let ended = child.run().exited_with(0);
        let sum = ended.profile().sum_in("three_blocks");
        assert_eq!((sum.tbk, sum.tb, sum.ebk, sum.eb), (4, 760, 1, 400));
        assert!(!ended.stderr.contains("error"), "{}", ended.stderr);
    }),
    Scenario::new("without_alloc/storm", stormy, |child| {
        let ended = child.run().exited_with(0);
        let summaries = ended.summaries();
        storm_is_in(&ended.profile(), &summaries[0], |name| ended.told(name));
    }),
];

fn main() {
    support::main(&[SCENARIOS]);
}

#[inline(never)]
fn three_blocks() -> Block {
    let mut kept = Block::new(100);
    Block::zeroed(60, 8).free();
    Block::aligned(200, 128).free();
    kept.resize(400);
    kept
}

fn blocks() {
    let _profiler = Profiler::new_heap();
    let before = HeapStats::get().curr_bytes;
    let kept = three_blocks();
    tell("held", (HeapStats::get().curr_bytes - before) as u64);
    kept.keep();
}

fn stormy() {
    let _profiler = Profiler::builder().exact_peaks().build();
    storm();
}
