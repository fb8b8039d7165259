//! How much of a scope's blocks is written to.
//!
//! In a scope that wants to know, every block is measured, whatever its size, so that
//! nothing is left to chance. In another one, blocks are measured for the run in progress,
//! if that wants to know: sampled as elsewhere.

use crate::engine::Engine;
use crate::engine::scopes::ScopeReading;
use crate::engine::thread::Thread;
use crate::engine::touching::{Contents, filled_part, look_at, part};
use crate::record::block_entry::{Entry, Measured};
use crate::record::scope::operations::Measuring;
use crate::record::scope::tag::Tag;
use crate::record::sites::SiteId;
use crate::record::touch_counters::{Decision, Measure};
use crate::touch::arena::LARGE_BYTES;
use crate::touch::pattern;
use crate::touch::peek::{self, PIECE_BYTES};
use std::mem::MaybeUninit;

/// What was known of a scope's block before it was reallocated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    measuring: Measuring,
    /// What the block is about to lose.
    cut: Measure,
}

/// What is behind is not filled, as that would make pages resident. Larger blocks are mostly
/// fresh from the system.
const LEFTOVER_BYTES: usize = 128 << 10;

/// Whether a block of this size is filled in whole, and its size kept in one word.
#[inline(always)]
pub(super) fn is_usual_size(bytes: usize) -> bool {
    bytes <= LEFTOVER_BYTES
}

/// Whether blocks measured so can be looked at.
fn is_looked_at(how: Measured) -> bool {
    !matches!(
        how,
        Measured::Not | Measured::Represented | Measured::Mapped
    )
}

/// Live blocks are read in pieces that are multiples of the pattern.
const _: () = assert!(PIECE_BYTES.is_multiple_of(8));

impl Engine {
    /// Adds to a reading of the scope, whose slot the caller holds, what live blocks say.
    /// `buffer` is of [`PIECE_BYTES`]. Nothing is allocated here.
    pub(super) fn add_live_unwritten(
        &self,
        scope: u32,
        reading: &mut ScopeReading,
        buffer: &mut [u8],
    ) {
        self.recorder.each_live_in_scope(scope, |live| {
            let Some(bytes) = live.bytes.filter(|_| is_looked_at(live.how)) else {
                return;
            };
            let mut unwritten = 0;
            for at in (0..bytes).step_by(PIECE_BYTES) {
                let wanted = PIECE_BYTES.min(bytes - at);
                let read = peek::peek(live.address + at, &mut buffer[..wanted]);
                let measure = look_at(live.how, &buffer[..read], at);
                unwritten += measure.bytes - measure.written;
            }
            reading.usage.unwritten_bytes += unwritten;
            // Sites are read in the order of their numbers, from 1 on.
            let index = (live.number as usize).wrapping_sub(1);
            if let Some((_, usage)) = reading.sites.get_mut(index) {
                usage.unwritten_bytes += unwritten;
            }
        });
    }

    /// Prepares a fresh block of this thread's scope, which wants to know what is written
    /// if `for_scope`; `site` is given if the run in progress counts the block.
    pub(super) fn begin_in_scope(
        &self,
        thread: &Thread,
        for_scope: bool,
        site: Option<SiteId>,
        (address, bytes, contents): (usize, usize, Contents),
    ) -> Measuring {
        if contents == Contents::Known || bytes == 0 {
            return Measuring::NOT;
        }
        if for_scope {
            let how = match contents {
                Contents::Zeros => Measured::Zeroed,
                _ => Measured::Pattern,
            };
            if contents == Contents::Undefined {
                // SAFETY: a fresh block, whose contents nobody knows.
                pattern::fill(unsafe { part(address, 0..bytes) }, 0);
            }
            return Measuring { how, weight: 0 };
        }
        let Some(site) = site.filter(|_| thread.book.touch.is_on()) else {
            Self::without_leftovers(address, 0, bytes, contents);
            return Measuring::NOT;
        };
        let entry = self.begin_touch(&thread.book.touch, site, address, bytes, contents);
        let weight = match entry.how() {
            Measured::PatternSampled | Measured::ZeroedSampled => self.weight_at(address),
            _ => 0,
        };
        Measuring {
            how: entry.how(),
            weight,
        }
    }

    /// Nothing that an earlier block has left in the first bytes from `from` on passes for an
    /// address, so that a search from a scope's result goes by what was written.
    #[inline(always)]
    pub(super) fn without_leftovers(address: usize, from: usize, bytes: usize, contents: Contents) {
        if contents == Contents::Undefined {
            let end = bytes.min(from + LEFTOVER_BYTES).max(from);
            // SAFETY: a fresh block or what a reallocation has added, whose contents
            // nobody knows.
            pattern::fill(unsafe { part(address, from..end) }, from);
        }
    }

