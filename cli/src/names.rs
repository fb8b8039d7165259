//! What a frame's text tells of its function: whose it is, what it is called without its
//! parameters, and which container it belongs to.

use heapledger_formats::frame::Frame;
use heapledger_formats::text::shortened;

/// Functions that are the way into an allocator.
const ALLOCATORS: [&str; 14] = [
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "aligned_alloc",
    "posix_memalign",
    "strdup",
    "__rust_alloc",
    "__rust_alloc_zeroed",
    "__rust_realloc",
    "__rg_alloc",
    "__rdl_alloc",
    "g_malloc",
];

/// The standard library's crates. They take no decision to allocate: who called them did.
const STANDARD: [&str; 6] = ["core", "alloc", "std", "proc_macro", "test", "__rustc"];

/// Crates that record allocations.
const PROFILERS: [&str; 3] = ["dhat", "heapledger", "heapscope"];

/// The crate that a function was written in: from its file where that lies in the standard library or
/// in cargo's folders, else from its name.
pub(crate) fn crate_of<'a>(frame: &Frame<'a>) -> Option<&'a str> {
    frame
        .file
        .and_then(crate_of_file)
        .or_else(|| crate_of_name(frame.name))
        .or_else(|| frame.module.map(file_name))
}

/// Whether the function is of the standard library, an allocator or a profiler: not where a decision to
/// allocate was taken. Where the standard library's files have `whole_paths`, any other file is none of
/// them, whatever type a function in it is of: `<alloc::vec::Vec<T> as app::T>::f (src/main.rs:1)`.
pub(crate) fn is_standard(frame: &Frame<'_>, whole_paths: bool) -> bool {
    let of_another = |name: &&str| {
        !(whole_paths && frame.file.is_some() && *name != "__rustc" && STANDARD.contains(name))
    };
    let owner = frame
        .file
        .and_then(crate_of_file)
        .or_else(|| crate_of_name(frame.name).filter(of_another));
    frame
        .module
        .is_some_and(|module| module.contains("vgpreload"))
        || ALLOCATORS.contains(&frame.name)
        || frame.name.starts_with("operator new")
        || frame.file.is_some_and(|file| file.contains("/rust/deps/"))
        || owner.is_some_and(is_standard_crate)
}

/// Whether the function is between a decision to allocate and its record: an allocator's, a profiler's.
pub(crate) fn is_way_to_allocator(frame: &Frame<'_>) -> bool {
    ALLOCATORS.contains(&base_name(frame.name).as_str())
        || frame
            .file
            .is_some_and(|file| file.ends_with("alloc/src/alloc.rs"))
        || crate_of_name(frame.name).is_some_and(|name| PROFILERS.contains(&name))
}

/// Whether it is one of those crates, by its name; or the table behind every `HashMap`.
pub(crate) fn is_standard_crate(name: &str) -> bool {
    STANDARD.contains(&name) || PROFILERS.contains(&name) || name == "hashbrown"
}

/// `library/alloc/src/string.rs`, `…/registry/src/…/serde-1.0.1/src/lib.rs`, or what dhat-rs leaves of
/// them: `alloc/src/string.rs`, `serde-1.0.1/src/lib.rs`.
fn crate_of_file(file: &str) -> Option<&str> {
    let parts: Vec<&str> = file.split(['/', '\\']).collect();
    if let Some(at) = parts
        .windows(2)
        .position(|pair| STANDARD.contains(&pair[0]) && pair[1] == "src")
        && (at == 0 || parts[at - 1] == "library" || parts[at - 1].len() == 40)
    {
        return Some(parts[at]);
    }
    package_of_registry(&parts)
}

fn package_of_registry<'a>(parts: &[&'a str]) -> Option<&'a str> {
    let deps = parts.windows(2).position(|pair| pair == ["rust", "deps"]);
    let registry = parts
        .windows(2)
        .position(|pair| pair == ["registry", "src"]);
    let at = deps.map(|at| at + 2).or(registry.map(|at| at + 3));
    if let Some(at) = at {
        return parts.get(at).map(|part| without_version(part));
    }
    let plain = without_version(parts[0]);
    (parts.len() > 1 && plain != parts[0]).then_some(plain)
}

/// The package that a file belongs to, where it came from elsewhere: from a registry, from a checkout of
/// cargo's (by its repository), or from a folder of vendored packages.
pub(crate) fn package_of_file(file: &str) -> Option<&str> {
    let parts: Vec<&str> = file.split(['/', '\\']).collect();
    let checkout = parts
        .windows(2)
        .position(|pair| pair == ["git", "checkouts"])
        .map_or(0, |at| at + 2);
    let is_hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    // `~/.cargo/git/checkouts/<repository>-<16 digits>/<commit>/src/lib.rs`, or what heapledger leaves of it.
    let of_checkout = || {
        let (repository, hash) = parts.get(checkout)?.rsplit_once('-')?;
        let commit = parts.get(checkout + 1)?;
        (hash.len() == 16 && is_hex(hash) && commit.len() >= 7 && is_hex(commit))
            .then_some(repository)
    };
    let of_vendor = || {
        let mut folders = parts.windows(3);
        let package = folders.find(|part| part[0] == "vendor" && part[2] == "src")?;
        Some(without_version(package[1]))
    };
    package_of_registry(&parts)
        .or_else(of_checkout)
        .or_else(of_vendor)
}

