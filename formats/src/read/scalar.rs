//! Keys and lists of numbers.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

use super::MAX_HISTOGRAM_BYTES;

/// The key among `keys` that an object's key is; `None` for one that is not of the format.
pub(super) struct KeyOf(pub(super) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for KeyOf {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyOf {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|known| *known == key))
    }
}

/// `fs`: appends to the stacks of all points.
pub(super) struct Numbers<'a>(pub(super) &'a mut Vec<u32>);

impl<'de> DeserializeSeed<'de> for Numbers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of frame numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(number) = list.next_element()? {
            self.0.push(number);
        }
        Ok(())
    }
}

/// `acc`: a count a byte, where `-n, count` stands for n bytes of that count.
pub(super) struct Histogram;

impl<'de> DeserializeSeed<'de> for Histogram {
    type Value = Vec<u32>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u32>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Histogram {
    type Value = Vec<u32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of access counts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u32>, A::Error> {
        let mut counts = Vec::new();
        while let Some(number) = list.next_element::<i64>()? {
            let (times, count) = if number < 0 {
                let count = list.next_element::<u32>()?;
                let count = count.ok_or_else(|| A::Error::custom("a run without its count"))?;
                (number.unsigned_abs(), count)
            } else {
                let count = u32::try_from(number).map_err(A::Error::custom)?;
                (1, count)
            };
            let left = (MAX_HISTOGRAM_BYTES - counts.len()) as u64;
            if times > left {
                let limit = MAX_HISTOGRAM_BYTES;
                return Err(A::Error::custom(format!(
                    "access counts of more than {limit} bytes"
                )));
            }
            counts.extend((0..times).map(|_| count));
        }
        Ok(counts)
    }
}
