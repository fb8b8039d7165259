//! What is written. May allocate freely; sees a [`Snapshot`](crate::record::snapshot::Snapshot) only.
