//! The work under allocation-counter, which brings its own global allocator.

use comparison::child::{Totals, measured};

fn main() {
    measured(|work, _option| {
        let mut done = None;
        let info = allocation_counter::measure(|| done = Some(work()));
        let totals = Totals {
            blocks: info.count_total,
            bytes: info.bytes_total,
            peak_bytes: info.bytes_max,
        };
        (done.expect("the work was done"), totals)
    });
}
