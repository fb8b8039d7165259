//! The blocks of a scope that are live. Whoever frees one meanwhile waits in front of
//! counting that: the caller holds the scope's slot.

use crate::record::Recorder;
use crate::record::block_entry::{Measured, More};
use crate::record::block_map::GRANULE_BYTES;
use crate::record::scope::tag::Tag;
use crate::record::sites::SiteId;

/// So far back the beginning of a block is looked for; larger blocks are listed.
const NEAR_GRANULES: usize = 256;

/// Blocks of more than this may have bytes that are further from the beginning.
pub(crate) const NEAR_BYTES: usize = NEAR_GRANULES * GRANULE_BYTES;

/// A block of a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LiveBlock {
    pub(crate) address: usize,
    /// Of its site, in the scope that was asked for.
    pub(crate) number: u32,
    /// None: there is no place for it, as for some tiny blocks.
    pub(crate) bytes: Option<usize>,
    pub(crate) how: Measured,
}

impl LiveBlock {
    pub(crate) fn contains(&self, address: usize) -> bool {
        let bytes = self.bytes.unwrap_or(GRANULE_BYTES);
        address.wrapping_sub(self.address) < bytes
    }
}

impl Recorder {
    /// Every live block of the scope and of those in it, in order of addresses but for
    /// those at odd ones.
    pub(crate) fn each_live_in_scope(&self, scope: u32, mut visit: impl FnMut(LiveBlock)) {
        self.blocks.each(|address, word| {
            if let Some(live) = self.live_in_scope(scope, address, word) {
                visit(live);
            }
        });
    }

    /// The scope's block that begins nearest before an address, or at it; if none does near
    /// it, the address may still lie in a large one.
    pub(crate) fn nearest_in_scope(&self, scope: u32, address: usize) -> Option<LiveBlock> {
        let live = |start, word| self.live_in_scope(scope, start, word);
        self.blocks.find_before(address, NEAR_GRANULES, live)
    }

    fn live_in_scope(&self, scope: u32, address: usize, word: SiteId) -> Option<LiveBlock> {
        let (mut at, mut number) = Tag::of(word).map(|tag| (tag.slot(), tag.ordinal()))?;
        while at != scope {
            let slot = self.scopes.get(at)?;
            (at, number) = (slot.parent(), slot.in_parent(number));
        }
        let more = self.more(address);
        let bytes = more.map(|more| match more.is_in_pages() {
            true => more.bytes() + self.more(address + GRANULE_BYTES).map_or(0, More::bytes),
            false => more.bytes(),
        });
        Some(LiveBlock {
            address,
            number,
            bytes,
            how: more.map_or(Measured::Not, More::how),
        })
    }
}
