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
//! A frame's fp matters only if a frame further out is found by it before another
//! restores fp from the stack. Where it does not, the word that it was read from is
//! not an input, and is neither remembered nor compared: in code without frame
//! pointers that is half of all words.
//!
//! Joining starts from the inner end only: matched from the outer end, a stale
//! word of a returned frame could pass for a live one.

use crate::capture::recent_stacks::RecentStacks;
use crate::capture::registers::{Door, Registers};
use crate::capture::rules::{Rule, Rules, SLOT_AT_FP, Step};
use crate::capture::stack_bounds::{StackBounds, mapping_of};
use crate::capture::stack_memory::{FOREIGN_STACK_WINDOW_BYTES, PADS, StackMemory, Word};

/// Stacks up to this many frames are memoized; of deeper ones only the window
/// that is kept is walked.
pub(crate) const MEMO_FRAMES: usize = 4096;

/// Stacks other than its own that a thread looks up the bounds of.
const MAX_LOOKUPS: u32 = 64;

/// A rule reads at most three words: a signal frame's pc, sp and rbp.
const MEMO_WORDS: usize = PADS + (MEMO_FRAMES + 1) * 3;

/// The stack has more frames than the memo can hold.
struct TooDeep;

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

/// A frame of the last stack. Zeroed memory is a valid, unused frame.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(crate) struct Frame {
    found: FreshFrame,
    /// Of this frame's return address and all outer ones.
    prefix_hash: u64,
    /// The end of this frame's words among the memo's; those of the outer ones lie
    /// before them.
    words_end: u32,
    /// Where `record` keeps this frame in its stack tree; 0 if not yet asked.
    /// Holds only for a stack that is kept whole.
    pub(crate) node: u32,
}

impl Frame {
    /// Whether a walk that comes to `state` goes on as from this frame, the
    /// same stack words given.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn leads_on_like(&self, state: &State) -> bool {
        let own = &self.found.state;
        own.sp == state.sp
            && own.return_address == state.return_address
            && (own.fp == state.fp || !self.found.fp_matters)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn return_address(&self) -> u64 {
        self.found.state.return_address
    }

    /// Of the path from the outermost frame to this one, as [`extend`] makes it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn prefix_hash(&self) -> u64 {
        self.prefix_hash
    }
}

/// The registers just after a return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    return_address: u64,
    sp: u64,
    fp: u64,
}

/// A frame found by rules in the walk under way, and where its state was read.
#[derive(Clone, Copy, Debug, Default)]
struct FreshFrame {
    state: State,
    /// Where `fp` was saved; 0 if it is unchanged.
    fp_at: u64,
    /// What the rule of the function returned to, which finds the next frame
    /// outward, does with `state.fp`.
    onward: Onward,
    /// Whether the frames further out depend on `state.fp`. Known once the frame is in
    /// the memo.
    fp_matters: bool,
    /// 0 for most frames: their return address lies just below `sp`. Else one
    /// of the tags below, on the address that it says.
    special: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
enum Onward {
    /// Nothing: it restores another one, or there is no next frame.
    #[default]
    Forgets = 0,
    /// It passes it on.
    Keeps = 1,
    /// The next frame is found by it.
    Uses = 2,
}

impl Onward {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn of(rule: Rule) -> Self {
        if rule.is_from_sp() {
            return match rule.rbp_slot() {
                0 => Self::Keeps,
                _ => Self::Forgets,
            };
        }
        match rule.unpack() {
            Step::FromFp { .. } | Step::FromFpWord { .. } => Self::Uses,
            _ => Self::Forgets,
        }
    }

    /// Whether fp matters, if it does or does not one frame further out.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn matters(self, further_out: bool) -> bool {
        self as u8 & (Self::Uses as u8 | u8::from(further_out)) != 0
    }
}

/// The frame's sp was read at this address.
const SP_WORD: u64 = 1;
/// The frame's registers were read from the signal frame at this address.
const SIGNAL: u64 = 2;
const TAGS: u64 = 7;

