//! Baselines in files.

use crate::assertions::message;
use heapledger::measure;
use std::collections::BTreeMap;
use std::hint::black_box;

#[inline(never)]
fn index(words: &str) -> BTreeMap<&str, Vec<usize>> {
    let mut index = BTreeMap::<&str, Vec<usize>>::new();
    for (at, word) in words.split(' ').enumerate() {
        index.entry(word).or_default().push(at);
    }
    index
}

#[test]
fn a_scope_is_as_its_baseline_says() {
    let (index, heap) = measure(|| index("a b a c a b a d a b a c a b a e"));
    heapledger::assert_matches_baseline!("word-index", heap);
    heapledger::assert_matches_baseline!("word-index");
    drop(index);
}

/// In a thread of its own: one that has run another test has measured something.
fn on_a_new_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|threads| threads.spawn(work).join().expect("joins"))
}

#[test]
fn what_was_measured_last_needs_no_name() {
    on_a_new_thread(|| {
        let text = message(|| heapledger::assert_matches_baseline!("word-index"));
        assert!(
            text.contains("nothing was measured on this thread"),
            "{text}"
        );
        let first = measure(|| index("a b a c a b a d a b a c a b a e f"));
        let text = message(|| heapledger::assert_matches_baseline!("word-index"));
        assert!(text.contains("total: blocks 7 -> 8,"), "{text}");
        let second = measure(|| index("another"));
        let text = message(|| heapledger::assert_matches_baseline!("word-index"));
        assert!(text.contains("total: blocks 7 -> 2,"), "{text}");
        drop((first, second));
    });
}

#[test]
fn the_scope_that_the_thread_is_in_needs_no_name() {
    on_a_new_thread(|| {
        drop(measure(|| index("a b a c a b a d a b a c a b a e")));
        let scope = heapledger::Scope::new();
        let inside = scope.enter();
        let text = message(|| heapledger::assert_matches_baseline!("word-index"));
        assert!(text.contains("total: blocks 7 -> 0"), "{text}");
        drop(inside);
        let text = message(|| heapledger::assert_matches_baseline!("word-index"));
        assert!(
            text.contains("nothing was measured on this thread"),
            "{text}"
        );
    });
}

#[test]
fn a_change_is_told_by_site() {
    let (index, heap) = measure(|| index("a b a c a b a d a b a c a b a e f"));
    let text = message(|| heapledger::assert_matches_baseline!("word-index", heap));
    let site = text
        .lines()
        .find(|line| line.starts_with("  scopes::baselines::index < "))
        .unwrap_or_else(|| panic!("{text}"));
    assert!(site.contains("blocks 7 -> 8, bytes 680 -> 712, "), "{text}");
    assert!(
        text.contains("  total: blocks 7 -> 8, bytes 680 -> 712, "),
        "{text}"
    );
    assert!(
        text.contains("if that is meant: HEAPLEDGER_UPDATE=1"),
        "{text}"
    );
    drop(index);
}

#[test]
fn a_missing_baseline_fails() {
    let ((), heap) = measure(|| drop(black_box(vec![1_u8])));
    let text = message(|| heapledger::assert_matches_baseline!("there-is-none", heap));
    assert!(
        text.contains("there is no baseline tests/heap-baselines/there-is-none"),
        "{text}"
    );
}

#[test]
fn a_tolerance_is_explicit() {
    let made = |count: usize| measure(|| drop(black_box(vec![0_u8; count]))).1;
    if std::env::var_os("HEAPLEDGER_UPDATE").is_some() {
        return heapledger::assert_matches_baseline!("a-vector", made(100));
    }
    heapledger::assert_matches_baseline!("a-vector", made(100));
    message(|| heapledger::assert_matches_baseline!("a-vector", made(101)));
    heapledger::assert_matches_baseline!("a-vector", made(101), 0.01);
    message(|| heapledger::assert_matches_baseline!("a-vector", made(102), 0.01));
}