/// `serde` of `serde-1.0.1`; `my-2d-game` has no version.
fn without_version(package: &str) -> &str {
    let is_version = |(at, _): &(usize, &str)| {
        let version = &package[at + 1..];
        let digits = version.bytes().take_while(u8::is_ascii_digit).count();
        digits > 0 && version[digits..].starts_with('.')
    };
    package
        .match_indices('-')
        .find(is_version)
        .map_or(package, |(at, _)| &package[..at])
}

/// The first part of a path: `a` of `<a::T as b::U>::f`. `None` for a name that has no path.
pub(crate) fn crate_of_name(mut name: &str) -> Option<&str> {
    loop {
        let inner = name.trim_start_matches(['<', '&', '*', '[', '(']);
        let inner = inner
            .trim_start_matches("impl ")
            .trim_start_matches("dyn ")
            .trim_start_matches("mut ");
        let end = inner
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(inner.len());
        let is_path = inner[end..].starts_with("::");
        let is_type = inner.starts_with(|first: char| first.is_uppercase());
        if is_path && end > 0 && !is_type {
            return Some(&inner[..end]);
        }
        // `<T as b::U>::f`: the trait's crate wrote it.
        name = name.strip_prefix('<')?.split_once(" as ")?.1;
    }
}

pub(crate) fn file_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// The last part of a function's path, without parameters and hash: what stays the same whether a
/// debugger's or a linker's name of it is known. A closure keeps the function it stands in.
pub(crate) fn base_name(name: &str) -> String {
    let plain = without_parameters(name);
    let mut parts: Vec<&str> = plain
        .split("::")
        .filter(|part| !part.is_empty() && !is_hash(part))
        .collect();
    let is_closure = |part: &&str| part.starts_with("{{closure") || part.starts_with("{closure");
    let closures = parts
        .iter()
        .rev()
        .take_while(|part| is_closure(part))
        .count();
    parts.truncate(parts.len() - closures);
    let mut base = parts.last().copied().unwrap_or(name).to_owned();
    for _ in 0..closures {
        base.push_str("::{closure}");
    }
    shortened(&base).into_owned()
}

fn is_hash(part: &str) -> bool {
    part.len() == 17 && part.starts_with('h') && part[1..].bytes().all(|b| b.is_ascii_hexdigit())
}

/// What stands in angle brackets goes; the `>` of `->` closes none.
fn without_parameters(name: &str) -> String {
    let mut depth = 0_u32;
    let mut plain = String::with_capacity(name.len());
    let mut last = ' ';
    for character in name.chars() {
        match character {
            '<' => depth += 1,
            '>' if last == '-' => {}
            '>' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(character),
            _ => {}
        }
        last = character;
    }
    plain
}

/// Modules of the standard library, and the container that each makes.
const CONTAINERS: [(&str, &str, &str); 17] = [
    ("src/vec/", "alloc::vec::", "Vec"),
    ("src/raw_vec/", "alloc::raw_vec::", "Vec"),
    ("alloc/src/slice.rs", "alloc::slice::", "Vec"),
    ("alloc/src/string.rs", "alloc::string::", "String"),
    ("alloc/src/str.rs", "alloc::str::", "String"),
    ("alloc/src/fmt.rs", "alloc::fmt::", "String"),
    ("alloc/src/boxed", "alloc::boxed::", "Box"),
    ("alloc/src/rc.rs", "alloc::rc::", "Rc"),
    ("alloc/src/sync.rs", "alloc::sync::", "Arc"),
    (
        "alloc/src/collections/btree/",
        "alloc::collections::btree::",
        "BTreeMap",
    ),
    (
        "alloc/src/collections/vec_deque/",
        "alloc::collections::vec_deque::",
        "VecDeque",
    ),
    (
        "alloc/src/collections/linked_list",
        "alloc::collections::linked_list::",
        "LinkedList",
    ),
    (
        "std/src/collections/hash/",
        "std::collections::hash::",
        "HashMap",
    ),
    ("hashbrown-", "hashbrown::", "HashMap"),
    ("std/src/io/", "std::io::", "I/O buffer"),
    ("std/src/thread", "std::thread::", "thread"),
    ("std/src/sync/mpmc/", "std::sync::mpmc::", "channel"),
];

