//! heapledger
#![deny(unsafe_code)]
mod record;
mod report;
