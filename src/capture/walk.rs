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

use crate::capture::registers::Registers;
use crate::capture::rules::{Rule, Rules, Step};
use crate::capture::stack_memory::{StackBounds, StackMemory};

/// Stacks up to this many frames are memoized; of deeper ones only the window
/// that is kept is walked.
pub(crate) const MEMO_FRAMES: usize = 4096;

/// A rule reads at most three words: a signal frame's pc, sp and rbp.
const WORDS_A_FRAME: usize = 3;

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
pub(crate) struct Frame {
    state: State,
    /// Of this frame's return address and all outer ones.
    prefix_hash: u64,
    /// How many of the memo's words belong to this frame and the outer ones.
    words_end: u32,
    /// Where `record` keeps this frame in its stack tree; 0 if not yet asked.
    /// Holds only for a stack that is kept whole.
    pub(crate) node: u32,
}

impl Frame {
    pub(crate) fn return_address(&self) -> u64 {
        self.state.return_address
    }
}

/// The registers just after a return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    return_address: u64,
    sp: u64,
    fp: u64,
}

#[derive(Clone, Copy, Debug)]
struct Word {
    address: u64,
    value: u64,
}

/// A frame found by rules in the walk under way.
#[derive(Clone, Copy, Debug)]
struct FreshFrame {
    state: State,
    words: [Word; WORDS_A_FRAME],
    word_count: u32,
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
    /// Innermost frames to keep.
    limit: usize,
    /// `HASH_BASE` to the power of `limit`.
    limit_power: u64,
    /// At or below this sp the stack is too deep for the memo; 0 if unknown.
    deep_sp: u64,
    /// The memo: the last stack's frames, outermost first.
    len: usize,
    ended: Ended,
    frames: [Frame; MEMO_FRAMES],
    words: [Word; MEMO_FRAMES * WORDS_A_FRAME],
    fresh: [FreshFrame; MEMO_FRAMES],
    /// What the platform's unwinder found.
    addresses: [u64; MEMO_FRAMES],
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

#[inline(always)]
fn mixed(address: u64) -> u64 {
    let product = address.wrapping_mul(HASH_MIX);
    product ^ (product >> 32)
}

#[inline(always)]
fn extend(hash: u64, address: u64) -> u64 {
    hash.wrapping_mul(HASH_BASE).wrapping_add(mixed(address))
}

/// Spreads a polynomial hash over all bits (its low bits depend on the low
/// bits of the addresses alone).
#[inline(always)]
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
        self.set_limit(limit);
        self.len = 0;
        self.deep_sp = 0;
    }

    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit.clamp(1, MEMO_FRAMES);
        self.limit_power = (0..self.limit).fold(1, |power: u64, _| power.wrapping_mul(HASH_BASE));
        // Node numbers are of the stack tree in force when they were asked for.
        self.len = 0;
    }

    pub(crate) fn bounds(&self) -> StackBounds {
        self.bounds
    }

    /// The stack at `start`, innermost frame the caller of the function that
    /// `start` lies in. Where our rules do not fit, the one that `platform`
    /// (return addresses, innermost first) finds.
    #[inline]
    pub(crate) fn capture<M: StackMemory, R: Rules>(
        &mut self,
        start: Registers,
        memory: &M,
        rules: &R,
        platform: impl FnOnce(&mut [u64]) -> usize,
    ) -> Stack<'_> {
        if self.bounds.contains(start.sp) && start.sp > self.deep_sp {
            if self.walk(start, memory, rules).is_ok() {
                if self.ended != Ended::Unfit || self.len > self.limit {
                    return self.stack();
                }
                return self.from_platform(platform);
            }
            self.deep_sp = start.sp;
        }
        match self.walk_window(start, memory, rules) {
            (_, Ended::Unfit) => self.from_platform(platform),
            (is_window, ended) => self.unmemoized(is_window, ended),
        }
    }

    /// Brings the memo up to date with the whole stack at `start`.
    #[inline(always)]
    fn walk<M: StackMemory, R: Rules>(
        &mut self,
        start: Registers,
        memory: &M,
        rules: &R,
    ) -> Result<(), TooDeep> {
        let mut state = State {
            return_address: 0,
            sp: start.sp,
            fp: start.fp,
        };
        let mut rule = rules.rule_at(start.pc);
        let mut fresh = 0;
        // The memo's frames from here outward may still be joined.
        let mut candidates = self.len;
        loop {
            let found = match step(rule, state, memory) {
                Ok(found) => found,
                Err(ended) => {
                    self.len = 0;
                    self.ended = ended;
                    break;
                }
            };
            state = found.state;
            while candidates > 0 && self.frames[candidates - 1].state.sp < state.sp {
                candidates -= 1;
            }
            if candidates > 0 && self.frames[candidates - 1].state == state {
                let joined = candidates - 1;
                let holds_from = self.unchanged_from(joined, memory);
                if holds_from == 0 {
                    self.replace_words(joined, &found);
                    break;
                }
                // Frames inside of `holds_from` are still what they were.
                if fresh + 1 + (joined - holds_from) >= MEMO_FRAMES {
                    return Err(TooDeep);
                }
                self.fresh[fresh] = found;
                fresh += 1;
                for kept in (holds_from..joined).rev() {
                    self.fresh[fresh] = self.as_fresh(kept);
                    fresh += 1;
                }
                state = self.fresh[fresh - 1].state;
                candidates = holds_from;
            } else {
                if fresh + 1 >= MEMO_FRAMES {
                    return Err(TooDeep);
                }
                self.fresh[fresh] = found;
                fresh += 1;
            }
            rule = rules.rule(state.return_address);
        }
        if self.len + fresh > MEMO_FRAMES {
            return Err(TooDeep);
        }
        for index in (0..fresh).rev() {
            let found = self.fresh[index];
            self.push(&found);
        }
        Ok(())
    }

    /// The outermost memo frame from `joined` outward such that it and all
    /// between would be found again: 0 if every word still holds.
    #[inline]
    fn unchanged_from<M: StackMemory>(&self, joined: usize, memory: &M) -> usize {
        let Some(outer) = joined.checked_sub(1) else {
            return 0;
        };
        let mut word = self.frames[outer].words_end as usize;
        while word > 0 {
            let Word { address, value } = self.words[word - 1];
            if memory.word(address) != Some(value) {
                break;
            }
            word -= 1;
        }
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

    /// Cuts the memo after `joined`, which was reached by `found`'s words.
    #[inline]
    fn replace_words(&mut self, joined: usize, found: &FreshFrame) {
        self.len = joined + 1;
        let start = match joined {
            0 => 0,
            _ => self.frames[joined - 1].words_end as usize,
        };
        self.frames[joined].words_end = self.write_words(start, found);
    }

    #[inline]
    fn write_words(&mut self, start: usize, found: &FreshFrame) -> u32 {
        let count = found.word_count as usize;
        self.words[start..start + count].copy_from_slice(&found.words[..count]);
        (start + count) as u32
    }

    #[inline]
    fn push(&mut self, found: &FreshFrame) {
        let (hash, words_start) = match self.len {
            0 => (0, 0),
            len => {
                let outer = &self.frames[len - 1];
                (outer.prefix_hash, outer.words_end as usize)
            }
        };
        let words_end = self.write_words(words_start, found);
        self.frames[self.len] = Frame {
            state: found.state,
            prefix_hash: extend(hash, found.state.return_address),
            words_end,
            node: 0,
        };
        self.len += 1;
    }

    /// A memo frame that holds, in the form of a frame just found.
    fn as_fresh(&self, index: usize) -> FreshFrame {
        let frame = &self.frames[index];
        let start = match index {
            0 => 0,
            _ => self.frames[index - 1].words_end as usize,
        };
        let end = frame.words_end as usize;
        let mut words = [Word {
            address: 0,
            value: 0,
        }; WORDS_A_FRAME];
        words[..end - start].copy_from_slice(&self.words[start..end]);
        FreshFrame {
            state: frame.state,
            words,
            word_count: (end - start) as u32,
        }
    }

    #[inline]
    fn stack(&mut self) -> Stack<'_> {
        let len = self.len;
        let first = len.saturating_sub(self.limit);
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
            _ => self.frames[len - 1].state.return_address,
        };
        Stack {
            key: finished(hash, depth),
            check: check_word(top, depth),
            frames: &mut self.frames[first..len],
            is_window: first > 0,
            // A window has lost its outer end, however that ended.
            ended: if first > 0 { Ended::Whole } else { self.ended },
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
        let mut state = State {
            return_address: 0,
            sp: start.sp,
            fp: start.fp,
        };
        let mut rule = rules.rule_at(start.pc);
        let mut ended = Ended::Whole;
        let mut fresh = 0;
        let mut more = true;
        while more {
            match step(rule, state, memory) {
                Ok(_) if fresh == self.limit => break,
                Ok(found) => {
                    state = found.state;
                    self.fresh[fresh] = found;
                    fresh += 1;
                    rule = rules.rule(state.return_address);
                }
                Err(why) => {
                    ended = why;
                    more = false;
                }
            }
        }
        self.len = 0;
        for index in (0..fresh).rev() {
            let found = self.fresh[index];
            self.push(&found);
        }
        (more, ended)
    }

    #[cold]
    fn from_platform(&mut self, platform: impl FnOnce(&mut [u64]) -> usize) -> Stack<'_> {
        let found = platform(&mut self.addresses).min(MEMO_FRAMES);
        let kept = found.min(self.limit);
        self.len = 0;
        for index in (0..kept).rev() {
            let return_address = self.addresses[index];
            self.push(&FreshFrame {
                state: State {
                    return_address,
                    sp: 0,
                    fp: 0,
                },
                words: [Word {
                    address: 0,
                    value: 0,
                }; WORDS_A_FRAME],
                word_count: 0,
            });
        }
        self.unmemoized(kept < found, Ended::Whole)
    }

    /// The frames just pushed, which the next walk must not join: the memo's
    /// words do not vouch for them.
    fn unmemoized(&mut self, is_window: bool, ended: Ended) -> Stack<'_> {
        let len = std::mem::take(&mut self.len);
        let (hash, top) = match len {
            0 => (0, 0),
            _ => (
                self.frames[len - 1].prefix_hash,
                self.frames[len - 1].state.return_address,
            ),
        };
        Stack {
            key: finished(hash, len),
            check: check_word(top, len),
            frames: &mut self.frames[..len],
            is_window,
            ended,
        }
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

