//! Other allocators inside of the profiler's: what it records does not depend
//! on where blocks are placed, and a refusal is a refusal.

#[path = "../support/mod.rs"]
mod support;

mod allocator;
mod placement;
mod refusal;
mod signals;
mod timing;

#[global_allocator]
static ALLOC: heapledger::Alloc<allocator::Chosen> = heapledger::Alloc::new(allocator::Chosen);

fn main() {
    support::main(&[
        placement::SCENARIOS,
        refusal::SCENARIOS,
        signals::SCENARIOS,
        timing::SCENARIOS,
    ]);
}
