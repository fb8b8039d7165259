//! What a run records, and how: the settings that a user gives.

use crate::record::sampling::MAX_SAMPLE_BYTES;
use crate::report::output::Output;
use crate::touch::Touch;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The fewest frames that can be asked for.
const MIN_FRAMES: usize = 4;

/// Settings of a [`Profiler`](crate::Profiler); made by [`Profiler::builder`](crate::Profiler::builder).
#[derive(Clone, Debug)]
pub struct ProfilerBuilder {
    pub(super) ad_hoc: bool,
    pub(super) copies: bool,
    pub(super) histograms: bool,
    pub(super) testing: bool,
    pub(super) exact_peaks: bool,
    pub(super) timing: bool,
    /// None: the default of the mode.
    pub(super) touch: Option<Touch>,
    pub(super) touch_in_dhat: bool,
    pub(super) frame_pointers: bool,
    pub(super) quiet: bool,
    pub(super) file_name: Option<PathBuf>,
    pub(super) outputs: Vec<Output>,
    pub(super) trim_backtraces: Option<usize>,
    pub(super) eprint_json: bool,
    pub(super) paused: bool,
    pub(super) sample_bytes: Option<u64>,
    pub(super) sample_seed: Option<u64>,
    pub(super) snapshot_signal: Option<i32>,
    pub(super) window: Option<(Duration, Option<Duration>)>,
    pub(super) crash_safe: bool,
    /// Gives way to a profiler of the program's own.
    pub(super) from_environment: bool,
}

impl ProfilerBuilder {
    /// Profiles ad hoc events, not allocations.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().ad_hoc().build();
    /// ```
    pub fn ad_hoc(mut self) -> Self {
        (self.ad_hoc, self.copies) = (true, false);
        self
    }

    /// Testing mode: [`assert!`](crate::assert!) and its siblings may be used,
    /// peaks are exact with any number of threads, and nothing is written or
    /// printed unless an assertion fails.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().testing().build();
    /// ```
    pub fn testing(mut self) -> Self {
        self.testing = true;
        self
    }

    /// Makes the peak, and the maximum of every site, exact with any number of
    /// threads: every change is then counted under one lock. By default they
    /// are exact for a program with one thread, and for sites that one thread
    /// alone uses; otherwise the summary states the bound. Everything else is
    /// always exact.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().exact_peaks().build();
    /// ```
    pub fn exact_peaks(mut self) -> Self {
        self.exact_peaks = true;
        self
    }

    /// Measures the processor time that the program spends in its allocator:
    /// one call in 64, chosen at random, is timed, and stands for 64. The summary
    /// tells the share of all processor time, with the error of the estimate, and
    /// the sites that caused most of it; a free counts for the site that allocated
    /// the block. In the file each program point has these times, in
    /// nanoseconds. Ad hoc profiles have no such times.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().timing(true).build();
    /// ```
    pub fn timing(mut self, timing: bool) -> Self {
        self.timing = timing;
        self
    }

    /// Whether it is measured how much of each block the program writes to. By
    /// default it is, [`Touch::Estimate`]; in testing mode, and in an exact build, which
    /// counts it, only if it is asked for.
    ///
    /// # Examples
    /// ```no_run
    /// use heapledger::{Profiler, Touch};
    ///
    /// let _profiler = Profiler::builder().touch(Touch::Off).build();
    /// ```
    pub fn touch(mut self, touch: Touch) -> Self {
        self.touch = Some(touch);
        self
    }

    /// Writes the estimate of [`touch`](Self::touch) into the DHAT file as if it
    /// were a count, so that the viewer shows, and sorts by, how little of a block
    /// was accessed. `wb` is the estimate and what reallocations kept, as `tb`
    /// counts that again, too; `rb`, which nobody knows, is the same. The command
    /// line in the file says so.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().touch_in_dhat(true).build();
    /// ```
    pub fn touch_in_dhat(mut self, touch_in_dhat: bool) -> Self {
        self.touch_in_dhat = touch_in_dhat;
        self
    }

    /// Walks stacks by frame pointers instead of unwind rules: for programs that run code
    /// without unwind information, such as some that make code at run time. All of the
    /// program must be built with `-C force-frame-pointers=yes`; if it is not, a line on
    /// standard error says so, and stacks are walked by rules. Frames of the C library, which
    /// keeps no frame pointers, are missing, and what lies beyond them may be.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().frame_pointers(true).build();
    /// ```
    pub fn frame_pointers(mut self, frame_pointers: bool) -> Self {
        self.frame_pointers = frame_pointers;
        self
    }

    /// Prints no summary. Failures are still told.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().quiet().build();
    /// ```
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// The file that the profile is written to, by default `dhat-heap.json`
    /// or `dhat-ad-hoc.json` in the directory that is current at the end.
    ///
    /// # Examples
    /// ```no_run
    /// let name = format!("heap-{}.json", std::process::id());
    /// let _profiler = heapledger::Profiler::builder().file_name(name).build();
    /// ```
    pub fn file_name<P: AsRef<Path>>(mut self, file_name: P) -> Self {
        self.file_name = Some(file_name.as_ref().to_path_buf());
        self
    }

    /// A file that the profile is written to at the end. Can be called several times: all files show the
    /// same reading, and one that cannot be written does not keep the others from being written. The DHAT
    /// file is then only written if it is one of them, or if [`file_name`](Self::file_name) was called.
    ///
    /// # Examples
    /// ```no_run
    /// use heapledger::{Output, Profiler};
    ///
    /// let _profiler = Profiler::builder()
    ///     .output(Output::dhat("run.json"))
    ///     .output(Output::dhat("/shared/latest.json"))
    ///     .build();
    /// ```
    pub fn output(mut self, output: Output) -> Self {
        self.outputs.push(output);
        self
    }

