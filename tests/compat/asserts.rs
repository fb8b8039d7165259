//! Testing mode: assertions, what they say and what they save.

use std::cell::Cell;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};

pub(crate) fn hold() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let first = black_box(vec![1_u32, 2, 3, 4]);
    drop(black_box(vec![5_u32, 6, 7, 8]));
    let stats = dhat::HeapStats::get();
    println!("{stats:?}");
    dhat::assert!(stats.total_blocks == 2);
    dhat::assert!(stats.total_blocks == 2, "with a message");
    dhat::assert!(
        stats.total_blocks == 2,
        "with {} {arguments}",
        2,
        arguments = "arguments"
    );
    dhat::assert_eq!(stats.total_bytes, 32);
    dhat::assert_eq!(stats.total_bytes, 32, "with {}", "arguments");
    dhat::assert_ne!(stats.curr_bytes, 32);
    dhat::assert_ne!(stats.curr_bytes, 32, "with {}", "arguments");
    // What an assertion allocates is not counted.
    dhat::assert_eq!(format!("{}", first.len()), "4");
    println!("{:?}", dhat::HeapStats::get());
}

/// Each assertion that can fail, in a run of its own.
pub(crate) fn fail() {
    let value = 7_u32;
    let calls = Cell::new(0_u32);
    let next = || {
        calls.set(calls.get() + 1);
        calls.get()
    };
    failure("assert", || dhat::assert!(value == 8));
    failure("assert_text", || dhat::assert!(value == 8, "text"));
    failure("assert_args", || {
        dhat::assert!(value == 8, "{} {value:>3}", 1)
    });
    failure("assert_eq", || dhat::assert_eq!(value, 8));
    failure("assert_eq_args", || {
        dhat::assert_eq!(value, 8, "because of {value}")
    });
    failure("assert_ne", || dhat::assert_ne!(value, 7));
    failure("assert_ne_args", || {
        dhat::assert_ne!(value, 7, "because of {}", value)
    });
    failure("assert_eq_calls", || dhat::assert_eq!(next(), 100));
    println!("evaluated {} times", calls.get());
    failure("assert_eq_strings", || {
        dhat::assert_eq!(String::from("a"), "b")
    });
}

/// Prints the message that `assertion` fails with; the profile is saved to a
/// file with its name.
fn failure(name: &str, assertion: impl FnOnce()) {
    let profiler = dhat::Profiler::builder()
        .testing()
        .file_name(format!("fail_{name}.json"))
        .build();
    let kept = black_box(vec![1_u8; 10_000]);
    println!("{name}: {}", panic_message(assertion));
    drop(kept);
    drop(profiler);
}

fn panic_message(f: impl FnOnce()) -> String {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(()) => String::from("no panic"),
        Err(payload) => match payload.downcast::<String>() {
            Ok(message) => *message,
            Err(payload) => match payload.downcast::<&str>() {
                Ok(message) => message.to_string(),
                Err(_) => String::from("not a string"),
            },
        },
    }
}

/// A failed assertion ends the run: what comes later is not in the profile.
pub(crate) fn save() {
    let profiler = dhat::Profiler::builder().testing().build();
    let kept = black_box(vec![1_u8; 1234]);
    println!("{}", panic_message(|| dhat::assert_eq!(dhat_bytes(), 1)));
    let later = black_box(vec![1_u8; 99_999]);
    println!("{}", panic_message(|| dhat::assert!(true)));
    println!("{}", panic_message(|| drop(dhat::HeapStats::get())));
    println!("{}", panic_message(|| drop(dhat::Profiler::new_heap())));
    drop((kept, later));
    drop(profiler);

    let _profiler = dhat::Profiler::builder().ad_hoc().testing().build();
    dhat::ad_hoc_event(41);
    let stats = dhat::AdHocStats::get();
    println!(
        "{}",
        panic_message(|| dhat::assert_eq!(stats.total_units, 42))
    );
    println!("{}", panic_message(|| drop(dhat::AdHocStats::get())));
}

fn dhat_bytes() -> usize {
    2
}
