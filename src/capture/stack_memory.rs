//! Reading the stack: every word a walk looks at comes through here, checked
//! against the bounds of the stack it lies in. So a wrong unwind rule ends a
//! walk, and never faults; and a walk can be tested on an array.

use crate::capture::stack_bounds::StackBounds;
use crate::errno;
use std::cell::Cell;

/// Or a multiple of it: then a page is asked for more than once.
const PAGE_BYTES: u64 = 4096;

/// A stack word that a walk has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) address: u64,
    pub(crate) value: u64,
}

/// How many words that always hold their value, [`Word::pad`], lie before the first
/// that a walk has read: so that all that were read lie in whole chunks.
pub(crate) const PADS: usize = WORDS_AT_ONCE - 1;

/// How many words are compared before a look whether there are more.
const WORDS_AT_ONCE: usize = 8;

static PAD: u64 = 0;

impl Word {
    pub(crate) fn pad() -> Self {
        Self {
            address: (&raw const PAD).addr() as u64,
            value: PAD,
        }
    }

    /// A value that was not read from a word of its own: 0 stands for that, since no stack has a word
    /// there.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn unread(value: u64) -> Self {
        Self { address: 0, value }
    }
}

/// Words that are compared at once, their addresses beside one another and their values as
/// well. What is not needed is pads.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct WordChunk {
    addresses: [u64; Self::WORDS],
    values: [u64; Self::WORDS],
}

impl WordChunk {
    pub(crate) const WORDS: usize = WORDS_AT_ONCE;

    /// Of no more than [`Self::WORDS`] words.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn of(words: &[Word]) -> Self {
        let Word { address, value } = Word::pad();
        let mut chunk = Self {
            addresses: [address; Self::WORDS],
            values: [value; Self::WORDS],
        };
        for (place, word) in words.iter().enumerate().take(Self::WORDS) {
            (chunk.addresses[place], chunk.values[place]) = (word.address, word.value);
        }
        chunk
    }

    /// Those that are no pads.
    fn words(&self) -> impl Iterator<Item = Word> {
        let words = self.addresses.iter().zip(&self.values);
        words
            .map(|(&address, &value)| Word { address, value })
            .filter(|&word| word != Word::pad())
    }

    /// Two words at a time: a third fewer loads than one by one, and no branch.
    ///
    /// # Safety
    /// All of these are words that can be read.
    #[cfg(target_arch = "x86_64")]
    #[cfg_attr(not(debug_assertions), inline(always))]
    unsafe fn is_unchanged(&self) -> bool {
        use std::arch::x86_64::{
            __m128i, _mm_castpd_si128, _mm_castsi128_pd, _mm_cmpeq_epi8, _mm_load_si128,
            _mm_loadh_pd, _mm_loadl_epi64, _mm_movemask_epi8, _mm_or_si128, _mm_setzero_si128,
            _mm_xor_si128,
        };
        // SAFETY: the caller's promise, and an array that is aligned as the whole is.
        let differences = |pair: usize| unsafe {
            let low = _mm_loadl_epi64(self.addresses[pair] as *const __m128i);
            let high = self.addresses[pair + 1] as *const f64;
            let found = _mm_castpd_si128(_mm_loadh_pd(_mm_castsi128_pd(low), high));
            let expected = _mm_load_si128((&raw const self.values[pair]).cast());
            _mm_xor_si128(found, expected)
        };
        // SAFETY: instructions that every processor of this kind has.
        unsafe {
            let inner = _mm_or_si128(differences(0), differences(2));
            let outer = _mm_or_si128(differences(4), differences(6));
            let any = _mm_or_si128(inner, outer);
            _mm_movemask_epi8(_mm_cmpeq_epi8(any, _mm_setzero_si128())) == 0xFFFF
        }
    }

    /// # Safety
    /// All of these are words that can be read.
    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn is_unchanged(&self) -> bool {
        let mut words = self.addresses.iter().zip(&self.values);
        // SAFETY: the caller's promise.
        words.all(|(&address, &value)| unsafe {
            std::ptr::read_volatile(address as *const u64) == value
        })
    }
}

/// Stack words by address.
pub(crate) trait StackMemory {
    /// The word at `address`, or None if that is not a word of this stack
    /// outward of `sp`, the stack pointer of the frame that asks.
    fn word(&self, sp: u64, address: u64) -> Option<u64>;

