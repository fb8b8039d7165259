//! The blocks of a scope that are live.

use crate::record::Recorder;
use crate::record::block_entry::More;
use crate::record::scope::tag::Tag;

/// A block of a scope.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveBlock {
    pub(crate) address: usize,
    /// Of its site, in the scope that was asked for.
    pub(crate) number: u32,
    /// None: there is no place for it, as for some tiny blocks.
    pub(crate) more: Option<More>,
}

impl Recorder {
    /// Every live block of the scope and of those in it, in order of addresses but for
    /// those at odd ones. Whoever frees one meanwhile waits in front of counting that:
    /// the caller holds the scope's slot.
    pub(crate) fn each_live_in_scope(&self, scope: u32, mut visit: impl FnMut(LiveBlock)) {
        self.blocks.each(|address, word| {
            if let Some(number) = Tag::of(word).and_then(|tag| self.number_within(tag, scope)) {
                let more = self.more(address);
                visit(LiveBlock {
                    address,
                    number,
                    more,
                });
            }
        });
    }

    /// The number in `scope` of the site of a block with this tag. None: it is not in
    /// that scope.
    pub(crate) fn number_within(&self, tag: Tag, scope: u32) -> Option<u32> {
        let (mut at, mut number) = (tag.slot(), tag.ordinal());
        while at != scope {
            let slot = self.scopes.get(at)?;
            (at, number) = (slot.parent(), slot.in_parent(number));
        }
        Some(number)
    }
}
