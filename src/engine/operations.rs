//! What the door tells: a block was allocated, is about to be freed, is moved. The usual way
//! through all of it comes first.

use crate::capture::back_end::BackEnd;
use crate::capture::platform;
use crate::capture::registers::{self, Door, Registers};
use crate::capture::stack_memory::{ForeignStack, OwnStack};
use crate::capture::walk::{Ended, Stack, Walker};
use crate::clock;
use crate::engine::control::Control;
use crate::engine::thread::{Operation, Thread};
use crate::engine::unloading::Unloaded;
use crate::engine::{Engine, Inside, Taken};
use crate::record::block_entry::Entry;
use crate::record::sites::SiteId;
use crate::record::touch_counters::{Measure, TouchBook};
use std::sync::atomic::Ordering::Relaxed;

impl Engine {
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
        let Some(site) = (unsafe { Self::last_site(&mut inside.thread.walker, door) }) else {
            // SAFETY: as above.
            unsafe { self.alloc_elsewhere(inside, Registers::here(), door, address, bytes) };
            return registers::stay();
        };
        if !self
            .recorder
            .alloc_if_usual::<false>(&mut inside.thread.book, site, address, bytes)
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
    pub(super) unsafe fn first_alloc(
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
    pub(super) unsafe fn alloc_elsewhere(
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
            inside.thread.walker.remember(door, site.get());
        }
        self.record_block(inside.thread, site.map(Entry::of), address, bytes);
    }

    #[inline(never)]
    pub(super) fn unusual_alloc(
        &self,
        inside: Inside<'_>,
        site: SiteId,
        address: usize,
        bytes: usize,
    ) {
        let book = &mut inside.thread.book;
        if !(self.recorder).alloc_if_usual::<true>(book, site, address, bytes) {
            self.record_block(inside.thread, Some(Entry::of(site)), address, bytes);
        }
    }

    #[inline(always)]
    pub(super) fn record_block(
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
    pub(super) unsafe fn record_alloc(
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

    /// The site of the stack here, if that is the last one again, or a recent one.
    ///
    /// # Safety
    /// `door` is of a function of this thread that has not returned.
    #[inline(always)]
    pub(super) unsafe fn last_site(walker: &mut Walker, door: Door) -> Option<SiteId> {
        // SAFETY: the caller's promise; only stacks within the thread's own are
        // remembered, and of those only the ones that began here.
        let memory = unsafe { OwnStack::of_known_words(door.sp()) };
        SiteId::new(walker.tag_of(door, &memory)?)
    }

    /// The site of the stack at `start`. None: there is no memory for it.
    ///
    /// # Safety
    /// As for [`Self::stack`].
    #[inline(always)]
    pub(super) unsafe fn site_at(&self, thread: &mut Thread, start: Registers) -> Option<SiteId> {
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
            None => match self.site_in_loaded_code(book, &mut stack) {
                Ok(site) => site?,
                // SAFETY: the caller's promise.
                Err(Unloaded) => return unsafe { self.site_after_unloading(thread, start) },
            },
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
        if !self.recorder.free_if_usual::<false>(book, address, bytes) {
            self.unusual_free(inside, address, bytes);
        }
    }

    /// As [`Self::on_free`], where the gate may be closed.
    #[cold]
    #[inline(never)]
    pub(super) fn first_free(&'static self, address: usize, bytes: usize) {
        if let Some(inside) = self.enter(Operation::Free) {
            self.unusual_free(inside, address, bytes);
        }
    }

    #[inline(never)]
    pub(super) fn unusual_free(&self, inside: Inside<'_>, address: usize, bytes: usize) {
        let book = &mut inside.thread.book;
        if !self.recorder.free_if_usual::<true>(book, address, bytes) {
            self.recorder.free(book, address, bytes, clock::ticks());
        }
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

    pub(super) fn taken(&self, entry: Entry) -> Taken {
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
    pub(super) fn put_back(
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
    pub(super) unsafe fn stack<'t>(&self, walker: &'t mut Walker, start: Registers) -> Stack<'t> {
        // One by one: read together just after they were written, they would have to wait
        // until that is done.
        let Registers { pc, sp, fp } = start;
        let bounds = walker.bounds();
        if !bounds.contains(sp)
            && let Some(foreign) = walker.locate(sp)
        {
            // SAFETY: the stack pointer is at or below `sp` until that function returns;
            // `locate` found the stack that it is on.
            let memory = unsafe { ForeignStack::above(sp, foreign, bounds) };
            let start = Registers { pc, sp, fp };
            return walker.capture_foreign(start, &memory, self, platform::capture);
        }
        // SAFETY: as above; the walker has this thread's bounds.
        let memory = unsafe { OwnStack::above(sp, walker.bounds()) };
        walker.capture(Registers { pc, sp, fp }, &memory, self, platform::capture)
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
}