impl FreshFrame {
    /// Writes the words that the frame was found by to `words[start..]`.
    /// Returns the index behind the last.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn write_words(&self, fp_matters: bool, words: &mut [Word; MEMO_WORDS], start: u32) -> u32 {
        let State {
            return_address,
            sp,
            fp,
        } = self.state;
        if self.special != 0 {
            return self.write_special_words(fp_matters, words, start);
        }
        let place = start as usize;
        // There is room for three of each frame.
        if let Some([word, fp_word]) = words.get_mut(place..place + 2) {
            *word = Word {
                address: sp.wrapping_sub(8),
                value: return_address,
            };
            *fp_word = Word {
                address: self.fp_at,
                value: fp,
            };
        }
        start + 1 + u32::from(fp_matters & (self.fp_at != 0))
    }

    #[cold]
    fn write_special_words(
        &self,
        fp_matters: bool,
        words: &mut [Word; MEMO_WORDS],
        start: u32,
    ) -> u32 {
        let State {
            return_address,
            sp,
            fp,
        } = self.state;
        let at = self.special & !TAGS;
        let place = start as usize;
        if self.special & TAGS == SIGNAL {
            words[place] = Word {
                address: at + SIGNAL_PC,
                value: return_address.wrapping_sub(1),
            };
            words[place + 1] = Word {
                address: at + SIGNAL_SP,
                value: sp,
            };
            words[place + 2] = Word {
                address: at + SIGNAL_FP,
                value: fp,
            };
            return start + 3;
        }
        words[place] = Word {
            address: at,
            value: sp,
        };
        let ordinary = Self {
            special: 0,
            ..*self
        };
        ordinary.write_words(fp_matters, words, start + 1)
    }
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
    /// `HASH_BASE` to the power of `limit`.
    limit_power: u64,
    /// At or below this sp the stack is too deep for the memo; 0 if unknown.
    deep_sp: u64,
    /// The memo: the last stack's frames, outermost first.
    len: usize,
    ended: Ended,
    /// Whether the memo's outer end depends on nothing but its outermost
    /// frame and the words that are remembered.
    is_sound: bool,
    /// Whether the function that the last walk began in finds its caller by fp.
    begins_by_fp: bool,
    last: LastWalk,
    recent: RecentStacks,
    frames: [Frame; MEMO_FRAMES],
    words: [Word; MEMO_WORDS],
    fresh: [FreshFrame; MEMO_FRAMES],
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
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

const HASH_BASE: u64 = 0x9E37_79B9_7F4A_7C15;
const HASH_MIX: u64 = 0xD6E8_FEB8_6659_FD93;

#[cfg_attr(not(debug_assertions), inline(always))]
fn mixed(address: u64) -> u64 {
    let product = address.wrapping_mul(HASH_MIX);
    product ^ (product >> 32)
}

/// The hash of a path of frames with one more inside of it. That of none is 0.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn extend(hash: u64, address: u64) -> u64 {
    hash.wrapping_mul(HASH_BASE).wrapping_add(mixed(address))
}

