//! What viewers take, and a profile brought within it.
//!
//! DHAT's viewer needs 50 s for a recursion 500 frames deep and hangs at 1,500; it refuses two points
//! of equal frames. A million points take it 12 s.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use crate::model::{Counts, Point, PointExtension, Profile};

/// The most that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Frames of a point; of longer stacks the middle is left out.
    pub frames: usize,
    /// Points; the smallest are summed up in one that is called `[other]`.
    pub points: usize,
}

/// What every viewer takes.
pub const VIEWERS: Limits = Limits {
    frames: 400,
    points: 1_000_000,
};

/// A profile within limits, and what that took.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted<'a> {
    /// The profile, the same where it was within the limits.
    pub profile: Cow<'a, Profile>,
    /// Stacks that have a marker `[... N frames ...]` in the place of their middle.
    pub shortened_stacks: u64,
    /// Points that were summed up with another one, whose frames became (or were) the same.
    pub merged_points: u64,
    /// Points that were summed up in `[other]`.
    pub folded_points: u64,
    /// And what they were.
    pub folded: Counts,
}

/// Brings a profile within limits. Sums over all points stay what they are.
pub fn fit(profile: &Profile, limits: Limits) -> Fitted<'_> {
    let too_deep = |point: &Point| profile.stack(point).len() > limits.frames;
    let mut fitted = Fitted {
        profile: Cow::Borrowed(profile),
        shortened_stacks: 0,
        merged_points: 0,
        folded_points: 0,
        folded: Counts::default(),
    };
    if profile.points.iter().any(too_deep) {
        fitted.shortened_stacks = shorten(fitted.profile.to_mut(), limits.frames.max(2));
    }
    fitted.merged_points = merge_equal(&mut fitted.profile);
    if fitted.profile.points.len() > limits.points {
        let kept = limits.points.saturating_sub(1);
        (fitted.folded_points, fitted.folded) = fold(fitted.profile.to_mut(), kept);
    }
    fitted
}

/// Leaves out the middle of stacks of more than `max` frames: a marker takes its place.
fn shorten(profile: &mut Profile, max: usize) -> u64 {
    let mut shortened = 0;
    let mut stacks = Vec::with_capacity(profile.stacks.len());
    let mut markers: HashMap<usize, u32> = HashMap::new();
    for point in &mut profile.points {
        let stack = &profile.stacks[point.stack.0 as usize..point.stack.1 as usize];
        let start = stacks.len();
        if stack.len() <= max {
            stacks.extend_from_slice(stack);
        } else {
            let (head, tail) = (max / 2, max - max / 2 - 1);
            let left_out = stack.len() - head - tail;
            let marker = *markers.entry(left_out).or_insert_with(|| {
                profile
                    .frames
                    .push(format!("[... {left_out} frames ...]").into());
                profile.frames.len() as u32 - 1
            });
            stacks.extend_from_slice(&stack[..head]);
            stacks.push(marker);
            stacks.extend_from_slice(&stack[stack.len() - tail..]);
            shortened += 1;
        }
        point.stack = (start as u32, stacks.len() as u32);
    }
    profile.stacks = stacks;
    shortened
}

/// Sums up points of equal frames. The first of them stays where it is.
fn merge_equal(profile: &mut Cow<'_, Profile>) -> u64 {
    let mut first: HashMap<&[u32], u32> = HashMap::with_capacity(profile.points.len());
    let into: Vec<u32> = profile
        .points
        .iter()
        .enumerate()
        .map(|(index, point)| *first.entry(profile.stack(point)).or_insert(index as u32))
        .collect();
    let distinct = first.len();
    if distinct == profile.points.len() {
        return 0;
    }
    let profile = profile.to_mut();
    let merged = profile.points.len() - distinct;
    gather(profile, &into, |_| false);
    merged as u64
}

