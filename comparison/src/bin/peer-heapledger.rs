//! The work under heapledger.

use comparison::child::{Peer, Totals, main as child};
use std::path::Path;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

struct Heapledger;

impl Peer for Heapledger {
    type Running = heapledger::Profiler;

    fn start(output: &Path) -> heapledger::Profiler {
        heapledger::Profiler::builder()
            .file_name(output)
            .quiet()
            .build()
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

fn main() {
    child::<Heapledger>();
}
