//! The work in a scope of heapledger's, with no profiler running: with stacks, or, with
//! the option `counts`, without.

use comparison::child::{Totals, measured};

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

fn main() {
    measured(|work, option| {
        let (done, heap) = match option {
            Some("counts") => heapledger::measure_counts(work),
            _ => heapledger::measure(work),
        };
        let totals = Totals {
            blocks: heap.total_blocks,
            bytes: heap.total_bytes,
            peak_bytes: heap.max_bytes,
        };
        (done, totals)
    });
}
