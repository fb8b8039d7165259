//! Blocks that the block map cannot hold: a hash table by address, striped so
//! that threads seldom meet on a lock.

use crate::lock::SpinLock;
use crate::record::block_map::NoRoom;
use crate::record::hashing::{AddressHasher, stripe_of};
use crate::record::sites::SiteId;
use crate::untracked::Untracked;
use hashbrown::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

const STRIPES: usize = 64;

type Stripe = HashMap<usize, SiteId, BuildHasherDefault<AddressHasher>, Untracked>;

#[derive(Debug)]
pub(crate) struct OddBlocks {
    stripes: [SpinLock<Stripe>; STRIPES],
    /// How many there are, so that a free of an unknown block need not look
    /// where nothing is.
    count: AtomicUsize,
}

impl OddBlocks {
    pub(crate) const fn new() -> Self {
        Self {
            stripes: [const {
                SpinLock::new(Stripe::with_hasher_in(BuildHasherDefault::new(), Untracked))
            }; STRIPES],
            count: AtomicUsize::new(0),
        }
    }

    #[cold]
    pub(crate) fn insert(&self, address: usize, site: SiteId) -> Result<Option<SiteId>, NoRoom> {
        let mut stripe = self.stripes[stripe_of(address as u64, STRIPES)].lock();
        stripe.try_reserve(1).map_err(|_| NoRoom)?;
        let before = stripe.insert(address, site);
        if before.is_none() {
            self.count.fetch_add(1, Relaxed);
        }
        Ok(before)
    }

    /// Relaxed is enough for the count: a thread that frees a block learned of
    /// it after it was inserted, so it sees at least that insertion.
    #[inline]
    pub(crate) fn remove(&self, address: usize) -> Option<SiteId> {
        if self.is_empty() {
            return None;
        }
        self.remove_present(address)
    }

    /// As for [`Self::remove`].
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Relaxed) == 0
    }

    pub(crate) fn get(&self, address: usize) -> Option<SiteId> {
        let stripe = self.stripes[stripe_of(address as u64, STRIPES)].lock();
        stripe.get(&address).copied()
    }

    #[cold]
    fn remove_present(&self, address: usize) -> Option<SiteId> {
        let mut stripe = self.stripes[stripe_of(address as u64, STRIPES)].lock();
        let site = stripe.remove(&address);
        if site.is_some() {
            self.count.fetch_sub(1, Relaxed);
        }
        site
    }

    /// As [`BlockMap::retag`](crate::record::block_map::BlockMap::retag).
    pub(crate) fn retag(&self, new: impl Fn(SiteId) -> Option<SiteId>) {
        for stripe in &self.stripes {
            let mut stripe = stripe.lock();
            let before = stripe.len();
            stripe.retain(|_, value| match new(*value) {
                Some(changed) => {
                    *value = changed;
                    true
                }
                None => false,
            });
            self.count.fetch_sub(before - stripe.len(), Relaxed);
        }
    }

    pub(crate) fn each(&self, mut visit: impl FnMut(usize, SiteId)) {
        for stripe in &self.stripes {
            for (&address, &site) in stripe.lock().iter() {
                visit(address, site);
            }
        }
    }

    pub(crate) fn clear(&self) {
        for stripe in &self.stripes {
            let mut stripe = stripe.lock();
            stripe.clear();
            stripe.shrink_to_fit();
        }
        self.count.store(0, Relaxed);
    }
}
