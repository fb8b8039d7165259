//! Where operations meet the tables: who may enter, how a thread gets its
//! block, how a reading stops the world. Everything hangs off one [`Engine`],
//! the crate's one static.
//!
//! **The gate.** An operation marks its thread busy, then looks at the control
//! word; a reader changes the control word, then looks at all threads' marks.
//! One of the two sees the other, as long as neither's look can move before its
//! own write. The reader pays for that: it has the kernel put a barrier into
//! every running thread, so that operations need none.

pub(crate) mod control;
mod copies;
#[cfg(feature = "interpose")]
pub(crate) mod passing;
pub(crate) mod thread;
pub(crate) mod thread_end;
pub(crate) mod timing;
pub(crate) mod touching;
pub(crate) mod large_blocks;
mod live_blocks;
#[cfg(feature = "interpose")]
mod unsized_blocks;
pub(crate) mod sampling;
mod unloading;
mod windows;
pub(crate) mod scopes;
#[cfg(test)]
mod capture_tests;

use crate::capture::back_end::BackEnd;
use crate::capture::cfi::RuleDeriver;
use crate::capture::platform;
use crate::capture::registers::{self, Door, Registers};
use crate::capture::rules::{Rule, RuleCache, Rules};
use crate::capture::stack_bounds::StackBounds;
use crate::capture::stack_memory::{ForeignStack, OwnStack};
use crate::capture::walk::{Ended, Stack, Walker};
use crate::clock::{self, Moment};
use crate::crash_file::CRASH_FILE;
use crate::errno;
use crate::exact;
use crate::lock::{Patience, SpinLock};
use crate::record::block_entry::Entry;
use crate::record::book::Book;
use crate::record::peak::Mode;
use crate::record::sites::SiteId;
use crate::record::snapshot::{Refusals, Totals};
use crate::record::timeline;
use crate::record::touch_counters::{Measure, TouchBook};
use crate::record::{Recorder, Sums};
use crate::touch::arena::Arena;
use control::{Control, ControlWord, HeapRecording, Watching};
use parking_lot::MutexGuard;
use sampling::Sampling;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    compiler_fence, fence,
};
use thread::{
    Current, Operation, Refused, Registry, Thread, ThreadList, current, current_block, gate,
    set_current,
};
use timing::Timing;

/// How long a reader waits for a thread that is in the middle of recording. A
/// thread that something has suspended there must not hang the program.
const PAUSE_LIMIT_NS: u64 = 2_000_000_000;

/// Frames that are kept before a run has said how many.
const DEFAULT_FRAME_LIMIT: usize = 80;

#[derive(Debug)]
pub(crate) struct Engine {
    control: ControlWord,
    rules: RuleCache,
    deriver: RuleDeriver,
    recorder: Recorder,
    threads: ThreadList,
    /// Held by whoever changes the control word or the set of threads.
    registry: SpinLock<Registry>,
    /// Frames to keep, for threads that come during the run.
    frame_limit: AtomicUsize,
    /// Counts the runs, so that a block taken out in one is not put into the next.
    run: AtomicU32,
    /// Allocations of threads for which there was no block.
    blockless: AtomicU64,
    /// Operations of signal handlers on threads that were getting or giving
    /// back their block.
    in_transit: Refused,
    sampling: Sampling,
    /// Pauses that gave up on a suspended thread.
    torn_readings: AtomicU64,
    pub(crate) timing: Timing,
    /// Counts how often what was remembered of code had to be forgotten.
    code_epoch: AtomicU32,
    /// Large blocks that are measured.
    arena: Arena,
    /// Whether the last run that was started measures blocks.
    touches: AtomicBool,
}

/// A block that is between two addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    entry: Entry,
    run: u32,
    /// Of a measured block: what it stands for, what is cut off from it, and what
    /// it is known by if it gets its new size, where that is decided.
    weight: u8,
    cut: Measure,
    decided: Option<Entry>,
}

