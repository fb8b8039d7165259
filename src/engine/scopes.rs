//! Operations of threads that are inside of a scope, and of blocks that belong
//! to one: the way aside from what a run alone takes.

use crate::capture::registers::{self, Door, Registers};
use crate::clock::{self, Moment};
use crate::engine::control::{self, Control, HeapRecording};
use crate::engine::gatekeeper::thread_ended;
use crate::engine::own_scope::Usual;
use crate::engine::reachable::Search;
use crate::engine::scoped_writes::Before;
use crate::engine::thread::{Operation, Thread, current_block};
use crate::engine::touching::Contents;
use crate::engine::{Engine, Inside, Taken, thread_end};
use crate::record::scope::operations::{Measuring, NewBlock};
use crate::record::scope::slot::{Keeps, Slot, ThreadToken};
use crate::record::scope::slots::NoSlot;
use crate::record::scope::tag::Tag;
use crate::record::scope::tally::{Event, Usage};
use crate::record::sites::SiteId;
use crate::record::snapshot::Node;
use crate::touch::peek;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

/// Why a scope cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoScope {
    NoSlot(NoSlot),
    /// The thread has no block: no memory, or it is ending.
    NoThread,
    /// The profiler itself is at work on this thread.
    Busy,
    /// The run in progress does not see every block.
    Sampled,
}

/// A scope's counts, at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScopeReading {
    pub(crate) usage: Usage,
    pub(crate) sites: Vec<(SiteId, Usage)>,
    pub(crate) started: Moment,
    pub(crate) peak_at_ticks: u64,
    pub(crate) end: Moment,
    /// Operations that are missing.
    pub(crate) refused: u64,
    /// Whether it is known what was written.
    pub(crate) has_writes: bool,
}

/// A block that is between two addresses, while scopes are open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakenBesideScopes {
    /// The block's site, or the tag of a scope's block.
    value: SiteId,
    /// The run that this was true in.
    run: u32,
    /// Of a tag: the site that the run knows it by, and which use of the scope's
    /// slot it is of.
    site: SiteId,
    slot_use: u32,
    /// Of a site: what the run knows of it.
    of_run: Option<Taken>,
    /// Of a tag.
    before: Option<Before>,
}

/// Whether this thread is in a scope.
#[inline(always)]
fn is_in_scope() -> bool {
    // SAFETY: this thread's own block, of which a cell is read.
    current_block().is_some_and(|thread| unsafe { thread.as_ref() }.scope.get() != 0)
}

fn token(thread: &Thread) -> ThreadToken {
    std::ptr::from_ref(thread) as usize
}

impl Engine {
    // ---- operations -------------------------------------------------------

    /// The program allocated a block, while scopes are open. `address` is 0 if
    /// that failed.
    #[inline(never)]
    pub(crate) fn on_alloc_beside_scopes(
        &'static self,
        recording: HeapRecording,
        block: (usize, usize),
        contents: Contents,
    ) {
        let door = Door::here::<4>();
        if block.0 == 0 {
            return;
        }
        if self.alloc_in_own_scope(recording, door, block, contents) == Usual::No {
            // SAFETY: of this function, which stays until all is done.
            unsafe { self.alloc_beside_scopes(Registers::here(), door, block, contents) };
            registers::stay();
        }
    }

    /// # Safety
    /// As for [`Engine::stack`].
    #[inline(never)]
    unsafe fn alloc_beside_scopes(
        &'static self,
        start: Registers,
        door: Door,
        (address, bytes): (usize, usize),
        contents: Contents,
    ) {
        let Some(mut inside) = self.enter(Operation::Alloc) else {
            return;
        };
        if inside.is_ignoring() {
            inside.thread.ignored.set(inside.thread.ignored.get() + 1);
            return;
        }
        let in_run = inside.thread.acted_on.get().records_run();
        let block = (address, bytes, contents);
        if inside.thread.scope.get() != 0 {
            let way = (start, Some(door));
            self.new_block(&mut inside, way, block, Event::Alloc, in_run, None);
        } else if in_run {
            // SAFETY: the caller's promise.
            unsafe { self.record_touched(inside.thread, start, block) };
        }
    }

