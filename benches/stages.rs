//! Each step of an allocation by itself. Needs the feature `internals`.

#[path = "support/at_depth.rs"]
mod at_depth;

use at_depth::at_depth;
use criterion::{Bencher, Criterion, criterion_group, criterion_main};

use heapledger::Profiler;
use heapledger::internals::{Parts, cached_rule, clock_ticks, derived_rule, on_alloc, on_free};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

const BYTES: usize = 64;
const DEPTHS: [usize; 3] = [10, 30, 100];
const FRAME_LIMIT: usize = 4096;

/// A table of sites has a limit; the tables that are filled here stay below it.
const NEW_SITES_A_TABLE: u64 = 100_000;

/// Measures `work` under `depth` frames in a thread of its own, so that there
/// are few others above them.
fn bench_at_depth<T>(
    bencher: &mut Bencher<'_>,
    depth: usize,
    work: impl Fn(&mut Parts) -> T + Sync,
) {
    let measure = |count| {
        let mut parts = Parts::new(FRAME_LIMIT);
        at_depth(depth, &mut || {
            let start = Instant::now();
            for _ in 0..count {
                black_box(work(&mut parts));
            }
            start.elapsed()
        })
    };
    bencher.iter_custom(|count| {
        let joined = std::thread::scope(|scope| scope.spawn(|| measure(count)).join());
        joined.expect("no panic")
    });
}

fn rules(criterion: &mut Criterion) {
    // Makes what rules are derived with.
    let _parts = Parts::new(FRAME_LIMIT);
    let in_a_function = rules as *const () as u64 + 16;
    criterion.bench_function("clock", |b| b.iter(clock_ticks));
    criterion.bench_function("rule/cached", |b| {
        b.iter(|| cached_rule(black_box(in_a_function)));
    });
    criterion.bench_function("rule/derived", |b| {
        b.iter(|| derived_rule(black_box(in_a_function)));
    });
}

fn walks(criterion: &mut Criterion) {
    for depth in DEPTHS {
        criterion.bench_function(&format!("walk/same stack/{depth}"), |b| {
            bench_at_depth(b, depth, |parts| parts.walk().key());
        });
    }
    for depth in DEPTHS {
        criterion.bench_function(&format!("walk/without memo/{depth}"), |b| {
            bench_at_depth(b, depth, |parts| parts.walk_without_memo().key());
        });
    }
}

fn sites(criterion: &mut Criterion) {
    let mut parts = Parts::new(FRAME_LIMIT);
    let mut walked = parts.walk();
    let _ = walked.site();
    criterion.bench_function("site/cached", |b| b.iter(|| walked.site()));
    criterion.bench_function("site/shared", |b| b.iter(|| walked.shared_site()));
    criterion.bench_function("site/new, old frames", |b| {
        b.iter_custom(|count| {
            let mut elapsed = Duration::ZERO;
            let mut left = count;
            while left > 0 {
                let now = left.min(NEW_SITES_A_TABLE);
                let mut parts = Parts::new(FRAME_LIMIT);
                let mut walked = parts.walk();
                let start = Instant::now();
                for _ in 0..now {
                    black_box(walked.new_site());
                }
                elapsed += start.elapsed();
                left -= now;
            }
            elapsed
        });
    });
}

fn blocks_and_counts(criterion: &mut Criterion) {
    let mut parts = Parts::new(FRAME_LIMIT);
    criterion.bench_function("block/insert and remove", |b| {
        b.iter(|| parts.insert_and_remove_block(black_box(0x5555_0000_0040)));
    });
    criterion.bench_function("count/alloc and free", |b| {
        b.iter(|| parts.count_pair(black_box(BYTES), black_box(1)));
    });
}

fn whole(criterion: &mut Criterion) {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stages.json");
    let _profiler = Profiler::builder().file_name(output).quiet().build();
    // Where no block can be.
    let address = black_box(64);
    for depth in DEPTHS {
        at_depth(depth, &mut || {
            criterion.bench_function(&format!("whole/on_alloc and on_free/{depth}"), |b| {
                b.iter(|| {
                    on_alloc(address, BYTES);
                    on_free(address, BYTES);
                });
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500));
    targets = rules, walks, sites, blocks_and_counts, whole
}
criterion_main!(benches);
