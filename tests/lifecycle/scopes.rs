//! Scopes and runs in one process: neither takes from the other.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, tell};
use heapledger::{HeapStats, Profiler, Scope, measure, measure_counts};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("scopes/in_a_run", in_a_run, |child| {
        let profile = child.run().exited_with(0).profile();
        let point = profile.sum_in("in_scope");
        assert_eq!((point.tb, point.tbk, point.eb), (60, 3, 20));
        assert_eq!(profile.sum_in("outside").tb, 5);
    }),
    Scenario::new("scopes/around_runs", around_runs, passes),
    Scenario::new("scopes/testing_mode", testing_mode, passes),
    Scenario::new("scopes/paused_run", paused_run, passes),
    Scenario::new("scopes/ad_hoc_run", ad_hoc_run, passes),
    Scenario::new("scopes/runs_come_and_go", runs_come_and_go, passes),
    Scenario::new("scopes/fork", fork, passes),
    Scenario::new("scopes/written_in_a_run", written_in_a_run, |child| {
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        for (function, numbers) in [
            ("ten_of_hundred_freed_inside", (50, 5_000, 500)),
            ("ten_of_hundred_freed_later", (50, 5_000, 500)),
            ("ten_of_hundred_live", (50, 5_000, 500)),
            ("ten_of_hundred_elsewhere", (50, 5_000, 500)),
            ("three_of_ten", (1, 10, 3)),
            ("grown_and_shrunk", (1, 400, 60)),
            ("grown_outside", (1, 400, 60)),
            ("large_outside", (1, 1_000_000, 100)),
        ] {
            let touch = profile.touch_in(function);
            let found = (touch.blocks, touch.bytes, touch.written_bytes);
            assert_eq!((found, touch.unmeasured_blocks), (numbers, 0), "{function}");
        }
        let many = profile.touch_in("sampled");
        assert_eq!(many.unmeasured_blocks, 0);
        assert_eq!(many.all_bytes, 2_000 * 65_536);
        assert!(many.blocks >= 16 && many.blocks < 500, "{many:?}");
        assert_eq!(many.written_bytes, many.blocks * 1_000);
        let measured = profile.touch_in("measured_by_scope");
        assert_eq!((measured.blocks, measured.written_bytes), (40, 40_000));
        assert_eq!(ended.told("unwritten"), 40 * (65_536 - 1_000));
    }),
];

/// A part of its caller. Callers with another alignment are other code, which is not merged
/// where it is optimized.
#[inline(always)]
fn written(bytes: usize, written: usize, align: usize) -> Block {
    let mut block = Block::aligned(bytes, align);
    block.write(0, written);
    block
}

#[inline(never)]
fn ten_of_hundred_freed_inside() -> Block {
    written(100, 10, 1)
}

#[inline(never)]
fn ten_of_hundred_freed_later() -> Block {
    written(100, 10, 2)
}

#[inline(never)]
fn ten_of_hundred_live() -> Block {
    written(100, 10, 4)
}

#[inline(never)]
fn ten_of_hundred_elsewhere() -> Block {
    written(100, 10, 8)
}

#[inline(never)]
fn three_of_ten() -> Block {
    written(10, 3, 1)
}

#[inline(never)]
fn grown_and_shrunk() -> Block {
    let mut block = written(100, 50, 1);
    block.resize(400);
    block.write(190, 10);
    block.resize(200);
    block
}

#[inline(never)]
fn grown_outside() -> Block {
    written(100, 50, 1)
}

#[inline(never)]
fn large_outside() -> Block {
    written(1_000_000, 100, 1)
}

#[inline(never)]
fn sampled() -> Block {
    written(65_536, 1_000, 1)
}

#[inline(never)]
fn measured_by_scope() -> Block {
    written(65_536, 1_000, 2)
}

/// What is written to blocks is measured while scopes are open, in them and outside.
fn written_in_a_run() {
    let _profiler = Profiler::new_heap();
    let scope = Scope::new();
    let mut kept = Vec::new();
    {
        let _inside = scope.enter();
        for _ in 0..50 {
            ten_of_hundred_freed_inside().free();
            kept.push(ten_of_hundred_freed_later());
            ten_of_hundred_live().keep();
        }
        three_of_ten().free();
        grown_and_shrunk().free();
        for _ in 0..2_000 {
            sampled().free();
        }
    }
    // The scope is open still, but this thread is not in it.
    for _ in 0..50 {
        ten_of_hundred_elsewhere().free();
    }
    let mut grown = grown_outside();
    grown.resize(400);
    grown.write(190, 10);
    grown.free();
    large_outside().free();
    let wanting = Scope::measuring_writes();
    {
        let _inside = wanting.enter();
        for _ in 0..40 {
            measured_by_scope().free();
        }
    }
    tell("unwritten", wanting.usage().unwritten_bytes.expect("known"));
    drop((scope, wanting));
    kept.into_iter().for_each(Block::free);
}

fn passes(child: Child) {
    let ended = child.run().exited_with(0);
    assert_eq!(ended.told("passed"), 1);
}

#[inline(never)]
fn in_scope() -> Block {
    let [first, second, third] = [10, 20, 30].map(Block::new);
    first.free();
    third.free();
    second
}

#[inline(never)]
fn outside() -> Block {
    Block::new(5)
}

/// The run has what is in scopes, and the scopes have it too, whichever of them
/// ends first.
fn in_a_run() {
    let profiler = Profiler::new_heap();
    let (kept, heap) = measure(in_scope);
    assert_eq!(
        (heap.total_blocks, heap.total_bytes, heap.live_bytes),
        (3, 60, 20)
    );
    outside().free();
    drop(profiler);
    kept.keep();
}