    /// `known`: a site that the run in progress knows the block by.
    #[inline(always)]
    fn new_block(
        &self,
        inside: &mut Inside<'_>,
        (start, door): (Registers, Option<Door>),
        (address, bytes, contents): (usize, usize, Contents),
        event: Event,
        in_run: bool,
        known: Option<SiteId>,
    ) {
        let scope = inside.thread.scope.get();
        let Some(slot) = self.recorder.scopes.get(scope) else {
            return;
        };
        let thread = &mut *inside.thread;
        let mut site = known;
        let keeps = slot.keeps();
        if site.is_none() && (in_run || keeps.stacks) {
            // SAFETY: `start` is of a caller of this function.
            site = unsafe { self.site_at(thread, start) };
            if let Some((door, site)) = door.zip(site) {
                thread.walker.remember(door, site.get());
            }
            if site.is_none() {
                self.recorder.refuse(scope);
                thread.dropped.set(thread.dropped.get() + 1);
                return;
            }
        }
        let now = match site {
            Some(_) => clock::ticks(),
            None => 0,
        };
        let block = (address, bytes, contents);
        let run_site = site.filter(|_| in_run);
        let measuring = self.begin_in_scope(thread, keeps.writes, run_site, block);
        let block = NewBlock {
            address,
            bytes,
            site,
            event,
            in_run,
            measuring,
            now,
        };
        let recorded = self.recorder.alloc_in_scope(token(thread), scope, &block);
        match recorded {
            Ok(true) => {}
            Ok(false) => thread.refused.count(Operation::Free),
            Err(_) => return thread.dropped.set(thread.dropped.get() + 1),
        }
        if in_run && known.is_none() {
            let counted = site.map(|site| {
                self.recorder
                    .count_alloc(&mut thread.book, site, bytes, now)
            });
            if !matches!(counted, Some(Ok(()))) {
                thread.dropped.set(thread.dropped.get() + 1);
            }
        }
    }

    /// The program is about to free a block, while scopes are open.
    #[inline(never)]
    pub(crate) fn on_free_beside_scopes(&'static self, address: usize, bytes: usize) {
        // A thread in a scope mostly frees what it has allocated there.
        if !is_in_scope() && !self.may_know(address) {
            return;
        }
        if self.free_in_own_scope(address, bytes) == Usual::No {
            self.free_beside_scopes(address, bytes);
        }
    }

    #[inline(never)]
    fn free_beside_scopes(&'static self, address: usize, bytes: usize) {
        let Some(inside) = self.enter(Operation::Free) else {
            return;
        };
        let Some((value, entry)) = self.recorder.take_value(address) else {
            return;
        };
        let has_run = inside.thread.acted_on.get().has_run();
        let book = &mut inside.thread.book;
        let Some(tag) = Tag::of(value) else {
            // Without a run, sites are what the last one left.
            if has_run {
                self.recorder.count_free(book, value, bytes, clock::ticks());
                if let Some(entry) = entry {
                    self.end_touch(&book.touch, entry, address, bytes);
                }
            }
            return;
        };
        let scopes = &self.recorder.scopes;
        let thread = token(inside.thread);
        if scopes.admit(tag.slot(), thread) || scopes.is_stale(tag) {
            let keeps_time = tag.ordinal() != 0;
            let now = if keeps_time { clock::ticks() } else { 0 };
            self.end_in_scope(inside.thread, tag, address, bytes);
            let book = &mut inside.thread.book;
            self.recorder
                .free_in_scope(book, thread, tag, has_run, bytes, now);
            return;
        }
        // Where it was the tag is safe: until the block is freed nobody else
        // can look at this address.
        let own = NonNull::from(&mut *inside.thread);
        let kept = self.recorder.put_value(address, value);
        drop(inside);
        if self.share_scope(tag.slot(), own) && kept.is_ok() {
            self.free_beside_scopes(address, bytes);
        }
    }

