//! A run from start to report: [`Profiler`].

use crate::alloc::ENGINE;
use crate::capture::back_end::BackEnd;
use crate::capture::module_map;
use crate::clock::{Moment, Scale};
use crate::engine::RunSettings;
use crate::engine::timing::MEAN_GAP;
use crate::lock::SpinLock;
use crate::process;
use crate::record::snapshot::{Kind, MomentInTime, Snapshot, Totals};
use crate::report::output::{Format, Formats, Output};
use crate::report::profile::{Options, Profile};
use crate::report::trim::Trim;
use crate::report::unloaded;
use crate::report::{dhat, summary};
use crate::touch::Touch;
use std::alloc::Layout;
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

mod builder;
mod crash_safety;
mod exact;
mod helper;

pub use builder::ProfilerBuilder;
pub(crate) use crash_safety::About;

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
}

impl Run {
    /// Of this process: a copy made by `fork` has none.
    fn own_crash_file(&self) -> Option<&Path> {
        let is_own = self.pid == std::process::id();
        self.crash_file.as_deref().filter(|_| is_own)
    }
}

impl Phase {
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
    fn begin(self) -> Result<(), AlreadyRunning> {
        let missing = self.missing();
        let frame_pointers = self.frame_pointers;
        let tasks = helper::Tasks {
            signal: self.snapshot_signal,
            window: self.window,
            beats: self.is_crash_safe(),
        };
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
        if !tasks.is_empty()
            && let Err(why) = helper::start(tasks)
        {
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

    /// Why these settings cannot be had together.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        match self.sampling() {
            Some(_) if self.testing => {
                Some("testing needs every block recorded; remove sample_bytes")
            }
            Some(_) if crate::exact::COUNTS_ACCESSES => {
                Some("a build that counts accesses records every block; remove sample_bytes")
            }
            Some(_) if ENGINE.recorder().scopes.any_open() => {
                Some("scopes that are open count every block; end them before a run that samples")
            }
            Some(_) if self.timing => {
                Some("timing needs every block recorded; remove sample_bytes")
            }
            Some(_) if self.touch == Some(Touch::Estimate) => Some(
                "what is written to blocks is measured where every block is recorded; remove sample_bytes or touch",
            ),
            _ => None,
        }
    }

    fn measures_touch(&self) -> bool {
        // What a build counts it need not estimate.
        let default = match self.testing || crate::exact::COUNTS_ACCESSES {
            true => Touch::Off,
            false => Touch::Estimate,
        };
        let is_on = self.touch.unwrap_or(default) == Touch::Estimate;
        is_on && !self.ad_hoc && self.sampling().is_none()
    }

    fn open_crash_file(&self) -> Result<PathBuf, String> {
        let files = self.files(None);
        let first = files
            .first()
            .map_or(Path::new("dhat-heap.json"), Output::path);
        let path = crash_safety::open(first)?;
        self.tell_about();
        Ok(path)
    }

    fn tell_about(&self) {
        crash_safety::tell_about(command(), self.trim_backtraces, self.sampling());
    }

    fn is_crash_safe(&self) -> bool {
        self.crash_safe && self.kind() == Kind::Heap
    }

    fn is_exact(&self) -> bool {
        self.testing || self.exact_peaks
    }

    fn times_calls(&self) -> bool {
        self.timing && !self.ad_hoc
    }

    /// Mean number of bytes from a sample to the next, if not all is recorded.
    fn sampling(&self) -> Option<u64> {
        self.sample_bytes.filter(|_| !self.ad_hoc)
    }

    fn kind(&self) -> Kind {
        match (self.ad_hoc, self.copies) {
            (true, _) => Kind::AdHoc,
            (false, true) => Kind::Copies,
            (false, false) => Kind::Heap,
        }
    }

    /// What to do about a run that can record nothing.
    fn missing(&self) -> &'static str {
        match self.copies {
            true => exact::MISSING_FLAGS_FOR_COPIES,
            false => MISSING_ALLOCATOR,
        }
    }

    /// The files to be written. A copy of the process that started the run,
    /// made by `fork`, has files of its own.
    fn files(&self, copy: Option<u32>) -> Vec<Output> {
        let dhat = match (&self.file_name, self.kind()) {
            (Some(name), _) => Some(name.as_path()),
            (None, _) if !self.outputs.is_empty() => None,
            (None, Kind::Heap) => Some(Path::new("dhat-heap.json")),
            (None, Kind::AdHoc) => Some(Path::new("dhat-ad-hoc.json")),
            (None, Kind::Copies) => Some(Path::new("dhat-copies.json")),
        };
        let dhat = dhat.map(|path| Output::new(Format::Dhat, path));
        let all = dhat.into_iter().chain(self.outputs.iter().cloned());
        all.map(|output| match copy {
            Some(pid) => output.of_copy(pid),
            None => output,
        })
        .collect()
    }
}