/// Spreads a polynomial hash over all bits (its low bits depend on the low
/// bits of the addresses alone).
#[cfg_attr(not(debug_assertions), inline(always))]
fn finished(hash: u64, depth: usize) -> u64 {
    let hash = (hash ^ depth as u64).wrapping_mul(HASH_MIX);
    let hash = (hash ^ (hash >> 32)).wrapping_mul(HASH_BASE);
    hash ^ (hash >> 29)
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
        self.limit_power = (0..self.limit).fold(1, |power: u64, _| power.wrapping_mul(HASH_BASE));
        self.forget();
    }

    /// Forgets all stacks.
    pub(crate) fn forget(&mut self) {
        self.words[..PADS].fill(Word::pad());
        self.len = 0;
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
        let words = self.words.get(..words_end as usize)?;
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
        let Some(innermost) = self.frames[..self.len].last() else {
            return;
        };
        if !self.is_sound || self.ended != Ended::Whole {
            return;
        }
        let fp_matters = innermost.found.fp_matters || self.begins_by_fp;
        self.last = LastWalk {
            place: door.place(),
            fp: door.fp,
            fp_matters,
            tag,
            words_end: innermost.words_end,
        };
        if let Some(words) = self.words.get(PADS..innermost.words_end as usize) {
            self.recent.note(door, fp_matters, tag, words);
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
                if self.ended != Ended::Unfit || self.len > self.limit {
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
        self.begins_by_fp = Onward::of(rule) == Onward::Uses;
        let mut fresh = 0;
        // The memo's frames that may still be joined.
        let mut older = match self.is_sound {
            true => &self.frames[..self.len],
            false => &[],
        };
        loop {
            let Some(place) = self.fresh.get_mut(fresh) else {
                return Err(TooDeep);
            };
            let found = match step(rule, sp, fp, memory) {
                Ok(found) => found,
                Err(ended) => {
                    self.len = 0;
                    self.ended = ended;
                    self.is_sound = rule.ends_every_walk();
                    break;
                }
            };
            *place = found;
            (sp, fp) = (found.state.sp, found.state.fp);
            while let [further_out @ .., frame] = older
                && frame.found.state.sp < sp
            {
                older = further_out;
            }
            let mut outermost = fresh;
            let mut return_address = found.state.return_address;
            if let [further_out @ .., frame] = older
                && frame.leads_on_like(&found.state)
            {
                let joined = further_out.len();
                place.onward = frame.found.onward;
                let holds_from = self.unchanged_from(joined, memory);
                if holds_from == 0 {
                    self.join(joined, fresh);
                    break;
                }
                // Frames inside of `holds_from` are still what they were.
                if fresh + (joined - holds_from) >= MEMO_FRAMES {
                    return Err(TooDeep);
                }
                for kept in (holds_from..joined).rev() {
                    let again = self.as_fresh(kept, fp, memory)?;
                    (sp, fp) = (again.state.sp, again.state.fp);
                    return_address = again.state.return_address;
                    outermost += 1;
                    self.fresh[outermost] = again;
                }
                older = &self.frames[..holds_from];
            }
            rule = rules.rule(return_address);
            self.fresh[outermost].onward = Onward::of(rule);
            fresh = outermost + 1;
        }
        if self.len + fresh > MEMO_FRAMES {
            return Err(TooDeep);
        }
        self.push_fresh(fresh);
        Ok(())
    }

    /// The outermost memo frame from `joined` outward such that it and all
    /// between would be found again: 0 if every word still holds.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn unchanged_from<M: StackMemory>(&self, joined: usize, memory: &M) -> usize {
        let Some(outer) = joined.checked_sub(1) else {
            return 0;
        };
        // `step` takes no word below the sp it starts from, so all of these
        // lie outward of the joined frame.
        let words = &self.words[..self.frames[outer].words_end as usize];
        let word = memory.unchanged_from(words);
        if word == 0 {
            return 0;
        }
        // `words[word - 1]` led to the innermost frame that is no longer
        // there; the frame inside of that one is the last that holds.
        let mut changed = outer;
        while changed > 0 && self.frames[changed - 1].words_end as usize >= word {
            changed -= 1;
        }
        changed + 1
    }

    /// Cuts the memo after `joined`, which is the same frame as `fresh[found]`
    /// and may have been reached by other words.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn join(&mut self, joined: usize, found: usize) {
        self.len = joined + 1;
        let start = self.words_start(joined);
        let (found, frame) = (&self.fresh[found], &mut self.frames[joined]);
        let fp_matters = frame.found.fp_matters;
        frame.words_end = found.write_words(fp_matters, &mut self.words, start);
        frame.found = FreshFrame {
            fp_matters,
            ..*found
        };
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn words_start(&self, index: usize) -> u32 {
        match index {
            0 => PADS as u32,
            _ => self.frames[index - 1].words_end,
        }
    }

    /// Puts the first `count` frames of `fresh`, innermost first there, onto
    /// the memo, which has room for them.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn push_fresh(&mut self, count: usize) {
        let first = self.len;
        let (mut hash, mut words_end, mut fp_matters) = match self.frames[..first].last() {
            None => (0, PADS as u32, false),
            Some(outer) => (outer.prefix_hash, outer.words_end, outer.found.fp_matters),
        };
        let fresh = self.fresh[..count].iter().rev();
        for (frame, found) in self.frames[first..first + count].iter_mut().zip(fresh) {
            fp_matters = found.onward.matters(fp_matters);
            hash = extend(hash, found.state.return_address);
            words_end = found.write_words(fp_matters, &mut self.words, words_end);
            *frame = Frame {
                found: FreshFrame {
                    fp_matters,
                    ..*found
                },
                prefix_hash: hash,
                words_end,
                node: 0,
            };
        }
        self.len = first + count;
    }

    /// A memo frame that holds, in the form of a frame just found. Its fp may
    /// not have mattered, and matter now: it is found again, from where it
    /// was saved or from the frame inside of it.
    #[cfg_attr(heapledger_exact, inline(always))]
    fn as_fresh<M: StackMemory>(
        &self,
        index: usize,
        inner_fp: u64,
        memory: &M,
    ) -> Result<FreshFrame, TooDeep> {
        let found = self.frames[index].found;
        let fp = match (found.fp_at, found.special & TAGS) {
            (_, SIGNAL) => found.state.fp,
            (0, _) => inner_fp,
            (fp_at, _) => memory.word(fp_at, fp_at).ok_or(TooDeep)?,
        };
        Ok(FreshFrame {
            state: State { fp, ..found.state },
            ..found
        })
    }

    /// The memo's innermost frames, as many as are kept.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn stack(&mut self) -> Stack<'_> {
        let len = self.len;
        let first = len.saturating_sub(self.limit);
        // A window has lost its outer end, however that ended.
        let ended = if first > 0 { Ended::Whole } else { self.ended };
        self.stack_of(first, len, first > 0, ended)
    }

    /// The frames `first..len` as a stack; there are `limit` of them unless
    /// `first` is 0.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn stack_of(&mut self, first: usize, len: usize, is_window: bool, ended: Ended) -> Stack<'_> {
        let depth = len - first;
        let hash = match (len, first) {
            (0, _) => 0,
            (_, 0) => self.frames[len - 1].prefix_hash,
            (_, _) => self.frames[len - 1].prefix_hash.wrapping_sub(
                self.frames[first - 1]
                    .prefix_hash
                    .wrapping_mul(self.limit_power),
            ),
        };
        let top = match len {
            0 => 0,
            _ => self.frames[len - 1].return_address(),
        };
        Stack {
            key: finished(hash, depth),
            check: check_word(top, depth),
            frames: &mut self.frames[first..len],
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
            let found = match step(rule, sp, fp, memory) {
                Ok(found) => found,
                Err(ended) => break (false, ended),
            };
            if fresh == self.limit {
                break (true, Ended::Whole);
            }
            self.fresh[fresh] = found;
            fresh += 1;
            (sp, fp) = (found.state.sp, found.state.fp);
            rule = rules.rule(found.state.return_address);
        };
        self.len = 0;
        self.push_fresh(fresh);
        (is_window, ended)
    }

    #[cold]
    fn take_platforms(&mut self, platform: impl FnOnce(&mut [u64]) -> usize) -> Stack<'_> {
        let found = platform(&mut self.addresses).min(MEMO_FRAMES);
        let kept = found.min(self.limit);
        self.len = 0;
        for (fresh, &return_address) in self.fresh.iter_mut().zip(&self.addresses[..kept]) {
            *fresh = FreshFrame::default();
            fresh.state.return_address = return_address;
        }
        self.push_fresh(kept);
        self.unmemoized(kept < found, Ended::Whole)
    }

    /// The frames just pushed, which the next walk must not join: the memo's
    /// words do not vouch for them.
    fn unmemoized(&mut self, is_window: bool, ended: Ended) -> Stack<'_> {
        let len = std::mem::take(&mut self.len);
        self.stack_of(0, len, is_window, ended)
    }
}

