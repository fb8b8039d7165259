//! Whatever rules and stack: a walk ends, reads nothing off the stack, and finds the same with its
//! memo as without.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| heapledger::internals::try_walks(bytes));
