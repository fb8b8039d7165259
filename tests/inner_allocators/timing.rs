//! Allocator time, of an allocator that takes known times. A call that the machine
//! interrupts counts for at most 100 µs, and few of so short ones are interrupted,
//! however busy the machine is.

use crate::allocator::{BURNED_BY_ALLOC, BURNED_BY_FREE, BURNING};
use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::Child;
use heapledger::{Profiler, Scope, Touch};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("timing/shares", shares, shares_are_told),
    Scenario::new(
        "timing/shares in a scope",
        shares_in_a_scope,
        shares_are_told,
    ),
    Scenario::new(
        "timing/shares beside a scope",
        shares_beside_a_scope,
        shares_are_told,
    ),
    Scenario::new("timing/not asked for", not_timed, |child| {
        let ended = child.run().exited_with(0);
        assert!(!ended.stderr.contains("llocator time"));
        assert_eq!(ended.profile().points_with_time(), 0);
    }),
    Scenario::new("timing/windows", windows, |child| {
        let profile = child.run().exited_with(0).profile();
        let (open, shut) = (
            profile.time_in("slow_to_free"),
            profile.points_in("quick_to_free"),
        );
        assert!(open.free_ns > 0);
        assert!(shut.is_empty());
    }),
    Scenario::new(
        "timing/reallocations",
        reallocations,
        reallocations_are_told,
    ),
    Scenario::new(
        "timing/reallocations in a scope",
        reallocations_in_a_scope,
        reallocations_are_told,
    ),
];

fn shares_are_told(child: Child) {
    let ended = child.run().exited_with(0);
    let line = |start: &str| {
        let line = ended.stderr.lines().find(|line| line.contains(start));
        line.unwrap_or_else(|| panic!("{start}: {}", ended.stderr))
            .to_owned()
    };
    assert!(line("Allocator time: ").contains("from 1 call in 64"));
    let (_, sites) = ended
        .stderr
        .split_once("Most allocator time by:\n")
        .unwrap();
    let shares: Vec<f64> = sites.lines().map_while(share).collect();
    assert!(
        shares.len() >= 4 && shares.is_sorted_by(|a, b| a >= b),
        "{shares:?}"
    );
    let profile = ended.profile();
    // Whether a call was timed makes no difference to its stack.
    assert_eq!(profile.exact().merged_points, 0);
    let [quick, slow, slow_alloc, unburned] = [
        "quick_to_free",
        "slow_to_free",
        "slow_to_allocate",
        "unburned",
    ]
    .map(|function| profile.time_in(function));
    // Of so many calls, one in 64 is timed, give or take six standard
    // deviations.
    let samples = 2 * CALLS as u64 / 64;
    for time in [quick, slow, slow_alloc] {
        assert!(
            (samples - 110..samples + 110).contains(&time.samples),
            "{time:?}"
        );
    }
    let burned = |(_, time): (usize, Duration)| CALLS as f64 * time.as_nanos() as f64;
    assert_ratio(quick.free_ns, burned(BURNED_BY_FREE[0]));
    assert_ratio(slow.free_ns, burned(BURNED_BY_FREE[1]));
    assert_ratio(slow_alloc.alloc_ns, burned(BURNED_BY_ALLOC));
    // The time of a free is the site's that allocated the block, although
    // another function freed it; and only frees were slow.
    assert!(slow.free_ns > 10 * slow.alloc_ns, "{slow:?}");
    assert!(
        slow_alloc.alloc_ns > 5 * slow_alloc.free_ns,
        "{slow_alloc:?}"
    );
    assert!(
        slow.free_ns > 10 * (unburned.free_ns + unburned.alloc_ns),
        "{unburned:?}"
    );
    let time = profile.process_time();
    let all: u64 = [quick, slow, slow_alloc, unburned]
        .map(|time| time.total())
        .iter()
        .sum();
    assert!(
        all > time.cpu_ns / 2 && all < 2 * time.cpu_ns,
        "{all} {time:?}"
    );
}

fn reallocations_are_told(child: Child) {
    let time = child.run().exited_with(0).profile().time_in("grown");
    // 10,000 allocations, as many frees, and six times as many reallocations.
    let samples = 80_000 / 64;
    assert!(time.samples.abs_diff(samples) < 6 * 36, "{time:?}");
    assert!(time.realloc_ns > 0 && time.alloc_ns > 0, "{time:?}");
}

/// Of `heapledger:  1. 12.3% of CPU (…) function (file:line)`.
fn share(line: &str) -> Option<f64> {
    let (_, rest) = line.split_once(". ")?;
    rest.split_once("% of CPU")?.0.parse().ok()
}

#[track_caller]
fn assert_ratio(measured_ns: u64, expected_ns: f64) {
    let off = measured_ns as f64 / expected_ns;
    // Six standard deviations of the number of samples are 0.48.
    assert!(
        (0.5..2.0).contains(&off),
        "{measured_ns}, not {expected_ns}"
    );
}

const CALLS: usize = 10_000;

#[inline(never)]
fn quick_to_free() -> Block {
    Block::new(BURNED_BY_FREE[0].0)
}

#[inline(never)]
fn slow_to_free() -> Block {
    Block::new(BURNED_BY_FREE[1].0)
}

#[inline(never)]
fn slow_to_allocate() -> Block {
    Block::new(BURNED_BY_ALLOC.0)
}

#[inline(never)]
fn unburned() -> Block {
    Block::new(1004)
}

fn work() {
    BURNING.store(true, Relaxed);
    for _ in 0..CALLS {
        for block in [
            quick_to_free(),
            slow_to_free(),
            slow_to_allocate(),
            unburned(),
        ] {
            block.free();
        }
    }
}

fn shares() {
    let _profiler = Profiler::builder().timing(true).touch(Touch::Off).build();
    work();
}

fn shares_in_a_scope() {
    let _profiler = Profiler::builder().timing(true).touch(Touch::Off).build();
    let ((), heap) = heapledger::measure(work);
    assert_eq!((heap.total_blocks, heap.live_blocks), (4 * CALLS as u64, 0));
}

fn shares_beside_a_scope() {
    let _profiler = Profiler::builder().timing(true).touch(Touch::Off).build();
    let scope = Scope::new();
    work();
    assert_eq!(scope.usage().total_blocks, 0);
}

fn not_timed() {
    let _profiler = Profiler::new_heap();
    work();
}

fn windows() {
    let profiler = Profiler::builder().timing(true).build();
    BURNING.store(true, Relaxed);
    for _ in 0..CALLS {
        slow_to_free().free();
    }
    profiler.pause();
    for _ in 0..CALLS {
        quick_to_free().free();
    }
    profiler.resume();
    unburned().free();
}

#[inline(never)]
fn grown() -> Block {
    Block::new(16)
}

fn reallocations_in_a_scope() {
    let _profiler = Profiler::builder().timing(true).build();
    let ((), heap) = heapledger::measure(reallocate);
    assert_eq!((heap.reallocs, heap.live_blocks), (60_000, 0));
}

fn reallocations() {
    let _profiler = Profiler::builder().timing(true).build();
    reallocate();
}

fn reallocate() {
    for _ in 0..10_000 {
        let mut block = grown();
        for bytes in [32, 100, 1000, 3000, 500, 50] {
            block.resize(bytes);
        }
        block.free();
    }
}
