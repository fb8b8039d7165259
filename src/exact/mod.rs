//! Exact counts of reads and writes, in a build with the flags of `exact-flags.txt`
//! (the configuration `heapledger_exact`); in any other build nothing of it is there.
//!
//! The counting itself is done by `callbacks/`, an object without those flags. This
//! is its other side: [`linked`] tells it of blocks, threads and runs, and reads its
//! sums; [`absent`] stands for it in other builds. [`self_test`] finds out whether
//! the compiler did put the callbacks in.

#[cfg(heapledger_callbacks)]
mod linked;
#[cfg(not(heapledger_callbacks))]
mod absent;
#[cfg_attr(
    not(heapledger_callbacks),
    allow(dead_code, reason = "only for callbacks")
)]
#[path = "../../callbacks/shared.rs"]
mod shared;
pub(crate) mod self_test;

#[cfg(not(heapledger_callbacks))]
pub(crate) use absent::*;
#[cfg(heapledger_callbacks)]
pub(crate) use linked::*;
pub(crate) use shared::*;

/// Whether this build was made to count reads and writes.
pub(crate) const COUNTS_ACCESSES: bool = cfg!(heapledger_exact);
