//! Runs that record only some blocks: their estimates against what was allocated.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, argument, tell};
use crate::support::profile::Profile;
use heapledger::{HeapGauges, HeapStats, Profiler};
use std::thread;
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("sampling/twenty_seeds", twenty_seeds, estimates_are_right),
    Scenario::new("sampling/threads", threads, threads_are_estimated),
    Scenario::new(
        "sampling/nothing_is_left",
        nothing_is_left,
        all_is_taken_away,
    ),
    Scenario::new("sampling/reallocs", reallocs, |child| {
        let ended = child.run().exited_with(0);
        let sum = ended.profile().sum_in("grow");
        // One new block, and nine reallocations of it.
        is_near(sum.tbk, 10 * GROWING, 0.15);
        is_near(
            sum.tb,
            GROWING * (1..=10).map(|n| n * 100).sum::<u64>(),
            0.1,
        );
        is_near(sum.eb, GROWING * 1000, 0.15);
        is_near(sum.ebk, GROWING, 0.15);
    }),
    Scenario::new("sampling/windows", windows, |child| {
        let profile = child.run().exited_with(0).profile();
        assert!(profile.points_in("left_out").is_empty());
        let sum = profile.sum_in("in_a_window");
        is_near(sum.tb, 2_000_000, 0.1);
        assert_eq!((sum.eb, sum.ebk), (0, 0));
    }),
    Scenario::new("sampling/beside_our_own_thread", seeded, |child| {
        // It takes no part, so that a seed means the same with it.
        let plain = child.run().exited_with(0).profile();
        let safe = Child::of("sampling/beside_our_own_thread").argument("safe");
        let safe = safe.run().exited_with(0).profile();
        let sums = |profile: &Profile| {
            let sum = profile.sum_in("of_a_later_thread");
            (sum.tb, sum.tbk)
        };
        assert_ne!(sums(&plain), (0, 0));
        assert_eq!(sums(&safe), sums(&plain));
    }),
    Scenario::new("sampling/every_byte", every_byte, |child| {
        let sum = child.run().exited_with(0).profile().sum_in("all_of_them");
        // With a mean distance of a byte, what is left out is less than one in 10⁴³.
        assert_eq!((sum.tb, sum.tbk), (100_000, 1000));
    }),
    Scenario::new(
        "sampling/refuses_to_be_exact",
        refuses_to_be_exact,
        |child| {
            let ended = child.run().exited_with(0);
            assert!(
                ended
                    .stderr
                    .contains("Estimates from samples, one in 4,096 bytes")
            );
            assert_eq!(ended.profile().sample_bytes(), Some(4096));
        },
    ),
];

const MEAN_BYTES: u64 = 4096;
const SEEDS: u64 = 20;

/// Bytes of a block, blocks, and how many of them stay.
const SITES: [(usize, usize, usize); 8] = [
    (1, 20_000, 5_000),
    (16, 200_000, 30_000),
    (100, 60_000, 20_000),
    (1000, 12_000, 0),
    (4096, 3_000, 1_000),
    (5000, 2_000, 500),
    (20_000, 300, 150),
    (100_000, 40, 20),
];

/// A function of its own name for each site.
macro_rules! sites {
    ($($site:ident = $number:literal),*) => {
        $(
            #[inline(never)]
            fn $site(held: &mut Vec<Block>) {
                let (bytes, blocks, kept) = SITES[$number];
                for block in 0..blocks {
                    let block_of_site = Block::new(bytes);
                    match block < kept {
                        true => held.push(block_of_site),
                        false => block_of_site.free(),
                    }
                }
            }
        )*

        fn all_sites(held: &mut Vec<Block>) {
            $($site(held);)*
        }
    };
}

sites!(
    site_0 = 0,
    site_1 = 1,
    site_2 = 2,
    site_3 = 3,
    site_4 = 4,
    site_5 = 5,
    site_6 = 6,
    site_7 = 7
);

fn sampled(seed: u64) -> Profiler {
    Profiler::builder()
        .sample_bytes(MEAN_BYTES)
        .sample_seed(seed)
        .file_name(format!("{seed}.json"))
        .build()
}

