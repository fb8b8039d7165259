//! As much as a program may have of everything: live blocks, stacks. By default as much
//! as a test has time for; `scripts/prove.sh limits` sets what is promised. Each prints what
//! it has measured, which depends on the machine and is not judged.

#[path = "../support/mod.rs"]
mod support;

use heapledger::{HeapStats, Profiler};
use std::hint::black_box;
use std::time::{Duration, Instant};
use support::Scenario;
use support::blocks::Block;
use support::child::{Child, Ended, argument, setting, tell};
use support::storm::{soak, storm_is_in};

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

const SCENARIOS: &[Scenario] = &[
    Scenario::new("limits/live_blocks", live_blocks, |child| {
        drop(child);
        for bytes in [16, 64, 256] {
            let count = blocks_of(bytes);
            let run = |profiled: bool| {
                Child::of("limits/live_blocks")
                    .argument(&format!("{bytes} {count} {profiled}"))
                    .time_limit(Duration::from_secs(600))
                    .run()
                    .exited_with(0)
            };
            let (without, with) = (run(false), run(true));
            let sum = with.profile().sum_in("one_of_many");
            assert_eq!((sum.tbk, sum.tb), (count, bytes * count));
            assert_eq!((sum.ebk, sum.gbk), (count - count / 2, count));
            assert_eq!(with.profile().refused().dropped_allocs, 0);
            let ours = with
                .told("resident bytes")
                .saturating_sub(without.told("resident bytes"));
            println!(
                "{count} live blocks of {bytes} bytes: {:.1} bytes of the profiler's each; \
                 longest allocation {} µs of processor time, {} without the profiler",
                ours as f64 / count as f64,
                with.told("longest us"),
                without.told("longest us"),
            );
            // A word for each granule of 16 bytes, of which a block of `bytes` has one
            // or two more in malloc; and what the profiler has anyhow.
            let expected = count * 4 * (bytes / 16 + 2) + (64 << 20);
            assert!(ours < expected, "{ours} bytes, not {expected}");
        }
    }),
    Scenario::new("limits/sites", sites, |child| {
        let ended = child
            .time_limit(Duration::from_secs(600))
            .run()
            .exited_with(0);
        let sites = 1 << ended.told("log2 of sites");
        sites_are_in(&ended, sites);
        assert_eq!(ended.told("blocks in testing mode"), 2 * sites);
    }),
    Scenario::new("limits/soak", soaking, |child| {
        let limit = Duration::from_secs(soak_seconds() + 60);
        let ended = child.time_limit(limit).run().exited_with(0);
        let (early, late) = (ended.told("early bytes"), ended.told("late bytes"));
        println!(
            "{} operations recorded in {} s; resident {} MB after a tenth of it, {} MB at the end",
            ended.told("total blocks"),
            soak_seconds(),
            early >> 20,
            late >> 20
        );
        storm_is_in(&ended.profile(), &ended.summaries()[0], |name| {
            ended.told(name)
        });
        // The program holds as much all the time.
        assert!(
            late < early + early / 4 + (8 << 20),
            "{early} bytes, then {late}"
        );
    }),
];

fn main() {
    support::main(&[SCENARIOS]);
}

/// So many that they take as much memory as 16-byte ones do.
fn blocks_of(bytes: u64) -> u64 {
    let blocks: u64 = setting("HEAPLEDGER_TEST_LIVE_BLOCKS", 1_000_000);
    blocks * 32 / (bytes + 16)
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse::<u64>().ok())
        .expect("VmRSS")
        * 1024
}

/// Processor time of this thread: what else the machine does is not in it.
fn now() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid to write to.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The longest time between two calls of `lap`.
struct Longest {
    before: Duration,
    longest: Duration,
}

impl Longest {
    fn start() -> Self {
        Self {
            before: now(),
            longest: Duration::ZERO,
        }
    }

    fn lap(&mut self) {
        let now = now();
        self.longest = self.longest.max(now - self.before);
        self.before = now;
    }

    fn us(&self) -> u64 {
        self.longest.as_micros() as u64
    }
}

