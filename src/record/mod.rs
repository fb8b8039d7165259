//! What is remembered.
pub(crate) mod snapshot;
