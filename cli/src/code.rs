//! Whose code a frame is of.

use std::collections::{HashMap, HashSet};

use heapledger_formats::frame::Frame;

use crate::folder;
use crate::names;

/// The three kinds that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The program's own: what its author can change.
    Own,
    /// A package from elsewhere, a library of the system, or what has no name.
    Dependency,
    /// The standard library, that of C, an allocator, a profiler.
    Standard,
}

/// What the frames of one file tell together.
#[derive(Debug, Default)]
pub(crate) struct Known<'a> {
    /// Whether the standard library's files have whole paths (`library/…`), so that any other file is none
    /// of them. dhat-rs leaves the last three parts of a path: `src/vec/mod.rs` may be anyone's.
    pub(crate) whole_paths: bool,
    /// Crates that come from a registry or a checkout, as names of functions have them.
    dependencies: HashSet<String>,
    /// The crates of files by other functions in them.
    pub(crate) crates_of_files: HashMap<&'a str, &'a str>,
}

/// How the C library and the loader are called.
const C_LIBRARIES: [&str; 8] = [
    "libc.",
    "libc-",
    "libm.",
    "libpthread",
    "libdl.",
    "librt.",
    "ld-linux",
    "libgcc_s",
];

/// Where a system keeps libraries that are no part of the program.
const SYSTEM_FOLDERS: [&str; 8] = [
    "/lib/",
    "/lib32/",
    "/lib64/",
    "/usr/",
    "/nix/store/",
    "/opt/",
    "/snap/",
    "/System/",
];

/// Functions around a program's `main` and those of its threads.
const START: [&str; 9] = [
    "_start",
    "__libc_start_main",
    "__libc_start_main_impl",
    "__libc_start_call_main",
    "start_thread",
    "clone",
    "clone3",
    "__clone",
    "__clone3",
];

