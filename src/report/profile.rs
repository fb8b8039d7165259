//! A snapshot as a reader of it wants it: stacks symbolized and trimmed, points with
//! equal frames merged, sorted.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;

use hashbrown::HashTable;

use super::frames::{FrameId, Frames};
use super::symbols::{AddressId, Symbols};
use super::trim::{self, Trim};
use crate::record::snapshot::{Counts, Snapshot};

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

    fn with_max_points(
        snapshot: &'a Snapshot,
        options: &'a Options,
        max_points: usize,
    ) -> Profile<'a> {
        let symbols = Symbols::resolve(&snapshot.nodes, &snapshot.modules);
        let addresses = snapshot.nodes.iter().enumerate().map(|(index, node)| {
            if index == 0 {
                AddressId::default()
            } else {
                symbols.id_of(node.address)
            }
        });
        let mut profile = Profile {
            snapshot,
            options,
            points: Vec::new(),
            merged_points: 0,
            folded_points: 0,
            sums: Vec::new(),
            addresses: addresses.collect(),
            symbols,
            elided: HashMap::new(),
        };
        profile.trim_stacks();
        profile.merge_equal_points();
        profile.sort_points();
        profile.fold_smallest_points(max_points);
        profile
    }

    pub(crate) fn frames(&self) -> &Frames {
        &self.symbols.frames
    }

    pub(crate) fn counts(&self, point: &Point) -> &Counts {
        match point.counts {
            CountsOf::Site(index) => &self.snapshot.sites[index as usize].counts,
            CountsOf::Sum(index) => &self.sums[index as usize],
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
        for (index, site) in self.snapshot.sites.iter().enumerate() {
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
                let added = *self.counts(&point);
                let first = &mut points[first as usize];
                let sum = match first.counts {
                    CountsOf::Sum(sum) => sum,
                    CountsOf::Site(_) => {
                        let sum = self.sums.len() as u32;
                        self.sums.push(*self.counts(first));
                        first.counts = CountsOf::Sum(sum);
                        sum
                    }
                };
                add(&mut self.sums[sum as usize], &added);
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
            let size = |point| {
                let counts = self.counts(point);
                Reverse((counts.total_bytes, counts.total_blocks))
            };
            size(a)
                .cmp(&size(b))
                .then_with(|| self.compare_frames(a, b))
        });
        self.points = points;
    }

    /// Frame ids are given in order of module path and link-time address, so that
    /// this order is the same in every run of a program.
    fn compare_frames(&self, a: &Point, b: &Point) -> Ordering {
        self.frames_of(a).cmp(self.frames_of(b))
    }

    fn fold_smallest_points(&mut self, max_points: usize) {
        if self.points.len() <= max_points {
            return;
        }
        let folded = self.points.split_off(max_points.saturating_sub(1));
        let mut sum = Counts::default();
        for point in &folded {
            add(&mut sum, self.counts(point));
        }
        self.folded_points = folded.len() as u64;
        let frames = FrameList::Note(self.symbols.frames.intern_note("[other]"));
        let counts = CountsOf::Sum(self.sums.len() as u32);
        self.sums.push(sum);
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
