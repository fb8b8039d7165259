//! Ad hoc profiling: events, and allocations that do not count.

use crate::heap;
use std::mem::ManuallyDrop;

fn show(step: &str) {
    let stats = dhat::AdHocStats::get();
    assert_eq!(stats, stats.clone());
    println!("{step}: {stats:?}");
}

#[inline(never)]
fn outer() {
    inner();
    dhat::ad_hoc_event(3);
}

#[inline(never)]
fn inner() {
    dhat::ad_hoc_event(1);
    dhat::ad_hoc_event(2);
}

#[inline(never)]
fn in_a_loop() {
    for weight in 0..100 {
        dhat::ad_hoc_event(weight);
    }
}

pub(crate) fn steps() {
    dhat::ad_hoc_event(1000); // before: not counted
    let profiler = dhat::Profiler::builder()
        .ad_hoc()
        .file_name("ad_hoc_steps.json")
        .build();
    show("start");
    outer();
    show("nested");
    in_a_loop();
    show("a loop");
    dhat::ad_hoc_event(0);
    show("without weight");
    std::thread::scope(|scope| {
        scope.spawn(in_a_loop);
    });
    show("on another thread");
    drop(std::hint::black_box(vec![1_u8; 1000]));
    show("an allocation is no event");
    drop(profiler);
    dhat::ad_hoc_event(1000); // afterwards: not counted
}

pub(crate) fn default_file() {
    let _profiler = dhat::Profiler::new_ad_hoc();
    outer();
}

pub(crate) fn memory_output() {
    let builder = dhat::Profiler::builder().eprint_json().ad_hoc();
    let mut profiler = ManuallyDrop::new(builder.build());
    outer();
    in_a_loop();
    let output = profiler.drop_and_get_memory_output();
    heap::write("ad_hoc_memory_output.json", &output);
}
