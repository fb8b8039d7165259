//! Two hundred tests, each with an expectation of its own, which do not see each
//! other, nor the harness, however they are run.

use heapledger::{HeapUsage, Scope, measure, measure_counts};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::Command;
use std::thread;

const TESTS: u64 = 200;

/// What a test does and what it must count, both given by its number.
struct Expected {
    blocks: u64,
    bytes: u64,
    max_bytes: u64,
    live_bytes: u64,
    reallocs: u64,
}

/// Allocates in ways that differ from test to test, with pauses in which others run.
#[inline(never)]
fn work(number: u64) -> Vec<u8> {
    let size = number as usize + 1;
    let boxes: Vec<Vec<u8>> = (0..size)
        .map(|_| {
            thread::yield_now();
            black_box(vec![0; size])
        })
        .collect();
    let mut grown = Vec::<u8>::with_capacity(8);
    for step in 1..=number as usize % 7 {
        grown.reserve_exact(8 * (step + 1));
        thread::yield_now();
    }
    drop(boxes);
    grown
}

fn expected(number: u64) -> Expected {
    let (size, steps) = (number + 1, number % 7);
    let grown_bytes: u64 = (1..=steps).map(|step| 8 * (step + 1)).sum();
    let headers = 24 * size;
    let largest_grown = 8 * (steps + 1);
    Expected {
        blocks: 1 + size + 1 + steps,
        bytes: headers + size * size + 8 + grown_bytes,
        max_bytes: headers + size * size + largest_grown,
        live_bytes: largest_grown,
        reallocs: steps,
    }
}

#[track_caller]
fn check(number: u64, heap: &HeapUsage) {
    let expected = expected(number);
    heapledger::assert_heap!(
        heap.total_blocks == expected.blocks,
        heap.total_bytes == expected.bytes,
        heap.max_bytes == expected.max_bytes,
        heap.live_bytes == expected.live_bytes,
        heap.live_blocks == 1,
        heap.reallocs == expected.reallocs,
    );
}

/// Every way to make a scope has its turn.
fn test(number: u64) {
    assert!(number < TESTS);
    let before: BTreeMap<u64, String> = (0..number).map(|n| (n, n.to_string())).collect();
    let (kept, heap) = match number % 4 {
        0 => measure(|| work(number)),
        1 => measure_counts(|| work(number)),
        2 => {
            let scope = Scope::new();
            let other = scope.clone();
            let kept = thread::spawn(move || {
                let _inside = other.enter();
                work(number)
            });
            let kept = kept.join().expect("joins");
            (kept, scope.usage())
        }
        _ => {
            let (kept, outer) = measure(|| measure_counts(|| work(number)));
            check(number, &outer);
            kept
        }
    };
    drop(before);
    check(number, &heap);
    drop(kept);
}

macro_rules! ten {
    ($($group:ident $tens:literal)+) => {
        $(mod $group {
            #[test]
            fn test_0() { super::test($tens * 10) }
            #[test]
            fn test_1() { super::test($tens * 10 + 1) }
            #[test]
            fn test_2() { super::test($tens * 10 + 2) }
            #[test]
            fn test_3() { super::test($tens * 10 + 3) }
            #[test]
            fn test_4() { super::test($tens * 10 + 4) }
            #[test]
            fn test_5() { super::test($tens * 10 + 5) }
            #[test]
            fn test_6() { super::test($tens * 10 + 6) }
            #[test]
            fn test_7() { super::test($tens * 10 + 7) }
            #[test]
            fn test_8() { super::test($tens * 10 + 8) }
            #[test]
            fn test_9() { super::test($tens * 10 + 9) }
        })+
    };
}

ten! {
    ten_0 0  ten_1 1  ten_2 2  ten_3 3  ten_4 4  ten_5 5  ten_6 6  ten_7 7  ten_8 8  ten_9 9
    ten_10 10  ten_11 11  ten_12 12  ten_13 13  ten_14 14  ten_15 15  ten_16 16  ten_17 17
    ten_18 18  ten_19 19
}

