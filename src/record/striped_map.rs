//! The classic alternative to the block map, for the comparison alone: all blocks in 256
//! hash tables by address, each under a lock. With the feature `striped-tables` every block
//! is one that the map of granules has no place for, and comes here.
//!
//! As fast as such tables are: a stripe has a cache line of its own, an address is hashed
//! once, nothing is shared by stripes, and tables lie in huge pages once there is much of them.

use crate::clock;
use crate::lock::SpinLock;
use crate::record::Recorder;
use crate::record::block_map::NoRoom;
use crate::record::book::Book;
use crate::record::hashing::{spread, stripe_of};
use crate::record::site_counters::Change;
use crate::record::sites::SiteId;
use crate::untracked::{self, DenseMemory};
use std::ptr::NonNull;

const STRIPES: usize = 256;

static TABLES: DenseMemory = DenseMemory::new();

/// All zero where there is none.
#[derive(Clone, Copy)]
struct Block {
    address: usize,
    site: Option<SiteId>,
}

const FIRST_CAPACITY: usize = 4096 / size_of::<Block>();

/// Open addressing with linear probing: a look is one line of memory, mostly.
#[derive(Debug)]
struct Table {
    /// Dangling while there are none.
    blocks: NonNull<Block>,
    /// A power of two, or 0.
    capacity: usize,
    used: usize,
}

// SAFETY: memory of its own.
unsafe impl Send for Table {}

impl Table {
    const fn new() -> Self {
        Self {
            blocks: NonNull::dangling(),
            capacity: 0,
            used: 0,
        }
    }

    #[inline(always)]
    fn blocks(&mut self) -> &mut [Block] {
        // SAFETY: `capacity` of them, zeroed or written, of this table alone.
        unsafe { std::slice::from_raw_parts_mut(self.blocks.as_ptr(), self.capacity) }
    }

    /// Where `address` is, or would be put. There is a free place.
    #[inline(always)]
    fn find(&mut self, address: usize) -> &mut Block {
        let mask = self.capacity.wrapping_sub(1);
        let mut at = home(address, mask);
        let blocks = self.blocks();
        while blocks[at].site.is_some() && blocks[at].address != address {
            at = (at + 1) & mask;
        }
        &mut blocks[at]
    }

    #[inline(always)]
    fn insert(&mut self, address: usize, site: SiteId) -> Result<Option<SiteId>, NoRoom> {
        // A quarter stays free.
        if self.used >= self.capacity / 4 * 3 {
            self.rebuild((self.capacity * 2).max(FIRST_CAPACITY), Some)?;
        }
        let place = self.find(address);
        place.address = address;
        let before = place.site.replace(site);
        self.used += usize::from(before.is_none());
        Ok(before)
    }

    /// What follows moves up, so that no look ends too early.
    #[inline(always)]
    fn remove(&mut self, address: usize) -> Option<SiteId> {
        if self.capacity == 0 {
            return None;
        }
        let mask = self.capacity - 1;
        let mut at = home(address, mask);
        let blocks = self.blocks();
        while blocks[at].address != address {
            blocks[at].site?;
            at = (at + 1) & mask;
        }
        let site = blocks[at].site?;
        let mut next = (at + 1) & mask;
        while blocks[next].site.is_some() {
            let wanted = home(blocks[next].address, mask);
            if next.wrapping_sub(wanted) & mask >= next.wrapping_sub(at) & mask {
                blocks[at] = blocks[next];
                at = next;
            }
            next = (next + 1) & mask;
        }
        blocks[at] = Block {
            address: 0,
            site: None,
        };
        self.used -= 1;
        Some(site)
    }

    fn get(&mut self, address: usize) -> Option<SiteId> {
        match self.capacity {
            0 => None,
            _ => self.find(address).site,
        }
    }

    /// All that `new` leaves, in a table of this capacity.
    #[cold]
    #[inline(never)]
    fn rebuild(
        &mut self,
        capacity: usize,
        new: impl Fn(SiteId) -> Option<SiteId>,
    ) -> Result<(), NoRoom> {
        let blocks = TABLES.map(capacity * size_of::<Block>()).ok_or(NoRoom)?;
        let mut fresh = Self {
            blocks: blocks.cast(),
            capacity,
            used: 0,
        };
        for block in self.blocks() {
            if let Some(site) = block.site.and_then(&new) {
                *fresh.find(block.address) = Block {
                    site: Some(site),
                    ..*block
                };
                fresh.used += 1;
            }
        }
        // The old one goes with it.
        std::mem::swap(self, &mut fresh);
        Ok(())
    }
}

