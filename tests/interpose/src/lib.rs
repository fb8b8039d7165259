//! The C and C++ programs of `c/`, and two libraries that nobody here wrote, so that the
//! tests are linked to them.

use std::ffi::{c_int, c_uint, c_ulong};

macro_rules! known {
    ($($name:ident($($argument:ident: $type:ty),*);)*) => {
        unsafe extern "C" {
            $(pub fn $name($($argument: $type),*);)*
        }
    };
}

known! {
    static_mallocs();
    static_callocs();
    static_reallocs();
    static_reallocarrays();
    static_aligned();
    static_nothing();
    static_usable();
    static_copies();
    static_refusals();
    static_realigns();
    static_deep(depth: c_int);
    static_storm(threads: c_uint, steps: c_ulong, counts: *mut c_ulong);
    static_keyed_threads(threads: c_uint);
    static_say_last_words();
}

known! {
    shared_mallocs();
    shared_callocs();
    shared_reallocs();
    shared_reallocarrays();
    shared_aligned();
    shared_nothing();
    shared_usable();
    shared_copies();
    shared_refusals();
    shared_realigns();
    shared_deep(depth: c_int);
    shared_storm(threads: c_uint, steps: c_ulong, counts: *mut c_ulong);
}

unsafe extern "C" {
    pub fn cpp_new();
    pub fn cpp_vector() -> usize;
    pub fn cpp_map() -> usize;
    pub fn cpp_throw() -> c_int;
}

/// The library to preload.
pub const ORACLE: &str = env!("ORACLE");

/// The two plug-ins, without the end of their names.
pub const PLUG_INS: &str = env!("PLUG_INS");

/// The library to load.
pub const KNOWN_LOADED: &str = env!("KNOWN_LOADED");

pub use libsqlite3_sys as sqlite;
pub use zstd_sys as zstd;
