//! Threads that come and go, locks of the application, and the two together.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, setting, tell};
use heapledger::{HeapStats, Profiler};
use std::cell::RefCell;
use std::ffi::c_void;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("threads/churn", churn, |child| {
        let ended = child.run().exited_with(0);
        let sum = ended.profile().sum_in("short_thread");
        let threads = ended.told("threads");
        // 40 + 60 bytes each, and in every tenth 500 that main has freed half of.
        assert_eq!(
            (sum.tbk, sum.tb),
            (2 * threads + threads / 10, 100 * threads + 50 * threads)
        );
        assert_eq!((sum.ebk, sum.eb), (threads / 20, 500 * (threads / 20)));
        let destructors = ended.profile().sum_in("drop_of_thread_local");
        assert_eq!(
            (destructors.tbk, destructors.tb, destructors.ebk),
            (threads, 70 * threads, 0)
        );
    }),
    Scenario::new("threads/many_at_once", many_at_once, |child| {
        let ended = child.run().exited_with(0);
        let sum = ended.profile().sum_in("one_of_many");
        let threads = ended.told("threads");
        assert_eq!((sum.tbk, sum.tb), (10 * threads, 1_000 * threads));
        assert_eq!((sum.ebk, sum.eb), (5 * threads, 500 * threads));
        assert_eq!(ended.told("live at once"), 10 * threads);
    }),
    Scenario::new("threads/made_by_c", made_by_c, |child| {
        let sum = child.run().exited_with(0).profile().sum_in("in_c_thread");
        assert_eq!((sum.tbk, sum.tb, sum.ebk), (300, 300 * 123, 100));
    }),
    Scenario::new("threads/late_stages", late_stages, |child| {
        let ended = child.run().exited_with(9);
        let profile = ended.profile();
        let recorded = profile.sum_in("late_recorded");
        assert_eq!((recorded.tbk, recorded.tb), (2, 222));
        // Registered before the profiler, so called after the profile is written.
        assert!(profile.points_in("late_ignored").is_empty());
        assert!(ended.stdout.contains("last words"));
    }),
    Scenario::new("threads/application_locks", application_locks, |child| {
        drop(child);
        for _ in 0..setting("HEAPLEDGER_HAMMER_RUNS", 10) {
            let child = Child::of("threads/application_locks");
            let ended = child.run().exited_with(0);
            assert!(ended.profile().sum_in("hammer").tbk > 64);
        }
    }),
];

// ---- churn ------------------------------------------------------------------

struct AllocatesWhenDropped(Option<Block>);

impl Drop for AllocatesWhenDropped {
    fn drop(&mut self) {
        drop_of_thread_local();
        if let Some(block) = self.0.take() {
            block.free();
        }
    }
}

#[inline(never)]
fn drop_of_thread_local() {
    let mut block = Block::new(70);
    block.fill(1);
    block.free();
}

thread_local! {
    static LOCAL: RefCell<AllocatesWhenDropped> = const { RefCell::new(AllocatesWhenDropped(None)) };
}

/// Blocks of threads that have ended.
static LEFT: Mutex<Vec<Block>> = Mutex::new(Vec::new());

#[inline(never)]
fn short_thread(number: usize) {
    LOCAL.with_borrow_mut(|local| local.0 = Some(Block::new(60)));
    Block::new(40).free();
    if number.is_multiple_of(10) {
        let block = Block::new(500);
        LEFT.lock().expect("no panic").push(block);
    }
}

fn churn() {
    let usual = if cfg!(debug_assertions) {
        5_000
    } else {
        20_000
    };
    let threads: usize = setting("HEAPLEDGER_TEST_THREADS", usual);
    LEFT.lock().expect("no panic").reserve(threads);
    let _profiler = Profiler::new_heap();
    for first in (0..threads).step_by(4) {
        let four = [first, first + 1, first + 2, first + 3];
        let handles = four.map(|number| thread::spawn(move || short_thread(number)));
        for handle in handles {
            handle.join().expect("joins");
        }
    }
    let mut left = LEFT.lock().expect("no panic");
    let half = left.len() / 2;
    left.drain(..half).for_each(Block::free);
    tell("threads", threads as u64);
}

// ---- many at once -------------------------------------------------------------

#[inline(never)]
fn one_of_many(all_hold: &Barrier) -> [Block; 5] {
    let [first, second]: [[Block; 5]; 2] =
        std::array::from_fn(|_| std::array::from_fn(|_| Block::new(100)));
    all_hold.wait();
    all_hold.wait();
    first.into_iter().for_each(Block::free);
    second
}

fn many_at_once() {
    let count: usize = setting("HEAPLEDGER_TEST_THREADS_AT_ONCE", 500);
    let _profiler = Profiler::builder().exact_peaks().build();
    let all_hold = &Barrier::new(count + 1);
    thread::scope(|scope| {
        let before = HeapStats::get().curr_blocks;
        let threads: Vec<_> = (0..count)
            .map(|_| {
                thread::Builder::new()
                    .stack_size(256 << 10)
                    .spawn_scoped(scope, || one_of_many(all_hold))
                    .expect("a thread")
            })
            .collect();
        all_hold.wait();
        // The threads' own blocks are live too.
        let held = HeapStats::get().curr_blocks - before;
        assert!((10 * count..22 * count).contains(&held), "{held}");
        tell("live at once", (10 * count).min(held) as u64);
        tell("threads", count as u64);
        all_hold.wait();
        for thread in threads {
            let live = thread.join().expect("joins");
            live.into_iter().for_each(Block::keep);
        }
    });
}

