//! What must not be done, and the message for each.

pub(crate) fn heap() {
    nothing_running();
    {
        let _profiler = dhat::Profiler::builder()
            .file_name("panics_heap.json")
            .build();
        dhat::assert_is_panic(
            dhat::Profiler::new_heap,
            "dhat: creating a profiler while a profiler is already running",
        );
        dhat::assert_is_panic(
            dhat::AdHocStats::get,
            "dhat: getting ad hoc stats while doing heap profiling",
        );
        not_testing();
        // Neither counted nor refused.
        dhat::ad_hoc_event(1);
    }
    nothing_running();
    println!("heap");
}

pub(crate) fn ad_hoc() {
    nothing_running();
    {
        let _profiler = dhat::Profiler::builder()
            .ad_hoc()
            .file_name("panics_ad_hoc.json")
            .build();
        dhat::assert_is_panic(
            dhat::Profiler::new_ad_hoc,
            "dhat: creating a profiler while a profiler is already running",
        );
        dhat::assert_is_panic(
            dhat::HeapStats::get,
            "dhat: getting heap stats while doing ad hoc profiling",
        );
        not_testing();
    }
    nothing_running();
    println!("ad hoc");
}

fn nothing_running() {
    dhat::assert_is_panic(
        dhat::HeapStats::get,
        "dhat: getting heap stats when no profiler is running",
    );
    dhat::assert_is_panic(
        dhat::AdHocStats::get,
        "dhat: getting ad hoc stats when no profiler is running",
    );
    dhat::assert_is_panic(
        || dhat::assert!(true),
        "dhat: asserting when no profiler is running",
    );
    dhat::assert_is_panic(
        || dhat::assert_eq!(1, 1),
        "dhat: asserting when no profiler is running",
    );
    // The tests of the tests.
    let inner = || dhat::assert_is_panic(|| (), "");
    dhat::assert_is_panic(inner, "assert_is_panic: Not an error");
}

fn not_testing() {
    dhat::assert_is_panic(
        || dhat::assert!(true),
        "dhat: asserting while not in testing mode",
    );
    dhat::assert_is_panic(
        || dhat::assert_ne!(1, 2),
        "dhat: asserting while not in testing mode",
    );
}
