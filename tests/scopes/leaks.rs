//! What a scope has left behind, beside what its result owns.

use crate::assertions::message;
use heapledger::{HeapUsage, Scope, measure, measure_counts};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, LinkedList, VecDeque};
use std::fmt::Debug;
use std::hint::black_box;
use std::mem::forget;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

#[track_caller]
fn check(heap: &HeapUsage, blocks: u64, bytes: u64) {
    assert_eq!((heap.leaked_blocks, heap.leaked_bytes), (blocks, bytes));
    if blocks > 0 {
        assert!(heap.leaked_blocks <= heap.live_blocks);
    }
    let sites = heap.sites().iter();
    let sum = sites.fold((0, 0), |sum, site| {
        (sum.0 + site.leaked_blocks, sum.1 + site.leaked_bytes)
    });
    assert_eq!(sum, (blocks, bytes), "sites add up");
}

/// Neither a value nor what it owns is leaked; what is forgotten beside it is.
#[track_caller]
fn owns_everything<T: Debug>(make: impl Fn() -> T) {
    let (value, heap) = measure(&make);
    assert!(heap.live_blocks > 0);
    check(&heap, 0, 0);
    drop(value);
    let (value, heap) = measure_counts(&make);
    assert_eq!((heap.leaked_blocks, heap.leaked_bytes), (0, 0));
    drop(value);
    let (value, heap) = measure(|| {
        forget(leaked(24));
        let value = make();
        forget(leaked(40));
        value
    });
    check(&heap, 2, 64);
    drop(value);
    let ((), heap) = measure(|| forget(make()));
    check(&heap, heap.live_blocks, heap.live_bytes);
}

#[inline(never)]
fn leaked(bytes: usize) -> Vec<u8> {
    black_box(Vec::with_capacity(black_box(bytes)))
}

#[derive(Debug)]
struct Doc {
    title: String,
    words: Vec<String>,
    index: HashMap<String, Vec<usize>>,
}

#[inline(never)]
fn parse(text: &str) -> Doc {
    let words: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let mut index = HashMap::<String, Vec<usize>>::new();
    for (at, word) in words.iter().enumerate() {
        index.entry(word.clone()).or_default().push(at);
    }
    Doc {
        title: words[0].clone(),
        words,
        index,
    }
}

#[test]
fn a_document_that_is_returned_is_not_leaked() {
    let (doc, heap) = measure(|| parse("a b c"));
    heapledger::assert_heap!(
        heap.total_blocks <= 13,
        heap.max_bytes <= 64 * 1024,
        heap.leaked_blocks == 0
    );
    heapledger::assert_no_leaks!(heap);
    assert_eq!(
        (doc.title.len(), doc.words.len(), doc.index.len()),
        (1, 3, 3)
    );
    assert!(heap.live_blocks > 8);
}

#[test]
fn values_of_all_kinds() {
    owns_everything(|| Box::new(1_u8));
    owns_everything(|| leaked(1000));
    owns_everything(|| vec![Box::new(1_u64), Box::new(2)]);
    owns_everything(|| vec![vec![vec![1_u8; 3]; 4]; 5]);
    owns_everything(|| (1..1000).map(|n| n.to_string()).collect::<Vec<_>>());
    owns_everything(|| {
        (1..1000)
            .map(|n| (n, n.to_string()))
            .collect::<HashMap<_, _>>()
    });
    owns_everything(|| (1..1000).map(|n| (n, vec![n])).collect::<BTreeMap<_, _>>());
    owns_everything(|| (1..100).map(Box::new).collect::<VecDeque<_>>());
    owns_everything(|| (1..100).map(Box::new).collect::<LinkedList<_>>());
    owns_everything(|| Rc::new(String::from("text")));
    owns_everything(|| Arc::new(Mutex::new(vec![String::from("text")])));
    owns_everything(|| Some(Called(adder(3))));
    owns_everything(|| parse("the quick brown fox"));
    // Large ones, and what they point to from their ends.
    owns_everything(|| {
        let mut boxes: Vec<Option<Box<u32>>> = Vec::new();
        boxes.resize_with(100_000, || None);
        boxes[99_999] = Some(Box::new(1));
        boxes
    });
}

fn adder(number: usize) -> Box<dyn Fn() -> usize + Send> {
    let kept: Vec<usize> = (0..number).collect();
    Box::new(move || kept.len() + number)
}

struct Called(Box<dyn Fn() -> usize + Send>);

