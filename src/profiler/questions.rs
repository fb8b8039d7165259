//! What a program asks and asserts of the run in progress.

use super::end::{EndedRun, Target};
use super::{PHASE, Phase};
use crate::alloc::ENGINE;
use crate::clock::Moment;
use crate::record::snapshot::Totals;

/// What a question about the run in progress is answered with.
pub(crate) enum Question {
    HeapTotals,
    AdHocTotals,
}

/// The totals of the run in progress.
///
/// # Panics
/// If there is none, if it is of the other kind, after a failed assertion, and
/// if the allocator is missing: zeros would pass for a reading.
pub(crate) fn totals(question: Question) -> Totals {
    ENGINE.ignoring(|| {
        let answer = {
            let phase = PHASE.lock();
            match (&*phase, &question) {
                (Phase::Running(run), Question::HeapTotals) if run.settings.copies => {
                    Err("dhat: getting heap stats while profiling copies")
                }
                (Phase::Running(run), Question::HeapTotals) if run.settings.ad_hoc => {
                    Err("dhat: getting heap stats while doing ad hoc profiling")
                }
                (Phase::Running(run), Question::AdHocTotals) if !run.settings.ad_hoc => {
                    Err("dhat: getting ad hoc stats while doing heap profiling")
                }
                (Phase::Running(run), _) if !run.installed => Err(run.settings.missing()),
                (Phase::Running(run), _) if run.settings.sampling().is_some() => Err(SAMPLED),
                (Phase::Running(_), _) => Ok(ENGINE.totals()),
                (Phase::Ready, Question::HeapTotals) => {
                    Err("dhat: getting heap stats when no profiler is running")
                }
                (Phase::Ready, Question::AdHocTotals) => {
                    Err("dhat: getting ad hoc stats when no profiler is running")
                }
                (Phase::PostAssert, Question::HeapTotals) => {
                    Err("dhat: getting heap stats after the profiler has asserted")
                }
                (Phase::PostAssert, Question::AdHocTotals) => {
                    Err("dhat: getting ad hoc stats after the profiler has asserted")
                }
            }
        };
        answer.unwrap_or_else(|message| panic!("{message}"))
    })
}

/// For the assertion macros: whether `holds` is false, in which case the run
/// has been ended and its profile saved.
///
/// # Panics
/// If no run in testing mode is in progress, or one whose assertion has
/// failed before.
#[doc(hidden)]
pub fn check_assert_condition<F: FnOnce() -> bool>(holds: F) -> bool {
    ENGINE.ignoring(|| {
        let start = asserting().unwrap_or_else(|message| panic!("{message}"));
        if holds() {
            return false;
        }
        if let Some(ended) = EndedRun::take_failed(start) {
            ended.report(Target::Files);
        }
        true
    })
}

/// When the run began in which something is asserted, or why nothing can be.
fn asserting() -> Result<Moment, &'static str> {
    match &*PHASE.lock() {
        Phase::Ready => Err("dhat: asserting when no profiler is running"),
        Phase::PostAssert => Err("dhat: asserting after the profiler has asserted"),
        Phase::Running(run) if !run.settings.testing => {
            Err("dhat: asserting while not in testing mode")
        }
        Phase::Running(run) if !run.installed => Err(run.settings.missing()),
        Phase::Running(run) => Ok(run.start),
    }
}
const SAMPLED: &str = "heapledger: getting exact heap stats while blocks are sampled; \
     use HeapGauges::read, or remove sample_bytes";
