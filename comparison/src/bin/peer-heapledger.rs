//! The work under heapledger.

use comparison::child::{Peer, Totals, main as child};
use heapledger::Touch;
use std::path::Path;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

struct Heapledger;

impl Peer for Heapledger {
    type Running = heapledger::Profiler;

    fn start(output: &Path) -> heapledger::Profiler {
        quiet(output).build()
    }

    fn start_without_touch(output: &Path) -> heapledger::Profiler {
        quiet(output).touch(Touch::Off).build()
    }

    fn totals(_running: &heapledger::Profiler) -> Option<Totals> {
        let stats = heapledger::HeapStats::get();
        Some(Totals {
            blocks: stats.total_blocks,
            bytes: stats.total_bytes,
            peak_bytes: stats.max_bytes as u64,
        })
    }
}

fn quiet(output: &Path) -> heapledger::ProfilerBuilder {
    heapledger::Profiler::builder().file_name(output).quiet()
}

fn main() {
    child::<Heapledger>();
}