/// One frame outward from `state`, whose function's rule is `rule`.
#[inline(always)]
fn step<M: StackMemory>(rule: Rule, state: State, memory: &M) -> Result<FreshFrame, Ended> {
    let none = Word {
        address: 0,
        value: 0,
    };
    let read = |address: u64| {
        let value = memory.word(address).ok_or(Ended::Truncated)?;
        Ok(Word { address, value })
    };
    let (cfa, rbp_slot, cfa_word) = match rule.unpack() {
        Step::FromSp { offset, rbp_slot } => (state.sp.wrapping_add_signed(offset), rbp_slot, none),
        Step::FromFp { offset, rbp_slot } => (state.fp.wrapping_add_signed(offset), rbp_slot, none),
        Step::FromFpWord { offset, rbp_slot } => {
            let word = read(state.fp.wrapping_add_signed(offset))?;
            (word.value, rbp_slot, word)
        }
        Step::SignalFrame => return signal_step(state, memory),
        Step::End => return Err(Ended::Whole),
        Step::NoInformation => return Err(Ended::Truncated),
        Step::Unfit => return Err(Ended::Unfit),
    };
    if !memory.may_follow(state.sp, cfa) {
        return Err(Ended::Truncated);
    }
    let return_word = read(cfa.wrapping_sub(8))?;
    // A null return address is how hand-written code marks the outermost frame.
    if return_word.value == 0 {
        return Err(Ended::Whole);
    }
    let mut words = [return_word, none, none];
    let mut word_count = 1;
    let mut fp = state.fp;
    if rbp_slot != 0 {
        let saved = read(cfa.wrapping_sub(8 * u64::from(rbp_slot)))?;
        words[1] = saved;
        word_count = 2;
        fp = saved.value;
    }
    if cfa_word.address != 0 {
        words[word_count] = cfa_word;
        word_count += 1;
    }
    Ok(FreshFrame {
        state: State {
            return_address: return_word.value,
            sp: cfa,
            fp,
        },
        words,
        word_count: word_count as u32,
    })
}

#[cold]
fn signal_step<M: StackMemory>(state: State, memory: &M) -> Result<FreshFrame, Ended> {
    let read = |offset: u64| {
        let address = state.sp.wrapping_add(offset);
        let value = memory.word(address).ok_or(Ended::Truncated)?;
        Ok(Word { address, value })
    };
    let (pc, sp, fp) = (read(SIGNAL_PC)?, read(SIGNAL_SP)?, read(SIGNAL_FP)?);
    if !memory.may_follow(state.sp, sp.value) {
        return Err(Ended::Truncated);
    }
    Ok(FreshFrame {
        state: State {
            // The interrupted instruction itself, not a return to it: one is
            // added because one is taken off every return address.
            return_address: pc.value.wrapping_add(1),
            sp: sp.value,
            fp: fp.value,
        },
        words: [pc, sp, fp],
        word_count: 3,
    })
}
