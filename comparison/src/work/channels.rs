//! `parameter` threads in a ring: each builds maps of strings, sends them to
//! the next, and looks up and drops those that it receives. The same number of
//! maps in all for any number of threads, so CPU times can be compared.

use super::{Done, Work, mix};
use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{Receiver, Sender, channel};

const MAPS: usize = 16_000;
const MAPS_A_MESSAGE: usize = 20;
const ENTRIES: usize = 24;

struct Message {
    by_name: HashMap<String, Vec<u32>>,
    by_number: BTreeMap<u32, String>,
}

pub(super) fn prepare(threads: usize) -> Work {
    Box::new(move || {
        let (senders, receivers): (Vec<_>, Vec<_>) = (0..threads).map(|_| channel()).unzip();
        let checksum = std::thread::scope(|scope| {
            let mut receivers = receivers.into_iter();
            let workers: Vec<_> = (0..threads)
                .map(|index| {
                    let receiver = receivers.next().expect("one a thread");
                    let sender = senders[(index + 1) % threads].clone();
                    scope.spawn(move || work(index, threads, &sender, &receiver))
                })
                .collect();
            let sums = workers
                .into_iter()
                .map(|worker| worker.join().expect("no panic"));
            // Which thread did what depends on their number; the sum does not.
            sums.fold(0, u64::wrapping_add)
        });
        Done {
            checksum,
            operations: MAPS as u64,
        }
    })
}

fn work(
    index: usize,
    threads: usize,
    sender: &Sender<Vec<Message>>,
    receiver: &Receiver<Vec<Message>>,
) -> u64 {
    let mut sum = 0_u64;
    for batch in (index..MAPS / MAPS_A_MESSAGE).step_by(threads) {
        let first = batch * MAPS_A_MESSAGE;
        let messages = (first..first + MAPS_A_MESSAGE).map(build).collect();
        sender
            .send(messages)
            .expect("the next thread still receives");
        for message in receiver.recv().expect("the previous thread sends as much") {
            sum = sum.wrapping_add(look_up(&message));
        }
    }
    sum
}

fn build(number: usize) -> Message {
    let mut message = Message {
        by_name: HashMap::new(),
        by_number: BTreeMap::new(),
    };
    for entry in 0..ENTRIES {
        let id = (number * ENTRIES + entry) as u32;
        let name = format!("entry {entry} of {number}");
        let values = message.by_name.entry(name).or_default();
        values.extend((0..4 + id % 5).map(|value| id ^ value));
        message.by_number.insert(id, describe(id));
    }
    message
}

fn describe(id: u32) -> String {
    let mut text = String::from("number ");
    text.push_str(&id.to_string());
    text.push_str(if id.is_multiple_of(2) {
        ", which is even"
    } else {
        ", which is odd"
    });
    text
}

fn look_up(message: &Message) -> u64 {
    let names = message
        .by_name
        .iter()
        .map(|(name, values)| {
            mix(
                name.len() as u64,
                values.iter().copied().map(u64::from).sum(),
            )
        })
        .fold(0, u64::wrapping_add);
    let numbers = message.by_number.iter().fold(0, |sum, (&id, text)| {
        mix(sum, u64::from(id) + text.len() as u64)
    });
    names.wrapping_add(numbers)
}
