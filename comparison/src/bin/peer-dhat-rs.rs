//! The work under dhat-rs.

use comparison::child::{Peer, Totals, main as child};
use std::path::Path;

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

struct DhatRs;

impl Peer for DhatRs {
    type Running = dhat::Profiler;

    fn start(output: &Path) -> dhat::Profiler {
        dhat::Profiler::builder().file_name(output).build()
    }

    fn totals(_running: &dhat::Profiler) -> Option<Totals> {
        let stats = dhat::HeapStats::get();
        Some(Totals {
            blocks: stats.total_blocks,
            bytes: stats.total_bytes,
            peak_bytes: stats.max_bytes as u64,
        })
    }
}

fn main() {
    child::<DhatRs>();
}
