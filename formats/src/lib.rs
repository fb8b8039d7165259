//! Heap profiles as files. [`model::Profile`] is what a DHAT file of version 2 holds, whoever wrote
//! it; one module reads such a file, and one for each viewer writes what that viewer opens.
//!
//! Every writer is a function `write(&Profile, &Options, impl io::Write)` behind a feature of its
//! module's name. Those that write stacks first bring the profile within the [`limits`] of the viewers.
#![forbid(unsafe_code)]

pub mod model;
pub mod read;
pub mod frame;
pub mod limits;
pub mod metric;
#[cfg(any(feature = "pprof", feature = "firefox"))]
mod calls;
mod error;
mod sum;
pub mod text;
#[cfg(feature = "callgrind")]
pub mod callgrind;
#[cfg(feature = "dhat")]
pub mod dhat;
#[cfg(feature = "flame")]
pub mod diff_flame;
#[cfg(feature = "firefox")]
pub mod firefox;
#[cfg(feature = "flame")]
pub mod flame;
#[cfg(feature = "folded")]
pub mod folded;
#[cfg(feature = "massif")]
pub mod massif;
#[cfg(feature = "pprof")]
pub mod pprof;
#[cfg(feature = "speedscope")]
pub mod speedscope;
#[cfg(any(feature = "massif", feature = "firefox"))]
mod timeline;

#[cfg(test)]
#[allow(dead_code, reason = "which of them are used depends on the features")]
mod sample;

pub use error::Error;
