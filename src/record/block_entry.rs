//! What the block map holds of a block: its site, and how it is measured what
//! the program writes to it.

use crate::record::sites::{MAX_SITES, SiteId};
use std::num::NonZeroU32;

const SITE_BITS: u32 = 22;
const MEASURED_BITS: u32 = 3;
const _: () = assert!(MAX_SITES <= 1 << SITE_BITS);

/// Blocks up to this size lie in one granule: their size is in the entry.
const TINY_BYTES: usize = 16;
const TINY_SHIFT: u32 = SITE_BITS + MEASURED_BITS;
/// Says that it is, above the 4 bits of the size less 1.
const IS_TINY: u32 = 1 << (TINY_SHIFT + 4);

/// Set in [`More`], so that one is never taken for an entry; the bit above it is
/// for the tags of scopes.
const IS_MORE: u32 = 1 << 30;
const IS_NO_ENTRY: u32 = 0b11 << 30;

/// How a block is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Measured {
    /// Not at all, and nobody stands for it.
    Not,
    /// Began as the pattern.
    Pattern,
    /// Began as the pattern, and stands for others of its site.
    PatternSampled,
    /// Began as zeros.
    Zeroed,
    ZeroedSampled,
    /// A mapping of the profiler's own.
    Mapped,
    /// Others of its site stand for it.
    Represented,
}

impl Measured {
    /// From the lowest bits.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn from_bits(bits: u32) -> Self {
        match bits & ((1 << MEASURED_BITS) - 1) {
            1 => Self::Pattern,
            2 => Self::PatternSampled,
            3 => Self::Zeroed,
            4 => Self::ZeroedSampled,
            5 => Self::Mapped,
            6 => Self::Represented,
            _ => Self::Not,
        }
    }
}

/// One word a block: the site in the low bits, so that a block that is not
/// measured is its site's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry(NonZeroU32);

impl Entry {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn of(site: SiteId) -> Self {
        Self(site)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn measured(site: SiteId, how: Measured, bytes: usize) -> Self {
        let tiny = match bytes {
            1..=TINY_BYTES => (bytes as u32 - 1) << TINY_SHIFT | IS_TINY,
            _ => 0,
        };
        Self(site | (how as u32) << SITE_BITS | tiny)
    }

    /// None for what is [`More`], and for tags of scopes.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn from_word(word: NonZeroU32) -> Option<Self> {
        (word.get() & IS_NO_ENTRY == 0).then_some(Self(word))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn word(self) -> NonZeroU32 {
        self.0
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn site(self) -> SiteId {
        // A site's number is not 0, so neither is this.
        SiteId::new(self.0.get() & ((1 << SITE_BITS) - 1)).unwrap_or(SiteId::MIN)
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn how(self) -> Measured {
        Measured::from_bits(self.0.get() >> SITE_BITS)
    }

    /// The size of a measured block, if it is tiny; else it is in its [`More`].
    pub(crate) fn tiny_bytes(self) -> Option<usize> {
        let bytes = (self.0.get() >> TINY_SHIFT & 0xF) as usize + 1;
        (self.0.get() & IS_TINY != 0).then_some(bytes)
    }
}

/// A second word of a block that is not tiny: its size and its weight, and of a
/// scope's block how it is measured. It is in the map at the block's second granule,
/// where no other block begins, and it stays there when the block goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct More(NonZeroU32);

const SIZE_BITS: u32 = 22;
/// Says that the size is in pages, what is beyond the last whole one left out.
const IN_PAGES: u32 = 1 << SIZE_BITS;
const PAGE_SHIFT: u32 = 12;
const WEIGHT_SHIFT: u32 = SIZE_BITS + 1;
const WEIGHT_MAX: u8 = (1 << 4) - 1;
const HOW_SHIFT: u32 = WEIGHT_SHIFT + 4;
const _: () = assert!(1 << (HOW_SHIFT + MEASURED_BITS) == IS_MORE);

/// No larger block of a run has one.
pub(crate) const MORE_BYTES_MAX: usize = (1 << SIZE_BITS) - 1;

impl More {
    /// Whether a block of this size covers its second granule, so that no other one can
    /// begin there.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn has_place(bytes: usize) -> bool {
        bytes > TINY_BYTES
    }

    /// None for tiny blocks.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn of(bytes: usize, weight: u8) -> Option<Self> {
        debug_assert!(bytes <= MORE_BYTES_MAX && weight <= WEIGHT_MAX);
        let word = IS_MORE | u32::from(weight) << WEIGHT_SHIFT | bytes as u32;
        NonZeroU32::new(word)
            .filter(|_| bytes > TINY_BYTES)
            .map(Self)
    }

