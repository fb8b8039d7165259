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
