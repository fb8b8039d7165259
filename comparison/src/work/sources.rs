//! Parses real Rust sources with syn, one file after the other, `parameter`
//! files or (0) all: deep, varied stacks from a thousand call sites.

use super::{Done, Work, mix};

/// Names the file that lists the sources, a path a line.
pub const SOURCES_VARIABLE: &str = "COMPARISON_SOURCES";

pub(super) fn prepare(limit: usize) -> Work {
    let list = std::env::var(SOURCES_VARIABLE).expect("set by the driver");
    let list = std::fs::read_to_string(list).expect("the list of sources");
    let count = if limit == 0 { usize::MAX } else { limit };
    let texts: Vec<String> = list
        .lines()
        .take(count)
        .map(|path| std::fs::read_to_string(path).expect("a source"))
        .collect();
    Box::new(move || {
        let mut done = Done {
            checksum: 0,
            operations: 0,
        };
        for text in &texts {
            // Test data among sources need not be Rust.
            if let Ok(file) = syn::parse_file(text) {
                done.checksum = mix(done.checksum, (file.items.len() + file.attrs.len()) as u64);
                done.operations += 1;
            }
        }
        done
    })
}
