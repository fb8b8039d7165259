//! Signal handlers that allocate, through an inner allocator that allows it.

use crate::allocator::{IN_HANDLER, prepare_for_handlers};
use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, argument, tell};
use crate::support::profile::Profile;
use heapledger::{HeapStats, Profiler};
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("signals/own_stack", interrupted, |child| {
        every_block_is_accounted_for(child, "own");
    }),
    Scenario::new("signals/alternate_stack", interrupted, |child| {
        every_block_is_accounted_for(child, "alternate");
    }),
    // Rust's own alternate stack has 8 KiB, of which the kernel takes a part. What
    // is optimized needs less than 3 KiB of it; a debug build of the crate, 24.
    #[cfg(not(debug_assertions))]
    Scenario::new("signals/rusts_alternate_stack", interrupted, |child| {
        every_block_is_accounted_for(child, "alternate, Rust's");
    }),
    Scenario::new("signals/frees_too", frees_too, |child| {
        let child = child.allocator("signal-safe").argument("own frees");
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        let (recorded, refused) = (blocks_in(&profile, "handler_block"), profile.refused());
        // A refused free is no refused allocation.
        assert_eq!(recorded + refused.reentrant_allocs, ended.told("handled"));
    }),
    Scenario::new("signals/during_readings", during_readings, |child| {
        let child = child.allocator("signal-safe").argument("own frees");
        child.run().exited_with(0).profile();
    }),
    Scenario::new("signals/new_threads", new_threads, |child| {
        let child = child.allocator("signal-safe").argument("own frees");
        let ended = child.run().exited_with(0);
        assert!(ended.told("handled") >= 500);
        ended.profile();
    }),
];

static HANDLED: AtomicU64 = AtomicU64::new(0);
static FREEING: AtomicBool = AtomicBool::new(false);

#[inline(never)]
fn handler_block() {
    let mut block = Block::new(48);
    block.fill(3);
    if FREEING.load(Relaxed) {
        block.free();
    }
}

extern "C" fn handler(_: libc::c_int) {
    IN_HANDLER.set(true);
    handler_block();
    IN_HANDLER.set(false);
    HANDLED.fetch_add(1, Relaxed);
}

/// As the argument says: which stack, and whether the handler frees.
fn install() {
    prepare_for_handlers();
    let argument = argument();
    FREEING.store(argument.contains("frees"), Relaxed);
    let flags = match argument.contains("alternate") {
        true => libc::SA_ONSTACK | libc::SA_RESTART,
        false => libc::SA_RESTART,
    };
    // Rust gives every thread an alternate stack of its own, of some 8 KiB.
    if !argument.contains("Rust's") {
        let stack = libc::stack_t {
            ss_sp: Box::leak(vec![0_u8; 64 << 10].into_boxed_slice())
                .as_mut_ptr()
                .cast(),
            ss_flags: 0,
            ss_size: 64 << 10,
        };
        // SAFETY: a stack that nobody else uses and that is never freed.
        let set = unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
        assert_eq!(set, 0);
    }
    // SAFETY: the handler only allocates, from memory of its own.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()),
            0
        );
    }
}

/// Interrupts the thread that calls this, about every 20 µs, while `work` runs.
fn while_interrupted(work: impl FnOnce()) {
    let stopping = AtomicBool::new(false);
    // SAFETY: the calling thread's own number.
    let target = unsafe { libc::pthread_self() };
    thread::scope(|scope| {
        let storm = scope.spawn(|| {
            while !stopping.load(SeqCst) {
                let seen = HANDLED.load(Relaxed);
                // SAFETY: the target waits for this thread to end.
                unsafe { libc::pthread_kill(target, libc::SIGUSR1) };
                let sent = Instant::now();
                while HANDLED.load(Relaxed) == seen && sent.elapsed() < Duration::from_millis(20) {
                    thread::yield_now();
                }
                for _ in 0..seen % 1000 {
                    std::hint::spin_loop();
                }
            }
        });
        work();
        stopping.store(true, SeqCst);
        storm.join().expect("joins");
    });
}

/// Signals to go on for.
const SIGNALS: u64 = 3_000;

/// Allocates until there were enough signals; returns how often.
#[inline(never)]
fn main_blocks() -> u64 {
    let mut blocks = 0;
    while HANDLED.load(Relaxed) < SIGNALS {
        let mut block = Block::new(1 + blocks as usize % 100);
        block.fill(5);
        block.free();
        blocks += 1;
    }
    blocks
}