impl Debug for Called {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", (self.0)())
    }
}

/// The middle of a block leads to it, too, however large it is.
#[test]
fn a_part_of_a_text_keeps_all_of_it() {
    for bytes in [20, 1000, 100_000, 5_000_003] {
        let (word, heap) = measure(|| {
            let text: &'static str = "a".repeat(bytes).leak();
            &text[bytes - 5..bytes - 2]
        });
        assert_eq!(heap.live_bytes, bytes as u64);
        check(&heap, 0, 0);
        // Behind the end is not in it.
        let (end, heap) = measure(|| {
            let text: &'static str = "a".repeat(bytes).leak();
            text.as_bytes().as_ptr_range().end.wrapping_add(64)
        });
        check(&heap, 1, bytes as u64);
        black_box((word, end));
    }
}

#[derive(Debug)]
struct Knot {
    _name: String,
    next: RefCell<Option<Rc<Knot>>>,
}

fn knot(name: &str) -> Rc<Knot> {
    Rc::new(Knot {
        _name: name.to_owned(),
        next: RefCell::new(None),
    })
}

#[test]
fn a_cycle_that_nobody_holds_is_leaked() {
    let tie = || {
        let (one, other) = (knot("one"), knot("other"));
        *one.next.borrow_mut() = Some(other.clone());
        *other.next.borrow_mut() = Some(one.clone());
        one
    };
    let ((), heap) = measure(|| drop(tie()));
    assert_eq!(heap.live_blocks, 4);
    check(&heap, 4, heap.live_bytes);
    let text = message(|| heapledger::assert_heap!(heap.leaked_blocks == 0));
    assert!(text.contains("most leaked blocks:"), "{text}");
    assert!(text.contains("scopes::leaks::knot"), "{text}");
    let (held, heap) = measure(tie);
    check(&heap, 0, 0);
    *held.next.borrow_mut() = None;
}

#[test]
fn a_scope_is_told_its_result() {
    let scope = Scope::new();
    let inside = scope.enter();
    let doc = parse("a b c");
    forget(leaked(100));
    drop(inside);
    assert_eq!(scope.usage().leaked_blocks, scope.usage().live_blocks);
    check(&scope.usage_holding(&doc), 1, 100);
    assert_eq!(
        scope.usage_holding(&doc.title).leaked_blocks,
        scope.usage().live_blocks - 1
    );
    let (title, words) = (&doc.title, &doc.words);
    let part = scope.usage_holding(&(title, words)).leaked_blocks;
    let whole = scope
        .usage_holding(&(title, words, &doc.index))
        .leaked_blocks;
    // References lead outside of the scope, where nothing is looked at.
    assert_eq!(
        (part, whole),
        (scope.usage().live_blocks, scope.usage().live_blocks)
    );
    drop(doc);
    check(&scope.usage(), 1, 100);
}

/// What is put elsewhere is not the result's.
#[test]
fn what_goes_elsewhere_is_leaked() {
    let mut outside = Vec::with_capacity(1);
    let ((), heap) = measure(|| outside.push(Box::new(5_u64)));
    check(&heap, 1, 8);
    drop(outside);
    let (kept, outer) = measure(|| {
        let (kept, inner) = measure(|| (leaked(10), forget(leaked(20))).0);
        check(&inner, 1, 20);
        kept
    });
    check(&outer, 1, 20);
    drop(kept);
}

/// Stacks are kept of some of its blocks only.
#[test]
fn a_scope_without_stacks_around_one_with() {
    let (kept, outer) = measure_counts(|| {
        forget(leaked(100));
        let (kept, _) = measure(|| (leaked(10), forget(leaked(20))).0);
        (kept, leaked(30))
    });
    assert_eq!((outer.live_blocks, outer.live_bytes), (4, 160));
    assert_eq!((outer.leaked_blocks, outer.leaked_bytes), (2, 120));
    drop(kept);
}

/// Other threads allocate and free blocks of the scope while it is read.
#[test]
fn while_other_threads_go_on() {
    let scope = Scope::new();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(|| {
                let _inside = scope.enter();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let lists: Vec<Vec<u8>> = (1..50).map(leaked).collect();
                    black_box(&lists);
                }
            });
        }
        let inside = scope.enter();
        let kept: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
        drop(inside);
        for _ in 0..200 {
            let heap = scope.usage_holding(&kept);
            assert_eq!(heap.live_blocks - heap.leaked_blocks, 1001);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
