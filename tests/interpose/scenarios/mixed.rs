//! Blocks that cross from one language to the other, and Rust's own, which come by twice.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::storm::{storm, storm_is_in};
use heapledger::{HeapStats, Profiler};
use std::alloc::{Layout, dealloc};
use std::hint::black_box;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("mixed/once", once, |child| {
        let sum = child.run().exited_with(0).profile().sum_in("of_every_kind");
        assert_eq!(
            (sum.tbk, sum.tb, sum.ebk),
            (6, 100 + 200 + 300 + 400 + 4096 + 5000, 0)
        );
    }),
    Scenario::new("mixed/storm", stormy, |child| {
        let ended = child.run().exited_with(0);
        let summaries = ended.summaries();
        storm_is_in(&ended.profile(), &summaries[0], |name| ended.told(name));
    }),
    Scenario::new("mixed/from_c_to_rust", from_c_to_rust, |child| {
        let profile = child.run().exited_with(0).profile();
        let sum = profile.sum_in("c_block");
        assert_eq!((sum.tbk, sum.tb, sum.ebk, sum.eb), (3, 90, 1, 30));
        assert_eq!(profile.unsized_frees(), 0);
    }),
    Scenario::new("mixed/from_rust_to_c", from_rust_to_c, |child| {
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        let sum = profile.sum_in("rust_block");
        // Freed, reallocated, and reallocated in vain; the last is freed by Rust, which
        // tells the size.
        assert_eq!((sum.tbk, sum.tb, sum.ebk, sum.eb), (3, 120, 2, 80));
        assert_eq!(profile.unsized_frees(), 2);
        let told = "Blocks allocated by Rust and freed by C's free, which stay counted as live: 2.";
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        let moved = profile.sum_in("moved_by_c");
        assert_eq!((moved.tbk, moved.tb, moved.ebk), (1, 1000, 0));
    }),
    Scenario::new("mixed/older_than_the_run", older, |child| {
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        assert_eq!(profile.unsized_frees(), 0);
        assert!(profile.points_in("c_block").is_empty());
        let sum = profile.sum_in("grown");
        assert_eq!((sum.tbk, sum.tb, sum.ebk), (1, 77, 0));
    }),
];

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 16).expect("a power of two")
}

/// Each is served by another function of C.
#[inline(never)]
fn of_every_kind() {
    let mut block = Block::new(100);
    block.resize(200);
    block.resize(300);
    block.free();
    Block::zeroed(400, 8).free();
    let mut wide = Block::aligned(4096, 1024);
    wide.resize(5000);
    wide.free();
}

fn once() {
    let _profiler = Profiler::builder().exact_peaks().build();
    let before = HeapStats::get();
    of_every_kind();
    let after = HeapStats::get();
    assert_eq!(after.total_blocks - before.total_blocks, 6);
    assert_eq!(after.curr_blocks, before.curr_blocks);
}

fn stormy() {
    let _profiler = Profiler::builder().exact_peaks().build();
    storm();
}

#[inline(never)]
fn c_block(bytes: usize) -> *mut u8 {
    // SAFETY: any size may be asked for.
    black_box(unsafe { libc::malloc(bytes) }).cast()
}

/// Rust says the size, so that nothing is lost.
fn from_c_to_rust() {
    let profiler = Profiler::new_heap();
    let blocks = [c_block(30), c_block(30), c_block(30)];
    // SAFETY: the system's allocator gives back to `free`.
    unsafe {
        dealloc(blocks[0], layout(30));
        dealloc(blocks[2], layout(30));
    }
    drop(profiler);
}

#[inline(never)]
fn rust_block() -> *mut libc::c_void {
    // SAFETY: the size is not 0.
    black_box(unsafe { std::alloc::alloc(layout(40)) }).cast()
}

#[inline(never)]
fn moved_by_c(block: *mut libc::c_void) -> *mut libc::c_void {
    // SAFETY: a block of the system's allocator, which is `malloc`'s.
    black_box(unsafe { libc::realloc(block, 1000) })
}

fn from_rust_to_c() {
    let profiler = Profiler::new_heap();
    let (freed, moved, kept) = (rust_block(), rust_block(), rust_block());
    // SAFETY: blocks of the system's allocator, which are `malloc`'s.
    unsafe {
        libc::free(freed);
        libc::free(moved_by_c(moved));
        assert!(libc::realloc(kept, isize::MAX as usize).is_null());
        // Still Rust's.
        dealloc(kept.cast(), layout(40));
    }
    drop(profiler);
}

#[inline(never)]
fn grown(block: *mut u8) -> *mut libc::c_void {
    // SAFETY: a block of `malloc`.
    black_box(unsafe { libc::realloc(block.cast(), 77) })
}

fn older() {
    let (freed, moved) = (c_block(50), c_block(60));
    let profiler = Profiler::new_heap();
    // SAFETY: blocks of `malloc`.
    unsafe {
        libc::free(freed.cast());
        libc::free(grown(moved));
    }
    drop(profiler);
}
