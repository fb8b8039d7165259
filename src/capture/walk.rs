//! The walk: from registers to a stack, by unwind rules, with a memo of the
//! thread's last stack.
//!
//! The next frame of a walk is a function of (return address, sp, fp) and of
//! the stack words its rule reads. The memo keeps, for the last stack, each
//! frame's state and every word the walk read. A new walk goes outward by
//! rules until it meets a frame whose state equals a remembered one; if all
//! words that the rest of the walk would read still hold what they held, the
//! rest is the same function of the same inputs, and is taken from the memo.
//! The first word that differs marks how far outward the memo still holds; the
//! walk goes on by rules from there. So a walk with the memo gives exactly what
//! a walk without it gives.
//!
//! Joining starts from the inner end only: matched from the outer end, a stale
//! word of a returned frame could pass for a live one.

use crate::capture::memo::{
    Found, Frame, MEMO_FRAMES, Memo, SIGNAL, SIGNAL_FP, SIGNAL_PC, SIGNAL_SP, SP_WORD, State, TAGS,
    TooDeep, finished, power,
};
use crate::capture::recent_stacks::RecentStacks;
use crate::capture::registers::{Door, Registers};
use crate::capture::rules::{Rule, Rules, SLOT_AT_FP, Step};
use crate::capture::stack_bounds::{StackBounds, mapping_of};
use crate::capture::stack_memory::{FOREIGN_STACK_WINDOW_BYTES, PADS, StackMemory, Word};

/// Stacks other than its own that a thread looks up the bounds of.
const MAX_LOOKUPS: u32 = 64;

/// Why a walk stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Ended {
    /// At the outermost frame, or at the limit of frames to keep.
    #[default]
    Whole,
    /// At code without unwind information, or where a rule led off the stack.
    Truncated,
    /// At unwind information that does not fit into a rule.
    Unfit,
}

/// A captured stack; borrowed from the thread's memo.
#[derive(Debug)]
pub(crate) struct Stack<'a> {
    /// Identifies the stack: a hash of all kept return addresses and their number.
    pub(crate) key: u64,
    /// A second, independent word to tell stacks with equal keys apart.
    pub(crate) check: u32,
    /// Outermost first.
    pub(crate) frames: &'a mut [Frame],
    /// Whether outer frames beyond the limit were left out.
    pub(crate) is_window: bool,
    pub(crate) ended: Ended,
}

/// A thread's memo and scratch space. Some 800 KiB of address space, of which
/// only the pages for the depth really met are ever touched.
pub(crate) struct Walker {
    bounds: StackBounds,
    /// The stack last met that is not the thread's own.
    foreign: StackBounds,
    /// How often such a stack was looked up.
    lookups: u32,
    /// Innermost frames to keep.
    limit: usize,
    /// As [`power`] of `limit`.
    limit_power: u64,
    /// At or below this sp the stack is too deep for the memo; 0 if unknown.
    deep_sp: u64,
    ended: Ended,
    /// Whether the memo's outer end depends on nothing but its outermost
    /// frame and the words that are remembered.
    is_sound: bool,
    /// Whether the function that the last walk began in finds its caller by fp.
    begins_by_fp: bool,
    last: LastWalk,
    recent: RecentStacks,
    memo: Memo,
    /// What the walk under way has found by rules, innermost first.
    fresh: [Found; MEMO_FRAMES],
    /// What the platform's unwinder found.
    addresses: [u64; MEMO_FRAMES],
}

/// Where the last walk started, and what was found out about its stack, as for the
/// [`RecentStacks`], with the memo's words.
#[derive(Clone, Copy, Debug)]
struct LastWalk {
    /// Of its [`Door`].
    place: u64,
    fp: u64,
    /// Whether any frame depends on `fp`.
    fp_matters: bool,
    /// What [`Walker::remember`] was given; 0 if the memo does not stand for
    /// the whole stack of `start`.
    tag: u32,
    /// The end of the memo's words.
    words_end: u32,
}

impl std::fmt::Debug for Walker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Walker")
            .field("bounds", &self.bounds)
            .field("limit", &self.limit)
            .field("len", &self.memo.len())
            .finish_non_exhaustive()
    }
}

impl Walker {
    /// Makes a zeroed walker ready for a thread with this stack. `limit` is
    /// how many of the innermost frames to keep.
    pub(crate) fn reset(&mut self, bounds: StackBounds, limit: usize) {
        self.bounds = bounds;
        self.foreign = StackBounds::default();
        self.lookups = 0;
        self.deep_sp = 0;
        self.set_limit(limit);
    }