#[inline(never)]
fn one_of_many(bytes: usize) -> Block {
    Block::new(bytes)
}

/// Argument: bytes each, how many, whether profiled.
fn live_blocks() {
    let argument = argument();
    let words: Vec<&str> = argument.split(' ').collect();
    let [bytes, count, profiled] = words[..] else {
        panic!("{argument}");
    };
    let (bytes, count): (usize, usize) =
        (bytes.parse().expect("bytes"), count.parse().expect("count"));
    let profiler = (profiled == "true").then(Profiler::new_heap);
    let mut blocks = Vec::with_capacity(count);
    let mut longest = Longest::start();
    for _ in 0..count {
        blocks.push(one_of_many(bytes));
        longest.lap();
    }
    tell("resident bytes", resident_bytes());
    tell("longest us", longest.us());
    for block in blocks.drain(..count / 2) {
        block.free();
    }
    if profiled == "true" {
        tell("left", HeapStats::get().curr_blocks as u64);
    }
    drop(profiler);
    std::mem::forget(blocks);
}

// ---- soak ---------------------------------------------------------------------------

fn soak_seconds() -> u64 {
    setting("HEAPLEDGER_TEST_SOAK_SECONDS", 3)
}

fn soaking() {
    let profiler = Profiler::new_heap();
    let start = Instant::now();
    let (mut early, mut late) = (0, 0);
    soak(|| {
        let elapsed = start.elapsed();
        late = resident_bytes();
        if elapsed.as_secs_f64() < soak_seconds() as f64 / 10.0 {
            early = late;
        }
        elapsed.as_secs() < soak_seconds()
    });
    tell("early bytes", early);
    tell("late bytes", late);
    drop(profiler);
}

// ---- sites --------------------------------------------------------------------------

/// Two functions, so that their calls make a different stack for each number.
#[inline(never)]
fn zero(number: u64, bits: u32) -> u64 {
    black_box(next(number, bits)) + black_box(0)
}

#[inline(never)]
fn one(number: u64, bits: u32) -> u64 {
    black_box(next(number, bits)) + black_box(1)
}

#[inline(never)]
fn next(number: u64, bits: u32) -> u64 {
    if bits == 0 {
        Block::new(24).keep();
        return 0;
    }
    match number >> (bits - 1) & 1 {
        0 => zero(number, bits - 1),
        _ => one(number, bits - 1),
    }
}

/// Every site twice.
fn sites() {
    let bits: u32 = setting("HEAPLEDGER_TEST_SITES_LOG2", 15);
    let profiler = Profiler::builder().testing().build();
    let longest = [0, 1].map(|_| {
        let mut longest = Longest::start();
        for number in 0..1 << bits {
            black_box(next(black_box(number), bits));
            longest.lap();
        }
        longest.us()
    });
    let total = HeapStats::get().total_blocks;
    tell("blocks in testing mode", total);
    tell("longest us", longest[0]);
    tell("longest us again", longest[1]);
    drop(profiler);
    // In a file, too.
    let profiler = Profiler::new_heap();
    for number in 0..1 << bits {
        black_box(next(black_box(number), bits));
    }
    let start = now();
    drop(profiler);
    tell("written after us", (now() - start).as_micros() as u64);
    tell("log2 of sites", u64::from(bits));
    tell("resident bytes", resident_bytes());
}

#[track_caller]
fn sites_are_in(ended: &Ended, sites: u64) {
    let summary = &ended.summaries()[0];
    assert_eq!(summary.end.blocks, summary.total.blocks);
    assert!(
        (sites..sites + 100).contains(&summary.total.blocks),
        "{summary:?}"
    );
    assert!(
        (24 * sites..24 * sites + 10_000).contains(&summary.total.bytes),
        "{summary:?}"
    );
    let profile = ended.profile();
    assert_eq!(profile.refused().dropped_allocs, 0);
    println!(
        "{sites} sites: longest first allocation {} µs of processor time, second {}; \
         written in {:.1} s; {} MB resident",
        ended.told("longest us"),
        ended.told("longest us again"),
        ended.told("written after us") as f64 / 1e6,
        ended.told("resident bytes") >> 20,
    );
}
