//! pprof's format, compressed: what `go tool pprof` opens, and services that take Go's profiles.

use std::collections::HashMap;
use std::hash::Hash;
use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;

use crate::Error;
use crate::calls::Calls;
use crate::frame::Frame;
use crate::limits;
use crate::metric::Metric;
use crate::model::{Mode, Profile};

mod proto;
use proto::{Function, Line, Location, Mapping, Sample, ValueType};

/// Nothing can be chosen as yet: every figure that the profile has is in the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {}

/// Writes a profile. Of a heap profile the sample types are those of Go's, and two more: `alloc_objects`
/// and `alloc_space` (all that was allocated), `inuse_objects` and `inuse_space` (live at the end),
/// `peak_objects` and `peak_space` (live when most bytes were).
///
/// # Errors
/// Those of `out`.
pub fn write(profile: &Profile, _options: &Options, out: impl Write) -> Result<(), Error> {
    let fitted = limits::fit(profile, limits::VIEWERS);
    let message = Encoder::new(&fitted.profile).encode();
    let mut gzip = GzEncoder::new(out, Compression::default());
    gzip.write_all(&message.encode_to_vec())?;
    gzip.finish()?.flush()?;
    Ok(())
}

/// The sample types of a profile: the figure, its name and its unit.
fn sample_types(profile: &Profile) -> Vec<(Metric, &str, &str)> {
    let mut types = match (&profile.units, profile.mode) {
        (Some(units), Mode::AdHoc | Mode::Copy) => vec![
            (Metric::TotalBlocks, units.blocks.as_str(), "count"),
            (
                Metric::TotalBytes,
                units.bytes.as_str(),
                units.bytes.as_str(),
            ),
        ],
        _ => vec![
            (Metric::TotalBlocks, "alloc_objects", "count"),
            (Metric::TotalBytes, "alloc_space", "bytes"),
            (Metric::EndBlocks, "inuse_objects", "count"),
            (Metric::EndBytes, "inuse_space", "bytes"),
            (Metric::PeakBlocks, "peak_objects", "count"),
            (Metric::PeakBytes, "peak_space", "bytes"),
        ],
    };
    types.push((Metric::ReadBytes, "read_space", "bytes"));
    types.push((Metric::WrittenBytes, "written_space", "bytes"));
    types.retain(|(metric, _, _)| metric.is_in(profile));
    types
}

/// Texts of the file, each once; number 0 is the empty one.
struct Strings<'a> {
    numbers: HashMap<&'a str, i64>,
    texts: Vec<String>,
}

impl<'a> Strings<'a> {
    fn number(&mut self, text: &'a str) -> i64 {
        *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(text.to_owned());
            self.texts.len() as i64 - 1
        })
    }

    fn owned(&mut self, text: String) -> i64 {
        self.texts.push(text);
        self.texts.len() as i64 - 1
    }
}

struct Encoder<'a> {
    profile: &'a Profile,
    strings: Strings<'a>,
    /// The line of each frame, made when it is first used.
    lines: Vec<Option<Line>>,
    functions: HashMap<(&'a str, &'a str), u64>,
    /// By the frames of it, innermost first.
    locations: HashMap<&'a [u32], u64>,
    message: proto::Profile,
}

impl<'a> Encoder<'a> {
    fn new(profile: &'a Profile) -> Self {
        Self {
            profile,
            strings: Strings {
                numbers: HashMap::from([("", 0)]),
                texts: vec![String::new()],
            },
            lines: vec![None; profile.frames.len()],
            functions: HashMap::new(),
            locations: HashMap::new(),
            message: proto::Profile::default(),
        }
    }

    fn encode(mut self) -> proto::Profile {
        let profile = self.profile;
        let calls = Calls::of(profile);
        let types = sample_types(profile);
        for &(_, name, unit) in &types {
            let sample_type = self.value_type(name, unit);
            self.message.sample_type.push(sample_type);
        }
        self.add_mappings();
        for point in &profile.points {
            let value: Vec<i64> = types
                .iter()
                .map(|(metric, _, _)| i64::try_from(metric.of(&point.counts)).unwrap_or(i64::MAX))
                .collect();
            let location_id = calls
                .split(profile.stack(point))
                .map(|call| self.location(call, calls.address(call[0])))
                .collect();
            self.message.sample.push(Sample { location_id, value });
        }
        if profile.mode == Mode::Heap {
            self.message.period_type = Some(self.value_type("space", "bytes"));
            self.message.period = profile
                .extension
                .as_ref()
                .and_then(|extension| extension.sample_bytes)
                .map_or(1, |bytes| bytes as i64);
        }
        // What is never empty, where anything was recorded.
        self.message.default_sample_type = types
            .get(1)
            .map_or(0, |&(_, name, _)| self.strings.number(name));
        if profile.time_units.0 == "µs" {
            self.message.duration_nanos = profile.end_time.saturating_mul(1000) as i64;
        }
        let comment = self.strings.number(&profile.command);
        self.message.comment.push(comment);
        self.message.string_table = self.strings.texts;
        self.message
    }

