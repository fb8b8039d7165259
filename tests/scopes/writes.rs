//! Bytes that are never written to, in scopes that want to know.

use crate::assertions::message;
use heapledger::{HeapUsage, Scope, measure, measure_writes};
use std::hint::black_box;

#[inline(never)]
fn vector(capacity: usize, written: usize) -> Vec<u8> {
    let mut bytes = black_box(Vec::with_capacity(black_box(capacity)));
    bytes.resize(black_box(written), 7);
    bytes
}

#[track_caller]
fn check(heap: &HeapUsage, unwritten: u64) {
    assert_eq!(heap.unwritten_bytes, Some(unwritten));
    let sites = heap.sites().iter();
    let sum: u64 = sites
        .map(|site| site.unwritten_bytes.expect("known of each site"))
        .sum();
    assert_eq!(sum, unwritten, "sites add up");
}

#[test]
fn blocks_of_all_sizes_live_and_freed() {
    for (capacity, written) in [
        (1, 0),
        (10, 4),
        (16, 16),
        (17, 0),
        (1000, 10),
        (5000, 0),
        (300_000, 100),
        (5 << 20, 1 << 20),
    ] {
        let (kept, heap) = measure_writes(|| vector(capacity, written));
        check(&heap, (capacity - written) as u64);
        drop(kept);
        let ((), heap) = measure_writes(|| drop(vector(capacity, written)));
        check(&heap, (capacity - written) as u64);
    }
}

#[test]
fn what_is_written_later_is_written() {
    let scope = Scope::measuring_writes();
    let inside = scope.enter();
    let mut bytes = vector(100, 10);
    drop(inside);
    check(&scope.usage(), 90);
    bytes.resize(60, 1);
    check(&scope.usage(), 40);
    std::thread::spawn(move || drop(bytes))
        .join()
        .expect("joins");
    check(&scope.usage(), 40);
}

#[test]
fn reallocations() {
    let (kept, heap) = measure_writes(|| {
        let mut bytes = vector(100, 30);
        bytes.reserve_exact(1000 - 30);
        bytes.resize(80, 1);
        bytes
    });
    check(&heap, 920);
    drop(kept);
    let (kept, heap) = measure_writes(|| {
        let mut bytes = vector(100, 30);
        bytes.shrink_to(50);
        bytes
    });
    // What was cut off, and what is left.
    check(&heap, 50 + 20);
    drop(kept);
    let ((), heap) = measure_writes(|| {
        let mut bytes = Vec::<u8>::new();
        for n in 0..100_000 {
            // Never a byte of the pattern.
            bytes.push(black_box((n % 200) as u8));
        }
    });
    check(&heap, 131_072 - 100_000);
}

#[test]
fn zeroed_blocks() {
    for bytes in [10, 100, 10_000, 400_000] {
        let (kept, heap) = measure_writes(|| {
            let mut zeroed = black_box(vec![0_u8; black_box(bytes)]);
            zeroed[bytes / 2] = 3;
            zeroed
        });
        check(&heap, bytes as u64 - 1);
        drop(kept);
    }
}

#[test]
fn scopes_around_know_it_where_they_want_to() {
    let (kept, outer) = measure_writes(|| {
        let (kept, inner) = measure(|| (vector(100, 10), vector(50, 50)));
        assert_eq!(inner.unwritten_bytes, None);
        kept
    });
    check(&outer, 90);
    drop(kept);
    let (kept, outer) = measure(|| {
        let (kept, inner) = measure_writes(|| (vector(100, 10), vector(50, 50)));
        check(&inner, 90);
        kept
    });
    assert_eq!(outer.unwritten_bytes, None);
    assert_eq!(outer.sites()[0].unwritten_bytes, None);
    drop(kept);
}

#[test]
fn several_threads() {
    let scope = Scope::measuring_writes();
    let kept: Vec<_> = std::thread::scope(|threads| {
        let threads = (1..=4).map(|number| {
            let scope = &scope;
            threads.spawn(move || {
                let _inside = scope.enter();
                for _ in 0..100 {
                    drop(vector(100, number));
                }
                vector(1000, number)
            })
        });
        let threads: Vec<_> = threads.collect();
        let threads = threads.into_iter();
        threads
            .map(|thread| thread.join().expect("joins"))
            .collect()
    });
    let freed: u64 = (1..=4).map(|number| 100 * (100 - number)).sum();
    let live: u64 = (1..=4).map(|number| 1000 - number).sum();
    let heap = scope.usage();
    let in_vectors = heap.site("scopes::writes::vector").unwritten_bytes;
    assert_eq!(in_vectors, Some(freed + live));
    drop(kept);
    let after = scope.usage().site("scopes::writes::vector").unwritten_bytes;
    assert_eq!(after, Some(freed + live));
}

#[test]
fn a_block_from_outside_is_taken_as_written() {
    let mut bytes = vector(100, 10);
    let ((), heap) = measure_writes(|| bytes.reserve_exact(1000));
    check(&heap, 0);
}

#[test]
fn only_what_an_upper_bound_tells_is_asserted() {
    let ((), heap) = measure_writes(|| drop(vector(100, 10)));
    heapledger::assert_heap!(
        heap.unwritten_bytes <= 90,
        heap.unwritten_bytes < 91,
        heap.site("scopes::writes::vector").unwritten_bytes <= 90,
    );
    let text = message(|| heapledger::assert_heap!(heap.unwritten_bytes <= 89));
    assert!(text.contains("  left: 90\n right: 89\n"), "{text}");
    assert!(
        text.contains("most unwritten bytes:\n         90  "),
        "{text}"
    );
    for refused in [
        message(|| heapledger::assert_heap!(heap.unwritten_bytes == 90)),
        message(|| heapledger::assert_heap!(heap.unwritten_bytes >= 1)),
    ] {
        assert!(refused.contains("an upper bound, not a count"), "{refused}");
    }
    let ((), heap) = measure(|| drop(vector(100, 10)));
    let text = message(|| heapledger::assert_heap!(heap.unwritten_bytes <= 100));
    assert!(text.contains("use heapledger::measure_writes"), "{text}");
}
