//! How many lines of a log has a module written? Lines and fields are
//! borrowed from the log, nothing is collected: compare with `log_before`.
//!
//! Run with `cargo run --release --example log_after`; the profile is
//! `log_after.json`.

mod log;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

fn process_logs(log: &str, module: &str) -> usize {
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
    let _profiler = heapledger::Profiler::builder()
        .file_name("log_after.json")
        .build();
    println!("{} lines of db::pool", process_logs(&log, "db::pool"));
}
