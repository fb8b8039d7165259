//! What the page's script works on: a head in JSON, then columns of numbers, compressed.
//!
//! Stacks are a tree of places (function, file, line), and beside it the same tree by functions alone,
//! which is what a flame graph draws. A parent's number is smaller than its children's.

use std::collections::HashMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use serde_json::{Value, json};

use crate::figures::Figure;
use crate::names;
use crate::notes::notes;
use crate::sites::Sites;
use crate::terminal::thousands;

pub(super) fn packed(profile: &Profile) -> Vec<u8> {
    let mut columns = Columns::default();
    let mut strings = Strings::default();
    let sites = Sites::new(profile);
    stacks(&sites, &mut strings, &mut columns);
    let figures: Vec<Figure> = Figure::of_profile(profile);
    for figure in &figures {
        let values = (0..profile.points.len()).map(|index| figure.of(profile, index));
        columns.push(&format!("figure_{figure}"), values);
    }
    let mut intervals = Vec::new();
    for figure in &figures {
        let of = |index| figure.interval(profile, index);
        if (0..profile.points.len()).all(|index| of(index).is_none()) {
            continue;
        }
        let ends: Vec<(u64, u64)> = (0..profile.points.len())
            .map(|index| of(index).unwrap_or_default())
            .collect();
        columns.push(&format!("low_{figure}"), ends.iter().map(|ends| ends.0));
        columns.push(&format!("high_{figure}"), ends.iter().map(|ends| ends.1));
        intervals.push(figure.to_string());
    }
    let head = head(
        profile,
        &figures,
        &intervals,
        &strings.texts,
        &columns.lengths,
    )
    .to_string();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let length = u32::try_from(head.len()).expect("names of less than 4 GB");
    let parts: [&[u8]; 3] = [&length.to_le_bytes(), head.as_bytes(), &columns.bytes];
    for part in parts {
        gzip.write_all(part).expect("memory takes everything");
    }
    gzip.finish().expect("memory takes everything")
}

fn head(
    profile: &Profile,
    figures: &[Figure],
    intervals: &[String],
    strings: &[String],
    columns: &[(String, usize)],
) -> Value {
    let figures: Vec<Value> = figures
        .iter()
        .map(|figure| {
            let unit = match figure {
                Figure::Metric(metric) => metric.unit(profile),
                Figure::Unwritten | Figure::UnusedTail | Figure::Copied => "bytes",
                Figure::ShortLived => "blocks",
                Figure::Reallocs => "reallocations",
                Figure::AllocatorTime => "ns",
            };
            json!({"id": figure.to_string(), "title": figure.title(profile), "unit": unit})
        })
        .collect();
    let timeline = profile
        .extension
        .as_ref()
        .and_then(|extension| extension.timeline.as_ref());
    let points = profile.points.len();
    let moments: Vec<Value> = timeline
        .map_or(&[][..], |timeline| &timeline.moments)
        .iter()
        .map(|moment| {
            let top: Vec<_> = moment
                .top
                .iter()
                .filter(|(point, _)| (*point as usize) < points)
                .collect();
            json!([
                moment.time,
                moment.bytes,
                moment.blocks,
                moment.total_bytes,
                moment.total_blocks,
                moment.peak,
                top
            ])
        })
        .collect();
    json!({
        "command": profile.command, "pid": profile.pid, "time": profile.time_units.0,
        "peak": profile.peak_time, "end": profile.end_time, "totals": totals(profile), "notes": notes(profile),
        "figures": figures, "intervals": intervals, "timeline": moments, "strings": strings, "columns": columns,
    })
}

/// As DHAT's viewer tells them.
fn totals(profile: &Profile) -> Vec<(&'static str, String)> {
    let sum = |metric: Metric| {
        let values = profile
            .points
            .iter()
            .map(|point| u128::from(metric.of(&point.counts)));
        format!("{} {}", thousands(values.sum()), metric.unit(profile))
    };
    let lines = [
        ("Total", Metric::TotalBytes, Some(Metric::TotalBlocks)),
        ("At t-gmax", Metric::PeakBytes, Some(Metric::PeakBlocks)),
        ("At t-end", Metric::EndBytes, Some(Metric::EndBlocks)),
        ("Reads", Metric::ReadBytes, None),
        ("Writes", Metric::WrittenBytes, None),
    ];
    let lines = lines
        .into_iter()
        .filter(|(_, bytes, _)| bytes.is_in(profile));
    lines
        .map(|(name, bytes, blocks)| {
            let blocks = blocks
                .map(|blocks| format!(" in {}", sum(blocks)))
                .unwrap_or_default();
            (name, sum(bytes) + &blocks)
        })
        .collect()
}

