//! A run from start to report: [`Profiler`].

use crate::alloc::ENGINE;
use crate::clock::Moment;
use crate::lock::SpinLock;
use crate::process;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

mod builder;
mod crash_safety;
mod end;
mod exact;
mod fork;
mod helper;
mod questions;
mod reading;
mod settings;
mod start;

pub use builder::ProfilerBuilder;
pub(crate) use crash_safety::About;
use end::{EndedRun, Target, finish};
pub use questions::check_assert_condition;
pub(crate) use questions::{Question, totals};
pub(crate) use reading::{add_modules, read_running};
pub(crate) use settings::MISSING_ALLOCATOR;
pub(crate) use start::{allocator_is_installed, start_from_environment};

/// Frames of a stack that are kept unless told otherwise.
const DEFAULT_FRAMES: usize = 64;

/// Frames kept beyond those asked for: the way into the profiler, which is
/// trimmed off.
const PLUMBING_FRAMES: usize = 16;

/// Where the run is. Held only for a moment, never while something is printed
/// or written, and by no allocation.
static PHASE: SpinLock<Phase> = SpinLock::new(Phase::Ready);

#[derive(Debug)]
enum Phase {
    Ready,
    Running(Box<Run>),
    /// An assertion has failed and the profile was saved.
    PostAssert,
}

impl Phase {
    /// When the run in progress began; no two begin at once.
    fn started(&self) -> Option<Moment> {
        match self {
            Self::Running(run) => Some(run.start),
            Self::Ready | Self::PostAssert => None,
        }
    }

    fn is_from_environment(&self) -> bool {
        matches!(self, Self::Running(run) if run.settings.from_environment)
    }
}

#[derive(Debug)]
struct Run {
    settings: ProfilerBuilder,
    start: Moment,
    /// The process that started it; a copy made by `fork` has another number.
    pid: u32,
    /// Whether the program's allocations come through [`Alloc`](struct@crate::Alloc).
    installed: bool,
    accesses: exact::Counting,
    crash_file: Option<PathBuf>,
}

impl Run {
    /// Of this process: a copy made by `fork` has none.
    fn own_crash_file(&self) -> Option<&Path> {
        let is_own = self.pid == std::process::id();
        self.crash_file.as_deref().filter(|_| is_own)
    }
}

/// Profiles from its creation to its drop.
///
/// Heap profiling records every allocation and free of every thread, if
/// [`Alloc`](struct@crate::Alloc) is the program's global allocator. When the profiler is
/// dropped, when the program calls [`std::process::exit`], or when a panic
/// aborts it, the profile is written to a file that DHAT's viewer opens, and a
/// summary is printed on standard error. One profiler can run at a time; after
/// it was dropped another one can be created.
///
/// # Examples
/// ```no_run
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let _profiler = heapledger::Profiler::new_heap();
///     let words: Vec<String> = (0..1000).map(|n| format!("word {n}")).collect();
///     println!("{}", words.len());
/// } // writes dhat-heap.json
/// ```
#[derive(Debug)]
pub struct Profiler {
    _not_constructible: (),
}

impl Profiler {
    /// Starts heap profiling. Bind the result to a variable that lives until
    /// the end of `main`.
    ///
    /// # Panics
    /// If another profiler is running.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::new_heap();
    /// ```
    pub fn new_heap() -> Self {
        Self::builder().build()
    }

    /// Starts ad hoc profiling: of calls to [`ad_hoc_event`](crate::ad_hoc_event),
    /// not of allocations.
    ///
    /// # Panics
    /// If another profiler is running.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::new_ad_hoc();
    /// heapledger::ad_hoc_event(100);
    /// ```
    pub fn new_ad_hoc() -> Self {
        Self::builder().ad_hoc().build()
    }

    /// A builder, for everything that has a setting.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().file_name("run.json").build();
    /// ```
    pub fn builder() -> ProfilerBuilder {
        ProfilerBuilder {
            ad_hoc: false,
            copies: false,
            histograms: false,
            testing: false,
            exact_peaks: false,
            timing: false,
            touch: None,
            touch_in_dhat: false,
            frame_pointers: false,
            quiet: false,
            file_name: None,
            outputs: Vec::new(),
            trim_backtraces: Some(DEFAULT_FRAMES),
            eprint_json: false,
            paused: false,
            sample_bytes: None,
            sample_seed: None,
            snapshot_signal: None,
            window: None,
            crash_safe: false,
            from_environment: false,
        }
    }

    /// Leaves out what is allocated from now on, until [`resume`](Self::resume).
    ///
    /// Blocks that were recorded before are followed to their end: that they
    /// are freed, or reallocated, while the profiler is paused is counted, so
    /// that what is live stays exact. Blocks allocated while it is paused are never in the
    /// profile, even if they are reallocated or freed after it was resumed. The
    /// clock of the run goes on. Does nothing if the run is over.
    ///
    /// # Examples
    /// ```
    /// #[global_allocator]
    /// static ALLOC: heapledger::Alloc = heapledger::Alloc;
    ///
    /// fn main() {
    ///     let profiler = heapledger::Profiler::builder().testing().build();
    ///     profiler.pause();
    ///     let left_out = vec![0_u8; 1000];
    ///     profiler.resume();
    ///     let recorded = vec![0_u8; 10];
    ///     heapledger::assert_eq!(heapledger::HeapStats::get().total_bytes, 10);
    ///     # drop((left_out, recorded));
    /// }
    /// ```
    pub fn pause(&self) {
        while_running(|_| ENGINE.shut_window());
    }

    /// Ends a [`pause`](Self::pause). Does nothing if there is none.
    ///
    /// # Examples
    /// ```
    /// let profiler = heapledger::Profiler::builder().ad_hoc().testing().build();
    /// profiler.pause();
    /// heapledger::ad_hoc_event(1); // left out
    /// profiler.resume();
    /// heapledger::ad_hoc_event(2);
    /// assert_eq!(heapledger::AdHocStats::get().total_units, 2);
    /// ```
    pub fn resume(&self) {
        while_running(|_| ENGINE.open_window());
    }

    /// Ends profiling now and returns what would have been written to the file.
    #[doc(hidden)]
    pub fn drop_and_get_memory_output(&mut self) -> String {
        ENGINE.ignoring(|| {
            let Some(ended) = EndedRun::take() else {
                return String::new();
            };
            if ended.run.settings.testing {
                return String::new();
            }
            ended.report(Target::Memory).unwrap_or_default()
        })
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        finish();
    }
}

/// Does `work` while the run, if there is one, cannot end.
fn while_running<T>(work: impl FnOnce(&Run) -> T) -> Option<T> {
    ENGINE.ignoring(|| match &*PHASE.lock() {
        Phase::Running(run) => Some(work(run)),
        Phase::Ready | Phase::PostAssert => None,
    })
}

pub(crate) fn command() -> String {
    let words: Vec<_> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

/// Lines for standard error, in one write. That it is closed is nobody's fault.
fn print(text: &str) {
    let _ = process::surviving_writes(|| match fork::is_copy() {
        // Whoever held its lock when the process was copied is not there to let it go.
        true => {
            File::from(std::io::stderr().as_fd().try_clone_to_owned()?).write_all(text.as_bytes())
        }
        false => std::io::stderr().write_all(text.as_bytes()),
    });
}

pub(crate) fn print_line(line: &str) {
    print(&format!("heapledger: {line}\n"));
}
