//! Readings while other threads allocate.

use crate::support::Scenario;
use crate::support::blocks::{Block, Numbers};
use crate::support::child::tell;
use heapledger::{HeapStats, Profiler, ProfilerBuilder};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "readings/usual_peaks",
        || {
            readings(Profiler::builder(), |stats| {
                // What `HeapStats::max_bytes` promises, of threads that run ahead by
                // 1/64 of the peak or 1 KiB each, beside one block in flight each.
                stats.max_bytes / 64 + ALLOCATING * (1024 + MAX_BLOCK_BYTES)
            })
        },
        |child| {
            let ended = child.run().exited_with(0);
            ended.profile();
            assert!(ended.told("readings") > 10);
        },
    ),
    Scenario::new(
        "readings/exact_peaks",
        || readings(Profiler::builder().exact_peaks(), |_| 0),
        |child| {
            let ended = child.run().exited_with(0);
            ended.profile();
            assert!(ended.told("readings") > 10);
        },
    ),
];

const ALLOCATING: usize = 4;
const READING: usize = 4;
const SLOTS: usize = 100;
const MAX_BLOCK_BYTES: usize = 21_000;
static STOPPING: AtomicBool = AtomicBool::new(false);

fn allocate(seed: u64) {
    let mut numbers = Numbers::new(seed);
    let mut slots = [const { None }; SLOTS];
    while !STOPPING.load(Relaxed) {
        let slot = &mut slots[numbers.below(SLOTS)];
        match slot.take() {
            None => *slot = Some(Block::new(numbers.size())),
            Some(block) => Block::free(block),
        }
    }
    slots.into_iter().flatten().for_each(Block::free);
}

/// `above_max` is how much more than the peak may be live.
fn read(above_max: fn(&HeapStats) -> usize) -> u64 {
    let mut readings = 0;
    let mut last = HeapStats::get();
    while !STOPPING.load(Relaxed) {
        let stats = HeapStats::get();
        assert!(
            stats.total_blocks >= last.total_blocks,
            "{last:?} {stats:?}"
        );
        assert!(stats.total_bytes >= last.total_bytes, "{last:?} {stats:?}");
        assert!(
            stats.max_bytes + above_max(&stats) >= last.max_bytes,
            "{last:?} {stats:?}"
        );
        assert!(
            stats.curr_bytes <= stats.max_bytes + above_max(&stats),
            "{stats:?}"
        );
        assert!(stats.curr_blocks as u64 <= stats.total_blocks, "{stats:?}");
        assert!(stats.max_blocks as u64 <= stats.total_blocks, "{stats:?}");
        // A count that went below nothing would be enormous.
        assert!(
            stats.curr_blocks < 10_000 && stats.max_blocks < 10_000,
            "{stats:?}"
        );
        assert!(
            stats.curr_bytes < 1 << 30 && stats.max_bytes < 1 << 30,
            "{stats:?}"
        );
        last = stats;
        readings += 1;
        thread::yield_now();
    }
    readings
}

fn readings(builder: ProfilerBuilder, above_max: fn(&HeapStats) -> usize) {
    let _profiler = builder.build();
    let end = Instant::now() + Duration::from_millis(1500);
    let readings: u64 = thread::scope(|scope| {
        for seed in 0..ALLOCATING {
            scope.spawn(move || allocate(seed as u64));
        }
        let reading = [(); READING].map(|()| scope.spawn(move || read(above_max)));
        // A reader that panics ends the scenario at once.
        while Instant::now() < end && reading.iter().all(|thread| !thread.is_finished()) {
            thread::sleep(Duration::from_millis(5));
        }
        STOPPING.store(true, Relaxed);
        reading
            .map(|thread| thread.join().expect("no panic"))
            .iter()
            .sum()
    });
    tell("readings", readings);
}
