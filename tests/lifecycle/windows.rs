//! A run that is paused and resumed.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::Child;
use crate::support::profile::Profile;
use heapledger::{AdHocStats, HeapGauges, HeapStats, Profiler};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "windows/blocks_that_cross",
        blocks_that_cross,
        crossing_blocks_are_handled,
    ),
    Scenario::new("windows/starts_paused", starts_paused, |child| {
        let sum = child.run().exited_with(0).profile();
        assert_eq!(sum.sum_in("recorded").tbk, 1);
        assert!(sum.points_in("left_out").is_empty());
    }),
    Scenario::new("windows/many_threads", many_threads, |child| {
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        assert!(profile.points_in("left_out").is_empty());
        assert_eq!(profile.sum_in("churn").ebk, 0, "all were freed");
    }),
    Scenario::new("windows/ad_hoc", ad_hoc, |child| {
        child.run().exited_with(0);
    }),
    Scenario::new("windows/over", over, |child| {
        child.run().exited_with(0);
    }),
    Scenario::new("windows/of_an_earlier_run", earlier_runs_window, |child| {
        let ended = child.run().exited_with(0);
        let profile = Profile::read(&ended.path("dhat-heap.json"));
        assert!(profile.points_in("left_out").is_empty());
        assert_eq!(profile.sum_in("recorded").tbk, 1);
    }),
];

#[inline(never)]
fn recorded(bytes: usize) -> Block {
    Block::new(bytes)
}

#[inline(never)]
fn left_out(bytes: usize) -> Block {
    Block::new(bytes)
}

fn totals() -> [usize; 4] {
    let stats = HeapStats::get();
    [
        stats.total_blocks as usize,
        stats.total_bytes as usize,
        stats.curr_blocks,
        stats.curr_bytes,
    ]
}

fn blocks_that_cross() {
    let profiler = Profiler::new_heap();
    let freed_in_pause = recorded(100);
    let mut resized_in_pause = recorded(200);
    let kept = recorded(400);
    assert_eq!(totals(), [3, 700, 3, 700]);

    profiler.pause();
    profiler.pause();
    assert_eq!(totals(), [3, 700, 3, 700]);
    let mut unknown = left_out(1000);
    let mut resized_later = left_out(2000);
    unknown.resize(3000);
    assert_eq!(totals(), [3, 700, 3, 700]);
    freed_in_pause.free();
    assert_eq!(totals(), [3, 700, 2, 600]);
    // Followed, as one more block of the new size at its site.
    resized_in_pause.resize(300);
    assert_eq!(totals(), [4, 1000, 2, 700]);
    left_out(50).free();
    assert_eq!(totals(), [4, 1000, 2, 700]);

    profiler.resume();
    unknown.free();
    assert_eq!(totals(), [4, 1000, 2, 700]);
    // A block of this run from here on, at the site of the realloc.
    resized_later.resize(2500);
    assert_eq!(totals(), [5, 3500, 3, 3200]);
    resized_later.free();
    let again = recorded(10);
    assert_eq!(totals(), [6, 3510, 3, 710]);

    for _ in 0..100 {
        profiler.pause();
        left_out(7).free();
        profiler.resume();
        recorded(7).free();
    }
    assert_eq!(totals(), [106, 4210, 3, 710]);
    profiler.pause();
    drop(profiler);
    // A new run is not paused.
    let profiler = Profiler::builder().testing().build();
    let next = recorded(5);
    assert_eq!(totals(), [1, 5, 1, 5]);
    drop(profiler);
    for block in [resized_in_pause, kept, again, next] {
        block.free();
    }
}

fn crossing_blocks_are_handled(child: Child) {
    let profile = child.run().exited_with(0).profile();
    let sum = profile.sum_in("recorded");
    assert_eq!((sum.tbk, sum.tb, sum.ebk, sum.eb), (105, 1710, 3, 710));
    assert!(profile.points_in("left_out").is_empty());
}

fn starts_paused() {
    let profiler = Profiler::builder().paused().build();
    left_out(10).keep();
    profiler.resume();
    recorded(10).keep();
}

static STOPPING: AtomicBool = AtomicBool::new(false);
static CHURNS: AtomicBool = AtomicBool::new(false);

/// Threads that allocate and free through all windows.
fn many_threads() {
    #[inline(never)]
    fn churn() {
        while !STOPPING.load(Relaxed) {
            let mut blocks: [Block; 20] = std::array::from_fn(|n| Block::new(n * 10 + 1));
            blocks[7].resize(500);
            blocks.into_iter().for_each(Block::free);
            CHURNS.store(true, Relaxed);
        }
    }
    let profiler = Profiler::new_heap();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(churn);
        }
        // All windows may be over before a thread has begun.
        while !CHURNS.load(Relaxed) {
            thread::yield_now();
        }
        for _ in 0..100 {
            profiler.pause();
            left_out(9).free();
            let before = totals();
            thread::yield_now();
            let after = totals();
            assert!(after[2] <= before[2] || after[0] > before[0], "frees only");
            profiler.resume();
            thread::yield_now();
        }
        STOPPING.store(true, Relaxed);
    });
}

fn ad_hoc() {
    let profiler = Profiler::builder().ad_hoc().testing().build();
    heapledger::ad_hoc_event(1);
    profiler.pause();
    heapledger::ad_hoc_event(10);
    profiler.resume();
    heapledger::ad_hoc_event(100);
    assert_eq!(AdHocStats::get().total_units, 101);
}

/// After an assertion has failed, the handle still may be used.
fn over() {
    let profiler = Profiler::builder().testing().quiet().build();
    let failed = std::panic::catch_unwind(|| {
        heapledger::assert!(1 > 2);
    });
    assert!(failed.is_err());
    profiler.pause();
    profiler.resume();
    assert!(profiler.snapshot().is_err());
}

/// What a run asked for by the clock is over with it; and a later one gets what it asks for.
fn earlier_runs_window() {
    let at = Duration::from_millis;
    let earlier = Profiler::builder().window(at(200), Some(at(400))).quiet();
    drop(earlier.build());
    let profiler = Profiler::new_heap();
    profiler.pause();
    thread::sleep(at(300));
    left_out(1000).keep();
    profiler.resume();
    thread::sleep(at(300));
    recorded(10).keep();
    drop(profiler);
    let later = Profiler::builder().window(at(100), None).quiet();
    let later = later.file_name("later.json").build();
    while HeapGauges::read().is_none_or(|gauges| gauges.total_bytes == 0) {
        recorded(10).keep();
        thread::sleep(at(5));
    }
    drop(later);
}
