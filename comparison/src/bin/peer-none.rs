//! The work with no profiler: what the others are compared with.

use comparison::child::{Peer, Totals, main as child};
use std::path::Path;

struct None;

impl Peer for None {
    type Running = ();

    fn start(_output: &Path) {}

    fn totals(_running: &()) -> Option<Totals> {
        Option::None
    }
}

fn main() {
    child::<None>();
}