/// A run begins and ends inside of a scope.
fn around_runs() {
    let scope = Scope::new();
    let inside = scope.enter();
    let before = Block::new(100);
    let profiler = Profiler::builder().testing().build();
    assert_eq!(HeapStats::get().total_blocks, 0);
    let during = Block::new(10);
    let stats = HeapStats::get();
    assert_eq!((stats.total_blocks, stats.curr_bytes), (1, 10));
    before.free();
    let stats = HeapStats::get();
    assert_eq!(
        (stats.total_blocks, stats.curr_bytes, stats.max_bytes),
        (1, 10, 10)
    );
    drop(profiler);
    assert_eq!(
        (scope.usage().live_bytes, scope.usage().max_bytes),
        (10, 110)
    );
    let after = Block::new(1000);
    let profiler = Profiler::builder().testing().build();
    during.free();
    let stats = HeapStats::get();
    assert_eq!((stats.total_blocks, stats.curr_bytes), (0, 0));
    after.free();
    drop(profiler);
    drop(inside);
    outside().free();
    let heap = scope.usage();
    assert_eq!((heap.total_blocks, heap.total_bytes), (3, 1110));
    assert_eq!(
        (heap.live_blocks, heap.max_bytes, heap.max_blocks),
        (0, 1010, 2)
    );
    tell("passed", 1);
}

fn testing_mode() {
    let _profiler = Profiler::builder().testing().build();
    let first = Block::new(7);
    let (second, heap) = measure_counts(|| Block::new(11));
    heapledger::assert_eq!(heap.total_bytes, 11);
    let stats = HeapStats::get();
    heapledger::assert_eq!((stats.total_blocks, stats.total_bytes), (2, 18));
    heapledger::assert_eq!((stats.curr_bytes, stats.max_bytes), (18, 18));
    // The scope is over; the run still knows the block.
    second.free();
    first.free();
    let stats = HeapStats::get();
    heapledger::assert_eq!((stats.curr_blocks, stats.curr_bytes), (0, 0));
    let mut bytes = measure(|| Vec::<u8>::with_capacity(10)).0;
    bytes.reserve_exact(20);
    let stats = HeapStats::get();
    heapledger::assert_eq!(
        (stats.total_blocks, stats.curr_blocks, stats.curr_bytes),
        (4, 1, 20)
    );
    tell("passed", 1);
}

fn paused_run() {
    let profiler = Profiler::builder().testing().paused().build();
    let (first, heap) = measure(|| Block::new(10));
    assert_eq!((heap.total_bytes, HeapStats::get().total_bytes), (10, 0));
    profiler.resume();
    let (second, heap) = measure(|| Block::new(20));
    assert_eq!((heap.total_bytes, HeapStats::get().total_bytes), (20, 20));
    profiler.pause();
    let (third, heap) = measure(|| {
        second.free();
        Block::new(30)
    });
    assert_eq!((heap.total_bytes, heap.live_bytes), (30, 30));
    assert_eq!(
        (HeapStats::get().total_bytes, HeapStats::get().curr_bytes),
        (20, 0)
    );
    first.free();
    third.free();
    assert_eq!(HeapStats::get().curr_blocks, 0);
    tell("passed", 1);
}

fn ad_hoc_run() {
    let profiler = Profiler::builder().ad_hoc().testing().build();
    let (block, heap) = measure(|| {
        heapledger::ad_hoc_event(3);
        Block::new(10)
    });
    assert_eq!((heap.total_blocks, heap.total_bytes), (1, 10));
    assert_eq!(heapledger::AdHocStats::get().total_units, 3);
    block.free();
    drop(profiler);
    tell("passed", 1);
}

/// Threads measure while runs start and stop all the time.
fn runs_come_and_go() {
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        for thread in 1..=3 {
            let stop = &stop;
            threads.spawn(move || {
                let mut kept = Vec::new();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let (block, heap) = measure(|| {
                        let first = Block::new(thread * 100);
                        let mut grown = Vec::<u8>::with_capacity(10);
                        grown.reserve_exact(1000);
                        std::thread::yield_now();
                        drop(grown);
                        first
                    });
                    let bytes = thread as u64 * 100;
                    assert_eq!((heap.total_blocks, heap.total_bytes), (3, bytes + 1010));
                    assert_eq!((heap.max_bytes, heap.live_bytes), (bytes + 1000, bytes));
                    kept.push(block);
                    if kept.len() == 50 {
                        kept.drain(..).for_each(Block::free);
                    }
                }
                kept.into_iter().for_each(Block::free);
            });
        }
        for _ in 0..200 {
            let _profiler = Profiler::builder().testing().build();
            std::thread::yield_now();
            let stats = HeapStats::get();
            assert!(stats.curr_bytes as u64 <= stats.total_bytes, "{stats:?}");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    tell("passed", 1);
}

fn fork() {
    let scope = Scope::new();
    let inside = scope.enter();
    let block = Block::new(10);
    // SAFETY: there is one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        Block::new(20).free();
        block.free();
        let heap = scope.usage();
        let right = (heap.total_bytes, heap.live_bytes) == (30, 0);
        // SAFETY: ends the process.
        unsafe { libc::_exit(i32::from(!right)) }
    }
    let mut status = -1;
    // SAFETY: our own child.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!(status, 0);
    assert_eq!(
        (scope.usage().total_bytes, scope.usage().live_bytes),
        (10, 10)
    );
    drop(inside);
    block.free();
    tell("passed", 1);
}
