//! Callgrind's format: what `callgrind_annotate` and KCachegrind open. Every figure that adds up is an
//! event; each line of a function has its own, and each call what was allocated in it.
//!
//! All stacks begin in a function `[root]`. A call of a function that is running already, further out, is
//! recursion and costs nothing: so the costs of all calls of a function are what was allocated in it, each
//! block once. How often a function was called is not recorded: in its place stands the number of blocks
//! that were allocated in the call, or 1 where that is 0.
//!
//! Stacks become calls, so neither their depth nor their number is too much for a viewer.

use std::collections::HashMap;
use std::io::{BufWriter, Write};

use crate::Error;
use crate::frame::Frame;
use crate::metric::Metric;
use crate::model::{Counts, Module, Profile};
use crate::text;

/// Nothing can be chosen as yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {}

/// Figures whose sum over all points means something, each with the name of its event.
const EVENTS: [(Metric, &str); 9] = [
    (Metric::TotalBytes, "TotalBytes"),
    (Metric::TotalBlocks, "TotalBlocks"),
    (Metric::PeakBytes, "PeakBytes"),
    (Metric::PeakBlocks, "PeakBlocks"),
    (Metric::EndBytes, "EndBytes"),
    (Metric::EndBlocks, "EndBlocks"),
    (Metric::Lifetimes, "Lifetimes"),
    (Metric::ReadBytes, "ReadBytes"),
    (Metric::WrittenBytes, "WrittenBytes"),
];

/// A file or a function whose name is not known, in the format's own words.
const UNKNOWN: &str = "???";

/// Writes a profile.
///
/// # Errors
/// Those of `out`.
pub fn write(profile: &Profile, _options: &Options, out: impl Write) -> Result<(), Error> {
    let mut writer = Writer {
        out: BufWriter::new(out),
        events: EVENTS
            .into_iter()
            .filter(|(metric, _)| metric.is_in(profile))
            .collect(),
        named: Default::default(),
    };
    writer.header(profile)?;
    writer.body(&Graph::of(profile))?;
    writer.out.flush()?;
    Ok(())
}

/// A line of a function, which is told by its number.
type Place = (u32, u32);

/// Told from others by its name and file, as `callgrind_annotate` does: numbers of texts.
#[derive(Clone, Copy, Debug)]
struct Function {
    name: u32,
    file: u32,
    object: u32,
}

/// Where all stacks begin.
const ROOT: Place = (0, 0);

/// What was allocated at a place itself, or in what is called there.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    counts: Counts,
    /// Recursion included.
    blocks: u64,
}

/// The functions of a profile, and what was allocated in which.
#[derive(Debug, Default)]
struct Graph {
    names: Texts,
    files: Texts,
    objects: Texts,
    functions: Vec<Function>,
    /// By place and what it calls; by nothing, the place's own.
    costs: HashMap<(Place, Option<Place>), Cost>,
    all: Counts,
}

impl Graph {
    fn of(profile: &Profile) -> Self {
        let mut graph = Self::default();
        let mut numbers = HashMap::new();
        graph.function("[root]", UNKNOWN, UNKNOWN, &mut numbers);
        let modules = profile
            .extension
            .as_ref()
            .map_or(&[][..], |extension| &extension.modules);
        let frames = profile.frames.iter().map(|text| Frame::parse(text));
        let places: Vec<Place> = frames
            .map(|frame| {
                let object = frame.module.or_else(|| {
                    let address = frame.address?;
                    let holds = |module: &&Module| (module.start..module.end).contains(&address);
                    Some(&*modules.iter().find(holds)?.path)
                });
                let function = graph.function(
                    &frame.label(),
                    frame.file.unwrap_or(UNKNOWN),
                    object.unwrap_or(UNKNOWN),
                    &mut numbers,
                );
                (function, frame.line)
            })
            .collect();
        // For each function, the last point whose stack it was met in, counted from 1.
        let mut met_in = vec![0; graph.functions.len()];
        for (number, point) in profile.points.iter().enumerate() {
            let mut caller = ROOT;
            met_in[ROOT.0 as usize] = number + 1;
            for &frame in profile.stack(point).iter().rev() {
                let callee = places[frame as usize];
                let cost = graph.costs.entry((caller, Some(callee))).or_default();
                cost.blocks = cost.blocks.saturating_add(point.counts.total_blocks);
                if std::mem::replace(&mut met_in[callee.0 as usize], number + 1) != number + 1 {
                    cost.counts.add(&point.counts);
                }
                caller = callee;
            }
            let own = graph.costs.entry((caller, None)).or_default();
            own.counts.add(&point.counts);
            graph.all.add(&point.counts);
        }
        graph
    }

