//! Uses all of dhat-rs 0.3.3's public interface and prints what it is told.
//!
//! `dhat_compat.rs` builds it twice, with `dhat` being dhat-rs and being this
//! crate under that name, and compares what the two print and save.
//!
//! Each scenario is a run of its own: `program <scenario>`.

mod ad_hoc;
mod asserts;
mod heap;
mod panics;
mod threads;
mod trim;

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

fn main() {
    let scenario = std::env::args().nth(1).unwrap_or_default();
    match scenario.as_str() {
        "heap_steps" => heap::steps(),
        "heap_default_file" => heap::default_file(),
        "heap_memory_output" => heap::memory_output(),
        "heap_runs" => heap::one_run_after_another(),
        "heap_unwritable_file" => heap::unwritable_file(),
        "ad_hoc_steps" => ad_hoc::steps(),
        "ad_hoc_default_file" => ad_hoc::default_file(),
        "ad_hoc_memory_output" => ad_hoc::memory_output(),
        "trim" => trim::every_setting(),
        "threads" => threads::one_after_another(),
        "threads_testing" => threads::stats_in_testing_mode(),
        "asserts_hold" => asserts::hold(),
        "asserts_fail" => asserts::fail(),
        "asserts_save" => asserts::save(),
        "panics_heap" => panics::heap(),
        "panics_ad_hoc" => panics::ad_hoc(),
        _ => panic!("no such scenario: {scenario:?}"),
    }
}
