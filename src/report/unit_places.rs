//! Where each unit's code lies, as `.debug_aranges` says: so that most units need not be looked at.

use gimli::{DebugAranges, Reader};
use std::ops::Range;

/// Units by their offsets in `.debug_info`, sorted.
#[derive(Debug, Default)]
pub(super) struct UnitPlaces {
    /// Those of which it says where their code lies.
    told: Vec<usize>,
    /// Of these, those that have code which is wanted.
    wanted: Vec<usize>,
}

impl UnitPlaces {
    /// `is_wanted` tells whether anything in a range of addresses is looked for.
    pub(super) fn new<R: Reader<Offset = usize>>(
        aranges: &DebugAranges<R>,
        is_wanted: impl Fn(Range<u64>) -> bool,
    ) -> Self {
        let mut places = Self::default();
        let mut headers = aranges.headers();
        while let Ok(Some(header)) = headers.next() {
            let unit = header.debug_info_offset().0;
            let (mut is_told, mut has_wanted) = (false, false);
            let mut entries = header.entries();
            loop {
                match entries.next() {
                    Ok(Some(entry)) => {
                        is_told = true;
                        let range = entry.range();
                        // Linkers leave functions that they dropped at address 0.
                        has_wanted |= range.begin != 0 && is_wanted(range.begin..range.end);
                    }
                    Ok(None) => break,
                    Err(_) => {
                        is_told = false;
                        break;
                    }
                }
            }
            if is_told {
                places.told.push(unit);
            }
            if has_wanted {
                places.wanted.push(unit);
            }
        }
        places.told.sort_unstable();
        places.wanted.sort_unstable();
        places
    }

    /// Whether something that is looked for may lie in the unit.
    pub(super) fn may_hold(&self, unit: usize) -> bool {
        self.told.binary_search(&unit).is_err() || self.wanted.binary_search(&unit).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gimli::{EndianSlice, LittleEndian};

    /// What is told of one unit.
    fn set(unit: u32, ranges: &[(u64, u64)]) -> Vec<u8> {
        let mut set = vec![2, 0];
        set.extend(unit.to_le_bytes());
        // The sizes of an address and of a segment, and padding.
        set.extend([8, 0, 0, 0, 0, 0]);
        for (begin, bytes) in ranges.iter().chain(&[(0, 0)]) {
            set.extend(begin.to_le_bytes());
            set.extend(bytes.to_le_bytes());
        }
        [&(set.len() as u32).to_le_bytes()[..], &set].concat()
    }

    #[test]
    fn only_units_without_wanted_code_are_left_out() {
        let section = [
            set(300, &[(0x1000, 0x10), (0x2000, 0x10)]),
            set(100, &[(0x1010, 0x10)]),
            // Dropped by the linker.
            set(200, &[(0, 0x2000)]),
            set(400, &[]),
        ];
        let section = section.concat();
        let is_wanted = |range: Range<u64>| range.contains(&0x2005);
        let read = |bytes| {
            let aranges = DebugAranges::from(EndianSlice::new(bytes, LittleEndian));
            let places = UnitPlaces::new(&aranges, is_wanted);
            [100, 200, 300, 400, 500].map(|unit| places.may_hold(unit))
        };
        assert_eq!(read(&section), [false, false, true, true, true]);
        // Of what is cut off nothing is known.
        assert_eq!(read(&section[..20]), [true; 5]);
        assert_eq!(read(&[]), [true; 5]);
    }
}