fn twenty_seeds() {
    let blocks = SITES.iter().map(|&(_, _, kept)| kept).sum();
    let mut held = Vec::with_capacity(blocks);
    for seed in 0..SEEDS {
        let profiler = sampled(seed);
        all_sites(&mut held);
        drop(profiler);
        held.drain(..).for_each(Block::free);
    }
}

#[track_caller]
fn is_near(figure: u64, truth: u64, tolerance: f64) {
    let off = (figure as f64 - truth as f64) / truth as f64;
    assert!(off.abs() <= tolerance, "{figure} is {off:.4} off {truth}");
}

fn estimates_are_right(child: Child) {
    let ended = child.run().exited_with(0);
    let summaries = ended.summaries();
    let (mut total_bytes, mut total_blocks, mut live_bytes) = (0, 0, 0);
    let (mut covered, mut intervals) = (0, 0);
    for seed in 0..SEEDS {
        let profile = Profile::read(&ended.path(&format!("{seed}.json")));
        profile.agrees_with(&summaries[seed as usize]);
        for (number, &(bytes, blocks, kept)) in SITES.iter().enumerate() {
            let points = profile.points_in(&format!("site_{number}"));
            for point in &points {
                total_bytes += point.tb;
                total_blocks += point.tbk;
                live_bytes += point.eb;
            }
            // Each site has one stack: its one point has its intervals.
            let estimate = points.first().and_then(|point| point.heapledger.estimate);
            let Some(estimate) = estimate else { continue };
            assert_eq!(points.len(), 1);
            let (bytes, blocks, kept) = (bytes as u64, blocks as u64, kept as u64);
            for ((low, high), truth) in [
                (estimate.tb, bytes * blocks),
                (estimate.tbk, blocks),
                (estimate.eb, bytes * kept),
                (estimate.ebk, kept),
            ] {
                intervals += 1;
                covered += u32::from(low <= truth && truth <= high);
            }
        }
    }
    let truth = |of: fn(&(usize, usize, usize)) -> usize| {
        SEEDS * SITES.iter().map(of).sum::<usize>() as u64
    };
    println!("bytes {total_bytes} of {}", truth(|site| site.0 * site.1));
    is_near(total_bytes, truth(|site| site.0 * site.1), 0.01);
    is_near(live_bytes, truth(|site| site.0 * site.2), 0.01);
    // Nearly all blocks are small ones: fewer samples.
    is_near(total_blocks, truth(|site| site.1), 0.02);
    let share = f64::from(covered) / f64::from(intervals);
    println!("{covered} of {intervals} intervals hold the true figure");
    assert!(intervals >= 600, "{intervals}");
    assert!((0.93..0.999).contains(&share), "{covered} of {intervals}");
}

const THREADS: usize = 4;
const BLOCKS_A_THREAD: usize = 20_000;

/// Half of the blocks are freed by another thread.
fn threads() {
    #[inline(never)]
    fn allocates() -> Vec<Block> {
        let blocks = (0..BLOCKS_A_THREAD).map(|n| Block::new(50 + n % 400));
        // Not its last call, which would leave it no frame.
        std::hint::black_box(blocks.collect())
    }
    let profiler = Profiler::builder().sample_bytes(4096).build();
    let held: Vec<Vec<Block>> = thread::scope(|scope| {
        let threads: [_; THREADS] = std::array::from_fn(|_| {
            scope.spawn(|| {
                let mut held = allocates();
                held.drain(BLOCKS_A_THREAD / 2..).for_each(Block::free);
                held
            })
        });
        threads.map(|thread| thread.join().expect("joins")).into()
    });
    let gauges = HeapGauges::read().expect("a run");
    assert_eq!(gauges.sample_bytes, Some(4096));
    assert!(gauges.live_bytes <= gauges.total_bytes && gauges.total_bytes > 0);
    held.into_iter().flatten().for_each(Block::free);
    drop(profiler);
}

fn threads_are_estimated(child: Child) {
    let profile = child.run().exited_with(0).profile();
    let sum = profile.sum_in("allocates");
    let blocks = 0..THREADS * BLOCKS_A_THREAD;
    let truth: usize = blocks.map(|n| 50 + n % BLOCKS_A_THREAD % 400).sum();
    // The vectors that hold them are there too.
    assert!(sum.tb as f64 > 0.95 * truth as f64);
    let vectors = (THREADS * BLOCKS_A_THREAD * size_of::<Block>()) as f64;
    assert!((sum.tb as f64) < 1.05 * truth as f64 + 1.1 * vectors);
    assert_eq!(
        (sum.eb, sum.ebk),
        (0, 0),
        "all were freed, to the last byte"
    );
}