    fn function(
        &mut self,
        name: &str,
        file: &str,
        object: &str,
        numbers: &mut HashMap<(u32, u32), u32>,
    ) -> u32 {
        let function = Function {
            name: self.names.number(name),
            file: self.files.number(file),
            object: self.objects.number(object),
        };
        *numbers
            .entry((function.name, function.file))
            .or_insert_with(|| {
                self.functions.push(function);
                self.functions.len() as u32 - 1
            })
    }
}

/// Each text once.
#[derive(Debug, Default)]
struct Texts {
    numbers: HashMap<String, u32>,
    all: Vec<String>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        let text = match one_line(text) {
            empty if empty.is_empty() => UNKNOWN.to_owned(),
            text => text,
        };
        *self.numbers.entry(text).or_insert_with_key(|text| {
            self.all.push(text.clone());
            self.all.len() as u32 - 1
        })
    }
}

/// The format has no escapes, and leading spaces are no part of a name.
fn one_line(text: &str) -> String {
    text::one_line(text).trim().to_owned()
}

struct Writer<W: Write> {
    out: BufWriter<W>,
    events: Vec<(Metric, &'static str)>,
    /// Which objects, files and names have been written: a number stands for them from then on.
    named: [Vec<bool>; 3],
}

impl<W: Write> Writer<W> {
    fn header(&mut self, profile: &Profile) -> std::io::Result<()> {
        let out = &mut self.out;
        writeln!(out, "# callgrind format")?;
        writeln!(out, "version: 1")?;
        writeln!(out, "creator: heapledger {}", env!("CARGO_PKG_VERSION"))?;
        writeln!(out, "pid: {}", profile.pid)?;
        writeln!(out, "cmd: {}", one_line(&profile.command))?;
        writeln!(out, "positions: line")?;
        for (metric, name) in &self.events {
            let title = one_line(&metric.title(profile));
            writeln!(out, "event: {name} : {title}")?;
        }
        write!(out, "events:")?;
        for (_, name) in &self.events {
            write!(out, " {name}")?;
        }
        writeln!(out)
    }

    fn body(&mut self, graph: &Graph) -> std::io::Result<()> {
        let mut costs: Vec<_> = graph.costs.iter().collect();
        costs.sort_unstable_by_key(|&(key, _)| key);
        let mut current = None;
        for (&(place, callee), cost) in costs {
            let (function, line) = place;
            let previous = current.replace(place);
            if previous.is_none_or(|(previous, _)| previous != function) {
                writeln!(self.out)?;
                self.function("", graph, function)?;
            }
            if let Some((callee, callee_line)) = callee {
                // Calls are shown beside a line only if it has something of its own.
                if previous != Some(place) {
                    write!(self.out, "{line}")?;
                    self.figures(&Counts::default())?;
                }
                self.function("c", graph, callee)?;
                // A call that is made 0 times is none to readers, and its cost the function's own.
                writeln!(self.out, "calls={} {callee_line}", cost.blocks.max(1))?;
            }
            write!(self.out, "{line}")?;
            self.figures(&cost.counts)?;
        }
        write!(self.out, "\ntotals:")?;
        self.figures(&graph.all)
    }

    /// `ob=(1) app`, `fl=(1) main.rs` and `fn=(1) main`; with `c` before them, of a function that is called.
    fn function(&mut self, prefix: &str, graph: &Graph, function: u32) -> std::io::Result<()> {
        let Function { name, file, object } = graph.functions[function as usize];
        let file_key = if prefix.is_empty() { "fl" } else { "fi" };
        let lines = [
            ("ob", object, &graph.objects),
            (file_key, file, &graph.files),
            ("fn", name, &graph.names),
        ];
        for ((key, number, texts), named) in lines.into_iter().zip(&mut self.named) {
            // Where no object is known, there is none to tell apart.
            if key == "ob" && texts.all == [UNKNOWN] {
                continue;
            }
            write!(self.out, "{prefix}{key}=({number})")?;
            named.resize(texts.all.len(), false);
            if !std::mem::replace(&mut named[number as usize], true) {
                write!(self.out, " {}", texts.all[number as usize])?;
            }
            writeln!(self.out)?;
        }
        Ok(())
    }

