//! The work under dhat-rs.

use comparison::child::{Peer, Totals, main as child};
use std::path::Path;

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

struct DhatRs;

impl Peer for DhatRs {
    type Running = dhat::Profiler;

    fn start(output: &Path, all_frames: bool) -> dhat::Profiler {
        let builder = dhat::Profiler::builder().file_name(output);
        match all_frames {
            true => builder.trim_backtraces(None).build(),
            false => builder.build(),
        }
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
