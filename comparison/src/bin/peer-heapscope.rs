//! The work under heapscope; there only in a build with `--cfg heapscope`.
#![allow(unexpected_cfgs, reason = "set by the driver")]

#[cfg(heapscope)]
mod peer {
    use comparison::child::{Peer, Totals};
    use heapscope::{Alloc, Output, Profiler};
    use std::path::Path;

    #[global_allocator]
    static ALLOC: Alloc = Alloc::system();

    pub(crate) struct Heapscope;

    impl Peer for Heapscope {
        type Running = Profiler;

        fn start(output: &Path) -> Profiler {
            Profiler::builder()
                .output(Output::dhat_v2(output))
                .build()
                .expect("heapscope starts")
        }

        fn totals(running: &Profiler) -> Option<Totals> {
            let stats = running.stats();
            Some(Totals {
                blocks: stats.total_blocks,
                bytes: stats.total_bytes,
                peak_bytes: stats.max_bytes,
            })
        }
    }
}

fn main() {
    #[cfg(heapscope)]
    comparison::child::main::<peer::Heapscope>();
    #[cfg(not(heapscope))]
    panic!("built without heapscope");
}
