//! An allocation of 64 bytes and its free, through the installed allocator.

#[path = "support/at_depth.rs"]
mod at_depth;

use at_depth::at_depth;
use criterion::{Criterion, criterion_group, criterion_main};

use heapledger::Profiler;
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

const LAYOUT: Layout = Layout::new::<[u8; 64]>();
const DEPTHS: [usize; 3] = [10, 30, 100];
const LIVE: usize = 1_000_000;

fn recording() -> Profiler {
    let output = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pairs.json");
    Profiler::builder().file_name(output).quiet().build()
}

#[inline(never)]
fn pair(allocator: &impl GlobalAlloc) {
    // SAFETY: the layout is not empty; freed as it was allocated.
    unsafe {
        let block = black_box(allocator.alloc(LAYOUT));
        allocator.dealloc(block, LAYOUT);
    }
}

fn pairs(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pair");
    group.bench_function("System", |b| b.iter(|| pair(&System)));
    group.bench_function("idle", |b| b.iter(|| pair(&ALLOC)));
    let _profiler = recording();
    for depth in DEPTHS {
        at_depth(depth, &mut || {
            group.bench_function(format!("recording/{depth}"), |b| b.iter(|| pair(&ALLOC)));
        });
    }
}

/// A million live blocks, of which one after the other, at random, is replaced.
struct Blocks<'a, A: GlobalAlloc> {
    allocator: &'a A,
    blocks: Vec<*mut u8>,
    random: u64,
}

impl<'a, A: GlobalAlloc> Blocks<'a, A> {
    fn new(allocator: &'a A) -> Self {
        // SAFETY: the layout is not empty.
        let blocks = (0..LIVE)
            .map(|_| unsafe { allocator.alloc(LAYOUT) })
            .collect();
        Self {
            allocator,
            blocks,
            random: 1,
        }
    }

    #[inline(never)]
    fn replace_one(&mut self) {
        // Xorshift.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let block = &mut self.blocks[self.random as usize % LIVE];
        // SAFETY: every block was allocated with this layout, and is freed once.
        unsafe {
            self.allocator.dealloc(*block, LAYOUT);
            *block = self.allocator.alloc(LAYOUT);
        }
    }
}

impl<A: GlobalAlloc> Drop for Blocks<'_, A> {
    fn drop(&mut self) {
        for &block in &self.blocks {
            // SAFETY: as in `replace_one`.
            unsafe { self.allocator.dealloc(block, LAYOUT) };
        }
    }
}

fn many_live(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pair among a million live");
    group.bench_function("System", |b| {
        let mut blocks = Blocks::new(&System);
        b.iter(|| blocks.replace_one());
    });
    group.bench_function("idle", |b| {
        let mut blocks = Blocks::new(&ALLOC);
        b.iter(|| blocks.replace_one());
    });
    let _profiler = recording();
    group.bench_function("recording", |b| {
        let mut blocks = Blocks::new(&ALLOC);
        b.iter(|| blocks.replace_one());
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = pairs, many_live
}
criterion_main!(benches);
