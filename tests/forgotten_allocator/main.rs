//! A program that profiles its heap, but has forgotten `#[global_allocator]`:
//! said out loud, not answered with zeros.

#[path = "../support/mod.rs"]
mod support;

use heapledger::{AdHocStats, HeapStats, Profiler};
use std::panic::catch_unwind;
use support::Scenario;
use support::child::tell;

const MESSAGE: &str = "error: no allocation can be recorded, because heapledger is not the \
    program's allocator; add: #[global_allocator] static ALLOC: heapledger::Alloc = heapledger::Alloc;";

const SCENARIOS: &[Scenario] = &[
    Scenario::new("forgotten/heap", heap, |child| {
        let ended = child.run().exited_with(4);
        let line = format!("heapledger: {MESSAGE}");
        assert_eq!(
            ended.our_lines(),
            [&line, &line],
            "at the start and at the end"
        );
        assert_eq!(ended.files(), Vec::<String>::new());
        assert_eq!(ended.told("stats refused"), 1);
        assert_eq!(ended.told("program's result"), 4950);
    }),
    Scenario::new("forgotten/assertion", assertion, |child| {
        let ended = child.run().exited_with(101);
        assert!(
            ended
                .stderr
                .contains("heapledger is not the program's allocator")
        );
        assert!(
            !ended.stderr.contains("dhat: assertion failed"),
            "{}",
            ended.stderr
        );
        assert_eq!(ended.files(), Vec::<String>::new());
    }),
    Scenario::new("forgotten/scope", scope, |child| {
        let ended = child.run().exited_with(101);
        assert!(
            ended
                .stderr
                .contains("heapledger is not the program's allocator"),
            "{}",
            ended.stderr
        );
    }),
    Scenario::new("forgotten/ad_hoc", ad_hoc, |child| {
        let ended = child.run().exited_with(0);
        assert!(!ended.stderr.contains("error"), "{}", ended.stderr);
        assert_eq!(ended.files(), ["dhat-ad-hoc.json"]);
        assert_eq!(ended.told("units"), 12);
    }),
];

fn main() {
    support::main(&[SCENARIOS]);
}

fn heap() {
    let profiler = Profiler::new_heap();
    let numbers: Vec<u64> = (0..100).collect();
    tell("program's result", numbers.iter().sum());
    let message = match catch_unwind(HeapStats::get) {
        Ok(stats) => panic!("answered {stats:?}"),
        Err(panic) => match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => (*panic.downcast::<&str>().expect("a text")).to_owned(),
        },
    };
    tell("stats refused", u64::from(message == MESSAGE));
    drop(profiler);
    std::process::exit(4);
}

fn assertion() {
    let _profiler = Profiler::builder().testing().build();
    heapledger::assert!(1 + 1 == 3);
}

fn scope() {
    heapledger::measure(|| ());
}

/// Ad hoc profiles need no allocator.
fn ad_hoc() {
    let _profiler = Profiler::new_ad_hoc();
    heapledger::ad_hoc_event(5);
    heapledger::ad_hoc_event(7);
    tell("units", AdHocStats::get().total_units);
}