    fn value_type(&mut self, name: &'a str, unit: &'a str) -> ValueType {
        ValueType {
            r#type: self.strings.number(name),
            unit: self.strings.number(unit),
        }
    }

    /// The loaded objects, or one that stands for all of them: readers look for symbols of what has
    /// no mapping.
    fn add_mappings(&mut self) {
        let modules = self
            .profile
            .extension
            .as_ref()
            .map_or(&[][..], |extension| &extension.modules);
        // The first is what the profile is of, for pprof.
        let program = self.profile.command.split(' ').next().unwrap_or_default();
        let name = |path: &'a str| path.rsplit(['/', '\\']).next().unwrap_or(path);
        let (own, others): (Vec<_>, Vec<_>) = modules
            .iter()
            .partition(|module| name(&module.path) == name(program));
        for module in own.into_iter().chain(others) {
            let (filename, build_id) = (
                self.strings.number(&module.path),
                self.strings.number(&module.build_id),
            );
            self.add_mapping(module.start, module.end, filename, build_id);
        }
        if modules.is_empty() {
            let filename = self.strings.number(program);
            self.add_mapping(0, u64::MAX, filename, 0);
        }
    }

    fn add_mapping(&mut self, memory_start: u64, memory_limit: u64, filename: i64, build_id: i64) {
        self.message.mapping.push(Mapping {
            id: self.message.mapping.len() as u64 + 1,
            memory_start,
            memory_limit,
            file_offset: 0,
            filename,
            build_id,
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
        });
    }

    /// A call and what was inlined into it, innermost first.
    fn location(&mut self, frames: &'a [u32], address: Option<u64>) -> u64 {
        if let Some(&id) = self.locations.get(frames) {
            return id;
        }
        let line = frames.iter().map(|&frame| self.line(frame)).collect();
        let address = address.unwrap_or_default();
        let id = next_id(&mut self.locations, frames);
        let mapping = self
            .message
            .mapping
            .iter()
            .find(|mapping| (mapping.memory_start..mapping.memory_limit).contains(&address));
        self.message.location.push(Location {
            id,
            mapping_id: mapping.map_or(0, |mapping| mapping.id),
            address,
            line,
        });
        id
    }

    fn line(&mut self, frame: u32) -> Line {
        if let Some(line) = self.lines[frame as usize] {
            return line;
        }
        let parsed = Frame::parse(&self.profile.frames[frame as usize]);
        let file = parsed.file.or(parsed.module).unwrap_or_default();
        let function_id = if parsed.is_named() {
            self.function(parsed.name, file)
        } else {
            // One for each address.
            let name = self.strings.owned(parsed.label());
            let filename = self.strings.number(file);
            self.push_function(name, filename)
        };
        let line = Line {
            function_id,
            line: i64::from(parsed.line),
            column: i64::from(parsed.column),
        };
        self.lines[frame as usize] = Some(line);
        line
    }

    fn function(&mut self, name: &'a str, file: &'a str) -> u64 {
        if let Some(&id) = self.functions.get(&(name, file)) {
            return id;
        }
        let (name_number, filename) = (self.strings.number(name), self.strings.number(file));
        let id = self.push_function(name_number, filename);
        self.functions.insert((name, file), id);
        id
    }

    /// Without a `system_name`: pprof would take `<Vec<T> as Trait>::f` for a C++ template of it and
    /// show `::f`.
    fn push_function(&mut self, name: i64, filename: i64) -> u64 {
        let id = self.message.function.len() as u64 + 1;
        self.message.function.push(Function {
            id,
            name,
            system_name: 0,
            filename,
            start_line: 0,
        });
        id
    }
}

