//! Assertions on the numbers of a scope.

use crate::alloc::ENGINE;
use crate::report::summary::Thousands;
use crate::testing::places;
use crate::testing::usage::{HeapUsage, SiteUsage};
use std::fmt::Write;

/// Sites that a message names.
const SITES: usize = 8;

/// Asserts conditions on what a scope adds up to. Each is a field of a
/// [`HeapUsage`](crate::HeapUsage) or a [`SiteUsage`](crate::SiteUsage), an
/// operator, and a value (`u64`). Of [`unwritten_bytes`](crate::HeapUsage::unwritten_bytes),
/// which is an upper bound, only `<=` and `<` can be asserted.
///
/// If one does not hold, the message has the condition, both values, and the
/// sites that have the most of what the condition is about. The whole profile of
/// the scope is written to `target/heapledger/<test name>.json` (or into the folder
/// that the environment variable `HEAPLEDGER_DIR` names), for DHAT's viewer.
///
/// # Panics
/// If a condition does not hold, or cannot be told.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let (text, heap) = heapledger::measure(|| "a b c".replace(' ', ""));
///     heapledger::assert_heap!(
///         heap.total_blocks <= 2,
///         heap.max_bytes < 64,
///         heap.site("no::such::function").total_blocks == 0,
///     );
///     # drop(text);
/// }
/// ```
#[macro_export]
macro_rules! assert_heap {
    (@next) => {};
    (@next $($conditions:tt)+) => { $crate::assert_heap!(@read [] $($conditions)+) };
    (@read [$($owner:tt)+] . $field:ident <= $limit:expr $(, $($rest:tt)*)?) => {{
        $crate::assert_heap!(@check [$($owner)+] $field <= $limit);
        $crate::assert_heap!(@next $($($rest)*)?);
    }};
    (@read [$($owner:tt)+] . $field:ident < $limit:expr $(, $($rest:tt)*)?) => {{
        $crate::assert_heap!(@check [$($owner)+] $field < $limit);
        $crate::assert_heap!(@next $($($rest)*)?);
    }};
    (@read [$($owner:tt)+] . $field:ident == $limit:expr $(, $($rest:tt)*)?) => {{
        $crate::assert_heap!(@check [$($owner)+] $field == $limit);
        $crate::assert_heap!(@next $($($rest)*)?);
    }};
    (@read [$($owner:tt)+] . $field:ident != $limit:expr $(, $($rest:tt)*)?) => {{
        $crate::assert_heap!(@check [$($owner)+] $field != $limit);
        $crate::assert_heap!(@next $($($rest)*)?);
    }};
    (@read [$($owner:tt)+] . $field:ident >= $limit:expr $(, $($rest:tt)*)?) => {{
        $crate::assert_heap!(@check [$($owner)+] $field >= $limit);
        $crate::assert_heap!(@next $($($rest)*)?);
    }};
    (@read [$($owner:tt)+] . $field:ident > $limit:expr $(, $($rest:tt)*)?) => {{
        $crate::assert_heap!(@check [$($owner)+] $field > $limit);
        $crate::assert_heap!(@next $($($rest)*)?);
    }};
    (@read [$($owner:tt)*] $next:tt $($rest:tt)*) => {
        $crate::assert_heap!(@read [$($owner)* $next] $($rest)*)
    };
    (@read $($rest:tt)*) => {
        ::std::compile_error!("expected `usage.field <= value`, with any comparison")
    };
    (@check [$($owner:tt)+] $field:ident $operator:tt $limit:expr) => {
        match (&$($owner)+, $limit) {
            (owner, limit) => {
                let value: u64 = $crate::macro_support::Countable::count(
                    owner.$field,
                    ::std::stringify!($field),
                    ::std::stringify!($operator),
                );
                let limit: u64 = limit;
                if !(value $operator limit) {
                    $crate::macro_support::condition_failed(
                        owner,
                        ::std::concat!(
                            ::std::stringify!($($owner)+), ".", ::std::stringify!($field),
                            " ", ::std::stringify!($operator), " ", ::std::stringify!($limit),
                        ),
                        ::std::stringify!($field),
                        value,
                        limit,
                        $crate::here!(),
                    );
                }
            }
        }
    };
    ($($conditions:tt)+) => { $crate::assert_heap!(@next $($conditions)+) };
}

/// The path of an item in the function that this stands in.
#[doc(hidden)]
#[macro_export]
macro_rules! here {
    () => {{
        fn here() {}
        ::std::any::type_name_of_val(&here)
    }};
}

/// A number that can be asserted.
pub trait Countable {
    /// # Panics
    /// If it is not known, or if what is known does not tell whether a condition with this
    /// operator holds.
    #[doc(hidden)]
    fn count(self, field: &str, operator: &str) -> u64;
}

impl Countable for u64 {
    fn count(self, _field: &str, _operator: &str) -> u64 {
        self
    }
}

