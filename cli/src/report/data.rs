//! What the page's script works on: a head in JSON, then columns of numbers, compressed.
//!
//! Stacks are a tree of places (function, file, line); each of its nodes has a box in the same tree by
//! functions alone, which is what a flame graph draws. Numbers are told as distances that are mostly small:
//! of a node to its parent before it, of a box to the next new one, of a point's other nodes to its innermost.

use std::collections::HashMap;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use heapledger_formats::limits::Fitted;
use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use rayon::slice::ParallelSliceMut as _;
use serde_json::{Value, json};

use super::{check_size, moments};
use crate::code::Code;
use crate::failure::Result;
use crate::figures::{Figure, TOTALS};
use crate::notes::notes;
use crate::sites::{Grouping, Key, Sites};
use crate::terminal::{escaped, thousands};

/// Fails if there are more names than a browser takes.
pub(super) fn packed(fitted: &Fitted<'_>) -> Result<Vec<u8>> {
    let profile: &Profile = &fitted.profile;
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
        fitted,
        &figures,
        &intervals,
        &strings.texts,
        &columns.lengths,
    )
    .to_string();
    check_size(head.len())?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    let length = u32::try_from(head.len()).expect("checked");
    let parts: [&[u8]; 3] = [&length.to_le_bytes(), head.as_bytes(), &columns.bytes];
    for part in parts {
        gzip.write_all(part).expect("memory takes everything");
    }
    Ok(gzip.finish().expect("memory takes everything"))
}

fn head(
    fitted: &Fitted<'_>,
    figures: &[Figure],
    intervals: &[String],
    strings: &[String],
    columns: &[(String, usize)],
) -> Value {
    let profile: &Profile = &fitted.profile;
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
            let title = shown(&figure.title(profile));
            json!({"id": figure.to_string(), "title": title, "unit": shown(unit)})
        })
        .collect();
    let (timeline, left_out) = moments::drawn(profile);
    let mut notes: Vec<String> = notes(profile).iter().map(|note| shown(note)).collect();
    for (count, what) in [
        (
            fitted.folded_points.into(),
            "Smallest stacks summed up as [other], for a browser's sake",
        ),
        (
            fitted.shortened_stacks.into(),
            "Stacks without their middle, for a browser's sake",
        ),
        (
            left_out as u128,
            "Moments of the timeline left out, for a browser's sake",
        ),
    ] {
        if count > 0 {
            notes.push(format!("{what}: {}.", thousands(count)));
        }
    }
    json!({
        "command": shown(&profile.command), "pid": profile.pid, "time": shown(&profile.time_units.0),
        "peak": profile.peak_time, "end": profile.end_time, "totals": totals(profile), "notes": notes,
        "figures": figures, "intervals": intervals, "timeline": timeline, "strings": strings, "columns": columns,
    })
}

/// A text of the file as everyone may see it: nothing in it hides or turns round what stands there.
fn shown(text: &str) -> String {
    escaped(text).to_string()
}

/// `(264.7 MB)`: beside a number of bytes that is hard to read.
#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
fn rounded(value: u128, unit: &str) -> String {
    let units = ["kB", "MB", "GB", "TB", "PB", "EB", "ZB"];
    let mut scaled = value as f64 / 1000.0;
    let mut at = 0;
    while scaled >= 999.95 && at + 1 < units.len() {
        scaled /= 1000.0;
        at += 1;
    }
    if unit != "bytes" || value < 10_000 {
        return String::new();
    }
    format!(" ({scaled:.1} {})", units[at])
}

/// As DHAT's viewer tells them.
fn totals(profile: &Profile) -> Vec<(&'static str, String)> {
    let sum = |metric: Metric| {
        let (value, unit) = (Figure::Metric(metric).sum(profile), metric.unit(profile));
        shown(&format!(
            "{} {unit}{}",
            thousands(value),
            rounded(value, unit)
        ))
    };
    let lines = TOTALS.into_iter();
    lines
        .filter(|(_, _, bytes, _)| bytes.is_in(profile))
        .map(|(_, name, bytes, blocks)| {
            let blocks = blocks
                .map(|blocks| format!(" in {}", sum(blocks)))
                .unwrap_or_default();
            (name, sum(bytes) + &blocks)
        })
        .collect()
}

/// Texts, each once, as they are shown. Number 0 is the empty one.
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
        self.texts.push(shown(text));
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
}

/// Boxes by their parent, function and kind: what has one name can be of two kinds.
#[derive(Debug, Default)]
struct Boxes {
    known: HashMap<(u32, u32, u32), u32>,
    count: u32,
}

impl Boxes {
    /// The child's number, and how far it is before the next new one.
    fn kid(&mut self, parent: u32, name: u32, kind: u32) -> (u32, u32) {
        let number = *self.known.entry((parent, name, kind)).or_insert(self.count);
        let distance = self.count - number;
        self.count += u32::from(distance == 0);
        (number, distance)
    }
}

