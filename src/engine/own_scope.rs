//! What is usual while scopes are open: a thread is in none, or in one that lies in no other,
//! that it has to itself, and that no run looks into.

use crate::capture::registers::Door;
use crate::clock;
use crate::engine::Engine;
use crate::engine::control::{Control, HeapRecording};
use crate::engine::scoped_writes::is_usual_size;
use crate::engine::thread::{Thread, current_block};
use crate::engine::touching::Contents;
use crate::record::scope::slot::ThreadToken;
use crate::record::scope::tag::Tag;
use crate::record::scope::tally::Event;

/// What has become of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usual {
    Done,
    /// Nothing was done, and it takes more.
    No,
}

impl Engine {
    /// A block was allocated by a function with this door.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn alloc_in_own_scope(
        &'static self,
        recording: HeapRecording,
        door: Door,
        (address, bytes): (usize, usize),
        contents: Contents,
    ) -> Usual {
        let scope = match current_block() {
            // SAFETY: this thread's own block, of which a cell is read.
            Some(thread) => unsafe { thread.as_ref() }.scope.get(),
            None => 0,
        };
        let Some(slot) = self.recorder.scopes.get(scope) else {
            return match scope == 0 && !recording.records_all() {
                true => Usual::Done,
                false => Usual::No,
            };
        };
        let Some(inside) = self.enter_open_gate() else {
            return Usual::No;
        };
        let thread = token(inside.thread);
        let has_run = inside.thread.acted_on.get().has(Control::RECORDING);
        if has_run || !slot.is_own(thread) || !is_usual_size(bytes) {
            return Usual::No;
        }
        if !slot.keeps().stacks {
            if !self
                .recorder
                .put_usual_tag(address, Tag::new(scope, 0, false), bytes)
            {
                return Usual::No;
            }
            slot.count(0, Event::Alloc, bytes, 0, &None);
            Self::fill_usual(inside.thread, address, bytes, contents);
            return Usual::Done;
        }
        // SAFETY: of a function that has not returned.
        let site = unsafe { Self::last_site(&mut inside.thread.walker, door) };
        let number = site.and_then(|site| slot.number_of(site, &None));
        let (Some(number), Some(now)) = (number, clock::counter()) else {
            return Usual::No;
        };
        if !self
            .recorder
            .put_usual_tag(address, Tag::new(scope, number, false), bytes)
        {
            return Usual::No;
        }
        slot.count(number, Event::Alloc, bytes, now, &None);
        Self::fill_usual(inside.thread, address, bytes, contents);
        Usual::Done
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn fill_usual(thread: &Thread, address: usize, bytes: usize, contents: Contents) {
        if contents == Contents::Undefined && bytes != 0 {
            Self::fill_small(&thread.book.touch, address, bytes);
        }
    }

    /// A block is about to be freed.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn free_in_own_scope(&'static self, address: usize, bytes: usize) -> Usual {
        let Some(inside) = self.enter_open_gate() else {
            return Usual::No;
        };
        let Some((tag, block)) = self.recorder.tag_at(address) else {
            return Usual::No;
        };
        let slot = self.recorder.scopes.get(tag.slot());
        let Some(slot) = slot.filter(|slot| slot.is_own(token(inside.thread))) else {
            return Usual::No;
        };
        if tag.is_in_run() {
            return Usual::No;
        }
        match tag.ordinal() {
            0 => slot.count(0, Event::Free, bytes, 0, &None),
            number => match clock::counter() {
                Some(now) => slot.count(number, Event::Free, bytes, now, &None),
                None => return Usual::No,
            },
        }
        block.clear();
        Usual::Done
    }
}

fn token(thread: &Thread) -> ThreadToken {
    std::ptr::from_ref(thread) as usize
}
