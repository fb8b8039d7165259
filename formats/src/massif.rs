//! Valgrind massif's format: live bytes over time, and what held them at the peak and at the end. What
//! `ms_print` and massif-visualizer open.
//!
//! The format has no escapes, and `#` begins a comment: `{closure#0}` is written with the full-width
//! sign, `{closure＃0}`.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};

use crate::Error;
use crate::frame::Frame;
use crate::limits;
use crate::metric::Metric;
use crate::model::{MomentOfTimeline, Profile};
use crate::text;
use crate::timeline;

/// Frames of a stack, from the innermost: massif's own default. `ms_print` calls itself for each.
const MAX_DEPTH: usize = 30;

/// Nodes that hold less than one in this many bytes are told in one line: massif's own default.
const THRESHOLD: u64 = 100;

/// Nothing can be chosen as yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {}

/// Writes a profile.
///
/// # Errors
/// Those of `out`, and [`Error::NoSuchMetric`] if the profile does not tell what was live.
pub fn write(profile: &Profile, _options: &Options, out: impl Write) -> Result<(), Error> {
    Metric::PeakBytes.check(profile)?;
    let fitted = limits::fit(profile, limits::VIEWERS);
    let profile = &*fitted.profile;
    let mut out = BufWriter::new(out);
    // The only units of time that readers know are milliseconds, instructions and bytes.
    let nanoseconds = timeline::nanoseconds(profile);
    let unit = if nanoseconds.is_some() { "ms" } else { "i" };
    writeln!(
        out,
        "desc: written by heapledger {}",
        env!("CARGO_PKG_VERSION")
    )?;
    writeln!(out, "cmd: {}", one_line(&profile.command))?;
    writeln!(out, "time_unit: {unit}")?;
    let labels: Vec<String> = profile.frames.iter().map(|text| label(text)).collect();
    let moments = timeline::moments(profile);
    let last = moments.len() - 1;
    for (number, moment) in moments.iter().enumerate() {
        let time = match nanoseconds {
            Some(ns) => format!("{}", (moment.time as f64 * ns as f64) / 1e6),
            None => moment.time.to_string(),
        };
        write!(
            out,
            "#-----------\nsnapshot={number}\n#-----------\ntime={time}\nmem_heap_B={}\nmem_heap_extra_B=0\nmem_stacks_B=0\n",
            moment.bytes
        )?;
        let (kind, tree) = if moment.peak {
            ("peak", Some(Tree::of(profile, Metric::PeakBytes)))
        } else if number == last {
            ("detailed", Some(Tree::of(profile, Metric::EndBytes)))
        } else if moment.top.is_empty() {
            ("empty", None)
        } else {
            ("detailed", Some(Tree::of_top(profile, moment)))
        };
        writeln!(out, "heap_tree={kind}")?;
        if let Some(tree) = tree {
            tree.write(&mut out, &labels)?;
        }
    }
    out.flush()?;
    Ok(())
}

/// `0x10915C: main (main.rs:2)`, as massif writes frames.
fn label(text: &str) -> String {
    let frame = Frame::parse(text);
    let place = match (frame.file, frame.line, frame.module) {
        (Some(file), 0, _) => format!(" ({file})"),
        (Some(file), line, _) => format!(" ({file}:{line})"),
        (None, _, Some(module)) => format!(" (in {module})"),
        (None, _, None) => String::new(),
    };
    let address = frame
        .address
        .map_or(String::new(), |address| format!("0x{address:X}: "));
    one_line(&format!("{address}{}{place}", frame.name))
}

fn one_line(text: &str) -> String {
    text::one_line(text).replace('#', "＃")
}

/// Stacks from the innermost frame, with the bytes of all that begin so.
#[derive(Default)]
struct Tree {
    bytes: u64,
    children: BTreeMap<u32, Tree>,
}

impl Tree {
    fn of(profile: &Profile, metric: Metric) -> Self {
        let mut tree = Self::default();
        for point in &profile.points {
            tree.add(profile.stack(point), metric.of(&point.counts));
        }
        tree
    }

