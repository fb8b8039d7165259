//! Which points of two profiles are the same place of the program.
//!
//! Addresses differ between any two builds, lines move, and a linker's name of a function has more
//! parts than a debugger's. So stacks are compared by what functions are called, first with their
//! files, then without, then only where the decision to allocate was taken; and among those that are the
//! same, the nearest lines belong together.

use std::collections::HashMap;

use crate::names;
use crate::sites::Sites;

/// Points that are the same place; one of the two lists may be empty.
#[derive(Debug, Default)]
pub(super) struct Pair {
    pub(super) before: Vec<usize>,
    pub(super) after: Vec<usize>,
}

/// Texts of both profiles as numbers.
#[derive(Default)]
struct Texts {
    numbers: HashMap<String, u32>,
}

impl Texts {
    fn number(&mut self, text: String) -> u32 {
        let next = u32::try_from(self.numbers.len()).expect("fewer than 2^32 names");
        *self.numbers.entry(text).or_insert(next)
    }
}

/// What is compared of a frame.
#[derive(Clone, Copy)]
struct Compared {
    function: u32,
    file: u32,
    line: u32,
}

struct Side<'a> {
    sites: &'a Sites<'a>,
    frames: Vec<Compared>,
    /// Points that have no counterpart yet.
    left: Vec<usize>,
}

impl<'a> Side<'a> {
    fn new(sites: &'a Sites<'a>, texts: &mut Texts) -> Side<'a> {
        let profile = sites.profile;
        let frames = (0..profile.frames.len())
            .map(|number| {
                let frame = sites.frame(u32::try_from(number).expect("frames have u32 numbers"));
                let name = if frame.is_named() {
                    names::base_name(frame.name)
                } else {
                    frame.label()
                };
                let file = frame.file.or(frame.module).map_or("", names::file_name);
                Compared {
                    function: texts.number(name),
                    file: texts.number(file.to_owned()),
                    line: frame.line,
                }
            })
            .collect();
        Side {
            sites,
            frames,
            left: (0..profile.points.len()).collect(),
        }
    }

    fn stack(&self, index: usize) -> impl Iterator<Item = Compared> + '_ {
        let profile = self.sites.profile;
        let stack = profile.stack(&profile.points[index]);
        stack.iter().map(|&frame| self.frames[frame as usize])
    }

    fn key(&self, index: usize, level: Level) -> Vec<u32> {
        match level {
            Level::WithFiles => self
                .stack(index)
                .flat_map(|frame| [frame.function, frame.file])
                .collect(),
            Level::Functions => self.stack(index).map(|frame| frame.function).collect(),
            Level::Decision => {
                let depth = self.depth(index);
                let from = depth.saturating_sub(1);
                self.stack(index)
                    .skip(from)
                    .take(depth - from + 1)
                    .map(|frame| frame.function)
                    .collect()
            }
        }
    }

    /// Of the decision.
    fn depth(&self, index: usize) -> usize {
        self.sites.depth(&self.sites.profile.points[index])
    }

    /// The line of the decision, then those of its callers.
    fn lines(&self, index: usize) -> Vec<u32> {
        self.stack(index)
            .skip(self.depth(index))
            .map(|frame| frame.line)
            .collect()
    }

    /// The points that are left, by key; those of equal lines are one.
    fn groups(&self, level: Level) -> HashMap<Vec<u32>, Vec<Alike>> {
        let mut groups: HashMap<Vec<u32>, HashMap<Vec<u32>, Vec<usize>>> = HashMap::new();
        for &index in &self.left {
            let group = groups.entry(self.key(index, level)).or_default();
            group.entry(self.lines(index)).or_default().push(index);
        }
        let sorted = |group: HashMap<Vec<u32>, Vec<usize>>| {
            let mut group: Vec<Alike> = group
                .into_iter()
                .map(|(lines, points)| Alike { lines, points })
                .collect();
            group.sort_by(|a, b| a.lines.cmp(&b.lines));
            group
        };
        groups
            .into_iter()
            .map(|(key, group)| (key, sorted(group)))
            .collect()
    }
}

