//! The workload that heapscope 0.3.0 publishes its figures for (`examples/overhead/workload.rs` of
//! its package), on `parameter` threads: the same sizes, depths, live set and number of
//! allocations, in the same order. Of 250,000 allocations a thread, half are freed at
//! once (from three depths), an eighth are reallocations of one growing buffer, and
//! the rest fill a set of 4,096 that stays live and replace blocks of it.
//!
//! Two things are different there: its clock starts when the last thread is ready, and it is
//! elapsed time that is published, the least of many runs.

use super::{Done, Work, mix};
use std::hint::black_box;
use std::sync::Barrier;

const ALLOCATIONS: usize = 250_000;
const SHORT_LIVED: usize = ALLOCATIONS / 2;
const GROWN: usize = ALLOCATIONS / 8;
const LIVE: usize = 4096;
const REPLACED: usize = ALLOCATIONS - SHORT_LIVED - GROWN - LIVE;
const SIZES: [usize; 8] = [24, 56, 120, 248, 33, 1000, 4096, 17];
const DOUBLINGS: usize = 6;

pub(super) fn prepare(threads: usize) -> Work {
    Box::new(move || {
        let together = Barrier::new(threads);
        let sums = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads)
                .map(|thread| {
                    let together = &together;
                    scope.spawn(move || {
                        together.wait();
                        work(thread as u8)
                    })
                })
                .collect();
            let sums = workers
                .into_iter()
                .map(|worker| worker.join().expect("no panic"));
            sums.fold(0, mix)
        });
        Done {
            checksum: sums,
            operations: (threads * ALLOCATIONS) as u64,
        }
    })
}

fn work(tag: u8) -> u64 {
    let sum = freed_at_once(mix(0, tag.into()), tag);
    grow(replace(sum, tag))
}

fn freed_at_once(mut sum: u64, tag: u8) -> u64 {
    for number in 0..SHORT_LIVED {
        let bytes = SIZES[number % SIZES.len()];
        let touched = match number % 3 {
            0 => touch(bytes, tag),
            1 => touch_from_one_deeper(bytes, tag),
            _ => touch_from_two_deeper(bytes, tag),
        };
        sum = mix(sum, touched);
    }
    sum
}

fn replace(mut sum: u64, tag: u8) -> u64 {
    let mut live: Vec<Vec<u8>> = Vec::with_capacity(LIVE);
    for number in 0..LIVE {
        live.push(buffer(SIZES[number % SIZES.len()], tag));
    }
    for number in 0..REPLACED {
        let slot = &mut live[number % LIVE];
        // The old block is freed after the new one is there.
        *slot = buffer(SIZES[(number + 3) % SIZES.len()], tag);
        sum = mix(sum, slot.capacity() as u64);
    }
    mix(sum, live.len() as u64)
}

fn grow(mut sum: u64) -> u64 {
    let mut buffer = Vec::<u8>::new();
    for number in 0..GROWN {
        let doubling = number % DOUBLINGS;
        if doubling == 0 {
            buffer = Vec::new();
        }
        buffer.reserve_exact(64 << doubling);
        sum = mix(sum, buffer.capacity() as u64);
    }
    sum
}

#[inline(never)]
fn buffer(bytes: usize, tag: u8) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(bytes);
    buffer.push(tag);
    buffer
}

#[inline(never)]
fn touch(bytes: usize, tag: u8) -> u64 {
    let buffer = buffer(bytes, tag);
    u64::from(buffer[0]) + buffer.capacity() as u64
}

#[inline(never)]
fn touch_from_one_deeper(bytes: usize, tag: u8) -> u64 {
    // Not a tail call, so that the frame is there.
    black_box(touch(bytes, tag))
}

#[inline(never)]
fn touch_from_two_deeper(bytes: usize, tag: u8) -> u64 {
    black_box(touch_from_one_deeper(bytes, tag))
}
