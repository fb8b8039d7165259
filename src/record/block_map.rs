//! Which site a live block belongs to, by the block's address: a map without
//! hashing and without locks, that is not read or written while idle.
//!
//! One u32 a 16-byte granule, in leaves that each cover 256 KiB of heap, found
//! through two directories. Two live blocks never share a granule when both
//! begin at a multiple of 16, as those of `malloc` do. Blocks that begin
//! elsewhere (some inner allocators place 8-byte blocks 8 bytes apart), and
//! any whose leaf the system gave no memory for, go to [`OddBlocks`].

use crate::record::chunks::{Chunks, DENSE, Zeroable};
#[cfg(not(feature = "striped-tables"))]
use crate::record::odd_blocks::OddBlocks;
use crate::record::sites::SiteId;
#[cfg(feature = "striped-tables")]
use crate::record::striped_map::StripedMap as OddBlocks;
use crate::untracked;
use std::num::NonZeroU32;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{
    AtomicPtr, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};

pub(crate) const GRANULE_BYTES: usize = 16;
const LEAF_BITS: u32 = if cfg!(miri) { 8 } else { 14 };
const MIDDLE_BITS: u32 = if cfg!(miri) { 5 } else { 14 };
/// Miri is slow, and tests use low addresses: what is beyond is as odd.
const ROOT_BITS: u32 = if cfg!(miri) { 5 } else { 15 };
/// User-space addresses of 4-level page tables.
const _: () = assert!(cfg!(miri) || 4 + LEAF_BITS + MIDDLE_BITS + ROOT_BITS == 47);

/// The number of the granule that begins at `address`, if one does and the map has it.
#[cfg_attr(not(debug_assertions), inline(always))]
fn granule(address: usize) -> Option<usize> {
    if cfg!(feature = "striped-tables") {
        return None;
    }
    // What makes an address odd ends up in the highest bits.
    let granule = address.rotate_right(GRANULE_BYTES.ilog2());
    (granule < 1 << (LEAF_BITS + MIDDLE_BITS + ROOT_BITS)).then_some(granule)
}

/// Granules of one leaf; a value of 0 is no block.
#[derive(Debug)]
struct Leaf([AtomicU32; 1 << LEAF_BITS]);

// SAFETY: atomics, for which zero is valid.
unsafe impl Zeroable for AtomicPtr<Leaf> {}

pub(crate) struct BlockMap {
    leaves: Chunks<AtomicPtr<Leaf>, { 1 << ROOT_BITS }, { 1 << MIDDLE_BITS }>,
    odd: OddBlocks,
}

impl std::fmt::Debug for BlockMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockMap")
            .field("odd", &self.odd)
            .finish_non_exhaustive()
    }
}

/// A block's place in the map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slot<'a> {
    leaf: &'a Leaf,
    at: usize,
}

