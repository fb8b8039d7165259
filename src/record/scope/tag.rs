//! What the block map holds for a block of a scope, in place of a site.

use crate::record::sites::{MAX_SITES, SiteId};

const SCOPED: u32 = 1 << 31;
/// The block is not part of the run in progress, or there is none.
const APART: u32 = 1 << 30;
const SITE_BITS: u32 = 18;
const SLOT_BITS: u32 = 12;

/// Slots; number 0 is no scope.
pub(crate) const MAX_SLOTS: usize = 1 << SLOT_BITS;

/// Stacks that one scope can tell apart.
pub(crate) const MAX_SCOPE_SITES: usize = 1 << SITE_BITS;

const _: () = assert!(SITE_BITS + SLOT_BITS == 30);
const _: () = assert!(MAX_SITES <= APART as usize);

/// A scope's slot, which of its sites, and whether the run counts the block too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag(SiteId);

impl Tag {
    pub(crate) fn new(slot: u32, ordinal: u32, in_run: bool) -> Self {
        debug_assert!(slot != 0 && (slot as usize) < MAX_SLOTS);
        debug_assert!((ordinal as usize) < MAX_SCOPE_SITES);
        let apart = if in_run { 0 } else { APART };
        let value = SCOPED | apart | slot << SITE_BITS | ordinal;
        Self(SiteId::new(value).unwrap_or(SiteId::MAX))
    }

    /// None: the value is a site, of a block outside of all scopes.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn of(value: SiteId) -> Option<Self> {
        (value.get() & SCOPED != 0).then_some(Self(value))
    }

    pub(crate) fn value(self) -> SiteId {
        self.0
    }

    #[inline]
    pub(crate) fn slot(self) -> u32 {
        (self.0.get() & !(SCOPED | APART)) >> SITE_BITS
    }

    /// Which of the scope's sites; 0 if the scope keeps no stacks.
    #[inline]
    pub(crate) fn ordinal(self) -> u32 {
        self.0.get() & (MAX_SCOPE_SITES as u32 - 1)
    }

    #[inline]
    pub(crate) fn is_in_run(self) -> bool {
        self.0.get() & APART == 0
    }

    pub(crate) fn apart(self) -> Self {
        Self(self.0 | APART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_come_back() {
        for slot in [1, 2, MAX_SLOTS as u32 - 1] {
            for ordinal in [0, 1, MAX_SCOPE_SITES as u32 - 1] {
                for in_run in [false, true] {
                    let tag = Tag::new(slot, ordinal, in_run);
                    assert_eq!(Tag::of(tag.value()), Some(tag));
                    assert_eq!((tag.slot(), tag.ordinal()), (slot, ordinal));
                    assert_eq!(tag.is_in_run(), in_run);
                    assert!(!tag.apart().is_in_run());
                    assert_eq!((tag.apart().slot(), tag.apart().ordinal()), (slot, ordinal));
                }
            }
        }
    }

    #[test]
    fn a_site_is_no_tag() {
        for site in [1, MAX_SITES as u32 - 1] {
            assert_eq!(Tag::of(SiteId::new(site).unwrap()), None);
        }
    }
}