fn check_word(top: u64, depth: usize) -> u32 {
    (top as u32) ^ (depth as u32).rotate_right(12)
}

/// Offsets from the stack pointer in the kernel's `__restore_rt` frame
/// (`struct ucontext` at sp, general registers at 40 in it) to the
/// interrupted rbp, rsp and rip.
const SIGNAL_FP: u64 = 120;
const SIGNAL_SP: u64 = 160;
const SIGNAL_PC: u64 = 168;

/// One frame outward from (sp, fp) in the function whose rule is `rule`, unless the walk
/// ends here.
#[cfg_attr(not(debug_assertions), inline(always))]
fn step<M: StackMemory>(rule: Rule, sp: u64, fp: u64, memory: &M) -> Result<FreshFrame, Ended> {
    let (caller_sp, rbp_slot, special) = if rule.is_from_sp() {
        (sp.wrapping_add_signed(rule.offset()), rule.rbp_slot(), 0)
    } else if rule.is_from_fp() {
        (fp.wrapping_add_signed(rule.offset()), rule.rbp_slot(), 0)
    } else {
        rare_way(rule, sp, fp, memory)?
    };
    let words = match special & TAGS {
        SIGNAL => signal_words(sp, memory),
        _ => memory.return_words(sp, caller_sp, rbp_slot),
    };
    let Some((return_address, saved)) = words else {
        return Err(Ended::Truncated);
    };
    // A null return address is how hand-written code marks the outermost frame.
    if return_address == 0 {
        return Err(Ended::Whole);
    }
    let saved_at = caller_sp.wrapping_sub(8 * u64::from(rbp_slot));
    let (fp, fp_at) = match (rbp_slot, special & TAGS) {
        (_, SIGNAL) => (saved, 0),
        (0, _) => (fp, 0),
        _ => (saved, saved_at),
    };
    Ok(FreshFrame {
        state: State {
            return_address,
            sp: caller_sp,
            fp,
        },
        fp_at,
        onward: Onward::Forgets,
        fp_matters: false,
        special,
    })
}

/// By a rule that few functions have: where the caller's frame begins, in which slot rbp was
/// saved, and what is special.
#[cold]
#[inline(never)]
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
fn signal_words<M: StackMemory>(sp: u64, memory: &M) -> Option<(u64, u64)> {
    let pc = memory.word(sp, sp.wrapping_add(SIGNAL_PC))?;
    let fp = memory.word(sp, sp.wrapping_add(SIGNAL_FP))?;
    // The interrupted instruction itself, not a return to it: one is added because one
    // is taken off every return address.
    Some((pc.wrapping_add(1), fp))
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
