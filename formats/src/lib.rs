//! Heap profiles as files. [`model::Profile`] is what a DHAT file of version 2 holds, whoever wrote
//! it; one module reads such a file, and one for each viewer writes what that viewer opens.
#![forbid(unsafe_code)]

pub mod model;
pub mod read;
