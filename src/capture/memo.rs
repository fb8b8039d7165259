//! The memo of a thread's last stack: its frames, and every stack word that they were found by.
//!
//! A frame's fp matters only if a frame further out is found by it before another
//! restores fp from the stack. Where it does not, the word that it was read from is
//! not an input, and is neither remembered nor compared: in code without frame
//! pointers that is half of all words.

use crate::capture::rules::Rule;
use crate::capture::stack_memory::{PADS, StackMemory, Word};

/// Stacks up to this many frames are memoized; of deeper ones only the window
/// that is kept is walked.
pub(crate) const MEMO_FRAMES: usize = 4096;

/// A rule reads at most three words: a signal frame's pc, sp and rbp.
const MEMO_WORDS: usize = PADS + (MEMO_FRAMES + 1) * 3;

/// The stack has more frames than the memo can hold.
pub(super) struct TooDeep;

/// A frame of the last stack. Zeroed memory is a valid, unused frame.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Frame {
    pub(super) found: Found,
    /// Of this frame's return address and all outer ones.
    prefix_hash: u64,
    /// The end of this frame's words among the memo's; those of the outer ones lie
    /// before them.
    pub(super) words_end: u32,
    /// Where `record` keeps this frame in its stack tree; 0 if not yet asked.
    /// Holds only for a stack that is kept whole.
    pub(crate) node: u32,
}

impl Frame {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn return_address(&self) -> u64 {
        self.found.returns.value
    }

    /// Of the path from the outermost frame to this one, as [`extend`] makes it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn prefix_hash(&self) -> u64 {
        self.prefix_hash
    }
}

/// The registers just after a return.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) return_address: u64,
    pub(super) sp: u64,
    pub(super) fp: u64,
}

/// The registers just after a return to a frame's function, and where they were read, in the form
/// of the words that the memo keeps.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Found {
    /// The return address; for most frames it was read there, just below sp.
    pub(super) returns: Word,
    /// fp, and where it was saved: 0 if it is unchanged.
    pub(super) saved: Word,
    /// 0 for most frames. Else one of the tags below, on the address that it says.
    pub(super) special: u64,
    /// Of the function returned to; finds the next frame outward.
    pub(super) onward: Rule,
    /// 1 if the frames further out depend on fp, else 0. Known once the frame is in the memo.
    fp_matters: u32,
}

/// The frame's sp was read at this address.
pub(super) const SP_WORD: u64 = 1;
/// The frame's registers were read from the signal frame at this address.
pub(super) const SIGNAL: u64 = 2;
pub(super) const TAGS: u64 = 7;

/// Offsets from the stack pointer in the kernel's `__restore_rt` frame
/// (`struct ucontext` at sp, general registers at 40 in it) to the
/// interrupted rbp, rsp and rip.
pub(super) const SIGNAL_FP: u64 = 120;
pub(super) const SIGNAL_SP: u64 = 160;
pub(super) const SIGNAL_PC: u64 = 168;

