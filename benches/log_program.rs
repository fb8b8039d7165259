//! The guide's two programs without a profiler: how long reading a log takes, before and after.
//! `docs/guide.md` tells what they are.

#[path = "../examples/log/mod.rs"]
mod log;

use criterion::Criterion;
use std::hint::black_box;
use std::time::Duration;

/// As in `examples/log_before.rs`.
fn before(log: &str, module: &str) -> usize {
    let mut found = 0;
    for line in log.lines() {
        let line = line.to_string();
        let fields = line.split_whitespace().collect::<Vec<_>>();
        if fields[2] == module {
            found += 1;
        }
    }
    found
}

/// As in `examples/log_after.rs`.
fn after(log: &str, module: &str) -> usize {
    let mut found = 0;
    for line in log.lines() {
        if line.split_whitespace().nth(2) == Some(module) {
            found += 1;
        }
    }
    found
}

fn main() {
    let log = log::generate();
    let mut criterion = Criterion::default()
        .configure_from_args()
        .measurement_time(Duration::from_secs(5))
        .sample_size(20);
    for (name, process) in [
        ("before", before as fn(&str, &str) -> usize),
        ("after", after),
    ] {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| process(black_box(&log), black_box("db::pool")));
        });
    }
    criterion.final_summary();
}
