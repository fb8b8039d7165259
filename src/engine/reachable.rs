//! Which live blocks of a scope a value leads to: those that a word of the value points
//! into, and those that a word of such a block points into. Whatever looks like an address is
//! taken for one, as LeakSanitizer does; one that is stored in disguise is not seen.

use crate::engine::Engine;
use crate::engine::scopes::ScopeReading;
use crate::engine::thread::Refused;
use crate::record::hashing::AddressHasher;
use crate::record::scope::live::{LiveBlock, NEAR_BYTES};
use crate::touch::peek::{self, WORD_BYTES};
use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::ops::Range;

/// No block begins below, so what is less need not be looked up.
const LEAST_ADDRESS: usize = 1 << 16;
const ADDRESSES_END: usize = 1 << 47;

/// Room for a search, so that nothing is allocated in it.
#[derive(Debug, Default)]
pub(super) struct Search {
    blocks: usize,
    seen: HashSet<usize, BuildHasherDefault<AddressHasher>>,
    to_read: Vec<Range<usize>>,
    /// Once it is asked for: those whose beginning may be far from a word in them.
    large: Vec<LiveBlock>,
    is_large_listed: bool,
    /// Blocks and bytes, by the number of the site.
    reached: Vec<(u64, u64)>,
    buffer: Vec<u8>,
}

impl Search {
    /// Whether there is no room for so many blocks and sites.
    pub(super) fn lacks(&self, blocks: u64, sites: usize) -> bool {
        blocks > 0 && (blocks as usize > self.blocks || sites >= self.reached.len())
    }

    pub(super) fn grow(&mut self, blocks: u64, sites: usize) {
        self.blocks = blocks as usize + 64;
        self.seen.reserve(self.blocks);
        self.to_read.reserve(self.blocks + 1);
        self.large.reserve(self.blocks);
        self.reached.resize(sites + 64, (0, 0));
        self.buffer.resize(peek::PIECE_BYTES, 0);
    }

    fn add(&mut self, live: &LiveBlock) {
        // Where the size is not known, one word may be more than there is.
        let bytes = live.bytes.unwrap_or(WORD_BYTES);
        if self.seen.len() == self.blocks || !self.seen.insert(live.address) {
            return;
        }
        self.to_read.push(live.address..live.address + bytes);
        if let Some((reached_blocks, reached_bytes)) = self.reached.get_mut(live.number as usize) {
            *reached_blocks += 1;
            *reached_bytes += bytes as u64;
        }
    }

    fn large_before(&self, address: usize) -> Option<LiveBlock> {
        let after = self.large.partition_point(|live| live.address <= address);
        self.large[..after].last().copied()
    }
}

impl Engine {
    /// Tells a reading of the scope, whose slot the caller holds, which blocks the bytes at
    /// `root` do not lead to. Nothing is allocated here.
    pub(super) fn tell_leaks(
        &self,
        scope: u32,
        root: Range<usize>,
        reading: &mut ScopeReading,
        search: &mut Search,
    ) {
        search.to_read.push(root);
        let may_be_gone = self.has_missed_frees();
        let mut buffer = std::mem::take(&mut search.buffer);
        while let Some(range) = search.to_read.pop() {
            let follow = |word| self.follow(scope, word, search);
            match may_be_gone {
                true => peek::each_word(range, &mut buffer, follow),
                // SAFETY: the value that the caller of the caller holds, or a block whose
                // free has not been counted, and cannot be before the slot is let go of.
                false => unsafe { peek::each_mapped_word(range, follow) },
            }
        }
        search.buffer = buffer;
        // Sites are read in the order of their numbers, from 1 on. Of a scope that keeps no
        // stacks blocks have the number 0, but for those of scopes in it that do.
        let mut others = reading.usage;
        let (mut blocks, mut bytes) = (0, 0);
        for ((_, site), &reached) in reading.sites.iter_mut().zip(&search.reached[1..]) {
            site.leave_out_reached(reached);
            (blocks, bytes) = (blocks + site.leaked_blocks, bytes + site.leaked_bytes);
            others.live_blocks -= site.live_blocks;
            others.live_bytes -= site.live_bytes;
        }
        others.leave_out_reached(search.reached[0]);
        reading.usage.leaked_blocks = blocks + others.leaked_blocks;
        reading.usage.leaked_bytes = bytes + others.leaked_bytes;
    }

    /// Whether blocks may be in the map that are the program's no more: signal handlers
    /// have freed some unseen.
    fn has_missed_frees(&self) -> bool {
        let frees = |refused: &Refused| refused.get().1;
        let mut threads = self.threads.iter();
        // SAFETY: blocks stay mapped, and these counts are atomic.
        frees(&self.in_transit) > 0
            || threads.any(|thread| frees(unsafe { &(*thread.as_ptr()).refused }) > 0)
    }

    #[inline]
    fn follow(&self, scope: u32, word: usize, search: &mut Search) {
        if !(LEAST_ADDRESS..ADDRESSES_END).contains(&word) {
            return;
        }
        let near = self.recorder.nearest_in_scope(scope, word);
        let found = near.or_else(|| {
            self.list_large(scope, search);
            search.large_before(word)
        });
        if let Some(live) = found.filter(|live| live.contains(word)) {
            search.add(&live);
        }
    }

    fn list_large(&self, scope: u32, search: &mut Search) {
        if std::mem::replace(&mut search.is_large_listed, true) {
            return;
        }
        self.recorder.each_live_in_scope(scope, |live| {
            let is_large = live.bytes.is_some_and(|bytes| bytes > NEAR_BYTES);
            if is_large && search.large.len() < search.large.capacity() {
                search.large.push(live);
            }
        });
        search.large.sort_unstable_by_key(|live| live.address);
    }
}
