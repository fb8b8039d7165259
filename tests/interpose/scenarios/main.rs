//! What C and C++ code allocates is in the profile, once, with its stacks: in programs
//! that say beforehand what they will ask for, and in libraries that count for themselves.

#[path = "../../support/mod.rs"]
mod support;

mod known;
mod mixed;
mod oracle;
mod published;
mod late;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

fn main() {
    support::main(&[
        known::SCENARIOS,
        mixed::SCENARIOS,
        oracle::SCENARIOS,
        published::SCENARIOS,
        late::SCENARIOS,
    ]);
}
