//! Hashing of addresses and of words that are hashes already.

use std::hash::Hasher;

const ODD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Fibonacci hashing with the high bits folded down: enough for addresses,
/// whose low bits are alike.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn spread(word: u64) -> u64 {
    let product = word.wrapping_mul(ODD);
    product ^ (product >> 29)
}

/// The stripe of `stripes` (a power of two) for a word. Takes bits that
/// hashbrown uses neither to choose a bucket in small tables nor as its tag.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(crate) fn stripe_of(word: u64, stripes: usize) -> usize {
    (spread(word) >> 40) as usize & (stripes - 1)
}

/// Hashes one address.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = spread(self.0 ^ u64::from(byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = spread(self.0 ^ address as u64);
    }
}
