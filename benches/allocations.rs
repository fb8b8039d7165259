//! What an iteration allocates, measured by criterion: constant counts, counts that
//! depend on the input, and none at all.
//!
//! cargo bench --features criterion --bench allocations

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use heapledger::criterion::{Blocks, Bytes};
use std::hint::black_box;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn blocks(criterion: &mut Criterion<Blocks>) {
    let mut group = criterion.benchmark_group("blocks");
    for count in [10_u64, 100] {
        let text = vec!["word"; count as usize].join(" ");
        group.throughput(Throughput::Elements(count));
        group.bench_with_input(BenchmarkId::new("words", count), &text, |bencher, text| {
            bencher.iter(|| words(black_box(text)));
        });
    }
    group.bench_function("none", |bencher| bencher.iter(|| black_box(1) + 1));
    group.finish();
}

fn bytes(criterion: &mut Criterion<Bytes>) {
    let text = ["word"; 100].join(" ");
    criterion.bench_function("bytes/words/100", |bencher| {
        bencher.iter(|| words(black_box(&text)));
    });
}

criterion_group! {
    name = of_blocks;
    config = Criterion::default().with_measurement(Blocks);
    targets = blocks
}
criterion_group! {
    name = of_bytes;
    config = Criterion::default().with_measurement(Bytes);
    targets = bytes
}
criterion_main!(of_blocks, of_bytes);
