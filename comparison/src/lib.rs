//! Whole programs under heapledger and its peers.
//!
//! A process has one global allocator, so each peer is a program of its own
//! (`src/bin`), all of the same [`work`]; the driver (`src/main.rs`) builds and
//! runs them in turn and prints what each costs. A child prepares its input,
//! starts its profiler, works, and reports what it measured of itself as
//! `name=value` lines.

pub mod child;
pub mod usage;
pub mod work;
