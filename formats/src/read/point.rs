//! `pps`: the program points.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::{Place, ReadError};
use super::scalar::{Histogram, KeyOf, Numbers};
use crate::model::{Counts, Point, PointExtension};

const KEYS: [&str; 14] = [
    "tb",
    "tbk",
    "tl",
    "mb",
    "mbk",
    "gb",
    "gbk",
    "eb",
    "ebk",
    "rb",
    "wb",
    "fs",
    "acc",
    "heapledger",
];
const FS: usize = 11;
const ACC: usize = 12;
const EXTENSION: usize = 13;

const ALWAYS: u16 = 0b11 | 1 << FS;
const WITH_LIFETIMES: u16 = 0b1_1111_1100;
const WITH_ACCESSES: u16 = 0b110_0000_0000;

#[derive(Debug, Default)]
pub(super) struct Points {
    pub(super) points: Vec<Point>,
    pub(super) stacks: Vec<u32>,
    pub(super) histograms: Vec<(u32, Vec<u32>)>,
    pub(super) extensions: Vec<PointExtension>,
    /// For each key, the first point that lacks it.
    lacking: [Option<usize>; KEYS.len()],
}

impl Points {
    /// Which keys a point must have depends on flags that may stand behind the points.
    pub(super) fn require(&self, lifetimes: bool, accesses: bool) -> Result<(), ReadError> {
        let needed = ALWAYS
            | if lifetimes { WITH_LIFETIMES } else { 0 }
            | if accesses { WITH_ACCESSES } else { 0 };
        for (bit, key) in KEYS.iter().enumerate() {
            if needed & 1 << bit != 0
                && let Some(index) = self.lacking[bit]
            {
                let why = match 1 << bit {
                    bit if bit & WITH_LIFETIMES != 0 => ", which \"bklt\" promises",
                    bit if bit & WITH_ACCESSES != 0 => ", which \"bkacc\" promises",
                    _ => "",
                };
                let problem = format!("the key \"{key}\" is missing{why}");
                return Err(ReadError::invalid(format!("pps[{index}]"), problem));
            }
        }
        Ok(())
    }

    fn stack_end<E: Error>(&self) -> Result<u32, E> {
        u32::try_from(self.stacks.len()).map_err(|_| E::custom("more than 2^32 frames in all"))
    }

    fn note_lacking(&mut self, seen: u16) {
        for (bit, first) in self.lacking.iter_mut().enumerate() {
            if seen & 1 << bit == 0 && first.is_none() {
                *first = Some(self.points.len());
            }
        }
    }
}

/// The whole list.
pub(super) struct PointList<'a> {
    pub(super) points: &'a mut Points,
    pub(super) place: &'a Place,
}

impl<'de> DeserializeSeed<'de> for PointList<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PointList<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of program points")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        // Every key that all points so far had: only a point that lacks another is looked at closely.
        let mut had = u16::MAX;
        loop {
            self.place.index.set(Some(self.points.points.len()));
            let seed = OnePoint {
                points: self.points,
                place: self.place,
            };
            let Some((point, seen)) = list.next_element_seed(seed)? else {
                break;
            };
            if had & !seen != 0 {
                self.points.note_lacking(seen);
                had &= seen;
            }
            self.points.points.push(point);
        }
        self.place.index.set(None);
        Ok(())
    }
}

struct OnePoint<'a> {
    points: &'a mut Points,
    place: &'a Place,
}

impl<'de> DeserializeSeed<'de> for OnePoint<'_> {
    type Value = (Point, u16);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OnePoint<'_> {
    type Value = (Point, u16);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a program point")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let points = self.points;
        let mut counts = Counts::default();
        let start = points.stack_end()?;
        let mut seen = 0_u16;
        while let Some(key) = map.next_key_seed(KeyOf(&KEYS))? {
            let Some(key) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            self.place.key.set(KEYS[key]);
            if seen & 1 << key != 0 {
                return Err(A::Error::custom("the key stands twice"));
            }
            seen |= 1 << key;
            match key {
                FS => map.next_value_seed(Numbers(&mut points.stacks))?,
                ACC => {
                    let histogram = map.next_value_seed(Histogram)?;
                    let index = u32::try_from(points.points.len()).map_err(A::Error::custom)?;
                    points.histograms.push((index, histogram));
                }
                EXTENSION => {
                    let extension = map.next_value()?;
                    let before = points.points.len();
                    points.extensions.resize_with(before, Default::default);
                    points.extensions.push(extension);
                }
                _ => *count_of(&mut counts, key) = map.next_value()?,
            }
            self.place.key.set("");
        }
        let stack = (start, points.stack_end()?);
        Ok((Point { stack, counts }, seen))
    }
}

fn count_of(counts: &mut Counts, key: usize) -> &mut u64 {
    match key {
        0 => &mut counts.total_bytes,
        1 => &mut counts.total_blocks,
        2 => &mut counts.lifetimes,
        3 => &mut counts.max_bytes,
        4 => &mut counts.max_blocks,
        5 => &mut counts.peak_bytes,
        6 => &mut counts.peak_blocks,
        7 => &mut counts.end_bytes,
        8 => &mut counts.end_blocks,
        9 => &mut counts.read_bytes,
        _ => &mut counts.written_bytes,
    }
}
