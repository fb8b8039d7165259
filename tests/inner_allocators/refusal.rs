//! What the inner allocator refuses is not counted.

use crate::allocator::{REFUSED_ONE_IN, REFUSING};
use crate::support::Scenario;
use crate::support::blocks::{Block, Numbers};
use crate::support::child::{Child, setting, tell};
use crate::support::profile::Refused;
use heapledger::{HeapStats, Profiler};
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, Mutex};
use std::thread;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("refusal/null", null, |child| {
        let profile = child.run().exited_with(0).profile();
        let sum = profile.sum_in("the_block");
        assert_eq!((sum.tbk, sum.tb, sum.mb, sum.eb), (2, 300, 200, 0));
        // Its life went on through what was refused.
        assert!(sum.tl >= 20_000, "{}", sum.tl);
        assert!(profile.points_in("refused").is_empty());
    }),
    Scenario::new("refusal/at_random", at_random, |child| {
        refusals_are_not_counted(child, "system");
    }),
    Scenario::new("refusal/at_random_odd", at_random, |child| {
        refusals_are_not_counted(child, "odd");
    }),
];

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

// ---- at random ----------------------------------------------------------------------

const THREADS: usize = 4;
const SLOTS: usize = 256;

/// A block that is there, and how large.
struct Held(*mut u8, usize);

// SAFETY: an owned block.
unsafe impl Send for Held {}

static HELD: [Mutex<Option<Held>>; SLOTS] = [const { Mutex::new(None) }; SLOTS];

/// Total blocks, total bytes; live blocks, live bytes; refusals.
static COUNTS: [AtomicU64; 5] = [const { AtomicU64::new(0) }; 5];
const NAMES: [&str; 5] = ["tbk", "tb", "ebk", "eb", "refusals"];

fn count(changes: [usize; 5]) {
    for (count, change) in COUNTS.iter().zip(changes) {
        count.fetch_add(change as u64, Relaxed);
    }
}

/// One request, of which some are refused, to a slot that all threads use.
#[inline(never)]
fn refusable_step(numbers: &mut Numbers) {
    let layout = |bytes| Layout::from_size_align(bytes, 1 << (bytes % 5)).expect("a power of two");
    let (slot, bytes) = (numbers.below(SLOTS), numbers.size());
    let kind = numbers.below(3);
    let mut held = HELD[slot].lock().expect("no panic");
    // SAFETY: sizes are not 0; blocks are given back, and reallocated, with the layout
    // that they have, and the alignment stays.
    unsafe {
        *held = match held.take() {
            None => {
                let block = match kind {
                    0 => alloc_zeroed(layout(bytes)),
                    _ => alloc(layout(bytes)),
                };
                match black_box(block).is_null() {
                    true => count([0, 0, 0, 0, 1]),
                    false => count([1, bytes, 1, bytes, 0]),
                }
                (!block.is_null()).then_some(Held(block, bytes))
            }
            Some(Held(block, old)) if kind == 0 => {
                dealloc(block, layout(old));
                count([0, 0, usize::MAX, old.wrapping_neg(), 0]);
                None
            }
            Some(Held(block, old)) => {
                // Of the same alignment.
                let bytes = bytes - bytes % 5 + old % 5 + 5;
                let moved = black_box(realloc(block, layout(old), bytes));
                if moved.is_null() {
                    count([0, 0, 0, 0, 1]);
                    // It is what and where it was.
                    block.write_bytes(1, old);
                    Some(Held(block, old))
                } else {
                    count([1, bytes, 0, bytes.wrapping_sub(old), 0]);
                    Some(Held(moved, bytes))
                }
            }
        }
    }
}

fn at_random() {
    let steps: usize = setting("HEAPLEDGER_TEST_OPERATIONS", 50_000);
    let _profiler = Profiler::builder().exact_peaks().build();
    let all = &Barrier::new(THREADS);
    thread::scope(|scope| {
        for seed in 1..=THREADS as u64 {
            scope.spawn(move || {
                let mut numbers = Numbers::new(seed);
                all.wait();
                REFUSED_ONE_IN.set((3, seed));
                for _ in 0..steps {
                    refusable_step(&mut numbers);
                }
                REFUSED_ONE_IN.set((0, 0));
            });
        }
    });
    for (name, count) in NAMES.iter().zip(&COUNTS) {
        tell(name, count.load(Relaxed));
    }
}

fn refusals_are_not_counted(child: Child, allocator: &str) {
    let ended = child.allocator(allocator).run().exited_with(0);
    let profile = ended.profile();
    let sum = profile.sum_in("refusable_step");
    let [tbk, tb, ebk, eb, refusals] = NAMES.map(|name| ended.told(name));
    assert_eq!([sum.tbk, sum.tb, sum.ebk, sum.eb], [tbk, tb, ebk, eb]);
    assert!(ebk > 0 && refusals > tbk / 4, "{refusals} of {tbk}");
    assert_eq!(profile.refused(), Refused::default());
}