/// No more than this.
impl Countable for Option<u64> {
    #[track_caller]
    fn count(self, field: &str, operator: &str) -> u64 {
        match self {
            Some(value) if operator.starts_with('<') => value,
            Some(_) => ENGINE.ignoring(|| {
                panic!(
                    "heapledger: {field} is an upper bound, not a count: it can be asserted with \
                     `<=` and `<`, not with `{operator}`"
                )
            }),
            None => ENGINE.ignoring(|| {
                panic!(
                    "heapledger: {field} is not known of this scope; use heapledger::measure_writes \
                     or Scope::measuring_writes"
                )
            }),
        }
    }
}

/// What the left side of a condition is a field of.
pub trait Owner {
    #[doc(hidden)]
    fn whole(&self) -> Option<HeapUsage>;
    #[doc(hidden)]
    fn parts(&self) -> Vec<SiteUsage>;
}

impl<T: Owner> Owner for &T {
    fn whole(&self) -> Option<HeapUsage> {
        T::whole(self)
    }

    fn parts(&self) -> Vec<SiteUsage> {
        T::parts(self)
    }
}

impl Owner for HeapUsage {
    fn whole(&self) -> Option<HeapUsage> {
        Some(self.clone())
    }

    fn parts(&self) -> Vec<SiteUsage> {
        match self.has_sites() {
            true => self.sites().to_vec(),
            false => Vec::new(),
        }
    }
}

impl Owner for SiteUsage {
    fn whole(&self) -> Option<HeapUsage> {
        self.whole_scope()
    }

    fn parts(&self) -> Vec<SiteUsage> {
        self.sites_within()
    }
}

#[doc(hidden)]
#[cold]
#[track_caller]
pub fn condition_failed(
    owner: &impl Owner,
    condition: &str,
    field: &str,
    value: u64,
    limit: u64,
    here: &str,
) {
    let text = ENGINE.ignoring(|| {
        let mut text = format!(
            "heapledger: assertion failed: {condition}\n  left: {value}\n right: {limit}\n"
        );
        most_of(&mut text, field, &owner.parts());
        if let Some(whole) = owner.whole() {
            saved_line(&mut text, &whole, here);
        }
        text
    });
    panic!("{}", text.trim_end());
}

/// Names the places that have the most of `field`.
pub(crate) fn most_of(text: &mut String, field: &str, sites: &[SiteUsage]) {
    let value_of = |site: &SiteUsage| field_of(site, field);
    let mut places: Vec<(String, SiteUsage)> = Vec::new();
    for site in sites.iter().filter(|site| value_of(site) > 0) {
        let place = site.place().map_or_else(String::new, ToString::to_string);
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, sum)) => sum.add(site),
            None => places.push((place, site.clone())),
        }
    }
    if places.is_empty() {
        return;
    }
    places.sort_by(|(a_place, a), (b_place, b)| {
        value_of(b)
            .cmp(&value_of(a))
            .then_with(|| a_place.cmp(b_place))
    });
    let _ = writeln!(text, "most {}:", field.replace('_', " "));
    for (place, site) in places.iter().take(SITES) {
        let _ = writeln!(
            text,
            "  {:>9}  {place}",
            Thousands(value_of(site)).to_string()
        );
    }
    if let Some(others) = places.get(SITES..).filter(|others| !others.is_empty()) {
        let _ = writeln!(text, "  and {} places with less", others.len());
    }
}

/// Saves the scope's profile and says so, or why not.
pub(crate) fn saved_line(text: &mut String, whole: &HeapUsage, here: &str) {
    if !whole.has_sites() {
        let _ = writeln!(
            text,
            "to see where: measure with stacks (heapledger::measure, Scope::new)"
        );
        return;
    }
    let path = places::profile_of(here);
    // A folder that cannot be made is told by what is to be saved in it.
    let _ = path.parent().map(std::fs::create_dir_all);
    let _ = match whole.save(&path) {
        Ok(()) => writeln!(
            text,
            "all of it, for DHAT's viewer: {}",
            places::shown(&path)
        ),
        Err(error) => writeln!(text, "its profile is not saved: {error}"),
    };
}

fn field_of(site: &SiteUsage, field: &str) -> u64 {
    match field {
        "total_blocks" => site.total_blocks,
        "total_bytes" => site.total_bytes,
        "live_blocks" => site.live_blocks,
        "live_bytes" => site.live_bytes,
        "max_blocks" => site.max_blocks,
        "max_bytes" => site.max_bytes,
        "leaked_blocks" => site.leaked_blocks,
        "leaked_bytes" => site.leaked_bytes,
        "freed_blocks" => site.freed_blocks,
        "freed_bytes" => site.freed_bytes,
        "reallocs" => site.reallocs,
        "copied_bytes" => site.copied_bytes,
        "largest_bytes" => site.largest_bytes,
        "unwritten_bytes" => site.unwritten_bytes.unwrap_or_default(),
        _ => site.total_blocks,
    }
}
