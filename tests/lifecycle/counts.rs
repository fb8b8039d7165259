//! What each operation counts, to the byte, on one thread.

use crate::runs::memory_kib;
use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::tell;
use heapledger::{HeapStats, Profiler, ProfilerBuilder};
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "counts/table",
        || table(Profiler::builder()),
        |child| {
            let ended = child.run().exited_with(0);
            table_is_in_the_file(&ended.profile());
        },
    ),
    Scenario::new(
        "counts/table_exact_peaks",
        || table(Profiler::builder().exact_peaks()),
        |child| {
            let ended = child.run().exited_with(0);
            table_is_in_the_file(&ended.profile());
        },
    ),
    Scenario::new("counts/site_maxima", site_maxima, |child| {
        let profile = child.run().exited_with(0).profile();
        let hill = profile.sum_in("hill");
        assert_eq!((hill.mb, hill.mbk, hill.eb), (600, 3, 300));
        // It was at its highest when the process was not.
        assert_eq!((hill.gb, hill.gbk), (300, 2));
        let ties = profile.sum_in("ties");
        assert_eq!((ties.mb, ties.mbk), (100, 2), "the later of equal maxima");
    }),
    Scenario::new(
        "counts/site_maximum_after_threads",
        || site_maximum_after_threads(Profiler::builder().exact_peaks()),
        |child| {
            let profile = child.run().exited_with(0).profile();
            assert_eq!(profile.points_in("shared_site").len(), 1, "one site");
            let shared = profile.sum_in("shared_site");
            assert_eq!((shared.tbk, shared.mb, shared.mbk), (1_002, 10_000, 1_000));
        },
    ),
    Scenario::new(
        "counts/blocks_at_a_shared_maximum",
        blocks_at_a_shared_maximum,
        |child| {
            let profile = child.run().exited_with(0).profile();
            let shared = profile.sum_in("small_block");
            assert_eq!(profile.points_in("small_block").len(), 1, "one site");
            // 51 blocks of 5,000 bytes, less what three threads may not have told.
            assert!(shared.mbk.abs_diff(51) <= 3 * 16, "{shared:?}");
            assert!(shared.mb.abs_diff(51 * 5_000) <= 3 * 5_000, "{shared:?}");
        },
    ),
    Scenario::new("counts/lifetimes", lifetimes, |child| {
        let profile = child.run().exited_with(0).profile();
        let resized = profile.sum_in("resized_block");
        let slept = 3 * SLEEP.as_micros() as u64;
        assert!(resized.tl >= slept, "{} < {slept}", resized.tl);
        assert!(resized.tl <= profile.duration_us());
        let live = profile.sum_in("live_block");
        assert!(live.tl >= 2 * SLEEP.as_micros() as u64, "{}", live.tl);
        assert!(live.tl < resized.tl);
        let short = profile.sum_in("short_block");
        assert!(short.tl < SLEEP.as_micros() as u64, "{}", short.tl);
    }),
    Scenario::new("counts/untouched_memory", untouched_memory, |child| {
        let ended = child.run().exited_with(0);
        let peak_kib = ended.told("peak rss kib");
        assert!(peak_kib < 20 << 10, "{peak_kib} KiB");
        assert_eq!(ended.profile().sum_in("untouched").eb, 512 << 20);
    }),
    Scenario::new("counts/collections", collections, |child| {
        let profile = child.run().exited_with(0).profile();
        // Four numbers, then doubled twice: one block with two reallocations.
        let vector = profile.sum_in("growing_vector");
        assert_eq!((vector.tb, vector.tbk), (8 * (4 + 8 + 16), 3));
        assert_eq!((vector.mb, vector.mbk, vector.ebk), (8 * 16, 1, 0));
        let sizes = &vector.heapledger;
        assert_eq!((sizes.reallocs, sizes.largest_bytes), (2, 8 * 16));
    }),
];

/// Total blocks, total bytes, live blocks, live bytes, blocks and bytes at the peak.
#[track_caller]
fn expect(what: &str, expected: [u64; 6]) {
    let stats = HeapStats::get();
    let actual = [
        stats.total_blocks,
        stats.total_bytes,
        stats.curr_blocks as u64,
        stats.curr_bytes as u64,
        stats.max_blocks as u64,
        stats.max_bytes as u64,
    ];
    assert_eq!(actual, expected, "{what}");
}