    fn figures(&mut self, counts: &Counts) -> std::io::Result<()> {
        for (metric, _) in &self.events {
            write!(self.out, " {}", metric.of(counts))?;
        }
        writeln!(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Extension;
    use crate::sample;

    fn written(profile: &Profile) -> String {
        let mut text = Vec::new();
        write(profile, &Options::default(), &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    /// What stands behind the header.
    fn body(profile: &Profile) -> String {
        let text = written(profile);
        text.split_once("\n\n").unwrap().1.to_owned()
    }

    #[test]
    fn lines_have_their_own_costs_and_calls_what_was_allocated_in_them() {
        let text = written(&sample::heap(&[
            (&["0x1: f (a.rs:3:1)", "0x2: main (a.rs:9:1)"], 400),
            (&["0x5: f (a.rs:4:1)", "0x2: main (a.rs:9:1)"], 80),
            (&["0x3: ??? (in /lib/c.so)"], 4),
        ]));
        let (header, body) = text.split_once("\n\n").unwrap();
        assert!(
            header.starts_with("# callgrind format\nversion: 1\ncreator: heapledger "),
            "{header}"
        );
        assert!(
            header.ends_with(
                "\npid: 42\ncmd: app --größe \"1\"\npositions: line\n\
                 event: TotalBytes : allocated bytes\n\
                 event: TotalBlocks : allocated blocks\n\
                 event: PeakBytes : bytes live at the peak\n\
                 event: PeakBlocks : blocks live at the peak\n\
                 event: EndBytes : bytes live at the end\n\
                 event: EndBlocks : blocks live at the end\n\
                 event: Lifetimes : sum of lifetimes in µs\n\
                 events: TotalBytes TotalBlocks PeakBytes PeakBlocks EndBytes EndBlocks Lifetimes"
            ),
            "{header}"
        );
        let expected = "\
ob=(0) ???
fl=(0) ???
fn=(0) [root]
0 0 0 0 0 0 0 0
cob=(0)
cfi=(1) a.rs
cfn=(2) main
calls=48 9
0 480 48 240 24 120 12 1440
cob=(1) /lib/c.so
cfi=(0)
cfn=(3) 0x3 (c.so)
calls=1 0
0 4 0 2 0 1 0 12

ob=(0)
fl=(1)
fn=(1) f
3 400 40 200 20 100 10 1200
4 80 8 40 4 20 2 240

ob=(0)
fl=(1)
fn=(2)
9 0 0 0 0 0 0 0
cob=(0)
cfi=(1)
cfn=(1)
calls=40 3
9 400 40 200 20 100 10 1200
cob=(0)
cfi=(1)
cfn=(1)
calls=8 4
9 80 8 40 4 20 2 240

ob=(1)
fl=(0)
fn=(3)
0 4 0 2 0 1 0 12

totals: 484 48 242 24 121 12 1452
";
        assert_eq!(body, expected);
    }

    #[test]
    fn recursion_counts_a_block_once() {
        let (main, f, g) = ("main (a.rs:1:1)", "f (a.rs:2:1)", "g (a.rs:3:1)");
        let mut profile = sample::ad_hoc();
        profile.points.clear();
        let counts = Counts {
            total_bytes: 7,
            total_blocks: 2,
            ..Counts::default()
        };
        sample::push(&mut profile, &[g, f, g, f, f, main], counts);
        let body = body(&profile);
        let calls: Vec<&str> = body
            .split("calls=")
            .skip(1)
            .map(|call| call.split("\n").take(2).last().unwrap())
            .collect();
        // [root] → main, f → f, f → g, main → f, g → f.
        assert_eq!(calls, ["0 7 2", "2 0 0", "2 7 2", "1 7 2", "3 0 0"]);
        assert!(body.contains("calls=4 3\n2 7 2\n"), "f → g twice: {body}");
        assert!(body.contains("\n3 7 2\ncfi"), "g's own: {body}");
    }

    #[test]
    fn objects_are_told_by_address() {
        let mut profile = sample::heap(&[(&["0x1f: f (a.rs:3:1)", "0x20: g (b.rs:9:1)"], 40)]);
        assert!(!body(&profile).contains("ob="));
        profile.extension = Some(Extension {
            modules: vec![Module {
                path: "/bin/app".to_owned(),
                start: 0x20,
                end: 0x30,
                ..Module::default()
            }],
            ..Extension::default()
        });
        let body = body(&profile);
        assert!(body.contains("cob=(1) /bin/app\ncfi=(2) b.rs\n"), "{body}");
        assert!(body.contains("cob=(0)\ncfi=(1)\n"), "{body}");
    }

    #[test]
    fn what_is_no_name_in_the_format_becomes_one() {
        let mut profile = sample::heap(&[(&["a\nb", " (1) x ", ""], 8)]);
        profile.command = "a\nfn=b".to_owned();
        let text = written(&profile);
        for line in ["cmd: a fn=b", "=(0) ???", ") a b", ") (1) x"] {
            assert!(
                text.lines().any(|known| known.ends_with(line)),
                "{line}: {text}"
            );
        }
    }

    #[test]
    fn no_points_and_no_stacks() {
        assert_eq!(body(&sample::empty()), "totals: 0 0 0 0 0 0 0\n");
        let mut profile = sample::heap(&[(&[], 40)]);
        profile.has_lifetimes = false;
        assert_eq!(
            body(&profile),
            "fl=(0) ???\nfn=(0) [root]\n0 40 4\n\ntotals: 40 4\n"
        );
    }
}
