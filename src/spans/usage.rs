//! What the spans add up to.

use crate::alloc::ENGINE;
use crate::spans::layer::Shared;
use crate::testing::usage::{HeapUsage, SiteUsage};
use heapledger_formats::model::{Counts, Mode, Point, Profile};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The counts of a [`SpanLayer`](crate::SpanLayer), at any time: while the program
/// runs, and after.
#[derive(Clone, Debug)]
pub struct Spans {
    shared: Arc<Shared>,
}

/// What the spans of one place in the source add up to, in one place in the tree of spans.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SpanUsage {
    /// The span's name.
    pub name: &'static str,
    /// Its target: the module it is in, unless told otherwise.
    pub target: &'static str,
    /// The source file, if it is known.
    pub file: Option<&'static str>,
    /// The line, if it is known.
    pub line: Option<u32>,
    /// What was allocated in such spans, and in no span inside of them; with stacks.
    pub heap: HeapUsage,
    /// Blocks allocated in such spans and in all spans inside of them.
    pub total_blocks_within: u64,
    /// Their bytes.
    pub total_bytes_within: u64,
    /// Those of them that are not freed yet.
    pub live_blocks_within: u64,
    /// Their bytes.
    pub live_bytes_within: u64,
    /// Names from the outermost to this one.
    names: Vec<&'static str>,
}

impl SpanUsage {
    /// The names of the spans around it and its own, from the outermost on:
    /// `request > parse`.
    pub fn path(&self) -> String {
        self.names.join(" > ")
    }
}

impl Spans {
    pub(crate) fn of(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Every span that was met, as the tree has them: each before those inside of it,
    /// in the order in which they were first met.
    ///
    /// # Panics
    /// If operations are missing from the counts: see [`Scope::usage`](crate::Scope::usage).
    pub fn usages(&self) -> Vec<SpanUsage> {
        ENGINE.ignoring(|| {
            let nodes = self.shared.nodes();
            let mut usages: Vec<SpanUsage> = nodes
                .iter()
                .map(|(id, node)| {
                    let path = nodes.path(Some(id));
                    let mut names: Vec<_> = path.map(|id| nodes.get(id).metadata.name()).collect();
                    names.reverse();
                    let heap = node.scope.usage();
                    SpanUsage {
                        name: node.metadata.name(),
                        target: node.metadata.target(),
                        file: node.metadata.file(),
                        line: node.metadata.line(),
                        total_blocks_within: heap.total_blocks,
                        total_bytes_within: heap.total_bytes,
                        live_blocks_within: heap.live_blocks,
                        live_bytes_within: heap.live_bytes,
                        heap,
                        names,
                    }
                })
                .collect();
            // A span is met before those inside of it.
            let numbers: HashMap<_, _> = nodes.iter().map(|(id, _)| id).zip(0..).collect();
            for (id, node) in nodes.iter().collect::<Vec<_>>().into_iter().rev() {
                let Some(parent) = node.parent else {
                    continue;
                };
                let SpanUsage {
                    total_blocks_within,
                    total_bytes_within,
                    live_blocks_within,
                    live_bytes_within,
                    ..
                } = usages[numbers[&id]];
                let around = &mut usages[numbers[&parent]];
                around.total_blocks_within += total_blocks_within;
                around.total_bytes_within += total_bytes_within;
                around.live_blocks_within += live_blocks_within;
                around.live_bytes_within += live_bytes_within;
            }
            usages
        })
    }

    /// Spans that count for the spans around them, because there was no room for more.
    pub fn left_out(&self) -> u64 {
        self.shared.nodes().left_out
    }

    /// Writes a profile in the format of DHAT's viewer, with the totals of every stack
    /// in every span. The spans are its outermost frames: `span: request`.
    ///
    /// # Errors
    /// If the file cannot be written.
    ///
    /// # Panics
    /// As [`Self::usages`] does.
    pub fn save(&self, path: impl AsRef<Path>) -> io::Result<()> {
        ENGINE.ignoring(|| {
            let mut text = Vec::new();
            let options = heapledger_formats::dhat::Options::default();
            heapledger_formats::dhat::write(&self.profile(), &options, &mut text)
                .map_err(io::Error::other)?;
            std::fs::write(path, text)
        })
    }

    fn profile(&self) -> Profile {
        let mut writer = Writer::default();
        for usage in self.usages() {
            for site in usage.heap.sites() {
                writer.add(site, &usage.names);
            }
        }
        let mut frames = vec!["[root]".into()];
        frames.extend(writer.frames);
        Profile {
            mode: Mode::Heap,
            verb: "Allocated".to_owned(),
            units: None,
            time_units: ("µs".to_owned(), "s".to_owned()),
            short_lived_below: None,
            command: crate::profiler::command(),
            pid: std::process::id(),
            end_time: 0,
            peak_time: None,
            has_lifetimes: false,
            has_accesses: false,
            frames,
            points: writer.points,
            stacks: writer.stacks,
            histograms: Vec::new(),
            extension: None,
            point_extensions: Vec::new(),
        }
    }
}

#[derive(Default)]
struct Writer {
    frames: Vec<Box<str>>,
    by_text: HashMap<String, u32>,
    points: Vec<Point>,
    stacks: Vec<u32>,
}

impl Writer {
    fn add(&mut self, site: &SiteUsage, spans: &[&str]) {
        let start = self.stacks.len();
        let of_site = site.frames().iter().map(ToString::to_string);
        let of_spans = spans.iter().rev().map(|name| format!("span: {name}"));
        for text in of_site.chain(of_spans) {
            let frame = self.frame(text);
            self.stacks.push(frame);
        }
        self.points.push(Point {
            stack: (start as u32, self.stacks.len() as u32),
            counts: Counts {
                total_bytes: site.total_bytes,
                total_blocks: site.total_blocks,
                ..Counts::default()
            },
        });
    }

    /// Number 0 is the root's.
    fn frame(&mut self, text: String) -> u32 {
        let frames = &mut self.frames;
        *self.by_text.entry(text).or_insert_with_key(|text| {
            frames.push(text.as_str().into());
            frames.len() as u32
        })
    }
}

/// A table of all spans, those that allocated most first.
impl fmt::Display for Spans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ENGINE.ignoring(|| {
            let mut usages = self.usages();
            usages.sort_by(|a, b| {
                let key = |usage: &SpanUsage| usage.heap.total_bytes;
                key(b).cmp(&key(a)).then_with(|| a.names.cmp(&b.names))
            });
            writeln!(
                f,
                "{:>14} {:>10} {:>14} {:>14} {:>14}  span",
                "bytes", "blocks", "most bytes", "live bytes", "bytes within"
            )?;
            for usage in &usages {
                writeln!(
                    f,
                    "{:>14} {:>10} {:>14} {:>14} {:>14}  {}",
                    usage.heap.total_bytes,
                    usage.heap.total_blocks,
                    usage.heap.max_bytes,
                    usage.heap.live_bytes,
                    usage.total_bytes_within,
                    usage.path()
                )?;
            }
            match self.left_out() {
                0 => Ok(()),
                left_out => writeln!(f, "{left_out} more spans count for those around them"),
            }
        })
    }
}
