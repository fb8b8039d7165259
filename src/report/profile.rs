//! A snapshot as a reader of it wants it: stacks symbolized and trimmed, points with
//! equal frames merged, sorted.

use std::cmp::Ordering;
use std::collections::HashMap;

use hashbrown::HashTable;

use super::accesses::{AccessSums, PointAccesses};
use super::frames::{FrameId, Frames};
use super::symbols::{AddressId, Build, Symbols};
use super::trim::{self, Trim};
use crate::record::snapshot::{AllocatorTime, Counts, SiteAccesses, Snapshot};

/// Frames of one point. The DHAT viewer takes 50 s for a recursion 500 deep, and
/// hangs at 1,500.
pub(crate) const MAX_FRAMES_OF_POINT: usize = 400;

/// The DHAT viewer takes 12 s for a million points.
pub(crate) const MAX_POINTS: usize = 1_000_000;

/// What the user chose, and what the file says about the process.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) trim: Trim,
    pub(crate) command: String,
    pub(crate) pid: u32,
    /// Write the estimate of what was written to blocks as a count of accesses.
    pub(crate) touch_as_accesses: bool,
}

/// One line of a profile: all that was allocated under one list of frames.
///
/// The frames are found again by a walk of the snapshot's stack tree: the lists of
/// a big profile would be larger than everything else in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    frames: FrameList,
    counts: CountsOf,
}

#[derive(Clone, Copy, Debug)]
enum FrameList {
    /// Of the rendered frames of the stack that begins at node `leaf`, `keep` after
    /// the first `skip`.
    Stack {
        leaf: u32,
        skip: u32,
        keep: u32,
    },
    Note(FrameId),
}

#[derive(Clone, Copy, Debug)]
enum CountsOf {
    /// Index into the snapshot's sites.
    Site(u32),
    /// Index into [`Profile::sums`].
    Sum(u32),
}

#[derive(Debug)]
pub(crate) struct Profile<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) options: &'a Options,
    /// By total bytes, then total blocks, then frames; `[other]` last.
    pub(crate) points: Vec<Point>,
    /// Points that stand for several sites. Their `max_bytes` is a lower bound: the
    /// sites' largest moments need not have been one moment.
    pub(crate) merged_points: u64,
    /// Points that were summed up in `[other]`.
    pub(crate) folded_points: u64,
    sums: Vec<Counts>,
    /// Sites that are part of a sum, and of which.
    merged_sites: Vec<(u32, u32)>,
    /// Beside `sums`, where allocator time was measured.
    time_sums: Vec<AllocatorTime>,
    accesses: AccessSums<'a>,
    symbols: Symbols,
    /// The address of each node; node 0 has none, and its entry is never used.
    addresses: Vec<AddressId>,
    /// The note that stands for this many frames left out of a deep recursion.
    elided: HashMap<u32, FrameId>,
}

