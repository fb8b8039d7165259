//! Exact counts of reads and writes, in programs built as users build them: with the
//! flags of `exact-flags.txt`, in a target folder of their own.

mod builds;
mod scenarios;
mod flags;

#[allow(unreachable_pub, dead_code, reason = "the fixture's own library")]
#[path = "fixture/src/dhat_file.rs"]
mod dhat_file;