impl<'a> Known<'a> {
    pub(crate) fn of(frames: &[Frame<'a>]) -> Known<'a> {
        let mut known = Known::default();
        let mut others = Vec::new();
        for frame in frames {
            let Some(file) = frame.file else { continue };
            known.whole_paths |= file.starts_with("library/")
                || file.starts_with("/rustc/")
                || file.contains("/rustlib/src/");
            if let Some(package) = names::package_of_file(file) {
                known.dependencies.insert(package.replace('-', "_"));
            }
            let Some(owner) = names::crate_of(frame) else {
                continue;
            };
            if is_impl(frame.name) {
                others.push((file, owner));
            } else {
                known.crates_of_files.entry(file).or_insert(owner);
            }
        }
        // `<a::T as b::U>::f` may stand in a file of either.
        for (file, owner) in others {
            known.crates_of_files.entry(file).or_insert(owner);
        }
        known
    }

    /// `is_standard`: whether the frame is one that takes no decision to allocate.
    pub(crate) fn code(&self, frame: &Frame<'_>, is_standard: bool) -> Code {
        let is_marker = frame.address.is_none() && frame.name.starts_with('[');
        // An inlined method may be called `clone`, too.
        let is_start = frame.file.is_none() && START.contains(&frame.name);
        let is_loader = frame.file.is_some_and(is_of_loader);
        if is_standard || is_marker || is_start || is_loader {
            return Code::Standard;
        }
        if let Some(file) = frame.file {
            if names::package_of_file(file).is_some() {
                return Code::Dependency;
            }
            if self.whole_paths || folder::is_whole(file) {
                return Code::Own;
            }
            let owner = self.crates_of_files.get(file);
            let is_theirs = self.is_dependency(frame.name)
                || names::crate_of_name(frame.name).is_none()
                    && owner
                        .is_some_and(|owner| self.dependencies.contains(&owner.replace('-', "_")));
            return if is_theirs {
                Code::Dependency
            } else {
                Code::Own
            };
        }
        if let Some(code) = frame.module.and_then(code_of_module) {
            return code;
        }
        if frame.name.starts_with("???") || self.is_dependency(frame.name) {
            return Code::Dependency;
        }
        Code::Own
    }

    /// Whether the function's name says that it is of a dependency; an implementation does where both the
    /// type and the trait are not the program's.
    fn is_dependency(&self, name: &str) -> bool {
        let is_theirs =
            |name: &str| names::crate_of_name(name).map(|owner| self.dependencies.contains(owner));
        let Some((of_type, of_trait)) = split_impl(name) else {
            return is_theirs(name) == Some(true);
        };
        let both = [is_theirs(of_type), is_theirs(of_trait)];
        let is_foreign = |part: &str, theirs: Option<bool>| {
            theirs == Some(true) || names::crate_of_name(part).is_none_or(names::is_standard_crate)
        };
        both.contains(&Some(true)) && is_foreign(of_type, both[0]) && is_foreign(of_trait, both[1])
    }
}

pub(crate) fn is_impl(name: &str) -> bool {
    split_impl(name).is_some()
}

/// `T` and `U` of `<T as U>::f`.
fn split_impl(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix('<')?.split_once(" as ")
}

/// The dynamic loader's own files, as Valgrind names them.
fn is_of_loader(file: &str) -> bool {
    file == "rtld.c" || file.starts_with("dl-") && file.ends_with(".c")
}

/// Of a library that the system has; `None` for the program itself and libraries beside it.
fn code_of_module(module: &str) -> Option<Code> {
    let name = names::file_name(module);
    if C_LIBRARIES.iter().any(|start| name.starts_with(start)) {
        return Some(Code::Standard);
    }
    let is_library = name.contains(".so") || name.ends_with(".dylib") || name.ends_with(".dll");
    let is_of_system = SYSTEM_FOLDERS
        .iter()
        .any(|folder| module.starts_with(folder));
    (module == "???" || is_library && is_of_system).then_some(Code::Dependency)
}

#[cfg(test)]
mod tests {
    use heapledger_formats::read;

    use super::*;
    use crate::sites::Sites;

    fn codes(texts: &[&str]) -> Vec<Code> {
        let frames: Vec<&str> = std::iter::once("[root]")
            .chain(texts.iter().copied())
            .collect();
        let file = serde_json::json!({"dhatFileVersion": 2, "mode": "heap", "verb": "Allocated", "bklt": false,
            "bkacc": false, "tu": "µs", "Mtu": "s", "cmd": "", "pid": 1, "te": 1, "pps": [], "ftbl": frames});
        let profile = read::from_slice(file.to_string().as_bytes()).unwrap();
        let sites = Sites::new(&profile);
        (1..=u32::try_from(texts.len()).unwrap())
            .map(|number| sites.code(number))
            .collect()
    }

    #[test]
    fn where_paths_are_whole() {
        let cases = [
            (
                "0x1: push<u8> (library/alloc/src/vec/mod.rs:1:1)",
                Code::Standard,
            ),
            ("0x1: app::main (src/main.rs:1:1)", Code::Own),
            ("0x1: {closure#0} (/home/u/app/src/main.rs:1:1)", Code::Own),
            (r"0x1: f (C:\app\src\main.rs:1:1)", Code::Own),
            // Whosever type and trait it is: the file tells who wrote it.
            (
                "0x1: <alloc::vec::Vec<T> as app::T>::f (src/a.rs:1:1)",
                Code::Own,
            ),
            (
                "0x1: <serde_json::V as app::T>::f (src/a.rs:1:1)",
                Code::Own,
            ),
            (
                "0x1: <app::T as serde::S>::f (serde-1.0.1/src/a.rs:1:1)",
                Code::Dependency,
            ),
            (
                "0x1: parse (serde_json-1.0.1/src/de.rs:1:1)",
                Code::Dependency,
            ),
            (
                "0x1: parse (/home/u/.cargo/registry/src/index.crates.io-19/syn-2.0.1/src/a.rs:1:1)",
                Code::Dependency,
            ),
            (
                "0x1: f (lib-0123456789abcdef/7c2d1f0/src/lib.rs:1:1)",
                Code::Dependency,
            ),
            (
                "0x1: clone (serde_json-1.0.1/src/de.rs:1:1)",
                Code::Dependency,
            ),
            ("0x1: serde_json::de::from_str", Code::Dependency),
            ("0x1: app::f", Code::Own),
            (
                "0x1: __rustc::__rust_alloc (src/main.rs:2:31)",
                Code::Standard,
            ),
            (
                "0x1: heapledger::alloc::f (/home/u/heapledger/src/alloc.rs:1:1)",
                Code::Standard,
            ),
            (
                "0x1: ??? (in /home/u/app/target/release/app)",
                Code::Dependency,
            ),
            ("0x1: __libc_start_main (in /lib/libc.so.6)", Code::Standard),
            ("0x1: _start (in /home/u/app)", Code::Standard),
            ("[... 12 frames ...]", Code::Standard),
        ];
        let texts: Vec<&str> = cases.iter().map(|(text, _)| *text).collect();
        for (code, (text, expected)) in codes(&texts).into_iter().zip(cases) {
            assert_eq!(code, expected, "{text}");
        }
    }

    #[test]
    fn where_paths_are_cut_off() {
        let cases = [
            (
                "0x1: serde_json::de::f (serde_json-1.0.1/src/de.rs:1:1)",
                Code::Dependency,
            ),
            (
                "0x1: serde_json::value::de::f (src/value/de.rs:1:1)",
                Code::Dependency,
            ),
            ("0x1: inlined (src/value/de.rs:2:1)", Code::Dependency),
            (
                "0x1: alloc::vec::Vec<T,A>::push (src/vec/mod.rs:1:1)",
                Code::Standard,
            ),
            ("0x1: push_mut<u8> (src/vec/mod.rs:1:1)", Code::Standard),
            ("0x1: app::main (src/main.rs:1:1)", Code::Own),
            ("0x1: inlined (src/main.rs:2:1)", Code::Own),
            (
                "0x1: <app::T as serde_json::S>::f (src/t.rs:2:1)",
                Code::Own,
            ),
            (
                "0x1: <serde_json::T as core::fmt::Debug>::fmt (src/b.rs:2:1)",
                Code::Dependency,
            ),
        ];
        let texts: Vec<&str> = cases.iter().map(|(text, _)| *text).collect();
        for (code, (text, expected)) in codes(&texts).into_iter().zip(cases) {
            assert_eq!(code, expected, "{text}");
        }
    }

    #[test]
    fn libraries_of_the_system() {
        for (text, expected) in [
            (
                "0x1: qsort (in /lib/x86_64-linux-gnu/libc.so.6)",
                Code::Standard,
            ),
            ("0x1: f (in /usr/lib/libssl.so.3)", Code::Dependency),
            ("0x1: f (in /home/u/app/libmine.so)", Code::Own),
            ("0x1: main (in /home/u/a.out)", Code::Own),
            ("0x1: main (in /usr/bin/app)", Code::Own),
            ("0x1: main (t.c:6)", Code::Own),
            ("0x1: ??? (in ???)", Code::Dependency),
        ] {
            assert_eq!(codes(&[text]), [expected], "{text}");
        }
    }

    fn own_functions(text: &str) -> Vec<String> {
        let profile = read::from_slice(text.as_bytes()).unwrap();
        let sites = Sites::new(&profile);
        let numbers = 0..u32::try_from(profile.frames.len()).unwrap();
        let own = numbers.filter(|&number| sites.code(number) == Code::Own);
        let mut names: Vec<String> = own.map(|number| sites.frame(number).label()).collect();
        names.sort();
        names.dedup();
        names
    }

    #[test]
    fn files_of_all_profilers() {
        for (text, own) in [
            (
                include_str!("../tests/files/log_before.json"),
                &["log_before::main", "process_logs"][..],
            ),
            (
                include_str!("../tests/files/dhat-rs.json"),
                &["dhatrs::main", "work"],
            ),
            (
                include_str!("../tests/files/valgrind.json"),
                &["main", "make"],
            ),
            (include_str!("../tests/files/valgrind-copy.json"), &[]),
            (include_str!("../tests/files/heapscope.json"), &[]),
        ] {
            assert_eq!(own_functions(text), own);
        }
    }
}
