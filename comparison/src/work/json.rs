//! Parses a JSON document of `parameter` MB into a tree of values and drops
//! it: many small blocks from few places, all live at the end.

use super::{Done, Numbers, Work, mix};
use serde_json::Value;
use std::fmt::Write;

pub(super) fn prepare(megabytes: usize) -> Work {
    let document = document(megabytes * 1_000_000);
    Box::new(move || {
        let value: Value = serde_json::from_str(&document).expect("well-formed");
        let checksum = checksum(&value);
        drop(value);
        Done {
            checksum,
            operations: 1,
        }
    })
}

fn document(bytes: usize) -> String {
    let mut numbers = Numbers(1);
    let mut text = String::with_capacity(bytes + 1024);
    text.push('[');
    while text.len() < bytes {
        if text.len() > 1 {
            text.push(',');
        }
        record(&mut numbers, &mut text);
    }
    text.push(']');
    text
}

fn record(numbers: &mut Numbers, text: &mut String) {
    let _ = write!(text, r#"{{"id":{},"name":""#, numbers.below(1_000_000));
    let length = 4 + numbers.below(12);
    numbers.push_word(length, text);
    let _ = write!(
        text,
        r#"","on":{},"at":{{"x":{},"y":{},"of":""#,
        numbers.below(2) == 0,
        numbers.below(1000),
        numbers.below(1000) as f64 / 8.0
    );
    numbers.push_word(3, text);
    text.push_str(r#""},"tags":["#);
    for tag in 0..1 + numbers.below(5) {
        if tag > 0 {
            text.push(',');
        }
        text.push('"');
        let length = 2 + numbers.below(6);
        numbers.push_word(length, text);
        text.push('"');
    }
    text.push_str(r#"],"path":["#);
    let depth = numbers.below(4);
    for _ in 0..depth {
        let _ = write!(text, r#"[{},"#, numbers.below(10));
    }
    text.push_str("null");
    for _ in 0..depth {
        text.push(']');
    }
    text.push_str("]}");
}

fn checksum(value: &Value) -> u64 {
    match value {
        Value::Null => 1,
        Value::Bool(on) => 2 + u64::from(*on),
        Value::Number(number) => number.as_f64().unwrap_or(0.0).to_bits(),
        Value::String(text) => text.len() as u64,
        Value::Array(values) => values
            .iter()
            .fold(4, |sum, value| mix(sum, checksum(value))),
        Value::Object(fields) => fields.iter().fold(5, |sum, (name, value)| {
            mix(mix(sum, name.len() as u64), checksum(value))
        }),
    }
}