    /// How stacks are cut.
    ///
    /// * `Some(n)`: the frames of the allocator and of the runtime are left
    ///   out, and at most the `n` innermost others are kept (4 if `n` is
    ///   less). Frames that the compiler inlined do not count towards `n`.
    /// * `None`: nothing is left out.
    ///
    /// In either case at most 4,096 frames of a stack are kept. The default is
    /// `Some(64)`. More frames take no more time in stacks of up to 4,096, but
    /// make more distinct stacks where functions recurse; in deeper ones all
    /// that are kept are walked each time.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().trim_backtraces(None).build();
    /// ```
    pub fn trim_backtraces(mut self, max_frames: Option<usize>) -> Self {
        self.trim_backtraces = max_frames.map(|frames| frames.max(MIN_FRAMES));
        self
    }

    /// Records only some blocks, one in `mean_bytes` allocated bytes in the mean:
    /// for a run that stays on in production. Ad hoc events are all recorded.
    ///
    /// Bytes are chosen at random (a Poisson process over the bytes that each thread
    /// allocates), and a block with a chosen byte in it stands for as many of its
    /// size as it is rare: so all figures are estimates without a bias. The
    /// summary and the files say so, and give 95 % intervals. A stack of
    /// which nothing was sampled is missing: 39 in 40 times it allocated less than 3.7 times
    /// `mean_bytes`. 524,288 is usual.
    ///
    /// Differs from an exact run in one thing: a reallocation ends a block and begins
    /// another, at the stack of the reallocation. [`HeapStats::get`](crate::HeapStats::get)
    /// and the assertion macros, which promise exact figures, are refused.
    ///
    /// # Panics
    /// If `mean_bytes` is 0 or more than 2³⁰. [`build`](Self::build) panics
    /// if [`testing`](Self::testing) or [`timing`](Self::timing) is chosen too.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().sample_bytes(512 * 1024).build();
    /// ```
    pub fn sample_bytes(mut self, mean_bytes: u64) -> Self {
        assert!(
            (1..=MAX_SAMPLE_BYTES).contains(&mean_bytes),
            "heapledger: sample_bytes({mean_bytes}): must be from 1 to {MAX_SAMPLE_BYTES}"
        );
        self.sample_bytes = Some(mean_bytes);
        self
    }

    /// What samples are drawn from: runs with one thread and equal seeds that allocate
    /// equally choose the same blocks. By default it is another one in each run.
    #[doc(hidden)]
    pub fn sample_seed(mut self, seed: u64) -> Self {
        self.sample_seed = Some(seed);
        self
    }

    /// Starts as if [`Profiler::pause`](crate::Profiler::pause) had been called.
    ///
    /// # Examples
    /// ```no_run
    /// let profiler = heapledger::Profiler::builder().paused().build();
    /// // ... start up ...
    /// profiler.resume();
    /// ```
    pub fn paused(mut self) -> Self {
        self.paused = true;
        self
    }

    /// Writes a profile of the run so far whenever the process gets this signal (a number
    /// of the C library's, such as `libc::SIGUSR2`): beside the file that is written at the
    /// end, as `name.1.json`, `name.2.json` and so on.
    ///
    /// The handler only wakes a thread, which is started for that. Signals that come
    /// while it writes are one. If the program has a handler of its own for the
    /// signal, that one stays, and a line on standard error says so. In a copy of the process
    /// made by `fork` the signal does nothing. Linux only.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().snapshot_signal(12).build();
    /// ```
    pub fn snapshot_signal(mut self, signal: i32) -> Self {
        self.snapshot_signal = Some(signal);
        self
    }

    /// Records new blocks only from `start` on, and until `end`, both since the start of the
    /// run; see [`Profiler::pause`](crate::Profiler::pause). A thread is started for that.
    ///
    /// # Examples
    /// ```no_run
    /// use std::time::Duration;
    /// let (warm_up, end) = (Duration::from_secs(60), Duration::from_secs(120));
    /// let _profiler = heapledger::Profiler::builder().window(warm_up, Some(end)).build();
    /// ```
    pub fn window(mut self, start: Duration, end: Option<Duration>) -> Self {
        self.window = Some((start, end));
        self.paused |= !start.is_zero();
        self
    }

    /// Keeps the counters in a file, so that they survive however the process ends: killed,
    /// out of memory, overflowing its stack. [`recover`](crate::recover) makes a profile of it.
    ///
    /// The file lies beside where the profile is to be, is called like that with `.PID.crash`
    /// behind it, can be read by its owner alone, and is removed when the profile is in
    /// place. It grows with the number of stacks and threads, and holds no contents of
    /// blocks. Where it cannot be had, or the disk is full, a line on standard error says so
    /// and the run goes on without. A thread is started that notes ten times a second that the
    /// process lives. A copy of the process made by `fork` has no such file, and making the
    /// copy takes as long as copying the tables. Linux only, and for heap profiles only.
    ///
    /// # Examples
    /// ```no_run
    /// let _profiler = heapledger::Profiler::builder().crash_safe(true).build();
    /// ```
    pub fn crash_safe(mut self, crash_safe: bool) -> Self {
        self.crash_safe = crash_safe;
        self
    }

    /// Prints the profile on standard error as well.
    #[doc(hidden)]
    pub fn eprint_json(mut self) -> Self {
        self.eprint_json = true;
        self
    }
}
