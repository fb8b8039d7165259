//! What tests use: scopes, what they add up to, and what can be asserted of it.
//!
//! In reading order: a [`scope`] and its [`usage`]; assertions on numbers
//! ([`conditions`]), on there being none ([`no_alloc`]), and on what is left
//! ([`leaks`], with [`suppressions`]), and on what was there before
//! ([`baseline`], a feature); and a measurement for criterion
//! ([`criterion`], a feature). [`places`] says where files go.

pub(crate) mod places;
pub(crate) mod scope;
#[cfg(feature = "baselines")]
pub(crate) mod last;
pub(crate) mod usage;
pub(crate) mod conditions;
pub(crate) mod no_alloc;
pub(crate) mod suppressions;
pub(crate) mod leaks;
#[cfg(feature = "baselines")]
pub(crate) mod baseline;
#[cfg(feature = "criterion")]
pub mod criterion;

/// What the macros call.
#[doc(hidden)]
pub mod macro_support {
    #[cfg(feature = "baselines")]
    pub use super::baseline::{check_baseline, check_last_baseline};
    pub use super::conditions::{Countable, Owner, condition_failed};
    pub use super::leaks::check_no_leaks;
    pub use super::no_alloc::check_no_alloc;
}
