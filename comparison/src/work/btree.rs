//! Sorts `parameter` hundred thousand numbers and counts them in a `BTreeMap`:
//! blocks of some hundred bytes, filled bit by bit, and one large one.

use super::{Done, Numbers, Work, mix};
use std::collections::BTreeMap;

const NUMBERS: usize = 100_000;

pub(super) fn prepare(parameter: usize) -> Work {
    let mut numbers = Numbers(5);
    let count = parameter * NUMBERS;
    let input: Vec<u64> = (0..count).map(|_| numbers.below(count as u64)).collect();
    Box::new(move || {
        let mut sorted = input.clone();
        sorted.sort();
        let mut counts: BTreeMap<u64, u32> = BTreeMap::new();
        for number in input {
            *counts.entry(number).or_default() += 1;
        }
        let checksum = sorted.iter().copied().fold(0, mix);
        let checksum = counts.iter().fold(checksum, |sum, (&number, &count)| {
            mix(sum, number ^ u64::from(count))
        });
        Done {
            checksum,
            operations: count as u64,
        }
    })
}