/// A thread inside the gate, which opens again when this is dropped.
struct Inside<'t> {
    thread: &'t mut Thread,
}

impl Inside<'_> {
    /// Whether blocks are the profiler's own.
    #[inline(always)]
    fn is_ignoring(&self) -> bool {
        self.thread.gate.load(Relaxed) & gate::IGNORING != 0
    }
}

impl Drop for Inside<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.thread.leave();
    }
}

/// What a run records, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunSettings {
    pub(crate) ad_hoc: bool,
    /// Copies; with `ad_hoc`.
    pub(crate) copies: bool,
    /// How often each byte of small blocks is accessed.
    pub(crate) histograms: bool,
    /// Exact peaks with any number of threads.
    pub(crate) exact: bool,
    /// Walk stacks by frame pointers, if the program keeps them.
    pub(crate) frame_pointers: bool,
    /// Time calls of the inner allocator.
    pub(crate) timed: bool,
    /// Measure what is written to blocks.
    pub(crate) touch: bool,
    /// Innermost frames to keep.
    pub(crate) frame_limit: usize,
    /// Mean number of bytes from a sample to the next; 0: every block is recorded.
    pub(crate) sample_bytes: u64,
    /// What samples are drawn from.
    pub(crate) sample_seed: u64,
}

impl Rules for Engine {
    #[inline(always)]
    fn rule(&self, return_address: u64) -> Rule {
        // The call, not what follows it, tells which rule holds: a call that
        // does not return can be the last instruction of its function.
        self.rules
            .get(return_address, |address| self.derived_rule(address))
    }

    #[inline(always)]
    fn rule_at(&self, pc: u64) -> Rule {
        self.rule(pc.wrapping_add(1))
    }
}

impl Engine {
    pub(crate) const fn new() -> Self {
        Self {
            control: ControlWord::new(),
            rules: RuleCache::new(),
            deriver: RuleDeriver::new(),
            recorder: Recorder::new(),
            threads: ThreadList::new(),
            registry: SpinLock::new(Registry::new()),
            frame_limit: AtomicUsize::new(DEFAULT_FRAME_LIMIT),
            run: AtomicU32::new(0),
            blockless: AtomicU64::new(0),
            in_transit: Refused::new(),
            sampling: Sampling::new(),
            torn_readings: AtomicU64::new(0),
            timing: Timing::new(),
            code_epoch: AtomicU32::new(0),
            arena: Arena::new(),
            touches: AtomicBool::new(false),
        }
    }

    /// Whether allocations are recorded: the only thing that an operation of
    /// an idle program does.
    #[inline(always)]
    pub(crate) fn records_heap(&self) -> Option<HeapRecording> {
        self.control.records_heap()
    }

    /// Whether blocks that go must be looked at: also those of the arena, once
    /// nothing is recorded any more.
    #[inline(always)]
    pub(crate) fn watches(&self) -> Option<Watching> {
        self.control.watches()
    }

    /// How stacks are taken in this run.
    pub(crate) fn back_end(&self) -> BackEnd {
        self.deriver.back_end()
    }

    /// Called before the first walk.
    pub(crate) fn prepare_to_derive(&self) {
        self.deriver.prepare();
    }

    // ---- operations -------------------------------------------------------
    //
    // In a build that counts accesses, those that do the work have names that LLVM's
    // pass leaves alone: else each access of ours would be a call as well.