impl<'a> Profile<'a> {
    pub(crate) fn from_snapshot(snapshot: &'a Snapshot, options: &'a Options) -> Profile<'a> {
        Self::with_max_points(snapshot, options, MAX_POINTS)
    }

    /// With a point for each site, in their order, whether or not their frames
    /// are equal.
    pub(crate) fn of_each_site(snapshot: &'a Snapshot, options: &'a Options) -> Profile<'a> {
        let mut profile = Self::unsorted(snapshot, options);
        profile.trim_stacks();
        profile
    }

    fn with_max_points(
        snapshot: &'a Snapshot,
        options: &'a Options,
        max_points: usize,
    ) -> Profile<'a> {
        let mut profile = Self::unsorted(snapshot, options);
        profile.trim_stacks();
        profile.merge_equal_points();
        profile.sort_points();
        profile.fold_smallest_points(max_points);
        profile
    }

    fn unsorted(snapshot: &'a Snapshot, options: &'a Options) -> Profile<'a> {
        let symbols = Symbols::resolve(&snapshot.nodes, &snapshot.modules);
        let addresses = snapshot.nodes.iter().enumerate().map(|(index, node)| {
            if index == 0 {
                AddressId::default()
            } else {
                symbols.id_of(node.address)
            }
        });
        Profile {
            snapshot,
            options,
            points: Vec::new(),
            merged_points: 0,
            folded_points: 0,
            sums: Vec::new(),
            merged_sites: Vec::new(),
            time_sums: Vec::new(),
            accesses: AccessSums::new(&snapshot.accesses),
            addresses: addresses.collect(),
            symbols,
            elided: HashMap::new(),
        }
    }

    /// The point that each of the timeline's top sites is part of; of one that was folded, `[other]`.
    pub(crate) fn points_of_top_sites(&self) -> HashMap<u32, u32> {
        let moments = self.snapshot.timeline.iter();
        let mut points: HashMap<u32, u32> = moments
            .flat_map(|moment| moment.top)
            .filter(|&(_, bytes)| bytes > 0)
            .map(|(site, _)| (site, self.points.len().saturating_sub(1) as u32))
            .collect();
        let merged = self.merged_sites.iter();
        let of_sum: Vec<(u32, u32)> = merged
            .filter(|(site, _)| points.contains_key(site))
            .copied()
            .collect();
        for (index, point) in self.points.iter().enumerate() {
            match point.counts {
                CountsOf::Site(site) => {
                    points.entry(site).and_modify(|point| *point = index as u32);
                }
                CountsOf::Sum(sum) => {
                    for (site, _) in of_sum.iter().filter(|(_, of)| *of == sum) {
                        points.insert(*site, index as u32);
                    }
                }
            }
        }
        points
    }

    /// The files that frames are of, with their paths.
    pub(crate) fn builds(&self) -> impl Iterator<Item = (&str, &Build)> {
        let builds = self.symbols.builds.iter();
        builds.map(|build| (self.symbols.frames.text(build.path), build))
    }

    /// Modules whose debug information is compressed, which is not read.
    pub(crate) fn compressed_modules(&self) -> &[std::path::PathBuf] {
        &self.symbols.compressed
    }

    pub(crate) fn frames(&self) -> &Frames {
        &self.symbols.frames
    }

    pub(crate) fn counts(&self, point: &Point) -> Counts {
        match point.counts {
            CountsOf::Site(index) => self.snapshot.sites.counts(index as usize),
            CountsOf::Sum(index) => self.sums[index as usize],
        }
    }

    /// Total bytes and total blocks.
    fn size(&self, point: &Point) -> (u64, u64) {
        match point.counts {
            CountsOf::Site(index) => self.snapshot.sites.size(index as usize),
            CountsOf::Sum(index) => {
                let sum = &self.sums[index as usize];
                (sum.total_bytes, sum.total_blocks)
            }
        }
    }

    /// The time that a point's blocks cost in the allocator, where that was measured.
    pub(crate) fn time(&self, point: &Point) -> Option<&AllocatorTime> {
        match point.counts {
            CountsOf::Site(index) => self.snapshot.site_times.get(index as usize),
            CountsOf::Sum(index) => self.time_sums.get(index as usize),
        }
    }

    /// What was read and written, if that was counted.
    pub(crate) fn accesses(&self, point: &Point) -> Option<PointAccesses<'_>> {
        match point.counts {
            CountsOf::Site(index) => self.accesses.of_site(index),
            CountsOf::Sum(index) => self.accesses.of_sum(index),
        }
    }

    /// The frames that a point shows, innermost first; at least one.
    pub(crate) fn frames_of(&self, point: &Point) -> impl Iterator<Item = FrameId> + '_ {
        let (note, stack) = match point.frames {
            FrameList::Note(note) => (Some(note), None),
            FrameList::Stack { leaf, skip, keep } => (None, Some(self.shown(leaf, skip, keep))),
        };
        note.into_iter().chain(stack.into_iter().flatten())
    }

    fn shown(&self, leaf: u32, skip: u32, keep: u32) -> impl Iterator<Item = FrameId> + '_ {
        let (head, elided) = elision(keep as usize);
        let note = self.elided.get(&(elided as u32)).copied();
        let kept = self.stack(leaf).skip(skip as usize).take(keep as usize);
        kept.enumerate().filter_map(move |(depth, frame)| {
            if depth < head || depth >= head + elided {
                Some(frame)
            } else if depth == head {
                note
            } else {
                None
            }
        })
    }

    /// All rendered frames of the stack that begins at node `leaf`, innermost first.
    fn stack(&self, leaf: u32) -> impl Iterator<Item = FrameId> + '_ {
        self.physical_frames(leaf).flatten().copied()
    }

    /// The frames of each address of the stack that begins at node `leaf`.
    fn physical_frames(&self, leaf: u32) -> impl Iterator<Item = &[FrameId]> + '_ {
        let mut at = leaf as usize;
        std::iter::from_fn(move || {
            (at != 0).then(|| {
                let frames = self.symbols.frames_of(self.addresses[at]);
                at = self.snapshot.nodes[at].parent as usize;
                frames
            })
        })
    }

    fn trim_stacks(&mut self) {
        let owner_of_frame = trim::owners_of_frames(&self.symbols);
        let mut owners = Vec::new();
        let mut points = Vec::with_capacity(self.snapshot.sites.len());
        let no_stack = self.symbols.frames.intern_note("[no stack]");
        for (index, site) in self.snapshot.sites.places().iter().enumerate() {
            owners.clear();
            owners.extend(
                self.stack(site.leaf)
                    .map(|frame| owner_of_frame[frame.index()]),
            );
            let (skip, keep) = match self.options.trim {
                Trim::Off => (0, owners.len()),
                Trim::To(max_frames) => {
                    let visible = trim::visible(&owners);
                    let end = self.end_of_physical_frame(site.leaf, visible.start, max_frames);
                    (visible.start, visible.end.min(end) - visible.start)
                }
            };
            let frames = if keep == 0 {
                FrameList::Note(no_stack)
            } else {
                let (_head, elided) = elision(keep);
                if elided > 0 && !self.elided.contains_key(&(elided as u32)) {
                    let note = self
                        .symbols
                        .frames
                        .intern_note(&format!("[... {elided} frames ...]"));
                    self.elided.insert(elided as u32, note);
                }
                FrameList::Stack {
                    leaf: site.leaf,
                    skip: skip as u32,
                    keep: keep as u32,
                }
            };
            points.push(Point {
                frames,
                counts: CountsOf::Site(index as u32),
            });
        }
        self.points = points;
    }

    /// How many rendered frames of a stack lie inside of the first `max_frames` (at
    /// least 1) physical frames, counted from the one that holds rendered frame `skip`.
    fn end_of_physical_frame(&self, leaf: u32, skip: usize, max_frames: usize) -> usize {
        let mut end = 0;
        let mut counted = 0;
        for frames in self.physical_frames(leaf) {
            end += frames.len();
            if end > skip {
                counted += 1;
                if counted >= max_frames {
                    break;
                }
            }
        }
        end
    }

    /// Readers refuse a file with two points of equal frames, and trimming makes them.
    fn merge_equal_points(&mut self) {
        let mut distinct: HashTable<u32> = HashTable::with_capacity(self.points.len());
        let mut points: Vec<Point> = Vec::with_capacity(self.points.len());
        for point in std::mem::take(&mut self.points) {
            let hash = self.hash_frames(&point);
            let same = |&other: &u32| {
                self.frames_of(&points[other as usize])
                    .eq(self.frames_of(&point))
            };
            if let Some(&first) = distinct.find(hash, same) {
                let added = self.counts(&point);
                let added_time = self.time(&point).copied();
                let added_from = point.counts;
                let first = &mut points[first as usize];
                let sum = match first.counts {
                    CountsOf::Sum(sum) => sum,
                    CountsOf::Site(site) => {
                        let sum = self.sums.len() as u32;
                        self.accesses.start_with_site(site);
                        self.sums.push(self.counts(first));
                        self.time_sums.extend(self.time(first).copied());
                        first.counts = CountsOf::Sum(sum);
                        self.merged_sites.push((site, sum));
                        sum
                    }
                };
                add(&mut self.sums[sum as usize], &added);
                if let Some(added) = added_time {
                    self.time_sums[sum as usize].add(&added);
                }
                // Before any are merged, a point is one site.
                if let CountsOf::Site(site) = added_from {
                    self.accesses.add_site(sum, site);
                    self.merged_sites.push((site, sum));
                }
            } else {
                let index = points.len() as u32;
                points.push(point);
                let rehash = |&index: &u32| self.hash_frames(&points[index as usize]);
                distinct.insert_unique(hash, index, rehash);
            }
        }
        self.merged_points = self.sums.len() as u64;
        self.points = points;
    }

    /// Distributes well enough for a hash table, and costs little per frame: every
    /// frame of every stack goes through it.
    fn hash_frames(&self, point: &Point) -> u64 {
        const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |hash: u64, frame: FrameId| {
            (hash.rotate_left(23) ^ frame.index() as u64).wrapping_mul(MULTIPLIER)
        };
        let hash = self.frames_of(point).fold(MULTIPLIER, mix);
        hash ^ (hash >> 32)
    }

    fn sort_points(&mut self) {
        let mut points = std::mem::take(&mut self.points);
        points.sort_unstable_by(|a, b| {
            self.size(b)
                .cmp(&self.size(a))
                .then_with(|| self.compare_frames(a, b))
        });
        self.points = points;
    }

    /// Frame ids are given in order of module path and link-time address, so that
    /// this order is the same in every run of a program.
    ///
    /// Most pairs that are compared have their inner frames in common: these are compared as
    /// addresses.
    fn compare_frames(&self, a: &Point, b: &Point) -> Ordering {
        let whole = |list| match list {
            FrameList::Stack { leaf, skip, keep } if elision(keep as usize).1 == 0 => {
                Some((leaf as usize, skip as usize, keep as usize))
            }
            FrameList::Stack { .. } | FrameList::Note(_) => None,
        };
        let (Some((mut at_a, skip, keep_a)), Some((mut at_b, skip_b, keep_b))) =
            (whole(a.frames), whole(b.frames))
        else {
            return self.frames_of(a).cmp(self.frames_of(b));
        };
        if skip != skip_b {
            return self.frames_of(a).cmp(self.frames_of(b));
        }
        let mut equal = 0;
        // Node 0 has no address.
        while at_a != at_b && at_a.min(at_b) != 0 && self.addresses[at_a] == self.addresses[at_b] {
            equal += self.symbols.frames_of(self.addresses[at_a]).len();
            at_a = self.snapshot.nodes[at_a].parent as usize;
            at_b = self.snapshot.nodes[at_b].parent as usize;
        }
        let equal_shown = equal.saturating_sub(skip);
        if at_a == at_b || equal_shown >= keep_a.min(keep_b) {
            return keep_a.cmp(&keep_b);
        }
        let rest = |leaf: usize, keep: usize| {
            let stack = self.stack(leaf as u32);
            stack
                .skip(skip.saturating_sub(equal))
                .take(keep - equal_shown)
        };
        rest(at_a, keep_a).cmp(rest(at_b, keep_b))
    }

    fn fold_smallest_points(&mut self, max_points: usize) {
        if self.points.len() <= max_points {
            return;
        }
        let folded = self.points.split_off(max_points.saturating_sub(1));
        let mut sum = Counts::default();
        let mut time = self.snapshot.time.map(|_| AllocatorTime::default());
        let mut accesses = SiteAccesses::default();
        for point in &folded {
            add(&mut sum, &self.counts(point));
            if let (Some(time), Some(added)) = (&mut time, self.time(point)) {
                time.add(added);
            }
            if let Some(added) = self.accesses(point) {
                accesses.add(&added.bytes);
            }
        }
        self.accesses.push_sum(accesses);
        self.folded_points = folded.len() as u64;
        let frames = FrameList::Note(self.symbols.frames.intern_note("[other]"));
        let counts = CountsOf::Sum(self.sums.len() as u32);
        self.sums.push(sum);
        self.time_sums.extend(time);
        self.points.push(Point { frames, counts });
    }
}