/// Ids begin with 1.
fn next_id<K: Eq + Hash>(ids: &mut HashMap<K, u64>, key: K) -> u64 {
    let id = ids.len() as u64 + 1;
    ids.insert(key, id);
    id
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::model::{Extension, Module};
    use crate::sample;

    fn decoded(profile: &Profile) -> proto::Profile {
        let mut file = Vec::new();
        write(profile, &Options::default(), &mut file).unwrap();
        assert_eq!(file[..2], [0x1f, 0x8b], "gzip");
        let mut bytes = Vec::new();
        flate2::read::GzDecoder::new(&file[..])
            .read_to_end(&mut bytes)
            .unwrap();
        proto::Profile::decode(&bytes[..]).unwrap()
    }

    fn types(profile: &proto::Profile) -> Vec<&str> {
        let text = |number: i64| profile.string_table[number as usize].as_str();
        profile.sample_type.iter().map(|t| text(t.r#type)).collect()
    }

    /// The function names of each location of a sample.
    fn stack(profile: &proto::Profile, sample: usize) -> Vec<Vec<(&str, i64)>> {
        let ids = &profile.sample[sample].location_id;
        ids.iter()
            .map(|&id| {
                let location = &profile.location[id as usize - 1];
                assert_eq!((location.id, location.mapping_id), (id, 1));
                location
                    .line
                    .iter()
                    .map(|line| {
                        let function = &profile.function[line.function_id as usize - 1];
                        assert_eq!(function.system_name, 0);
                        (
                            profile.string_table[function.name as usize].as_str(),
                            line.line,
                        )
                    })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn frames_of_one_address_are_one_location() {
        let profile = sample::heap(&[
            (
                &[
                    "0x1: push (vec.rs:1:1)",
                    "0x1: f (a.rs:2:1)",
                    "0x2: main (a.rs:3:1)",
                ],
                400,
            ),
            // A recursion, in which something is inlined.
            (
                &[
                    "0x7: g (a.rs:8:1)",
                    "0x7: r (a.rs:9:1)",
                    "0x7: g (a.rs:8:1)",
                    "0x7: r (a.rs:9:1)",
                ],
                40,
            ),
            (&["[other]", "0x9: ??? (in /lib/c.so)"], 4),
        ]);
        let profile = decoded(&profile);
        assert_eq!(
            stack(&profile, 0),
            [vec![("push", 1), ("f", 2)], vec![("main", 3)]]
        );
        assert_eq!(
            stack(&profile, 1),
            [vec![("g", 8), ("r", 9)], vec![("g", 8), ("r", 9)]]
        );
        assert_eq!(
            stack(&profile, 2),
            [vec![("[other]", 0)], vec![("0x9 (c.so)", 0)]]
        );
        assert_eq!(
            types(&profile),
            [
                "alloc_objects",
                "alloc_space",
                "inuse_objects",
                "inuse_space",
                "peak_objects",
                "peak_space"
            ]
        );
        assert_eq!(profile.sample[0].value, [40, 400, 10, 100, 20, 200]);
        assert_eq!(profile.duration_nanos, 2_000_000);
    }

    #[test]
    fn the_program_is_the_first_mapping() {
        let module = |path: &str, start| Module {
            path: path.to_owned(),
            start,
            end: start + 10,
            ..Module::default()
        };
        let mut profile = sample::heap(&[(&["0x15: f (a.rs:1:1)"], 40)]);
        profile.command = "./app --quick".to_owned();
        profile.extension = Some(Extension {
            modules: vec![module("/lib/libc.so.6", 0), module("/bin/app", 20)],
            ..Extension::default()
        });
        let profile = decoded(&profile);
        let text = |number: i64| profile.string_table[number as usize].as_str();
        let names: Vec<&str> = profile.mapping.iter().map(|m| text(m.filename)).collect();
        assert_eq!(names, ["/bin/app", "/lib/libc.so.6"]);
        assert_eq!(profile.location[0].mapping_id, 1);
    }

    #[test]
    fn other_modes_have_other_types() {
        assert_eq!(types(&decoded(&sample::ad_hoc())), ["events", "units"]);
        let mut exact = sample::heap(&[(&["f"], 40)]);
        exact.has_accesses = true;
        exact.points[0].counts.written_bytes = 7;
        let exact = decoded(&exact);
        assert_eq!(types(&exact)[6..], ["read_space", "written_space"]);
        assert_eq!(exact.sample[0].value[6..], [0, 7]);
        assert_eq!(decoded(&sample::empty()).sample.len(), 0);
    }
}