    /// Forgets all stacks, and keeps so many frames from now on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, MEMO_FRAMES);
        self.limit_power = power(self.limit);
        self.forget();
    }

    /// Forgets all stacks.
    pub(crate) fn forget(&mut self) {
        self.memo.forget();
        self.last.tag = 0;
        self.recent.forget();
    }

    /// What [`Self::remember`] was told of the stack that lies in `memory`, if that began at
    /// this door and is the last one or a recent one.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn tag_of<M: StackMemory>(&mut self, door: Door, memory: &M) -> Option<u32> {
        if let Some(tag) = self.recent.tag_of(door, memory) {
            return Some(tag);
        }
        let LastWalk {
            place,
            fp,
            fp_matters,
            tag,
            words_end,
        } = self.last;
        if door.place() != place || (door.fp != fp && fp_matters) || tag == 0 {
            return None;
        }
        let words = self.memo.words(words_end)?;
        if memory.unchanged_from(words) != 0 {
            return None;
        }
        let words = &words[PADS..];
        if words.len() <= RecentStacks::MAX_WORDS {
            self.recent.keep(door, fp_matters, tag, words);
        }
        Some(tag)
    }

    /// Keeps `tag`, which is not 0, with the stack just captured. The walk began in the
    /// function whose door this is.
    ///
    /// If that function saved fp on the way from there, its word was not yet written
    /// at the door; but then fp was still its caller's there, and is compared.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn remember(&mut self, door: Door, tag: u32) {
        let Some(innermost) = self.memo.innermost() else {
            return;
        };
        if !self.is_sound || self.ended != Ended::Whole {
            return;
        }
        let fp_matters = innermost.found.fp_matters() || self.begins_by_fp;
        self.last = LastWalk {
            place: door.place(),
            fp: door.fp,
            fp_matters,
            tag,
            words_end: innermost.words_end,
        };
        if let Some(words) = self.memo.words(innermost.words_end) {
            self.recent.note(door, fp_matters, tag, &words[PADS..]);
        }
    }

    pub(crate) fn bounds(&self) -> StackBounds {
        self.bounds
    }

    /// Finds out what stack `sp` is on, which is not within the known bounds
    /// of the thread's own: a part of that one not met before, or another
    /// one, whose bounds are returned.
    #[cold]
    pub(crate) fn locate(&mut self, sp: u64) -> Option<StackBounds> {
        if self.foreign.contains(sp) {
            return Some(self.foreign);
        }
        // A program with more stacks than that would look up all the time.
        let mapping = match self.lookups < MAX_LOOKUPS {
            true => mapping_of(sp),
            false => None,
        };
        if let Some(mapping) = mapping
            && self.bounds.high > 0
            && mapping.contains(self.bounds.high - 1)
        {
            self.bounds.low = self.bounds.low.min(mapping.low);
            return None;
        }
        self.lookups += 1;
        self.foreign = mapping.unwrap_or(StackBounds {
            low: sp,
            high: sp.saturating_add(FOREIGN_STACK_WINDOW_BYTES),
        });
        Some(self.foreign)
    }

    /// The stack at `start`, innermost frame the caller of the function that
    /// `start` lies in. Where our rules do not fit, the one that `platform`
    /// (return addresses, innermost first) finds.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn capture<M: StackMemory, R: Rules>(
        &mut self,
        start: Registers,
        memory: &M,
        rules: &R,
        platform: impl FnOnce(&mut [u64]) -> usize,
    ) -> Stack<'_> {
        self.last.tag = 0;
        if start.sp > self.deep_sp {
            if self.walk(start, memory, rules).is_ok() {
                if self.ended != Ended::Unfit || self.memo.len() > self.limit {
                    return self.stack();
                }
                return self.take_platforms(platform);
            }
            self.deep_sp = start.sp;
        }
        self.capture_foreign(start, memory, rules, platform)
    }

    /// As [`Self::capture`], without the memo: for a stack that is too deep
    /// for it, or not the thread's own.
    #[cold]
    #[inline(never)]
    pub(crate) fn capture_foreign<M: StackMemory, R: Rules>(
        &mut self,
        start: Registers,
        memory: &M,
        rules: &R,
        platform: impl FnOnce(&mut [u64]) -> usize,
    ) -> Stack<'_> {
        self.last.tag = 0;
        match self.walk_window(start, memory, rules) {
            (_, Ended::Unfit) => self.take_platforms(platform),
            (is_window, ended) => self.unmemoized(is_window, ended),
        }
    }

    /// Brings the memo up to date with the whole stack at `start`.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn walk<M: StackMemory, R: Rules>(
        &mut self,
        start: Registers,
        memory: &M,
        rules: &R,
    ) -> Result<(), TooDeep> {
        let (mut sp, mut fp) = (start.sp, start.fp);
        let mut rule = rules.rule_at(start.pc);
        self.begins_by_fp = rule.makes_fp_matter(0) != 0;
        let memo = &mut self.memo;
        let mut places = self.fresh.iter_mut();
        let mut count = 0;
        // The memo's frames that may still be joined.
        let mut older = if self.is_sound { memo.len() } else { 0 };
        loop {
            let place = places.next().ok_or(TooDeep)?;
            let state = match step(rule, sp, fp, memory, place) {
                Ok(state) => state,
                Err(ended) => {
                    memo.clear();
                    self.ended = ended;
                    self.is_sound = rule.ends_every_walk();
                    break;
                }
            };
            (sp, fp) = (state.sp, state.fp);
            older = memo.outward_of(older, sp);
            let Some(onward) = memo.onward_like(older, &state) else {
                rule = rules.rule(state.return_address);
                place.onward = rule;
                count += 1;
                continue;
            };
            let joined = older - 1;
            older = memo.unchanged_from(joined, memory);
            if older == 0 {
                memo.join(joined, place);
                break;
            }
            // Frames inside of `older` are still what they were.
            rule = onward;
            place.onward = rule;
            count += 1;
            for kept in (older..joined).rev() {
                let again = memo.as_found(kept, fp, memory)?;
                (sp, fp, rule) = (again.sp(), again.fp(), again.onward);
                *places.next().ok_or(TooDeep)? = again;
                count += 1;
            }
        }
        self.memo.push(&self.fresh[..count])
    }

    /// The memo's innermost frames, as many as are kept.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn stack(&mut self) -> Stack<'_> {
        let len = self.memo.len();
        let first = len.saturating_sub(self.limit);
        // A window has lost its outer end, however that ended.
        let ended = if first > 0 { Ended::Whole } else { self.ended };
        self.stack_from(first, first > 0, ended)
    }

    /// The memo's frames from `first` on as a stack; there are `limit` of them unless
    /// `first` is 0.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn stack_from(&mut self, first: usize, is_window: bool, ended: Ended) -> Stack<'_> {
        let frames = self.memo.frames();
        let depth = frames.len() - first;
        let (hash, top) = match frames.last() {
            None => (0, 0),
            Some(innermost) => (innermost.prefix_hash(), innermost.return_address()),
        };
        let (outer, kept) = frames.split_at_mut(first);
        let left_out = match outer.last() {
            None => 0,
            Some(frame) => frame.prefix_hash().wrapping_mul(self.limit_power),
        };
        Stack {
            key: finished(hash.wrapping_sub(left_out), depth),
            check: check_word(top, depth),
            frames: kept,
            is_window,
            ended,
        }
    }

    /// Walks by rules alone, no further than the frames to keep, for stacks
    /// that the memo cannot hold or that are not the thread's own.
    #[cold]
    fn walk_window<M: StackMemory, R: Rules>(
        &mut self,
        start: Registers,
        memory: &M,
        rules: &R,
    ) -> (bool, Ended) {
        let (mut sp, mut fp) = (start.sp, start.fp);
        let mut rule = rules.rule_at(start.pc);
        let mut fresh = 0;
        let (is_window, ended) = loop {
            let mut place = Found::of_address(0);
            let state = match step(rule, sp, fp, memory, &mut place) {
                Ok(state) => state,
                Err(ended) => break (false, ended),
            };
            if fresh == self.limit {
                break (true, Ended::Whole);
            }
            (sp, fp) = (state.sp, state.fp);
            rule = rules.rule(state.return_address);
            place.onward = rule;
            self.fresh[fresh] = place;
            fresh += 1;
        };
        self.set_memo(fresh);
        (is_window, ended)
    }

    #[cold]
    fn take_platforms(&mut self, platform: impl FnOnce(&mut [u64]) -> usize) -> Stack<'_> {
        let found = platform(&mut self.addresses).min(MEMO_FRAMES);
        let kept = found.min(self.limit);
        for (fresh, &return_address) in self.fresh.iter_mut().zip(&self.addresses[..kept]) {
            *fresh = Found::of_address(return_address);
        }
        self.set_memo(kept);
        self.unmemoized(kept < found, Ended::Whole)
    }

    /// Puts the first `count` of `fresh` in the place of all that is in the memo.
    fn set_memo(&mut self, count: usize) {
        self.memo.clear();
        // There is room for as many as `fresh` holds.
        let _ = self.memo.push(&self.fresh[..count]);
    }

    /// The frames just put there, which the next walk must not join: the memo's
    /// words do not vouch for them.
    fn unmemoized(&mut self, is_window: bool, ended: Ended) -> Stack<'_> {
        self.is_sound = false;
        self.stack_from(0, is_window, ended)
    }
}

