//! The end of a run, and its report: when the profiler is dropped, and when the process ends.

use super::reading::{add_modules, options, take};
use super::{PHASE, Phase, Run, exact, fork, helper, print, print_line};
use crate::alloc::ENGINE;
use crate::clock::Moment;
use crate::process;
use crate::record::snapshot::Snapshot;
use crate::report::output::Formats;
use crate::report::profile::Profile;
use crate::report::{dhat, summary};
use std::sync::Once;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};
use std::time::{Duration, Instant};

/// Registers, once, for the ends of the process that drop nothing.
pub(super) fn finish_when_the_process_ends() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        process::at_exit(finish_at_exit);
        fork::go_on_in_copies();
        if cfg!(panic = "abort") {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                before(panic);
                finish();
            }));
        }
    });
}

extern "C" fn finish_at_exit() {
    finish();
    wait_for_report();
}

/// The thread that is writing a profile, or 0.
static REPORTING: AtomicU64 = AtomicU64::new(0);

/// How long an exit waits for another thread's profile. A file that is a pipe
/// which nobody reads must not keep the process alive.
const REPORT_LIMIT: Duration = Duration::from_secs(60);

/// Waits until the profile that another thread is writing is in place.
fn wait_for_report() {
    let start = Instant::now();
    let (own, pid) = (process::thread_number(), u64::from(std::process::id()));
    loop {
        let reporting = REPORTING.load(Acquire);
        // A report in the process that this one is a copy of ends there.
        let is_done = reporting == 0 || reporting == own || reporting >> 32 != pid;
        if is_done && !helper::is_writing() {
            return;
        }
        if start.elapsed() > REPORT_LIMIT {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Ends the run, if there is one, and reports unless it is in testing mode.
pub(super) fn finish() {
    ENGINE.ignoring(|| {
        if let Some(ended) = EndedRun::take()
            && !ended.run.settings.testing
        {
            ended.report(Target::Files);
        }
    });
}

/// Where a report goes.
pub(super) enum Target {
    Files,
    Memory,
}

/// A run that is over, and what was read then.
pub(super) struct EndedRun {
    pub(super) run: Run,
    snapshot: Snapshot,
}

impl Drop for EndedRun {
    fn drop(&mut self) {
        REPORTING.store(0, Release);
    }
}

impl EndedRun {
    /// Ends the run. None: there is none. After a failed assertion there is
    /// nothing left to end, and the next profiler may start.
    pub(super) fn take() -> Option<Self> {
        Self::take_if(|_| true, Phase::Ready)
    }

    /// Ends the run that began at `start`, because an assertion has failed in
    /// it. None: it has been ended meanwhile, and another may be in progress.
    pub(super) fn take_failed(start: Moment) -> Option<Self> {
        Self::take_if(|phase| phase.started() == Some(start), Phase::PostAssert)
    }

    pub(super) fn take_if(is_the_one: impl FnOnce(&Phase) -> bool, next: Phase) -> Option<Self> {
        let mut phase = PHASE.lock();
        if !is_the_one(&phase) {
            return None;
        }
        let Phase::Running(run) = std::mem::replace(&mut *phase, next) else {
            return None;
        };
        // Under the phase's lock: an exit that finds no run finds the report.
        REPORTING.store(process::thread_number(), Release);
        ENGINE.stop();
        exact::stop();
        // Read before the lock is let go: the next run starts with empty tables.
        let snapshot = take(&run);
        exact::rest();
        ENGINE.leave_crash_file();
        Some(Self {
            run: *run,
            snapshot,
        })
    }

    /// Writes the profile and prints the summary. With no lock held: printing
    /// waits for whoever writes to standard error, and that thread may allocate.
    pub(super) fn report(self, target: Target) -> Option<String> {
        process::surviving_writes(|| self.write_report(target))
    }

    fn write_report(mut self, target: Target) -> Option<String> {
        let settings = &self.run.settings;
        if !self.run.installed {
            print_line(settings.missing());
            return None;
        }
        add_modules(&mut self.snapshot);
        let options = options(settings);
        let profile = Profile::from_snapshot(&self.snapshot, &options);
        let mut text = String::new();
        if !settings.quiet {
            text.push_str(&summary::summary(&profile));
        }
        let mut is_saved = true;
        let written = match target {
            Target::Memory => {
                if !settings.quiet {
                    text.push_str("heapledger: The data has been saved to the memory buffer\n");
                }
                Some(dhat::to_string_pretty(&profile))
            }
            Target::Files => {
                let pid = std::process::id();
                let mut formats = Formats::of(&profile);
                for output in settings.files((pid != self.run.pid).then_some(pid)) {
                    match formats.save(&output) {
                        Ok(_) if settings.quiet => {}
                        Ok(saved) => text.push_str(&format!("heapledger: {saved}\n")),
                        Err(error) => {
                            text.push_str(&format!("heapledger: error: {error}\n"));
                            is_saved = false;
                        }
                    }
                }
                if let Some(path) = self.run.own_crash_file().filter(|_| !is_saved) {
                    text.push_str(&format!(
                        "heapledger: What was recorded is still in {}, for heapledger recover\n",
                        path.display()
                    ));
                }
                None
            }
        };
        if let Some(path) = self.run.own_crash_file().filter(|_| is_saved) {
            let _ = std::fs::remove_file(path);
        }
        // The files are in place. An exit need not wait for standard error, which
        // the exiting thread may hold.
        REPORTING.store(0, Release);
        if settings.eprint_json {
            text.push_str(&format!(
                "heapledger: json = `{}`\n",
                dhat::to_string_pretty(&profile)
            ));
        }
        print(&text);
        written
    }
}