    /// The program allocated a block. Not called where blocks are measured.
    ///
    /// What is usual is done first, in one piece that calls nothing: so it saves no
    /// registers and spills none.
    #[inline(never)]
    #[cfg_attr(heapledger_exact, unsafe(export_name = "__asan_heapledger_on_alloc"))]
    pub(crate) fn on_alloc(&'static self, address: usize, bytes: usize) {
        let door = Door::here::<1>();
        let Some(inside) = self.enter_open_gate() else {
            // SAFETY: of this function, which stays until all is done.
            unsafe { self.first_alloc(Registers::here(), door, address, bytes) };
            return registers::stay();
        };
        // SAFETY: of this function.
        let Some(site) = (unsafe { Self::last_site(&inside.thread.walker, door) }) else {
            // SAFETY: as above.
            unsafe { self.alloc_elsewhere(inside, Registers::here(), door, address, bytes) };
            return registers::stay();
        };
        if !self
            .recorder
            .alloc_if_usual(&mut inside.thread.book, site, address, bytes)
        {
            self.unusual_alloc(inside, site, address, bytes);
        }
    }

    /// As [`Self::on_alloc`], where the gate may be closed.
    ///
    /// # Safety
    /// As for [`Self::stack`].
    #[cold]
    #[inline(never)]
    unsafe fn first_alloc(
        &'static self,
        start: Registers,
        door: Door,
        address: usize,
        bytes: usize,
    ) {
        let Some(inside) = self.enter(Operation::Alloc) else {
            return;
        };
        if inside.is_ignoring() {
            inside.thread.ignored.set(inside.thread.ignored.get() + 1);
            return;
        }
        // SAFETY: the caller's promise.
        unsafe { self.alloc_elsewhere(inside, start, door, address, bytes) };
    }

