//! What a function's name says about whose code it is. Names are demangled and
//! come in three spellings: legacy mangling (`alloc::vec::Vec<T,A>::push`), v0
//! (`<alloc::vec::Vec<u8>>::push`), and what `debug = "line-tables-only"` leaves of
//! an inlined function (`push<u8, alloc::alloc::Global>`). The last says nothing, so
//! that the source file is asked.

use super::paths::shorten;

/// Whose code a frame is, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The profiler itself.
    Profiler,
    /// The way from an allocating function to the allocator: `__rust_alloc`,
    /// `alloc::alloc`, `RawVec`.
    Allocator,
    /// `core` and `std`: may lie between two frames of the profiler or the allocator.
    Core,
    /// Collections and smart pointers: library code, but it tells what allocates.
    Collections,
    /// `__rust_begin_short_backtrace`: all that lies outside it is the runtime.
    RuntimeBoundary,
    /// What starts `main` and threads.
    Runtime,
    /// No name is known.
    Nobody,
    /// Everything else.
    User,
}

/// What exact builds call, and what the linker redirects there; `callbacks/`.
const CALLBACK_SYMBOLS: &[&str] = &["__asan_", "__wrap_"];

impl Owner {
    /// Is this a place that the author of the program, or of a dependency, wrote?
    pub(super) fn is_user(self) -> bool {
        self == Owner::User
    }

    /// `file` is the shortened path of the function's source.
    pub(super) fn of(function: &str, file: Option<&str>) -> Owner {
        if CALLBACK_SYMBOLS
            .iter()
            .any(|prefix| function.starts_with(prefix))
        {
            return Owner::Profiler;
        }
        match file {
            Some(file) if !is_path(function) => Self::of_file(function, file),
            _ => Self::of_function(function),
        }
    }

    fn of_function(function: &str) -> Owner {
        let name = function.strip_prefix("__rustc::").unwrap_or(function);
        if ALLOCATOR_SYMBOLS
            .iter()
            .any(|prefix| name.starts_with(prefix))
        {
            return Owner::Allocator;
        }
        if C_ALLOCATOR_SYMBOLS.contains(&name) {
            return Owner::Allocator;
        }
        if RUNTIME_SYMBOLS.contains(&name) {
            return Owner::Runtime;
        }
        if name.contains(RUNTIME_BOUNDARY) {
            return Owner::RuntimeBoundary;
        }
        let home = home(name);
        let is_in = |paths: &[&str]| paths.iter().any(|path| home.starts_with(path));
        if is_in(&["heapledger::", "heapledger_callbacks::"]) {
            Owner::Profiler
        } else if is_in(ALLOCATOR_PATHS) || ALLOCATOR_TRAITS.iter().any(|of| name.contains(of)) {
            Owner::Allocator
        } else if is_in(RUNTIME_PATHS) || CALL_SHIMS.iter().any(|shim| name.contains(shim)) {
            Owner::Runtime
        } else if is_in(&["core::", "std::", "backtrace::"]) {
            Owner::Core
        } else if is_in(&["alloc::", "hashbrown::", "indexmap::", "smallvec::"]) {
            Owner::Collections
        } else {
            Owner::User
        }
    }

    fn of_file(function: &str, file: &str) -> Owner {
        let is_in = |paths: &[&str]| paths.iter().any(|path| file.starts_with(path));
        if function.starts_with(RUNTIME_BOUNDARY) {
            Owner::RuntimeBoundary
        } else if is_in(&[shorten(OWN_SOURCES), "heapledger-"]) {
            Owner::Profiler
        } else if is_in(ALLOCATOR_FILES) {
            Owner::Allocator
        } else if is_in(RUNTIME_FILES)
            || (is_in(&["library/alloc/src/boxed.rs"]) && function.starts_with("call_"))
        {
            Owner::Runtime
        } else if is_in(&["library/core/", "library/std/", "backtrace-"]) {
            Owner::Core
        } else if is_in(&["library/alloc/", "hashbrown-", "indexmap-", "smallvec-"]) {
            Owner::Collections
        } else {
            Self::of_function(function)
        }
    }
}

/// Does the name say where the function is?
pub(super) fn is_path(function: &str) -> bool {
    let end = function.find(['<', '(', '{']).unwrap_or(function.len());
    end == 0 && function.starts_with('<') || function[..end].contains("::")
}

/// Where this crate was built from: a registry, a git checkout, or any folder.
const OWN_SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/");

const RUNTIME_BOUNDARY: &str = "__rust_begin_short_backtrace";

/// What the compiler generates between `alloc::alloc` and the global allocator.
const ALLOCATOR_SYMBOLS: &[&str] = &[
    "__rust_alloc",
    "__rust_realloc",
    "__rust_no_alloc",
    "__rg_",
    "__rdl_",
];

