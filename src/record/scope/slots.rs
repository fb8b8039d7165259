//! Which slots are in use. Opened and closed under the engine's registry lock.
//!
//! A slot whose scope has ended is used again at once if none of its blocks is
//! left. Otherwise it is *abandoned*: frees of its blocks still find it, and
//! nobody asks for its counts any more. Abandoned slots are taken back all at
//! once, by a pass over the block map, before there are too many.

use crate::clock::Moment;
use crate::record::chunks::Chunks;
use crate::record::scope::slot::{Keeps, Slot, ThreadToken};
use crate::record::scope::tag::{MAX_SLOTS, Tag};
use std::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

/// Abandoned slots beyond which they are taken back when next there is occasion.
const MAX_ABANDONED: u32 = 256;

/// Scopes around a scope.
pub(crate) const MAX_DEPTH: u32 = 64;

/// Nothing but atomics, so that zeroed memory and a `static` will do; written
/// under the registry's lock.
#[derive(Debug)]
pub(crate) struct Slots {
    slots: Chunks<Slot, MAX_SLOTS, 1>,
    state: Chunks<AtomicU32, 1, MAX_SLOTS>,
    /// The highest number ever used.
    last: AtomicU32,
    open: AtomicU32,
    abandoned: AtomicU32,
}

const FREE: u32 = 0;
const OPEN: u32 = 1;
const ABANDONED: u32 = 2;

/// Why a scope cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSlot {
    AllInUse,
    TooDeep,
    NoMemory,
}

impl Slots {
    pub(crate) const fn new() -> Self {
        Self {
            slots: Chunks::new(),
            state: Chunks::new(),
            last: AtomicU32::new(0),
            open: AtomicU32::new(0),
            abandoned: AtomicU32::new(0),
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn get(&self, number: u32) -> Option<&Slot> {
        match number {
            0 => None,
            _ => self.slots.get(number as usize),
        }
    }

    /// The slot and those around it, from the inside out.
    pub(crate) fn chain(&self, number: u32) -> impl Iterator<Item = &Slot> {
        std::iter::successors(self.get(number), |slot| self.get(slot.parent()))
    }

    /// Whether `inner` is `outer` or lies in it.
    pub(crate) fn is_within(&self, inner: u32, outer: u32) -> bool {
        let mut at = inner;
        while at != outer && at != 0 {
            at = self.get(at).map_or(0, Slot::parent);
        }
        at == outer
    }

    /// Whether this thread may count in the scope and in all around it.
    #[inline]
    pub(crate) fn admit(&self, number: u32, thread: ThreadToken) -> bool {
        self.chain(number).all(|slot| slot.admits(thread))
    }

    pub(crate) fn any_open(&self) -> bool {
        self.open.load(Acquire) != 0
    }

    pub(crate) fn want_sweep(&self) -> bool {
        self.abandoned.load(Relaxed) > MAX_ABANDONED
            || self.find_free().is_none() && self.abandoned.load(Relaxed) > 0
    }

    /// Which use of the slot the tag is of; another one later.
    pub(crate) fn use_of(&self, tag: Tag) -> u32 {
        self.get(tag.slot()).map_or(0, Slot::uses)
    }

    /// Opens a scope inside of the scope `parent`, or of none.
    pub(crate) fn open(
        &self,
        owner: ThreadToken,
        parent: u32,
        keeps: Keeps,
        now: Moment,
    ) -> Result<u32, NoSlot> {
        let around = self.get(parent);
        let depth = around.map_or(0, |slot| slot.depth() + 1);
        if depth >= MAX_DEPTH {
            return Err(NoSlot::TooDeep);
        }
        let number = self.find_free().ok_or(NoSlot::AllInUse)?;
        let slot = self
            .slots
            .get_or_map(number as usize)
            .ok_or(NoSlot::NoMemory)?;
        let state = self.state.get_or_map(number as usize);
        state.ok_or(NoSlot::NoMemory)?.store(OPEN, Release);
        let keeps = keeps.with(around.map(Slot::keeps).unwrap_or_default());
        slot.open(owner, (parent, depth), keeps, now);
        if let Some(around) = around {
            around.children.fetch_add(1, Relaxed);
        }
        self.last.fetch_max(number, Relaxed);
        self.open.fetch_add(1, Relaxed);
        Ok(number)
    }

    /// The scope's last handle is gone. `thread` is admitted to the slot.
    pub(crate) fn close(&self, number: u32, thread: ThreadToken) {
        let Some(slot) = self.get(number) else {
            return;
        };
        self.open.fetch_sub(1, Relaxed);
        let is_empty = {
            let held = slot.hold(thread);
            slot.live_blocks(&held) == 0
        };
        if is_empty && slot.children.load(Relaxed) == 0 {
            self.free(number, slot);
        } else {
            self.set_state(number, ABANDONED);
            self.abandoned.fetch_add(1, Relaxed);
        }
    }

    fn free(&self, number: u32, slot: &Slot) {
        self.set_state(number, FREE);
        slot.end_use();
        if let Some(around) = self.get(slot.parent()) {
            around.children.fetch_sub(1, Relaxed);
        }
    }

    /// Whether nobody asks any more for the counts that a block is part of.
    pub(crate) fn is_stale(&self, tag: Tag) -> bool {
        self.of_open_scope(tag).is_none()
    }

    /// The tag of the same block in the innermost open scope that it is part of.
    pub(crate) fn of_open_scope(&self, tag: Tag) -> Option<Tag> {
        let (mut number, mut site) = (tag.slot(), tag.ordinal());
        while self.state(number) != OPEN {
            let slot = self.get(number)?;
            (number, site) = (slot.parent(), slot.in_parent(site));
        }
        Some(Tag::new(number, site, tag.is_in_run()))
    }

    /// Takes all abandoned slots back that no open scope lies in. No thread is
    /// inside the gate, and no tag of theirs is left in the block map.
    pub(crate) fn take_back_abandoned(&self) {
        // A slot is later than those around it only by chance, so look again
        // until nothing changes.
        loop {
            let mut taken = 0;
            for number in 1..=self.last.load(Relaxed) {
                if self.state(number) != ABANDONED {
                    continue;
                }
                let Some(slot) = self.get(number) else {
                    continue;
                };
                if slot.children.load(Relaxed) == 0 {
                    self.free(number, slot);
                    self.abandoned.fetch_sub(1, Relaxed);
                    taken += 1;
                }
            }
            if taken == 0 {
                return;
            }
        }
    }

    fn find_free(&self) -> Option<u32> {
        (1..MAX_SLOTS as u32).find(|&number| self.state(number) == FREE)
    }

    fn state(&self, number: u32) -> u32 {
        // 0 is no slot, and never open.
        self.state
            .get(number as usize)
            .map_or(FREE, |state| state.load(Acquire))
    }

    fn set_state(&self, number: u32, to: u32) {
        if let Some(state) = self.state.get(number as usize) {
            state.store(to, Release);
        }
    }
}