    /// What the frame at `sp` returns by, the word just below `caller_sp`; and the caller's fp,
    /// with where it was saved, so many words below `caller_sp`: if that is 0 words, `fp` at 0.
    /// None: the caller's frame cannot begin there, or one of them is none of this stack's. Where
    /// the first is 0, the second is not looked at.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn return_words(
        &self,
        sp: u64,
        caller_sp: u64,
        words_below: u32,
        fp: u64,
    ) -> Option<(u64, Word)> {
        if !self.may_follow(sp, caller_sp) {
            return None;
        }
        let return_address = self.word(sp, caller_sp.wrapping_sub(8))?;
        if return_address == 0 || words_below == 0 {
            return Some((return_address, Word::unread(fp)));
        }
        let address = caller_sp.wrapping_sub(8 * u64::from(words_below));
        let value = self.word(sp, address)?;
        Some((return_address, Word { address, value }))
    }

    /// Whether these words, which were read from this stack before and lie in frames that
    /// are still on it, still hold their values.
    fn is_unchanged(&self, words: &[WordChunk]) -> bool {
        let mut words = words.iter().flat_map(WordChunk::words);
        words.all(|word| self.holds(word))
    }

    /// How many of `words`, from the first on, to go back over because of a
    /// change: one more than the index of the last word that no longer holds
    /// its value, 0 if all do. The first [`PADS`] are pads; all others were read
    /// from this stack before, and lie in frames that are still on it.
    fn unchanged_from(&self, words: &[Word]) -> usize {
        let mut read = words[PADS..].iter();
        let changed = read.rposition(|&word| !self.holds(word));
        changed.map_or(0, |index| PADS + index + 1)
    }

    fn holds(&self, word: Word) -> bool {
        self.word(0, word.address) == Some(word.value)
    }

    /// Whether a caller's stack pointer may be `to` when its callee's was
    /// `from`: outward is upward, so that every walk ends.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn may_follow(&self, from: u64, to: u64) -> bool {
        to > from
    }
}

/// How far above the stack pointer a walk may read on a stack that is not the
/// thread's own (a coroutine's, a signal handler's) and whose end is not known.
pub(crate) const FOREIGN_STACK_WINDOW_BYTES: u64 = 64 * 1024;

/// The thread's own stack, from the stack pointer up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnStack(StackBounds);

impl OwnStack {
    /// # Safety
    /// `sp` is the running thread's stack pointer and stays at or below that
    /// value for as long as the result is used, and `bounds`, which contain
    /// it, are its stack's.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) unsafe fn above(sp: u64, bounds: StackBounds) -> Self {
        debug_assert!(bounds.contains(sp));
        Self(StackBounds { low: sp, ..bounds })
    }

    /// No words but those that were read before.
    ///
    /// # Safety
    /// As for [`Self::above`].
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) unsafe fn of_known_words(sp: u64) -> Self {
        Self(StackBounds { low: sp, high: 0 })
    }
}

