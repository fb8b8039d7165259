//! The shape of the workload that heapscope publishes its figures for, on
//! `parameter` threads: of 250,000 allocations a thread, half are freed at once
//! (from three depths), an eighth are reallocations of one growing buffer, and
//! the rest replace blocks of a set of 4,096 that stay live.

use super::{Done, Work, mix};
use std::hint::black_box;
use std::sync::Barrier;

const ALLOCATIONS: usize = 250_000;
const LIVE: usize = 4096;
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
    let short_lived = (0..ALLOCATIONS / 2).fold(0, |sum, number| {
        let bytes = SIZES[number % SIZES.len()];
        let depth = number % 3;
        mix(sum, touch(bytes, tag, depth))
    });
    let replaced = replace(ALLOCATIONS * 3 / 8, tag);
    let grown = grow(ALLOCATIONS / 8);
    mix(mix(short_lived, replaced), grown)
}

#[inline(never)]
fn buffer(bytes: usize, tag: u8) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(bytes);
    buffer.push(tag);
    buffer
}

#[inline(never)]
fn touch(bytes: usize, tag: u8, depth: usize) -> u64 {
    if depth > 0 {
        // Not a tail call, so that the frame is there.
        return black_box(touch(bytes, tag, depth - 1));
    }
    let buffer = black_box(buffer(bytes, tag));
    buffer.capacity() as u64 + u64::from(buffer[0])
}

fn replace(count: usize, tag: u8) -> u64 {
    let mut live: Vec<Vec<u8>> = Vec::with_capacity(LIVE);
    let mut sum = 0;
    for number in 0..count {
        let fresh = buffer(SIZES[number % 7], tag);
        sum = mix(sum, fresh.capacity() as u64);
        match live.get_mut(number % LIVE) {
            Some(slot) => *slot = fresh,
            None => live.push(fresh),
        }
    }
    sum
}

fn grow(count: usize) -> u64 {
    let mut sum = 0;
    let mut left = count;
    while left > 0 {
        let mut buffer = Vec::<u8>::new();
        for doubling in 0..DOUBLINGS.min(left) {
            buffer.reserve_exact(64 << doubling);
            sum = mix(sum, black_box(&mut buffer).capacity() as u64);
            left -= 1;
        }
    }
    sum
}
