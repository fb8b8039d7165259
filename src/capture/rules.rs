//! Unwind rules: how to get from a return address to its caller, packed into
//! 32 bits, and the cache that finds the rule of an address without a lock.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How a frame's caller is found. CFA is the stack pointer in the caller just
/// after the call returned; the return address lies one word below it.
///
/// Packed as kind (3 bits), saved-rbp slot (8 bits), CFA offset in words
/// (21 bits, biased).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule(u32);

/// What a rule says, unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// CFA = sp + offset, with rbp saved `rbp_slot` words below it (0: rbp is unchanged).
    FromSp { offset: i64, rbp_slot: u32 },
    /// CFA = rbp + offset.
    FromFp { offset: i64, rbp_slot: u32 },
    /// CFA = the word at rbp + offset: functions that realign their stack. rbp may be
    /// saved where it points to itself, [`SLOT_AT_FP`].
    FromFpWord { offset: i64, rbp_slot: u32 },
    /// The kernel's signal frame: the interrupted registers lie on the stack.
    SignalFrame,
    /// The outermost frame.
    End,
    /// Nothing is known about this address.
    NoInformation,
    /// There is unwind information, of a kind that does not fit into a rule.
    Unfit,
}

// The highest bit tells that the next frame is found by rbp (or may be), the second that rbp is
// passed on: see `makes_fp_matter`.
const KIND_NO_INFORMATION: u32 = 0b000;
const KIND_FROM_SP: u32 = 0b001;
/// As `KIND_FROM_SP`, where rbp is unchanged.
const KIND_FROM_SP_ALONE: u32 = 0b010;
/// There is no frame to pass anything on to.
const KIND_END: u32 = 0b011;
const KIND_FROM_FP: u32 = 0b100;
const KIND_FROM_FP_WORD: u32 = 0b101;
const KIND_SIGNAL: u32 = 0b110;
const KIND_UNFIT: u32 = 0b111;

const SLOT_BITS: u32 = 8;
pub(crate) const SLOT_AT_FP: u32 = (1 << SLOT_BITS) - 1;
const OFFSET_BITS: u32 = 21;
const OFFSET_BIAS: i64 = 1 << (OFFSET_BITS - 2);
const _: () = assert!(3 + SLOT_BITS + OFFSET_BITS == 32);

impl Rule {
    pub(crate) const END: Self = Self(KIND_END << 29);
    pub(crate) const SIGNAL_FRAME: Self = Self(KIND_SIGNAL << 29);
    pub(crate) const NO_INFORMATION: Self = Self(KIND_NO_INFORMATION << 29);
    pub(crate) const UNFIT: Self = Self(KIND_UNFIT << 29);

    /// Packs a step; [`Rule::UNFIT`] if its numbers do not fit.
    pub(crate) fn pack(step: Step) -> Self {
        let (kind, offset, rbp_slot) = match step {
            Step::FromSp {
                offset,
                rbp_slot: 0,
            } => (KIND_FROM_SP_ALONE, offset, 0),
            Step::FromSp { offset, rbp_slot } => (KIND_FROM_SP, offset, rbp_slot),
            Step::FromFp { offset, rbp_slot } => (KIND_FROM_FP, offset, rbp_slot),
            Step::FromFpWord { offset, rbp_slot } => (KIND_FROM_FP_WORD, offset, rbp_slot),
            Step::SignalFrame => return Self::SIGNAL_FRAME,
            Step::End => return Self::END,
            Step::NoInformation => return Self::NO_INFORMATION,
            Step::Unfit => return Self::UNFIT,
        };
        let words = offset / 8 + OFFSET_BIAS;
        if offset % 8 != 0 || !(0..1 << OFFSET_BITS).contains(&words) || rbp_slot >= 1 << SLOT_BITS
        {
            return Self::UNFIT;
        }
        Self(kind << 29 | rbp_slot << OFFSET_BITS | words as u32)
    }