    /// The program is about to reallocate a block, while scopes are open.
    #[inline(never)]
    pub(crate) fn before_realloc_beside_scopes(
        &'static self,
        address: usize,
        sizes: (usize, usize),
    ) -> Option<TakenBesideScopes> {
        if !self.may_know(address) {
            return None;
        }
        let _inside = self.enter(Operation::Free)?;
        let (value, entry) = self.recorder.take_value(address)?;
        let mut of_run = None;
        if let Some(entry) = entry {
            let mut taken = self.taken(entry);
            self.before_resize(&mut taken, address, sizes);
            of_run = Some(taken);
        }
        let mut before = None;
        let (mut value, mut site, mut slot_use) = (value, value, 0);
        if let Some(tag) = Tag::of(value) {
            // An open scope's tag stays true while the block is in our hands.
            let tag = self.recorder.scopes.of_open_scope(tag).unwrap_or(tag);
            value = tag.value();
            site = self.recorder.site_of_tag(tag);
            slot_use = self.recorder.scopes.use_of(tag);
            before = Some(self.before_resize_in_scope(address, sizes));
        }
        Some(TakenBesideScopes {
            value,
            run: self.run.load(Relaxed),
            site,
            slot_use,
            of_run,
            before,
        })
    }

    /// It did: `address` is 0 if that failed.
    #[inline(never)]
    pub(crate) fn after_realloc_beside_scopes(
        &'static self,
        recording: HeapRecording,
        taken: Option<TakenBesideScopes>,
        old: (usize, usize),
        new: (usize, usize),
    ) {
        let start = Registers::here();
        if taken.is_none() && !recording.records_all() && !is_in_scope() {
            return;
        }
        let Some(mut inside) = self.enter(Operation::Alloc) else {
            return;
        };
        let value = self.value_now(&inside, taken);
        let of_run = taken.and_then(|taken| taken.of_run);
        if new.0 == 0 {
            // What is beside it is still there.
            let value = match of_run {
                Some(taken) if value.is_some() => Some(taken.entry.word()),
                _ => value,
            };
            if let Some(value) = value {
                let _ = self.recorder.put_value(old.0, value);
            }
            return;
        }
        let tag = value.and_then(Tag::of);
        if let Some(tag) = tag
            && !self.recorder.scopes.admit(tag.slot(), token(inside.thread))
        {
            let own = NonNull::from(&mut *inside.thread);
            drop(inside);
            let shared = self.share_scope(tag.slot(), own);
            match self.enter(Operation::Alloc) {
                Some(again) if shared => inside = again,
                _ => return,
            }
        }
        let before = (of_run, taken.and_then(|taken| taken.before));
        self.moved(&mut inside, start, value, before, old, new);
    }

    /// What a block that was taken out before now counts as: its site or tag.
    fn value_now(&self, inside: &Inside<'_>, taken: Option<TakenBesideScopes>) -> Option<SiteId> {
        let taken = taken?;
        let is_of_run =
            taken.run == self.run.load(Relaxed) && inside.thread.acted_on.get().has_run();
        match Tag::of(taken.value) {
            Some(tag) if taken.slot_use == self.recorder.scopes.use_of(tag) => match is_of_run {
                true => Some(tag.value()),
                false => Some(tag.apart().value()),
            },
            Some(tag) => (is_of_run && tag.is_in_run()).then_some(taken.site),
            None => is_of_run.then_some(taken.value),
        }
    }

    fn moved(
        &self,
        inside: &mut Inside<'_>,
        start: Registers,
        value: Option<SiteId>,
        (of_run, before): (Option<Taken>, Option<Before>),
        (old_address, old_bytes): (usize, usize),
        (address, bytes): (usize, usize),
    ) {
        let is_ignoring = inside.is_ignoring();
        let thread = &mut *inside.thread;
        let (me, current) = (token(thread), thread.scope.get());
        let scopes = &self.recorder.scopes;
        let moved = old_address != address;
        let now = clock::ticks();
        let tag = value.and_then(Tag::of);
        // The run's own view: one more block of the same site.
        let run_site = match (tag, value) {
            (Some(tag), _) => tag.is_in_run().then(|| self.recorder.site_of_tag(tag)),
            (None, value) => value,
        };
        if let Some(site) = run_site {
            let (places, sizes) = ((old_address, address), (old_bytes, bytes));
            let book = &mut thread.book;
            let counted = self.recorder.count_resized(book, site, places, sizes, now);
            if counted.is_err() {
                thread.dropped.set(thread.dropped.get() + 1);
            }
        }
        // The scope that it stays in, or comes from.
        if let Some(tag) = tag {
            if is_ignoring || current == 0 || scopes.is_within(tag.slot(), current) {
                let event = Event::Resized { old_bytes, moved };
                self.recorder
                    .count_in_scope(me, tag.slot(), tag.ordinal(), event, bytes, now);
                let sizes = (old_bytes, bytes);
                let measuring = before.map_or(Measuring::NOT, |before| {
                    self.after_resize_in_scope(thread, tag, &before, address, sizes)
                });
                let _ = self.recorder.put_tag(address, tag, bytes, measuring);
                return;
            }
            let (scope, number) = (tag.slot(), tag.ordinal());
            self.recorder
                .count_in_scope(me, scope, number, Event::MovedOut, old_bytes, now);
        }
        if is_ignoring || current == 0 {
            match (value, of_run) {
                (Some(_), Some(taken)) => {
                    let sizes = (old_bytes, bytes);
                    let entry = self.after_resize(&thread.book.touch, &taken, address, sizes);
                    let _ = self.recorder.put_back(address, entry);
                }
                (Some(site), None) => drop(self.recorder.put_value(address, site)),
                (None, _) if thread.acted_on.get().records_run() && !is_ignoring => {
                    // SAFETY: `start` is of a caller of this function.
                    unsafe { self.record_alloc(inside.thread, start, address, bytes) };
                }
                (None, _) => {}
            }
            return;
        }
        let in_run = match value {
            Some(_) => run_site.is_some(),
            None => thread.acted_on.get().records_run(),
        };
        let event = Event::MovedIn { old_bytes, moved };
        // What was measured of it so far is lost.
        let block = (address, bytes, Contents::Known);
        self.new_block(inside, (start, None), block, event, in_run, run_site);
    }

