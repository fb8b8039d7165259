//! What an exactly counting build calls at each access to memory.
//!
//! Such a build (`exact-flags.txt`) has LLVM's address sanitizer pass put a call
//! before every load and store of the program, and the linker put another before
//! the C library's functions that move memory. This is what they call. It finds
//! the block that the address lies in, and adds the bytes to what the block's site
//! has read or written.
//!
//! An object of its own, that `build.rs` compiles without those flags: a callback
//! that is itself traced would call itself. It knows nothing of the crate
//! `heapledger`; `src/exact` is its other side, by the functions of `interface`.
//!
//! **What must hold.** A callback runs wherever the program touches memory: in
//! signal handlers, before `main`, in destructors of thread-locals, in a process
//! made by `fork`, with any lock held. So nothing here locks, allocates, prints,
//! panics, or touches `errno`; memory comes straight from the system, by
//! instructions of our own.
//!
//! In reading order: [`shadow`] (which site has the byte at an address),
//! [`counters`] (a thread's own counts by site), [`histograms`], [`accesses`] (one
//! access), [`canary`] and [`live`] (writes that no callback told), [`blocks`] (allocated, freed,
//! moved); then the doors: [`passes`], [`wrapped`], [`interface`].
#![no_std]
// No loop may become a call of `memcpy` or `memset`: those come here.
#![no_builtins]
#![deny(unsafe_op_in_unsafe_fn)]

mod accesses;
mod blocks;
mod canary;
mod copies;
mod counters;
mod histograms;
mod interface;
mod live;
mod passes;
mod shadow;
mod shared;
mod system;
mod wrapped;
