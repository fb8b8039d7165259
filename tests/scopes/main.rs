//! Scopes as tests use them: ordinary `#[test]`s in one binary, at the same time.

mod assertions;
mod baselines;
mod counts;
mod isolation;
mod leaks;
mod parser;
mod threads;
mod writes;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;