const NO_FRAME_POINTERS: &str = "error: stacks cannot be walked by frame pointers, because the program does not keep \
     them; build all of it with RUSTFLAGS=\"-C force-frame-pointers=yes\"";

/// Whether the program's allocations come through [`Alloc`](struct@crate::Alloc).
struct Installed(bool);

struct AlreadyRunning;

pub(crate) const MISSING_ALLOCATOR: &str = "error: no allocation can be recorded, because heapledger is not the \
     program's allocator; add: #[global_allocator] static ALLOC: heapledger::Alloc = heapledger::Alloc;";

const SAMPLED: &str = "heapledger: getting exact heap stats while blocks are sampled; \
     use HeapGauges::read, or remove sample_bytes";

const NOT_RUNNING: &str = "no profiler is running; create one with Profiler::new_heap";

#[cfg(feature = "interpose")]
const NOT_IN_PLACE: &str = "error: allocations of C code cannot be recorded, because another malloc than \
     heapledger's is in use; build heapledger into the program itself, and link no other malloc.";
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

/// Registers, once, for the ends of the process that drop nothing.
fn finish_when_the_process_ends() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        process::at_exit(finish_at_exit);
        process::at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
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

/// The locks that `before_fork` took, or could not take because it runs in a
/// signal handler that interrupted their holder.
static LOCKED_FOR_FORK: AtomicBool = AtomicBool::new(false);

extern "C" fn before_fork() {
    let may_lock = ENGINE.may_lock();
    if may_lock {
        PHASE.lock_for_fork();
        ENGINE.before_fork();
    }
    LOCKED_FOR_FORK.store(may_lock, Relaxed);
}

extern "C" fn after_fork_in_parent() {
    if LOCKED_FOR_FORK.swap(false, Relaxed) {
        ENGINE.after_fork_in_parent();
        // SAFETY: locked by this thread in `before_fork`.
        unsafe { PHASE.unlock_after_fork() };
    }
}

extern "C" fn after_fork_in_child() {
    if LOCKED_FOR_FORK.swap(false, Relaxed) {
        ENGINE.after_fork_in_child();
        // SAFETY: locked by this thread in `before_fork`.
        unsafe { PHASE.unlock_after_fork() };
    }
}

/// Ends the run, if there is one, and reports unless it is in testing mode.
fn finish() {
    ENGINE.ignoring(|| {
        if let Some(ended) = EndedRun::take()
            && !ended.run.settings.testing
        {
            ended.report(Target::Files);
        }
    });
}

/// Does `work` while the run, if there is one, cannot end.
fn while_running<T>(work: impl FnOnce(&Run) -> T) -> Option<T> {
    ENGINE.ignoring(|| match &*PHASE.lock() {
        Phase::Running(run) => Some(work(run)),
        Phase::Ready | Phase::PostAssert => None,
    })
}

/// Where a report goes.
enum Target {
    Files,
    Memory,
}

/// A run that is over, and what was read then.
struct EndedRun {
    run: Run,
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
    fn take() -> Option<Self> {
        Self::take_if(|_| true, Phase::Ready)
    }

    /// Ends the run that began at `start`, because an assertion has failed in
    /// it. None: it has been ended meanwhile, and another may be in progress.
    fn take_failed(start: Moment) -> Option<Self> {
        Self::take_if(|phase| phase.started() == Some(start), Phase::PostAssert)
    }

    fn take_if(is_the_one: impl FnOnce(&Phase) -> bool, next: Phase) -> Option<Self> {
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
        let (snapshot, _) = read(&run);
        ENGINE.leave_crash_file();
        Some(Self {
            run: *run,
            snapshot,
        })
    }

    /// Writes the profile and prints the summary. With no lock held: printing
    /// waits for whoever writes to standard error, and that thread may allocate.
    fn report(self, target: Target) -> Option<String> {
        process::surviving_writes(|| self.write_report(target))
    }

