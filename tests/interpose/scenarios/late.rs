//! The ends of C's threads and of the process.

use crate::support::Scenario;
use crate::support::child::{Child, setting, tell};
use heapledger::Profiler;
use interpose_tests as c;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("late/keyed_threads", keyed_threads, |child| {
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        let threads = ended.told("threads");
        let of = |function| {
            let sum = profile.sum_in(function);
            (sum.tbk, sum.tb, sum.ebk)
        };
        let (blocks, _, live) = of("static_keyed");
        // The program's, and the threads library's for a late key.
        assert_eq!((blocks, live), (2 * threads, 0));
        assert_eq!(of("static_key_destructor"), (threads, 31 * threads, 0));
        assert_eq!(profile.refused().reentrant_allocs, 0);
        // The blocks of ended threads are used again.
        assert!(ended.told("grown kilobytes") < 100_000, "{}", ended.stdout);
    }),
    Scenario::new("late/exit", exiting, |child| {
        let ended = child.run().exited_with(3);
        let sum = ended.profile().sum_in("static_last_words");
        assert_eq!((sum.tbk, sum.tb), (1, 71));
    }),
    Scenario::new("late/fork", forking, |child| {
        drop(child);
        let ended = Child::of("late/fork").run().exited_with(0);
        assert_eq!(ended.files().len(), 2, "{:?}", ended.files());
    }),
];

/// Of address space, in use.
fn kilobytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmSize:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .expect("VmSize")
}

fn keyed_threads() {
    let threads = setting("HEAPLEDGER_TEST_THREADS", 2_000);
    let profiler = Profiler::new_heap();
    // SAFETY: makes and joins threads.
    unsafe { c::static_keyed_threads(10) };
    let before = kilobytes();
    // SAFETY: as above.
    unsafe { c::static_keyed_threads(threads) };
    tell("grown kilobytes", kilobytes().saturating_sub(before));
    tell("threads", u64::from(threads) + 10);
    drop(profiler);
}

fn exiting() {
    std::mem::forget(Profiler::new_heap());
    // SAFETY: registers a function that stays.
    unsafe { c::static_say_last_words() };
    std::process::exit(3);
}

fn forking() {
    let profiler = Profiler::new_heap();
    // SAFETY: the copy calls what is allowed there, as it has one thread.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    // SAFETY: takes nothing.
    unsafe { c::static_mallocs() };
    if child > 0 {
        let mut status = 0;
        // SAFETY: waits for the copy.
        unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!(status, 0);
    }
    drop(profiler);
}
