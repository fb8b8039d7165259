//! How long a snapshot keeps other threads from recording, with a million live
//! blocks from few and from many sites, while another thread allocates.
//!
//! `cargo bench --bench snapshot_pause`

use heapledger::Profiler;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

const LIVE_BLOCKS: usize = 1_000_000;
const SNAPSHOTS: usize = 20;

type MakeBlock = fn(u32, usize) -> Box<[u8; 40]>;

/// A block from a stack whose innermost frames are the digits of `number`.
fn block(digits: u32, number: usize) -> Box<[u8; 40]> {
    const DIGITS: [MakeBlock; 8] = [
        digit::<0>, digit::<1>, digit::<2>, digit::<3>, digit::<4>, digit::<5>, digit::<6>,
        digit::<7>,
    ];
    match digits {
        0 => Box::new(black_box([1; 40])),
        _ => DIGITS[number % 8](digits - 1, number / 8),
    }
}

#[inline(never)]
fn digit<const DIGIT: usize>(digits: u32, number: usize) -> Box<[u8; 40]> {
    let block = block(digits, number);
    // Unlike any other of these functions, so that they stay eight.
    black_box(DIGIT);
    block
}

fn pauses(sites: usize) -> (Vec<Duration>, Duration, usize) {
    let profiler = Profiler::builder().quiet().file_name("/dev/null").build();
    let stopping = AtomicBool::new(false);
    let mut held = Vec::with_capacity(LIVE_BLOCKS);
    held.extend((0..LIVE_BLOCKS).map(|number| block(6, number % sites)));
    std::thread::scope(|scope| {
        let worst = scope.spawn(|| {
            let mut worst = Duration::ZERO;
            while !stopping.load(Relaxed) {
                let start = Instant::now();
                drop(black_box(Box::new(black_box([0_u8; 64]))));
                worst = worst.max(start.elapsed());
            }
            worst
        });
        let mut bytes = 0;
        let pauses = (0..SNAPSHOTS).map(|number| {
            let snapshot = profiler.snapshot().expect("one at a time");
            if number == 0 {
                let mut json = Vec::new();
                snapshot.write_dhat(&mut json).expect("memory");
                bytes = json.len();
            }
            snapshot.pause()
        });
        let mut pauses: Vec<Duration> = pauses.collect();
        pauses.sort();
        stopping.store(true, Relaxed);
        (pauses, worst.join().expect("no panic"), bytes)
    })
}

fn main() {
    // Asked for something else, such as `--list`.
    if std::env::args().any(|argument| argument == "--list") {
        return;
    }
    println!("{LIVE_BLOCKS} live blocks, {SNAPSHOTS} snapshots while another thread allocates");
    println!("stacks    median pause    longest    longest allocation elsewhere    DHAT file");
    for sites in [64, 4_096, 32_768, 262_144] {
        let (pauses, worst, bytes) = pauses(sites);
        println!(
            "{sites:>7}    {:>9.2} ms    {:>5.2} ms    {:>25.2} ms    {:>6.1} MB",
            pauses[SNAPSHOTS / 2].as_secs_f64() * 1e3,
            pauses[SNAPSHOTS - 1].as_secs_f64() * 1e3,
            worst.as_secs_f64() * 1e3,
            bytes as f64 / 1e6,
        );
    }
}