#[inline(always)]
fn home(address: usize, mask: usize) -> usize {
    spread(address as u64) as usize & mask
}

impl Drop for Table {
    fn drop(&mut self) {
        if self.capacity > 0 {
            // SAFETY: mapped by `rebuild` with this size.
            unsafe { untracked::unmap(self.blocks.cast(), self.capacity * size_of::<Block>()) };
        }
    }
}

#[derive(Debug)]
#[repr(align(64))]
struct Stripe(SpinLock<Table>);

#[derive(Debug)]
pub(crate) struct StripedMap {
    stripes: [Stripe; STRIPES],
}

impl StripedMap {
    pub(crate) const fn new() -> Self {
        Self {
            stripes: [const { Stripe(SpinLock::new(Table::new())) }; STRIPES],
        }
    }

    #[inline(always)]
    fn stripe(&self, address: usize) -> &SpinLock<Table> {
        &self.stripes[stripe_of(address as u64, STRIPES)].0
    }

    #[inline]
    pub(crate) fn insert(&self, address: usize, site: SiteId) -> Result<Option<SiteId>, NoRoom> {
        self.stripe(address).lock().insert(address, site)
    }

    #[inline]
    pub(crate) fn remove(&self, address: usize) -> Option<SiteId> {
        self.stripe(address).lock().remove(address)
    }

    pub(crate) fn get(&self, address: usize) -> Option<SiteId> {
        self.stripe(address).lock().get(address)
    }

    /// Not asked on the usual way.
    pub(crate) fn is_empty(&self) -> bool {
        self.stripes.iter().all(|stripe| stripe.0.lock().used == 0)
    }

    pub(crate) fn retag(&self, new: impl Fn(SiteId) -> Option<SiteId>) {
        for stripe in &self.stripes {
            let mut table = stripe.0.lock();
            if table.used > 0 {
                let capacity = table.capacity;
                // Without memory for it all stays as it is.
                let _ = table.rebuild(capacity, &new);
            }
        }
    }

    pub(crate) fn each(&self, mut visit: impl FnMut(usize, SiteId)) {
        for stripe in &self.stripes {
            for block in stripe.0.lock().blocks() {
                if let Some(site) = block.site {
                    visit(block.address, site);
                }
            }
        }
    }

    pub(crate) fn clear(&self) {
        for stripe in &self.stripes {
            *stripe.0.lock() = Table::new();
        }
    }
}

/// The usual ways through one table, so that what is compared is the tables.
impl Recorder {
    /// As that of the block map; but counts by any way, since the block is in its table by then.
    #[inline(never)]
    pub(crate) fn alloc_if_usual<const SHARED: bool>(
        &self,
        book: &mut Book,
        site: SiteId,
        address: usize,
        bytes: usize,
    ) -> bool {
        let Some(now) = clock::counter() else {
            return false;
        };
        // A block whose free was not seen is found there again, and told, by who is called next.
        let Ok(None) = self.blocks.insert(address, site) else {
            return false;
        };
        let is_counted = self.count_by_any_way(book, site, now, |now| Change::alloc(bytes, now));
        if !is_counted {
            self.blocks.remove(address);
        }
        is_counted
    }

    /// The same.
    #[inline(never)]
    pub(crate) fn free_if_usual<const SHARED: bool>(
        &self,
        book: &mut Book,
        address: usize,
        bytes: usize,
    ) -> bool {
        let Some(now) = clock::counter() else {
            return false;
        };
        let Some(entry) = self.take(address) else {
            return true;
        };
        // As in `free`.
        self.count_by_any_way(book, entry.site(), now, |now| Change::free(bytes, now));
        true
    }

    /// By the quickest way that serves. False: there is no memory for counters.
    #[inline(always)]
    fn count_by_any_way(
        &self,
        book: &mut Book,
        site: SiteId,
        now: u64,
        change: impl Fn(u64) -> Change,
    ) -> bool {
        self.count_if_usual::<false>(book, site, || Some(now), &change)
            || self.count_if_usual::<true>(book, site, || Some(now), &change)
            || book
                .count(site, &change(now), now, &self.sites, &self.peak)
                .is_ok()
    }
}
