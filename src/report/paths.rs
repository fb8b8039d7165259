//! Source paths as they are shown: without the parts that name the machine a
//! dependency was built on.

use std::path::Path;

/// Cuts what differs from machine to machine off the path of a dependency:
///
/// - `/rustc/<hash>/library/alloc/src/vec/mod.rs` becomes `library/alloc/src/vec/mod.rs`,
///   and so does the copy in a toolchain's `rust-src` component;
/// - `~/.cargo/registry/src/<index>/syn-2.0.1/src/lib.rs` becomes `syn-2.0.1/src/lib.rs`;
/// - `~/.cargo/git/checkouts/<repository>/<commit>/src/lib.rs` becomes
///   `<repository>/<commit>/src/lib.rs`.
///
/// Any other path is the user's own, and stays whole.
pub(super) fn shorten(path: &str) -> &str {
    if let Some(rest) = path.strip_prefix("/rustc/")
        && let Some((_hash, rest)) = rest.split_once('/')
    {
        return rest;
    }
    if let Some(rest) = path.strip_prefix("/rust/deps/") {
        return rest;
    }
    if let Some(at) = path.find("/rustlib/src/rust/library/") {
        return &path[at + "/rustlib/src/rust/".len()..];
    }
    if let Some((_cargo_home, rest)) = path.split_once("/registry/src/")
        && let Some((_index, rest)) = rest.split_once('/')
    {
        return rest;
    }
    if let Some((_cargo_home, rest)) = path.split_once("/git/checkouts/") {
        return rest;
    }
    path
}

/// For whoever stands in `folder`: what lies in it is told from there, as compilers do. In the root, where
/// services stand, lies all there is.
pub(super) fn seen_from<'a>(folder: Option<&Path>, path: &'a str) -> &'a str {
    let folder = folder.filter(|folder| folder.parent().is_some());
    let inside = folder.and_then(|folder| Path::new(path).strip_prefix(folder).ok()?.to_str());
    inside.filter(|inside| !inside.is_empty()).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_where_one_stands() {
        let from = |folder| seen_from(Some(Path::new(folder)), "/home/u/app/src/main.rs");
        assert_eq!(from("/home/u/app"), "src/main.rs");
        assert_eq!(from("/"), "/home/u/app/src/main.rs");
        assert_eq!(from("/home/u/application"), "/home/u/app/src/main.rs");
        assert_eq!(from("/home/u/app/src/main.rs"), "/home/u/app/src/main.rs");
        assert_eq!(seen_from(Some(Path::new("/a")), "src/x.rs"), "src/x.rs");
        assert_eq!(seen_from(None, "/a/x.rs"), "/a/x.rs");
    }

    #[test]
    fn only_machine_dependent_prefixes_are_cut() {
        for (path, shown) in [
            (
                "/rustc/59807616e1/library/alloc/src/vec/mod.rs",
                "library/alloc/src/vec/mod.rs",
            ),
            (
                "/home/u/.rustup/toolchains/stable/lib/rustlib/src/rust/library/core/src/iter/mod.rs",
                "library/core/src/iter/mod.rs",
            ),
            (
                "/rust/deps/hashbrown-0.15.2/src/raw/mod.rs",
                "hashbrown-0.15.2/src/raw/mod.rs",
            ),
            (
                "/home/u/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f/syn-2.0.1/src/lib.rs",
                "syn-2.0.1/src/lib.rs",
            ),
            (
                "/home/u/.cargo/git/checkouts/app-01ab/7c2/src/lib.rs",
                "app-01ab/7c2/src/lib.rs",
            ),
            ("/home/u/app/src/main.rs", "/home/u/app/src/main.rs"),
            ("/rustc/short", "/rustc/short"),
            ("src/main.rs", "src/main.rs"),
            ("/ö/ü.rs", "/ö/ü.rs"),
            ("", ""),
        ] {
            assert_eq!(shorten(path), shown, "{path}");
        }
    }
}
