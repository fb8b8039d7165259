//! The file's first level.

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use super::error::{Place, ReadError};
use super::point::{PointList, Points};
use super::scalar::KeyOf;
use crate::model::{Extension, Mode, Profile, Units};

const KEYS: [&str; 18] = [
    "dhatFileVersion",
    "mode",
    "verb",
    "bklt",
    "bkacc",
    "bu",
    "bsu",
    "bksu",
    "tu",
    "Mtu",
    "tuth",
    "cmd",
    "pid",
    "tg",
    "te",
    "pps",
    "ftbl",
    "heapledger",
];

/// The name of the frame that stands above all.
const ROOT: &str = "[root]";

/// What has been read so far.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) place: Place,
    fields: RefCell<Fields>,
}

#[derive(Debug, Default)]
struct Fields {
    seen: u32,
    mode: Option<Mode>,
    verb: Option<String>,
    has_lifetimes: Option<bool>,
    has_accesses: Option<bool>,
    units: [Option<String>; 3],
    time_unit: Option<String>,
    time_unit_million: Option<String>,
    short_lived_below: Option<u64>,
    command: Option<String>,
    pid: Option<u32>,
    peak_time: Option<u64>,
    end_time: Option<u64>,
    points: Option<Points>,
    frames: Option<Vec<Box<str>>>,
    extension: Option<Extension>,
}

impl Parts {
    pub(super) fn read<'de, D: Deserializer<'de>>(&self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }

    /// Checks what can only be checked when everything is there.
    pub(super) fn into_profile(self) -> Result<Profile, ReadError> {
        let fields = self.fields.into_inner();
        if fields.seen & 1 == 0 {
            return Err(missing("dhatFileVersion"));
        }
        let has_lifetimes = need(fields.has_lifetimes, "bklt")?;
        let has_accesses = need(fields.has_accesses, "bkacc")?;
        let peak_time = has_lifetimes.then_some(fields.peak_time).flatten();
        if has_lifetimes {
            need(peak_time, "tg")?;
            need(fields.short_lived_below, "tuth")?;
        }
        let mut points = need(fields.points, "pps")?;
        points.require(has_lifetimes, has_accesses)?;
        if !points.extensions.is_empty() {
            let count = points.points.len();
            points.extensions.resize_with(count, Default::default);
        }
        let mut frames = need(fields.frames, "ftbl")?;
        check_stacks(&points, frames.len())?;
        if frames.first().is_none_or(|first| &**first != ROOT) {
            frames.insert(0, ROOT.into());
            points.stacks.iter_mut().for_each(|frame| *frame += 1);
        }
        let units = match fields.units {
            [Some(byte), Some(bytes), Some(blocks)] => Some(Units {
                byte,
                bytes,
                blocks,
            }),
            [None, None, None] => None,
            _ => {
                let problem = "of the keys \"bu\", \"bsu\" and \"bksu\" some are missing";
                return Err(ReadError::invalid("units", problem));
            }
        };
        Ok(Profile {
            mode: need(fields.mode, "mode")?,
            verb: need(fields.verb, "verb")?,
            units,
            time_units: (
                need(fields.time_unit, "tu")?,
                need(fields.time_unit_million, "Mtu")?,
            ),
            short_lived_below: fields.short_lived_below,
            command: need(fields.command, "cmd")?,
            pid: need(fields.pid, "pid")?,
            end_time: need(fields.end_time, "te")?,
            peak_time,
            has_lifetimes,
            has_accesses,
            frames,
            points: points.points,
            stacks: points.stacks,
            histograms: points.histograms,
            extension: fields.extension,
            point_extensions: points.extensions,
        })
    }
}

fn missing(key: &str) -> ReadError {
    let problem = "the key is missing: was the file written by a DHAT-style profiler?";
    ReadError::invalid(key, problem)
}

fn need<T>(value: Option<T>, key: &str) -> Result<T, ReadError> {
    value.ok_or_else(|| missing(key))
}

/// The frame table may stand behind the points, so their numbers are checked last.
fn check_stacks(points: &Points, frames: usize) -> Result<(), ReadError> {
    let wrong = |&frame: &u32| frame as usize >= frames;
    let Some(at) = points.stacks.iter().position(wrong) else {
        return Ok(());
    };
    let owner = points
        .points
        .partition_point(|point| point.stack.1 as usize <= at);
    let field = format!(
        "pps[{owner}].fs[{}]",
        at - points.points[owner].stack.0 as usize
    );
    let problem = format!(
        "frame {} is out of range, since \"ftbl\" has {frames}",
        points.stacks[at]
    );
    Err(ReadError::invalid(field, problem))
}

impl<'de> Visitor<'de> for &Parts {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a DHAT profile")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut fields = self.fields.borrow_mut();
        while let Some(key) = map.next_key_seed(KeyOf(&KEYS))? {
            let Some(key) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            self.place.top.set(KEYS[key]);
            if fields.seen & 1 << key != 0 {
                return Err(A::Error::custom("the key stands twice"));
            }
            fields.seen |= 1 << key;
            fields.read_value(KEYS[key], &mut map, &self.place)?;
            self.place.top.set("");
        }
        Ok(())
    }
}

impl Fields {
    fn read_value<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        map: &mut A,
        place: &Place,
    ) -> Result<(), A::Error> {
        match key {
            "dhatFileVersion" => check_version::<A>(map.next_value()?, place)?,
            "mode" => self.mode = Some(mode_named::<A>(&map.next_value::<String>()?)?),
            "verb" => read(map, &mut self.verb)?,
            "bklt" => read(map, &mut self.has_lifetimes)?,
            "bkacc" => read(map, &mut self.has_accesses)?,
            "bu" => read(map, &mut self.units[0])?,
            "bsu" => read(map, &mut self.units[1])?,
            "bksu" => read(map, &mut self.units[2])?,
            "tu" => read(map, &mut self.time_unit)?,
            "Mtu" => read(map, &mut self.time_unit_million)?,
            "tuth" => read(map, &mut self.short_lived_below)?,
            "cmd" => read(map, &mut self.command)?,
            "pid" => read(map, &mut self.pid)?,
            "tg" => read(map, &mut self.peak_time)?,
            "te" => read(map, &mut self.end_time)?,
            "pps" => {
                let mut points = Points::default();
                let points_read = map.next_value_seed(PointList {
                    points: &mut points,
                    place,
                });
                points_read?;
                self.points = Some(points);
            }
            "ftbl" => read(map, &mut self.frames)?,
            "heapledger" => read(map, &mut self.extension)?,
            _ => unreachable!("one of KEYS"),
        }
        Ok(())
    }
}

fn read<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    field: &mut Option<T>,
) -> Result<(), A::Error> {
    *field = Some(map.next_value()?);
    Ok(())
}

fn check_version<'de, A: MapAccess<'de>>(version: u64, place: &Place) -> Result<(), A::Error> {
    if version == 2 {
        return Ok(());
    }
    place.version.set(Some(version));
    Err(A::Error::custom("another version"))
}

fn mode_named<'de, A: MapAccess<'de>>(name: &str) -> Result<Mode, A::Error> {
    match name {
        "heap" | "rust-heap" => Ok(Mode::Heap),
        "ad-hoc" => Ok(Mode::AdHoc),
        "copy" => Ok(Mode::Copy),
        _ => Err(A::Error::custom(format!(
            "`{}` is not a mode of DHAT: heap, rust-heap, ad-hoc or copy",
            name.escape_debug()
        ))),
    }
}