    fn write_report(mut self, target: Target) -> Option<String> {
        let settings = &self.run.settings;
        if !self.run.installed {
            print_line(settings.missing());
            return None;
        }
        self.snapshot.modules = module_map::loaded_modules();
        unloaded::tell_apart(&mut self.snapshot, &ENGINE.noted_modules());
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

/// Everything recorded so far in this run, at one moment; and for how many
/// nanoseconds reading it kept others from recording.
fn read(run: &Run) -> (Snapshot, u64) {
    let (mut sums, end, pause_ns) = ENGINE.read();
    if run.settings.measures_touch() && ENGINE.records_heap().is_none() {
        ENGINE.measure_live(&mut sums);
    }
    let scale = Scale::between(run.start, end);
    let recorder = ENGINE.recorder();
    let sites = recorder.resolve(&sums, scale, end.ticks);
    let exact = run.settings.is_exact();
    let mut refusals = ENGINE.refusals(exact, sums.totals.peak_bytes);
    refusals.bounded_max_sites = if exact { 0 } else { sums.shared_sites };
    let (mut time, mut site_times) = (None, Vec::new());
    if run.settings.times_calls() {
        let ns_per_tick = scale.ns_per_tick();
        time = Some(ENGINE.timing.process_time(&sums.time, ns_per_tick));
        site_times = recorder.resolve_times(&sums, ns_per_tick * f64::from(MEAN_GAP));
    }
    let since_start = |ticks: u64| scale.to_us(ticks.saturating_sub(run.start.ticks));
    let peak_at_us = since_start(recorder.peak.at_ticks());
    let duration_us = since_start(end.ticks);
    let mut timeline = Vec::new();
    if run.settings.kind() == Kind::Heap {
        let top_sites = recorder.top_sites(&sums);
        let marked = sums.timeline.iter().map(|moment| MomentInTime {
            at_us: since_start(moment.ticks),
            live_bytes: moment.live.bytes,
            live_blocks: moment.live.blocks,
            is_peak: false,
            top: moment.top.map(|(site, bytes)| match top_sites.get(&site) {
                Some(&index) => (index, bytes),
                None => (0, 0),
            }),
        });
        timeline = sums.totals.framing(marked, peak_at_us, duration_us);
    }
    let snapshot = Snapshot {
        kind: run.settings.kind(),
        duration_us,
        peak_at_us,
        timeline,
        totals: sums.totals,
        sites,
        time,
        site_times,
        accesses: exact::read(run.accesses, &sums),
        nodes: recorder.nodes(),
        modules: Vec::new(),
        sample_bytes: run.settings.sampling(),
        refusals,
        capture: ENGINE.back_end().name(),
    };
    (snapshot, pause_ns)
}

/// What a snapshot of the run in progress is written from: everything
/// recorded so far, how it is to be shown, and for how many nanoseconds
/// reading it kept others from recording.
///
/// # Errors
/// Why there is nothing to be read.
pub(crate) fn read_running() -> Result<(Snapshot, Options, u64), &'static str> {
    let read = while_running(|run| {
        if !run.installed {
            return Err(run.settings.missing());
        }
        let (snapshot, pause_ns) = read(run);
        Ok((snapshot, options(&run.settings), pause_ns))
    });
    let (mut snapshot, options, pause_ns) = read.ok_or(NOT_RUNNING)??;
    snapshot.modules = module_map::loaded_modules();
    unloaded::tell_apart(&mut snapshot, &ENGINE.noted_modules());
    Ok((snapshot, options, pause_ns))
}

/// Writes a profile of the run in progress, beside the files of its end.
///
/// # Errors
/// Why not, in a sentence.
fn save_running(number: u32) -> Result<(), String> {
    let settings = while_running(|run| (run.settings.clone(), run.pid)).ok_or(NOT_RUNNING)?;
    let (settings, pid) = settings;
    let (snapshot, options, _) = read_running()?;
    let profile = Profile::from_snapshot(&snapshot, &options);
    let mut formats = Formats::of(&profile);
    let own = std::process::id();
    for output in settings.files((own != pid).then_some(own)) {
        let saved = formats.save(&output.of_copy(number));
        let saved = saved.map_err(|error| error.to_string())?;
        if !settings.quiet {
            print_line(&saved.to_string());
        }
    }
    Ok(())
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

fn options(settings: &ProfilerBuilder) -> Options {
    Options {
        trim: settings.trim_backtraces.map_or(Trim::Off, Trim::To),
        command: command(),
        pid: std::process::id(),
        touch_as_accesses: settings.touch_in_dhat && settings.measures_touch(),
    }
}

pub(crate) fn command() -> String {
    let words: Vec<_> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

/// Lines for standard error, in one write. That it is closed is nobody's fault.
fn print(text: &str) {
    let _ = process::surviving_writes(|| std::io::stderr().write_all(text.as_bytes()));
}

pub(crate) fn print_line(line: &str) {
    print(&format!("heapledger: {line}\n"));
}

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
