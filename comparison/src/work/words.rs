//! Counts the words of `parameter` MB of text: a short-lived string a word, in
//! one place.

use super::{Done, Numbers, Work, mix};
use std::collections::HashMap;

const VOCABULARY: usize = 50_000;

pub(super) fn prepare(megabytes: usize) -> Work {
    let text = text(megabytes * 1_000_000);
    Box::new(move || {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut words = 0;
        for word in text.split(' ') {
            *counts.entry(word.to_string()).or_default() += 1;
            words += 1;
        }
        // The order of a hash map is not fixed, so neither may the sum depend on it.
        let checksum = counts
            .iter()
            .map(|(word, &count)| mix(word.len() as u64, count as u64))
            .fold(0, u64::wrapping_add);
        Done {
            checksum,
            operations: words,
        }
    })
}

/// Few words are frequent and many are rare, as in real text.
fn text(bytes: usize) -> String {
    let mut numbers = Numbers(2);
    let vocabulary: Vec<String> = (0..VOCABULARY)
        .map(|_| {
            let mut word = String::new();
            let length = 2 + numbers.below(10);
            numbers.push_word(length, &mut word);
            word
        })
        .collect();
    let mut text = String::with_capacity(bytes + 64);
    while text.len() < bytes {
        if !text.is_empty() {
            text.push(' ');
        }
        let spread = numbers.next() % VOCABULARY as u64;
        let index = spread * (numbers.next() % (VOCABULARY as u64)) / VOCABULARY as u64;
        text.push_str(&vocabulary[index as usize]);
    }
    text
}
