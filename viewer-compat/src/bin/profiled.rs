//! A program with something to profile: threads, generics, closures, recursion, reallocation, and memory
//! that is still alive at the end. `profiled FOLDER [ad-hoc|sampled]` writes the profile there, in every format.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::thread;

use heapledger::{Metric, Output};

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

const THREADS: usize = 4;
const ROUNDS: usize = 200;
const DEPTH: usize = 12;
const SAMPLE_BYTES: u64 = 4096;

fn main() {
    let folder = std::env::args_os().nth(1).expect("usage: profiled FOLDER");
    let file = |name: &str| Path::new(&folder).join(name);
    let metric = Metric::PeakBytes;
    let kind = std::env::args().nth(2);
    let builder = heapledger::Profiler::builder();
    let _profiler = match kind.as_deref() {
        Some("ad-hoc") => builder.ad_hoc(),
        Some("sampled") => builder.sample_bytes(SAMPLE_BYTES),
        _ => builder,
    }
    .output(Output::dhat(file("dhat.json")))
    .output(Output::pprof(file("pprof.pb.gz")))
    .output(Output::firefox(file("firefox.json")))
    .output(Output::speedscope(file("speedscope.json")))
    .output(Output::massif(file("massif.out")))
    .output(Output::callgrind(file("callgrind.out")))
    .output(Output::folded(file("folded.txt"), metric))
    .output(Output::flame_graph(file("flame.svg"), metric))
    .output(Output::diff_flame_graph(
        file("diff.svg"),
        file("dhat.json"),
        metric,
    ))
    .build();

    let kept: Vec<BTreeMap<usize, String>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|id| scope.spawn(move || work(id)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    black_box(zeroed_and_grown());
    // Alive when the profiler is dropped.
    black_box(Box::leak(Box::new(kept)));
}

#[inline(never)]
fn work(id: usize) -> BTreeMap<usize, String> {
    heapledger::ad_hoc_event(id + 1);
    let label = |round: usize| format!("thread {id}, round {round}");
    (0..ROUNDS)
        .map(|round| {
            black_box(doubled(&label(round)));
            black_box(doubled(&[round as u16; 40]));
            black_box(nested(DEPTH, &|| vec![round; 8]));
            (round, label(round))
        })
        .collect()
}

/// Instantiated for `str` and for slices of numbers.
#[inline(never)]
fn doubled<T: ?Sized + AsRef<[U]>, U: Clone>(items: &T) -> Vec<U> {
    let mut all = items.as_ref().to_vec();
    all.extend_from_slice(items.as_ref());
    all
}

#[inline(never)]
fn nested(depth: usize, allocate: &dyn Fn() -> Vec<usize>) -> usize {
    let own: Box<[usize]> = allocate().into_boxed_slice();
    match depth {
        0 => own.len(),
        _ => own.len() + nested(depth - 1, allocate),
    }
}

#[inline(never)]
fn zeroed_and_grown() -> Vec<u8> {
    let mut bytes = vec![0_u8; 1 << 20];
    for n in 0..10_000_u16 {
        bytes.push(n as u8);
    }
    bytes
}
