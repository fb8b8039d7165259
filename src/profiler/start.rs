//! The start of a run.

use super::end::{EndedRun, Target, finish_when_the_process_ends};
use super::{
    PHASE, PLUMBING_FRAMES, Phase, Profiler, ProfilerBuilder, Run, crash_safety, exact, helper,
    print_line,
};
use crate::alloc::ENGINE;
use crate::capture::back_end::BackEnd;
use crate::clock::Moment;
use crate::engine::RunSettings;
use crate::record::snapshot::Kind;
use std::alloc::Layout;
use std::hint::black_box;

impl ProfilerBuilder {
    /// Starts profiling.
    ///
    /// # Panics
    /// If another profiler is running, and if [`sample_bytes`](Self::sample_bytes) is
    /// chosen together with [`testing`](Self::testing) or [`timing`](Self::timing).
    pub fn build(self) -> Profiler {
        if let Some(why) = self.contradiction() {
            panic!("heapledger: {why}");
        }
        ENGINE.ignoring(|| {
            // The program's own wishes go before those of who started it.
            if let Some(ended) = EndedRun::take_if(Phase::is_from_environment, Phase::Ready) {
                ended.report(Target::Files);
            }
            if self.begin().is_err() {
                panic!("dhat: creating a profiler while a profiler is already running")
            }
            Profiler {
                _not_constructible: (),
            }
        })
    }

    /// Starts the run, and tells what is wrong with it.
    fn begin(mut self) -> Result<(), AlreadyRunning> {
        // A testing run has no place for a file.
        self.crash_safe |= !self.testing && crash_safety::is_asked_from_outside();
        let missing = self.missing();
        let frame_pointers = self.frame_pointers;
        let (signal, needs_helper) = (self.snapshot_signal, helper::is_needed(&self));
        match self.start()? {
            #[cfg(feature = "interpose")]
            Installed(true) if !crate::interpose::is_in_place() => print_line(NOT_IN_PLACE),
            Installed(true) => {}
            Installed(false) => print_line(missing),
        }
        if frame_pointers && ENGINE.back_end() != BackEnd::FramePointers {
            print_line(NO_FRAME_POINTERS);
        }
        if let Some(line) = exact::objection() {
            print_line(line);
        }
        if needs_helper && let Err(why) = helper::start(signal) {
            print_line(&format!("error: {why}"));
        }
        Ok(())
    }

    fn start(self) -> Result<Installed, AlreadyRunning> {
        finish_when_the_process_ends();
        let mut phase = PHASE.lock();
        if !matches!(*phase, Phase::Ready) {
            return Err(AlreadyRunning);
        }
        let frames = self.trim_backtraces.unwrap_or(usize::MAX);
        let kind = self.kind();
        let crash_file = self.is_crash_safe().then(|| self.open_crash_file());
        let start = ENGINE.start(RunSettings {
            ad_hoc: kind != Kind::Heap,
            copies: kind == Kind::Copies,
            histograms: self.histograms,
            exact: self.is_exact(),
            timed: self.times_calls(),
            touch: self.measures_touch(),
            frame_pointers: self.frame_pointers,
            frame_limit: frames.saturating_add(PLUMBING_FRAMES),
            sample_bytes: self.sampling().unwrap_or(0),
            sample_seed: self.sample_seed.unwrap_or_else(random_seed),
        });
        let (crash_file, problem) = match crash_file {
            Some(Ok(path)) => (Some(path), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        let accesses = exact::start(kind, self.histograms);
        let installed = match kind {
            Kind::Heap => allocator_is_installed(),
            Kind::Copies => exact::copies_are_seen(),
            Kind::AdHoc => true,
        };
        if self.paused {
            ENGINE.shut_window();
        }
        *phase = Phase::Running(Box::new(Run {
            settings: self,
            start,
            pid: std::process::id(),
            installed,
            accesses,
            crash_file,
        }));
        drop(phase);
        if let Some(why) = problem {
            print_line(&format!("error: {why}; the run is not crash-safe"));
        }
        Ok(Installed(installed))
    }
}

/// Starts a run that the process's environment asks for. It ends with the process, or when
/// the program starts one of its own.
pub(crate) fn start_from_environment(mut builder: ProfilerBuilder) {
    builder.from_environment = true;
    ENGINE.ignoring(|| {
        // A library that was loaded later may bring another copy of this crate, but not
        // another run of this one.
        let _ = builder.begin();
    });
}

const NO_FRAME_POINTERS: &str = "error: stacks cannot be walked by frame pointers, because the program does not keep \
     them; build all of it with RUSTFLAGS=\"-C force-frame-pointers=yes\"";

#[cfg(feature = "interpose")]
const NOT_IN_PLACE: &str = "error: allocations of C code cannot be recorded, because another malloc than \
     heapledger's is in use; build heapledger into the program itself, and link no other malloc.";

/// Whether the program's allocations come through [`Alloc`](struct@crate::Alloc).
struct Installed(bool);

struct AlreadyRunning;

/// A number that differs from run to run.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(Moment::now().ns)
}

/// Makes an allocation and looks whether it came through. Called while
/// recording, with this thread's allocations ignored.
pub(crate) fn allocator_is_installed() -> bool {
    let before = ENGINE.ignored_allocations();
    ENGINE.sample_next();
    drop(black_box(Box::new(black_box(Layout::new::<u64>()))));
    ENGINE.ignored_allocations() != before
}
