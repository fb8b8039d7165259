//! Comparison with what a scope added up to before, which is kept in a file that
//! a pull request shows.

use crate::alloc::ENGINE;
use crate::report::save;
use crate::testing::conditions::saved_line;
use crate::testing::last;
use crate::testing::places;
use crate::testing::usage::{HeapUsage, SiteFrame, SiteUsage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Where baselines are, in the package's folder.
const FOLDER: &str = "tests/heap-baselines";

/// With the value 1, baselines are written and not compared with.
const UPDATE: &str = "HEAPLEDGER_UPDATE";

const VERSION: u32 = 1;

/// Changes that a message names.
const CHANGES: usize = 15;

const HEAD: &str =
    "# What a scope allocates: written with HEAPLEDGER_UPDATE=1, compared with otherwise.\n\n";

/// Asserts that a [`HeapUsage`](crate::HeapUsage) is what it was: the totals, and
/// the counts of each site, as they stand in `tests/heap-baselines/<name>.toml` in the
/// package's folder (`<name>.release.toml` in builds without debug assertions, where
/// other functions are there to allocate). The file holds names and counts, no
/// addresses, lines or paths, so it is the same on every machine.
///
/// With the name alone, it is the innermost scope that this thread is in; in none, what the
/// last `measure` on this thread has returned, if it has left no scope since.
///
/// With the environment variable `HEAPLEDGER_UPDATE=1` the file is written instead.
///
/// A third argument is the tolerance: by what part each number may differ. Without it
/// none may. What cannot be the same each time, such as the peak of several threads,
/// needs one.
///
/// # Panics
/// If there is nothing to compare; if the file is missing or not a baseline; if a number differs: with the site, what
/// was there before, and what is there now.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let (words, heap) = heapledger::measure(|| vec!["a", "b"]);
///     # unsafe { std::env::set_var("HEAPLEDGER_UPDATE", "1") };
///     # unsafe { std::env::set_var("CARGO_MANIFEST_DIR", std::env::temp_dir()) };
///     heapledger::assert_matches_baseline!("words");
///     heapledger::assert_matches_baseline!("words", heap);
///     heapledger::assert_matches_baseline!("words", heap, 0.05); // 5 %
///     # drop(words);
/// }
/// ```
#[macro_export]
macro_rules! assert_matches_baseline {
    ($name:expr $(,)?) => {
        $crate::macro_support::check_last_baseline(
            $name,
            ::std::cfg!(debug_assertions),
            ::std::env!("CARGO_MANIFEST_DIR"),
            $crate::here!(),
        )
    };
    ($name:expr, $heap:expr $(,)?) => {
        $crate::assert_matches_baseline!($name, $heap, 0.0)
    };
    ($name:expr, $heap:expr, $tolerance:expr $(,)?) => {
        match (&$heap, $tolerance) {
            (heap, tolerance) => $crate::macro_support::check_baseline(
                $name,
                heap,
                tolerance,
                ::std::cfg!(debug_assertions),
                ::std::env!("CARGO_MANIFEST_DIR"),
                $crate::here!(),
            ),
        }
    };
}

#[doc(hidden)]
#[track_caller]
pub fn check_baseline(
    name: &str,
    heap: &HeapUsage,
    tolerance: f64,
    is_debug: bool,
    package: &str,
    here: &str,
) {
    let checked = ENGINE.ignoring(|| {
        let checked = path_of(name, is_debug, package).and_then(|path| {
            let now = Baseline::of(heap);
            match is_updating()? {
                true => now.write(&path),
                false => now.compare(&Baseline::read(&path)?, tolerance),
            }
        });
        checked.map_err(|why| {
            let mut text = format!("heapledger: {why}\n");
            saved_line(&mut text, heap, here);
            text
        })
    });
    if let Err(text) = checked {
        panic!("{}", text.trim_end());
    }
}

#[doc(hidden)]
#[track_caller]
pub fn check_last_baseline(name: &str, is_debug: bool, package: &str, here: &str) {
    match last::usage() {
        Ok(heap) => check_baseline(name, &heap, 0.0, is_debug, package, here),
        Err(why) => ENGINE.ignoring(|| panic!("heapledger: {why}")),
    }
}

fn path_of(name: &str, is_debug: bool, package: &str) -> Result<PathBuf, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(format!(
            "{name:?} is no name for a baseline: use letters, digits, `-` and `_`"
        ));
    }
    let build = if is_debug { "" } else { ".release" };
    Ok(places::in_package(
        package,
        &format!("{FOLDER}/{name}{build}.toml"),
    ))
}

