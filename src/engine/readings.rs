//! Runs, and readings of the tables: with every thread outside the gate.

use crate::clock::{self, Moment};
use crate::crash_file::CRASH_FILE;
use crate::engine::control::{self, Control};
use crate::engine::gatekeeper::thread_ended;
use crate::engine::thread::{Current, Registry, Thread, current, gate, set_current};
use crate::engine::{Engine, RunSettings, thread_end};
use crate::exact;
use crate::record::book::Book;
use crate::record::book::by_site::chunks_of_sites;
use crate::record::snapshot::{Refusals, Totals};
use crate::record::timeline;
use crate::record::{Recorder, Sums};
use parking_lot::MutexGuard;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::Relaxed;

impl Engine {
    /// The profiler's own work: runs `work` with this thread's allocations
    /// left out of the record. Frees of recorded blocks are still seen, but on a thread of ours.
    pub(crate) fn ignoring<T>(&'static self, work: impl FnOnce() -> T) -> T {
        let Some(thread) = self.this_thread() else {
            return work();
        };
        let _restore = Ignoring::start(thread);
        work()
    }

    /// Sees nothing of this thread, from now to its end: neither what it allocates nor what it frees, so it
    /// must free no block of the program's.
    pub(crate) fn leave_out_this_thread() {
        set_current(Current::Ours);
    }

    pub(super) fn this_thread(&'static self) -> Option<NonNull<Thread>> {
        match current() {
            Current::Block(thread) => Some(thread),
            Current::None => self.adopt_thread(),
            Current::InTransit | Current::Ours => None,
        }
    }

    /// How many allocations this thread has made while ignoring.
    pub(crate) fn ignored_allocations(&'static self) -> u64 {
        // SAFETY: this thread's own block.
        self.this_thread()
            .map_or(0, |thread| unsafe { thread.as_ref() }.ignored.get())
    }

    /// Starts a run: everything recorded before is forgotten.
    pub(crate) fn start(&'static self, settings: RunSettings) -> Moment {
        self.prepare_to_derive();
        thread_end::prepare(thread_ended);
        self.timing.start(settings.timed);
        self.deriver.choose(settings.frame_pointers);
        let fence = if control::register_barrier() {
            0
        } else {
            Control::FENCE
        };
        let own = self.this_thread();
        self.rules.clear();
        let registry = self.registry.lock();
        let start = Moment::now();
        // Threads that saw the end of the last run late are outside after this.
        self.pausing(&registry, own, || {
            for thread in self.threads.iter() {
                // SAFETY: paused: no thread is inside the gate.
                unsafe {
                    let thread = &mut *thread.as_ptr();
                    thread.walker.set_limit(settings.frame_limit);
                    thread.book.reset();
                    thread.acted_on.set(Control::NONE);
                    thread.refused.reset();
                    thread.dropped.set(0);
                    thread.truncated.set(0);
                    thread.unsized_frees.set(0);
                }
            }
            // SAFETY: paused, and all books were reset.
            unsafe {
                self.recorder.reset(start.ticks);
                exact::reset(settings.histograms);
            }
            self.blockless.store(0, Relaxed);
            self.torn_readings.store(0, Relaxed);
            self.frame_limit.store(settings.frame_limit, Relaxed);
            self.in_transit.reset();
            self.sampling
                .start(settings.sample_bytes, settings.sample_seed);
            // SAFETY: paused; the books' counters are zero.
            unsafe {
                self.books().for_each(|book| book.keep());
                self.recorder.keep();
            }
            self.run.fetch_add(1, Relaxed);
            self.touches.store(settings.touch, Relaxed);
        });
        let flag = |on, flag| if on { flag } else { 0 };
        self.control.change(
            Control::RECORDING
                | fence
                | flag(settings.ad_hoc, Control::AD_HOC)
                | flag(settings.copies, Control::COPIES)
                | flag(settings.exact, Control::EXACT)
                | flag(settings.timed, Control::TIMED)
                | flag(settings.sample_bytes != 0, Control::SAMPLED)
                | flag(settings.touch && !settings.ad_hoc, Control::TOUCH)
                | flag(registry.alive > 1, Control::MANY),
            0,
        );
        start
    }

