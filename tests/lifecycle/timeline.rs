//! What was live over time, in the file.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::Child;
use heapledger::Profiler;
use serde_json::Value;
use std::fs;
use std::thread::{self, sleep};
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("timeline/one_thread", steps, |child| {
        steps_are_seen(child, 0)
    }),
    Scenario::new("timeline/top_points", steps, top_points_are_told),
    Scenario::new("timeline/many_threads", steps_beside_a_thread, |child| {
        // What the other threads may hold without saying so.
        steps_are_seen(child, MIB);
    }),
    Scenario::new("timeline/is_bounded", saw, |child| {
        let moments = moments(child);
        assert!((100..=771).contains(&moments.len()), "{}", moments.len());
        let highest = moments.iter().map(|moment| moment.bytes).max();
        assert!(highest >= Some(400 * 128 * 1024), "{highest:?}");
    }),
];

const MIB: u64 = 1 << 20;
/// Longer than a slot of a run this short.
const HOLD: Duration = Duration::from_millis(40);

/// 8 MiB, then 3, then 20, then 1: each for a while in which nothing happens.
fn take_steps() {
    let eight: Vec<Block> = (0..64).map(|_| Block::new(128 << 10)).collect();
    sleep(HOLD);
    let mut three = eight;
    three.drain(24..).for_each(Block::free);
    sleep(HOLD);
    let large = Block::new(17 << 20);
    sleep(HOLD);
    large.free();
    three.drain(8..).for_each(Block::free);
    sleep(HOLD);
    three.drain(..).for_each(Block::free);
}

fn steps() {
    let _profiler = Profiler::new_heap();
    take_steps();
}

fn steps_beside_a_thread() {
    let _profiler = Profiler::new_heap();
    thread::scope(|scope| {
        scope.spawn(|| Block::new(100).free());
        scope.spawn(take_steps);
    });
}

/// More moments than the table has room for.
fn saw() {
    let _profiler = Profiler::new_heap();
    let mut blocks = Vec::with_capacity(400);
    for _ in 0..3 {
        for _ in 0..400 {
            blocks.push(Block::new(128 << 10));
            sleep(Duration::from_micros(600));
        }
        blocks.drain(..).for_each(Block::free);
    }
}

struct Moment {
    us: u64,
    bytes: u64,
    blocks: u64,
    is_peak: bool,
}

#[track_caller]
fn file(child: Child) -> Value {
    let ended = child.run().exited_with(0);
    let text = fs::read_to_string(ended.path("dhat-heap.json")).expect("the profile");
    serde_json::from_str(&text).expect("JSON")
}

#[track_caller]
fn moments(child: Child) -> Vec<Moment> {
    let file = file(child);
    let sum = |key: &str| -> u64 {
        let points = file["pps"].as_array().expect("points").iter();
        points
            .map(|point| point[key].as_u64().expect("a number"))
            .sum()
    };
    let moments = file["heapledger"]["timeline"]["moments"].as_array();
    let moments: Vec<Moment> = moments
        .expect("a timeline")
        .iter()
        .map(|moment| Moment {
            us: moment["time"].as_u64().expect("a time"),
            bytes: moment["bytes"].as_u64().expect("bytes"),
            blocks: moment["blocks"].as_u64().expect("blocks"),
            is_peak: moment["peak"] == true,
        })
        .collect();
    assert!(moments.is_sorted_by_key(|moment| moment.us));
    let (first, last) = (&moments[0], &moments[moments.len() - 1]);
    assert_eq!((first.us, first.bytes), (0, 0));
    assert_eq!(last.us, file["te"].as_u64().expect("te"));
    assert_eq!((last.bytes, last.blocks), (sum("eb"), sum("ebk")));
    let peaks: Vec<&Moment> = moments.iter().filter(|moment| moment.is_peak).collect();
    assert_eq!(peaks.len(), 1);
    assert_eq!((peaks[0].bytes, peaks[0].blocks), (sum("gb"), sum("gbk")));
    assert_eq!(peaks[0].us, file["tg"].as_u64().expect("tg"));
    moments
}

/// Each step is shown for at least most of the time that it lasted.
#[track_caller]
fn steps_are_seen(child: Child, tolerance: u64) {
    let moments = moments(child);
    let mut shown = [(8, 0), (3, 0), (20, 0), (1, 0)];
    for two in moments.windows(2) {
        let lasted = two[1].us - two[0].us;
        for (mib, us) in &mut shown {
            if two[0].bytes.abs_diff(*mib * MIB) <= tolerance + 20 * MIB / 64 {
                *us += lasted;
            }
        }
    }
    let least = HOLD.as_micros() as u64 * 3 / 4;
    for (mib, us) in shown {
        assert!(us >= least, "{mib} MiB are shown for {us} µs only");
    }
}

#[track_caller]
fn top_points_are_told(child: Child) {
    let file = file(child);
    let number = |value: &Value| value.as_u64().expect("a number");
    let moments = file["heapledger"]["timeline"]["moments"].as_array();
    let mut told = 0;
    for moment in moments.expect("a timeline") {
        let (point, bytes) = (&moment["top"][0][0], &moment["top"][0][1]);
        if bytes.as_u64().is_none_or(|bytes| bytes < MIB) {
            continue;
        }
        assert!(number(bytes) <= number(&moment["bytes"]), "{moment}");
        let frames = file["pps"][number(point) as usize]["fs"].as_array();
        let is_ours = frames.expect("frames").iter().any(|frame| {
            let text = file["ftbl"][number(frame) as usize].as_str();
            text.expect("a text").contains("take_steps")
        });
        assert!(is_ours, "{moment} of {file:#}");
        told += 1;
    }
    assert!(told > 0, "{file:#}");
}
