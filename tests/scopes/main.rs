//! Scopes as tests use them: ordinary `#[test]`s in one binary, at the same time.

mod counts;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;
