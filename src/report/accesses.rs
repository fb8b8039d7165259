//! Reads and writes of points that stand for several sites.

use crate::record::snapshot::{Accesses, CountedAccesses, SiteAccesses};

/// What was read from and written to the blocks of a point.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PointAccesses<'a> {
    pub(crate) bytes: SiteAccesses,
    /// How often each byte was accessed; none if blocks are of several sizes.
    pub(crate) histogram: Option<&'a [u16]>,
}

/// Sums over sites, numbered as the profile's other sums are.
#[derive(Debug)]
pub(super) struct AccessSums<'a> {
    counted: Option<&'a CountedAccesses>,
    sums: Vec<Sum>,
}

#[derive(Clone, Debug)]
struct Sum {
    bytes: SiteAccesses,
    histogram: Option<Vec<u16>>,
}

impl<'a> AccessSums<'a> {
    pub(super) fn new(accesses: &'a Accesses) -> Self {
        let counted = match accesses {
            Accesses::Counted(counted) => Some(&**counted),
            Accesses::NotCounted | Accesses::Silent(_) => None,
        };
        Self {
            counted,
            sums: Vec::new(),
        }
    }

    pub(super) fn of_site(&self, index: u32) -> Option<PointAccesses<'a>> {
        let counted = self.counted?;
        let histogram = counted.histograms.get(index as usize);
        Some(PointAccesses {
            bytes: counted.sites[index as usize],
            histogram: histogram.and_then(|histogram| histogram.as_deref()),
        })
    }

    pub(super) fn of_sum(&self, index: u32) -> Option<PointAccesses<'_>> {
        self.counted?;
        let sum = &self.sums[index as usize];
        Some(PointAccesses {
            bytes: sum.bytes,
            histogram: sum.histogram.as_deref(),
        })
    }

    /// The next sum is that of a site.
    pub(super) fn start_with_site(&mut self, index: u32) {
        if let Some(site) = self.of_site(index) {
            self.sums.push(Sum {
                bytes: site.bytes,
                histogram: site.histogram.map(<[u16]>::to_vec),
            });
        }
    }

    pub(super) fn add_site(&mut self, sum: u32, index: u32) {
        if let Some(site) = self.of_site(index) {
            let sum = &mut self.sums[sum as usize];
            sum.bytes.add(&site.bytes);
            match (&mut sum.histogram, site.histogram) {
                (Some(counts), Some(more)) if counts.len() == more.len() => {
                    for (count, more) in counts.iter_mut().zip(more) {
                        *count = count.saturating_add(*more);
                    }
                }
                _ => sum.histogram = None,
            }
        }
    }

    /// The next sum is that of points of all kinds of blocks.
    pub(super) fn push_sum(&mut self, bytes: SiteAccesses) {
        if self.counted.is_some() {
            self.sums.push(Sum {
                bytes,
                histogram: None,
            });
        }
    }
}

/// A histogram as a DHAT file has it: `-n, v` for `n` times the value `v` in a row.
pub(super) fn run_lengths(counts: &[u16]) -> Vec<i32> {
    let mut runs = Vec::new();
    for run in counts.chunk_by(|a, b| a == b) {
        if run.len() > 1 {
            runs.push(-(run.len() as i32));
        }
        runs.push(i32::from(run[0]));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(read: u64) -> SiteAccesses {
        SiteAccesses {
            read,
            written: read + 1,
            touched: read + 2,
            untold: read + 3,
        }
    }

    #[test]
    fn runs_are_shortened_from_two_on() {
        assert_eq!(run_lengths(&[5]), [5]);
        assert_eq!(run_lengths(&[0, 0]), [-2, 0]);
        assert_eq!(run_lengths(&[1, 1, 1, 2, u16::MAX]), [-3, 1, 2, 65535]);
        assert_eq!(run_lengths(&[]), [0_i32; 0]);
    }

    #[test]
    fn sums_have_a_histogram_only_if_all_sizes_are_equal() {
        let counted = CountedAccesses {
            sites: vec![site(1), site(10), site(100)],
            histograms: vec![
                Some([1, 65_000].into()),
                Some([2, 65_000].into()),
                Some([7].into()),
            ],
            ..CountedAccesses::default()
        };
        let accesses = Accesses::Counted(Box::new(counted));
        let mut sums = AccessSums::new(&accesses);
        sums.start_with_site(0);
        sums.add_site(0, 1);
        let sum = sums.of_sum(0).unwrap();
        assert_eq!((sum.bytes.read, sum.bytes.untold), (11, 17));
        assert_eq!(sum.histogram.unwrap(), [3, u16::MAX]);
        sums.add_site(0, 2);
        assert_eq!(sums.of_sum(0).unwrap().bytes.touched, 117);
        assert!(sums.of_sum(0).unwrap().histogram.is_none());
        assert_eq!(sums.of_site(2).unwrap().histogram.unwrap(), [7]);
    }

    #[test]
    fn what_was_not_counted_has_no_sums() {
        let mut sums = AccessSums::new(&Accesses::Silent("why"));
        sums.start_with_site(0);
        sums.add_site(0, 1);
        assert!(sums.of_sum(0).is_none() && sums.of_site(0).is_none());
    }
}