fn is_updating() -> Result<bool, String> {
    match std::env::var_os(UPDATE) {
        None => Ok(false),
        Some(value) if value == "1" => Ok(true),
        Some(value) if value == "0" || value.is_empty() => Ok(false),
        Some(value) => Err(format!("{UPDATE} is {value:?}: set it to 1, or not at all")),
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    version: u32,
    total: Numbers,
    #[serde(default, rename = "site")]
    sites: Vec<Site>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Numbers {
    blocks: u64,
    bytes: u64,
    /// Live at the peak.
    max_bytes: u64,
    live_blocks: u64,
    live_bytes: u64,
    reallocs: u64,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Site {
    /// Functions, innermost first.
    stack: Vec<String>,
    #[serde(flatten)]
    numbers: Numbers,
}

impl Numbers {
    fn fields(&self) -> [(&'static str, u64); 6] {
        [
            ("blocks", self.blocks),
            ("bytes", self.bytes),
            ("max_bytes", self.max_bytes),
            ("live_blocks", self.live_blocks),
            ("live_bytes", self.live_bytes),
            ("reallocs", self.reallocs),
        ]
    }

    fn of(site: &SiteUsage) -> Self {
        Self {
            blocks: site.total_blocks,
            bytes: site.total_bytes,
            max_bytes: site.max_bytes,
            live_blocks: site.live_blocks,
            live_bytes: site.live_bytes,
            reallocs: site.reallocs,
        }
    }

    fn add(&mut self, other: &Self) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
        self.max_bytes += other.max_bytes;
        self.live_blocks += other.live_blocks;
        self.live_bytes += other.live_bytes;
        self.reallocs += other.reallocs;
    }
}

/// Sites by the last parts of their functions' names: whether the path in front is known
/// depends on what the compiler has inlined.
fn by_path(sites: &[Site]) -> BTreeMap<Vec<&str>, (&[String], Numbers)> {
    let mut sums = BTreeMap::new();
    for Site { stack, numbers } in sites {
        let path = stack.iter().map(|function| last_part(function)).collect();
        let (_, sum) = sums.entry(path).or_insert((&stack[..], Numbers::default()));
        sum.add(numbers);
    }
    sums
}

/// `f` of `a::b::f`, of `<Vec<a::B> as c::D>::f`; `f::<C>` of `a::f::<C>`.
fn last_part(function: &str) -> &str {
    let (mut depth, mut start) = (0_u32, 0);
    let mut before = ' ';
    for (at, c) in function.char_indices() {
        match c {
            '<' | '(' | '[' => depth += 1,
            // Not the arrow of a function's type.
            '>' if before == '-' => {}
            '>' | ')' | ']' => depth = depth.saturating_sub(1),
            ':' if before == ':' && depth == 0 && !function[at + 1..].starts_with('<') => {
                start = at + 1;
            }
            _ => {}
        }
        before = c;
    }
    &function[start..]
}

impl Baseline {
    fn of(heap: &HeapUsage) -> Self {
        let mut total = Numbers::default();
        let mut sites: BTreeMap<Vec<String>, Numbers> = BTreeMap::new();
        for site in heap.sites() {
            let numbers = Numbers::of(site);
            total.add(&numbers);
            sites.entry(stack_of(site)).or_default().add(&numbers);
        }
        let sites = sites.into_iter();
        Self {
            version: VERSION,
            total,
            sites: sites
                .map(|(stack, numbers)| Site { stack, numbers })
                .collect(),
        }
    }

    fn read(path: &Path) -> Result<Self, String> {
        let shown = places::shown(path);
        let text = std::fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                format!("there is no baseline {shown}; write it with {UPDATE}=1 and look at it")
            }
            _ => format!("cannot read {shown}: {error}"),
        })?;
        let read: Self = toml::from_str(&text)
            .map_err(|error| format!("{shown} is no baseline: {}", error.to_string().trim_end()))?;
        match read.version {
            VERSION => Ok(read),
            other => Err(format!(
                "{shown} is of version {other}, not {VERSION}; write it anew with {UPDATE}=1"
            )),
        }
    }

    fn write(&self, path: &Path) -> Result<(), String> {
        let text = toml::to_string(self).map_err(|error| format!("no baseline: {error}"))?;
        // A folder that cannot be made is told by what is to be saved in it.
        let _ = path.parent().map(std::fs::create_dir_all);
        let write = |file: &mut std::fs::File| file.write_all(format!("{HEAD}{text}").as_bytes());
        save::save(path, write).map_err(|error| error.to_string())
    }

    /// # Errors
    /// What differs, a line for each.
    fn compare(&self, before: &Self, tolerance: f64) -> Result<(), String> {
        let mut changes = Vec::new();
        let mut look = |place: &str, before: &Numbers, now: &Numbers| {
            let pairs = before.fields().into_iter().zip(now.fields());
            let differing = pairs.filter(|((_, before), (_, now))| {
                before.abs_diff(*now) as f64 > *before as f64 * tolerance
            });
            let told: Vec<String> = differing
                .map(|((field, before), (_, now))| format!("{field} {before} -> {now}"))
                .collect();
            if !told.is_empty() {
                changes.push(format!("  {place}: {}", told.join(", ")));
            }
        };
        look("total", &before.total, &self.total);
        let (then, now) = (by_path(&before.sites), by_path(&self.sites));
        let nothing = Numbers::default();
        for (path, (stack, numbers)) in &now {
            let before = then.get(path).map_or(&nothing, |(_, before)| before);
            look(&shown(stack), before, numbers);
        }
        for (path, (stack, numbers)) in &then {
            if !now.contains_key(path) {
                look(&shown(stack), numbers, &nothing);
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let mut text = String::from("the scope is not what its baseline says (before -> now):\n");
        for change in changes.iter().take(CHANGES) {
            let _ = writeln!(text, "{change}");
        }
        if changes.len() > CHANGES {
            let _ = writeln!(text, "  and {} more sites", changes.len() - CHANGES);
        }
        let _ = write!(text, "if that is meant: {UPDATE}=1");
        Err(text)
    }
}

/// The functions of a site that somebody wrote, from the inside to the scope.
fn stack_of(site: &SiteUsage) -> Vec<String> {
    let frames = site.frames().iter();
    let inside = || frames.clone().take_while(|frame| !frame.is_profiler);
    let is_written = |frame: &&SiteFrame| frame.is_user && !frame.function.is_empty();
    let mut names: Vec<String> = inside()
        .filter(is_written)
        .map(|frame| same_in_all_spellings(&frame.function))
        .collect();
    if names.is_empty() {
        let innermost = inside().find(|frame| !frame.function.is_empty());
        names.extend(innermost.map(|frame| same_in_all_spellings(&frame.function)));
    }
    names
}

/// Closures have numbers in one of the two ways to mangle names.
fn same_in_all_spellings(function: &str) -> String {
    let mut name = String::new();
    let mut rest = function.replace("{{closure}}", "{closure}");
    while let Some(at) = rest.find("{closure#") {
        let end = rest[at..].find('}').map_or(rest.len(), |end| at + end + 1);
        name.push_str(&rest[..at]);
        name.push_str("{closure}");
        rest = rest[end..].to_owned();
    }
    name + &rest
}

/// The innermost functions of a stack.
fn shown(stack: &[String]) -> String {
    match stack {
        [] => "[no stack]".to_owned(),
        [one] => one.clone(),
        [first, second, ..] => format!("{first} < {second}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn baseline(blocks: u64) -> Baseline {
        let numbers = Numbers {
            blocks,
            bytes: 100,
            ..Numbers::default()
        };
        Baseline {
            version: VERSION,
            total: numbers,
            sites: vec![Site {
                stack: vec!["app::inner".to_owned(), "app::outer".to_owned()],
                numbers,
            }],
        }
    }

    #[test]
    fn a_changed_number_is_told_with_its_site() {
        assert_eq!(baseline(10).compare(&baseline(10), 0.0), Ok(()));
        let told = baseline(11).compare(&baseline(10), 0.0).unwrap_err();
        assert!(told.contains("  total: blocks 10 -> 11\n"), "{told}");
        assert!(
            told.contains("  app::inner < app::outer: blocks 10 -> 11\n"),
            "{told}"
        );
        assert_eq!(told.lines().count(), 4, "{told}");
    }

    #[test]
    fn a_tolerance_is_a_part_of_each_number() {
        assert_eq!(baseline(11).compare(&baseline(10), 0.1), Ok(()));
        assert_eq!(baseline(9).compare(&baseline(10), 0.1), Ok(()));
        assert!(baseline(12).compare(&baseline(10), 0.1).is_err());
        assert!(baseline(10).compare(&baseline(12), 0.1).is_err());
    }

    #[test]
    fn sites_that_come_and_go_are_told() {
        let mut other = baseline(10);
        other.sites[0].stack[0] = "app::other".to_owned();
        let told = other.compare(&baseline(10), 0.0).unwrap_err();
        for line in [
            "app::other < app::outer: blocks 0 -> 10",
            "app::inner < app::outer: blocks 10 -> 0",
        ] {
            assert!(told.contains(line), "{told}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = std::env::temp_dir().join(format!("heapledger-{}", std::process::id()));
        let path = folder.join("one/two.toml");
        baseline(10).write(&path).expect("written");
        assert_eq!(Baseline::read(&path), Ok(baseline(10)));
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::write(&path, text.replace("version = 1", "version = 2")).expect("written");
        assert!(Baseline::read(&path).unwrap_err().contains("version 2"));
        std::fs::write(&path, "version = \"one\"").expect("written");
        assert!(
            Baseline::read(&path)
                .unwrap_err()
                .contains("is no baseline")
        );
        std::fs::remove_dir_all(&folder).expect("removed");
        assert!(
            Baseline::read(&path)
                .unwrap_err()
                .contains("HEAPLEDGER_UPDATE=1")
        );
    }

    #[test]
    fn names_are_the_same_in_both_spellings() {
        assert_eq!(
            same_in_all_spellings("app::f::{{closure}}::{{closure}}"),
            same_in_all_spellings("app::f::{closure#0}::{closure#12}")
        );
    }

    #[test]
    fn a_path_in_front_of_a_name_makes_no_difference() {
        for (function, part) in [
            ("f", "f"),
            ("a::b::f", "f"),
            ("a::b::{closure}", "{closure}"),
            ("<Vec<a::B> as c::D>::f", "f"),
            ("<fn(a::B) -> c::D as e::F<(g::H, [i::J; 3])>>::f", "f"),
            ("a::f::<b::C>", "f::<b::C>"),
        ] {
            assert_eq!(last_part(function), part);
        }
        let (mut before, mut now) = (baseline(3), baseline(3));
        before.sites[0].stack = vec!["f".to_owned(), "g".to_owned()];
        now.sites[0].stack = vec!["a::f".to_owned(), "b::g".to_owned()];
        assert_eq!(now.compare(&before, 0.0), Ok(()));
        now.sites[0].stack[1] = "b::h".to_owned();
        assert!(now.compare(&before, 0.0).is_err());
    }

    #[test]
    fn names_of_files_stay_in_the_folder() {
        for name in ["", "a/b", "../a", "a.b"] {
            assert!(path_of(name, true, "/p").is_err(), "{name}");
        }
    }
}