// ---- threads of C ---------------------------------------------------------------

#[inline(never)]
fn in_c_thread() {
    let [first, second, third]: [Block; 3] = std::array::from_fn(|_| Block::new(123));
    first.free();
    third.free();
    second.keep();
}

extern "C" fn c_thread(_: *mut c_void) -> *mut c_void {
    in_c_thread();
    std::ptr::null_mut()
}

fn made_by_c() {
    let _profiler = Profiler::new_heap();
    for _ in 0..25 {
        let mut threads = [0; 4];
        for thread in &mut threads {
            // SAFETY: plain calls with valid arguments; each thread is joined.
            let made = unsafe {
                libc::pthread_create(thread, std::ptr::null(), c_thread, std::ptr::null_mut())
            };
            assert_eq!(made, 0);
        }
        for thread in threads {
            // SAFETY: made above.
            let joined = unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
            assert_eq!(joined, 0);
        }
    }
}

// ---- late stages ------------------------------------------------------------------

#[inline(never)]
fn late_recorded() {
    Block::new(111).keep();
}

#[inline(never)]
fn late_ignored() {
    Block::new(111).keep();
    println!("last words");
}

extern "C" fn recorded_handler() {
    late_recorded();
}

extern "C" fn ignored_handler() {
    late_ignored();
}

struct LateLocal;

impl Drop for LateLocal {
    fn drop(&mut self) {
        late_recorded();
    }
}

thread_local! {
    static LATE: LateLocal = const { LateLocal };
}

/// Destructors of the main thread's locals and exit handlers allocate.
fn late_stages() {
    // SAFETY: functions that stay.
    unsafe { libc::atexit(ignored_handler) };
    std::mem::forget(Profiler::new_heap());
    // SAFETY: as above.
    unsafe { libc::atexit(recorded_handler) };
    LATE.with(|_| ());
    std::process::exit(9);
}

// ---- locks of the application -------------------------------------------------------

static HAMMERING: AtomicBool = AtomicBool::new(true);
static HAMMERED: AtomicU64 = AtomicU64::new(0);
static LOCKS: [parking_lot::Mutex<Vec<u64>>; 4] =
    [const { parking_lot::Mutex::new(Vec::new()) }; 4];
static READ_LOCK: parking_lot::RwLock<Vec<u64>> = parking_lot::RwLock::new(Vec::new());
static CONDITIONS: [parking_lot::Condvar; 4] = [const { parking_lot::Condvar::new() }; 4];

#[inline(never)]
fn hammer(seed: usize) {
    for round in 0..50 {
        let which = (seed + round) % LOCKS.len();
        let mut numbers = LOCKS[which].lock();
        numbers.push(round as u64);
        numbers.shrink_to_fit();
        if numbers.len() > 100 {
            *numbers = Vec::new();
        }
        thread::yield_now();
        if round.is_multiple_of(10) {
            CONDITIONS[which].wait_for(&mut numbers, Duration::from_micros(50));
        }
        drop(numbers);
        CONDITIONS[which].notify_all();
        match round % 4 {
            0 => READ_LOCK.write().push(1),
            1 => READ_LOCK.write().clear(),
            _ => drop(READ_LOCK.read().clone()),
        }
        HAMMERED.fetch_add(1, Relaxed);
    }
}

/// Allocates while it holds the lock of standard error.
fn print_and_allocate() {
    while HAMMERING.load(Relaxed) {
        let mut stderr = std::io::stderr().lock();
        let held: Vec<Block> = (1..50).map(Block::new).collect();
        let _ = writeln!(stderr, "{} blocks held", held.len());
        held.into_iter().for_each(Block::free);
        thread::yield_now();
    }
}

/// 64 threads on four locks; new ones, which lock for the first time and so
/// make the table of parked threads grow, come all the time, also while the
/// profiler starts and is dropped.
fn application_locks() {
    let printing = thread::spawn(print_and_allocate);
    let hammering: Vec<_> = (0..16)
        .map(|seed| {
            thread::spawn(move || {
                while HAMMERING.load(Relaxed) {
                    let three: [_; 3] =
                        std::array::from_fn(|n| thread::spawn(move || hammer(seed + n)));
                    hammer(seed);
                    for thread in three {
                        thread.join().expect("joins");
                    }
                }
            })
        })
        .collect();
    let profiler = Profiler::new_heap();
    // What was done before that, while this thread perhaps had no processor, is not recorded.
    HAMMERED.store(0, Relaxed);
    let enough = if cfg!(debug_assertions) {
        10_000
    } else {
        40_000
    };
    while HAMMERED.load(Relaxed) < enough {
        thread::sleep(Duration::from_millis(1));
        let stats = HeapStats::get();
        assert!(stats.total_blocks >= stats.curr_blocks as u64);
    }
    drop(profiler);
    HAMMERING.store(false, Relaxed);
    for thread in hammering {
        thread.join().expect("joins");
    }
    printing.join().expect("joins");
}