    /// Ends the run. Afterwards no thread records, and tables may be read.
    pub(crate) fn stop(&'static self) -> Moment {
        let own = self.this_thread();
        let registry = self.registry.lock();
        let end = Moment::now();
        self.timing.pause();
        let flags = Control::RECORDING
            | Control::AD_HOC
            | Control::COPIES
            | Control::EXACT
            | Control::SHUT
            | Control::SAMPLED
            | Control::TIMED
            | Control::TOUCH;
        if exact::COUNTS_ACCESSES {
            // As long as threads wait in front of their frees, blocks stay readable.
            self.pausing(&registry, own, exact::scan_live);
        }
        self.control.change(0, flags);
        self.pausing(&registry, own, || ());
        end
    }

    /// The run is over, and read: its tables leave the crash file, which stays as it is.
    pub(crate) fn leave_crash_file(&'static self) {
        if CRASH_FILE.header().is_some() {
            let own = self.this_thread();
            let registry = self.registry.lock();
            self.pausing(&registry, own, || {
                CRASH_FILE.copy();
                CRASH_FILE.take_copies();
            });
        }
    }

    /// The process lives, and will be known to have lived so long.
    pub(crate) fn beat(&self) {
        CRASH_FILE.beat(Moment::now(), self.recorder.peak.at_ticks());
    }

    /// The present totals, exact: no thread is in the middle of recording.
    pub(crate) fn totals(&'static self) -> Totals {
        let own = self.this_thread();
        let registry = self.registry.lock();
        self.pausing(&registry, own, || self.recorder.totals(self.books()))
    }

    /// About the present totals, and the mean distance of samples if there are any;
    /// no thread waits. None: no heap run is in progress.
    pub(crate) fn gauges(&self) -> Option<(Totals, Option<u64>)> {
        self.records_heap()?;
        let mut totals = Totals::default();
        for thread in self.threads.iter() {
            // SAFETY: blocks stay mapped.
            unsafe {
                let book = &raw mut (*thread.as_ptr()).book;
                Book::add_gauges_to(book, &mut totals);
            }
        }
        totals.peak_bytes = self.recorder.peak.max_bytes();
        let sample_bytes = self.sampling.mean_bytes();
        Some((totals, (sample_bytes != 0).then_some(sample_bytes)))
    }

    /// All counts at one moment, and for how many nanoseconds that kept others
    /// from recording.
    pub(crate) fn read(&'static self) -> (Sums, Moment, u64) {
        let own = self.this_thread();
        let mut sums = Sums::default();
        sums.timeline.reserve(timeline::MOMENTS_MAX);
        loop {
            // Room is made outside of the pause: nothing is allocated in it.
            self.make_room(&mut sums, self.recorder.site_numbers() + 64);
            let registry = self.registry.lock();
            let pause_start_ns = clock::monotonic_ns();
            let read = self.pausing(&registry, own, || {
                let enough = self.recorder.site_numbers() <= sums.by_site.len();
                if enough {
                    self.recorder.read(self.books(), &mut sums);
                }
                enough.then(Moment::now)
            });
            if let Some(moment) = read {
                let pause_ns = clock::monotonic_ns().saturating_sub(pause_start_ns);
                return (sums, moment, pause_ns);
            }
        }
    }