/// The container whose code this is.
pub(crate) fn container_of(frame: &Frame<'_>) -> Option<&'static str> {
    let name = frame.name.trim_start_matches(['<', '&']);
    let found = CONTAINERS.iter().find(|(path, module, _)| {
        frame.file.is_some_and(|file| file.contains(path)) || name.starts_with(module)
    });
    found.map(|&(_, _, container)| container)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates() {
        let cases = [
            (
                "0x1: with_capacity<&str> (library/alloc/src/vec/mod.rs:524:9)",
                Some("alloc"),
                true,
            ),
            (
                "0x1: f (/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/a.rs:1:1)",
                Some("core"),
                true,
            ),
            (
                "0x1: f (/home/u/.cargo/registry/src/index.crates.io-19/serde-json-1.0.1/src/a.rs:1:1)",
                Some("serde-json"),
                false,
            ),
            (
                "0x1: reserve<T> (/rust/deps/hashbrown-0.16.0/src/raw.rs:1:1)",
                Some("hashbrown"),
                true,
            ),
            (
                "0x1: <alloc::vec::Vec<T> as app::T>::f (src/app/a.rs:1:1)",
                Some("alloc"),
                true,
            ),
            ("0x1: app::main (src/main.rs:1:1)", Some("app"), false),
            (
                "0x1: <T as app::U>::f (src/main.rs:1:1)",
                Some("app"),
                false,
            ),
            (
                "0x1: <&mut app::T as core::fmt::Write>::f",
                Some("app"),
                false,
            ),
            ("0x1: process (src/main.rs:1:1)", None, false),
            (
                "0x1: malloc (in /usr/libexec/valgrind/vgpreload_dhat-amd64-linux.so)",
                Some("vgpreload_dhat-amd64-linux.so"),
                true,
            ),
            ("0x1: qsort (in /lib/libc.so.6)", Some("libc.so.6"), false),
            (
                "0x1: operator new(unsigned long) (in /lib/x.so)",
                Some("x.so"),
                true,
            ),
            ("0x1: f (/a/alloc/src/main.rs:1:1)", None, false),
            (
                "0x1: alloc (dhat-0.3.3/src/lib.rs:1176:9)",
                Some("dhat"),
                true,
            ),
            ("0x1: f (alloc/src/fmt.rs:659:19)", Some("alloc"), true),
        ];
        for (text, owner, standard) in cases {
            let frame = Frame::parse(text);
            assert_eq!(crate_of(&frame), owner, "{text}");
            assert_eq!(is_standard(&frame, false), standard, "{text}");
        }
    }

    #[test]
    fn packages_of_files() {
        for (file, package) in [
            ("serde_json-1.0.154/src/de.rs", Some("serde_json")),
            ("libz-sys-1.1.9/build/a.rs", Some("libz-sys")),
            (
                "/home/u/.cargo/registry/src/index.crates.io-19/syn-2.0.1/src/a.rs",
                Some("syn"),
            ),
            (
                r"C:\Users\u\.cargo\registry\src\index.crates.io-19\syn-2.0.1\src\a.rs",
                Some("syn"),
            ),
            (
                "/home/u/.cargo/git/checkouts/app-0123456789abcdef/7c2d1f0/src/lib.rs",
                Some("app"),
            ),
            ("my-lib-0123456789abcdef/7c2d1f0/src/lib.rs", Some("my-lib")),
            ("vendor/serde/src/lib.rs", Some("serde")),
            ("/home/u/app/vendor/serde-1.0.1/src/lib.rs", Some("serde")),
            ("src/main.rs", None),
            ("my-2d-game/src/main.rs", None),
            ("/home/u/app-1.2.3/src/main.rs", None),
            ("library/alloc/src/vec/mod.rs", None),
            ("src/vendor/acme/mod.rs", None),
            ("src/vendor.rs", None),
            ("t.c", None),
            ("", None),
        ] {
            assert_eq!(package_of_file(file), package, "{file}");
        }
    }

    #[test]
    fn a_long_name_is_taken_apart_in_little_stack() {
        let name = format!("{}b::c>::f", "<A as ".repeat(200_000));
        assert_eq!(crate_of_name(&name), Some("b"));
    }

    #[test]
    fn base_names() {
        for (name, base) in [
            ("process_logs", "process_logs"),
            ("log_before::process_logs", "process_logs"),
            ("a::b::f::h0123456789abcdef", "f"),
            (
                "from_iter<&str, core::str::iter::SplitWhitespace>",
                "from_iter",
            ),
            (
                "<alloc::vec::Vec<T> as a::FromIter<T,I>>::from_iter",
                "from_iter",
            ),
            ("<a::T>::g::<fn(u8) -> u8>::{closure#0}", "g::{closure}"),
            (
                "a::g::{{closure}}::{{closure}}::h0123456789abcdef",
                "g::{closure}::{closure}",
            ),
            ("malloc", "malloc"),
            ("???", "???"),
            ("", ""),
            ("<", "<"),
        ] {
            assert_eq!(base_name(name), base, "{name}");
        }
    }

    #[test]
    fn containers() {
        let container = |text| container_of(&Frame::parse(text));
        assert_eq!(
            container("0x1: to_owned (library/alloc/src/str.rs:211:62)"),
            Some("String")
        );
        assert_eq!(
            container("0x1: <alloc::vec::Vec<T> as a::B>::f"),
            Some("Vec")
        );
        assert_eq!(container("0x1: app::f (src/main.rs:1:1)"), None);
    }
}
