//! Every way in which a process ends by itself leaves a profile, and does not
//! change how it ends.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, Ended};
use heapledger::Profiler;
use std::panic::catch_unwind;
use std::process::exit;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("ends/main_returns", main_returns, |child| {
        known_blocks_are_in(&child.run().exited_with(0));
    }),
    Scenario::new("ends/exit_in_main", exit_in_main, |child| {
        known_blocks_are_in(&child.run().exited_with(3));
    }),
    Scenario::new("ends/exit_in_a_thread", exit_in_a_thread, |child| {
        known_blocks_are_in(&child.run().exited_with(3));
    }),
    Scenario::new(
        "ends/exit_in_a_thread_with_a_small_stack",
        exit_in_a_thread_with_a_small_stack,
        |child| known_blocks_are_in(&child.run().exited_with(3)),
    ),
    Scenario::new(
        "ends/exit_while_the_profiler_is_dropped",
        exit_while_the_profiler_is_dropped,
        exit_while_the_profiler_is_dropped_loses_nothing,
    ),
    Scenario::new("ends/panic_in_main", panic_in_main, |child| {
        let ended = child.run().exited_with(101);
        assert!(ended.stderr.contains("the program's own panic"));
        known_blocks_are_in(&ended);
    }),
    Scenario::new("ends/panic_in_a_thread", panic_in_a_thread, |child| {
        let ended = child.run().exited_with(0);
        assert!(ended.stderr.contains("the thread's own panic"));
        known_blocks_are_in(&ended);
    }),
    Scenario::new("ends/forgotten_profiler", forgotten_profiler, |child| {
        known_blocks_are_in(&child.run().exited_with(0));
    }),
    Scenario::new("ends/idle", idle, |child| {
        let ended = child.run().exited_with(5);
        assert_eq!((ended.stderr.as_str(), ended.files()), ("", vec![]));
    }),
];

/// Three blocks that stay, one that goes.
#[inline(never)]
pub(crate) fn known_blocks() {
    for bytes in [1000, 2000, 3000] {
        Block::new(bytes).fill(1);
    }
    Block::new(4000).free();
}

#[track_caller]
pub(crate) fn known_blocks_are_in(ended: &Ended) {
    let sum = ended.profile().sum_in("known_blocks");
    assert_eq!((sum.tb, sum.tbk), (10_000, 4));
    assert_eq!((sum.eb, sum.ebk), (6_000, 3));
}

fn main_returns() {
    let _profiler = Profiler::new_heap();
    known_blocks();
}

fn exit_in_main() {
    let _profiler = Profiler::new_heap();
    known_blocks();
    exit(3);
}

fn exit_in_a_thread() {
    let _profiler = Profiler::new_heap();
    known_blocks();
    for _ in 0..3 {
        thread::spawn(allocate_for_ever);
    }
    let ending = thread::spawn(|| {
        thread::sleep(Duration::from_millis(50));
        exit(3);
    });
    let _ = ending.join();
}

fn allocate_for_ever() {
    loop {
        let mut held = Vec::new();
        for bytes in 1..200 {
            held.push(Block::new(bytes));
        }
        held.into_iter().for_each(Block::free);
    }
}

fn exit_in_a_thread_with_a_small_stack() {
    let _profiler = Profiler::new_heap();
    known_blocks();
    // Without optimization the frames of the report are several times as large.
    let stack_kib = if cfg!(debug_assertions) { 256 } else { 64 };
    let ending = thread::Builder::new()
        .stack_size(stack_kib * 1024)
        .spawn(|| exit(3))
        .expect("a thread");
    let _ = ending.join();
}

static DROPPING: AtomicBool = AtomicBool::new(false);

fn exit_while_the_profiler_is_dropped() {
    let profiler = Profiler::new_heap();
    known_blocks();
    let ending = thread::spawn(|| {
        while !DROPPING.load(SeqCst) {
            std::hint::spin_loop();
        }
        thread::sleep(Duration::from_millis(2));
        exit(3);
    });
    DROPPING.store(true, SeqCst);
    drop(profiler);
    let _ = ending.join();
}

/// Nothing is lost, whichever thread is first: the exit waits for the file.
fn exit_while_the_profiler_is_dropped_loses_nothing(child: Child) {
    known_blocks_are_in(&child.run().exited_with(3));
}

fn panic_in_main() {
    let _profiler = Profiler::new_heap();
    known_blocks();
    panic!("the program's own panic");
}

fn panic_in_a_thread() {
    let _profiler = Profiler::new_heap();
    known_blocks();
    let joined = thread::spawn(|| panic!("the thread's own panic")).join();
    assert!(joined.is_err());
    let caught = catch_unwind(|| {
        let _held = Box::new(100);
        panic!("a panic that is caught");
    });
    assert!(caught.is_err());
}

/// Its drop never runs, but the process does end.
fn forgotten_profiler() {
    std::mem::forget(Profiler::new_heap());
    known_blocks();
}

/// No profiler: nothing is printed or written.
fn idle() {
    known_blocks();
    thread::spawn(known_blocks).join().expect("joins");
    exit(5);
}
