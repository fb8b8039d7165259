//! The work: the same code under every allocator.
//!
//! Input is prepared before the profiler starts, so what is measured is the
//! work alone. Each workload returns a checksum, so that no child can do less
//! than the others unnoticed.

mod btree;
mod channels;
mod json;
mod mixed;
mod pairs;
mod service;
mod sites;
mod sources;
mod words;

pub use sources::SOURCES_VARIABLE;

#[derive(Clone, Copy, Debug)]
pub struct Done {
    pub checksum: u64,
    pub operations: u64,
}

/// Work with its input ready.
pub type Work = Box<dyn FnOnce() -> Done>;

/// The named workload. What `parameter` means is the workload's.
///
/// # Panics
/// If there is no workload of that name.
pub fn prepare(workload: &str, parameter: usize) -> Work {
    match workload {
        "json" => json::prepare(parameter),
        "words" => words::prepare(parameter),
        "btree" => btree::prepare(parameter),
        "syn" => sources::prepare(parameter),
        "channels" => channels::prepare(parameter),
        "mixed" => mixed::prepare(parameter),
        "service" => service::prepare(parameter),
        "pairs" => pairs::prepare(parameter),
        "sites" => sites::prepare(parameter),
        other => panic!("no workload is named {other}"),
    }
}

/// A fixed sequence of numbers that looks random (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A word of the given length.
    fn push_word(&mut self, length: u64, text: &mut String) {
        for _ in 0..length {
            text.push(char::from(b'a' + self.below(26) as u8));
        }
    }
}

/// Depends on the order of the values.
fn mix(sum: u64, value: u64) -> u64 {
    (sum ^ value)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(29)
}
