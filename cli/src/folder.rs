//! Where the program's own files lie: of that folder nobody wants to read in front of each of them.

/// Folders of a package that hold sources.
const SOURCES: [&str; 4] = ["src", "examples", "tests", "benches"];

/// What begins the path of each of these files, up to the folder that has all of their packages: of
/// `/home/u/app/src/main.rs` alone it is `/home/u/app/`.
pub(crate) fn common<'a>(mut files: impl Iterator<Item = &'a str>) -> &'a str {
    let Some(first) = files.next() else { return "" };
    let mut common = folder_of(first);
    for file in files {
        while !file.starts_with(common) {
            common = folder_of(common.trim_end_matches(SEPARATORS));
        }
    }
    let mut parts = common.split_inclusive(SEPARATORS).collect::<Vec<_>>();
    let is_sources = |part: &&str| SOURCES.contains(&part.trim_end_matches(SEPARATORS));
    if let Some(at) = parts.iter().rposition(is_sources) {
        parts.truncate(at);
    }
    &common[..parts.iter().map(|part| part.len()).sum()]
}

const SEPARATORS: [char; 2] = ['/', '\\'];

/// With the separator at its end.
fn folder_of(path: &str) -> &str {
    path.rfind(SEPARATORS).map_or("", |at| &path[..=at])
}

/// Whether a path begins at the root of its machine.
pub(crate) fn is_whole(file: &str) -> bool {
    file.starts_with('/') || file.get(1..2) == Some(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_packages_have_in_common() {
        for (files, folder) in [
            (&["/home/u/app/src/main.rs"][..], "/home/u/app/"),
            (
                &["/home/u/app/src/a/x.rs", "/home/u/app/src/a/y.rs"],
                "/home/u/app/",
            ),
            (
                &["/home/u/app/src/x.rs", "/home/u/app/examples/y.rs"],
                "/home/u/app/",
            ),
            (
                &["/home/u/ws/one/src/x.rs", "/home/u/ws/other/src/x.rs"],
                "/home/u/ws/",
            ),
            (
                &["/home/u/app/src/x.rs", "/home/u/application/src/x.rs"],
                "/home/u/",
            ),
            (&[r"C:\u\app\src\main.rs"], r"C:\u\app\"),
            (&["/a/x.rs", "/b/y.rs"], "/"),
            (&["/x.rs"], "/"),
            (&["/ö/ü.rs", "/ö/ä/ü.rs"], "/ö/"),
            (&["/a/x.rs", "b/y.rs"], ""),
            (&["main.rs"], ""),
            (&[], ""),
        ] {
            assert_eq!(common(files.iter().copied()), folder, "{files:?}");
        }
    }
}