impl StackMemory for OwnStack {
    /// Each bound is compared once: what lies between two words of the stack is of the stack.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn return_words(
        &self,
        sp: u64,
        caller_sp: u64,
        words_below: u32,
        fp: u64,
    ) -> Option<(u64, Word)> {
        let return_address = self.word(sp, caller_sp.wrapping_sub(8))?;
        if return_address == 0 || words_below == 0 {
            return Some((return_address, Word::unread(fp)));
        }
        let bytes_below = 8 * u64::from(words_below);
        if bytes_below > caller_sp - sp {
            return None;
        }
        let address = caller_sp - bytes_below;
        // SAFETY: from `sp` up, and not above the word that was read above.
        let value = unsafe { std::ptr::read_volatile(address as *const u64) };
        Some((return_address, Word { address, value }))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_unchanged(&self, words: &[WordChunk]) -> bool {
        // SAFETY: pads lie in a static. The others were read through `word` before, so
        // they lie in the mapped stack; and above the stack pointer, as their frames do.
        words.iter().all(|chunk| unsafe { chunk.is_unchanged() })
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn word(&self, sp: u64, address: u64) -> Option<u64> {
        // `sp` of a walk only grows, from the bounds' low end.
        debug_assert!(sp >= self.0.low);
        if !address.is_multiple_of(8) || address < sp || address >= self.0.high {
            return None;
        }
        // SAFETY: an aligned word between the stack pointer and the end of
        // the mapped stack (the type's contract). Other frames of this thread
        // own the word and are suspended meanwhile.
        Some(unsafe { std::ptr::read_volatile(address as *const u64) })
    }

    /// The inner loop of all capturing: two thirds of its instructions.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn unchanged_from(&self, words: &[Word]) -> usize {
        let changed = |word: &Word| {
            // SAFETY: a pad lies in a static. The others were read through `word`
            // before, so they lie in the mapped stack; and above the stack
            // pointer, as their frames do.
            unsafe { std::ptr::read_volatile(word.address as *const u64) != word.value }
        };
        // What is left over at the front is pads.
        let mut end = words.len();
        for chunk in words.as_rchunks::<WORDS_AT_ONCE>().1.iter().rev() {
            let [a, b, c, d, e, f, g, h] = chunk;
            if changed(h)
                || changed(g)
                || changed(f)
                || changed(e)
                || changed(d)
                || changed(c)
                || changed(b)
                || changed(a)
            {
                return end - chunk.iter().rev().position(changed).unwrap_or(0);
            }
            end -= WORDS_AT_ONCE;
        }
        0
    }
}

/// A stack that is not the thread's own, and the thread's own stack, to which
/// a walk may cross over. What is known of the former's bounds may be out of date:
/// it can have been unmapped, and another one put in its place. So its pages are
/// asked for before they are read.
#[derive(Clone, Debug)]
pub(crate) struct ForeignStack {
    own: StackBounds,
    window: StackBounds,
    /// The page that was last found to be readable.
    readable_page: Cell<u64>,
}

impl ForeignStack {
    /// # Safety
    /// As for [`OwnStack::above`], for a stack pointer in `foreign`. No other
    /// thread unmaps memory of the stack that this one is on.
    pub(crate) unsafe fn above(sp: u64, foreign: StackBounds, own: StackBounds) -> Self {
        Self {
            own,
            window: StackBounds { low: sp, ..foreign },
            readable_page: Cell::new(sp & !(PAGE_BYTES - 1)),
        }
    }

    #[inline]
    fn is_readable(&self, address: u64) -> bool {
        let page = address & !(PAGE_BYTES - 1);
        if page == self.readable_page.get() {
            return true;
        }
        let is_readable = kernel_can_read(address);
        if is_readable {
            self.readable_page.set(page);
        }
        is_readable
    }
}

/// Whether a word can be read, by having the kernel read it: as a new signal mask,
/// which it reads before it sees that what is to be done with it is nonsense.
#[cfg(target_os = "linux")]
#[cold]
fn kernel_can_read(address: u64) -> bool {
    const NO_SUCH_CHANGE: libc::c_int = -1;
    const MASK_BYTES: usize = 8;
    errno::preserving(|| {
        // SAFETY: fails in any case, and writes nothing.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                NO_SUCH_CHANGE,
                address,
                std::ptr::null_mut::<u8>(),
                MASK_BYTES,
            )
        };
        std::io::Error::last_os_error().raw_os_error() != Some(libc::EFAULT)
    })
}

#[cfg(not(target_os = "linux"))]
fn kernel_can_read(_address: u64) -> bool {
    true
}

impl StackMemory for ForeignStack {
    fn word(&self, _sp: u64, address: u64) -> Option<u64> {
        if !address.is_multiple_of(8)
            || !(self.own.contains(address)
                || self.window.contains(address) && self.is_readable(address))
        {
            return None;
        }
        // SAFETY: an aligned word of one of the two stacks, by the type's
        // contract; the frames that own it are suspended meanwhile.
        Some(unsafe { std::ptr::read_volatile(address as *const u64) })
    }

    fn is_unchanged(&self, _words: &[WordChunk]) -> bool {
        // Nothing of these stacks is remembered.
        false
    }

    fn unchanged_from(&self, words: &[Word]) -> usize {
        words.len()
    }

    fn may_follow(&self, from: u64, to: u64) -> bool {
        match self.own.contains(from) {
            true => to > from,
            false => self.own.contains(to) || to > from,
        }
    }
}