#[inline(never)]
fn original_site() -> Block {
    Block::new(100)
}

#[inline(never)]
fn resizing_site(block: &mut Block, bytes: usize) {
    block.resize(bytes);
}

fn table(builder: ProfilerBuilder) {
    let mut before = Block::new(5);
    let freed_inside = Block::new(6);
    let _profiler = builder.build();
    expect("start", [0, 0, 0, 0, 0, 0]);
    let mut block = original_site();
    expect("alloc", [1, 100, 1, 100, 1, 100]);
    let zeroed = Block::zeroed(1000, 1);
    expect("alloc_zeroed", [2, 1100, 2, 1100, 2, 1100]);
    let aligned = Block::aligned(24, 4096);
    expect("over-aligned", [3, 1124, 3, 1124, 3, 1124]);
    let zeroed_aligned = Block::zeroed(8, 256);
    expect("zeroed and over-aligned", [4, 1132, 4, 1132, 4, 1132]);
    resizing_site(&mut block, 150);
    expect("grown a little", [5, 1282, 4, 1182, 4, 1182]);
    resizing_site(&mut block, 100_000);
    expect("grown and moved", [6, 101_282, 4, 101_032, 4, 101_032]);
    resizing_site(&mut block, 10);
    expect("shrunk", [7, 101_292, 4, 1042, 4, 101_032]);
    resizing_site(&mut block, 10);
    expect("same size", [8, 101_302, 4, 1042, 4, 101_032]);
    freed_inside.free();
    expect("free of an older block", [8, 101_302, 4, 1042, 4, 101_032]);
    resizing_site(&mut before, 50);
    expect(
        "realloc of an older block",
        [9, 101_352, 5, 1092, 4, 101_032],
    );
    zeroed.free();
    expect("free", [9, 101_352, 4, 92, 4, 101_032]);
    aligned.free();
    zeroed_aligned.free();
    expect(
        "free of over-aligned blocks",
        [9, 101_352, 2, 60, 4, 101_032],
    );
    block.free();
    expect("free of a resized block", [9, 101_352, 1, 50, 4, 101_032]);
    // Up to the same peak again, in more blocks: the later peak is reported.
    let halves = [Block::new(50_491), Block::new(50_491)];
    expect("equal peak", [11, 202_334, 3, 101_032, 3, 101_032]);
    halves.into_iter().for_each(Block::free);
    expect("end", [11, 202_334, 1, 50, 3, 101_032]);
    before.keep();
}

fn table_is_in_the_file(profile: &crate::support::profile::Profile) {
    let original = profile.sum_in("original_site");
    let total = 100 + 150 + 100_000 + 10 + 10;
    assert_eq!((original.tbk, original.tb), (5, total));
    assert_eq!((original.mb, original.mbk), (100_000, 1));
    assert_eq!((original.gb, original.gbk), (0, 0));
    assert_eq!((original.eb, original.ebk), (0, 0));
    let sizes = &original.heapledger;
    assert_eq!((sizes.reallocs, sizes.largest_bytes), (4, 100_000));
    // From 150 to 100,000 bytes it cannot have stayed where it was.
    assert!((150..=100 + 150 + 10 + 10).contains(&sizes.copied_bytes));
    // The older block is at the site of its realloc: its own is not known.
    let resizing = profile.sum_in("resizing_site");
    assert_eq!((resizing.tbk, resizing.tb), (1, 50));
    assert_eq!((resizing.gb, resizing.eb, resizing.ebk), (50, 50, 1));
    let all = profile.sum_in("table");
    assert_eq!(
        (all.tbk, all.tb, all.gb, all.gbk),
        (11, 202_334, 101_032, 3)
    );
}

/// Functions with equal bodies would be merged into one: each has an alignment
/// of its own.
#[inline(never)]
fn hill(bytes: usize) -> Block {
    Block::aligned(bytes, 2)
}

#[inline(never)]
fn ties(bytes: usize) -> Block {
    Block::aligned(bytes, 4)
}