impl Found {
    pub(super) fn of_address(return_address: u64) -> Self {
        Self {
            returns: Word::unread(return_address),
            saved: Word::unread(0),
            special: 0,
            onward: Rule::END,
            fp_matters: 0,
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn sp(&self) -> u64 {
        self.returns.address.wrapping_add(8)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn fp_matters(&self) -> bool {
        self.fp_matters != 0
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn fp(&self) -> u64 {
        self.saved.value
    }

    /// Writes the words that the frame was found by to `words[start..]`.
    /// Returns the index behind the last.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn write_words(&self, fp_matters: u32, words: &mut [Word; MEMO_WORDS], start: u32) -> u32 {
        if self.special != 0 {
            return self.write_special_words(fp_matters, words, start);
        }
        let place = start as usize;
        // There is room for three of each frame.
        if let Some([word, fp_word]) = words.get_mut(place..place + 2) {
            (*word, *fp_word) = (self.returns, self.saved);
        }
        start + 1 + (fp_matters & u32::from(self.saved.address != 0))
    }

    #[cold]
    #[inline(never)]
    fn write_special_words(
        &self,
        fp_matters: u32,
        words: &mut [Word; MEMO_WORDS],
        start: u32,
    ) -> u32 {
        let at = self.special & !TAGS;
        let place = start as usize;
        if self.special & TAGS == SIGNAL {
            words[place] = Word {
                address: at + SIGNAL_PC,
                value: self.returns.value.wrapping_sub(1),
            };
            words[place + 1] = Word {
                address: at + SIGNAL_SP,
                value: self.sp(),
            };
            words[place + 2] = Word {
                address: at + SIGNAL_FP,
                value: self.fp(),
            };
            return start + 3;
        }
        words[place] = Word {
            address: at,
            value: self.sp(),
        };
        let ordinary = Self {
            special: 0,
            ..*self
        };
        ordinary.write_words(fp_matters, words, start + 1)
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

/// `HASH_BASE` to the power of `frames`.
pub(super) fn power(frames: usize) -> u64 {
    (0..frames).fold(1, |power: u64, _| power.wrapping_mul(HASH_BASE))
}

/// Spreads a polynomial hash over all bits (its low bits depend on the low
/// bits of the addresses alone).
#[cfg_attr(not(debug_assertions), inline(always))]
pub(super) fn finished(hash: u64, depth: usize) -> u64 {
    let hash = (hash ^ depth as u64).wrapping_mul(HASH_MIX);
    let hash = (hash ^ (hash >> 32)).wrapping_mul(HASH_BASE);
    hash ^ (hash >> 29)
}

/// Zeroed memory is an empty memo, once [`Memo::forget`] was called.
pub(super) struct Memo {
    len: usize,
    /// Outermost first.
    frames: [Frame; MEMO_FRAMES],
    /// The frames' stack pointers, behind one that is further out than all: looked through
    /// for where a walk may join.
    sps: [u64; MEMO_FRAMES + 1],
    words: [Word; MEMO_WORDS],
}

impl Memo {
    pub(super) fn forget(&mut self) {
        self.words[..PADS].fill(Word::pad());
        self.sps[0] = u64::MAX;
        self.len = 0;
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Outermost first.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn frames(&mut self) -> &mut [Frame] {
        &mut self.frames[..self.len]
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn innermost(&self) -> Option<&Frame> {
        self.frames[..self.len].last()
    }

    /// All words of the frames up to one whose words end there, with the pads before them.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn words(&self, end: u32) -> Option<&[Word]> {
        self.words.get(..end as usize)
    }

    /// How many of the outermost `count` frames are left without those that lie inside of `sp`.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn outward_of(&self, count: usize, sp: u64) -> usize {
        let reaches = |&frames_sp: &u64| frames_sp >= sp;
        self.sps[..=count].iter().rposition(reaches).unwrap_or(0)
    }

    /// How a walk that has come to `state` goes on, if as from the innermost of the outermost
    /// `count` frames: for as long as all words further out are unchanged, it is the same walk.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn onward_like(&self, count: usize, state: &State) -> Option<Rule> {
        if self.sps[count] != state.sp {
            return None;
        }
        let own = &self.frames[..count].last()?.found;
        let is_like = own.returns.value == state.return_address
            && (own.saved.value == state.fp || own.fp_matters == 0);
        is_like.then_some(own.onward)
    }

    /// The outermost frame from `joined` outward such that it and all
    /// between would be found again: 0 if every word still holds.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn unchanged_from<M: StackMemory>(&self, joined: usize, memory: &M) -> usize {
        let Some(outer) = joined.checked_sub(1) else {
            return 0;
        };
        // No word that leads on from a frame lies below its sp, so all of these
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

    /// Cuts the memo after `joined`, which is the same frame as `found`
    /// and may have been reached by other words.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn join(&mut self, joined: usize, found: &Found) {
        self.len = joined + 1;
        let start = match joined {
            0 => PADS as u32,
            _ => self.frames[joined - 1].words_end,
        };
        let frame = &mut self.frames[joined];
        let (fp_matters, onward) = (frame.found.fp_matters, frame.found.onward);
        frame.words_end = found.write_words(fp_matters, &mut self.words, start);
        frame.found = Found {
            fp_matters,
            onward,
            ..*found
        };
    }

    /// Puts frames, innermost first there, onto the memo.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(super) fn push(&mut self, fresh: &[Found]) -> Result<(), TooDeep> {
        let (first, len) = (self.len, self.len + fresh.len());
        let (mut hash, mut words_end, mut fp_matters) = match self.frames[..first].last() {
            None => (0, PADS as u32, 0),
            Some(outer) => (outer.prefix_hash, outer.words_end, outer.found.fp_matters),
        };
        let frames = self.frames.get_mut(first..len).ok_or(TooDeep)?;
        let sps = self.sps.get_mut(first + 1..len + 1).ok_or(TooDeep)?;
        for ((frame, sp), found) in frames.iter_mut().zip(sps).zip(fresh.iter().rev()) {
            fp_matters = found.onward.makes_fp_matter(fp_matters);
            hash = extend(hash, found.returns.value);
            words_end = found.write_words(fp_matters, &mut self.words, words_end);
            *frame = Frame {
                found: Found {
                    fp_matters,
                    ..*found
                },
                prefix_hash: hash,
                words_end,
                node: 0,
            };
            *sp = found.sp();
        }
        self.len = len;
        Ok(())
    }

    /// A frame that holds, in the form of one just found. Its fp may
    /// not have mattered, and matter now: it is found again, from where it
    /// was saved or from the frame inside of it.
    #[cfg_attr(heapledger_exact, inline(always))]
    pub(super) fn as_found<M: StackMemory>(
        &self,
        index: usize,
        inner_fp: u64,
        memory: &M,
    ) -> Result<Found, TooDeep> {
        let found = self.frames[index].found;
        let saved = found.saved;
        let fp = match (saved.address, found.special & TAGS) {
            (_, SIGNAL) => saved.value,
            (0, _) => inner_fp,
            (at, _) => memory.word(at, at).ok_or(TooDeep)?,
        };
        Ok(Found {
            saved: Word { value: fp, ..saved },
            ..found
        })
    }
}
