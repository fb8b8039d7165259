//! Heap profiling: each way that a block can come, change and go.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hint::black_box;
use std::mem::ManuallyDrop;
use std::rc::Rc;

/// Prints the totals; every field is in them.
fn show(step: &str) {
    let stats = dhat::HeapStats::get();
    assert_eq!(stats, stats.clone());
    println!("{step}: {stats:?}");
}

pub(crate) fn steps() {
    let before_kept = ManuallyDrop::new(vec![1_u64; 8]);
    let before_freed = vec![1_u64; 8];
    let mut before_grown = vec![1_u64; 8];
    let mut before_shrunk = vec![1_u64; 8];
    before_shrunk.truncate(2);

    let profiler = dhat::Profiler::builder()
        .file_name("heap_steps.json")
        .trim_backtraces(Some(usize::MAX))
        .build();
    show("start");
    drop(black_box(before_freed));
    show("a block from before is freed");
    push(&mut before_grown);
    show("a block from before grows");
    before_shrunk.shrink_to_fit();
    show("a block from before shrinks");
    grown_vector();
    show("a vector grew and was freed");
    shrunk_vector();
    show("a vector shrank");
    let zeroed = zeroed_block();
    show("a zeroed block lives");
    equal_peaks();
    show("a peak was reached twice");
    aligned_blocks();
    show("aligned blocks");
    let kept = leaked_blocks();
    show("blocks are kept");
    collections();
    show("collections");
    recursion(40);
    show("recursion");
    drop(black_box(zeroed));
    show("the zeroed block is freed");
    black_box(&before_kept);
    drop(profiler);
    drop(kept);
}

#[inline(never)]
fn push(vector: &mut Vec<u64>) {
    vector.push(black_box(9));
}

#[inline(never)]
fn grown_vector() {
    let mut vector = Vec::new();
    for n in 0..1000_u32 {
        vector.push(black_box(n));
    }
    show("a vector has grown");
}

#[inline(never)]
fn shrunk_vector() {
    let mut vector = black_box(vec![3_u8; 5000]);
    vector.truncate(10);
    vector.shrink_to_fit();
    show("a vector has shrunk");
    vector.reserve_exact(20_000);
    show("and grown above what it was");
}

#[inline(never)]
fn zeroed_block() -> Vec<u8> {
    black_box(vec![0_u8; 100_000])
}

/// The later of two equal peaks counts: it has two blocks, the first has one.
#[inline(never)]
fn equal_peaks() {
    drop(black_box(vec![1_u8; 300_000]));
    show("peak of one block");
    let halves = [vec![1_u8; 150_000], vec![2_u8; 150_000]];
    show("the same peak of two blocks");
    drop(black_box(halves));
}

#[inline(never)]
fn aligned_blocks() {
    #[repr(align(256))]
    struct Aligned([u8; 300]);

    let mut many = Vec::new();
    for n in 0..10 {
        many.push(Box::new(Aligned([n; 300])));
    }
    show("aligned blocks live");
    let sum: usize = many.iter().map(|block| usize::from(block.0[7])).sum();
    println!("sum {sum}");
}

#[inline(never)]
fn leaked_blocks() -> Vec<String> {
    Box::leak(black_box(Box::new([5_u16; 50])));
    (0..100).map(|n| format!("kept {n}")).collect()
}

#[inline(never)]
fn collections() {
    let tree: BTreeMap<u32, String> = (0..500).map(|n| (n, n.to_string())).collect();
    let table: HashMap<u32, Box<u32>> = (0..500).map(|n| (n, Box::new(n))).collect();
    let mut queue: VecDeque<Rc<str>> = VecDeque::new();
    for n in 0..300 {
        queue.push_back(Rc::from(format!("item {n}")));
        if n % 3 == 0 {
            queue.pop_front();
        }
    }
    show("collections live");
    println!("{} {} {}", tree.len(), table.len(), queue.len());
}

#[inline(never)]
fn recursion(depth: usize) -> usize {
    let block = black_box(vec![depth; depth]);
    let deeper = if depth == 0 { 0 } else { recursion(depth - 1) };
    deeper + block.len()
}

pub(crate) fn default_file() {
    let _profiler = dhat::Profiler::new_heap();
    grown_vector();
    shrunk_vector();
}

pub(crate) fn memory_output() {
    let mut profiler = ManuallyDrop::new(dhat::Profiler::builder().eprint_json().build());
    grown_vector();
    let kept = leaked_blocks();
    let output = profiler.drop_and_get_memory_output();
    drop(kept);
    write("heap_memory_output.json", &output);
}

/// For what a scenario saves by itself.
pub(crate) fn write(file: &str, content: &str) {
    if let Err(error) = std::fs::write(file, content) {
        panic!("cannot write {file}: {error}");
    }
}

pub(crate) fn one_run_after_another() {
    for run in 0..3 {
        let file = format!("heap_runs_{run}.json");
        let from_before = vec![1_u8; 64];
        let _profiler = dhat::Profiler::builder().file_name(file).build();
        show("a run starts");
        drop(black_box(from_before));
        for _ in 0..=run {
            grown_vector();
        }
        show("a run ends");
    }
    let _profiler = dhat::Profiler::builder()
        .ad_hoc()
        .file_name("heap_runs_3.json")
        .build();
    grown_vector_unseen();
    dhat::ad_hoc_event(4);
}

#[inline(never)]
fn grown_vector_unseen() {
    black_box((0..1000_u32).collect::<Vec<_>>());
}

pub(crate) fn unwritable_file() {
    let _profiler = dhat::Profiler::builder()
        .file_name("no/such/folder/heap.json")
        .build();
    grown_vector();
}
