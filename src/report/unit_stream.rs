//! A compressed `.debug_info`, of which one unit at a time is in memory: unpacked it is the largest
//! part of what a report needs.

use super::unpack::UNPACKED_BYTES_MAX;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush, MZStatus};
use object::{CompressionFormat, ObjectSection};

pub(super) struct UnitStream<'data> {
    state: Box<InflateState>,
    packed: &'data [u8],
    is_big_endian: bool,
    unit: Vec<u8>,
    /// Bytes unpacked so far.
    reached: usize,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    NotYet,
    Whole,
    /// It is not as it says.
    Broken,
}

/// Unpacked before it is looked at whether there are more.
const PIECE_BYTES: usize = 64 << 10;

impl<'data> UnitStream<'data> {
    /// None: the section is not compressed by zlib.
    pub(super) fn of(section: &impl ObjectSection<'data>, is_big_endian: bool) -> Option<Self> {
        let stored = section.compressed_data().ok()?;
        let is_zlib = stored.format == CompressionFormat::Zlib;
        is_zlib.then(|| Self::new(stored.data, is_big_endian))
    }

    fn new(packed: &'data [u8], is_big_endian: bool) -> Self {
        Self {
            state: Box::new(InflateState::new(DataFormat::Zlib)),
            packed,
            is_big_endian,
            unit: Vec::new(),
            reached: 0,
            end: End::NotYet,
        }
    }

    /// The next unit, with its header. None: there are no more, or what follows is broken.
    pub(super) fn next(&mut self) -> Option<&[u8]> {
        self.unit.clear();
        if !self.fill(4) {
            if self.unit.is_empty() && self.end == End::Whole {
                return None;
            }
            self.end = End::Broken;
            return None;
        }
        let mut bytes = 4 + self.number(0..4);
        if bytes == 4 + u64::from(u32::MAX) {
            // Lengths of 64 bits.
            self.fill(12);
            bytes = 12_u64.saturating_add(self.number(4..12));
        }
        if bytes > UNPACKED_BYTES_MAX - self.reached as u64 || !self.fill(bytes as usize) {
            self.end = End::Broken;
            return None;
        }
        Some(&self.unit)
    }

    /// Bytes of units so far.
    pub(super) fn reached(&self) -> usize {
        self.reached
    }

    pub(super) fn is_broken(&self) -> bool {
        self.end == End::Broken
    }

    /// Of a missing byte: 0.
    fn number(&self, range: std::ops::Range<usize>) -> u64 {
        let bytes = self.unit.get(range).unwrap_or_default().iter();
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        match self.is_big_endian {
            true => bytes.fold(0, add),
            false => bytes.rev().fold(0, add),
        }
    }

    /// Unpacks until so many bytes of the unit are there. False: there are not so many.
    fn fill(&mut self, bytes: usize) -> bool {
        while self.unit.len() < bytes && self.end == End::NotYet {
            let before = self.unit.len();
            self.unit.resize(bytes.min(before + PIECE_BYTES), 0);
            let into = &mut self.unit[before..];
            let done = inflate(&mut self.state, self.packed, into, MZFlush::None);
            self.packed = &self.packed[done.bytes_consumed..];
            self.unit.truncate(before + done.bytes_written);
            self.reached += done.bytes_written;
            match done.status {
                Ok(MZStatus::Ok) if done.bytes_written > 0 || done.bytes_consumed > 0 => {}
                Ok(MZStatus::StreamEnd) => self.end = End::Whole,
                _ => self.end = End::Broken,
            }
        }
        self.unit.len() >= bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(bytes: &[u8]) -> Vec<u8> {
        // zlib's header, one block that is stored as it is, and the checksum.
        let (length, mut a, mut b) = (bytes.len() as u16, 1_u32, 0_u32);
        for &byte in bytes {
            a = (a + u32::from(byte)) % 65521;
            b = (b + a) % 65521;
        }
        let mut packed = vec![0x78, 0x01, 0x01];
        packed.extend(length.to_le_bytes());
        packed.extend((!length).to_le_bytes());
        packed.extend(bytes);
        packed.extend((b << 16 | a).to_be_bytes());
        packed
    }

    fn units(packed: &[u8], is_big_endian: bool) -> (Vec<Vec<u8>>, bool) {
        let mut stream = UnitStream::new(packed, is_big_endian);
        let mut units = Vec::new();
        while let Some(unit) = stream.next() {
            units.push(unit.to_vec());
        }
        (units, stream.is_broken())
    }

    #[test]
    fn units_come_one_by_one() {
        let short = [3, 0, 0, 0, 7, 8, 9];
        let long = [
            &[0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0, 0, 0][..],
            &[5, 6],
        ]
        .concat();
        let all = [&short[..], &long, &short].concat();
        let expected = (vec![short.to_vec(), long, short.to_vec()], false);
        assert_eq!(units(&stored(&all), false), expected);
        let big = [0, 0, 0, 1, 7];
        assert_eq!(units(&stored(&big), true), (vec![big.to_vec()], false));
        assert_eq!(units(&stored(&[]), false), (vec![], false));
    }

    #[test]
    fn what_is_not_as_it_says_is_broken() {
        let unit = [3, 0, 0, 0, 7, 8, 9];
        let whole = vec![unit.to_vec()];
        // A unit that is cut off, one that is longer than any, and a length that is.
        let cut = [&unit[..], &[9, 0, 0, 0, 1]].concat();
        let endless = [&unit[..], &[0xff; 12]].concat();
        let no_length = [&unit[..], &[1, 0]].concat();
        for bytes in [cut, endless, no_length] {
            assert_eq!(units(&stored(&bytes), false), (whole.clone(), true));
        }
        let packed = stored(&unit);
        assert_eq!(units(&packed[..8], false), (vec![], true));
        assert_eq!(units(&[1, 2, 3], false), (vec![], true));
    }
}
