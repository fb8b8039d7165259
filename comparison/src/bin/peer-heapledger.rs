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
        match is_sampled() {
            true => quiet(output).sample_bytes(512 * 1024).build(),
            false => quiet(output).build(),
        }
    }

    fn start_without_touch(output: &Path) -> heapledger::Profiler {
        quiet(output).touch(Touch::Off).build()
    }

    fn totals(_running: &heapledger::Profiler) -> Option<Totals> {
        if is_sampled() {
            return None;
        }
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

/// The driver's last argument.
fn is_sampled() -> bool {
    std::env::args()
        .nth(4)
        .is_some_and(|option| option == "sampled")
}

fn main() {
    child::<Heapledger>();
}
