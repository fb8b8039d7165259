//! The thread that does what a run asks for beside the program: snapshots on a
//! signal, windows by the clock, notes in the crash file. There is none unless one of these is asked for. It
//! sleeps until there is something to do, takes no signals of the program's, and is none of
//! the threads that are recorded.

use super::reading::save_running;
use super::{print_line, while_running};
use crate::alloc::ENGINE;
use crate::capture::module_map;
use crate::engine::Engine;
use crate::errno;
use std::ffi::c_void;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

/// What there is to do.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tasks {
    pub(super) signal: Option<i32>,
    /// From the start of the run to when new blocks count, and to when they no longer do.
    pub(super) window: Option<(Duration, Option<Duration>)>,
    /// Whether to note that the process lives, and what it has loaded.
    pub(super) beats: bool,
}

/// From one note to the next.
const BEAT: Duration = Duration::from_millis(100);

impl Tasks {
    pub(super) fn is_empty(&self) -> bool {
        self.signal.is_none() && self.window.is_none() && !self.beats
    }
}

/// Counts wishes for a snapshot; the signal handler writes to it.
static WISHES: AtomicI32 = AtomicI32::new(-1);

/// The process whose helper reads them: a copy made by `fork` has none.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// A snapshot is being written.
static WRITING: AtomicBool = AtomicBool::new(false);

/// Whether a snapshot is being written in this process.
pub(super) fn is_writing() -> bool {
    WRITING.load(Acquire) && OWNER.load(Relaxed) == std::process::id()
}

/// Starts the thread.
///
/// # Errors
/// Why it cannot do what is asked for, in a sentence.
pub(super) fn start(tasks: Tasks) -> Result<(), String> {
    // SAFETY: makes a descriptor.
    let wishes = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    if wishes < 0 {
        return Err(format!("no eventfd: {}", std::io::Error::last_os_error()));
    }
    // The one of an earlier run stays open: a handler may be about to write to it.
    WISHES.store(wishes, Release);
    OWNER.store(std::process::id(), Relaxed);
    if let Some(signal) = tasks.signal {
        listen(signal)?;
    }
    without_signals(|| start_thread(Box::new(Work { tasks, wishes })))
}

#[derive(Debug)]
struct Work {
    tasks: Tasks,
    wishes: i32,
}

/// Not the standard library's: its threads allocate before they come to what they are for, which
/// would stand in the profile.
fn start_thread(work: Box<Work>) -> Result<(), String> {
    let work = Box::into_raw(work);
    let mut thread = std::mem::MaybeUninit::uninit();
    // SAFETY: default attributes, and a function that takes what it is given.
    let failure = unsafe {
        libc::pthread_create(
            thread.as_mut_ptr(),
            std::ptr::null(),
            thread_start,
            work.cast(),
        )
    };
    if failure != 0 {
        // SAFETY: no thread has taken it.
        drop(unsafe { Box::from_raw(work) });
        return Err(std::io::Error::from_raw_os_error(failure).to_string());
    }
    // SAFETY: made just now, and never joined.
    unsafe {
        let thread = thread.assume_init();
        libc::pthread_setname_np(thread, c"heapledger".as_ptr());
        libc::pthread_detach(thread);
    }
    Ok(())
}

extern "C" fn thread_start(work: *mut c_void) -> *mut c_void {
    Engine::leave_out_this_thread();
    // SAFETY: of `start_thread`, for this thread alone.
    let Work { tasks, wishes } = *unsafe { Box::from_raw(work.cast::<Work>()) };
    // A panic has said what it has to say, and ends no more than this thread.
    let _ = std::panic::catch_unwind(|| run(tasks, wishes));
    std::ptr::null_mut()
}

/// The thread's life: to the end of the process.
fn run(tasks: Tasks, wishes: i32) {
    let start = Instant::now();
    let (mut opens, mut shuts) = match tasks.window {
        Some((opens, shuts)) => (Some(opens), shuts),
        None => (None, None),
    };
    let mut number = 0;
    let mut modules = module_map::loaded_modules().len();
    loop {
        let due = [opens, shuts].into_iter().flatten().min();
        let wait = due.map(|due| due.saturating_sub(start.elapsed()));
        let wait = match tasks.beats {
            true => Some(wait.map_or(BEAT, |wait| wait.min(BEAT))),
            false => wait,
        };
        if wished(wishes, wait) {
            number += 1;
            WRITING.store(true, Release);
            if let Err(why) = save_running(number) {
                print_line(&format!("error: no snapshot: {why}"));
            }
            WRITING.store(false, Release);
        }
        if tasks.beats {
            tell_of_life(&mut modules);
        }
        let now = start.elapsed();
        if opens.is_some_and(|at| at <= now) {
            opens = None;
            while_running(|_| ENGINE.open_window());
        }
        if shuts.is_some_and(|at| at <= now) {
            shuts = None;
            while_running(|_| ENGINE.shut_window());
        }
    }
}

/// Tells the crash file that the process lives, and of what it has loaded since.
fn tell_of_life(modules: &mut usize) {
    let loaded = module_map::loaded_modules().len();
    while_running(|run| {
        ENGINE.beat();
        if loaded != *modules && run.own_crash_file().is_some() {
            run.settings.tell_about();
        }
    });
    *modules = loaded;
}

/// Waits for a wish, but no longer than `wait`. Wishes that came meanwhile are one.
fn wished(wishes: i32, wait: Option<Duration>) -> bool {
    let milliseconds = wait.map_or(-1, |wait| {
        i32::try_from(wait.as_millis() + 1).unwrap_or(i32::MAX)
    });
    let mut poll = libc::pollfd {
        fd: wishes,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one pollfd, for the time of the call.
    if unsafe { libc::poll(&mut poll, 1, milliseconds) } <= 0 {
        return false;
    }
    let mut count = 0_u64;
    // SAFETY: eight bytes to write to, as an eventfd wants.
    unsafe { libc::read(wishes, (&raw mut count).cast(), 8) == 8 }
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
    // SAFETY: asks for a number.
    let own = unsafe { libc::getpid() };
    if OWNER.load(Relaxed) != own as u32 {
        return;
    }
    errno::preserving(|| {
        let one = 1_u64;
        // SAFETY: eight bytes, for the time of the call; `write` may be called by handlers.
        unsafe { libc::write(WISHES.load(Acquire), (&raw const one).cast(), 8) };
    });
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