fn check_word(top: u64, depth: usize) -> u32 {
    (top as u32) ^ (depth as u32).rotate_right(12)
}

/// One frame outward from (sp, fp) in the function whose rule is `rule`, unless the walk
/// ends here. What is found is put into `place`, but for how it goes on from there.
#[cfg_attr(not(debug_assertions), inline(always))]
fn step<M: StackMemory>(
    rule: Rule,
    sp: u64,
    fp: u64,
    memory: &M,
    place: &mut Found,
) -> Result<State, Ended> {
    let from = if rule.is_from_sp() {
        sp
    } else if rule.is_from_fp() {
        fp
    } else {
        return rare_step(rule, sp, fp, memory, place);
    };
    let caller_sp = from.wrapping_add_signed(rule.offset());
    let words = memory.return_words(sp, caller_sp, rule.rbp_slot(), fp);
    place.special = 0;
    found(caller_sp, words, place)
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn found(sp: u64, words: Option<(u64, Word)>, place: &mut Found) -> Result<State, Ended> {
    let (return_address, saved) = words.ok_or(Ended::Truncated)?;
    // A null return address is how hand-written code marks the outermost frame.
    if return_address == 0 {
        return Err(Ended::Whole);
    }
    place.returns = Word {
        address: sp.wrapping_sub(8),
        value: return_address,
    };
    place.saved = saved;
    Ok(State {
        return_address,
        sp,
        fp: saved.value,
    })
}

/// As [`step`], by a rule that few functions have.
#[cold]
#[inline(never)]
fn rare_step<M: StackMemory>(
    rule: Rule,
    sp: u64,
    fp: u64,
    memory: &M,
    place: &mut Found,
) -> Result<State, Ended> {
    let (caller_sp, rbp_slot, special) = rare_way(rule, sp, fp, memory)?;
    let words = match special & TAGS {
        SIGNAL => signal_words(sp, memory),
        _ => memory.return_words(sp, caller_sp, rbp_slot, fp),
    };
    place.special = special;
    found(caller_sp, words, place)
}

/// Where the caller's frame begins, in which slot rbp was saved, and what is special.
fn rare_way<M: StackMemory>(
    rule: Rule,
    sp: u64,
    fp: u64,
    memory: &M,
) -> Result<(u64, u32, u64), Ended> {
    let read = |address| memory.word(sp, address).ok_or(Ended::Truncated);
    match rule.unpack() {
        Step::FromFpWord { offset, rbp_slot } => {
            let at = fp.wrapping_add_signed(offset);
            let caller_sp = read(at)?;
            let rbp_slot = match rbp_slot {
                SLOT_AT_FP => (caller_sp.wrapping_sub(fp) / 8) as u32,
                _ => rbp_slot,
            };
            Ok((caller_sp, rbp_slot, at | SP_WORD))
        }
        Step::SignalFrame => {
            let interrupted_sp = read(sp.wrapping_add(SIGNAL_SP))?;
            match memory.may_follow(sp, interrupted_sp) {
                true => Ok((interrupted_sp, 0, sp | SIGNAL)),
                false => Err(Ended::Truncated),
            }
        }
        Step::End => Err(Ended::Whole),
        Step::Unfit => Err(Ended::Unfit),
        _ => Err(Ended::Truncated),
    }
}

/// Where the function that a signal interrupted goes on, and its rbp.
#[cold]
#[inline(never)]
fn signal_words<M: StackMemory>(sp: u64, memory: &M) -> Option<(u64, Word)> {
    let pc = memory.word(sp, sp.wrapping_add(SIGNAL_PC))?;
    let fp = memory.word(sp, sp.wrapping_add(SIGNAL_FP))?;
    // The interrupted instruction itself, not a return to it: one is added because one
    // is taken off every return address.
    Some((pc.wrapping_add(1), Word::unread(fp)))
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
