//! What the inner allocator refuses is not counted.

use crate::allocator::REFUSING;
use crate::support::Scenario;
use crate::support::blocks::Block;
use heapledger::{HeapStats, Profiler};
use std::alloc::{Layout, alloc, alloc_zeroed};
use std::hint::black_box;
use std::sync::atomic::Ordering::Relaxed;

pub(crate) const SCENARIOS: &[Scenario] = &[Scenario::new("refusal/null", null, |child| {
    let profile = child.run().exited_with(0).profile();
    let sum = profile.sum_in("the_block");
    assert_eq!((sum.tbk, sum.tb, sum.mb, sum.eb), (2, 300, 200, 0));
    // Its life went on through what was refused.
    assert!(sum.tl >= 20_000, "{}", sum.tl);
    assert!(profile.points_in("refused").is_empty());
})];

#[inline(never)]
fn the_block() -> Block {
    Block::new(100)
}

/// Everything that can be refused, with null as the answer.
#[inline(never)]
fn refused(block: &mut Block, older: &mut Block) {
    REFUSING.store(true, Relaxed);
    let layout = Layout::new::<[u8; 64]>();
    // SAFETY: the size is not 0.
    let (plain, zeroed) = unsafe { (black_box(alloc(layout)), black_box(alloc_zeroed(layout))) };
    let grown = block.try_resize(1000);
    let shrunk = block.try_resize(10);
    let grown_older = older.try_resize(1000);
    REFUSING.store(false, Relaxed);
    assert!(plain.is_null() && zeroed.is_null() && !grown && !shrunk && !grown_older);
}

fn totals() -> [usize; 6] {
    let stats = HeapStats::get();
    [
        stats.total_blocks as usize,
        stats.total_bytes as usize,
        stats.curr_blocks,
        stats.curr_bytes,
        stats.max_blocks,
        stats.max_bytes,
    ]
}

fn null() {
    let mut older = Block::new(10);
    let profiler = Profiler::new_heap();
    let mut block = the_block();
    refused(&mut block, &mut older);
    assert_eq!(totals(), [1, 100, 1, 100, 1, 100]);
    std::thread::sleep(std::time::Duration::from_millis(20));
    block.resize(200);
    assert_eq!(totals(), [2, 300, 1, 200, 1, 200]);
    refused(&mut block, &mut older);
    assert_eq!(totals(), [2, 300, 1, 200, 1, 200]);
    block.free();
    assert_eq!(totals(), [2, 300, 0, 0, 1, 200]);
    older.free();
    assert_eq!(totals(), [2, 300, 0, 0, 1, 200]);
    drop(profiler);
}
