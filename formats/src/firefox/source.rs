//! Functions, files and lines: the crate that writes the format has labels only, so each label is the
//! number of a frame at first, and is replaced here.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::calls::Calls;
use crate::frame::Frame;
use crate::model::Profile;

/// Puts frames' texts in the place of their numbers.
pub(super) fn add_places(json: &mut Value, profile: &Profile) {
    let parsed: Vec<Frame<'_>> = profile
        .frames
        .iter()
        .map(|text| Frame::parse(text))
        .collect();
    let depths = inline_depths(profile);
    let threads = json["threads"].as_array_mut();
    for thread in threads.into_iter().flatten() {
        add_to_thread(thread, &parsed, &depths);
    }
}

/// How many frames of its call are around each frame.
fn inline_depths(profile: &Profile) -> Vec<u32> {
    let calls = Calls::of(profile);
    let mut depths = vec![0; profile.frames.len()];
    for point in &profile.points {
        for call in calls.split(profile.stack(point)) {
            for (depth, &frame) in call.iter().rev().enumerate() {
                depths[frame as usize] = depth as u32;
            }
        }
    }
    depths
}

fn add_to_thread(thread: &mut Value, parsed: &[Frame<'_>], depths: &[u32]) {
    // The frames of this thread, as numbers of the profile's, in the thread's order.
    let label = |string: &Value| -> usize {
        let text = thread["stringArray"][index(string)].as_str();
        text.and_then(|text| text.parse().ok()).unwrap_or_default()
    };
    let of_func: Vec<usize> = column(thread, "funcTable", "name").map(label).collect();
    let frames: Vec<usize> = column(thread, "frameTable", "func")
        .map(|func| of_func[index(func)])
        .collect();

    let mut strings = Strings::default();
    let mut funcs: HashMap<(String, Option<&str>), usize> = HashMap::new();
    let mut names = Vec::new();
    let mut files = Vec::new();
    let of_frames: Vec<usize> = frames
        .iter()
        .map(|&frame| {
            let Frame { file, .. } = parsed[frame];
            let next = funcs.len();
            *funcs
                .entry((parsed[frame].label(), file))
                .or_insert_with_key(|(name, file)| {
                    names.push(strings.number(name));
                    files.push(file.map(|file| strings.number(file)));
                    next
                })
        })
        .collect();

    let known = |number: u32| (number != 0).then_some(number);
    let lines: Vec<_> = frames
        .iter()
        .map(|&frame| known(parsed[frame].line))
        .collect();
    let columns: Vec<_> = frames
        .iter()
        .map(|&frame| known(parsed[frame].column))
        .collect();
    let depths: Vec<_> = frames.iter().map(|&frame| depths[frame]).collect();
    let addresses: Vec<i64> = frames
        .iter()
        .map(|&frame| {
            let address = parsed[frame].address.map(i64::try_from);
            address.and_then(Result::ok).unwrap_or(-1)
        })
        .collect();
    let none = vec![Value::Null; names.len()];
    let no = vec![false; names.len()];
    let frame_table = &mut thread["frameTable"];
    frame_table["func"] = json!(of_frames);
    frame_table["line"] = json!(lines);
    frame_table["column"] = json!(columns);
    frame_table["inlineDepth"] = json!(depths);
    frame_table["address"] = json!(addresses);
    let func_table = Map::from_iter([
        ("length".to_owned(), json!(names.len())),
        ("isJS".to_owned(), json!(no)),
        ("relevantForJS".to_owned(), json!(no)),
        ("resource".to_owned(), json!(vec![-1; names.len()])),
        ("name".to_owned(), json!(names)),
        ("fileName".to_owned(), json!(files)),
        ("lineNumber".to_owned(), json!(none)),
        ("columnNumber".to_owned(), json!(none)),
    ]);
    thread["funcTable"] = Value::Object(func_table);
    thread["stringArray"] = json!(strings.texts);
}

fn column<'a>(thread: &'a Value, table: &str, name: &str) -> impl Iterator<Item = &'a Value> {
    thread[table][name].as_array().into_iter().flatten()
}

fn index(value: &Value) -> usize {
    value.as_u64().map_or(0, |index| index as usize)
}

#[derive(Default)]
struct Strings {
    numbers: HashMap<String, usize>,
    texts: Vec<String>,
}

impl Strings {
    fn number(&mut self, text: &str) -> usize {
        if let Some(&number) = self.numbers.get(text) {
            return number;
        }
        let number = self.texts.len();
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }
}
