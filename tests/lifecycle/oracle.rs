//! Exact counts with many threads, against an oracle.

use crate::support::Scenario;
use crate::support::child::Child;
use crate::support::storm::{storm, storm_is_in};
use heapledger::Profiler;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("oracle/usual_peaks", usual_peaks, |child| {
        let stderr = agrees(child);
        // Eight threads ran ahead of each other: that is said.
        assert!(
            stderr.contains("bytes at most are missing from t-gmax"),
            "{stderr}"
        );
    }),
    Scenario::new("oracle/exact_peaks", exact_peaks, |child| {
        let stderr = agrees(child);
        assert!(
            !stderr.contains("missing") && !stderr.contains("lower bound"),
            "{stderr}"
        );
    }),
];

fn usual_peaks() {
    let _profiler = Profiler::new_heap();
    storm();
}

fn exact_peaks() {
    let _profiler = Profiler::builder().exact_peaks().build();
    storm();
}

#[track_caller]
fn agrees(child: Child) -> String {
    let ended = child.run().exited_with(0);
    storm_is_in(&ended.profile(), &ended.summaries()[0], |name| {
        ended.told(name)
    });
    assert!(!ended.stderr.contains("not recorded"), "{}", ended.stderr);
    ended.stderr.clone()
}
