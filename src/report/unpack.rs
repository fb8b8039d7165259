//! Compressed sections of an object file.

use memmap2::MmapMut;
use object::{CompressionFormat, ObjectSection};
use std::ops::Deref;

/// No section is unpacked to more.
pub(super) const UNPACKED_BYTES_MAX: u64 = 8 << 30;

/// What a section holds.
pub(super) enum Contents<'data> {
    Plain(&'data [u8]),
    Unpacked(Vec<u8>),
    /// In a mapping of its own, so that none of it stays in memory afterwards.
    Mapped(MmapMut),
}

impl Default for Contents<'_> {
    fn default() -> Self {
        Self::Plain(&[])
    }
}

impl Deref for Contents<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) => bytes,
            Self::Unpacked(bytes) => bytes,
            Self::Mapped(bytes) => bytes,
        }
    }
}

/// A section's bytes. None: they are compressed in a way that nobody here reads, or not as
/// they say. zlib's is read; another crate of the program may have `object` read others.
pub(super) fn unpacked<'data>(section: &impl ObjectSection<'data>) -> Option<Contents<'data>> {
    let stored = section.compressed_data().ok()?;
    match stored.format {
        CompressionFormat::None => Some(Contents::Plain(stored.data)),
        CompressionFormat::Zlib => {
            inflated(stored.data, stored.uncompressed_size).map(Contents::Mapped)
        }
        _ => {
            let unpacked = section.uncompressed_data().ok()?;
            Some(Contents::Unpacked(unpacked.into_owned()))
        }
    }
}

fn inflated(packed: &[u8], bytes: u64) -> Option<MmapMut> {
    // What the file says may be wrong.
    let bytes = Some(bytes).filter(|&bytes| bytes <= UNPACKED_BYTES_MAX)?;
    let mut unpacked = MmapMut::map_anon(bytes as usize).ok()?;
    let packed = std::iter::once(packed);
    let written =
        miniz_oxide::inflate::decompress_slice_iter_to_slice(&mut unpacked, packed, true, false);
    (written.ok()? == unpacked.len()).then_some(unpacked)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "aaaaaaaaaa", as zlib packs it.
    const TEN: &[u8] = &[
        0x78, 0x9C, 0x4B, 0x4C, 0x84, 0x01, 0x00, 0x14, 0xE1, 0x03, 0xCB,
    ];

    #[test]
    fn only_what_is_as_it_says_is_unpacked() {
        assert_eq!(inflated(TEN, 10).as_deref(), Some(&b"aaaaaaaaaa"[..]));
        for (packed, bytes) in [
            (TEN, 9),
            (TEN, 11),
            (TEN, u64::MAX),
            (&TEN[..6], 10),
            (&[], 10),
        ] {
            assert!(inflated(packed, bytes).is_none(), "{bytes}");
        }
        let mut damaged = TEN.to_vec();
        damaged[10] ^= 1;
        assert!(inflated(&damaged, 10).is_none());
    }
}
