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
/// The last of them.
const VARIANCES: usize = 4;

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
        let mut counts = site.counts;
        let (mut mask, mut bit) = (0, 1);
        each_field(&mut counts, |field| {
            mask |= if *field != 0 { bit } else { 0 };
            bit <<= 1;
        });
        self.push_number(mask);
        each_field(&mut counts, |&mut field| {
            if field != 0 {
                self.push_number(field);
            }
        });
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
        let mut counts = Counts::default();
        let mut next = self.fields(index);
        each_field(&mut counts, |field| *field = next());
        counts
    }

    /// Total bytes and total blocks; less work than to have all counts.
    ///
    /// # Panics
    /// If there are not so many sites.
    pub(crate) fn size(&self, index: usize) -> (u64, u64) {
        let mut next = self.fields(index);
        (next(), next())
    }

    /// Gives the fields of a site, one a call.
    fn fields(&self, index: usize) -> impl FnMut() -> u64 {
        let mut rest = &self.packed[self.places[index].counts_at as usize..];
        let mut mask = take_number(&mut rest);
        move || {
            let is_there = mask & 1 != 0;
            mask >>= 1;
            if is_there { take_number(&mut rest) } else { 0 }
        }
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

/// Visits every number of a site's counts, in their order in [`SiteList::packed`]. Every field is
/// named, so that none is forgotten when one is added.
fn each_field(counts: &mut Counts, mut visit: impl FnMut(&mut u64)) {
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
    } = counts;
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
    let whole: [_; FIELDS - VARIANCES] = [
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
    ];
    whole.into_iter().for_each(&mut visit);
    let variances: [_; VARIANCES] = [
        bytes_variance,
        blocks_variance,
        end_bytes_variance,
        end_blocks_variance,
    ];
    for variance in variances {
        let mut bits = variance.to_bits();
        visit(&mut bits);
        *variance = f64::from_bits(bits);
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
            let site = |(number, fields): (usize, &[u64; FIELDS])| {
                let (mut counts, mut next) = (Counts::default(), fields.iter());
                each_field(&mut counts, |field| *field = *next.next().unwrap());
                SiteCounts {
                    number: number as u32 + 1,
                    leaf: number as u32 * 3,
                    counts,
                }
            };
            let list: SiteList = sites.iter().enumerate().map(site).collect();
            prop_assert_eq!(list.len(), sites.len());
            for (at, (fields, mut found)) in sites.iter().zip(list.iter()).enumerate() {
                // Not as counts: what is no number is not equal to itself.
                let mut found_fields = Vec::new();
                each_field(&mut found.counts, |field| found_fields.push(*field));
                prop_assert_eq!(&found_fields, fields);
                prop_assert_eq!((found.number, found.leaf), (at as u32 + 1, at as u32 * 3));
                prop_assert_eq!(list.size(at), (found.counts.total_bytes, found.counts.total_blocks));
            }
        }
    }
}