    /// Records a block whose stack is not the last one, and leaves the gate.
    ///
    /// # Safety
    /// As for [`Self::stack`].
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_alloc_elsewhere")
    )]
    unsafe fn alloc_elsewhere(
        &self,
        inside: Inside<'_>,
        start: Registers,
        door: Door,
        address: usize,
        bytes: usize,
    ) {
        // SAFETY: the caller's promise.
        let site = unsafe { self.site_at(inside.thread, start) };
        if let Some(site) = site {
            let rule = self.rule_at(start.pc);
            inside.thread.walker.remember(door, rule, site.get());
        }
        self.record_block(inside.thread, site.map(Entry::of), address, bytes);
    }

    #[inline(never)]
    fn unusual_alloc(&self, inside: Inside<'_>, site: SiteId, address: usize, bytes: usize) {
        self.record_block(inside.thread, Some(Entry::of(site)), address, bytes);
    }

    #[inline(always)]
    fn record_block(
        &self,
        thread: &mut Thread,
        entry: Option<Entry>,
        address: usize,
        bytes: usize,
    ) {
        let Some(entry) = entry else {
            return thread.dropped.set(thread.dropped.get() + 1);
        };
        let book = &mut thread.book;
        let now = clock::ticks();
        match self.recorder.alloc(book, entry, address, bytes, now) {
            Ok(true) => {}
            Ok(false) => thread.refused.count(Operation::Free),
            Err(_) => thread.dropped.set(thread.dropped.get() + 1),
        }
    }

    /// Records a block that was moved, or allocated in an unusual way.
    ///
    /// # Safety
    /// As for [`Self::stack`].
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_record_alloc")
    )]
    unsafe fn record_alloc(
        &self,
        thread: &mut Thread,
        start: Registers,
        address: usize,
        bytes: usize,
    ) {
        // SAFETY: the caller's promise.
        let site = unsafe { self.site_at(thread, start) };
        self.record_block(thread, site.map(Entry::of), address, bytes);
    }

    /// The site of the stack here, if that is the last one again.
    ///
    /// # Safety
    /// `door` is of a function of this thread that has not returned.
    #[inline(always)]
    unsafe fn last_site(walker: &Walker, door: Door) -> Option<SiteId> {
        if !walker.started_at(door) {
            return None;
        }
        // SAFETY: the caller's promise; only stacks within these bounds are
        // remembered.
        let memory = unsafe { OwnStack::above(door.sp, walker.bounds()) };
        SiteId::new(walker.tag_if_unchanged(&memory)?)
    }

    /// The site of the stack at `start`. None: there is no memory for it.
    ///
    /// # Safety
    /// As for [`Self::stack`].
    #[inline(always)]
    unsafe fn site_at(&self, thread: &mut Thread, start: Registers) -> Option<SiteId> {
        let Thread {
            walker,
            book,
            truncated,
            ..
        } = thread;
        // SAFETY: the caller's promise.
        let mut stack = unsafe { self.stack(walker, start) };
        let site = match book.cache.get(stack.key, stack.check) {
            Some(site) => site,
            None if self.is_of_unloaded_code(&stack) => {
                // SAFETY: the caller's promise.
                return unsafe { self.site_after_unloading(thread, start) };
            }
            None => self.recorder.site_of(book, &mut stack)?,
        };
        if stack.ended == Ended::Truncated && self.back_end() == BackEnd::Rules {
            truncated.set(truncated.get() + 1);
        }
        Some(site)
    }

    /// The program is about to free a block. As for [`Self::on_alloc`].
    #[inline(never)]
    #[cfg_attr(heapledger_exact, unsafe(export_name = "__asan_heapledger_on_free"))]
    pub(crate) fn on_free(&'static self, address: usize, bytes: usize) {
        let Some(inside) = self.enter_open_gate() else {
            return self.first_free(address, bytes);
        };
        let book = &mut inside.thread.book;
        if !self.recorder.free_if_usual(book, address, bytes) {
            self.unusual_free(inside, address, bytes);
        }
    }

    /// As [`Self::on_free`], where the gate may be closed.
    #[cold]
    #[inline(never)]
    fn first_free(&'static self, address: usize, bytes: usize) {
        if let Some(inside) = self.enter(Operation::Free) {
            self.unusual_free(inside, address, bytes);
        }
    }

    #[inline(never)]
    fn unusual_free(&self, inside: Inside<'_>, address: usize, bytes: usize) {
        let book = &mut inside.thread.book;
        self.recorder.free(book, address, bytes, clock::ticks());
    }

    /// The program is about to reallocate a block. As for [`Self::on_alloc`].
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_before_realloc")
    )]
    pub(crate) fn before_realloc(&'static self, address: usize) -> Option<Taken> {
        let _inside = self.enter(Operation::Free)?;
        Some(self.taken(self.recorder.take(address)?))
    }

    fn taken(&self, entry: Entry) -> Taken {
        Taken {
            entry,
            run: self.run.load(Relaxed),
            weight: 0,
            cut: Measure::default(),
            decided: None,
        }
    }

    /// It did: `address` is null if that failed. As for [`Self::on_alloc`].
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_after_realloc")
    )]
    pub(crate) fn after_realloc(
        &'static self,
        taken: Option<Taken>,
        (old_address, old_bytes): (usize, usize),
        (address, bytes): (usize, usize),
    ) {
        let start = Registers::here();
        if let Some(mut inside) = self.enter(Operation::Alloc) {
            let (old, new) = ((old_address, old_bytes), (address, bytes));
            self.put_back(&mut inside, start, taken, old, new, |_, taken| taken.entry);
        }
    }

    /// `resized` tells how the block is measured from now on.
    #[inline(always)]
    fn put_back(
        &self,
        inside: &mut Inside<'_>,
        start: Registers,
        taken: Option<Taken>,
        (old_address, old_bytes): (usize, usize),
        (address, bytes): (usize, usize),
        resized: impl FnOnce(&TouchBook, &Taken) -> Entry,
    ) {
        let taken = taken.filter(|taken| taken.run == self.run.load(Relaxed));
        let Some(taken) = taken else {
            if address != 0 && !inside.is_ignoring() {
                // SAFETY: `start` is of the function this is inlined into.
                unsafe { self.record_alloc(inside.thread, start, address, bytes) };
            }
            return;
        };
        let recorded = match address {
            0 => self.recorder.put_back(old_address, taken.entry),
            _ => {
                let book = &mut inside.thread.book;
                let (places, sizes) = ((old_address, address), (old_bytes, bytes));
                let entry = resized(&book.touch, &taken);
                self.recorder
                    .resized(book, entry, places, sizes, clock::ticks())
            }
        };
        if recorded.is_err() {
            inside.thread.dropped.set(inside.thread.dropped.get() + 1);
        }
    }

    /// The program reports an ad hoc event.
    #[inline(never)]
    pub(crate) fn on_event(&'static self, weight: usize) {
        let control = self.control.get();
        if !control.has(Control::AD_HOC) || control.has(Control::SHUT | Control::COPIES) {
            return;
        }
        let start = Registers::here();
        let Some(inside) = self.enter(Operation::Alloc) else {
            return;
        };
        let Thread { walker, book, .. } = &mut *inside.thread;
        // SAFETY: `start` is of this function.
        let mut stack = unsafe { self.stack(walker, start) };
        if self
            .recorder
            .event(book, &mut stack, weight, clock::ticks())
            .is_err()
        {
            inside.thread.dropped.set(inside.thread.dropped.get() + 1);
        }
    }

    /// # Safety
    /// `start` was taken in a function of this thread that has not returned.
    #[inline(always)]
    unsafe fn stack<'t>(&self, walker: &'t mut Walker, start: Registers) -> Stack<'t> {
        let bounds = walker.bounds();
        if !bounds.contains(start.sp)
            && let Some(foreign) = walker.locate(start.sp)
        {
            // SAFETY: the stack pointer is at or below `start.sp` until that
            // function returns; `locate` found the stack that it is on.
            let memory = unsafe { ForeignStack::above(start.sp, foreign, bounds) };
            return walker.capture_foreign(start, &memory, self, platform::capture);
        }
        // SAFETY: as above; the walker has this thread's bounds.
        let memory = unsafe { OwnStack::above(start.sp, walker.bounds()) };
        walker.capture(start, &memory, self, platform::capture)
    }

    /// The return addresses that the walk and that the platform's unwinder find
    /// from here, innermost first, without the frames of their own; and what
    /// the walk finds without its memo.
    #[cfg(any(test, feature = "internals"))]
    #[inline(never)]
    pub(crate) fn compare_captures(&self, walker: &mut Walker) -> [Vec<u64>; 3] {
        let start = Registers::here();
        let addresses = |stack: Stack<'_>| {
            stack
                .frames
                .iter()
                .rev()
                .map(|frame| frame.return_address())
                .collect::<Vec<_>>()
        };
        // SAFETY: `start` is of this function.
        let walked = addresses(unsafe { self.stack(walker, start) });
        // SAFETY: as above.
        let memory = unsafe { OwnStack::above(start.sp, walker.bounds()) };
        let fresh = addresses(walker.capture_foreign(start, &memory, self, |_| 0));
        let mut found = vec![0; 1 << 16];
        let count = platform::capture(&mut found);
        let own = found[..count]
            .iter()
            .position(|&address| Some(&address) == walked.first());
        let platform = own.map_or_else(Vec::new, |own| found[own..count].to_vec());
        [walked, fresh, platform]
    }

    // ---- the gate ---------------------------------------------------------

    /// Enters the gate, if it is open and all is as when this thread last entered it.
    #[inline(always)]
    fn enter_open_gate(&self) -> Option<Inside<'static>> {
        // SAFETY: this thread's own block; see `enter`.
        let thread = unsafe { &mut *current_block()?.as_ptr() };
        if thread.gate.load(Relaxed) != 0 {
            return None;
        }
        if thread.acted_on.get() != self.mark_busy(thread) {
            thread.leave();
            return None;
        }
        Some(Inside { thread })
    }

    /// Enters the gate. None: not recording, or this thread is inside already.
    #[inline(always)]
    fn enter(&'static self, operation: Operation) -> Option<Inside<'static>> {
        let current = match current_block() {
            Some(thread) => thread,
            None => self.block_for(operation)?,
        };
        // SAFETY: this thread's own block. Others look at its atomics only,
        // and at the rest only while this thread's gate is not busy.
        let thread = unsafe { &mut *current.as_ptr() };
        if thread.gate.load(Relaxed) & (gate::BUSY | gate::PAUSING) != 0 {
            self.refuse(thread, operation);
            return None;
        }
        let mut control = self.mark_busy(thread);
        while thread.acted_on.get() != control {
            control = self.act_on(thread, control)?;
        }
        Some(Inside { thread })
    }

    /// The block of a thread that has none, or is getting or losing it.
    #[cold]
    #[inline(never)]
    fn block_for(&'static self, operation: Operation) -> Option<NonNull<Thread>> {
        match current() {
            Current::Block(thread) => Some(thread),
            Current::None => self.adopt_recording_thread(operation),
            Current::InTransit => {
                self.in_transit.count(operation);
                None
            }
        }
    }

    /// Marks the thread busy, then looks at the control word, in that order
    /// for all who use [`control::barrier_everywhere`].
    #[inline(always)]
    fn mark_busy(&self, thread: &Thread) -> Control {
        thread
            .gate
            .store(thread.gate.load(Relaxed) | gate::BUSY, Relaxed);
        compiler_fence(SeqCst);
        self.control.get()
    }

    /// The control word has changed since this thread last looked. None: the
    /// gate is open again and nothing is to be recorded.
    #[cold]
    fn act_on(&self, thread: &mut Thread, control: Control) -> Option<Control> {
        let control = match control.has(Control::FENCE) {
            true => {
                fence(SeqCst);
                self.control.get()
            }
            false => control,
        };
        if thread.acted_on.get() == control.without(Control::FENCE) {
            return Some(thread.acted_on.get());
        }
        if control.has(Control::PAUSED) {
            thread.leave();
            errno::preserving(|| self.control.wait_for_change(control));
            return Some(self.mark_busy(thread));
        }
        if !control.has(Control::RECORDING | Control::SCOPES) {
            thread.leave();
            return None;
        }
        if control.has(Control::RECORDING) {
            let mode = match (control.has(Control::MANY), control.has(Control::EXACT)) {
                (false, _) => Mode::Single,
                (true, false) => Mode::Many,
                (true, true) => Mode::ManyExact,
            };
            thread.book.set_mode(
                mode,
                control.has(Control::EXACT),
                &self.recorder.peak,
                clock::ticks(),
            );
        }
        let seed = std::ptr::from_ref(thread).addr() as u64 ^ clock::ticks();
        thread.book.touch.set_on(control.has(Control::TOUCH), seed);
        // With that flag every operation comes here for its fence.
        thread.acted_on.set(control.without(Control::FENCE));
        self.follow_code(thread);
        Some(self.control.get())
    }

    /// As [`Self::adopt_thread`], unless the thread has nothing to record: one
    /// without a block is in no scope.
    #[cold]
    fn adopt_recording_thread(&'static self, operation: Operation) -> Option<NonNull<Thread>> {
        if operation == Operation::Alloc && !self.control.get().has(Control::RECORDING) {
            return None;
        }
        self.adopt_thread()
    }

    /// Gives this thread a block. A signal handler that interrupts this finds
    /// the thread in transit and leaves the locks alone.
    #[cold]
    #[inline(never)]
    fn adopt_thread(&'static self) -> Option<NonNull<Thread>> {
        set_current(Current::InTransit);
        let adopted = errno::preserving(|| {
            let mut registry = self.registry.lock();
            let thread = registry.claim(&self.threads)?;
            // SAFETY: claimed: this thread's own from now on.
            let own = unsafe { &mut *thread.as_ptr() };
            own.acted_on.set(Control::NONE);
            own.scope.set(0);
            own.engine.set(Some(self));
            self.recorder.peak.set_threads(registry.alive);
            if registry.alive == 2 {
                // So far the only other thread kept its part to itself.
                self.pause(&registry, thread.as_ptr(), || {
                    self.publish_all_books();
                    self.control.change(Control::MANY, 0);
                });
            }
            drop(registry);
            exact::attach();
            let bounds = StackBounds::of_this_thread(Registers::here().sp);
            own.walker.reset(bounds, self.frame_limit.load(Relaxed));
            self.arm(thread);
            Some(thread)
        });
        set_current(adopted.map_or(Current::None, Current::Block));
        if adopted.is_none() {
            self.blockless.fetch_add(1, Relaxed);
        }
        adopted
    }

    /// Asks to be told when this thread ends.
    fn arm(&self, thread: NonNull<Thread>) {
        #[cfg(feature = "interpose")]
        return passing::arming(|| thread_end::arm(thread.as_ptr().cast()));
        #[cfg(not(feature = "interpose"))]
        thread_end::arm(thread.as_ptr().cast());
    }

    /// Takes back the block of the thread that is ending. It may allocate
    /// once more, and then gets a block again.
    fn release_thread(&self, thread: NonNull<Thread>) {
        set_current(Current::InTransit);
        let mut registry = self.registry.lock();
        // SAFETY: this thread's own block, and the registry's lock keeps
        // readers out.
        let own = unsafe { &mut *thread.as_ptr() };
        own.book.publish(&self.recorder.peak, clock::ticks());
        registry.give_back(thread);
        self.recorder.peak.set_threads(registry.alive);
        if registry.alive == 1 {
            self.control.change(0, Control::MANY);
        }
        drop(registry);
        exact::detach();
        set_current(Current::None);
    }

    /// Makes the published sum the true one. No thread is inside the gate.
    fn publish_all_books(&self) {
        let now = clock::ticks();
        for thread in self.threads.iter() {
            // SAFETY: the caller's promise.
            unsafe { &mut (*thread.as_ptr()).book }.publish(&self.recorder.peak, now);
        }
    }

    // ---- fork -------------------------------------------------------------

    /// Before the process is copied: keeps every thread out of the gate, so
    /// that the copy's tables are whole and no lock in it is held by a thread
    /// that it does not have. This thread's own operations, of what else
    /// happens around a fork, are refused until it is over.
    pub(crate) fn before_fork(&'static self) {
        match self.this_thread() {
            // SAFETY: this thread's own block.
            Some(own) => unsafe { own.as_ref() }.gate.store(gate::PAUSING, Relaxed),
            None => set_current(Current::InTransit),
        }
        self.registry.lock_for_fork();
        self.control.change(Control::PAUSED, 0);
        control::barrier_everywhere();
        self.wait_until_outside(current().as_ptr());
        self.timing.before_fork();
        self.arena.lock_for_fork();
        CRASH_FILE.copy();
    }

    pub(crate) fn after_fork_in_parent(&'static self) {
        CRASH_FILE.drop_copies();
        // SAFETY: this thread locked it in `before_fork`.
        unsafe { self.arena.unlock_after_fork() };
        self.resume();
        // SAFETY: this thread locked it in `before_fork`.
        unsafe { self.registry.unlock_after_fork() };
        self.open_own_gate();
    }

    fn open_own_gate(&self) {
        match current() {
            // SAFETY: this thread's own block.
            Current::Block(own) => unsafe { own.as_ref() }.gate.store(0, Release),
            _ => set_current(Current::None),
        }
    }

    /// In the copy only this thread goes on. The books of the others stay part
    /// of every sum; their blocks serve new threads.
    pub(crate) fn after_fork_in_child(&'static self) {
        // The file is the parent's alone.
        CRASH_FILE.take_copies();
        exact::after_fork();
        self.timing.after_fork_in_child();
        // SAFETY: this thread locked it in `before_fork`, in the parent.
        unsafe { self.arena.unlock_after_fork() };
        self.publish_all_books();
        let own = current().as_ptr();
        let mut registry = Registry::new();
        for thread in self.threads.iter() {
            registry.alive += 1;
            if thread.as_ptr() != own {
                // SAFETY: its thread does not exist in this process.
                unsafe { thread.as_ref() }.gate.store(0, Relaxed);
                registry.give_back(thread);
            }
        }
        self.recorder.peak.set_threads(registry.alive);
        // SAFETY: this thread locked it in `before_fork`, in the parent.
        unsafe { self.registry.unlock_after_fork() };
        *self.registry.lock() = registry;
        self.control.change(0, Control::MANY);
        self.resume();
        self.open_own_gate();
    }

    /// Whether this thread may take locks: not if it is a signal handler that
    /// interrupted their holder.
    pub(crate) fn may_lock(&self) -> bool {
        match current() {
            Current::None => true,
            Current::InTransit => false,
            // SAFETY: this thread's own block.
            Current::Block(thread) => unsafe { thread.as_ref() }.gate.load(Relaxed) == 0,
        }
    }

    /// Runs `action` with every other thread outside the gate. Threads that
    /// come to it wait, so `action` is short and waits for none of them.
    fn pause<T>(
        &self,
        registry: &MutexGuard<'_, Registry>,
        own: *mut Thread,
        action: impl FnOnce() -> T,
    ) -> T {
        let only_thread = registry.alive <= 1;
        self.control.change(Control::PAUSED, 0);
        if !only_thread || own.is_null() {
            control::barrier_everywhere();
            self.wait_until_outside(own);
        }
        let result = action();
        self.resume();
        result
    }

    fn resume(&self) {
        self.control.change(0, Control::PAUSED);
        self.control.wake_all();
    }

    fn wait_until_outside(&self, own: *mut Thread) {
        // What ThreadSanitizer has to find.
        if cfg!(heapledger_planted_defect = "race") {
            return;
        }
        let give_up = clock::monotonic_ns() + PAUSE_LIMIT_NS;
        for thread in self.threads.iter().filter(|thread| thread.as_ptr() != own) {
            // SAFETY: blocks stay mapped, and the gate is atomic.
            let gate = unsafe { &(*thread.as_ptr()).gate };
            // Acquire: what the thread recorded is visible once it is outside.
            let mut patience = Patience::default();
            while gate.load(Acquire) & gate::BUSY != 0 {
                patience.give_way();
                if clock::monotonic_ns() > give_up {
                    self.torn_readings.fetch_add(1, Relaxed);
                    return;
                }
            }
        }
    }

    // ---- runs and readings ------------------------------------------------

    /// The profiler's own work: runs `work` with this thread's allocations
    /// left out of the record. Frees of recorded blocks are still seen.
    pub(crate) fn ignoring<T>(&'static self, work: impl FnOnce() -> T) -> T {
        let Some(thread) = self.this_thread() else {
            return work();
        };
        let _restore = Ignoring::start(thread);
        work()
    }

    fn this_thread(&'static self) -> Option<NonNull<Thread>> {
        match current() {
            Current::Block(thread) => Some(thread),
            Current::None => self.adopt_thread(),
            Current::InTransit => None,
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
            let sites = self.recorder.site_numbers() + 64;
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

    fn pausing<T>(
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

    fn books(&self) -> impl Iterator<Item = &Book> + Clone {
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

/// # Safety
/// Called by the threads library with the block that the thread armed.
unsafe extern "C" fn thread_ended(thread: *mut c_void) {
    if let Some(thread) = NonNull::new(thread.cast::<Thread>()) {
        // SAFETY: this thread's own block, until it is released here.
        if let Some(engine) = unsafe { thread.as_ref() }.engine.get() {
            engine.release_thread(thread);
            #[cfg(feature = "interpose")]
            passing::thread_has_ended();
        }
    }
}