/// The functions of `crate::interpose`, when no source file is known.
const C_ALLOCATOR_SYMBOLS: &[&str] = &[
    "malloc",
    "calloc",
    "realloc",
    "free_sized",
    "free_aligned_sized",
    "aligned_alloc",
    "posix_memalign",
    "memalign",
    "valloc",
    "pvalloc",
];

const ALLOCATOR_PATHS: &[&str] = &[
    "alloc::alloc::",
    "alloc::raw_vec::",
    "core::alloc::",
    "std::alloc::",
    "std::sys::alloc::",
    "allocator_api2::stable::alloc::",
    "allocator_api2::stable::raw_vec::",
];

/// A type that implements one of these is an allocator, whoever wrote it.
const ALLOCATOR_TRAITS: &[&str] = &[
    " as core::alloc::global::GlobalAlloc>::",
    " as core::alloc::Allocator>::",
];

/// Names of the C runtime that no program gives to a function of its own.
const RUNTIME_SYMBOLS: &[&str] = &[
    "_start",
    "__libc_start_main",
    "__libc_start_main_impl",
    "__libc_start_main@@GLIBC_2.34",
    "__libc_start_call_main",
    "libc_start_main_stage2",
    "_start_c",
    "start_thread",
    "thread_start",
    "clone",
    "clone3",
    "__clone",
    "__clone3",
    "__rust_try",
    "__rust_maybe_catch_panic",
];

const RUNTIME_PATHS: &[&str] = &[
    "std::rt::",
    "std::panic::",
    "std::panicking::",
    "core::panic::unwind_safe::",
    "core::ops::function::",
    "std::sys::backtrace::",
    "std::sys_common::backtrace::",
    "std::thread::",
    "std::sys::thread",
    "std::sys::pal::unix::thread",
    "std::sys::unix::thread",
    "test::",
];

const ALLOCATOR_FILES: &[&str] = &[
    "library/alloc/src/alloc.rs",
    "library/alloc/src/raw_vec",
    "library/core/src/alloc/",
    "library/std/src/alloc.rs",
    "library/std/src/sys/alloc/",
];

const RUNTIME_FILES: &[&str] = &[
    "library/std/src/rt.rs",
    "library/std/src/panic.rs",
    "library/std/src/panicking.rs",
    "library/core/src/panic/unwind_safe.rs",
    "library/core/src/ops/function.rs",
    "library/std/src/sys/backtrace.rs",
    "library/std/src/thread/",
    "library/std/src/sys/thread",
    "library/test/",
];

/// Calls through `Box<dyn FnOnce()>`, a closure's or a function pointer's shim.
const CALL_SHIMS: &[&str] = &[
    " as core::ops::function::FnOnce<",
    " as core::ops::function::FnMut<",
    " as core::ops::function::Fn<",
];

/// The path that tells whose function this is: the type's of an inherent method,
/// the trait's where the type is a primitive or a type parameter.
fn home(name: &str) -> &str {
    let Some(rest) = name.strip_prefix('<') else {
        return name;
    };
    let own_type = skip_type_sigils(rest);
    let end = own_type
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(own_type.len());
    if own_type[..end].contains("::") {
        return own_type;
    }
    match trait_of(rest) {
        Some(of_trait) => of_trait,
        // Only the standard library has inherent methods on primitives.
        None => "alloc::",
    }
}

fn skip_type_sigils(mut text: &str) -> &str {
    const SIGILS: &[&str] = &[
        "&", "*const ", "*mut ", "mut ", "dyn ", "impl ", "[", "(", "<",
    ];
    while let Some(rest) = SIGILS.iter().find_map(|sigil| text.strip_prefix(sigil)) {
        text = rest;
    }
    text
}

