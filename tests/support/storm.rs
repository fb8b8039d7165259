//! A storm of operations from many threads, counted twice: by the profiler and
//! by an oracle that counts what was asked for.

use super::blocks::{Block, Numbers};
use super::child::setting;
use super::profile::{Amount, Profile, Refused, Summary};
use heapledger::HeapStats;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

const THREADS: usize = 8;

/// Blocks that a thread holds by itself, and that all threads pass around.
const OWN_SLOTS: usize = 200;
const SHARED_SLOTS: usize = 400;

/// The largest block is smaller than this.
const MAX_BLOCK_BYTES: u64 = 21_000;

/// Operations of each thread; `HEAPLEDGER_TEST_OPERATIONS` sets another number.
fn operations() -> usize {
    let usual = if cfg!(debug_assertions) {
        40_000
    } else {
        300_000
    };
    setting("HEAPLEDGER_TEST_OPERATIONS", usual)
}

#[derive(Default)]
struct Oracle {
    total_blocks: AtomicU64,
    total_bytes: AtomicU64,
    live_blocks: AtomicU64,
    live_bytes: AtomicU64,
}

static ORACLE: Oracle = Oracle {
    total_blocks: AtomicU64::new(0),
    total_bytes: AtomicU64::new(0),
    live_blocks: AtomicU64::new(0),
    live_bytes: AtomicU64::new(0),
};

static SHARED: [Mutex<Option<Block>>; SHARED_SLOTS] = [const { Mutex::new(None) }; SHARED_SLOTS];

impl Oracle {
    fn allocated(&self, bytes: usize) {
        self.total_blocks.fetch_add(1, Relaxed);
        self.total_bytes.fetch_add(bytes as u64, Relaxed);
        self.live_blocks.fetch_add(1, Relaxed);
        self.live_bytes.fetch_add(bytes as u64, Relaxed);
    }

    fn freed(&self, bytes: usize) {
        self.live_blocks.fetch_sub(1, Relaxed);
        self.live_bytes.fetch_sub(bytes as u64, Relaxed);
    }

    fn resized(&self, old: usize, new: usize) {
        self.total_blocks.fetch_add(1, Relaxed);
        self.total_bytes.fetch_add(new as u64, Relaxed);
        self.live_bytes.fetch_add(new as u64, Relaxed);
        self.live_bytes.fetch_sub(old as u64, Relaxed);
    }
}

/// All that the storm allocates, it allocates below this function, and it
/// alone: so the points through it are what the oracle has counted.
#[inline(never)]
fn storm_step(numbers: &mut Numbers, slot: &mut Option<Block>) {
    match slot.take() {
        None => {
            let (bytes, align) = (numbers.size(), numbers.align());
            let mut block = match numbers.below(3) {
                0 => Block::zeroed(bytes, align),
                _ => Block::aligned(bytes, align),
            };
            ORACLE.allocated(bytes);
            block.fill(numbers.below(256) as u8);
            *slot = Some(block);
        }
        Some(mut block) if numbers.below(3) == 0 => {
            let (old, new) = (block.bytes(), numbers.size());
            block.resize(new);
            ORACLE.resized(old, new);
            *slot = Some(block);
        }
        Some(block) => {
            let bytes = block.bytes();
            block.free();
            ORACLE.freed(bytes);
        }
    }
}

/// A step with one of the blocks that all threads use, or with one of the thread's own.
fn mixed_step(numbers: &mut Numbers, own: &mut [Option<Block>; OWN_SLOTS]) {
    match numbers.below(3) {
        0 => {
            let shared = &SHARED[numbers.below(SHARED_SLOTS)];
            let mut slot = shared.lock().expect("no panic");
            storm_step(numbers, &mut slot);
        }
        _ => {
            let slot = numbers.below(OWN_SLOTS);
            storm_step(numbers, &mut own[slot]);
        }
    }
}

fn storm_thread(seed: u64, operations: usize, start: &Barrier, end: &Barrier) {
    let mut numbers = Numbers::new(seed);
    let mut own: [Option<Block>; OWN_SLOTS] = [const { None }; OWN_SLOTS];
    start.wait();
    start.wait();
    for _ in 0..operations {
        mixed_step(&mut numbers, &mut own);
    }
    end.wait();
    end.wait();
    // What the thread still holds stays live: a block has no drop.
}

