//! Profiles of a run that goes on.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, tell};
use crate::support::profile::Profile;
use heapledger::{Profiler, Snapshot, SnapshotError};
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("snapshots/one_by_one", one_by_one, each_holds_its_moment),
    Scenario::new("snapshots/under_load", under_load, |child| {
        let ended = child.run().exited_with(0);
        for number in 0..SNAPSHOTS {
            let profile = Profile::read(&ended.path(&format!("{number}.json")));
            assert_eq!(profile.sum_in("kept").eb, 5000);
        }
        assert!(ended.told("pauses") > 0);
    }),
    Scenario::new("snapshots/refused", refused, |child| {
        child.run().exited_with(0);
    }),
];

#[inline(never)]
fn kept() -> Block {
    Block::new(5000)
}

#[inline(never)]
fn later() -> Block {
    Block::new(700)
}

fn write(snapshot: &Snapshot, name: &str) {
    snapshot
        .write_dhat(File::create(name).expect("a file"))
        .expect("written");
}

fn one_by_one() {
    let profiler = Profiler::new_heap();
    kept().keep();
    let first = profiler.snapshot().expect("the first");
    let freed = later();
    // Written later, and twice: still the moment it was taken.
    write(&first, "1.json");
    write(&first, "1-again.json");
    drop(first);
    let second = Snapshot::take().expect("the second");
    freed.free();
    write(&second, "2.json");
}

fn each_holds_its_moment(child: Child) {
    let ended = child.run().exited_with(0);
    let first = Profile::read(&ended.path("1.json"));
    assert_eq!(
        (first.sum_in("kept").eb, first.sum_in("kept").tbk),
        (5000, 1)
    );
    assert!(first.points_in("later").is_empty());
    assert!(
        first.points_in("write").is_empty(),
        "our own work is left out"
    );
    let read = |name| std::fs::read(ended.path(name)).expect("the file");
    assert_eq!(read("1.json"), read("1-again.json"));
    let second = Profile::read(&ended.path("2.json"));
    assert_eq!(
        (second.sum_in("later").eb, second.sum_in("later").tb),
        (700, 700)
    );
    let end = Profile::read(&ended.path("dhat-heap.json"));
    end.agrees_with(&ended.summaries()[0]);
    assert_eq!((end.sum_in("later").eb, end.sum_in("later").tb), (0, 700));
    assert!(end.duration_us() >= second.duration_us());
}

const SNAPSHOTS: usize = 20;
static STOPPING: AtomicBool = AtomicBool::new(false);

fn under_load() {
    let profiler = Profiler::builder().quiet().build();
    kept().keep();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !STOPPING.load(Relaxed) {
                    let blocks: [Block; 30] = std::array::from_fn(|n| Block::new(n * 40 + 1));
                    blocks.into_iter().for_each(Block::free);
                }
            });
        }
        let mut pauses = 0;
        for number in 0..SNAPSHOTS {
            let snapshot = profiler.snapshot().expect("one at a time");
            pauses += snapshot.pause().as_nanos() as u64;
            write(&snapshot, &format!("{number}.json"));
        }
        STOPPING.store(true, Relaxed);
        tell("pauses", pauses);
    });
}

fn refused() {
    assert!(matches!(
        Snapshot::take(),
        Err(SnapshotError::NotRunning(_))
    ));
    let profiler = Profiler::builder().testing().build();
    let first = profiler.snapshot().expect("the first");
    assert_eq!(profiler.snapshot().err(), Some(SnapshotError::Busy));
    thread::scope(|scope| {
        let other = scope.spawn(|| Snapshot::take().err());
        assert_eq!(other.join().expect("joins"), Some(SnapshotError::Busy));
    });
    drop(first);
    assert!(profiler.snapshot().is_ok());
    drop(profiler);
    // What failed has left nothing behind.
    assert!(matches!(
        Snapshot::take(),
        Err(SnapshotError::NotRunning(_))
    ));
    let again = Profiler::builder().testing().build();
    assert!(again.snapshot().is_ok());
}
