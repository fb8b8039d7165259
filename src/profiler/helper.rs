//! The thread that does what a run asks for beside the program: snapshots on a
//! signal, windows by the clock, notes in the crash file. There is none unless one of these is asked for. It
//! sleeps until there is something to do, takes no signals of the program's, and is none of
//! the threads that are recorded.

use super::reading::save_running;
use super::{ProfilerBuilder, Run, print_line, while_running};
use crate::alloc::ENGINE;
use crate::capture::module_map;
use crate::clock::Moment;
use crate::engine::Engine;
use crate::{errno, futex};
use std::ffi::c_void;
use std::panic::catch_unwind;
use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use std::time::Duration;

/// From one note in the crash file to the next.
const BEAT: Duration = Duration::from_millis(100);

/// What names of frames need; the program's own threads may have little.
const STACK_BYTES: usize = 2 << 20;

/// The process whose helper there is, or 0: a copy made by `fork` has none.
static HELPER: AtomicU32 = AtomicU32::new(0);

/// Changes with whatever the helper is to look at: a wish, and the start of a run.
static CALLS: AtomicU32 = AtomicU32::new(0);

/// Counts wishes for a snapshot; the signal handler writes to it.
static WISHES: AtomicU32 = AtomicU32::new(0);

/// A snapshot is being written.
static WRITING: AtomicBool = AtomicBool::new(false);

fn has_helper() -> bool {
    HELPER.load(Acquire) == std::process::id()
}

/// Whether a snapshot is being written in this process.
pub(super) fn is_writing() -> bool {
    WRITING.load(Acquire) && has_helper()
}

/// Whether a run with these settings has something to do for the helper.
pub(super) fn is_needed(settings: &ProfilerBuilder) -> bool {
    settings.snapshot_signal.is_some() || settings.window.is_some() || settings.is_crash_safe()
}

/// Has the helper look at the run that has begun, and listens to its `signal`. One thread serves all runs of
/// a process: what it is to do, it reads from the run in progress.
///
/// # Errors
/// Why it cannot do what is asked for, in a sentence.
pub(super) fn start(signal: Option<i32>) -> Result<(), String> {
    let listening = signal.map_or(Ok(()), listen);
    let answered = WISHES.load(Relaxed);
    let own = std::process::id();
    if HELPER.swap(own, AcqRel) == own {
        call();
        return listening;
    }
    // As the process had it that this one is a copy of.
    WRITING.store(false, Release);
    let started = without_signals(|| start_thread(answered));
    if started.is_err() {
        HELPER.store(0, Release);
    }
    started.and(listening)
}

fn call() {
    CALLS.fetch_add(1, Release);
    futex::wake_all(&CALLS);
}

/// Not the standard library's: its threads allocate before they come to what they are for, which
/// would stand in the profile.
fn start_thread(answered: u32) -> Result<(), String> {
    let answered = std::ptr::without_provenance_mut::<c_void>(answered as usize);
    // SAFETY: attributes for the time of the calls, and a function that takes a number. Where there is no
    // such stack, the usual one must do. The thread is never joined.
    let failure = unsafe {
        let mut attributes = std::mem::zeroed::<libc::pthread_attr_t>();
        libc::pthread_attr_init(&mut attributes);
        libc::pthread_attr_setstacksize(&mut attributes, STACK_BYTES);
        libc::pthread_attr_setdetachstate(&mut attributes, libc::PTHREAD_CREATE_DETACHED);
        let mut thread = std::mem::zeroed();
        let failure = libc::pthread_create(&mut thread, &attributes, thread_start, answered);
        libc::pthread_attr_destroy(&mut attributes);
        failure
    };
    match failure {
        0 => Ok(()),
        _ => Err(std::io::Error::from_raw_os_error(failure).to_string()),
    }
}

extern "C" fn thread_start(answered: *mut c_void) -> *mut c_void {
    Engine::leave_out_this_thread();
    #[cfg(target_os = "linux")]
    // SAFETY: names the calling thread.
    unsafe {
        libc::prctl(libc::PR_SET_NAME, c"heapledger".as_ptr());
    }
    let answered = answered.addr() as u32;
    // A panic has said what it has to say, and ends this thread alone; the next run gets another one.
    let _ = catch_unwind(|| run(answered));
    HELPER.store(0, Release);
    std::ptr::null_mut()
}

/// The thread's life: to the end of the process.
fn run(mut answered: u32) {
    let mut work = None;
    loop {
        let seen = CALLS.load(Acquire);
        // The run may be over, and another one in progress.
        work = Work::of_run_in_progress(work);
        let wishes = WISHES.load(Acquire);
        if wishes != answered {
            // Wishes that came meanwhile are one.
            answered = wishes;
            save(work.as_mut());
        }
        if let Some(work) = &mut work {
            work.do_what_is_due();
        }
        let next = work.as_ref().and_then(Work::until_next);
        futex::wait(&CALLS, seen, next);
    }
}

