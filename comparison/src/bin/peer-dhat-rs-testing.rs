//! The work under dhat-rs in testing mode.

use comparison::child::{Totals, measured};

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

fn main() {
    measured(|work, _option| {
        let _profiler = dhat::Profiler::builder().testing().build();
        let done = work();
        let stats = dhat::HeapStats::get();
        let totals = Totals {
            blocks: stats.total_blocks,
            bytes: stats.total_bytes,
            peak_bytes: stats.max_bytes as u64,
        };
        (done, totals)
    });
}