/// Of `keep` frames: how many stand before the note that tells of those left out,
/// and how many are left out.
fn elision(keep: usize) -> (usize, usize) {
    if keep <= MAX_FRAMES_OF_POINT {
        (keep, 0)
    } else {
        (MAX_FRAMES_OF_POINT / 2, keep - (MAX_FRAMES_OF_POINT - 1))
    }
}

/// Adds one site's counts to another's. What is known of the largest moment of both
/// is a lower bound: the larger one of theirs, or what they held at two known moments.
fn add(sum: &mut Counts, other: &Counts) {
    sum.total_blocks += other.total_blocks;
    sum.total_bytes += other.total_bytes;
    sum.lifetimes_us += other.lifetimes_us;
    sum.peak_bytes += other.peak_bytes;
    sum.peak_blocks += other.peak_blocks;
    sum.end_bytes += other.end_bytes;
    sum.end_blocks += other.end_blocks;
    sum.largest_bytes = sum.largest_bytes.max(other.largest_bytes);
    sum.reallocs += other.reallocs;
    sum.kept_bytes += other.kept_bytes;
    sum.copied_bytes += other.copied_bytes;
    sum.samples.add(&other.samples);
    sum.touched.add(&other.touched);
    (sum.max_bytes, sum.max_blocks) = [
        (sum.max_bytes, sum.max_blocks),
        (other.max_bytes, other.max_blocks),
        (sum.peak_bytes, sum.peak_blocks),
        (sum.end_bytes, sum.end_blocks),
    ]
    .into_iter()
    .max()
    .unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::snapshot::{Kind, SampleSum, Touched};
    use crate::report::sample;

    fn texts(profile: &Profile<'_>, point: &Point) -> Vec<String> {
        profile
            .frames_of(point)
            .map(|frame| profile.frames().display(frame).to_string())
            .collect()
    }

    fn addresses(count: u64) -> Vec<u64> {
        (1..=count).collect()
    }

    #[test]
    fn points_are_sorted_by_bytes_then_blocks_then_frames() {
        let small = sample::counts(100);
        let more_blocks = Counts {
            total_blocks: 11,
            ..small
        };
        let sites: &[(&[u64], Counts)] = &[
            (&[9], small),
            (&[3], small),
            (&[5], more_blocks),
            (&[7], sample::counts(200)),
        ];
        let snapshot = sample::snapshot(Kind::Heap, sites);
        let options = sample::options(Trim::Off);
        let profile = Profile::from_snapshot(&snapshot, &options);
        let firsts: Vec<String> = profile
            .points
            .iter()
            .map(|point| texts(&profile, point)[0].clone())
            .collect();
        assert_eq!(
            firsts,
            [
                "0x7: ??? (in ???)",
                "0x5: ??? (in ???)",
                "0x3: ??? (in ???)",
                "0x9: ??? (in ???)"
            ]
        );
        assert_eq!(profile.merged_points, 0);
    }

    #[test]
    fn points_of_equal_size_are_in_order_of_their_frames() {
        let stack = sample::own_stack();
        // Parts of a real stack, which has inlined frames, so that many have some in common.
        let mut stacks: Vec<Vec<u64>> = Vec::new();
        for first in 0..stack.len().min(6) {
            for left_out in first..stack.len() {
                for end in [stack.len() - 3, stack.len()] {
                    let kept = (first..end).filter(|&at| at == first || at != left_out);
                    stacks.push(kept.map(|at| stack[at]).collect());
                }
            }
        }
        let counts = sample::counts(100);
        let sites: Vec<(&[u64], Counts)> = stacks.iter().map(|stack| (&**stack, counts)).collect();
        let mut snapshot = sample::snapshot(Kind::Heap, &sites);
        snapshot.modules = vec![sample::this_program()];
        for trim in [Trim::Off, Trim::To(3), Trim::To(12)] {
            let options = sample::options(trim);
            let mut profile = Profile::unsorted(&snapshot, &options);
            profile.trim_stacks();
            for (a, b) in profile.points.iter().zip(profile.points.iter().rev()) {
                for (a, b) in [(a, b), (&profile.points[0], b), (b, a)] {
                    let expected = profile.frames_of(a).cmp(profile.frames_of(b));
                    assert_eq!(profile.compare_frames(a, b), expected);
                }
            }
        }
    }

    #[test]
    fn points_with_equal_frames_are_summed_up() {
        let mut first = sample::counts(1200);
        let mut second = sample::counts(2400);
        (first.end_bytes, second.end_bytes) = (600, 1200);
        let sites: &[(&[u64], Counts)] = &[
            (&[1, 2, 3], first),
            (&[1, 9], sample::counts(12)),
            (&[1, 2, 4], second),
        ];
        let snapshot = sample::snapshot(Kind::Heap, sites);
        let options = sample::options(Trim::To(2));
        let profile = Profile::from_snapshot(&snapshot, &options);
        assert_eq!((profile.points.len(), profile.merged_points), (2, 1));
        assert_eq!(
            texts(&profile, &profile.points[0]),
            ["0x1: ??? (in ???)", "0x2: ??? (in ???)"]
        );
        let expected = Counts {
            total_blocks: 20,
            total_bytes: 3600,
            lifetimes_us: 154,
            // At the end, both held more together than either ever did alone.
            max_bytes: 1800,
            max_blocks: 4,
            peak_bytes: 1200,
            peak_blocks: 6,
            end_bytes: 1800,
            end_blocks: 4,
            largest_bytes: 480,
            reallocs: 8,
            kept_bytes: 600,
            copied_bytes: 300,
            samples: SampleSum::default(),
            touched: Touched::default(),
        };
        assert_eq!(profile.counts(&profile.points[0]), expected);
        assert_eq!(profile.counts(&profile.points[1]), sample::counts(12));
    }

    #[test]
    fn the_larger_maximum_bounds_a_merged_one() {
        let mut sum = Counts {
            max_bytes: 100,
            max_blocks: 1,
            peak_bytes: 10,
            ..Counts::default()
        };
        add(
            &mut sum,
            &Counts {
                max_bytes: 70,
                max_blocks: 7,
                peak_bytes: 20,
                ..Counts::default()
            },
        );
        assert_eq!(
            (sum.max_bytes, sum.max_blocks, sum.peak_bytes),
            (100, 1, 30)
        );
    }

    #[test]
    fn a_deep_recursion_is_cut_in_the_middle() {
        let options = sample::options(Trim::To(usize::MAX));
        for (depth, shown) in [(400, 400), (401, 400), (1000, 400)] {
            let stack = addresses(depth);
            let snapshot = sample::snapshot(Kind::Heap, &[(&stack, sample::counts(8))]);
            let profile = Profile::from_snapshot(&snapshot, &options);
            let texts = texts(&profile, &profile.points[0]);
            assert_eq!(texts.len(), shown, "{depth}");
            assert_eq!(texts[0], "0x1: ??? (in ???)");
            assert_eq!(texts[shown - 1], format!("{depth:#x}: ??? (in ???)"));
            let note = texts.iter().position(|text| text.starts_with("[..."));
            assert_eq!(note, (depth > 400).then_some(200));
            if let Some(note) = note {
                assert_eq!(texts[note], format!("[... {} frames ...]", depth - 399));
            }
        }
    }

    #[test]
    fn trim_keeps_as_many_physical_frames_as_it_is_told() {
        let stack = addresses(50);
        let snapshot = sample::snapshot(Kind::Heap, &[(&stack, sample::counts(8))]);
        for (trim, shown) in [
            (Trim::To(0), 1),
            (Trim::To(7), 7),
            (Trim::To(99), 50),
            (Trim::Off, 50),
        ] {
            let options = sample::options(trim);
            let profile = Profile::from_snapshot(&snapshot, &options);
            assert_eq!(
                profile.frames_of(&profile.points[0]).count(),
                shown,
                "{trim:?}"
            );
        }
    }

    #[test]
    fn the_smallest_points_are_folded() {
        let stacks: Vec<Vec<u64>> = (1..=10).map(|address| vec![address]).collect();
        let sites: Vec<(&[u64], Counts)> = stacks
            .iter()
            .map(|stack| (stack.as_slice(), sample::counts(stack[0] * 12)))
            .collect();
        let snapshot = sample::snapshot(Kind::Heap, &sites);
        let options = sample::options(Trim::Off);
        let profile = Profile::with_max_points(&snapshot, &options, 4);
        assert_eq!((profile.points.len(), profile.folded_points), (4, 7));
        assert_eq!(texts(&profile, &profile.points[3]), ["[other]"]);
        let total: u64 = profile
            .points
            .iter()
            .map(|at| profile.counts(at).total_bytes)
            .sum();
        assert_eq!(total, snapshot.totals.total_bytes);
        assert_eq!(
            profile.counts(&profile.points[3]).total_bytes,
            12 * (1..=7).sum::<u64>()
        );
        let unfolded = Profile::with_max_points(&snapshot, &options, 10);
        assert_eq!((unfolded.points.len(), unfolded.folded_points), (10, 0));
    }

    #[test]
    fn a_site_without_a_stack_has_a_frame() {
        let snapshot = sample::snapshot(Kind::AdHoc, &[(&[], sample::counts(8))]);
        let options = sample::options(Trim::To(64));
        let profile = Profile::from_snapshot(&snapshot, &options);
        assert_eq!(texts(&profile, &profile.points[0]), ["[no stack]"]);
    }

    #[inline(never)]
    fn größe<const QUOTE: char, T>(value: T) -> (Vec<u64>, T) {
        (sample::own_stack(), value)
    }

    #[test]
    fn a_real_stack_is_named() {
        let (stack, _) = größe::<'"', &[Option<u8>]>(&[]);
        let mut snapshot = sample::snapshot(Kind::Heap, &[(&stack, sample::counts(8))]);
        snapshot.modules.push(sample::this_program());
        // Trimming would take this crate's frames for the profiler's.
        let options = sample::options(Trim::Off);
        let profile = Profile::from_snapshot(&snapshot, &options);
        let texts = texts(&profile, &profile.points[0]);
        let is_in_this_file = |name: &str| {
            let mut named = texts.iter().filter(|text| text.contains(name));
            named.any(|text| text.contains("/src/report/profile.rs:"))
        };
        assert!(is_in_this_file("größe"), "{texts:#?}");
        assert!(is_in_this_file("a_real_stack_is_named"), "{texts:#?}");
        assert!(
            texts
                .iter()
                .any(|text| text.contains("(library/test/src/lib.rs:")),
            "{texts:#?}"
        );
        let link_addresses = snapshot.modules[0].end - snapshot.modules[0].bias;
        for text in texts.iter().filter(|text| !text.ends_with("(in ???)")) {
            let address = text
                .strip_prefix("0x")
                .and_then(|text| text.split_once(": "))
                .unwrap()
                .0;
            assert!(
                u64::from_str_radix(address, 16).unwrap() < link_addresses,
                "{text}"
            );
        }
    }

    #[test]
    fn a_module_that_cannot_be_read_leaves_frames_without_names() {
        use std::os::unix::ffi::OsStringExt;
        let mut snapshot = sample::snapshot(Kind::Heap, &[(&[0x1010], sample::counts(8))]);
        snapshot.modules.push(crate::record::snapshot::Module {
            path: std::ffi::OsString::from_vec(b"/no/such/\xff.so".to_vec()).into(),
            bias: 0x1000,
            start: 0x1000,
            end: 0x2000,
            build_id: Default::default(),
            is_loaded: true,
        });
        let options = sample::options(Trim::To(64));
        let profile = Profile::from_snapshot(&snapshot, &options);
        assert_eq!(
            texts(&profile, &profile.points[0]),
            ["0x10: ??? (in /no/such/\u{fffd}.so)"]
        );
    }
}
