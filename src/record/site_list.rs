//! The sites of a reading with their counts, packed: most counts of most sites are small or 0,
//! and a program can have hundreds of thousands of sites when its profile is written.

use crate::record::sites::MAX_SITES;
use crate::record::snapshot::{Counts, SampleSum, SiteCounts, Touched};

/// Which site, and of which stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SitePlace {
    /// In the order in which sites were made.
    pub(crate) number: u32,
    /// Index of the node of the innermost frame.
    pub(crate) leaf: u32,
    /// Where its counts begin in [`SiteList::packed`].
    counts_at: u32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct SiteList {
    places: Vec<SitePlace>,
    /// Of each site: which of its fields are not 0, as bits, then these. Seven bits of a number
    /// a byte, the lowest first; the eighth says that there are more.
    packed: Vec<u8>,
}

/// Numbers in a site's counts, those first by which sites are sorted.
const FIELDS: usize = 32;

const NUMBER_BYTES_MAX: usize = 10;
const _: () = assert!(MAX_SITES * (FIELDS + 1) * NUMBER_BYTES_MAX <= u32::MAX as usize);

impl SiteList {
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    pub(crate) fn push(&mut self, site: &SiteCounts) {
        self.places.push(SitePlace {
            number: site.number,
            leaf: site.leaf,
            counts_at: self.packed.len() as u32,
        });
        let fields = fields_of(&site.counts);
        let bits = fields.iter().enumerate();
        let mask = bits.fold(0, |mask, (at, &field)| mask | u64::from(field != 0) << at);
        self.push_number(mask);
        for field in fields.into_iter().filter(|&field| field != 0) {
            self.push_number(field);
        }
    }