    /// As [`Self::read`], of a run that has been stopped, and forgets the counts of its sites: gives
    /// them to `take` a part at a time, so that they are not in memory twice. No run may start
    /// meanwhile. What is returned has the rest.
    pub(crate) fn take(&'static self, mut take: impl FnMut(&Sums)) -> Sums {
        let mut sums = Sums::default();
        sums.timeline.reserve(timeline::MOMENTS_MAX);
        let own = self.this_thread();
        let registry = self.registry.lock();
        self.pausing(&registry, own, || {
            self.recorder.read_process(self.books(), &mut sums);
        });
        drop(registry);
        for chunk in chunks_of_sites(self.recorder.site_numbers()) {
            let mut part = Sums {
                first: chunk.start,
                ..Sums::default()
            };
            self.make_room(&mut part, chunk.len());
            self.recorder.read_sites(self.books(), &mut part);
            sums.shared_sites += part.shared_sites;
            take(&part);
            // What the crash file holds stays there, to be found if the report fails.
            if CRASH_FILE.header().is_none() {
                // SAFETY: the run is over; the next one begins with zeros.
                self.books()
                    .for_each(|book| unsafe { book.forget_chunk_of(chunk.start) });
            }
        }
        sums
    }

    fn make_room(&self, sums: &mut Sums, sites: usize) {
        sums.by_site.resize(sites, Default::default());
        if self.sampling.mean_bytes() != 0 {
            sums.samples.resize(sites, Default::default());
        }
        if self.timing.is_on() {
            sums.time_by_site.resize(sites, Default::default());
        }
        if self.touches.load(Relaxed) {
            sums.touch_by_site.resize(sites, Default::default());
        }
    }

    pub(super) fn pausing<T>(
        &self,
        registry: &MutexGuard<'_, Registry>,
        own: Option<NonNull<Thread>>,
        action: impl FnOnce() -> T,
    ) -> T {
        let Some(own) = own else {
            return self.pause(registry, std::ptr::null_mut(), action);
        };
        // SAFETY: this thread's own block.
        let gate = unsafe { &(*own.as_ptr()).gate };
        let before = gate.load(Relaxed);
        gate.store(before | gate::PAUSING, Relaxed);
        let result = self.pause(registry, own.as_ptr(), action);
        gate.store(before, Relaxed);
        result
    }

    pub(super) fn books(&self) -> impl Iterator<Item = &Book> + Clone {
        // SAFETY: called while paused, or after a run; books stay mapped.
        self.threads
            .iter()
            .map(|thread| unsafe { &(*thread.as_ptr()).book })
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// What was refused so far in this run, whose peak was read as `peak_bytes`.
    pub(crate) fn refusals(&self, exact: bool, peak_bytes: u64) -> Refusals {
        let (reentrant_allocs, reentrant_frees) = self.in_transit.get();
        let mut refusals = Refusals {
            reentrant_allocs,
            reentrant_frees,
            dropped_allocs: self.blockless.load(Relaxed),
            torn_readings: self.torn_readings.load(Relaxed),
            ..Refusals::default()
        };
        for thread in self.threads.iter() {
            // SAFETY: the cells are plain words written by their thread; a
            // reading takes place when it is outside the gate.
            let thread = unsafe { thread.as_ref() };
            let (allocs, frees) = thread.refused.get();
            refusals.reentrant_allocs += allocs;
            refusals.reentrant_frees += frees;
            refusals.dropped_allocs += thread.dropped.get();
            refusals.truncated_stacks += thread.truncated.get();
            refusals.unsized_frees += thread.unsized_frees.get();
        }
        refusals.peak_slack_bytes = match exact {
            true => 0,
            false => self.recorder.peak.slack_above(peak_bytes),
        };
        refusals
    }
}

/// Restores the gate also when the profiler's work panics.
struct Ignoring {
    thread: NonNull<Thread>,
    before: u8,
}

impl Ignoring {
    fn start(thread: NonNull<Thread>) -> Self {
        // SAFETY: this thread's own block.
        let gate = unsafe { &(*thread.as_ptr()).gate };
        let before = gate.load(Relaxed);
        gate.store(before | gate::IGNORING, Relaxed);
        Self { thread, before }
    }
}

impl Drop for Ignoring {
    fn drop(&mut self) {
        // SAFETY: still this thread's own block: it does not end in here.
        unsafe { &(*self.thread.as_ptr()).gate }.store(self.before, Relaxed);
    }
}
