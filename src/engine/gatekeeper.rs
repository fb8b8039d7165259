//! The gate from both sides: an operation enters it, a reader keeps all threads out; and how a
//! thread gets the block with its gate, and gives it back.

use crate::capture::registers::Registers;
use crate::capture::stack_bounds::StackBounds;
use crate::clock;
use crate::engine::control::{self, Control};
use crate::engine::thread::{
    Current, Operation, Registry, Thread, current, current_block, gate, set_current,
};
use crate::engine::{Engine, Inside, thread_end};
use crate::errno;
use crate::exact;
use crate::lock::Patience;
use crate::record::peak::Mode;
use parking_lot::MutexGuard;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{
    Ordering::{Acquire, Relaxed, SeqCst},
    compiler_fence, fence,
};

/// How long a reader waits for a thread that is in the middle of recording. A
/// thread that something has suspended there must not hang the program.
const PAUSE_LIMIT_NS: u64 = 2_000_000_000;

impl Engine {
    /// Enters the gate, if it is open and all is as when this thread last entered it.
    #[inline(always)]
    pub(super) fn enter_open_gate(&self) -> Option<Inside<'static>> {
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
    pub(super) fn enter(&'static self, operation: Operation) -> Option<Inside<'static>> {
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
    pub(super) fn block_for(&'static self, operation: Operation) -> Option<NonNull<Thread>> {
        match current() {
            Current::Block(thread) => Some(thread),
            Current::None => self.adopt_recording_thread(operation),
            Current::InTransit => {
                self.in_transit.count(operation);
                None
            }
            Current::Ours => None,
        }
    }

    /// Marks the thread busy, then looks at the control word, in that order
    /// for all who use [`control::barrier_everywhere`].
    #[inline(always)]
    pub(super) fn mark_busy(&self, thread: &Thread) -> Control {
        thread
            .gate
            .store(thread.gate.load(Relaxed) | gate::BUSY, Relaxed);
        compiler_fence(SeqCst);
        self.control.get()
    }

    /// The control word has changed since this thread last looked. None: the
    /// gate is open again and nothing is to be recorded.
    #[cold]
    pub(super) fn act_on(&self, thread: &mut Thread, control: Control) -> Option<Control> {
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
    pub(super) fn adopt_recording_thread(
        &'static self,
        operation: Operation,
    ) -> Option<NonNull<Thread>> {
        if operation == Operation::Alloc && !self.control.get().has(Control::RECORDING) {
            return None;
        }
        self.adopt_thread()
    }

    /// Gives this thread a block. A signal handler that interrupts this finds
    /// the thread in transit and leaves the locks alone.
    #[cold]
    #[inline(never)]
    pub(super) fn adopt_thread(&'static self) -> Option<NonNull<Thread>> {
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
    pub(super) fn arm(&self, thread: NonNull<Thread>) {
        #[cfg(feature = "interpose")]
        return crate::engine::passing::arming(|| thread_end::arm(thread.as_ptr().cast()));
        #[cfg(not(feature = "interpose"))]
        thread_end::arm(thread.as_ptr().cast());
    }

    /// Takes back the block of the thread that is ending. It may allocate
    /// once more, and then gets a block again.
    pub(super) fn release_thread(&self, thread: NonNull<Thread>) {
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
    pub(super) fn publish_all_books(&self) {
        let now = clock::ticks();
        for thread in self.threads.iter() {
            // SAFETY: the caller's promise.
            unsafe { &mut (*thread.as_ptr()).book }.publish(&self.recorder.peak, now);
        }
    }

    /// Runs `action` with every other thread outside the gate. Threads that
    /// come to it wait, so `action` is short and waits for none of them.
    pub(super) fn pause<T>(
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

    pub(super) fn resume(&self) {
        self.control.change(0, Control::PAUSED);
        self.control.wake_all();
    }

    pub(super) fn wait_until_outside(&self, own: *mut Thread) {
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
}

/// # Safety
/// Called by the threads library with the block that the thread armed.
pub(super) unsafe extern "C" fn thread_ended(thread: *mut c_void) {
    if let Some(thread) = NonNull::new(thread.cast::<Thread>()) {
        // SAFETY: this thread's own block, until it is released here.
        if let Some(engine) = unsafe { thread.as_ref() }.engine.get() {
            engine.release_thread(thread);
            #[cfg(feature = "interpose")]
            crate::engine::passing::thread_has_ended();
        }
    }
}