fn amounts(stats: &HeapStats) -> [u64; 4] {
    [
        stats.total_blocks,
        stats.total_bytes,
        stats.curr_blocks as u64,
        stats.curr_bytes as u64,
    ]
}

fn oracle() -> [u64; 4] {
    let Oracle {
        total_blocks,
        total_bytes,
        live_blocks,
        live_bytes,
    } = &ORACLE;
    [total_blocks, total_bytes, live_blocks, live_bytes].map(|count| count.load(Relaxed))
}

/// With a profiler running. The differences of readings at which all threads
/// wait are what the oracle has counted.
pub(crate) fn storm() {
    let (start, end) = (&Barrier::new(THREADS + 1), &Barrier::new(THREADS + 1));
    let operations = operations();
    thread::scope(|scope| {
        for seed in 0..THREADS {
            scope.spawn(move || storm_thread(seed as u64 + 1, operations, start, end));
        }
        start.wait();
        let before = amounts(&HeapStats::get());
        start.wait();
        end.wait();
        let after = amounts(&HeapStats::get());
        end.wait();
        let counted: [u64; 4] = std::array::from_fn(|n| after[n].wrapping_sub(before[n]));
        assert_eq!(counted, oracle(), "total blocks, bytes; live blocks, bytes");
    });
    tell_oracle();
}

fn tell_oracle() {
    let names = ["total blocks", "total bytes", "live blocks", "live bytes"];
    for (name, value) in names.iter().zip(oracle()) {
        super::child::tell(name, value);
    }
}

/// With a profiler running: threads that come and go, for as long as `goes_on`, which
/// is asked all the time, says so.
pub(crate) fn soak(mut goes_on: impl FnMut() -> bool) {
    let ending = AtomicBool::new(false);
    let (start, end) = (&Barrier::new(THREADS + 1), &Barrier::new(THREADS + 1));
    thread::scope(|scope| {
        for seed in 0..THREADS as u64 {
            let ending = &ending;
            scope.spawn(move || {
                let mut own: [Option<Block>; OWN_SLOTS] = [const { None }; OWN_SLOTS];
                start.wait();
                start.wait();
                let mut numbers = Numbers::new(seed + 1);
                while !ending.load(Relaxed) {
                    // What one thread has allocated another one frees.
                    let own = &mut own;
                    let numbers = &mut numbers;
                    thread::scope(|scope| {
                        scope.spawn(move || {
                            for _ in 0..20_000 {
                                mixed_step(numbers, own);
                            }
                        });
                    });
                }
                end.wait();
                end.wait();
            });
        }
        start.wait();
        start.wait();
        while goes_on() {
            let stats = HeapStats::get();
            assert!(stats.total_blocks >= stats.curr_blocks as u64);
            thread::sleep(Duration::from_millis(50));
        }
        ending.store(true, Relaxed);
        end.wait();
        // Threads that have ended may still be giving back what is theirs, so that the
        // process as a whole is not compared here; the file is, with what is told.
        end.wait();
    });
    tell_oracle();
}

/// The file and the summary of a storm hold what its oracle has told.
#[track_caller]
pub(crate) fn storm_is_in(profile: &Profile, summary: &Summary, told: impl Fn(&str) -> u64) {
    let sum = profile.sum_in("storm_step");
    let total = Amount {
        bytes: sum.tb,
        blocks: sum.tbk,
    };
    let live = Amount {
        bytes: sum.eb,
        blocks: sum.ebk,
    };
    let oracle = |bytes, blocks| Amount {
        bytes: told(bytes),
        blocks: told(blocks),
    };
    assert_eq!(total, oracle("total bytes", "total blocks"));
    assert_eq!(live, oracle("live bytes", "live blocks"));
    assert!(live.blocks > 0, "some stay live");
    assert_eq!(profile.refused(), Refused::default());
    assert!(summary.peak.bytes + MAX_BLOCK_BYTES > summary.end.bytes);
}