/// `Trait` of `Type as Trait>::method`; the opening `<` is not part of `text`.
fn trait_of(text: &str) -> Option<&str> {
    let mut depth = 0usize;
    let mut previous = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            // The arrow of a function type closes nothing.
            b'>' if previous == b'-' => {}
            b'>' if depth == 0 => return None,
            b'>' => depth -= 1,
            b' ' if depth == 0 => {
                if let Some(of_trait) = text[at..].strip_prefix(" as ") {
                    return Some(of_trait);
                }
            }
            _ => {}
        }
        previous = byte;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_by_name() {
        for (name, owner) in [
            ("heapledger::alloc::record", Owner::Profiler),
            ("heapledger_callbacks::passes::memcpy", Owner::Profiler),
            ("__asan_memmove", Owner::Profiler),
            ("__wrap_memcpy", Owner::Profiler),
            (
                "<heapledger::alloc::Alloc<A> as core::alloc::global::GlobalAlloc>::alloc",
                Owner::Profiler,
            ),
            ("<heapledger::alloc::Alloc>::grow", Owner::Profiler),
            ("__rust_alloc", Owner::Allocator),
            ("__rustc::__rust_alloc_zeroed", Owner::Allocator),
            ("__rustc::__rg_realloc", Owner::Allocator),
            ("__rdl_alloc", Owner::Allocator),
            ("alloc::alloc::exchange_malloc", Owner::Allocator),
            (
                "<alloc::alloc::Global as core::alloc::Allocator>::allocate",
                Owner::Allocator,
            ),
            ("<alloc::alloc::Global>::alloc_impl", Owner::Allocator),
            ("alloc::raw_vec::RawVec<T,A>::grow_one", Owner::Allocator),
            ("<alloc::raw_vec::RawVec<u8>>::grow_one", Owner::Allocator),
            (
                "<app::Tracking as core::alloc::global::GlobalAlloc>::alloc",
                Owner::Allocator,
            ),
            (
                "core::alloc::global::GlobalAlloc::alloc_zeroed",
                Owner::Allocator,
            ),
            ("alloc::vec::Vec<T,A>::push", Owner::Collections),
            ("<alloc::vec::Vec<app::Item>>::push", Owner::Collections),
            (
                "<alloc::string::String as core::convert::From<&str>>::from",
                Owner::Collections,
            ),
            (
                "<str as alloc::string::ToString>::to_string",
                Owner::Collections,
            ),
            ("alloc::slice::<impl [T]>::to_vec", Owner::Collections),
            ("<[u8]>::to_vec", Owner::Collections),
            ("<T as core::convert::Into<U>>::into", Owner::Core),
            ("<fn(u8) -> u8 as app::Call>::call", Owner::User),
            ("<&app::Tree as core::fmt::Debug>::fmt", Owner::User),
            ("<(A,B) as app::Pair>::both", Owner::User),
            (
                "std::sys::backtrace::__rust_begin_short_backtrace",
                Owner::RuntimeBoundary,
            ),
            ("test::__rust_begin_short_backtrace", Owner::RuntimeBoundary),
            ("std::rt::lang_start_internal", Owner::Runtime),
            (
                "core::ops::function::FnOnce::call_once{{vtable.shim}}",
                Owner::Runtime,
            ),
            (
                "<alloc::boxed::Box<F,A> as core::ops::function::FnOnce<Args>>::call_once",
                Owner::Runtime,
            ),
            ("start_thread", Owner::Runtime),
            ("main", Owner::User),
            ("g_malloc", Owner::User),
            ("app::größe::\u{1F980}", Owner::User),
            ("", Owner::User),
            ("<", Owner::Collections),
        ] {
            assert_eq!(Owner::of(name, None), owner, "{name}");
            assert_eq!(Owner::of(name, Some("src/main.rs")), owner, "{name}");
        }
    }

    #[test]
    fn names_without_a_path_go_by_their_file() {
        for (name, file, owner) in [
            (
                "with_capacity_in<u64, alloc::alloc::Global>",
                "library/alloc/src/raw_vec/mod.rs",
                Owner::Allocator,
            ),
            ("alloc", "library/alloc/src/alloc.rs", Owner::Allocator),
            (
                "push<u8, alloc::alloc::Global>",
                "library/alloc/src/vec/mod.rs",
                Owner::Collections,
            ),
            (
                "{closure#0}<app::Item>",
                "library/core/src/option.rs",
                Owner::Core,
            ),
            (
                "call_once<fn(), ()>",
                "library/core/src/ops/function.rs",
                Owner::Runtime,
            ),
            (
                "call_once<(), dyn core::ops::function::FnOnce<()>>",
                "library/alloc/src/boxed.rs",
                Owner::Runtime,
            ),
            (
                "__rust_begin_short_backtrace<fn(), ()>",
                "library/std/src/sys/backtrace.rs",
                Owner::RuntimeBoundary,
            ),
            ("record", "heapledger-0.1.0/src/alloc.rs", Owner::Profiler),
            (
                "alloc<A>",
                concat!(env!("CARGO_MANIFEST_DIR"), "/src/alloc.rs"),
                Owner::Profiler,
            ),
            (
                "parse<syn::item::Item>",
                "syn-2.0.1/src/parse.rs",
                Owner::User,
            ),
            ("main", "/home/u/app/src/main.rs", Owner::User),
            ("app::in_library", "library/alloc/src/alloc.rs", Owner::User),
        ] {
            assert_eq!(Owner::of(name, Some(file)), owner, "{name}");
        }
    }
}
