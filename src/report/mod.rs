//! What is written: from a [`Snapshot`](crate::record::snapshot::Snapshot) to a
//! file, a string or a few lines on stderr.
//!
//! May allocate freely, and sees a snapshot only: never the live tables. In
//! reading order: return addresses become frames (`symbols`, told apart by
//! `names`, written with the paths of `paths`), stacks lose what is not the
//! user's (`trim`), equal stacks become one point (`profile`), and points become
//! the DHAT file (`dhat`), from which the other formats are made (`output`, put in
//! place by `save`), and the summary (`summary`); tests see the frames of single
//! sites (`stacks`).

pub(crate) mod dhat;
mod dwarf;
mod unit_places;
mod unit_stream;
mod unpack;
pub(crate) mod estimate;
mod frames;
mod names;
pub(crate) mod output;
mod paths;
pub(crate) mod accesses;
pub(crate) mod profile;
pub(crate) mod save;
pub(crate) mod stacks;
pub(crate) mod summary;
mod allocator_time;
pub(crate) mod symbols;
pub(crate) mod trim;
pub(crate) mod unloaded;
mod waste;

#[cfg(test)]
mod sample;