impl<'a> Slot<'a> {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn word(self) -> &'a AtomicU32 {
        &self.leaf.0[self.at % (1 << LEAF_BITS)]
    }

    /// That of the next granule, if it is as near.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn next(self) -> Option<Self> {
        let at = self.at + 1;
        (at < 1 << LEAF_BITS).then_some(Self { at, ..self })
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn site(self) -> Option<SiteId> {
        SiteId::new(self.word().load(Relaxed))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn set(self, site: SiteId) {
        self.word().store(site.get(), Relaxed);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn clear(self) {
        self.word().store(0, Relaxed);
    }
}

/// No memory could be had to record a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoRoom;

impl BlockMap {
    pub(crate) const fn new() -> Self {
        Self {
            leaves: Chunks::new(),
            odd: OddBlocks::new(),
        }
    }

    /// Where the map keeps the block at `address`, if it has a place for it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn slot_at(&self, address: usize) -> Option<Slot<'_>> {
        let granule = granule(address)?;
        let leaf = self.leaf(granule)?;
        let at = granule % (1 << LEAF_BITS);
        Some(Slot { leaf, at })
    }

    /// Records that the block at `address` belongs to `site`. Returns the site
    /// that the address belonged to: of a block whose free was not seen.
    #[inline]
    pub(crate) fn insert(&self, address: usize, site: SiteId) -> Result<Option<SiteId>, NoRoom> {
        if let Some(granule) = granule(address)
            && let Some(slot) = self.slot(granule).or_else(|| self.make_slot(granule))
        {
            let before = slot.load(Relaxed);
            slot.store(site.get(), Relaxed);
            return Ok(SiteId::new(before));
        }
        self.odd.insert(address, site)
    }

    /// Takes the block at `address` out. None: it was never recorded.
    ///
    /// Relaxed throughout: whoever frees or moves a block got its address from
    /// the thread that allocated it, by a synchronization of the program's own.
    #[inline]
    pub(crate) fn remove(&self, address: usize) -> Option<SiteId> {
        if let Some(granule) = granule(address)
            && let Some(slot) = self.slot(granule)
        {
            let value = slot.load(Relaxed);
            if value != 0 {
                slot.store(0, Relaxed);
                return SiteId::new(value);
            }
        }
        self.odd.remove(address)
    }

    /// The site of the block at `address`.
    #[cfg_attr(heapledger_exact, inline(always))]
    #[cfg_attr(not(heapledger_exact), cold)]
    pub(crate) fn get(&self, address: usize) -> Option<SiteId> {
        let in_map = granule(address)
            .and_then(|granule| self.slot(granule))
            .map_or(0, |slot| slot.load(Relaxed));
        SiteId::new(in_map).or_else(|| self.odd.get(address))
    }

    /// Whether there may be a block at `address`; if not, there is none.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn may_hold(&self, address: usize) -> bool {
        let slot = granule(address).and_then(|granule| self.slot(granule));
        let in_map = slot.is_some_and(|slot| slot.load(Relaxed) != 0);
        in_map || !self.odd.is_empty()
    }

    /// Puts a value where no block begins. False: the map has no place for it.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn put_beside(&self, address: usize, value: NonZeroU32) -> bool {
        let Some(granule) = granule(address) else {
            return false;
        };
        match self.slot(granule).or_else(|| self.make_slot(granule)) {
            Some(slot) => slot.store(value.get(), Relaxed),
            None => return false,
        }
        true
    }

    /// As [`Self::put_beside`], where a block may begin at any time: only if there is
    /// nothing, or something that `is_such` tells is no block.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn put_if_free(
        &self,
        address: usize,
        value: NonZeroU32,
        is_such: impl Fn(NonZeroU32) -> bool,
    ) {
        if let Some(slot) = granule(address).and_then(|granule| self.slot(granule)) {
            let before = slot.load(Relaxed);
            let is_free = NonZeroU32::new(before).is_none_or(is_such);
            if is_free && before != value.get() {
                // Fails if a block has come there.
                let _ = slot.compare_exchange(before, value.get(), Relaxed, Relaxed);
            }
        }
    }

    /// What `find` makes of a value at `address` or no more than `granules` before, beginning
    /// with the nearest.
    pub(crate) fn find_before<T>(
        &self,
        address: usize,
        granules: usize,
        find: impl Fn(usize, NonZeroU32) -> Option<T>,
    ) -> Option<T> {
        if !self.odd.is_empty()
            && granule(address).is_none()
            && let Some(value) = self.odd.get(address)
        {
            return find(address, value);
        }
        let mut end = address / GRANULE_BYTES + 1;
        let first = end.saturating_sub(granules + 1);
        while end > first {
            let leaf_start = (end - 1) >> LEAF_BITS << LEAF_BITS;
            let start = first.max(leaf_start);
            if let Some(leaf) = self.leaf(start) {
                let slots = &leaf.0[start - leaf_start..end - leaf_start];
                for (at, slot) in slots.iter().enumerate().rev() {
                    if let Some(value) = NonZeroU32::new(slot.load(Relaxed))
                        && let Some(found) = find((start + at) * GRANULE_BYTES, value)
                    {
                        return Some(found);
                    }
                }
            }
            end = start;
        }
        None
    }

    /// Every value, in order of addresses; then those at odd ones.
    pub(crate) fn each(&self, mut visit: impl FnMut(usize, NonZeroU32)) {
        self.each_leaf(|index, leaf| {
            // SAFETY: a published leaf stays mapped until `self` is dropped.
            for (at, slot) in unsafe { leaf.as_ref() }.0.iter().enumerate() {
                if let Some(value) = NonZeroU32::new(slot.load(Relaxed)) {
                    visit((index << LEAF_BITS | at) * GRANULE_BYTES, value);
                }
            }
        });
        self.odd.each(visit);
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn slot(&self, granule: usize) -> Option<&AtomicU32> {
        Some(&self.leaf(granule)?.0[granule % (1 << LEAF_BITS)])
    }

    /// The one with this granule.
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn leaf(&self, granule: usize) -> Option<&Leaf> {
        let leaf = self.leaves.get(granule >> LEAF_BITS)?.load(Acquire);
        // SAFETY: a published leaf stays mapped until `self` is dropped.
        Some(unsafe { NonNull::new(leaf)?.as_ref() })
    }

    #[cold]
    fn make_slot(&self, granule: usize) -> Option<&AtomicU32> {
        let directory = self.leaves.get_or_map(granule >> LEAF_BITS)?;
        // Zeroed atomics are valid.
        let fresh = DENSE.map(size_of::<Leaf>())?.cast::<Leaf>();
        if directory
            .compare_exchange(null_mut(), fresh.as_ptr(), Release, Relaxed)
            .is_err()
        {
            // SAFETY: just mapped, and never published.
            unsafe { untracked::unmap(fresh.cast(), size_of::<Leaf>()) };
        }
        self.slot(granule)
    }

    fn each_leaf(&self, mut visit: impl FnMut(usize, NonNull<Leaf>)) {
        for root in 0..1_usize << ROOT_BITS {
            let first = root << MIDDLE_BITS;
            if self.leaves.get(first).is_none() {
                continue;
            }
            for index in first..first + (1 << MIDDLE_BITS) {
                let leaf = self.leaves.get(index).map(|leaf| leaf.load(Acquire));
                if let Some(leaf) = leaf.and_then(NonNull::new) {
                    visit(index, leaf);
                }
            }
        }
    }

    /// Forgets all blocks and gives their memory back.
    ///
    /// # Safety
    /// No other thread uses the map meanwhile.
    pub(crate) unsafe fn clear(&self) {
        // SAFETY: whole leaves of ours, out of use by the caller's promise.
        self.each_leaf(|_, leaf| unsafe { untracked::zero(leaf.cast(), size_of::<Leaf>()) });
        self.odd.clear();
    }
}

