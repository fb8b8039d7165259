//! Scopes of several threads, beside others that allocate all the time.

use heapledger::{HeapUsage, Scope, measure};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

const THREADS: usize = 4;
const ROUNDS: usize = 500;

/// What each thread does: it allocates 2 blocks and 150 bytes a round.
#[inline(never)]
fn share() {
    for _ in 0..ROUNDS {
        let first = black_box(vec![0_u8; 100]);
        drop(black_box(vec![0_u8; 50]));
        drop(first);
    }
}

#[track_caller]
fn check(heap: &HeapUsage, extra_blocks: u64) {
    let rounds = (THREADS * ROUNDS) as u64;
    heapledger::assert_heap!(
        heap.total_blocks == 2 * rounds + extra_blocks,
        heap.site("scopes::threads::share").total_blocks == 2 * rounds,
        heap.site("scopes::threads::share").total_bytes == 150 * rounds,
        heap.site("scopes::threads::share").live_blocks == 0,
        heap.site("scopes::threads::neighbour").total_blocks == 0,
        heap.max_bytes >= 150,
    );
}

#[inline(never)]
fn neighbour(stop: &AtomicBool) {
    while !stop.load(Relaxed) {
        black_box(vec![0_u8; 1000]);
    }
}

/// Runs `test` while another thread allocates in no scope, and one in another.
fn beside_neighbours(test: impl FnOnce()) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    thread::scope(|threads| {
        // When the test panics, too.
        let stopping = Stop(&stop);
        threads.spawn(|| neighbour(&stop));
        let other = threads.spawn(|| measure(|| neighbour(&stop)).1);
        test();
        drop(stopping);
        let other = other.join().expect("joins");
        let theirs = other.site("scopes::threads::neighbour");
        assert_eq!(other.total_bytes, theirs.total_bytes);
        assert_eq!((theirs.live_blocks, theirs.max_bytes), (0, 1000));
    });
}

#[test]
fn standard_threads() {
    beside_neighbours(|| {
        let scope = Scope::new();
        thread::scope(|threads| {
            for _ in 0..THREADS {
                threads.spawn(|| {
                    let _inside = scope.enter();
                    share();
                });
            }
        });
        check(&scope.usage(), 0);
    });
}

#[test]
fn detached_threads() {
    beside_neighbours(|| {
        let scope = Scope::new();
        let spawned = [(); THREADS].map(|()| {
            let scope = scope.clone();
            thread::spawn(move || {
                let _inside = scope.enter();
                share();
            })
        });
        for thread in spawned {
            thread.join().expect("joins");
        }
        check(&scope.usage(), 0);
    });
}

#[test]
fn rayon_threads() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(THREADS);
    let pool = pool.build().expect("a pool");
    beside_neighbours(|| {
        let scope = Scope::new();
        pool.broadcast(|_| {
            let _inside = scope.enter();
            share();
        });
        check(&scope.usage(), 0);
    });
}

/// Has a frame of its own in optimized code, too.
#[inline(never)]
fn block(bytes: usize) -> Vec<u8> {
    black_box(vec![0; black_box(bytes)])
}

#[test]
fn tokio_tasks_that_move_between_threads() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(THREADS).build().expect("a runtime");
    beside_neighbours(|| {
        let scope = Scope::new();
        runtime.block_on(async {
            let tasks = [(); THREADS].map(|()| {
                tokio::spawn(scope.instrument(async {
                    for _ in 0..ROUNDS {
                        let first = block(100);
                        tokio::task::yield_now().await;
                        drop(block(50));
                        drop(first);
                    }
                }))
            });
            for task in tasks {
                task.await.expect("joins");
            }
        });
        let heap = scope.usage();
        // Yielding may allocate in the runtime; that is the scope's, too.
        let is_own = |site: &&heapledger::SiteUsage| {
            let place = site.place().expect("a frame");
            place.file.ends_with("tests/scopes/threads.rs")
        };
        let own = || heap.sites().iter().filter(is_own);
        let rounds = (THREADS * ROUNDS) as u64;
        assert_eq!(own().map(|site| site.total_blocks).sum::<u64>(), 2 * rounds);
        assert_eq!(
            own().map(|site| site.total_bytes).sum::<u64>(),
            150 * rounds
        );
        assert_eq!(own().map(|site| site.live_blocks).sum::<u64>(), 0);
        assert_eq!(heap.site("scopes::threads::neighbour").total_blocks, 0);
    });
}

#[tokio::test]
async fn a_tokio_test_is_a_test() {
    let scope = Scope::new();
    let made = scope.instrument(async { black_box(vec![0_u8; 30]) }).await;
    drop(black_box(vec![0_u8; 1000]));
    assert_eq!(
        (scope.usage().total_blocks, scope.usage().live_bytes),
        (1, 30)
    );
    drop(made);
    assert_eq!(scope.usage().live_bytes, 0);
}

#[test]
fn what_a_closure_spawns_is_in_where_it_enters() {
    let ((), heap) = measure(|| {
        let scope = Scope::new();
        thread::scope(|threads| {
            threads.spawn(|| {
                let _inside = scope.enter();
                share();
            });
            // This one does not enter.
            threads.spawn(share);
        });
        assert_eq!(scope.usage().total_blocks, 2 * ROUNDS as u64);
    });
    // An inner scope is part of the outer one, whatever thread enters it.
    let shared = heap.site("scopes::threads::share");
    assert_eq!(shared.total_blocks, 2 * ROUNDS as u64);
}

/// Blocks that are passed between the threads of a scope and others, all exact.
#[test]
fn blocks_are_freed_and_grown_anywhere() {
    let scope = Scope::new();
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<u8>>(64);
    thread::scope(|threads| {
        threads.spawn(move || {
            for mut block in receiver {
                if block.len() % 2 == 0 {
                    block.reserve_exact(block.len());
                }
                drop(block);
            }
        });
        for _ in 0..THREADS {
            let sender = sender.clone();
            let scope = &scope;
            threads.spawn(move || {
                for round in 1..=100 {
                    let block = {
                        let _inside = scope.enter();
                        vec![0_u8; round]
                    };
                    sender.send(block).expect("received");
                }
            });
        }
        drop(sender);
    });
    let heap = scope.usage();
    let threads = THREADS as u64;
    heapledger::assert_heap!(
        heap.total_blocks == threads * 150,
        heap.reallocs == threads * 50,
        heap.total_bytes == threads * (5050 + 2 * 2550),
        heap.freed_blocks == threads * 100,
        heap.live_bytes == 0,
        heap.live_blocks == 0,
    );
}

/// The peak of several threads is what they really held together.
#[test]
fn the_peak_of_several_threads_is_exact() {
    let scope = Scope::new();
    let barrier = std::sync::Barrier::new(THREADS);
    thread::scope(|threads| {
        for number in 1..=THREADS {
            let (scope, barrier) = (&scope, &barrier);
            threads.spawn(move || {
                let _inside = scope.enter();
                for _ in 0..20 {
                    barrier.wait();
                    let block = black_box(vec![0_u8; number]);
                    barrier.wait();
                    drop(block);
                }
            });
        }
    });
    let heap = scope.usage();
    let all: u64 = (1..=THREADS as u64).sum();
    assert_eq!((heap.max_bytes, heap.max_blocks), (all, THREADS as u64));
    let peaks = heap.sites().iter().map(|site| site.max_bytes).sum::<u64>();
    assert_eq!(peaks, all);
}
