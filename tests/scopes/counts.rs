//! What a scope counts, on one thread.

use heapledger::{Scope, measure, measure_counts};
use std::hint::black_box;

#[inline(never)]
fn vector(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(bytes))
}

#[test]
fn everything_about_a_few_blocks() {
    for with_stacks in [true, false] {
        let work = || {
            let first = vector(100);
            let second = vector(50);
            drop(first);
            let mut third = vector(10);
            third.reserve_exact(30);
            (second, third)
        };
        let (kept, heap) = match with_stacks {
            true => measure(work),
            false => measure_counts(work),
        };
        assert_eq!((heap.total_blocks, heap.total_bytes), (4, 190));
        assert_eq!((heap.live_blocks, heap.live_bytes), (2, 80));
        assert_eq!((heap.max_blocks, heap.max_bytes), (2, 150));
        assert_eq!((heap.freed_blocks, heap.freed_bytes), (1, 100));
        assert_eq!((heap.reallocs, heap.largest_bytes), (1, 100));
        drop(kept);
    }
}

#[test]
fn sites_add_up_to_the_totals() {
    let (kept, heap) = measure(|| {
        let a = vector(7);
        let b = vec![vector(100), vector(200)];
        drop(vector(1000));
        (a, b)
    });
    let sites = heap.sites();
    assert!(sites.len() >= 4, "{sites:?}");
    let sum = |field: fn(&heapledger::SiteUsage) -> u64| sites.iter().map(field).sum::<u64>();
    assert_eq!(sum(|site| site.total_blocks), heap.total_blocks);
    assert_eq!(sum(|site| site.total_bytes), heap.total_bytes);
    assert_eq!(sum(|site| site.live_blocks), heap.live_blocks);
    assert_eq!(sum(|site| site.live_bytes), heap.live_bytes);
    assert_eq!(sum(|site| site.max_blocks), heap.max_blocks);
    assert_eq!(sum(|site| site.max_bytes), heap.max_bytes);
    assert_eq!(sum(|site| site.freed_bytes), heap.freed_bytes);
    let place = sites[0].place().expect("a frame").to_string();
    assert!(
        place.contains("scopes::counts::vector (tests/scopes/counts.rs:"),
        "{place}"
    );
    assert_eq!(heap.site("scopes::counts::vector").total_blocks, 4);
    assert_eq!(heap.site("scopes::counts").total_blocks, heap.total_blocks);
    assert_eq!(heap.site("scopes::count").total_blocks, 0);
    drop(kept);
}

#[test]
fn inner_scopes_are_part_of_the_outer_one() {
    let (kept, outer) = measure(|| {
        let before = vector(1);
        let (inside, inner) = measure(|| (vector(10), vector(20)));
        assert_eq!(
            (inner.total_blocks, inner.total_bytes, inner.live_bytes),
            (2, 30, 30)
        );
        // The inner scope is over, but its blocks are still the outer one's.
        drop(inside);
        let ((), counts) = measure_counts(|| drop(vector(5)));
        assert_eq!(
            (counts.total_blocks, counts.total_bytes, counts.live_bytes),
            (1, 5, 0)
        );
        before
    });
    assert_eq!((outer.total_blocks, outer.total_bytes), (4, 36));
    assert_eq!((outer.live_blocks, outer.live_bytes), (1, 1));
    assert_eq!((outer.max_blocks, outer.max_bytes), (3, 31));
    assert_eq!(outer.site("scopes::counts::vector").total_bytes, 36);
    drop(kept);
}

#[test]
fn a_block_from_outside_that_grows_inside_is_the_scopes() {
    let mut outside = vector(10);
    let ((), heap) = measure(|| outside.reserve_exact(1000));
    assert_eq!(
        (heap.total_blocks, heap.total_bytes, heap.reallocs),
        (1, 1000, 1)
    );
    assert_eq!(
        (heap.max_bytes, heap.live_bytes, heap.freed_blocks),
        (1000, 1000, 0)
    );

    let ((), outer) = measure(|| {
        let mut bytes = vector(10);
        let ((), inner) = measure(|| bytes.reserve_exact(100));
        assert_eq!(
            (inner.total_blocks, inner.total_bytes, inner.live_bytes),
            (1, 100, 100)
        );
    });
    assert_eq!(
        (outer.total_blocks, outer.total_bytes, outer.live_bytes),
        (2, 110, 0)
    );
    assert_eq!(
        (outer.max_bytes, outer.freed_blocks, outer.freed_bytes),
        (100, 1, 100)
    );
}

#[test]
fn what_is_freed_later_is_seen_by_a_handle() {
    let scope = Scope::new();
    let inside = scope.enter();
    let block = vector(100);
    drop(inside);
    assert_eq!(scope.usage().live_bytes, 100);
    let other = scope.clone();
    std::thread::spawn(move || drop(block))
        .join()
        .expect("joins");
    drop(scope);
    assert_eq!(
        (other.usage().live_bytes, other.usage().freed_bytes),
        (0, 100)
    );
}

#[test]
fn a_panic_leaves_the_scope() {
    let caught = std::panic::catch_unwind(|| measure(|| std::panic::resume_unwind(Box::new(1))));
    assert!(caught.is_err());
    let scope = Scope::new();
    drop(vector(100));
    assert_eq!(scope.usage().total_blocks, 0);
}

#[test]
fn many_scopes_that_leave_blocks_behind() {
    let mut kept = Vec::new();
    for round in 0..10_000_usize {
        let (block, heap) = measure_counts(|| vector(round % 100 + 1));
        assert_eq!(
            (heap.total_blocks, heap.live_bytes),
            (1, (round % 100 + 1) as u64)
        );
        if round % 10 == 0 {
            kept.push(block);
        }
    }
}

#[test]
fn many_inner_scopes_that_leave_blocks_behind() {
    let ((), outer) = measure(|| {
        let kept: Vec<_> = (0..3000).map(|_| measure(|| vector(8)).0).collect();
        drop(kept);
    });
    assert_eq!(outer.site("scopes::counts::vector").total_bytes, 3000 * 8);
    assert_eq!((outer.live_blocks, outer.live_bytes), (0, 0));
}

#[test]
fn scopes_that_exist_at_a_time_are_told_apart() {
    let scopes: Vec<Scope> = (0..1000).map(|_| Scope::new()).collect();
    for (number, scope) in scopes.iter().enumerate() {
        let _inside = scope.enter();
        drop(vector(number + 1));
    }
    for (number, scope) in scopes.iter().enumerate() {
        assert_eq!(scope.usage().total_bytes, number as u64 + 1);
    }
}
