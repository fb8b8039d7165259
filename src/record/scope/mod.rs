//! Scopes: what the blocks of a part of the program add up to, whichever
//! threads allocate and free them, and whether or not a run is in progress.
//!
//! A block of a scope carries a [`tag`] in the block map, so a free on any
//! thread finds the scope. Each scope keeps its own counts ([`tally`]) in a
//! [`slot`], apart from the threads' books: a run that starts, ends or resets
//! does not touch them. [`slots`] hands the slots out and takes them back.
//!
//! **Who may count.** As long as one thread alone uses a scope, it is the slot's
//! *owner* and changes the counts plainly, inside its gate. Before another
//! thread counts, the engine shares the slot while every thread is outside the
//! gate; from then on each takes the slot's lock. So every change is in one
//! order, and the peak is exact with any number of threads.

pub(crate) mod tag;
pub(crate) mod tally;
pub(crate) mod slot;
pub(crate) mod slots;
pub(crate) mod operations;
pub(crate) mod live;
