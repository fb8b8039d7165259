//! The same operations, served by different allocators, count the same.

use crate::support::Scenario;
use crate::support::blocks::{Block, Numbers};
use crate::support::child::{Child, Ended, tell};
use crate::support::storm::{storm, storm_is_in};
use heapledger::{HeapStats, Profiler};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("placement/same_counts", same_operations, same_counts),
    Scenario::new("placement/same_written", written_blocks, same_written),
    Scenario::new("placement/storm_odd", stormy, |child| {
        storm_agrees(child, "odd")
    }),
    Scenario::new("placement/storm_mimalloc", stormy, |child| {
        storm_agrees(child, "mimalloc");
    }),
    Scenario::new("placement/odd_addresses", odd_addresses, |child| {
        let profile = child.allocator("odd").run().exited_with(0).profile();
        let sum = profile.sum_in("odd_block");
        assert_eq!((sum.tbk, sum.ebk), (1000, 500));
    }),
];

const SEED: u64 = 4;
const STEPS: usize = 20_000;
const SLOTS: usize = 300;

#[inline(never)]
fn one_step(numbers: &mut Numbers, slot: &mut Option<Block>) {
    match slot.take() {
        None if numbers.below(2) == 0 => {
            *slot = Some(Block::aligned(numbers.size(), numbers.align()));
        }
        None => *slot = Some(Block::zeroed(numbers.size(), numbers.align())),
        Some(mut block) if numbers.below(2) == 0 => {
            block.resize(numbers.size());
            *slot = Some(block);
        }
        Some(block) => block.free(),
    }
}

fn same_operations() {
    let _profiler = Profiler::new_heap();
    let mut numbers = Numbers::new(SEED);
    let mut slots: [Option<Block>; SLOTS] = [const { None }; SLOTS];
    for _ in 0..STEPS {
        let slot = numbers.below(SLOTS);
        one_step(&mut numbers, &mut slots[slot]);
    }
    let stats = HeapStats::get();
    tell("total blocks", stats.total_blocks);
    tell("total bytes", stats.total_bytes);
    tell("live blocks", stats.curr_blocks as u64);
    tell("live bytes", stats.curr_bytes as u64);
    tell("peak blocks", stats.max_blocks as u64);
    tell("peak bytes", stats.max_bytes as u64);
}

/// What the operations come to, without any allocator.
fn same_counts(child: Child) {
    drop(child);
    let counts = |allocator| {
        let child = Child::of("placement/same_counts").allocator(allocator);
        let ended: Ended = child.run().exited_with(0);
        ended.profile();
        ended.stdout.clone()
    };
    let system = counts("system");
    assert_eq!(system.lines().count(), 6, "{system}");
    assert_eq!(counts("odd"), system);
    assert_eq!(counts("mimalloc"), system);
}

#[inline(never)]
fn written_block(numbers: &mut Numbers) -> u64 {
    let align = numbers.align();
    let mut block = Block::aligned(1 + numbers.size() % 4_096, align);
    let mut written = 1 + numbers.below(block.bytes());
    block.write(0, written);
    if numbers.below(2) == 0 {
        let more = 1 + numbers.below(3_000);
        let bytes = block.bytes() + more;
        block.resize(bytes.min(4_096));
        // Of the last byte it may be known already.
        if written < block.bytes() {
            block.write(block.bytes() - 1, 1);
            written += 1;
        }
        block.resize(1 + numbers.below(block.bytes()));
    }
    block.free();
    written as u64
}

#[inline(never)]
fn large_written_block(bytes: usize) {
    let mut block = Block::aligned(bytes, 16);
    block.write(1_000, 2_000);
    block.resize(bytes * 2);
    block.free();
}

fn written_blocks() {
    let _profiler = Profiler::new_heap();
    let mut numbers = Numbers::new(SEED);
    let written = (0..5_000).map(|_| written_block(&mut numbers)).sum();
    tell("written", written);
    for bytes in [5_000, 100_000, 200_000, 1_000_000] {
        large_written_block(bytes);
    }
}

/// What is written is found wherever the block lies, and whoever moves it.
fn same_written(child: Child) {
    drop(child);
    for allocator in ["system", "odd", "mimalloc"] {
        let child = Child::of("placement/same_written").allocator(allocator);
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        let small = profile.touch_in("written_block");
        assert_eq!((small.blocks, small.unmeasured_blocks), (5_000, 0));
        assert_eq!(small.written_bytes, ended.told("written"), "{allocator}");
        let large = profile.touch_in("large_written_block");
        assert_eq!(
            (large.blocks, large.unmeasured_blocks),
            (4, 0),
            "{allocator}"
        );
        assert_eq!(
            (large.bytes, large.written_bytes),
            (2 * 1_305_000, 4 * 2_000)
        );
    }
}

fn stormy() {
    let _profiler = Profiler::builder().exact_peaks().build();
    storm();
}

#[track_caller]
fn storm_agrees(child: Child, allocator: &str) {
    let ended = child.allocator(allocator).run().exited_with(0);
    storm_is_in(&ended.profile(), &ended.summaries()[0], |name| {
        ended.told(name)
    });
}

#[inline(never)]
fn odd_block(bytes: usize) -> Block {
    Block::new(bytes)
}

/// Two blocks in one granule of 16 bytes are kept apart.
fn odd_addresses() {
    let _profiler = Profiler::new_heap();
    let mut blocks: Vec<Block> = (0..1000).map(|n| odd_block(1 + n % 7)).collect();
    let together = blocks
        .windows(2)
        .filter(|pair| pair[0].address() / 16 == pair[1].address() / 16)
        .count();
    assert!(together > 200, "the allocator is not odd: {together}");
    for index in (0..500).rev() {
        blocks.swap_remove(index * 2).free();
    }
    std::mem::forget(blocks);
}
