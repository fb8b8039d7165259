//! What assertions accept, and what they say.

use heapledger::{measure, measure_counts};
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The message of a failed assertion.
#[track_caller]
pub(crate) fn message(failing: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(failing)).expect_err("fails");
    let text = panic.downcast_ref::<String>().expect("a text");
    assert!(text.lines().count() <= 20, "{text}");
    text.clone()
}

const MANY_SMALL_LINE: u32 = line!() + 5;

#[expect(clippy::vec_box, reason = "blocks to be counted")]
#[inline(never)]
fn many_small() -> Vec<Box<u8>> {
    (0..10).map(|n| black_box(Box::new(n))).collect()
}

const ONE_BIG_LINE: u32 = line!() + 4;

#[inline(never)]
fn one_big() -> Vec<u8> {
    black_box(Vec::with_capacity(1000))
}

#[test]
fn a_limit_names_the_sites_that_spent_most_of_it() {
    let (kept, heap) = measure(|| (many_small(), one_big()));
    let blocks = message(|| heapledger::assert_heap!(heap.total_blocks <= 5));
    let bytes = message(|| heapledger::assert_heap!(heap.max_bytes < 500));
    let first = |text: &str| text.lines().nth(4).expect("a site").to_owned();
    assert!(
        blocks.starts_with(
            "heapledger: assertion failed: heap.total_blocks <= 5\n  left: 12\n right: 5\n\
             most total blocks:\n"
        ),
        "{blocks}"
    );
    assert!(first(&blocks).contains(" 10  "), "{blocks}");
    // An inlined function of an optimized build has its name alone.
    let small = format!("({}:{MANY_SMALL_LINE})", file!());
    assert!(first(&blocks).contains(&small), "{blocks}");
    assert!(first(&bytes).contains("1,000"), "{bytes}");
    let place = format!("one_big ({}:{ONE_BIG_LINE})", file!());
    assert!(first(&bytes).contains(&place), "{bytes}");
    drop(kept);
}

#[test]
fn the_profile_of_the_scope_is_saved() {
    let (kept, heap) = measure(one_big);
    let text = message(|| heapledger::assert_heap!(heap.total_blocks == 0));
    let last = text.lines().last().expect("a line");
    let path = last
        .strip_prefix("all of it, for DHAT's viewer: ")
        .unwrap_or_else(|| panic!("{text}"));
    assert!(
        path.ends_with("heapledger/scopes.assertions.the_profile_of_the_scope_is_saved.json"),
        "{path}"
    );
    let file = std::fs::read_to_string(path).expect("the file");
    let file: serde_json::Value = serde_json::from_str(&file).expect("JSON");
    assert_eq!(file["pps"][0]["tb"], 1000);
    assert_eq!(file["pps"][0]["eb"], 1000);
    drop(kept);
}

#[test]
fn all_comparisons_and_several_conditions() {
    let ((), heap) = measure(|| drop(one_big()));
    heapledger::assert_heap!(
        heap.total_blocks == 1,
        heap.total_blocks <= 1,
        heap.total_blocks >= 1,
        heap.total_blocks < 2,
        heap.total_blocks > 0,
        heap.total_blocks != 2,
        heap.largest_bytes == 10 * 100,
        heap.site("scopes::assertions::one_big").max_bytes == 1000,
        heap.sites()[0].total_blocks == 1,
        heap.leaked_blocks == 0
    );
    let text = message(|| heapledger::assert_heap!(heap.freed_blocks == 1, heap.freed_bytes == 1));
    assert!(
        text.contains("heap.freed_bytes == 1\n  left: 1000\n"),
        "{text}"
    );
    let text = message(|| {
        heapledger::assert_heap!(heap.site("scopes::assertions::one_big").total_blocks == 0);
    });
    assert!(
        text.contains("heap.site(\"scopes::assertions::one_big\").total_blocks == 0"),
        "{text}"
    );
    assert!(
        text.contains("        1  scopes::assertions::one_big"),
        "{text}"
    );
}

#[test]
fn counts_without_stacks_say_how_to_get_them() {
    let ((), heap) = measure_counts(|| drop(one_big()));
    let text = message(|| heapledger::assert_heap!(heap.total_blocks == 0));
    assert!(text.contains("measure with stacks"), "{text}");
    let refused = catch_unwind(|| heap.sites().len());
    assert!(refused.is_err());
}

#[test]
fn no_allocation() {
    let mut numbers = Vec::with_capacity(3);
    let length = heapledger::assert_no_alloc!({
        numbers.push(1);
        numbers.len()
    });
    assert_eq!(length, 1);
    let text = message(|| {
        heapledger::assert_no_alloc!({
            numbers.extend([2, 3, 4]);
        });
    });
    assert!(
        text.starts_with("heapledger: 1 blocks (24 bytes) are allocated by: {"),
        "{text}"
    );
    assert!(text.contains(&format!("({}:", file!())), "{text}");
}

#[test]
fn no_allocation_in_a_module() {
    heapledger::assert_no_alloc!(in "scopes::assertions::many_small", one_big());
    let text = message(|| {
        heapledger::assert_no_alloc!(in "scopes::assertions::one_big", {
            (many_small(), one_big())
        });
    });
    assert!(
        text.contains("1 blocks (1000 bytes) are allocated in scopes::assertions::one_big"),
        "{text}"
    );
    assert!(!text.contains("many_small (tests"), "{text}");
}

#[inline(never)]
fn known_leak() {
    std::mem::forget(black_box(vec![0_u8; 77]));
}

#[test]
fn leaks() {
    heapledger::assert_no_leaks!({ many_small() });
    // The buffer of standard output is std's.
    heapledger::assert_no_leaks!({ println!("a line") });
    // In the package's suppression file.
    heapledger::assert_no_leaks!({ known_leak() });
    let text = message(|| {
        heapledger::assert_no_leaks!({
            known_leak();
            std::mem::forget(black_box(one_big()));
        });
    });
    assert!(
        text.starts_with("heapledger: 1 blocks (1000 bytes) are left\n"),
        "{text}"
    );
    assert!(
        text.contains("1,000  scopes::assertions::one_big"),
        "{text}"
    );
    let ((), heap) = measure(|| std::mem::forget(black_box(one_big())));
    message(|| heapledger::assert_no_leaks!(heap));
}
