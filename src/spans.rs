//! Allocations by `tracing` span (feature `tracing`): a layer that puts a thread into
//! the scope of the span that it is in, wherever and as often as the span is entered.
//!
//! In reading order: which span is which ([`nodes`]), what a thread is in
//! ([`entered`]), the [`layer`], and what it finds ([`usage`]).

pub(crate) mod nodes;
pub(crate) mod entered;
pub(crate) mod layer;
pub(crate) mod usage;