    /// Of a scope's block, of any size.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn of_scope(bytes: usize, how: Measured, weight: u8) -> Self {
        let size = match bytes <= MORE_BYTES_MAX {
            true => bytes as u32,
            false => (bytes >> PAGE_SHIFT).min(MORE_BYTES_MAX) as u32 | IN_PAGES,
        };
        let rest = u32::from(weight) << WEIGHT_SHIFT | (how as u32) << HOW_SHIFT;
        Self(NonZeroU32::new(IS_MORE | size | rest).unwrap_or(NonZeroU32::MAX))
    }

    /// What a size in pages leaves out: for the third granule of a scope's block.
    pub(crate) fn rest(bytes: usize) -> Option<Self> {
        let rest = bytes % (1 << PAGE_SHIFT);
        (bytes > MORE_BYTES_MAX).then(|| Self::of_scope(rest, Measured::Not, 0))
    }

    pub(crate) fn is_in_pages(self) -> bool {
        self.0.get() & IN_PAGES != 0
    }

    pub(crate) fn from_word(word: NonZeroU32) -> Option<Self> {
        (word.get() & IS_NO_ENTRY == IS_MORE).then_some(Self(word))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn word(self) -> NonZeroU32 {
        self.0
    }

    /// Of more than [`MORE_BYTES_MAX`], whole pages; of 16 GiB and more, 16 GiB.
    pub(crate) fn bytes(self) -> usize {
        let size = self.0.get() as usize & MORE_BYTES_MAX;
        match self.0.get() & IN_PAGES {
            0 => size,
            _ => size << PAGE_SHIFT,
        }
    }

    pub(crate) fn weight(self) -> u8 {
        (self.0.get() >> WEIGHT_SHIFT) as u8 & WEIGHT_MAX
    }

    /// Of a scope's block; else it is in the [`Entry`].
    pub(crate) fn how(self) -> Measured {
        Measured::from_bits(self.0.get() >> HOW_SHIFT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_keeps_its_parts_apart() {
        let sites = [1, 2, MAX_SITES as u32 - 1].map(|n| SiteId::new(n).unwrap());
        let ways = [
            Measured::Not,
            Measured::Pattern,
            Measured::PatternSampled,
            Measured::Zeroed,
            Measured::ZeroedSampled,
            Measured::Mapped,
            Measured::Represented,
        ];
        for site in sites {
            assert_eq!(Entry::of(site).word(), site);
            for how in ways {
                for bytes in [1, 2, 15, 16, 17, 4096, MORE_BYTES_MAX] {
                    let entry = Entry::from_word(Entry::measured(site, how, bytes).word()).unwrap();
                    assert_eq!((entry.site(), entry.how()), (site, how));
                    let more = More::of(bytes, 3);
                    assert_eq!(more.is_some(), bytes > 16);
                    assert_eq!(entry.tiny_bytes(), (bytes <= 16).then_some(bytes));
                    if let Some(more) = more {
                        assert_eq!(More::from_word(more.word()), Some(more));
                        assert_eq!((more.bytes(), more.weight()), (bytes, 3));
                        assert_eq!(Entry::from_word(more.word()), None);
                    }
                    assert_eq!(More::from_word(entry.word()), None);
                }
            }
        }
    }

    #[test]
    fn a_scopes_block_keeps_its_size() {
        let ways = [Measured::Not, Measured::Zeroed, Measured::Represented];
        for bytes in [
            1,
            16,
            17,
            4 << 20,
            (4 << 20) - 1,
            (4 << 20) + 1,
            (3 << 32) + 4095,
        ] {
            for (how, weight) in ways.into_iter().zip([0, 7, 15]) {
                let more = More::of_scope(bytes, how, weight);
                assert_eq!(Entry::from_word(more.word()), None);
                let more = More::from_word(more.word()).unwrap();
                assert_eq!((more.how(), more.weight()), (how, weight));
                let rest = More::rest(bytes).map_or(0, More::bytes);
                assert_eq!(more.bytes() + rest, bytes);
                assert_eq!(more.is_in_pages(), bytes >= 4 << 20);
            }
        }
    }
}