/// Texts, each once. Number 0 is the empty one.
#[derive(Debug)]
struct Strings {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Default for Strings {
    fn default() -> Strings {
        Strings {
            texts: vec![String::new()],
            numbers: HashMap::from([(String::new(), 0)]),
        }
    }
}

impl Strings {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = index(self.texts.len());
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}

fn index(length: usize) -> u32 {
    u32::try_from(length).expect("a file of at most 2 GB has fewer than 2^32 of anything")
}

/// Numbers in as many groups of seven bits as each needs.
#[derive(Debug, Default)]
struct Columns {
    lengths: Vec<(String, usize)>,
    bytes: Vec<u8>,
}

impl Columns {
    fn push<T: Into<u64>>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        let mut length = 0;
        for value in values {
            let mut value: u64 = value.into();
            while value > 0x7f {
                self.bytes.push(value.to_le_bytes()[0] | 0x80);
                value >>= 7;
            }
            self.bytes.push(value.to_le_bytes()[0]);
            length += 1;
        }
        self.lengths.push((name.to_owned(), length));
    }

    /// Parents as how far they lie before their child; the root is its own.
    fn push_parents(&mut self, name: &str, parents: &[u32]) {
        self.push(
            name,
            parents
                .iter()
                .zip(0_u32..)
                .map(|(&parent, own)| own - parent),
        );
    }
}

/// A tree whose edges have a number each.
#[derive(Debug)]
struct Tree {
    parents: Vec<u32>,
    labels: Vec<u32>,
    kids: HashMap<(u32, u32), u32>,
}

impl Tree {
    fn new(root: u32) -> Tree {
        Tree {
            parents: vec![0],
            labels: vec![root],
            kids: HashMap::new(),
        }
    }

    /// The child with this label, and whether it is new.
    fn kid(&mut self, parent: u32, label: u32) -> (u32, bool) {
        let next = index(self.parents.len());
        let kid = *self.kids.entry((parent, label)).or_insert(next);
        if kid == next {
            self.parents.push(parent);
            self.labels.push(label);
        }
        (kid, kid == next)
    }
}

fn stacks(sites: &Sites<'_>, strings: &mut Strings, columns: &mut Columns) {
    let profile = sites.profile;
    // Frames that are shown alike are one place.
    let mut places: HashMap<[u32; 4], u32> = HashMap::new();
    let mut shown: Vec<[u32; 4]> = Vec::new();
    let mut place = |shape: [u32; 4]| {
        let next = index(shown.len());
        let number = *places.entry(shape).or_insert(next);
        if number == next {
            shown.push(shape);
        }
        number
    };
    let root = place([strings.number("[root]"), 0, 0, 1]);
    let numbers: Vec<u32> = (0..index(profile.frames.len()))
        .map(|number| {
            let frame = sites.frame(number);
            let name = strings.number(&frame.label());
            let file = strings.number(frame.file.or(frame.module).unwrap_or(""));
            place([name, file, frame.line, u32::from(sites.is_standard(number))])
        })
        .collect();

    let mut nodes = Tree::new(root);
    let mut boxes = Tree::new(shown[root as usize][0]);
    let mut box_of_node = vec![0_u32];
    let mut foreign = vec![1_u32];
    let mut points: [Vec<u32>; 5] = Default::default();
    for point in &profile.points {
        let site = sites.site(point);
        let stack = profile.stack(point);
        let (mut node, mut own) = (0, 0);
        for (depth, &frame) in stack.iter().enumerate().rev() {
            let place = numbers[frame as usize];
            let (kid, is_new) = nodes.kid(node, place);
            if is_new {
                let (boxed, is_new) =
                    boxes.kid(box_of_node[node as usize], shown[place as usize][0]);
                box_of_node.push(boxed);
                if is_new {
                    foreign.push(shown[place as usize][3]);
                }
            }
            node = kid;
            if depth == site.depth {
                own = node;
            }
        }
        let owner = site.frame.map_or("", |frame| sites.crate_of(&frame));
        let through = site
            .through
            .map(|frame| names::base_name(frame.name))
            .unwrap_or_default();
        let row = [
            node,
            own,
            strings.number(owner),
            strings.number(site.container.unwrap_or("")),
            strings.number(&through),
        ];
        points
            .iter_mut()
            .zip(row)
            .for_each(|(column, value)| column.push(value));
    }

    for (part, name) in ["place_name", "place_file", "place_line", "place_foreign"]
        .iter()
        .enumerate()
    {
        columns.push(name, shown.iter().map(|place| place[part]));
    }
    columns.push_parents("node_parent", &nodes.parents);
    columns.push("node_place", nodes.labels);
    columns.push("node_box", box_of_node);
    columns.push_parents("box_parent", &boxes.parents);
    columns.push("box_name", boxes.labels);
    columns.push("box_foreign", foreign);
    for (name, values) in ["node", "own", "crate", "type", "through"]
        .iter()
        .zip(points)
    {
        columns.push(&format!("point_{name}"), values);
    }
}