    // ---- scopes -----------------------------------------------------------

    /// Whether new blocks of this thread are of no scope.
    pub(crate) fn is_in_no_scope(&self) -> bool {
        !is_in_scope()
    }

    /// Opens a scope inside of the one that this thread is in, if any; whoever
    /// opens it has one handle.
    pub(crate) fn open_scope(&'static self, keeps: Keeps) -> Result<u32, NoScope> {
        self.prepare_to_derive();
        thread_end::prepare(thread_ended);
        let own = self.this_thread().ok_or(NoScope::NoThread)?;
        let fence = match control::register_barrier() {
            true => 0,
            false => Control::FENCE,
        };
        // SAFETY: this thread's own block.
        let parent = unsafe { own.as_ref() }.scope.get();
        let registry = self.registry.lock();
        if self.control.get().has(Control::SAMPLED) {
            return Err(NoScope::Sampled);
        }
        let scopes = &self.recorder.scopes;
        if scopes.want_sweep() {
            let has_run = self.control.get().has_run();
            self.pausing(&registry, Some(own), || self.recorder.sweep_scopes(has_run));
        }
        let was_open = scopes.any_open();
        let opened = scopes.open(own.as_ptr() as usize, parent, keeps, Moment::now());
        if opened.is_ok() && !was_open {
            self.control.change(Control::SCOPES | fence, 0);
        }
        opened.map_err(NoScope::NoSlot)
    }

    /// The innermost scope that this thread is in, and what it keeps.
    #[cfg(feature = "baselines")]
    pub(crate) fn scope_of_this_thread(&'static self) -> Option<(u32, Keeps)> {
        // SAFETY: this thread's own block, of which a cell is read.
        let number = unsafe { self.this_thread()?.as_ref() }.scope.get();
        Some((number, self.recorder.scopes.get(number)?.keeps()))
    }

    pub(crate) fn clone_scope(&self, scope: u32) {
        if let Some(slot) = self.recorder.scopes.get(scope) {
            slot.handles.fetch_add(1, Relaxed);
        }
    }

    /// One handle less; with the last one the scope ends.
    pub(crate) fn release_scope(&'static self, scope: u32) {
        let slot = self.recorder.scopes.get(scope);
        let is_last = slot.is_some_and(|slot| slot.handles.fetch_sub(1, AcqRel) == 1);
        if !is_last {
            return;
        }
        let Some(own) = self.this_thread() else {
            return;
        };
        let me = own.as_ptr() as usize;
        if slot.is_some_and(|slot| !slot.admits(me)) && !self.share_scope(scope, own) {
            return;
        }
        let _registry = self.registry.lock();
        self.recorder.scopes.close(scope, me);
        if !self.recorder.scopes.any_open() {
            self.control.change(0, Control::SCOPES);
        }
    }

