//! What the recorder does with blocks of scopes.

use crate::record::block_entry::{Entry, Measured, More};
use crate::record::block_map::{GRANULE_BYTES, Slot as BlockSlot};
use crate::record::book::Book;
use crate::record::scope::slot::{Slot, ThreadToken};
use crate::record::scope::tag::Tag;
use crate::record::scope::tally::Event;
use crate::record::site_counters::Change;
use crate::record::sites::{OVERFLOW, SiteId};
use crate::record::snapshot::Node;
use crate::record::{NotRecorded, Recorder};
use std::collections::HashMap;

/// How a scope's block is measured: the weight is of a run's sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measuring {
    pub(crate) how: Measured,
    pub(crate) weight: u8,
}

impl Measuring {
    pub(crate) const NOT: Self = Self {
        how: Measured::Not,
        weight: 0,
    };
}

/// A block that a thread has allocated, or reallocated, inside of a scope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewBlock {
    pub(crate) address: usize,
    pub(crate) bytes: usize,
    /// None: neither the scope nor a run wants to know.
    pub(crate) site: Option<SiteId>,
    pub(crate) event: Event,
    /// Whether the run in progress, by its site, counts it too.
    pub(crate) in_run: bool,
    pub(crate) measuring: Measuring,
    pub(crate) now: u64,
}

impl Recorder {
    /// Records a block of the scope `scope`, which admits `thread`, but not in
    /// any book. Ok(false): one was there before, whose free was not seen.
    #[inline]
    pub(crate) fn alloc_in_scope(
        &self,
        thread: ThreadToken,
        scope: u32,
        block: &NewBlock,
    ) -> Result<bool, NotRecorded> {
        let number = match block.site {
            None => 0,
            Some(site) => match self.number_in_scope(thread, scope, site) {
                Some(number) => number,
                None => return self.alloc_beside_scope(scope, block, site),
            },
        };
        let tag = Tag::new(scope, number, block.in_run);
        let Ok(before) = self.put_tag(block.address, tag, block.bytes, block.measuring) else {
            self.refuse(scope);
            return Err(NotRecorded);
        };
        self.count_in_scope(thread, scope, number, block.event, block.bytes, block.now);
        Ok(before.is_none_or(|value| match Tag::of(value) {
            Some(tag) => self.scopes.is_stale(tag),
            // Without a run, sites in the map are what the last one left.
            None => !block.in_run || Entry::from_word(value).is_none(),
        }))
    }