/// Sums up all but the `kept` largest points in one of the name `[other]`, which comes last.
fn fold(profile: &mut Profile, kept: usize) -> (u64, Counts) {
    let mut by_size: Vec<u32> = (0..profile.points.len() as u32).collect();
    by_size.sort_by_key(|&index| {
        let counts = &profile.points[index as usize].counts;
        Reverse((counts.total_bytes, counts.total_blocks))
    });
    let folded = &by_size[kept..];
    let mut sum = Counts::default();
    for &index in folded {
        sum.add(&profile.points[index as usize].counts);
    }
    let mut into: Vec<u32> = (0..profile.points.len() as u32).collect();
    let other = *folded.iter().min().unwrap_or(&0);
    for &index in folded {
        into[index as usize] = other;
    }
    profile.frames.push("[other]".into());
    let start = profile.stacks.len() as u32;
    profile.stacks.push(profile.frames.len() as u32 - 1);
    profile.points[other as usize].stack = (start, start + 1);
    let count = folded.len() as u64;
    gather(profile, &into, |index| index == other);
    (count, sum)
}

/// Adds each point to the one it belongs `into`, which is at or before it, and moves those that are
/// `last` behind the others.
fn gather(profile: &mut Profile, into: &[u32], last: impl Fn(u32) -> bool) {
    let stays = |index: &u32| into[*index as usize] == *index;
    let all = 0..into.len() as u32;
    let order: Vec<u32> = all
        .clone()
        .filter(|index| stays(index) && !last(*index))
        .chain(all.filter(|index| stays(index) && last(*index)))
        .collect();
    let mut new = vec![0_u32; into.len()];
    for (position, &index) in order.iter().enumerate() {
        new[index as usize] = position as u32;
    }
    let extended = !profile.point_extensions.is_empty();
    let mut points: Vec<Point> = order
        .iter()
        .map(|&index| profile.points[index as usize])
        .collect();
    let mut extensions: Vec<PointExtension> = order
        .iter()
        .filter(|_| extended)
        .map(|&index| profile.point_extensions[index as usize].clone())
        .collect();
    let mut is_sum = vec![false; into.len()];
    for (index, &target) in into.iter().enumerate() {
        if index as u32 == target {
            continue;
        }
        is_sum[target as usize] = true;
        let position = new[target as usize] as usize;
        points[position].counts.add(&profile.points[index].counts);
        if extended {
            extensions[position].add(&profile.point_extensions[index]);
        }
    }
    // Blocks of several points have no one size, so no count for each byte of it.
    profile.histograms.retain_mut(|(point, _)| {
        let keep = stays(point) && !is_sum[*point as usize];
        *point = new[*point as usize];
        keep
    });
    if let Some(timeline) = profile
        .extension
        .as_mut()
        .and_then(|extension| extension.timeline.as_mut())
    {
        for moment in &mut timeline.moments {
            let mut top: Vec<(u32, u64)> = Vec::with_capacity(moment.top.len());
            let mut places: HashMap<u32, usize> = HashMap::with_capacity(moment.top.len());
            for &(point, bytes) in &moment.top {
                let Some(&target) = into.get(point as usize) else {
                    continue;
                };
                let point = new[target as usize];
                let place = *places.entry(point).or_insert(top.len());
                if place == top.len() {
                    top.push((point, 0));
                }
                top[place].1 = top[place].1.saturating_add(bytes);
            }
            moment.top = top;
        }
    }
    profile.points = points;
    profile.point_extensions = extensions;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Extension, MomentOfTimeline, Timeline};
    use crate::sample;

    const SMALL: Limits = Limits {
        frames: 5,
        points: 3,
    };

    fn texts(profile: &Profile, point: usize) -> Vec<&str> {
        let stack = profile.stack(&profile.points[point]);
        stack
            .iter()
            .map(|&frame| &*profile.frames[frame as usize])
            .collect()
    }

    fn total(profile: &Profile) -> u64 {
        profile
            .points
            .iter()
            .map(|point| point.counts.total_bytes)
            .sum()
    }

    #[test]
    fn what_is_within_is_not_copied() {
        let profile = sample::heap(&[(&["a", "b"], 10), (&["c"], 20)]);
        let fitted = fit(&profile, SMALL);
        assert!(matches!(fitted.profile, Cow::Borrowed(_)));
        assert_eq!((fitted.merged_points, fitted.folded_points), (0, 0));
    }

    #[test]
    fn a_recursion_loses_its_middle_and_may_then_be_another_point() {
        let deep = ["f0", "f1", "r", "r", "r", "r", "main"];
        let same = ["f0", "f1", "r", "s", "r", "r", "main"];
        let profile = sample::heap(&[(&deep, 10), (&["x"], 5), (&same, 20)]);
        let fitted = fit(&profile, SMALL);
        assert_eq!((fitted.shortened_stacks, fitted.merged_points), (2, 1));
        let fitted = fitted.profile;
        assert_eq!(fitted.points.len(), 2);
        assert_eq!(
            texts(&fitted, 0),
            ["f0", "f1", "[... 3 frames ...]", "r", "main"]
        );
        assert_eq!(fitted.points[0].counts.total_bytes, 30);
        assert_eq!(total(&fitted), total(&profile));
    }

    #[test]
    fn the_smallest_are_folded_and_told() {
        let mut profile =
            sample::heap(&[(&["tiny"], 1), (&["a"], 30), (&["small"], 2), (&["b"], 40)]);
        profile.histograms = vec![(0, vec![1]), (1, vec![2])];
        profile.extension = Some(Extension {
            timeline: Some(Timeline {
                moments: vec![MomentOfTimeline {
                    top: vec![(1, 30), (2, 2), (0, 1), (99, 7)],
                    ..MomentOfTimeline::default()
                }],
            }),
            ..Extension::default()
        });
        let fitted = fit(&profile, SMALL);
        assert_eq!((fitted.folded_points, fitted.folded.total_bytes), (2, 3));
        let fitted = fitted.profile;
        assert_eq!(fitted.points.len(), 3);
        assert_eq!(texts(&fitted, 0), ["a"]);
        assert_eq!(texts(&fitted, 1), ["b"]);
        assert_eq!(texts(&fitted, 2), ["[other]"]);
        assert_eq!(total(&fitted), 73);
        assert_eq!(fitted.histograms, [(0, vec![2])]);
        let timeline = fitted
            .extension
            .as_ref()
            .unwrap()
            .timeline
            .as_ref()
            .unwrap();
        assert_eq!(timeline.moments[0].top, [(0, 30), (2, 3)]);
    }

    /// What is quadratic does not end here, and what is not bounded does not add up.
    #[test]
    fn a_long_list_of_a_moment() {
        let count = 300_000;
        let mut profile = sample::heap(&[(&["a"], 10), (&["a"], 20)]);
        for number in 1..count {
            let start = profile.stacks.len() as u32;
            profile.stacks.extend((0..20).map(|bit| number >> bit & 1));
            let end = profile.stacks.len() as u32;
            profile.points.push(Point {
                stack: (start, end),
                counts: Counts::default(),
            });
        }
        let top = (0..=count).map(|point| (point, u64::MAX)).collect();
        profile.extension = Some(Extension {
            timeline: Some(Timeline {
                moments: vec![MomentOfTimeline {
                    top,
                    ..MomentOfTimeline::default()
                }],
            }),
            ..Extension::default()
        });
        let fitted = fit(&profile, VIEWERS);
        assert_eq!(fitted.merged_points, 1);
        let timeline = &fitted.profile.extension.as_ref().unwrap().timeline;
        let top = &timeline.as_ref().unwrap().moments[0].top;
        assert_eq!(top.len(), count as usize);
        assert_eq!(top[..2], [(0, u64::MAX), (1, u64::MAX)]);
    }
}
