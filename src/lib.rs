#![doc = include_str!("../README.md")]
//!
//! # Glossary
//!
//! | here | in a DHAT file |
//! |---|---|
//! | block: one allocation, until it is freed | |
//! | site: one distinct stack; program point: one distinct list of frames, as shown | an entry of `pps` |
//! | total: all that was ever allocated | `tb`, `tbk` |
//! | maximum: the most that a site held | `mb`, `mbk` |
//! | t-gmax: when the process held the most bytes; at peak: what was held then | `tg`; `gb`, `gbk` |
//! | at end: what was held when the profiler stopped | `eb`, `ebk` |
//! | lifetime: from allocation to free | `tl`, in µs, summed |
//!
//! [`guide`] goes from a slow program to a fast one, with a measurement at each step.
#![deny(unsafe_code)]

#[allow(unsafe_code, reason = "the clock's system call and instruction")]
mod clock;
#[allow(unsafe_code, reason = "locks held over a fork")]
mod lock;
#[allow(unsafe_code, reason = "the C library's errno")]
mod errno;
#[allow(unsafe_code, reason = "a system call")]
mod futex;
#[allow(unsafe_code, reason = "memory straight from the system")]
mod untracked;
#[allow(unsafe_code, reason = "calls into the callbacks, and their self-test")]
mod exact;
#[allow(unsafe_code, reason = "tables mapped from a file")]
mod crash_file;
#[allow(
    unsafe_code,
    reason = "reads registers, stacks and the loader's tables"
)]
mod capture;
#[allow(unsafe_code, reason = "tables in untracked memory, shared by threads")]
mod record;
#[allow(unsafe_code, reason = "reads and fills user blocks, maps large ones")]
mod touch;
#[allow(
    unsafe_code,
    reason = "threads' blocks behind raw pointers, membarrier"
)]
mod engine;
#[allow(unsafe_code, reason = "GlobalAlloc")]
mod alloc;
#[cfg(feature = "interpose")]
#[allow(unsafe_code, reason = "the C library's functions")]
mod interpose;
mod report;
#[allow(unsafe_code, reason = "the C library's exit and fork handlers")]
mod process;
#[allow(
    unsafe_code,
    reason = "unlocks what was locked over a fork, listens to a signal"
)]
mod profiler;
mod stats;
mod snapshot;
#[allow(unsafe_code, reason = "maps a file")]
mod recover;
#[allow(unsafe_code, reason = "called by the loader before `main`")]
mod environment;
mod assert;
mod testing;
#[cfg(feature = "tracing")]
mod spans;
#[cfg(feature = "internals")]
#[doc(hidden)]
#[allow(unsafe_code, reason = "benches of single steps, in zeroed memory")]
pub mod internals;

pub use alloc::Alloc;
pub use assert::assert_is_panic;
#[cfg(feature = "flamegraph")]
pub use heapledger_formats::metric::Metric;
pub use profiler::{Profiler, ProfilerBuilder, check_assert_condition};
pub use recover::{RecoverError, recover};
pub use report::output::{Format, Output};
pub use snapshot::{Snapshot, SnapshotError};
#[cfg(feature = "tracing")]
pub use spans::{
    layer::SpanLayer,
    usage::{SpanUsage, Spans},
};
pub use stats::{AdHocStats, HeapGauges, HeapStats, ad_hoc_event};
#[cfg(feature = "criterion")]
pub use testing::criterion;
#[doc(hidden)]
pub use testing::macro_support;
pub use testing::scope::{Entered, Instrumented, Scope, measure, measure_counts, measure_writes};
pub use testing::usage::{HeapUsage, SiteFrame, SiteUsage};
pub use touch::Touch;

#[cfg(doc)]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {}

/// The guide's examples are compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../docs/testing.md")]
mod guide_to_testing {}