/// What is still to be done for a run.
#[derive(Debug)]
struct Work {
    /// Which run it is.
    start: Moment,
    wants_snapshots: bool,
    /// From its start to when new blocks count, and to when they no longer do.
    opens: Option<Duration>,
    shuts: Option<Duration>,
    /// Whether to note that the process lives, and what it has loaded.
    beats: bool,
    snapshots: u32,
    /// How many objects the crash file knows of.
    modules: usize,
}

impl Work {
    /// None: there is no run. Goes on with what is left of `before` as long as that is of the same one.
    fn of_run_in_progress(before: Option<Self>) -> Option<Self> {
        while_running(|run| match before {
            Some(before) if before.start == run.start => before,
            _ => Self::of(run),
        })
    }

    fn of(run: &Run) -> Self {
        let (opens, shuts) = run.settings.window.unzip();
        Self {
            start: run.start,
            wants_snapshots: run.settings.snapshot_signal.is_some(),
            opens,
            shuts: shuts.flatten(),
            beats: run.settings.is_crash_safe(),
            snapshots: 0,
            modules: 0,
        }
    }

    /// Does `work` if the run is still in progress, which then cannot end meanwhile.
    fn during(&self, work: impl FnOnce(&Run)) {
        while_running(|run| {
            if run.start == self.start {
                work(run);
            }
        });
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(Moment::now().ns.saturating_sub(self.start.ns))
    }

    fn until_next(&self) -> Option<Duration> {
        let window = [self.opens, self.shuts].into_iter().flatten().min();
        let window = window.map(|due| due.saturating_sub(self.elapsed()));
        let beat = self.beats.then_some(BEAT);
        [window, beat].into_iter().flatten().min()
    }

    fn do_what_is_due(&mut self) {
        if self.beats {
            self.tell_of_life();
        }
        let now = self.elapsed();
        if self.opens.take_if(|at| *at <= now).is_some() {
            self.during(|_| ENGINE.open_window());
        }
        if self.shuts.take_if(|at| *at <= now).is_some() {
            self.during(|_| ENGINE.shut_window());
        }
    }

    /// Tells the crash file that the process lives, and of what it has loaded since.
    fn tell_of_life(&mut self) {
        let loaded = module_map::loaded_modules().len();
        self.during(|run| {
            ENGINE.beat();
            if loaded != self.modules && run.own_crash_file().is_some() {
                run.settings.tell_about();
            }
        });
        self.modules = loaded;
    }
}

/// Writes a snapshot of the run in progress, unless that has not asked for any: the signal was an
/// earlier one's.
fn save(work: Option<&mut Work>) {
    let number = match work {
        Some(work) if !work.wants_snapshots => return,
        Some(work) => {
            work.snapshots += 1;
            work.snapshots
        }
        None => 1,
    };
    while_writing(|| {
        if let Err(why) = save_running(number) {
            print_line(&format!("error: no snapshot: {why}"));
        }
    });
}

/// A panic has said what it has to say: it costs this snapshot, but nothing that comes later, nor an
/// exit that waits for it.
fn while_writing(work: impl FnOnce() + std::panic::UnwindSafe) {
    WRITING.store(true, Release);
    let _ = catch_unwind(work);
    WRITING.store(false, Release);
}

/// # Errors
/// If the program has a handler of its own for the signal.
fn listen(signal: i32) -> Result<(), String> {
    // SAFETY: a zeroed sigaction is valid: the default action, no flags.
    let (mut action, mut before) =
        unsafe { std::mem::zeroed::<(libc::sigaction, libc::sigaction)>() };
    action.sa_sigaction = on_signal as extern "C" fn(i32) as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: valid structures, and a handler that does only what handlers may do.
    let failed = unsafe {
        libc::sigaction(signal, std::ptr::null(), &mut before) != 0
            || (before.sa_sigaction == libc::SIG_DFL || before.sa_sigaction == action.sa_sigaction)
                && libc::sigaction(signal, &action, std::ptr::null_mut()) != 0
    };
    if failed {
        let error = std::io::Error::last_os_error();
        return Err(format!("signal {signal} cannot be listened to: {error}"));
    }
    match before.sa_sigaction {
        libc::SIG_DFL => Ok(()),
        ours if ours == action.sa_sigaction => Ok(()),
        _ => Err(format!(
            "signal {signal} is used by the program itself; choose another one"
        )),
    }
}

extern "C" fn on_signal(_signal: i32) {
    if has_helper() {
        WISHES.fetch_add(1, Release);
        errno::preserving(call);
    }
}

/// Does `work` with all signals blocked: the thread made in it inherits that.
fn without_signals<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: valid sets, for the time of the calls.
    unsafe {
        let mut all = std::mem::zeroed::<libc::sigset_t>();
        let mut before = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_costs_one_snapshot() {
        while_writing(|| {
            assert!(WRITING.load(Relaxed));
            panic!("what a snapshot may meet");
        });
        assert!(!WRITING.load(Relaxed), "an exit would wait for it");
    }
}