/// Wrong on purpose, to see that the two hundred can fail: run on request, by
/// [`what_is_wrong_is_told`].
mod control {
    use super::{check, work};
    use heapledger::Scope;
    use std::thread;

    /// A neighbour's block comes in.
    #[test]
    #[ignore = "wrong on purpose: what_is_wrong_is_told runs it"]
    fn a_block_too_many() {
        let scope = Scope::new();
        let other = scope.clone();
        let neighbour = thread::spawn(move || {
            let _inside = other.enter();
            drop(std::hint::black_box(vec![0_u8; 1]));
        });
        neighbour.join().expect("joins");
        let kept = {
            let _inside = scope.enter();
            work(42)
        };
        check(42, &scope.usage());
        drop(kept);
    }

    /// A part of the work is on a thread that does not enter.
    #[test]
    #[ignore = "wrong on purpose: what_is_wrong_is_told runs it"]
    fn a_block_too_few() {
        let (kept, heap) = heapledger::measure(|| {
            let rest = thread::scope(|threads| {
                let worker = threads.spawn(|| drop(std::hint::black_box(vec![0_u8; 43])));
                worker.join()
            });
            rest.expect("joins");
            work(41)
        });
        check(42, &heap);
        drop(kept);
    }

    /// What another test expects.
    #[test]
    #[ignore = "wrong on purpose: what_is_wrong_is_told runs it"]
    fn of_another_number() {
        let (kept, heap) = heapledger::measure(|| work(42));
        check(43, &heap);
        drop(kept);
    }

    /// Freed before it is counted.
    #[test]
    #[ignore = "wrong on purpose: what_is_wrong_is_told runs it"]
    fn nothing_kept() {
        let ((), heap) = heapledger::measure(|| drop(work(42)));
        check(42, &heap);
    }

    /// As it must be: the others fail for their reason alone.
    #[test]
    #[ignore = "what_is_wrong_is_told runs it beside those that are wrong"]
    fn right() {
        let (kept, heap) = heapledger::measure(|| work(42));
        check(42, &heap);
        drop(kept);
    }
}

#[test]
fn what_is_wrong_is_told() {
    let this = std::env::current_exe().expect("path of this binary");
    let mut command = Command::new(this);
    command.args(["isolation::control::", "--ignored", "--test-threads=8"]);
    let output = command.output().expect("starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("1 passed; 4 failed;"), "{text}");
    for (test, told) in [
        (
            "a_block_too_many",
            "heap.total_blocks == expected.blocks\n  left: 46\n right: 45\n",
        ),
        (
            "of_another_number",
            "heap.total_blocks == expected.blocks\n  left: 45\n right: 47\n",
        ),
        (
            "nothing_kept",
            "heap.live_bytes == expected.live_bytes\n  left: 0\n",
        ),
        ("a_block_too_few", "heap.total_blocks == expected.blocks\n"),
    ] {
        let of_test = format!("---- isolation::control::{test} stdout ----");
        let (_, message) = text
            .split_once(&of_test)
            .unwrap_or_else(|| panic!("{text}"));
        let message = message.split("\n---- ").next().unwrap_or_default();
        assert!(message.contains(told), "{test}: {message}");
    }
    assert!(
        text.contains("test isolation::control::right ... ok"),
        "{text}"
    );
}

/// How often the two hundred run with eight threads; more on request.
fn rounds() -> u32 {
    let rounds = std::env::var("HEAPLEDGER_TEST_ROUNDS");
    rounds.map_or(50, |rounds| rounds.parse().expect("a number of rounds"))
}

fn run(threads: u32) {
    let this = std::env::current_exe().expect("path of this binary");
    let mut command = Command::new(this);
    command.arg("isolation::ten_");
    command.arg(format!("--test-threads={threads}"));
    let output = command.output().expect("starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{threads} threads:\n{text}");
    let passed = format!("test result: ok. {TESTS} passed; 0 failed;");
    assert!(text.contains(&passed), "{text}");
}

#[test]
fn fifty_rounds_with_eight_threads_and_one_alone() {
    run(1);
    for _ in 0..rounds() {
        run(8);
    }
}
