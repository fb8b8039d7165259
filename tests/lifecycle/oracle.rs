//! Exact counts with many threads, against an oracle.

use crate::support::Scenario;
use crate::support::child::Child;
use crate::support::profile::Profile;
use crate::support::storm::{storm, storm_is_in};
use heapledger::Profiler;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("oracle/usual_peaks", usual_peaks, |child| {
        let exact = agrees(child).exact();
        // Eight threads ran ahead of each other: that is said.
        assert!(!exact.peak && exact.bounded_max_sites > 0, "{exact:?}");
    }),
    Scenario::new("oracle/exact_peaks", exact_peaks, |child| {
        let exact = agrees(child).exact();
        assert!(exact.peak && exact.bounded_max_sites == 0, "{exact:?}");
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
fn agrees(child: Child) -> Profile {
    let ended = child.run().exited_with(0);
    let profile = ended.profile();
    storm_is_in(&profile, &ended.summaries()[0], |name| ended.told(name));
    profile
}