    /// What is not known of the moment is in no node, but in the sum.
    fn of_top(profile: &Profile, moment: &MomentOfTimeline) -> Self {
        let mut tree = Self::default();
        for &(point, bytes) in &moment.top {
            if let Some(point) = profile.points.get(point as usize) {
                tree.add(profile.stack(point), bytes);
            }
        }
        tree.bytes = tree.bytes.max(moment.bytes);
        tree
    }

    fn add(&mut self, stack: &[u32], bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        let mut node = self;
        for &frame in stack.iter().take(MAX_DEPTH) {
            node = node.children.entry(frame).or_default();
            node.bytes = node.bytes.saturating_add(bytes);
        }
    }

    fn write(&self, out: &mut impl Write, labels: &[String]) -> std::io::Result<()> {
        let least = self.bytes.div_ceil(THRESHOLD);
        self.write_node(out, labels, least, 0, "(all that was live)")
    }

    fn write_node(
        &self,
        out: &mut impl Write,
        labels: &[String],
        least: u64,
        depth: usize,
        label: &str,
    ) -> std::io::Result<()> {
        let (mut large, small): (Vec<_>, Vec<_>) = self
            .children
            .iter()
            .partition(|(_, child)| child.bytes >= least);
        large.sort_by_key(|(_, child)| std::cmp::Reverse(child.bytes));
        let nodes = large.len() + usize::from(!small.is_empty());
        writeln!(out, "{:depth$}n{nodes}: {} {label}", "", self.bytes)?;
        for (frame, child) in large {
            child.write_node(out, labels, least, depth + 1, &labels[*frame as usize])?;
        }
        if !small.is_empty() {
            let sum: u64 = small.iter().map(|(_, child)| child.bytes).sum();
            let (indent, places) = (depth + 1, small.len());
            writeln!(
                out,
                "{:indent$}n0: {sum} in {places} places, all below the threshold ({:.2}%)",
                "",
                100.0 / THRESHOLD as f64
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Extension, Timeline};
    use crate::sample;

    fn written(profile: &Profile) -> String {
        let mut text = Vec::new();
        write(profile, &Options::default(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_tree_at_the_peak_and_at_the_end() {
        let mut profile = sample::heap(&[
            (
                &["0x1: f::{closure#0} (a.rs:3:1)", "0x2: main (a.rs:9:1)"],
                4000,
            ),
            (
                &["0x1: f::{closure#0} (a.rs:3:1)", "0x3: ??? (in /lib/c.so)"],
                400,
            ),
            (&["small"], 4),
        ]);
        profile.extension = Some(Extension {
            timeline: Some(Timeline {
                moments: vec![MomentOfTimeline {
                    time: 7,
                    bytes: 900,
                    top: vec![(0, 800)],
                    ..MomentOfTimeline::default()
                }],
            }),
            ..Extension::default()
        });
        let expected = "\
cmd: app --größe \"1\"
time_unit: ms
#-----------
snapshot=0
#-----------
time=0
mem_heap_B=0
mem_heap_extra_B=0
mem_stacks_B=0
heap_tree=empty
#-----------
snapshot=1
#-----------
time=0.007
mem_heap_B=900
mem_heap_extra_B=0
mem_stacks_B=0
heap_tree=detailed
n1: 900 (all that was live)
 n1: 800 0x1: f::{closure＃0} (a.rs:3)
  n0: 800 0x2: main (a.rs:9)
#-----------
snapshot=2
#-----------
time=1.5
mem_heap_B=2202
mem_heap_extra_B=0
mem_stacks_B=0
heap_tree=peak
n2: 2202 (all that was live)
 n2: 2200 0x1: f::{closure＃0} (a.rs:3)
  n0: 2000 0x2: main (a.rs:9)
  n0: 200 0x3: ??? (in /lib/c.so)
 n0: 2 in 1 places, all below the threshold (1.00%)
#-----------
snapshot=3
";
        let text = written(&profile);
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with("desc: written by heapledger "));
        assert!(rest.starts_with(expected), "{rest}");
    }

    #[test]
    fn what_tells_nothing_of_live_blocks_is_refused() {
        let error = write(&sample::ad_hoc(), &Options::default(), Vec::new()).unwrap_err();
        assert!(error.to_string().contains("no peak-bytes"), "{error}");
    }

    #[test]
    fn an_empty_profile_has_its_three_moments() {
        assert_eq!(written(&sample::empty()).matches("snapshot=").count(), 3);
    }
}
