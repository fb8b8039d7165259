//! Tables as a process left them that did not come to its end: read from its crash file.
//!
//! Nothing in the file is trusted: it may be cut short, or be something else.

use crate::clock::{Moment, Scale};
use crate::crash_file::{DIRECTORY_AT, Extent, Header, MAGIC, MAX_EXTENTS};
use crate::record::chunks::kept;
use crate::record::sampling::{SampleCounters, SampleSum};
use crate::record::site_counters::{SiteCounters, SiteSum};
use crate::record::sites::MAX_SITES;
use crate::record::snapshot::{Counts, Node, SiteCounts, SiteList, Totals};
use crate::record::stack_tree::{MAX_NODES, Slot};
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed},
};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) pid: u32,
    pub(crate) duration_us: u64,
    pub(crate) peak_at_us: u64,
    pub(crate) sample_bytes: Option<u64>,
    pub(crate) totals: Totals,
    pub(crate) sites: SiteList,
    pub(crate) nodes: Vec<Node>,
    /// Threads that counted: each may have been in the middle of an operation.
    pub(crate) threads: u64,
    /// Chunks that had no room in the file: what they held is missing.
    pub(crate) lost_chunks: u64,
    /// What the program told about itself.
    pub(crate) about: Vec<u8>,
}

/// Why a file cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRecovered {
    NotACrashFile,
    OtherVersion,
}

/// Reads a crash file, mapped at a multiple of pages. Its bytes may change meanwhile.
pub(crate) fn read(file: &[AtomicU8]) -> Result<Recovered, NotRecovered> {
    let header = value::<Header>(file, 0).ok_or(NotRecovered::NotACrashFile)?;
    if header.magic.load(Relaxed) != MAGIC {
        return Err(NotRecovered::NotACrashFile);
    }
    let layout = SiteLayout::of(header).ok_or(NotRecovered::OtherVersion)?;
    let mut tables = Tables::default();
    for number in 0..MAX_EXTENTS as usize {
        let at = DIRECTORY_AT + number * size_of::<Extent>();
        let extent = value::<Extent>(file, at).ok_or(NotRecovered::NotACrashFile)?;
        tables.add(file, extent, &layout);
    }
    let mut recovered = tables.resolve(header);
    recovered.about = about(file, header).unwrap_or_default();
    Ok(recovered)
}

/// Where in a site's memory what is.
struct SiteLayout {
    bytes: usize,
    leaf_at: usize,
    largest_at: usize,
}

impl SiteLayout {
    fn of(header: &Header) -> Option<Self> {
        let layout = Self {
            bytes: header.site_bytes.load(Relaxed) as usize,
            leaf_at: header.site_leaf_at.load(Relaxed) as usize,
            largest_at: header.site_largest_at.load(Relaxed) as usize,
        };
        let fits = |at: usize, bytes| at <= layout.bytes && bytes <= layout.bytes - at;
        let all_fit = fits(layout.leaf_at, 4) && fits(layout.largest_at, 8);
        (all_fit && layout.bytes <= 4096).then_some(layout)
    }

    /// The number of a site's stack, and the size of its largest block.
    fn read(&self, site: &[AtomicU8]) -> (u32, u64) {
        let leaf = value::<AtomicU32>(site, self.leaf_at);
        let largest = value::<AtomicU64>(site, self.largest_at);
        (
            leaf.map_or(0, |leaf| leaf.load(Relaxed)),
            largest.map_or(0, |largest| largest.load(Relaxed)),
        )
    }
}

/// A value of which all bytes are atomics.
fn value<T>(file: &[AtomicU8], offset: usize) -> Option<&T> {
    values(file, offset, size_of::<T>())?.first()
}

/// Values of which all bytes are atomics.
fn values<T>(file: &[AtomicU8], offset: usize, bytes: usize) -> Option<&[T]> {
    let bytes = file.get(offset..offset.checked_add(bytes)?)?;
    if !bytes.as_ptr().cast::<T>().is_aligned() {
        return None;
    }
    // SAFETY: in the file's bounds and aligned; any bytes are valid atomics, and they are only
    // loaded.
    Some(unsafe {
        std::slice::from_raw_parts(bytes.as_ptr().cast::<T>(), bytes.len() / size_of::<T>())
    })
}

fn about(file: &[AtomicU8], header: &Header) -> Option<Vec<u8>> {
    let about = header.about.load(Acquire);
    let (page, bytes) = ((about & 0xFFFF_FFFF) as usize, (about >> 32) as usize);
    let offset = page.checked_mul(4096)?;
    let about = file.get(offset..offset.checked_add(bytes)?)?;
    Some(about.iter().map(|byte| byte.load(Relaxed)).collect())
}