/// Whatever was sampled, its frees take away exactly what it added.
fn nothing_is_left() {
    let mut held = Vec::with_capacity(300_000);
    for (seed, mean_bytes) in [1, 7, 64, 1000, 1 << 19, 1 << 30].into_iter().enumerate() {
        let profiler = Profiler::builder()
            .sample_bytes(mean_bytes)
            .file_name(format!("{seed}.json"))
            .build();
        for n in 0..40_000_usize {
            held.push(Block::new(1 + n * n % 3001));
        }
        while let Some(mut block) = held.pop() {
            if block.bytes() % 3 == 0 {
                block.resize(block.bytes() + 700);
            }
            block.free();
        }
        drop(profiler);
    }
}

fn all_is_taken_away(child: Child) {
    let ended = child.run().exited_with(0);
    for (seed, summary) in ended.summaries().iter().enumerate() {
        Profile::read(&ended.path(&format!("{seed}.json"))).agrees_with(summary);
        assert_eq!((summary.end.bytes, summary.end.blocks), (0, 0), "{seed}");
    }
}

const GROWING: u64 = 3000;

fn reallocs() {
    #[inline(never)]
    fn grow() -> Block {
        let mut block = Block::new(100);
        for bytes in 2..=10 {
            block.resize(bytes * 100);
        }
        block
    }
    let profiler = Profiler::builder()
        .sample_bytes(2048)
        .sample_seed(3)
        .build();
    for _ in 0..GROWING {
        grow().keep();
    }
    drop(profiler);
}

fn windows() {
    #[inline(never)]
    fn in_a_window(held: &mut Vec<Block>) {
        (0..1000).for_each(|_| held.push(Block::new(200)));
    }
    #[inline(never)]
    fn left_out(held: &mut Vec<Block>) {
        (0..1000).for_each(|_| held.push(Block::new(200)));
        std::hint::black_box(held);
    }
    let (mut held, mut others) = (Vec::with_capacity(1000), Vec::with_capacity(1000));
    let profiler = Profiler::builder()
        .sample_bytes(1024)
        .sample_seed(1)
        .build();
    for _ in 0..10 {
        profiler.pause();
        left_out(&mut others);
        profiler.resume();
        in_a_window(&mut held);
        profiler.pause();
        held.drain(500..).for_each(Block::free);
        profiler.resume();
        held.drain(..).chain(others.drain(..)).for_each(Block::free);
    }
}

fn every_byte() {
    #[inline(never)]
    fn all_of_them() {
        for _ in 0..1000 {
            Block::new(100).keep();
        }
    }
    let _profiler = Profiler::builder().sample_bytes(1).build();
    all_of_them();
}

fn refuses_to_be_exact() {
    let together = std::panic::catch_unwind(|| {
        Profiler::builder().testing().sample_bytes(100).build();
    });
    assert!(together.is_err());
    for wrong in [0, (1 << 30) + 1] {
        let refused = std::panic::catch_unwind(|| Profiler::builder().sample_bytes(wrong));
        assert!(refused.is_err(), "{wrong}");
    }
    let profiler = Profiler::builder().sample_bytes(4096).build();
    assert!(std::panic::catch_unwind(HeapStats::get).is_err());
    let asserted = std::panic::catch_unwind(|| heapledger::assert!(true));
    assert!(asserted.is_err());
    assert!(std::panic::catch_unwind(heapledger::Scope::new).is_err());
    Block::new(1 << 20).keep();
    tell("done", 1);
    drop(profiler);
}

fn seeded() {
    #[inline(never)]
    fn of_a_later_thread() {
        for bytes in 1..2000 {
            Block::new(bytes).free();
        }
    }
    let builder = Profiler::builder().sample_bytes(MEAN_BYTES).sample_seed(7);
    let _profiler = builder.crash_safe(argument() == "safe").build();
    // Until the thread of the crash file has had something to do.
    thread::sleep(Duration::from_millis(300));
    thread::spawn(of_a_later_thread).join().expect("joins");
}