/// The groupings whose names the page has for each key.
const GROUPINGS: [(&str, Grouping); 6] = [
    ("site", Grouping::Site),
    ("own", Grouping::Own),
    ("function", Grouping::Function),
    ("crate", Grouping::Crate),
    ("file", Grouping::File),
    ("type", Grouping::Type),
];

fn stacks(sites: &Sites<'_>, strings: &mut Strings, columns: &mut Columns) {
    let profile = sites.profile;
    // Frames that are shown alike are one place.
    let mut places: HashMap<[u32; 4], u32> = HashMap::new();
    let mut shapes: Vec<[u32; 4]> = Vec::new();
    let mut place = |shape: [u32; 4]| {
        let next = index(shapes.len());
        let number = *places.entry(shape).or_insert(next);
        if number == next {
            shapes.push(shape);
        }
        number
    };
    let root = place([strings.number("[root]"), 0, 0, kind(Code::Standard)]);
    let numbers: Vec<u32> = (0..index(profile.frames.len()))
        .map(|number| {
            let frame = sites.frame(number);
            let name = strings.number(&frame.label());
            let file = strings.number(frame.file.or(frame.module).unwrap_or(""));
            place([name, file, frame.line, kind(sites.code(number))])
        })
        .collect();

    // Stacks from the outermost place inwards, and their order: what shares its start lies together, so
    // that each node of their tree is met once.
    let mut outward: Vec<u32> = Vec::with_capacity(profile.stacks.len());
    let mut ranges = Vec::with_capacity(profile.points.len());
    for point in &profile.points {
        let start = outward.len();
        let stack = profile.stack(point).iter().rev();
        outward.extend(stack.map(|&frame| numbers[frame as usize]));
        ranges.push(start..outward.len());
    }
    let stack_of = |point: usize| &outward[ranges[point].clone()];
    let mut order: Vec<usize> = (0..profile.points.len()).collect();
    order.par_sort_by(|&a, &b| stack_of(a).cmp(stack_of(b)));

    let mut boxes = Boxes::default();
    let mut box_of_place = |parent: u32, place: u32| {
        let [name, _, _, kind] = shapes[place as usize];
        boxes.kid(parent, name, kind)
    };
    let (root_box, root_distance) = box_of_place(0, root);
    let (mut to_parent, mut place_of_node, mut to_new_box) =
        (vec![0_u32], vec![root], vec![root_distance]);
    let mut keys: HashMap<Key, u32> = HashMap::new();
    let mut keys_in_order: Vec<Key> = Vec::new();
    let mut rows = vec![[0_u32; 4]; profile.points.len()];
    // The nodes of the last stack with their boxes, from the root on.
    let mut path = vec![(0_u32, root_box)];
    let mut last: &[u32] = &[];
    for number in order {
        let stack = stack_of(number);
        let shared = last.iter().zip(stack).take_while(|(a, b)| a == b).count();
        path.truncate(shared + 1);
        for &place in &stack[shared..] {
            let (above, box_above) = path[path.len() - 1];
            let node = index(place_of_node.len());
            let (number, distance) = box_of_place(box_above, place);
            to_parent.push(node - above);
            place_of_node.push(place);
            to_new_box.push(distance);
            path.push((node, number));
        }
        last = stack;
        let point = &profile.points[number];
        let (key, depths) = sites.key_and_depths(point);
        let next = index(keys_in_order.len());
        let key_number = *keys.entry(key).or_insert(next);
        if key_number == next {
            keys_in_order.push(key);
        }
        let (node, _) = path[stack.len()];
        let outward = |depth: usize| node - path[stack.len() - depth].0;
        let own = depths.own.unwrap_or(depths.site);
        rows[number] = [node, outward(depths.site), outward(own), key_number];
    }

    for (part, name) in ["place_name", "place_file", "place_line", "place_kind"]
        .iter()
        .enumerate()
    {
        columns.push(name, shapes.iter().map(|place| place[part]));
    }
    columns.push("node_parent", to_parent);
    columns.push("node_place", place_of_node);
    columns.push("node_box", to_new_box);
    for (part, name) in ["point_node", "point_site", "point_own", "point_key"]
        .iter()
        .enumerate()
    {
        columns.push(name, rows.iter().map(|row| row[part]));
    }
    let mut of_keys = |name: &str, of: &dyn Fn(Key) -> String| {
        let numbers: Vec<u32> = keys_in_order
            .iter()
            .map(|&key| strings.number(&of(key)))
            .collect();
        columns.push(&format!("key_{name}"), numbers);
    };
    for (name, grouping) in GROUPINGS {
        of_keys(name, &|key| sites.name_of(key, grouping));
    }
    // The function in a name that has more.
    let label =
        |frame: Option<u32>| frame.map_or(String::new(), |number| sites.frame(number).label());
    of_keys("head", &|key| label(key.site));
    of_keys("own_head", &|key| label(key.own.or(key.site)));
}

/// As the page numbers them.
fn kind(code: Code) -> u32 {
    match code {
        Code::Own => 0,
        Code::Dependency => 1,
        Code::Standard => 2,
    }
}
