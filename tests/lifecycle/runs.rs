//! Several runs in one process, one after the other.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, tell};
use crate::support::profile::{Amount, Profile};
use heapledger::{HeapStats, Profiler};
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("runs/blocks_that_cross", blocks_that_cross, |child| {
        crossing_blocks_are_handled(child);
    }),
    Scenario::new(
        "runs/threads_that_cross",
        threads_that_cross,
        every_run_agrees,
    ),
    Scenario::new("runs/many_sites", many_sites, every_site_is_counted),
    Scenario::new("runs/no_two_at_once", no_two_at_once, |child| {
        let ended = child.run().exited_with(0);
        ended.profile();
        assert_eq!(ended.told("second refused"), 1);
    }),
    Scenario::new("runs/ended_meanwhile", ended_meanwhile, |child| {
        let ended = child.run().exited_with(0);
        // The third run is another's: what failed in the second leaves it alone.
        assert_eq!(
            Profile::read(&ended.path("third.json"))
                .sum_in("first_site")
                .tbk,
            2
        );
        assert!(!ended.path("second.json").exists());
    }),
    Scenario::new("runs/two_hundred", two_hundred, |child| {
        let ended = child.run().exited_with(0);
        // Tables are used again; a run's own would be some hundred KiB each.
        let grown_kib = ended.told("rss kib at 200")
            - ended
                .told("rss kib at 20")
                .min(ended.told("rss kib at 200"));
        assert!(grown_kib < 8_000, "{grown_kib} KiB");
    }),
];

#[inline(never)]
fn first_site(bytes: usize) -> Block {
    Block::new(bytes)
}

#[inline(never)]
fn second_site(block: &mut Block, bytes: usize) {
    block.resize(bytes);
}

fn run(file: &str) -> Profiler {
    Profiler::builder().file_name(file).build()
}

fn stats() -> [u64; 6] {
    let stats = HeapStats::get();
    [
        stats.total_blocks,
        stats.total_bytes,
        stats.curr_blocks as u64,
        stats.curr_bytes as u64,
        stats.max_blocks as u64,
        stats.max_bytes as u64,
    ]
}

/// So many levels make sites for several chunks of every thread's counters.
const LEVELS: u32 = 12;
const PATHS: u64 = 1 << LEVELS;

/// Has a stack of its own for each path.
#[inline(never)]
fn one_of_many_sites(path: u64, levels: u32, bytes: usize) -> Option<Block> {
    if levels == 0 {
        return black_box(Some(Block::new(bytes)));
    }
    // Something else after each call, so that the two are not made one.
    let (next, levels) = (path / 2, levels - 1);
    match path % 2 {
        0 => black_box(one_of_many_sites(next, levels, bytes)),
        _ => {
            let block = one_of_many_sites(next, levels, bytes);
            black_box(black_box(block).filter(|block| block.bytes() > 0))
        }
    }
}

/// A block of each path's number and 1 in bytes, for every so many paths; by a thread.
fn some_of_many(step: usize) -> Vec<Block> {
    let block = |path| one_of_many_sites(path, LEVELS, path as usize + 1);
    let blocks = move || (0..PATHS).step_by(step).filter_map(block).collect();
    thread::spawn(blocks).join().unwrap()
}

fn many_sites() {
    let first = run("first.json");
    let kept = some_of_many(1);
    some_of_many(2).into_iter().for_each(Block::free);
    drop(first);
    let second = run("second.json");
    some_of_many(3).into_iter().for_each(Block::free);
    drop(second);
    kept.into_iter().for_each(Block::free);
}

fn every_site_is_counted(child: Child) {
    let ended = child.run().exited_with(0);
    let sorted = |file: &str| {
        let profile = Profile::read(&ended.path(file));
        let points = profile.points_in("one_of_many_sites").into_iter();
        let counts = points.map(|point| [point.tb, point.tbk, point.eb, point.ebk]);
        let mut counts: Vec<_> = counts.filter(|counts| counts[1] <= 2).collect();
        counts.sort_unstable();
        counts
    };
    let first = |path: u64| {
        let (bytes, blocks) = (path + 1, 2 - path % 2);
        [bytes * blocks, blocks, bytes, 1]
    };
    let mut expected: Vec<_> = (0..PATHS).map(first).collect();
    expected.sort_unstable();
    assert_eq!(sorted("first.json"), expected);
    let paths = (0..PATHS).step_by(3);
    let second: Vec<_> = paths.map(|path| [path + 1, 1, 0, 0]).collect();
    assert_eq!(sorted("second.json"), second);
}

fn blocks_that_cross() {
    let before_all = first_site(7);
    let first = run("1.json");
    assert_eq!(stats(), [0; 6]);
    let freed_later = first_site(1000);
    let mut resized_later = first_site(2000);
    let kept = first_site(3000);
    assert_eq!(stats(), [3, 6000, 3, 6000, 3, 6000]);
    drop(first);
    let between = first_site(50);

    let second = run("2.json");
    assert_eq!(stats(), [0; 6]);
    // Unknown to this run: ignored.
    freed_later.free();
    between.free();
    before_all.free();
    assert_eq!(stats(), [0; 6]);
    // A block of this run from here on, at the site of the realloc.
    second_site(&mut resized_later, 500);
    assert_eq!(stats(), [1, 500, 1, 500, 1, 500]);
    second_site(&mut resized_later, 700);
    assert_eq!(stats(), [2, 1200, 1, 700, 1, 700]);
    let own = first_site(60);
    assert_eq!(stats(), [3, 1260, 2, 760, 2, 760]);
    drop(second);

    let third = run("3.json");
    resized_later.free();
    own.free();
    assert_eq!(stats(), [0; 6]);
    first_site(80).free();
    assert_eq!(stats(), [1, 80, 0, 0, 1, 80]);
    drop(third);
    kept.free();
}

