//! A process that forks while other threads allocate.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, tell};
use crate::support::profile::Profile;
use heapledger::Profiler;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "fork/child_leaves",
        || fork_under_load(300, leave),
        no_fork_hangs,
    ),
    Scenario::new(
        "fork/child_exits",
        || fork_under_load(12, exit),
        no_fork_hangs,
    ),
    Scenario::new(
        "fork/child_starts_a_thread",
        || fork_under_load(100, start_a_thread),
        no_fork_hangs,
    ),
    Scenario::new("fork/loader_is_locked", loader_is_locked, a_copy_reports),
    Scenario::new(
        "fork/standard_error_is_locked",
        standard_error_is_locked,
        a_copy_reports,
    ),
    Scenario::new("fork/child_alone", child_alone, |child| {
        let ended = child.run().exited_with(0);
        let profile = Profile::read(&ended.path("dhat-heap.json"));
        assert_eq!(
            u64::from(profile.pid()),
            ended.told("parent"),
            "the parent's file is the last"
        );
        let summaries = ended.summaries();
        profile.agrees_with(summaries.last().expect("the parent's summary"));
        assert!(profile.points_in("known_in_fork").is_empty());
    }),
];

#[inline(never)]
fn known_in_fork() {
    let blocks: [Block; 20] = std::array::from_fn(|n| Block::new(n + 1));
    let [first, ..] = blocks;
    first.free();
}

fn leave() {
    known_in_fork();
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) }
}

fn exit() {
    known_in_fork();
    // SAFETY: ends the process, after its handlers.
    unsafe { libc::exit(0) }
}

/// By the C library: the standard one's threads take a lock of its own when they
/// start, which a thread of the parent may have held.
fn start_a_thread() {
    extern "C" fn start(_: *mut libc::c_void) -> *mut libc::c_void {
        known_in_fork();
        std::ptr::null_mut()
    }
    let null = std::ptr::null_mut();
    // SAFETY: a thread that is given nothing and waited for; ends the process.
    unsafe {
        let mut thread = std::mem::zeroed();
        let started = libc::pthread_create(&mut thread, std::ptr::null(), start, null);
        let joined = libc::pthread_join(thread, std::ptr::null_mut());
        libc::_exit(i32::from(started != 0 || joined != 0))
    }
}

static STOPPING: AtomicBool = AtomicBool::new(false);

/// Allocates by ever new threads too: those change the list of threads.
fn load() {
    while !STOPPING.load(Relaxed) {
        let blocks: Vec<Block> = (1..50).map(Block::new).collect();
        let inner = thread::spawn(move || blocks.into_iter().for_each(Block::free));
        let more: Vec<Block> = (1..50).map(Block::new).collect();
        more.into_iter().for_each(Block::free);
        inner.join().expect("joins");
    }
}

fn fork_under_load(forks: u64, in_child: fn()) {
    let profiler = Profiler::new_heap();
    let loading = [(); 3].map(|()| thread::spawn(load));
    thread::sleep(Duration::from_millis(10));
    let (mut hanging, mut slowest) = (0, Duration::ZERO);
    for _ in 0..forks {
        // SAFETY: the child calls the allocator, which the C library makes
        // possible after a fork, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            in_child();
        }
        assert!(child > 0);
        let forked = Instant::now();
        if !ends(child, Duration::from_secs(60)) {
            hanging += 1;
            break;
        }
        slowest = slowest.max(forked.elapsed());
    }
    STOPPING.store(true, Relaxed);
    for thread in loading {
        thread.join().expect("joins");
    }
    drop(profiler);
    tell("hanging", hanging);
    tell("slowest ms", slowest.as_millis() as u64);
    tell("parent", u64::from(std::process::id()));
}

/// Whether the child exits with 0 in time; if not, it is killed.
fn ends(child: i32, limit: Duration) -> bool {
    let started = Instant::now();
    let mut status = 0;
    // SAFETY: our own child.
    while unsafe { libc::waitpid(child, &mut status, libc::WNOHANG) } == 0 {
        if started.elapsed() > limit {
            // SAFETY: our own child, which has not been waited for.
            unsafe {
                libc::kill(child, libc::SIGKILL);
                libc::waitpid(child, &mut status, 0);
            }
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    status == 0
}

fn no_fork_hangs(child: Child) {
    let ended = child.run().exited_with(0);
    assert_eq!(
        ended.told("hanging"),
        0,
        "children of fork that hang or crash"
    );
    // It does not wait for threads that the fork has left behind.
    let slowest_ms = ended.told("slowest ms");
    assert!(slowest_ms < 1_900, "{slowest_ms} ms");
    let profile = Profile::read(&ended.path("dhat-heap.json"));
    assert_eq!(u64::from(profile.pid()), ended.told("parent"));
    profile.agrees_with(ended.summaries().last().expect("the parent's summary"));
}

fn child_alone() {
    let profiler = Profiler::new_heap();
    Block::new(1).keep();
    // SAFETY: there is one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        known_in_fork();
        std::process::exit(0);
    }
    assert!(ends(child, Duration::from_secs(60)));
    let exists = std::fs::exists("dhat-heap.json").expect("looks");
    tell("child wrote the file", u64::from(exists));
    tell("parent", u64::from(std::process::id()));
    drop(profiler);
}

static IS_LOCKED: AtomicBool = AtomicBool::new(false);

/// Holds a lock until all is over.
fn hold() {
    IS_LOCKED.store(true, Relaxed);
    while !STOPPING.load(Relaxed) {
        thread::sleep(Duration::from_millis(1));
    }
}

fn loader_is_locked() {
    extern "C" fn wait(_: *mut libc::dl_phdr_info, _: usize, _: *mut libc::c_void) -> i32 {
        hold();
        1
    }
    // SAFETY: the callback uses nothing of what it is given.
    fork_beside(|| unsafe {
        libc::dl_iterate_phdr(Some(wait), std::ptr::null_mut());
    });
}

fn standard_error_is_locked() {
    fork_beside(|| {
        let _lock = std::io::stderr().lock();
        hold();
    });
}

/// A lock's holder is not in the copy of the process.
fn fork_beside(holder: fn()) {
    let profiler = Profiler::new_heap();
    let holder = thread::spawn(holder);
    while !IS_LOCKED.load(Relaxed) {
        thread::yield_now();
    }
    // SAFETY: the child calls the allocator and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        exit();
    }
    let ended = ends(child, Duration::from_secs(60));
    STOPPING.store(true, Relaxed);
    holder.join().expect("joins");
    assert!(ended, "the child hangs");
    drop(profiler);
}

fn a_copy_reports(child: Child) {
    let ended = child.run().exited_with(0);
    assert_eq!(ended.summaries().len(), 2);
    let copy = ended
        .files()
        .into_iter()
        .find(|name| name != "dhat-heap.json");
    let copy = Profile::read(&ended.path(&copy.expect("the child's file")));
    assert_eq!(
        copy.sum_in("known_in_fork").tbk,
        20,
        "its frames have names"
    );
}