    fn push_number(&mut self, mut number: u64) {
        while number > 0x7f {
            self.packed.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.packed.push(number as u8);
    }

    pub(crate) fn places(&self) -> &[SitePlace] {
        &self.places
    }

    pub(crate) fn places_mut(&mut self) -> &mut [SitePlace] {
        &mut self.places
    }

    /// # Panics
    /// If there are not so many sites.
    pub(crate) fn counts(&self, index: usize) -> Counts {
        counts_of(self.fields::<FIELDS>(index))
    }

    /// Total bytes and total blocks; less work than to have all counts.
    ///
    /// # Panics
    /// If there are not so many sites.
    pub(crate) fn size(&self, index: usize) -> (u64, u64) {
        let [bytes, blocks] = self.fields::<2>(index);
        (bytes, blocks)
    }

    /// The first `N` fields of a site.
    fn fields<const N: usize>(&self, index: usize) -> [u64; N] {
        let mut rest = &self.packed[self.places[index].counts_at as usize..];
        let mask = take_number(&mut rest);
        let mut fields = [0; N];
        for (at, field) in fields.iter_mut().enumerate() {
            if mask >> at & 1 != 0 {
                *field = take_number(&mut rest);
            }
        }
        fields
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = SiteCounts> + '_ {
        let places = self.places.iter().enumerate();
        places.map(|(index, place)| SiteCounts {
            number: place.number,
            leaf: place.leaf,
            counts: self.counts(index),
        })
    }
}

impl Extend<SiteCounts> for SiteList {
    fn extend<T: IntoIterator<Item = SiteCounts>>(&mut self, sites: T) {
        sites.into_iter().for_each(|site| self.push(&site));
    }
}

impl FromIterator<SiteCounts> for SiteList {
    fn from_iter<T: IntoIterator<Item = SiteCounts>>(sites: T) -> Self {
        let mut list = Self::default();
        list.extend(sites);
        list
    }
}

fn take_number(bytes: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    while let [byte, rest @ ..] = *bytes {
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

/// Every field is named, so that none is forgotten when one is added.
fn fields_of(counts: &Counts) -> [u64; FIELDS] {
    let Counts {
        total_blocks,
        total_bytes,
        lifetimes_us,
        max_bytes,
        max_blocks,
        peak_bytes,
        peak_blocks,
        end_bytes,
        end_blocks,
        largest_bytes,
        reallocs,
        kept_bytes,
        copied_bytes,
        samples,
        touched,
    } = *counts;
    let SampleSum {
        samples,
        live_samples,
        largest_bytes: largest_sample,
        bytes_variance,
        blocks_variance,
        end_bytes_variance,
        end_blocks_variance,
    } = samples;
    let Touched {
        blocks,
        bytes,
        written_bytes,
        tail_bytes,
        all_bytes,
        all_written_bytes,
        all_tail_bytes,
        unsure_below,
        unsure_above,
        error_below,
        error_above,
        unmeasured_blocks,
    } = touched;
    [
        total_bytes,
        total_blocks,
        lifetimes_us,
        max_bytes,
        max_blocks,
        peak_bytes,
        peak_blocks,
        end_bytes,
        end_blocks,
        largest_bytes,
        reallocs,
        kept_bytes,
        copied_bytes,
        blocks,
        bytes,
        written_bytes,
        tail_bytes,
        all_bytes,
        all_written_bytes,
        all_tail_bytes,
        unsure_below,
        unsure_above,
        error_below,
        error_above,
        unmeasured_blocks,
        samples,
        live_samples,
        largest_sample,
        bytes_variance.to_bits(),
        blocks_variance.to_bits(),
        end_bytes_variance.to_bits(),
        end_blocks_variance.to_bits(),
    ]
}

fn counts_of(fields: [u64; FIELDS]) -> Counts {
    let [
        total_bytes,
        total_blocks,
        lifetimes_us,
        max_bytes,
        max_blocks,
        peak_bytes,
        peak_blocks,
        end_bytes,
        end_blocks,
        largest_bytes,
        reallocs,
        kept_bytes,
        copied_bytes,
        blocks,
        bytes,
        written_bytes,
        tail_bytes,
        all_bytes,
        all_written_bytes,
        all_tail_bytes,
        unsure_below,
        unsure_above,
        error_below,
        error_above,
        unmeasured_blocks,
        samples,
        live_samples,
        largest_sample,
        bytes_variance,
        blocks_variance,
        end_bytes_variance,
        end_blocks_variance,
    ] = fields;
    Counts {
        total_blocks,
        total_bytes,
        lifetimes_us,
        max_bytes,
        max_blocks,
        peak_bytes,
        peak_blocks,
        end_bytes,
        end_blocks,
        largest_bytes,
        reallocs,
        kept_bytes,
        copied_bytes,
        samples: SampleSum {
            samples,
            live_samples,
            largest_bytes: largest_sample,
            bytes_variance: f64::from_bits(bytes_variance),
            blocks_variance: f64::from_bits(blocks_variance),
            end_bytes_variance: f64::from_bits(end_bytes_variance),
            end_blocks_variance: f64::from_bits(end_blocks_variance),
        },
        touched: Touched {
            blocks,
            bytes,
            written_bytes,
            tail_bytes,
            all_bytes,
            all_written_bytes,
            all_tail_bytes,
            unsure_below,
            unsure_above,
            error_below,
            error_above,
            unmeasured_blocks,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Mostly small, sometimes of any length.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![
            Just(0),
            1..300_u64,
            any::<u64>().prop_map(|n| n >> (n % 64))
        ]
    }

    proptest! {
        #[test]
        fn holds_what_was_put_in(
            sites in prop::collection::vec(prop::array::uniform32(number()), 0..20),
        ) {
            let site = |(number, fields): (usize, &[u64; FIELDS])| SiteCounts {
                number: number as u32 + 1,
                leaf: number as u32 * 3,
                counts: counts_of(*fields),
            };
            let list: SiteList = sites.iter().enumerate().map(site).collect();
            prop_assert_eq!(list.len(), sites.len());
            for (at, (fields, found)) in sites.iter().zip(list.iter()).enumerate() {
                // Not as counts: what is no number is not equal to itself.
                prop_assert_eq!(&fields_of(&found.counts), fields);
                prop_assert_eq!((found.number, found.leaf), (at as u32 + 1, at as u32 * 3));
                prop_assert_eq!(list.size(at), (found.counts.total_bytes, found.counts.total_blocks));
            }
        }
    }
}