impl BlockMap {
    /// Gives each block what `new` says of what it has, or forgets it. No other
    /// thread uses the map meanwhile.
    pub(crate) fn retag(&self, new: impl Fn(SiteId) -> Option<SiteId>) {
        self.each_leaf(|_, leaf| {
            // SAFETY: a published leaf stays mapped until `self` is dropped.
            for slot in &unsafe { leaf.as_ref() }.0 {
                if let Some(value) = SiteId::new(slot.load(Relaxed)) {
                    let value = new(value).map_or(0, SiteId::get);
                    slot.store(value, Relaxed);
                }
            }
        });
        self.odd.retag(new);
    }
}

impl Drop for BlockMap {
    fn drop(&mut self) {
        // SAFETY: mapped by `make_slot`; `&mut self` means that nobody uses it.
        self.each_leaf(|_, leaf| unsafe { untracked::unmap(leaf.cast(), size_of::<Leaf>()) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn site(n: u32) -> SiteId {
        SiteId::new(n).unwrap()
    }

    fn boxed() -> Box<BlockMap> {
        Box::new(BlockMap::new())
    }

    /// Threads that make the same leaves at the same time lose none of their blocks.
    #[test]
    fn threads_share_leaves() {
        let map = &*boxed();
        let address = |thread: usize, n: usize| (n * 4 + thread + 1) * (GRANULE_BYTES << 4);
        const BLOCKS: usize = if cfg!(miri) { 40 } else { 20_000 };
        std::thread::scope(|scope| {
            for thread in 0..4 {
                scope.spawn(move || {
                    for n in 0..BLOCKS {
                        let number = site((thread * BLOCKS + n + 1) as u32);
                        assert_eq!(map.insert(address(thread, n), number), Ok(None));
                    }
                    for n in (0..BLOCKS).step_by(2) {
                        assert!(map.remove(address(thread, n)).is_some());
                    }
                });
            }
        });
        for thread in 0..4 {
            for n in 0..BLOCKS {
                let left = (n % 2 == 1).then(|| site((thread * BLOCKS + n + 1) as u32));
                assert_eq!(map.remove(address(thread, n)), left);
            }
        }
    }

    #[test]
    fn addresses_at_every_boundary_are_kept_apart() {
        let map = boxed();
        let bases = [
            0,
            1 << 18,
            1 << 32,
            (1 << 47) - 64,
            1 << 47,
            usize::MAX - 63,
        ];
        let addresses: Vec<usize> = bases
            .iter()
            .flat_map(|base| [0, 1, 8, 15, 16, 24, 32, 48].map(|offset| base + offset))
            .filter(|&address| address != 0)
            .collect();
        for (n, &address) in addresses.iter().enumerate() {
            assert_eq!(map.insert(address, site(n as u32 + 1)), Ok(None));
        }
        for (n, &address) in addresses.iter().enumerate() {
            assert_eq!(map.remove(address), Some(site(n as u32 + 1)));
            assert_eq!(map.remove(address), None);
        }
    }

    /// Over a boundary of leaves, and where there is none.
    #[cfg(not(feature = "striped-tables"))]
    #[test]
    fn what_begins_before_an_address_is_found() {
        let map = boxed();
        let leaf = GRANULE_BYTES << LEAF_BITS;
        for (address, value) in [(3 * leaf - 32, 1), (3 * leaf + 16, 2), (leaf + 8, 3)] {
            map.insert(address, site(value)).unwrap();
        }
        let before = |address, granules| {
            let find = |at, value| (value != site(2)).then_some(at);
            map.find_before(address, granules, find)
        };
        assert_eq!(before(3 * leaf - 32, 0), Some(3 * leaf - 32));
        assert_eq!(before(3 * leaf - 17, 0), Some(3 * leaf - 32));
        assert_eq!(before(3 * leaf - 16, 0), None);
        assert_eq!(before(3 * leaf + 20, 3), Some(3 * leaf - 32));
        assert_eq!(before(3 * leaf + 20, 2), None);
        assert_eq!(before(3 * leaf - 33, 2 << LEAF_BITS), None);
        assert_eq!(before(4 * leaf + 5, 2 << LEAF_BITS), Some(3 * leaf - 32));
        assert_eq!(
            (before(leaf + 8, 0), before(9, 100)),
            (Some(leaf + 8), None)
        );
    }

    #[cfg(not(feature = "striped-tables"))]
    #[test]
    fn clear_forgets_both_kinds() {
        let map = boxed();
        map.insert(4096, site(1)).unwrap();
        map.insert(4097, site(2)).unwrap();
        let mut seen = Vec::new();
        map.each(|address, value| seen.push((address, value)));
        assert_eq!(seen, [(4096, site(1)), (4097, site(2))]);
        assert_eq!((map.get(4096), map.get(8192)), (Some(site(1)), None));
        assert!(map.put_beside(4112, site(3)) && !map.put_beside(4113, site(3)));
        assert_eq!(map.get(4112), Some(site(3)));
        // SAFETY: one thread.
        unsafe { map.clear() };
        assert_eq!(map.remove(4096), None);
        assert_eq!(map.remove(4097), None);
    }

    proptest! {
        #[test]
        fn behaves_as_a_hash_map(
            steps in prop::collection::vec((any::<bool>(), 1_usize..2000, 1_u32..100), 0..400),
            base in prop::sample::select(vec![0_usize, 0x7f12_3456_0000, 0x5555_0003_fc00]),
        ) {
            let map = boxed();
            let mut model = HashMap::new();
            for (insert, offset, n) in steps {
                let address = base + offset;
                prop_assert!(map.may_hold(address) || !model.contains_key(&address));
                prop_assert_eq!(map.get(address), model.get(&address).copied());
                prop_assert!(!map.may_hold(address) || !model.is_empty());
                if insert {
                    prop_assert_eq!(map.insert(address, site(n)), Ok(model.insert(address, site(n))));
                } else {
                    prop_assert_eq!(map.remove(address), model.remove(&address));
                }
            }
        }
    }
}
