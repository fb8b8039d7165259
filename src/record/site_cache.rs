//! A thread's short cut from a stack's key to its site, without a lock.

use crate::record::sites::SiteId;

const SETS: usize = 1 << 11;

/// Two-way: with one way, two hot stacks that fall into one set would evict
/// each other for ever. Zeroed memory is an empty cache.
#[derive(Debug)]
pub(crate) struct SiteCache {
    sets: [[Entry; 2]; SETS],
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u64,
    check: u32,
    site: u32,
}

impl SiteCache {
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn get(&self, key: u64, check: u32) -> Option<SiteId> {
        let [first, second] = &self.sets[key as usize % SETS];
        if first.key == key && first.check == check {
            return SiteId::new(first.site);
        }
        if second.key == key && second.check == check {
            return SiteId::new(second.site);
        }
        None
    }

    pub(crate) fn clear(&mut self) {
        let empty = Entry {
            key: 0,
            check: 0,
            site: 0,
        };
        self.sets.fill([empty; 2]);
    }

    /// Puts the site in the first place and moves the one there to the second.
    pub(crate) fn insert(&mut self, key: u64, check: u32, site: SiteId) {
        let set = &mut self.sets[key as usize % SETS];
        set[1] = set[0];
        set[0] = Entry {
            key,
            check,
            site: site.get(),
        };
    }
}
