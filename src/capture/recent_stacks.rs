//! The stacks that a thread has met lately, each with every stack word that its walk read: a
//! walk that starts at the same door, with all of these words unchanged, ends in the same
//! stack. So programs that come from a few stacks in turn need no walks.
//!
//! A stack is kept when it is met again while others of its set are still waiting for that:
//! programs that come from ever new stacks copy none.

use crate::capture::registers::Door;
use crate::capture::stack_memory::{StackMemory, Word, WordChunk};

const SETS: usize = 32;
/// Stacks that begin at the same place, as those of a function that allocates twice, are of
/// one set.
const WAYS: usize = 4;
const WAITING: usize = 4;

/// Zeroed memory is one that has met no stack.
#[derive(Debug)]
pub(crate) struct RecentStacks {
    /// Of each stack; 0 where there is none.
    places: [[u64; WAYS]; SETS],
    stacks: [[RecentStack; WAYS]; SETS],
    waiting: [Waiting; SETS],
    /// Which way of each set is taken next.
    next_ways: [u8; SETS],
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct RecentStack {
    fp: u64,
    tag: u32,
    chunks: u16,
    /// Whether any frame depends on `fp`.
    fp_matters: bool,
    /// The innermost words first.
    words: [WordChunk; RecentStacks::MAX_WORDS / WordChunk::WORDS],
}

/// The tags of stacks that were met once.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    tags: [u32; WAITING],
    /// What is replaced next.
    next: u32,
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn set_of(place: u64) -> usize {
    (place.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) as usize % SETS
}

impl RecentStacks {
    /// Stacks with more words are not kept here.
    pub(crate) const MAX_WORDS: usize = 128;

    pub(crate) fn forget(&mut self) {
        self.places = [[0; WAYS]; SETS];
        let none = Waiting {
            tags: [0; WAITING],
            next: 0,
        };
        self.waiting = [none; SETS];
    }

    /// The tag of the stack that lies in `memory`, if it is one of these.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn tag_of<M: StackMemory>(&self, door: Door, memory: &M) -> Option<u32> {
        let place = door.place();
        let set = set_of(place);
        let (places, stacks) = (&self.places[set], &self.stacks[set]);
        for way in 0..WAYS {
            let stack = &stacks[way];
            if places[way] == place
                && (stack.fp == door.fp || !stack.fp_matters)
                && let Some(words) = stack.words.get(..stack.chunks.into())
                && memory.is_unchanged(words)
            {
                return Some(stack.tag);
            }
        }
        None
    }

    /// A walk from `door` has read `words`, outermost first, and found the stack `tag`.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn note(&mut self, door: Door, fp_matters: bool, tag: u32, words: &[Word]) {
        let waiting = &mut self.waiting[set_of(door.place())];
        if waiting.tags.contains(&tag) {
            self.keep(door, fp_matters, tag, words);
        } else {
            waiting.tags[waiting.next as usize % WAITING] = tag;
            waiting.next = waiting.next.wrapping_add(1);
        }
    }

    /// As [`Self::note`], of a stack that was met before.
    #[inline(never)]
    pub(crate) fn keep(&mut self, door: Door, fp_matters: bool, tag: u32, words: &[Word]) {
        if words.len() > Self::MAX_WORDS {
            return;
        }
        let set = set_of(door.place());
        let (places, stacks) = (&mut self.places[set], &mut self.stacks[set]);
        // The same stack, found by words that have changed since.
        let is_known = |&way: &usize| places[way] == door.place() && stacks[way].tag == tag;
        let way = (0..WAYS).find(is_known).unwrap_or_else(|| {
            let next = &mut self.next_ways[set];
            *next = next.wrapping_add(1);
            usize::from(*next) % WAYS
        });
        places[way] = door.place();
        let stack = &mut stacks[way];
        (stack.fp, stack.fp_matters, stack.tag) = (door.fp, fp_matters, tag);
        stack.chunks = words.len().div_ceil(WordChunk::WORDS) as u16;
        let chunks = words.rchunks(WordChunk::WORDS).zip(&mut stack.words);
        chunks.for_each(|(words, chunk)| *chunk = WordChunk::of(words));
    }
}
