//! Assertions that nothing is allocated.

use crate::alloc::ENGINE;
use crate::testing::conditions::{most_of, saved_line};
use crate::testing::scope::Scope;

/// Asserts that a block of code allocates nothing, on this thread or on others
/// that enter its scope; a reallocation is an allocation too. With `in` and a
/// path: that no function of that path, or in the module or type of that path,
/// allocates in it, directly or through what it calls. The macro's value is the
/// block's.
///
/// # Panics
/// If something is allocated: with the places, as [`assert_heap!`](crate::assert_heap!)
/// does. And as [`Scope::new`](crate::Scope::new) does.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// mod render {
///     pub fn width(text: &str) -> usize {
///         text.len()
///     }
/// }
///
/// fn main() {
///     let numbers = vec![1, 2, 3];
///     let sum: i32 = heapledger::assert_no_alloc!({ numbers.iter().sum() });
///     assert_eq!(sum, 6);
///
///     heapledger::assert_no_alloc!(in concat!(module_path!(), "::render"), {
///         render::width(&sum.to_string())
///     });
/// }
/// ```
#[macro_export]
macro_rules! assert_no_alloc {
    (in $path:expr, $work:expr $(,)?) => {{
        let scope = $crate::Scope::new();
        let inside = scope.enter();
        let result = $work;
        ::std::mem::drop(inside);
        $crate::macro_support::check_no_alloc(
            scope,
            ::std::option::Option::Some($path),
            ::std::stringify!($work),
            $crate::here!(),
        );
        result
    }};
    ($work:expr $(,)?) => {{
        let scope = $crate::Scope::new();
        let inside = scope.enter();
        let result = $work;
        ::std::mem::drop(inside);
        $crate::macro_support::check_no_alloc(
            scope,
            ::std::option::Option::None,
            ::std::stringify!($work),
            $crate::here!(),
        );
        result
    }};
}

#[doc(hidden)]
#[track_caller]
pub fn check_no_alloc(scope: Scope, path: Option<&str>, work: &str, here: &str) {
    let failed = ENGINE.ignoring(|| {
        let heap = scope.usage();
        if heap.total_blocks == 0 {
            return None;
        }
        let found = match path {
            Some(path) => heap.site(path),
            None => heap.all_sites(),
        };
        if found.total_blocks == 0 {
            return None;
        }
        let place = path.map_or_else(String::new, |path| format!(" in {path}"));
        let work = work.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut text = format!(
            "heapledger: {} blocks ({} bytes) are allocated{place} by: {work}\n",
            found.total_blocks, found.total_bytes
        );
        most_of(&mut text, "total_blocks", &found.sites_within());
        saved_line(&mut text, &heap, here);
        Some(text)
    });
    if let Some(text) = failed {
        panic!("{}", text.trim_end());
    }
}
