//! What a book tells of its sites.

use super::{Book, CHUNK};
use crate::record::Sums;
use crate::record::sites::MAX_SITES;
use std::ops::Range;

impl Book {
    /// Adds this book's counts of the sites of `sums`. `epoch` is that of the peak.
    pub(crate) fn add_sites_to(&self, sums: &mut Sums, epoch: u32) {
        let first = sums.first;
        for piece in pieces(first..first + sums.by_site.len()) {
            if self.counters.get(piece.start).is_some() {
                for site in piece.clone() {
                    let sum = &mut sums.by_site[site - first];
                    if let Some(counters) = self.counters.get(site) {
                        counters.add_to(sum, epoch);
                    }
                    if let Some(reallocs) = self.reallocs.get(site) {
                        reallocs.add_to(sum);
                    }
                }
            }
            if !sums.samples.is_empty() && self.samples.get(piece.start).is_some() {
                for site in piece.clone() {
                    if let Some(samples) = self.samples.get(site) {
                        samples.add_to(&mut sums.samples[site - first]);
                    }
                }
            }
            if !sums.touch_by_site.is_empty() && self.touch.has_chunk_of(piece.start) {
                for site in piece {
                    self.touch
                        .add_to(site, &mut sums.touch_by_site[site - first]);
                }
            }
        }
        self.times.add_sites_to(first, &mut sums.time_by_site);
    }

    /// Forgets the counts of all sites whose counters share a chunk with those of `site`, and
    /// gives their memory back.
    ///
    /// # Safety
    /// No other thread uses the book or looks at its counters meanwhile.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn forget_chunk_of(&self, site: usize) {
        // SAFETY: the caller's promise covers all counters.
        unsafe {
            self.counters.zero_chunk_of(site);
            self.reallocs.zero_chunk_of(site);
            self.samples.zero_chunk_of(site);
            self.touch.forget_chunk_of(site);
            self.times.forget_chunk_of(site);
        }
    }
}

/// The sites of each chunk.
pub(crate) fn chunks_of_sites(count: usize) -> impl Iterator<Item = Range<usize>> {
    pieces(0..count.min(MAX_SITES))
}

/// The parts of a range of sites, by the chunks that they lie in.
fn pieces(sites: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut at = sites.start;
    std::iter::from_fn(move || {
        let start = at;
        at = ((start / CHUNK + 1) * CHUNK).min(sites.end);
        (start < sites.end).then_some(start..at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_a_range_in_whole() {
        let ends = [
            (0, 0),
            (0, 3),
            (0, CHUNK),
            (5, CHUNK + 1),
            (CHUNK, 3 * CHUNK),
        ];
        for (start, end) in ends {
            let mut at = start;
            for piece in pieces(start..end) {
                assert_eq!(piece.start, at);
                assert!(piece.start < piece.end);
                assert_eq!(piece.start / CHUNK, (piece.end - 1) / CHUNK);
                at = piece.end;
            }
            assert_eq!(at, end);
        }
    }
}