/// Each has one site: every call is in one loop, which is not unrolled.
fn site_maxima() {
    let (mut hills, mut held) = (Vec::with_capacity(3), Vec::with_capacity(3));
    let _profiler = Profiler::new_heap();
    for bytes in black_box(&[100, 200, 300][..]) {
        hills.push(hill(*bytes));
    }
    hills.remove(2).free();
    Block::new(5000).free();
    // 100 bytes in one block, then in two; 0 ends a group.
    for bytes in black_box(&[100, 0, 50, 50, 0][..]) {
        match *bytes {
            0 => held.drain(..).for_each(Block::free),
            bytes => held.push(ties(bytes)),
        }
    }
    std::mem::forget(hills);
}

/// So deep that the frames kept are the same ones on any thread.
#[inline(never)]
fn same_stack(levels: usize, work: &mut dyn FnMut()) {
    match levels {
        0 => work(),
        _ => same_stack(black_box(levels - 1), work),
    }
    black_box(());
}

/// `blocks` live at once, at one site.
#[inline(never)]
fn shared_site(blocks: usize) {
    let mut held = [const { None }; 1000];
    for slot in black_box(&mut held[..blocks]) {
        *slot = Some(Block::new(10));
    }
    held.into_iter().flatten().for_each(Block::free);
}

/// Once one thread is left again, a site that others have used is as exact.
fn site_maximum_after_threads(builder: ProfilerBuilder) {
    let _profiler = builder.trim_backtraces(Some(4)).build();
    let run = |blocks| same_stack(40, &mut || shared_site(blocks));
    // The process is at its peak here, the site is not.
    Block::new(10_000_000).free();
    run(1);
    thread::spawn(move || run(1)).join().expect("joins");
    run(1000);
}

#[inline(never)]
fn small_block() -> Block {
    Block::new(8)
}

/// The one who allocates changes blocks and few bytes, the one who resizes
/// bytes and no blocks: what each tells of its part is of another moment.
fn blocks_at_a_shared_maximum() {
    let _profiler = Profiler::new_heap();
    let waiting = &Barrier::new(3);
    thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel::<Block>();
        // Of the two the first is the site's owner, and the second has 100
        // blocks, of too few bytes to tell of.
        let mut resized = Vec::new();
        for blocks in [1, 100] {
            let sender = sender.clone();
            scope.spawn(move || {
                for _ in 0..black_box(blocks) {
                    sender.send(small_block()).expect("a receiver");
                }
                waiting.wait();
            });
            resized.extend(receiver.iter().take(blocks));
        }
        for block in &mut resized {
            block.resize(600);
        }
        // The process is at its peak here, the site is not.
        Block::new(10_000_000).free();
        resized.drain(..50).for_each(Block::free);
        for block in &mut resized {
            block.resize(5_000);
        }
        waiting.wait();
        resized.into_iter().for_each(Block::free);
    });
}

const SLEEP: Duration = Duration::from_millis(20);

#[inline(never)]
fn resized_block() -> Block {
    Block::aligned(10, 1)
}

#[inline(never)]
fn live_block() -> Block {
    Block::aligned(10, 2)
}

#[inline(never)]
fn short_block() -> Block {
    Block::aligned(10, 4)
}

fn lifetimes() {
    let _profiler = Profiler::new_heap();
    let mut resized = resized_block();
    thread::sleep(SLEEP);
    resized.resize(100_000);
    let live = live_block();
    thread::sleep(SLEEP);
    resized.resize(5);
    short_block().free();
    thread::sleep(SLEEP);
    resized.free();
    live.keep();
}

#[inline(never)]
fn untouched() -> Vec<u8> {
    vec![0; 512 << 20]
}

fn untouched_memory() {
    let _profiler = Profiler::new_heap();
    let zeros = black_box(untouched());
    tell("peak rss kib", memory_kib("VmHWM:"));
    std::mem::forget(zeros);
}

#[inline(never)]
fn growing_vector() {
    let mut numbers = Vec::new();
    for number in 0..16_u64 {
        numbers.push(black_box(number));
    }
    black_box(&numbers);
}

fn collections() {
    let _profiler = Profiler::new_heap();
    growing_vector();
}
