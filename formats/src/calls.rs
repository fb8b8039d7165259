//! Which frames of a stack are one call.

use crate::frame::Frame;
use crate::model::Profile;

/// The addresses of a profile's frames: what was inlined into a call has the call's address.
pub(crate) struct Calls {
    addresses: Vec<Option<u64>>,
}

impl Calls {
    pub(crate) fn of(profile: &Profile) -> Self {
        let frames = profile.frames.iter();
        Self {
            addresses: frames.map(|text| Frame::parse(text).address).collect(),
        }
    }

    pub(crate) fn address(&self, frame: u32) -> Option<u64> {
        self.addresses[frame as usize]
    }

    /// The calls of a stack, each with its frames, innermost first.
    pub(crate) fn split<'a>(&self, mut stack: &'a [u32]) -> impl Iterator<Item = &'a [u32]> {
        std::iter::from_fn(move || {
            let (call, rest) = stack.split_at(self.first(stack)?);
            stack = rest;
            Some(call)
        })
    }

    /// How many frames the first call has. A frame that comes again is a recursion.
    fn first(&self, stack: &[u32]) -> Option<usize> {
        let (&first, rest) = stack.split_first()?;
        let inlined = match self.address(first) {
            None => 0,
            address => rest
                .iter()
                .take_while(|&&frame| frame != first && self.address(frame) == address)
                .count(),
        };
        Some(1 + inlined)
    }
}
