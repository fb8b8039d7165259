//! Where do 100,000 strings and the vector that holds them come from?
//!
//! Run with `cargo run --release --example formatted_strings`, then open
//! `dhat-heap.json` in DHAT's viewer.

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

fn main() {
    let _profiler = heapledger::Profiler::new_heap();

    let mut strings = Vec::new();
    for n in 0..100_000 {
        strings.push(format!("string number {n}"));
    }
    println!("{} strings", strings.len());
}