    /// Whether no walk gets beyond a function with this rule, whatever lies on
    /// the stack.
    pub(crate) fn ends_every_walk(self) -> bool {
        matches!(self.unpack(), Step::End | Step::NoInformation | Step::Unfit)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn offset(self) -> i64 {
        (i64::from(self.0 & ((1 << OFFSET_BITS) - 1)) - OFFSET_BIAS) * 8
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn rbp_slot(self) -> u32 {
        (self.0 >> OFFSET_BITS) & ((1 << SLOT_BITS) - 1)
    }

    /// Whether this is the rule of most code, [`Step::FromSp`].
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_from_sp(self) -> bool {
        const { assert!(KIND_FROM_SP == 1 && KIND_FROM_SP_ALONE == 2) };
        (self.0 >> 29).wrapping_sub(1) < 2
    }

    /// Whether it is [`Step::FromFp`].
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_from_fp(self) -> bool {
        self.0 >> 29 == KIND_FROM_FP
    }

    /// 1 if the frames further out depend on the rbp that a function with this rule was called
    /// with, else 0, given whether those do that its caller's rbp is passed on to. For a rule that few
    /// functions have it may say that they do where they do not.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn makes_fp_matter(self, further_out: u32) -> u32 {
        self.0 >> 31 | self.0 >> 30 & further_out
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn unpack(self) -> Step {
        let (offset, rbp_slot) = (self.offset(), self.rbp_slot());
        match self.0 >> 29 {
            KIND_FROM_SP | KIND_FROM_SP_ALONE => Step::FromSp { offset, rbp_slot },
            KIND_FROM_FP => Step::FromFp { offset, rbp_slot },
            KIND_FROM_FP_WORD => Step::FromFpWord { offset, rbp_slot },
            KIND_SIGNAL => Step::SignalFrame,
            KIND_END => Step::End,
            KIND_UNFIT => Step::Unfit,
            // 0 is what the cache holds for the lowest addresses, which have no code.
            _ => Step::NoInformation,
        }
    }
}

/// A source of rules: the cache below in the program, a table in tests.
pub(crate) trait Rules {
    /// The rule for a return address.
    fn rule(&self, return_address: u64) -> Rule;
    /// The rule for the instruction at `pc` itself, not for a return to it.
    fn rule_at(&self, pc: u64) -> Rule;
}

const CACHE_BITS: u32 = 16;

/// Rules of addresses met before. An address has two places, the second found by its high bits
/// as well: of two hot addresses that share their first place, neither is derived time and
/// again. A word holds the address's high bits as its tag beside the rule, so one load gives
/// both or neither.
pub(crate) struct RuleCache {
    words: [AtomicU64; 1 << CACHE_BITS],
}

/// In the tag of a word that lies at its address's second place.
const SECOND: u64 = 1 << 31;

/// Where in the cache the rule of `key` may be, and its tag there.
#[cfg_attr(not(debug_assertions), inline(always))]
fn first_place(key: u64) -> (usize, u64) {
    (key as usize & ((1 << CACHE_BITS) - 1), key >> CACHE_BITS)
}

/// The place and the tag give the whole key again, as those of the first place do.
fn second_place(key: u64) -> (usize, u64) {
    let (first, tag) = first_place(key);
    let spread = tag.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - CACHE_BITS);
    (first ^ spread as usize, tag | SECOND)
}

impl std::fmt::Debug for RuleCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuleCache").finish_non_exhaustive()
    }
}

impl RuleCache {
    pub(crate) const fn new() -> Self {
        Self {
            words: [const { AtomicU64::new(0) }; 1 << CACHE_BITS],
        }
    }

    /// The cached rule of a key, else what `derive` finds, which is then kept.
    #[inline]
    pub(crate) fn get(&self, key: u64, derive: impl FnOnce(u64) -> Rule) -> Rule {
        let (place, tag) = first_place(key);
        let seen = self.words[place].load(Relaxed);
        match seen >> 32 == tag {
            true => Rule(seen as u32),
            false => self.get_elsewhere(key, seen == 0, derive),
        }
    }