#[derive(Clone, Copy)]
enum Level {
    WithFiles,
    Functions,
    Decision,
}

/// Points of one key and equal lines.
struct Alike {
    lines: Vec<u32>,
    points: Vec<usize>,
}

/// Beyond so many candidate pairs of one key, the order of lines decides.
const MAX_CANDIDATES: usize = 100_000;

pub(super) fn pairs(before: &Sites<'_>, after: &Sites<'_>) -> Vec<Pair> {
    let mut texts = Texts::default();
    let mut before = Side::new(before, &mut texts);
    let mut after = Side::new(after, &mut texts);
    let mut pairs = Vec::new();
    for level in [Level::WithFiles, Level::Functions, Level::Decision] {
        let mut old_groups = before.groups(level);
        let mut new_groups = after.groups(level);
        old_groups.retain(|key, _| new_groups.contains_key(key));
        new_groups.retain(|key, _| old_groups.contains_key(key));
        let first = pairs.len();
        for (key, old) in old_groups {
            let new = new_groups.remove(&key).unwrap_or_default();
            pair_up(old, new, &mut pairs);
        }
        remove(
            &mut before.left,
            pairs[first..].iter().flat_map(|pair| &pair.before),
        );
        remove(
            &mut after.left,
            pairs[first..].iter().flat_map(|pair| &pair.after),
        );
    }
    let alone = before.left.into_iter().map(|index| Pair {
        before: vec![index],
        after: Vec::new(),
    });
    pairs.extend(alone);
    let new = after.left.into_iter().map(|index| Pair {
        before: Vec::new(),
        after: vec![index],
    });
    pairs.extend(new);
    pairs
}

fn remove<'a>(left: &mut Vec<usize>, matched: impl Iterator<Item = &'a usize>) {
    let matched: std::collections::HashSet<usize> = matched.copied().collect();
    left.retain(|index| !matched.contains(index));
}

/// The nearest lines first.
fn pair_up(mut old: Vec<Alike>, mut new: Vec<Alike>, pairs: &mut Vec<Pair>) {
    let candidates: Vec<(usize, usize)> = if old.len().saturating_mul(new.len()) > MAX_CANDIDATES {
        (0..old.len().min(new.len()))
            .map(|index| (index, index))
            .collect()
    } else {
        let all = (0..old.len()).flat_map(|a| (0..new.len()).map(move |b| (a, b)));
        let mut all: Vec<(usize, usize)> = all.collect();
        all.sort_by_cached_key(|&(a, b)| distance(&old[a].lines, &new[b].lines));
        all
    };
    for (a, b) in candidates {
        if !old[a].points.is_empty() && !new[b].points.is_empty() {
            pairs.push(Pair {
                before: std::mem::take(&mut old[a].points),
                after: std::mem::take(&mut new[b].points),
            });
        }
    }
}

/// How far the decision's line is, then how far all of its callers' are.
fn distance(old: &[u32], new: &[u32]) -> (u32, u64) {
    let apart = |at: usize| {
        let line = |lines: &[u32]| lines.get(at).copied().unwrap_or(0);
        line(old).abs_diff(line(new))
    };
    let callers = (1..old.len().max(new.len())).map(|at| u64::from(apart(at)));
    (apart(0), callers.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alike(lines: &[u32], point: usize) -> Alike {
        Alike {
            lines: lines.to_vec(),
            points: vec![point],
        }
    }

    #[test]
    fn the_nearest_lines_belong_together() {
        let old = vec![alike(&[10, 1], 0), alike(&[20, 1], 1), alike(&[30, 1], 2)];
        let new = vec![alike(&[21, 1], 0), alike(&[33, 9], 1), alike(&[33, 2], 2)];
        let mut pairs = Vec::new();
        pair_up(old, new, &mut pairs);
        let mut found: Vec<_> = pairs
            .iter()
            .map(|pair| (pair.before[0], pair.after[0]))
            .collect();
        found.sort_unstable();
        assert_eq!(found, [(0, 1), (1, 0), (2, 2)]);
    }
}
