//! What a program wrote into its blocks, read from the blocks themselves: the
//! only part of the crate that looks into user memory.
//!
//! A fresh block is filled with a pattern, and bytes that have changed when it
//! goes were written ([`pattern`]; [`short`] does the same to most blocks, and faster). A large block that is measured is a mapping
//! of our own over one small file full of the pattern ([`arena`]), so that a
//! page which the program never writes to stays non-resident; the kernel says
//! which pages are the block's own ([`pages`]). Blocks that are live when a run
//! ends are read through the kernel, as they may vanish meanwhile ([`peek`]).

pub(crate) mod pattern;
#[cfg(all(target_arch = "x86_64", not(miri)))]
pub(crate) mod short;
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
#[path = "short_elsewhere.rs"]
pub(crate) mod short;
pub(crate) mod pages;
pub(crate) mod peek;
mod pattern_file;
mod slots;
pub(crate) mod arena;

/// Whether it is measured how much of each block a program writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Touch {
    /// It is, as an estimate: blocks are filled with a pattern when they are
    /// allocated, and bytes that have changed when they go were written. That is a
    /// lower bound: a byte may be given the value that it has.
    ///
    /// Every block of up to 4 KiB is measured. Of larger ones the first 16 of each
    /// stack (and thread), and then one in size/2 KiB, chosen at random; what that
    /// says of the others is told with a 95 % interval. Blocks from 256 KiB on
    /// are never filled: those that are measured are mappings that the profiler
    /// makes itself, whose pages stay non-resident until they are written to. Zeroed
    /// blocks are not filled either: zeros that are written to them are not
    /// seen, so they have an interval. Reads are not seen at all.
    ///
    /// Not measured, and counted as such: blocks that were allocated before the run; blocks
    /// that are live when a [`Snapshot`](crate::Snapshot) is taken of a run that goes on, as
    /// the program may be using them; and, where
    /// [`timing`](crate::ProfilerBuilder::timing) asks what the program's allocator takes,
    /// blocks from 256 KiB on, since a mapping of the profiler's is none of that allocator's.
    Estimate,
    /// It is not.
    Off,
}