    #[inline(never)]
    fn get_elsewhere(
        &self,
        key: u64,
        first_is_free: bool,
        derive: impl FnOnce(u64) -> Rule,
    ) -> Rule {
        let (place, tag) = second_place(key);
        let seen = self.words[place].load(Relaxed);
        if seen >> 32 == tag {
            return Rule(seen as u32);
        }
        let rule = derive(key);
        // A user-space address has at most 47 bits, so its tag fits. Others
        // have no code.
        if key >> 47 == 0 {
            let (place, tag) = match first_is_free {
                true => first_place(key),
                false => (place, tag),
            };
            self.words[place].store(tag << 32 | u64::from(rule.0), Relaxed);
        }
        rule
    }

    /// Forgets everything, for when code was unloaded.
    pub(crate) fn clear(&self) {
        for word in &self.words {
            word.store(0, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_survive_packing() {
        let steps = [
            Step::FromSp {
                offset: 8,
                rbp_slot: 0,
            },
            Step::FromSp {
                offset: 4 << 20,
                rbp_slot: 255,
            },
            Step::FromFp {
                offset: 16,
                rbp_slot: 2,
            },
            Step::FromFpWord {
                offset: -8,
                rbp_slot: 2,
            },
            Step::SignalFrame,
            Step::End,
            Step::NoInformation,
            Step::Unfit,
        ];
        for step in steps {
            assert_eq!(Rule::pack(step).unpack(), step);
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_unfit() {
        for step in [
            Step::FromSp {
                offset: 12,
                rbp_slot: 0,
            },
            Step::FromSp {
                offset: 1 << 30,
                rbp_slot: 0,
            },
            Step::FromSp {
                offset: 16,
                rbp_slot: 256,
            },
            Step::FromFpWord {
                offset: -(1 << 30),
                rbp_slot: 0,
            },
        ] {
            assert_eq!(Rule::pack(step), Rule::UNFIT, "{step:?}");
        }
    }

    #[test]
    fn a_place_and_a_tag_give_the_address() {
        let mask = (1 << CACHE_BITS) - 1;
        for key in (0..1 << 47).step_by(0x3_1415_9265) {
            let (first, tag) = first_place(key);
            assert_eq!(tag << CACHE_BITS | first as u64, key);
            let (second, marked) = second_place(key);
            assert_eq!(marked, tag | SECOND);
            assert_eq!(tag & SECOND, 0);
            // What the tag alone adds to the place is taken off again.
            let added = second_place(key & !mask).0;
            assert_eq!((second ^ added) as u64, key & mask);
        }
    }

    #[test]
    fn the_lowest_addresses_have_no_information() {
        static CACHE: RuleCache = RuleCache::new();
        for address in [1, 8, 0xFFFF, 0x10000] {
            let rule = CACHE.get(address, |_| Rule::NO_INFORMATION);
            assert_eq!(rule.unpack(), Step::NoInformation, "{address:x}");
        }
    }

    #[test]
    fn the_cache_tells_colliding_addresses_apart() {
        static CACHE: RuleCache = RuleCache::new();
        let (a, b) = (0x5555_0001_2345, 0x5555_0002_2345);
        let end = |_| Rule::END;
        let unfit = |_| Rule::UNFIT;
        let unasked = |_| unreachable!("must be cached");
        assert_eq!(CACHE.get(a, end), Rule::END);
        assert_eq!(CACHE.get(a, unasked), Rule::END);
        assert_eq!(CACHE.get(b, unfit), Rule::UNFIT);
        // Neither drives the other out.
        assert_eq!(CACHE.get(a, unasked), Rule::END);
        assert_eq!(CACHE.get(b, unasked), Rule::UNFIT);
        CACHE.clear();
        assert_eq!(CACHE.get(a, unfit), Rule::UNFIT);
    }
}