fn crossing_blocks_are_handled(child: Child) {
    let ended = child.run().exited_with(0);
    assert_eq!(ended.files(), ["1.json", "2.json", "3.json"]);
    let summaries = ended.summaries();
    assert_eq!(summaries.len(), 3);
    let profiles: Vec<Profile> = ["1.json", "2.json", "3.json"]
        .iter()
        .zip(&summaries)
        .map(|(file, summary)| {
            let profile = Profile::read(&ended.path(file));
            profile.agrees_with(summary);
            profile
        })
        .collect();
    let first = profiles[0].sum_in("first_site");
    assert_eq!(
        (first.tb, first.eb, first.ebk, first.mb),
        (6000, 6000, 3, 6000)
    );
    let second = profiles[1].sum_in("second_site");
    assert_eq!(
        (second.tbk, second.tb, second.eb, second.mb),
        (2, 1200, 700, 700)
    );
    let first = profiles[1].sum_in("first_site");
    assert_eq!((first.tbk, first.tb, first.eb), (1, 60, 60));
    let first = profiles[2].sum_in("first_site");
    assert_eq!((first.tbk, first.tb, first.eb, first.mb), (1, 80, 0, 80));
    assert!(profiles[2].points_in("second_site").is_empty());
    let nothing = Amount {
        bytes: 0,
        blocks: 0,
    };
    assert_eq!(summaries[2].end, nothing);
}

const RUNS: usize = 20;
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Threads that allocate, hand on and free through all starts and ends.
fn threads_that_cross() {
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Block>(100);
    let allocating = thread::spawn(move || {
        let mut bytes = 1;
        while !STOPPING.load(Relaxed) {
            let mut block = Block::new(bytes);
            block.resize(bytes % 300 + 1);
            sender.send(block).expect("the other thread");
            bytes = bytes % 1000 + 1;
        }
    });
    let freeing = thread::spawn(move || receiver.into_iter().for_each(Block::free));
    for number in 0..RUNS {
        let profiler = run(&format!("{number:02}.json"));
        thread::sleep(std::time::Duration::from_millis(5));
        let stats = HeapStats::get();
        assert!(stats.curr_blocks < 10_000, "{stats:?}");
        drop(profiler);
    }
    STOPPING.store(true, Relaxed);
    allocating.join().expect("joins");
    freeing.join().expect("joins");
}

fn every_run_agrees(child: Child) {
    let ended = child.run().exited_with(0);
    let summaries = ended.summaries();
    assert_eq!(summaries.len(), RUNS);
    let mut blocks = 0;
    for (number, summary) in summaries.iter().enumerate() {
        Profile::read(&ended.path(&format!("{number:02}.json"))).agrees_with(summary);
        blocks += summary.total.blocks;
        assert!(summary.end.blocks < 10_000, "{summary:?}");
    }
    assert!(
        blocks > 1000,
        "the threads allocated while it was recorded: {blocks}"
    );
}

fn no_two_at_once() {
    let _profiler = Profiler::new_heap();
    let second = std::panic::catch_unwind(Profiler::new_heap);
    tell("second refused", u64::from(second.is_err()));
}

fn two_hundred() {
    for number in 1..=200 {
        let profiler = Profiler::builder().testing().build();
        let blocks: Vec<Block> = (1..100).map(Block::new).collect();
        assert_eq!(
            HeapStats::get().curr_bytes - blocks.capacity() * size_of::<Block>(),
            99 * 50
        );
        blocks.into_iter().for_each(Block::free);
        drop(profiler);
        if number == 20 || number == 200 {
            tell(&format!("rss kib at {number}"), memory_kib("VmRSS:"));
        }
    }
}

/// A line of this process's status.
pub(crate) fn memory_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).expect("KiB")
}

/// While an assertion is evaluated another thread can end the run, and begin
/// the next one.
fn ended_meanwhile() {
    let fails = |assertion: &dyn Fn()| {
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(assertion));
        assert!(failed.is_err());
    };
    let testing = || {
        Profiler::builder()
            .testing()
            .file_name("second.json")
            .build()
    };
    let first = std::cell::RefCell::new(Some(testing()));
    fails(&|| heapledger::assert!(first.take().is_none()));
    // Nothing has failed in this one.
    let second = std::cell::RefCell::new(Some(testing()));
    heapledger::assert!(HeapStats::get().total_blocks == 0);
    let third = std::cell::RefCell::new(None);
    fails(&|| {
        heapledger::assert!({
            drop(second.take());
            third.replace(Some(run("third.json"))).is_some()
        })
    });
    for _ in 0..2 {
        first_site(10).free();
    }
}
