//! Assertions that nothing is left behind.

use crate::alloc::ENGINE;
use crate::testing::conditions::{most_of, saved_line};
use crate::testing::places;
use crate::testing::suppressions::Suppressions;
use crate::testing::usage::{HeapUsage, SiteUsage};

/// Asserts that no block of a scope is [leaked](crate::HeapUsage::leaked_blocks), but for
/// known ones: `$heap` is a [`HeapUsage`](crate::HeapUsage), or a block of code to be
/// measured, whose value is dropped before the count.
///
/// Known leaks are listed in the file `heapledger.supp` in the package's folder, or
/// that the environment variable `HEAPLEDGER_SUPPRESSIONS` names: one `leak:`
/// pattern a line, as in LeakSanitizer's suppression files. A pattern is a part of the name
/// of a function on the block's stack, or of its source file, where `*` stands for any
/// text, `^` for the start of the name and `$` for its end. What the standard library keeps (the
/// buffer of standard output, thread handles) is known already.
///
/// # Panics
/// If blocks are left: with the places, as [`assert_heap!`](crate::assert_heap!)
/// does. If the suppression file has a line that is none. And as
/// [`Scope::new`](crate::Scope::new) does.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     heapledger::assert_no_leaks!({ vec![String::from("dropped")] });
///
///     let scope = heapledger::Scope::new();
///     let inside = scope.enter();
///     drop(String::from("dropped"));
///     drop(inside);
///     heapledger::assert_no_leaks!(scope.usage());
/// }
/// ```
#[macro_export]
macro_rules! assert_no_leaks {
    ({ $($work:tt)* }) => {{
        let scope = $crate::Scope::new();
        let inside = scope.enter();
        ::std::mem::drop({ $($work)* });
        ::std::mem::drop(inside);
        let heap = scope.usage();
        $crate::macro_support::check_no_leaks(
            &heap, ::std::env!("CARGO_MANIFEST_DIR"), $crate::here!(),
        );
    }};
    ($heap:expr $(,)?) => {
        match &$heap {
            heap => $crate::macro_support::check_no_leaks(
                heap, ::std::env!("CARGO_MANIFEST_DIR"), $crate::here!(),
            ),
        }
    };
}

#[doc(hidden)]
#[track_caller]
pub fn check_no_leaks(heap: &HeapUsage, package: &str, here: &str) {
    if heap.leaked_blocks == 0 {
        return;
    }
    let failed = ENGINE.ignoring(|| {
        let known = match Suppressions::of_package(places::in_package(package, "")) {
            Ok(known) => known,
            Err(why) => return Some(format!("heapledger: {why}")),
        };
        let is_leak = |site: &&SiteUsage| site.leaked_blocks > 0 && !known.cover(site.frames());
        let leaks: Vec<SiteUsage> = heap.sites().iter().filter(is_leak).cloned().collect();
        if leaks.is_empty() {
            return None;
        }
        let blocks: u64 = leaks.iter().map(|site| site.leaked_blocks).sum();
        let bytes: u64 = leaks.iter().map(|site| site.leaked_bytes).sum();
        let mut text = format!("heapledger: {blocks} blocks ({bytes} bytes) are left\n");
        most_of(&mut text, "leaked_bytes", &leaks);
        saved_line(&mut text, heap, here);
        Some(text)
    });
    if let Some(text) = failed {
        panic!("{}", text.trim_end());
    }
}