fn interrupted() {
    install();
    let profiler = Profiler::new_heap();
    let mut blocks = 0;
    while_interrupted(|| blocks = main_blocks());
    tell("handled", HANDLED.load(Relaxed));
    tell("main", blocks);
    drop(profiler);
}

fn blocks_in(profile: &Profile, function: &str) -> u64 {
    profile
        .points_in(function)
        .iter()
        .map(|point| point.tbk)
        .sum()
}

/// What is not in the profile is in the number of refused allocations.
fn every_block_is_accounted_for(child: Child, stack: &str) {
    let child = child.allocator("signal-safe").argument(stack);
    let ended = child.run().exited_with(0);
    let profile = ended.profile();
    let (handled, main) = (ended.told("handled"), ended.told("main"));
    assert!(handled >= SIGNALS);
    let recorded = blocks_in(&profile, "handler_block");
    assert!(recorded > 0);
    assert_eq!(recorded + profile.refused().reentrant_allocs, handled);
    // The handler's own blocks come through `main_blocks` as well, when their
    // stacks go on into what they have interrupted.
    let own: u64 = profile
        .points_in("main_blocks")
        .iter()
        .filter(|point| {
            !profile
                .frames(point)
                .any(|frame| frame.contains("handler_block"))
        })
        .map(|point| point.tbk)
        .sum();
    assert_eq!(own, main);
    let through: u64 = profile
        .points_in("main_blocks")
        .iter()
        .filter(|point| {
            profile
                .frames(point)
                .any(|frame| frame.contains("handler_block"))
        })
        .map(|point| point.tbk)
        .sum();
    assert!(
        through > recorded / 2,
        "{through} of {recorded} stacks go on"
    );
}

fn frees_too() {
    install();
    let profiler = Profiler::new_heap();
    while_interrupted(|| {
        main_blocks();
    });
    tell("handled", HANDLED.load(Relaxed));
    drop(profiler);
}

/// Signals while this thread reads, which stops all threads.
fn during_readings() {
    install();
    let profiler = Profiler::new_heap();
    let stopping = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stopping.load(Relaxed) {
                Block::new(10).free();
            }
        });
        while_interrupted(|| {
            for _ in 0..3_000 {
                assert!(HeapStats::get().curr_blocks < 1_000);
            }
        });
        stopping.store(true, Relaxed);
    });
    drop(profiler);
}

/// The thread to interrupt; 0 while there is none.
static TARGET: AtomicU64 = AtomicU64::new(0);
/// Threads that no more signals will be sent to.
static SPARED: AtomicU64 = AtomicU64::new(0);
static ENDING: AtomicBool = AtomicBool::new(false);

extern "C" fn new_thread(number: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: this thread's own number.
    TARGET.store(unsafe { libc::pthread_self() } as u64, SeqCst);
    Block::new(20).free();
    while SPARED.load(SeqCst) < number.addr() as u64 {
        thread::yield_now();
    }
    while !ENDING.load(SeqCst) {
        thread::sleep(Duration::from_millis(1));
    }
    std::ptr::null_mut()
}

/// Signals into a thread's first allocation, which makes it known to the
/// profiler. All live until the end, so that none takes over another's place.
fn new_threads() {
    const THREADS: usize = 500;
    install();
    let profiler = Profiler::new_heap();
    let mut threads = [0; THREADS];
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=THREADS as u64 {
                let target = loop {
                    match TARGET.swap(0, SeqCst) {
                        0 => std::hint::spin_loop(),
                        target => break target,
                    }
                };
                // Later into it with every thread.
                for _ in 0..number % 50 * 20 {
                    std::hint::spin_loop();
                }
                for _ in 0..5 {
                    // SAFETY: the thread is there until it is spared.
                    unsafe { libc::pthread_kill(target as libc::pthread_t, libc::SIGUSR1) };
                }
                SPARED.store(number, SeqCst);
            }
        });
        for (index, thread) in threads.iter_mut().enumerate() {
            let number = std::ptr::without_provenance_mut(index + 1);
            // SAFETY: valid arguments; joined below.
            let made =
                unsafe { libc::pthread_create(thread, std::ptr::null(), new_thread, number) };
            assert_eq!(made, 0);
            while SPARED.load(SeqCst) < index as u64 + 1 {
                thread::yield_now();
            }
        }
    });
    ENDING.store(true, SeqCst);
    for thread in threads {
        // SAFETY: made above.
        unsafe { libc::pthread_join(thread, std::ptr::null_mut()) };
    }
    tell("handled", HANDLED.load(Relaxed));
    drop(profiler);
}