#[derive(Default)]
struct Tables<'f> {
    /// With the number of the first site.
    counters: Vec<(usize, &'f [SiteCounters])>,
    samples: Vec<(usize, &'f [SampleCounters])>,
    /// Stack and largest block.
    sites: BTreeMap<usize, (u32, u64)>,
    nodes: BTreeMap<usize, &'f [Slot]>,
    owners: HashSet<u64>,
}

impl<'f> Tables<'f> {
    fn add(&mut self, file: &'f [AtomicU8], extent: &Extent, layout: &SiteLayout) {
        let offset = extent.offset.load(Relaxed) as usize;
        let bytes = extent.bytes.load(Relaxed) as usize;
        let index = extent.index.load(Relaxed) as usize;
        match u32::try_from(extent.kind.load(Acquire)) {
            Ok(kept::COUNTERS) => {
                if let Some(found) = values::<SiteCounters>(file, offset, bytes) {
                    self.counters
                        .push((index.saturating_mul(found.len()), found));
                    self.owners.insert(extent.owner.load(Relaxed));
                }
            }
            Ok(kept::SAMPLES) => {
                if let Some(found) = values::<SampleCounters>(file, offset, bytes) {
                    self.samples
                        .push((index.saturating_mul(found.len()), found));
                }
            }
            Ok(kept::SITES) => {
                let Some(found) = offset
                    .checked_add(bytes)
                    .and_then(|end| file.get(offset..end))
                else {
                    return;
                };
                let sites = found.chunks_exact(layout.bytes);
                let first = index.saturating_mul(sites.len());
                for (number, site) in sites.enumerate() {
                    self.sites
                        .insert(first.saturating_add(number), layout.read(site));
                }
            }
            Ok(kept::NODES) => {
                if let Some(found) = values::<Slot>(file, offset, bytes) {
                    self.nodes.insert(index.saturating_mul(found.len()), found);
                }
            }
            _ => {}
        }
    }

    fn resolve(&self, header: &Header) -> Recovered {
        let start = Moment {
            ticks: header.start_ticks.load(Relaxed),
            ns: header.start_ns.load(Relaxed),
        };
        let end = Moment {
            ticks: header.beat_ticks.load(Relaxed),
            ns: header.beat_ns.load(Relaxed),
        };
        let scale = Scale::between(start, end);
        let since_start = |ticks: u64| scale.to_us(ticks.saturating_sub(start.ticks));
        let sample_bytes = header.sample_bytes.load(Relaxed);
        let nodes = self.nodes();
        let sites = self.sites(scale, end.ticks, nodes.len(), sample_bytes != 0);
        let mut totals = Totals::default();
        for SiteCounts { counts, .. } in sites.iter() {
            totals.total_blocks += counts.total_blocks;
            totals.total_bytes += counts.total_bytes;
            totals.live_blocks += counts.end_blocks;
            totals.live_bytes += counts.end_bytes;
            totals.peak_blocks += counts.peak_blocks;
            totals.peak_bytes += counts.peak_bytes;
        }
        let duration_us = since_start(end.ticks);
        Recovered {
            pid: header.pid.load(Relaxed) as u32,
            duration_us,
            peak_at_us: since_start(header.peak_at_ticks.load(Relaxed)).min(duration_us),
            sample_bytes: (sample_bytes != 0).then_some(sample_bytes),
            totals,
            sites,
            nodes,
            threads: self.owners.len() as u64,
            lost_chunks: header.lost.load(Relaxed),
            about: Vec::new(),
        }
    }

    /// The stack tree. A node's caller came before it, so there is no way around in it.
    fn nodes(&self) -> Vec<Node> {
        let mut nodes = Vec::new();
        for (&first, slots) in &self.nodes {
            if first > MAX_NODES {
                break;
            }
            let unknown = Node {
                parent: 0,
                address: 0,
            };
            nodes.resize(first.max(nodes.len()), unknown);
            for slot in *slots {
                let node = slot.node();
                let has_parent = (node.parent as usize) < nodes.len();
                nodes.push(if has_parent { node } else { unknown });
            }
        }
        nodes
    }

    fn sites(&self, scale: Scale, end: u64, nodes: usize, is_sampled: bool) -> SiteList {
        let all = self.counters.iter().flat_map(|(_, counters)| *counters);
        let epoch = all.map(SiteCounters::saved_epoch).max().unwrap_or(0);
        let mut sums: BTreeMap<usize, SiteSum> = BTreeMap::new();
        for (first, counters) in &self.counters {
            for (number, counters) in counters.iter().enumerate() {
                let number = first.saturating_add(number);
                if counters.saved_epoch() != 0 && number < MAX_SITES {
                    counters.add_to(sums.entry(number).or_default(), epoch);
                }
            }
        }
        let mut samples: BTreeMap<usize, SampleSum> = BTreeMap::new();
        for (first, counters) in &self.samples {
            for (number, counters) in counters.iter().enumerate() {
                let number = first.saturating_add(number);
                if is_sampled && sums.contains_key(&number) {
                    counters.add_to(samples.entry(number).or_default());
                }
            }
        }
        let sum =
            |of: fn(&SiteSum) -> u64| sums.values().fold(0, |all: u64, s| all.wrapping_add(of(s)));
        // If the last change made a peak, nothing was saved in its epoch yet.
        let is_at_peak = sum(|s| s.live.bytes) as i64 >= sum(|s| s.peak.bytes) as i64;
        let used = sums.iter().filter(|(_, sum)| sum.total_blocks != 0);
        let sites = used.map(|(number, sum)| {
            let peak = if is_at_peak { sum.live } else { sum.peak };
            // In the middle of an operation, what is freed may be more than what is there.
            let bytes = |bytes: u64| (bytes as i64).max(0) as u64;
            let blocks = |blocks: u32| (blocks as i32).max(0) as u64;
            let end_blocks = blocks(sum.live.blocks);
            let lifetimes = sum
                .lifetime_ticks
                .wrapping_add(end.wrapping_mul(end_blocks));
            let samples = samples.get(number).copied().unwrap_or_default();
            let amounts = [
                (sum.owner_max.bytes, blocks(sum.owner_max.blocks as u32)),
                (bytes(peak.bytes), blocks(peak.blocks)),
                (bytes(sum.live.bytes), end_blocks),
            ];
            let (max_bytes, max_blocks) = amounts.into_iter().max().unwrap_or_default();
            let (leaf, largest_bytes) = self.sites.get(number).copied().unwrap_or_default();
            SiteCounts {
                number: *number as u32,
                leaf: if (leaf as usize) < nodes { leaf } else { 0 },
                counts: Counts {
                    total_blocks: sum.total_blocks,
                    total_bytes: sum.total_bytes,
                    lifetimes_us: scale.to_us((lifetimes as i64).max(0) as u64),
                    max_bytes,
                    max_blocks,
                    peak_bytes: bytes(peak.bytes),
                    peak_blocks: blocks(peak.blocks),
                    end_bytes: bytes(sum.live.bytes),
                    end_blocks,
                    // Counted by weight where blocks are sampled.
                    largest_bytes: match is_sampled {
                        true => samples.largest_bytes,
                        false => largest_bytes,
                    },
                    samples,
                    ..Counts::default()
                },
            }
        });
        sites.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 4096 * 300;

    /// As a mapping of a file, which begins at a multiple of pages.
    struct Pages(std::ptr::NonNull<u8>);

    impl Pages {
        fn new() -> Self {
            Self(crate::untracked::map(BYTES).unwrap())
        }

        fn bytes(&mut self) -> &mut [u8] {
            // SAFETY: mapped with that size, and this value's own.
            unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), BYTES) }
        }

        fn file(&mut self) -> &[AtomicU8] {
            // SAFETY: as above; atomics are as large as what they hold.
            unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), BYTES) }
        }
    }

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: mapped in `new`.
            unsafe { crate::untracked::unmap(self.0, BYTES) };
        }
    }

    #[test]
    fn what_is_no_crash_file_is_refused() {
        let mut pages = Pages::new();
        assert_eq!(read(&[]).err(), Some(NotRecovered::NotACrashFile));
        assert_eq!(read(pages.file()).err(), Some(NotRecovered::NotACrashFile));
        pages.bytes()[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        assert_eq!(read(pages.file()).err(), Some(NotRecovered::OtherVersion));
        assert_eq!(
            read(&pages.file()[..100]).err(),
            Some(NotRecovered::NotACrashFile)
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        /// Whatever is in the directory and behind it: no panic, and all indices hold.
        #[cfg_attr(miri, ignore = "too much to go through")]
        #[test]
        fn anything_is_read(
            extents in proptest::collection::vec(proptest::collection::vec(0_u64..6, 5), 1..20),
            offset in 0_u64..200,
            seed in proptest::prelude::any::<u64>(),
        ) {
            let mut pages = Pages::new();
            let mut random = seed;
            for word in pages.bytes().as_chunks_mut::<8>().0 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                // Mostly small numbers: they get further.
                let value = if random >> 60 == 0 { random } else { random >> 58 };
                *word = value.to_ne_bytes();
            }
            let mut put = |at: usize, value: u64| {
                pages.bytes()[at..at + 8].copy_from_slice(&value.to_ne_bytes());
            };
            put(0, MAGIC);
            put(std::mem::offset_of!(Header, site_bytes), 104);
            put(std::mem::offset_of!(Header, site_leaf_at), 12);
            put(std::mem::offset_of!(Header, site_largest_at), 16);
            for (number, extent) in extents.iter().enumerate() {
                let at = DIRECTORY_AT + number * size_of::<Extent>();
                put(at, extent[0]);
                put(at + 8, extent[1]);
                put(at + 16, extent[2]);
                put(at + 24, (offset + extent[3]) * 4096);
                put(at + 32, extent[4] * 4096);
            }
            let recovered = read(pages.file()).unwrap();
            for site in recovered.sites.places() {
                proptest::prop_assert!(site.leaf == 0 || (site.leaf as usize) < recovered.nodes.len());
            }
            for (number, node) in recovered.nodes.iter().enumerate() {
                proptest::prop_assert!(number == 0 || (node.parent as usize) < number);
            }
        }
    }
}
