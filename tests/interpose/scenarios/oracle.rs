//! Every call that reaches the C library's allocator is counted once, whoever makes it: a
//! preloaded library, which comes after the profiler's functions and before the C library's,
//! counts the same.

use crate::known::all_static;
use crate::published::{compression, queries};
use crate::support::Scenario;
use heapledger::{HeapStats, Profiler};
use interpose_tests::{self as c, ORACLE};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("oracle/rust", rust, |child| {
        child.variable("LD_PRELOAD", ORACLE).run().exited_with(0);
    }),
    Scenario::new("oracle/c", of_c, |child| {
        child.variable("LD_PRELOAD", ORACLE).run().exited_with(0);
    }),
    Scenario::new("oracle/published", published, |child| {
        child.variable("LD_PRELOAD", ORACLE).run().exited_with(0);
    }),
];

/// Total blocks, total bytes, live blocks.
fn counts_of_oracle() -> [u64; 3] {
    // SAFETY: a look-up by a NUL-terminated name, of a function of this type.
    unsafe {
        let found = libc::dlsym(libc::RTLD_DEFAULT, c"oracle_counts".as_ptr());
        assert!(!found.is_null(), "not preloaded");
        let function: unsafe extern "C" fn(*mut u64) = std::mem::transmute(found);
        let mut counts = [0; 3];
        function(counts.as_mut_ptr());
        counts
    }
}

fn counts_of_profiler() -> [u64; 3] {
    let stats = HeapStats::get();
    [
        stats.total_blocks,
        stats.total_bytes,
        stats.curr_blocks as u64,
    ]
}

/// Readings of the profiler lie around those of the oracle: they allocate what is not
/// the program's.
fn agree(work: impl FnOnce()) {
    let _profiler = Profiler::builder().testing().build();
    let (ours, theirs) = (counts_of_profiler(), counts_of_oracle());
    work();
    let (theirs_after, ours_after) = (counts_of_oracle(), counts_of_profiler());
    let grown = |before: [u64; 3], after: [u64; 3]| -> [u64; 3] {
        std::array::from_fn(|n| after[n].wrapping_sub(before[n]))
    };
    let (ours, theirs) = (grown(ours, ours_after), grown(theirs, theirs_after));
    assert_eq!(ours, theirs, "total blocks, total bytes, live blocks");
    assert!(ours[0] > 100, "{ours:?}");
}

fn rust() {
    agree(|| {
        let words: Vec<String> = (0..1000).map(|n| format!("word {n}")).collect();
        let threads: Vec<_> = (0..8)
            .map(|n| {
                let words = words.clone();
                std::thread::spawn(move || words.join(&n.to_string()).len())
            })
            .collect();
        let lengths: Vec<usize> = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic"))
            .collect();
        assert_eq!(lengths.len(), 8);
    });
}

fn of_c() {
    agree(|| {
        all_static();
        let mut counts = [0; 4];
        // SAFETY: functions that take nothing, and room for four counts.
        unsafe {
            c::cpp_new();
            c::cpp_vector();
            c::cpp_map();
            c::cpp_throw();
            c::static_storm(8, 20_000, counts.as_mut_ptr());
        }
    });
}

fn published() {
    agree(|| {
        queries();
        compression();
    });
}
