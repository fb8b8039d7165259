//! How many lines of a log has a module written? Each line is copied and all
//! of its fields are collected to read one of them: compare with `log_after`.
//!
//! Run with `cargo run --release --example log_before`; the profile is
//! `log_before.json`.

mod log;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

fn process_logs(log: &str, module: &str) -> usize {
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

fn main() {
    let log = log::generate();
    let _profiler = heapledger::Profiler::builder()
        .file_name("log_before.json")
        .build();
    println!("{} lines of db::pool", process_logs(&log, "db::pool"));
}
