//! What is read from the machine: the running thread's stack. Never sees a
//! table, never allocates, never panics.
//!
//! In reading order: where a walk starts ([`registers`]), what it may read
//! ([`stack_bounds`], [`stack_memory`]), how it gets from a frame to its caller ([`rules`], from
//! [`cfi`] in the [`loaded_object`]), the last stack ([`memo`]), the walk itself ([`walk`]), what
//! spares walks ([`recent_stacks`]), and the [`platform`]'s unwinder behind it. [`module_map`] and [`module_notes`] serve
//! symbolizing.

pub(crate) mod registers;
pub(crate) mod stack_bounds;
pub(crate) mod stack_memory;
pub(crate) mod rules;
pub(crate) mod loaded_object;
pub(crate) mod cfi;
pub(crate) mod memo;
pub(crate) mod walk;
pub(crate) mod recent_stacks;
#[cfg(any(test, feature = "internals"))]
pub(crate) mod walk_trial;
pub(crate) mod platform;
pub(crate) mod back_end;
pub(crate) mod module_map;
pub(crate) mod module_notes;
pub(crate) mod modules_of_stacks;