    /// Puts a block of a scope into the map, with its size and how it is measured, if
    /// there is a place for that. Returns what was there before.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn put_tag(
        &self,
        address: usize,
        tag: Tag,
        bytes: usize,
        measuring: Measuring,
    ) -> Result<Option<SiteId>, NotRecorded> {
        let more = More::of_scope(bytes, measuring.how, measuring.weight).word();
        let beside = address + GRANULE_BYTES;
        let has_place = More::has_place(bytes);
        if has_place {
            self.blocks.put_beside(beside, more);
            if let Some(rest) = More::rest(bytes) {
                self.blocks.put_beside(beside + GRANULE_BYTES, rest.word());
            }
        }
        let before = self.blocks.insert(address, tag.value());
        if !has_place {
            let is_of_none = |word| self.is_of_none(word);
            self.blocks.put_if_free(beside, more, is_of_none);
        }
        before.map_err(|_| NotRecorded)
    }

    /// Whether a value in the map is of no block that anybody asks for.
    fn is_of_none(&self, value: SiteId) -> bool {
        match Tag::of(value) {
            Some(tag) => !tag.is_in_run() && self.scopes.is_stale(tag),
            None => More::from_word(value).is_some(),
        }
    }

    /// How the scope's block at `address` is measured.
    pub(crate) fn measuring(&self, address: usize) -> Measuring {
        self.more(address).map_or(Measuring::NOT, |more| Measuring {
            how: more.how(),
            weight: more.weight(),
        })
    }

    /// Whether the scope of this tag wants to know what is written to its blocks.
    pub(crate) fn keeps_writes(&self, tag: Tag) -> bool {
        let slot = self.scopes.get(tag.slot());
        slot.is_some_and(|slot| slot.keeps().writes)
    }

    /// Counts bytes that were never written in the scope, if it wants to know, and in
    /// all around it that do.
    pub(crate) fn add_unwritten(&self, thread: ThreadToken, tag: Tag, bytes: u64) {
        let (mut scope, mut number) = (tag.slot(), tag.ordinal());
        while let Some(slot) = self.scopes.get(scope).filter(|slot| slot.keeps().writes) {
            slot.add_unwritten(number, bytes, &slot.hold(thread));
            (scope, number) = (slot.parent(), slot.in_parent(number));
        }
    }

    /// As [`Self::put_tag`], of a block that is not measured, where there is nothing out of
    /// the ordinary. False: nothing was done.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn put_usual_tag(&self, address: usize, tag: Tag, bytes: usize) -> bool {
        let block = self.blocks.slot_at(address);
        let Some((block, beside)) = block.and_then(|block| Some((block, block.next()?))) else {
            return false;
        };
        if block.site().is_some() {
            return false;
        }
        let more = More::of_scope(bytes, Measured::Not, 0).word();
        if More::has_place(bytes) {
            beside.set(more);
        } else if beside.site() != Some(more) {
            return false;
        }
        block.set(tag.value());
        true
    }

    /// The tag of the block at `address`, and its place, if it is in the map proper.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn tag_at(&self, address: usize) -> Option<(Tag, BlockSlot<'_>)> {
        let slot = self.blocks.slot_at(address)?;
        Some((Tag::of(slot.site()?)?, slot))
    }

    /// The scope cannot tell so many stacks apart: it misses this block.
    #[cold]
    fn alloc_beside_scope(
        &self,
        scope: u32,
        block: &NewBlock,
        site: SiteId,
    ) -> Result<bool, NotRecorded> {
        self.refuse(scope);
        match block.in_run {
            true => self.put_value(block.address, site).map(|()| true),
            false => Err(NotRecorded),
        }
    }

    /// Something is missing from the scope's counts and from those around it.
    #[cold]
    pub(crate) fn refuse(&self, scope: u32) {
        self.scopes.chain(scope).for_each(Slot::refuse);
    }

    /// The number of a site in a scope; gives it one there and in all scopes
    /// around.
    #[inline]
    fn number_in_scope(&self, thread: ThreadToken, scope: u32, site: SiteId) -> Option<u32> {
        let slot = self.scopes.get(scope)?;
        let known = slot.number_of(site, &slot.hold(thread));
        known.or_else(|| self.add_to_scope(thread, scope, site))
    }

    #[cold]
    fn add_to_scope(&self, thread: ThreadToken, scope: u32, site: SiteId) -> Option<u32> {
        let slot = self.scopes.get(scope)?;
        let in_parent = match slot.parent() {
            0 => 0,
            parent => self.number_in_scope(thread, parent, site)?,
        };
        let held = slot.hold(thread);
        // Another thread may have come first.
        slot.number_of(site, &held)
            .or_else(|| slot.add_site(site, in_parent, &held))
    }

    /// Counts in the scope and in all around it, which admit `thread`.
    #[inline]
    pub(crate) fn count_in_scope(
        &self,
        thread: ThreadToken,
        scope: u32,
        number: u32,
        event: Event,
        bytes: usize,
        now: u64,
    ) {
        let (mut scope, mut number) = (scope, number);
        while let Some(slot) = self.scopes.get(scope) {
            let held = slot.hold(thread);
            // Read before the block is counted as gone: afterwards the slot
            // may be another scope's.
            let around = (slot.parent(), slot.in_parent(number));
            slot.count(number, event, bytes, now, &held);
            drop(held);
            (scope, number) = around;
        }
    }

    /// The site by which a run counts a tagged block.
    pub(crate) fn site_of_tag(&self, tag: Tag) -> SiteId {
        let slot = self.scopes.get(tag.slot());
        slot.and_then(|slot| slot.site(tag.ordinal()))
            .unwrap_or(OVERFLOW)
    }

    /// A block with this tag is freed; it is out of the block map.
    #[inline]
    pub(crate) fn free_in_scope(
        &self,
        book: &mut Book,
        thread: ThreadToken,
        tag: Tag,
        in_run: bool,
        bytes: usize,
        now: u64,
    ) {
        // Found before the slot is let go of.
        let site = (in_run && tag.is_in_run()).then(|| self.site_of_tag(tag));
        if !self.scopes.is_stale(tag) {
            let (scope, number) = (tag.slot(), tag.ordinal());
            self.count_in_scope(thread, scope, number, Event::Free, bytes, now);
        }
        if let Some(site) = site {
            self.count_free(book, site, bytes, now);
        }
    }

    /// What a run knows of the block at `address` with this value, when no scope is
    /// open. None: no run knows it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn entry_in_run(&self, address: usize, value: SiteId) -> Option<Entry> {
        Entry::from_word(value).or_else(|| self.entry_in_run_of_tag(address, Tag::of(value)?))
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn entry_in_run_of_tag(&self, address: usize, tag: Tag) -> Option<Entry> {
        let site = tag.is_in_run().then(|| self.site_of_tag(tag))?;
        Some(self.more(address).map_or(Entry::of(site), |more| {
            Entry::measured(site, more.how(), more.bytes())
        }))
    }

    /// As [`Recorder::take`], whatever the block is part of: the second value is
    /// what the run knows of it if it is in no scope, and then the first is its
    /// site.
    #[inline]
    pub(crate) fn take_value(&self, address: usize) -> Option<(SiteId, Option<Entry>)> {
        let value = self.blocks.remove(address)?;
        match (Tag::of(value), Entry::from_word(value)) {
            (Some(_), _) => Some((value, None)),
            (None, Some(entry)) => Some((entry.site(), Some(entry))),
            (None, None) => None,
        }
    }

    /// As [`Recorder::put_back`], of a site or a tag.
    pub(crate) fn put_value(&self, address: usize, value: SiteId) -> Result<(), NotRecorded> {
        self.blocks
            .insert(address, value)
            .map(drop)
            .map_err(|_| NotRecorded)
    }

    /// Counts a block that is in its place.
    pub(crate) fn count_alloc(
        &self,
        book: &mut Book,
        site: SiteId,
        bytes: usize,
        now: u64,
    ) -> Result<(), NotRecorded> {
        let change = Change::alloc(bytes, now);
        book.count(site, &change, now, &self.sites, &self.peak)
            .map_err(|_| NotRecorded)
    }

    /// Counts the free of a block that was taken out.
    pub(crate) fn count_free(&self, book: &mut Book, site: SiteId, bytes: usize, now: u64) {
        // As in `free`.
        let change = Change::free(bytes, now);
        let _ = book.count(site, &change, now, &self.sites, &self.peak);
    }

    /// A copy of the part of the stack tree that `sites` need, and the innermost
    /// node of each.
    pub(crate) fn nodes_of(&self, sites: impl Iterator<Item = SiteId>) -> (Vec<Node>, Vec<u32>) {
        let root = Node {
            parent: 0,
            address: 0,
        };
        let (mut nodes, mut numbers) = (vec![root], HashMap::from([(0, 0)]));
        let leaves = sites.map(|site| {
            let leaf = self.sites.get(site).map_or(0, |site| site.leaf());
            let mut new = Vec::new();
            let mut at = leaf;
            while !numbers.contains_key(&at) {
                new.push(at);
                at = self.sites.tree.node(at).parent;
            }
            for at in new.into_iter().rev() {
                let Node { parent, address } = self.sites.tree.node(at);
                let parent = numbers[&parent];
                nodes.push(Node { parent, address });
                numbers.insert(at, nodes.len() as u32 - 1);
            }
            numbers[&leaf]
        });
        let leaves = leaves.collect();
        (nodes, leaves)
    }

    /// Makes every block no part of a run, and forgets those of no open scope.
    ///
    /// # Safety
    /// No other thread uses the tables meanwhile.
    pub(crate) unsafe fn forget_blocks_outside_scopes(&self) {
        if self.scopes.any_open() {
            self.blocks.retag(|value| {
                if More::from_word(value).is_some() {
                    return Some(value);
                }
                let tag = self.scopes.of_open_scope(Tag::of(value)?)?;
                Some(tag.apart().value())
            });
        } else {
            // SAFETY: the caller's promise.
            unsafe {
                self.blocks.clear();
                // Sizes of blocks that are gone are never asked for.
                #[cfg(feature = "interpose")]
                self.c_sizes.clear();
            }
        }
        self.scopes.take_back_abandoned();
    }

    /// Takes the slots of ended scopes back. Their blocks stay part of the scope
    /// around and of the run in progress, if there are any. No thread is inside
    /// the gate.
    pub(crate) fn sweep_scopes(&self, has_run: bool) {
        self.blocks.retag(|value| {
            let Some(tag) = Tag::of(value) else {
                return Some(value);
            };
            match self.scopes.of_open_scope(tag) {
                Some(tag) => Some(tag.value()),
                None => (has_run && tag.is_in_run()).then(|| self.site_of_tag(tag)),
            }
        });
        self.scopes.take_back_abandoned();
    }
}