    /// Makes this thread's allocations the scope's. Returns the scope that they
    /// were of before, for [`Self::leave_scope`].
    pub(crate) fn enter_scope(&'static self, scope: u32) -> Result<u32, NoScope> {
        let own = self.this_thread().ok_or(NoScope::NoThread)?;
        let me = own.as_ptr() as usize;
        if !self.recorder.scopes.admit(scope, me) && !self.share_scope(scope, own) {
            return Err(NoScope::Busy);
        }
        Ok(self.set_scope(own, scope))
    }

    pub(crate) fn leave_scope(&'static self, before: u32) {
        if let Some(own) = self.this_thread() {
            self.set_scope(own, before);
        }
    }

    fn set_scope(&self, own: NonNull<Thread>, scope: u32) -> u32 {
        // SAFETY: this thread's own block, of which cells are used.
        let thread = unsafe { own.as_ref() };
        thread.scope.replace(scope)
    }

    /// Lets every thread count in the scope and in all around it.
    /// False: not possible now, and what was to be counted is refused.
    #[cold]
    fn share_scope(&self, scope: u32, own: NonNull<Thread>) -> bool {
        let Some(registry) = self.registry.lock_within_limit() else {
            // A signal handler that interrupted the lock's holder.
            self.recorder.refuse(scope);
            return false;
        };
        let torn = self.torn_readings.load(Relaxed);
        let chain = || self.recorder.scopes.chain(scope);
        self.pausing(&registry, Some(own), || chain().for_each(Slot::share));
        if self.torn_readings.load(Relaxed) != torn {
            self.recorder.refuse(scope);
        }
        true
    }

    /// An operation was not recorded because the thread is inside already.
    #[cold]
    #[inline(never)]
    pub(super) fn refuse(&self, thread: &Thread, operation: Operation) {
        thread.refused.count(operation);
        self.recorder.refuse(thread.scope.get());
    }

    /// A block was forgotten whose end its scope, if it has one, should have seen.
    #[cfg(feature = "interpose")]
    pub(super) fn refuse_in_scope_of(&self, value: SiteId) {
        if let Some(tag) = Tag::of(value) {
            self.recorder.refuse(tag.slot());
        }
    }

    /// The stacks of `sites`: a tree, and the innermost node of each.
    pub(crate) fn nodes_of(&self, sites: impl Iterator<Item = SiteId>) -> (Vec<Node>, Vec<u32>) {
        self.recorder.nodes_of(sites)
    }

    /// The scope's counts now. Live blocks that the bytes at `root` lead to are not leaked.
    pub(crate) fn read_scope(
        &'static self,
        scope: u32,
        root: Option<Range<usize>>,
    ) -> Result<ScopeReading, NoScope> {
        let own = self.this_thread().ok_or(NoScope::NoThread)?;
        let me = own.as_ptr() as usize;
        let slot = self.recorder.scopes.get(scope).ok_or(NoScope::Busy)?;
        let mut reading = ScopeReading {
            started: slot.started(),
            has_writes: slot.keeps().writes,
            ..ScopeReading::default()
        };
        let mut buffer = vec![
            0;
            if reading.has_writes {
                peek::PIECE_BYTES
            } else {
                0
            }
        ];
        let mut search = Search::default();
        loop {
            if !slot.admits(me) && !self.share_scope(scope, own) {
                return Err(NoScope::Busy);
            }
            // Room is made outside of the gate: nothing is allocated in it.
            reading.sites.reserve(slot.sites_used() + 64);
            // In the gate, so that no fork copies a lock that is held.
            let inside = self.enter(Operation::Alloc).ok_or(NoScope::Busy)?;
            let held = slot.hold(me);
            let (blocks, sites) = (slot.live_blocks(&held), slot.sites_used());
            if root.is_some() && search.lacks(blocks, sites) {
                drop(held);
                drop(inside);
                search.grow(blocks, sites);
                continue;
            }
            if sites <= reading.sites.capacity() {
                slot.read_sites(&mut reading.sites, &held);
                reading.usage = slot.usage(&held);
                reading.peak_at_ticks = slot.peak_at_ticks(&held);
                reading.refused = slot.refused();
                reading.end = Moment::now();
                if reading.has_writes && reading.usage.live_blocks > 0 {
                    self.add_live_unwritten(scope, &mut reading, &mut buffer);
                }
                if let Some(root) = root.filter(|_| blocks > 0) {
                    self.tell_leaks(scope, root, &mut reading, &mut search);
                }
                return Ok(reading);
            }
        }
    }
}