    /// Whether somebody wants to know what was written to a block with this tag.
    fn wants_writes(&self, thread: &Thread, tag: Tag) -> bool {
        let is_for_run = thread.book.touch.is_on() && tag.is_in_run();
        is_for_run || self.recorder.keeps_writes(tag)
    }

    /// Tells the scope, those around it, and the run in progress.
    fn tell_written(&self, thread: &Thread, tag: Tag, weight: u8, blocks: u64, measure: &Measure) {
        if thread.book.touch.is_on() && tag.is_in_run() {
            let site = self.recorder.site_of_tag(tag);
            thread.book.touch.add(site, weight, blocks, measure);
        }
        let token = std::ptr::from_ref(thread) as usize;
        let unwritten = measure.bytes - measure.written;
        self.recorder.add_unwritten(token, tag, unwritten);
    }

    /// A block of a scope is about to go, and has been taken out. The slots of its scopes
    /// admit this thread, or nobody asks for their counts.
    #[inline]
    pub(super) fn end_in_scope(&self, thread: &Thread, tag: Tag, address: usize, bytes: usize) {
        if self.wants_writes(thread, tag) {
            self.look_in_scope(thread, tag, address, bytes);
        }
    }

    fn look_in_scope(&self, thread: &Thread, tag: Tag, address: usize, bytes: usize) {
        let Measuring { how, weight } = self.recorder.measuring(address);
        if is_looked_at(how) {
            // SAFETY: the block's owner is in the middle of freeing it; it was filled
            // when it was fresh, or when it grew.
            let block = unsafe { filled_part(address, 0..bytes) };
            self.tell_written(thread, tag, weight, 1, &look_at(how, block, 0));
        }
    }

    /// A block of a scope is about to be reallocated, and has been taken out.
    pub(super) fn before_resize_in_scope(
        &self,
        address: usize,
        (old_bytes, bytes): (usize, usize),
    ) -> Before {
        let measuring = self.recorder.measuring(address);
        let mut cut = Measure::default();
        if bytes < old_bytes && is_looked_at(measuring.how) {
            // SAFETY: as in `look_in_scope`, of reallocating it.
            let part = unsafe { filled_part(address, bytes..old_bytes) };
            cut = look_at(measuring.how, part, bytes);
        }
        Before { measuring, cut }
    }

    /// It is at `address` now, and stays in its scope. How it is measured from now on.
    pub(super) fn after_resize_in_scope(
        &self,
        thread: &Thread,
        tag: Tag,
        before: &Before,
        address: usize,
        (old_bytes, bytes): (usize, usize),
    ) -> Measuring {
        let Measuring { how, weight } = before.measuring;
        let book = &thread.book.touch;
        if how == Measured::Represented && bytes > old_bytes && tag.is_in_run() && book.is_on() {
            book.grow(self.recorder.site_of_tag(tag), None, old_bytes, bytes);
        }
        if !is_looked_at(how) || !self.wants_writes(thread, tag) {
            Self::without_leftovers(address, old_bytes, bytes, Contents::Undefined);
            return before.measuring;
        }
        if bytes <= old_bytes {
            if before.cut.bytes != 0 {
                self.tell_written(thread, tag, weight, 0, &before.cut);
            }
            return before.measuring;
        }
        let weight = match self.recorder.keeps_writes(tag) {
            true => 0,
            false => {
                let site = self.recorder.site_of_tag(tag);
                match self.after_growth(book, site, weight, (old_bytes, bytes)) {
                    Decision::Measure { weight } if bytes < LARGE_BYTES => weight,
                    Decision::Measure { weight: 0 } => return Measuring::NOT,
                    _ => {
                        let entry = Entry::measured(site, Measured::Represented, bytes);
                        let how = entry.how();
                        return Measuring { how, weight: 0 };
                    }
                }
            }
        };
        // SAFETY: what a reallocation adds is as fresh as a fresh block.
        let grown = unsafe { part(address, old_bytes..bytes) };
        let how = match (how, weight) {
            (Measured::Zeroed | Measured::ZeroedSampled, _) => {
                grown.fill(MaybeUninit::new(0));
                if weight == 0 {
                    Measured::Zeroed
                } else {
                    Measured::ZeroedSampled
                }
            }
            _ => {
                pattern::fill(grown, old_bytes);
                if weight == 0 {
                    Measured::Pattern
                } else {
                    Measured::PatternSampled
                }
            }
        };
        Measuring { how, weight }
    }
}
