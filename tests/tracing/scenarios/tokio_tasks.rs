//! Tasks of tokio, which wait and go on on other threads.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{setting, tell};
use crate::{at, install};
use std::collections::HashSet;
use std::time::Duration;
use tracing::{Instrument, info_span};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("tokio/across_awaits", across_awaits, |child| {
        let ended = child.run().exited_with(0);
        assert!(
            ended.told("tasks that changed their thread") > 0,
            "{}",
            ended.stdout
        );
    }),
    Scenario::new("tokio/on_one_thread", on_one_thread, |child| {
        _ = child.run().exited_with(0)
    }),
];

#[inline(never)]
fn of_request(bytes: usize) -> Block {
    Block::new(bytes)
}

#[inline(never)]
fn of_parse(bytes: usize) -> Block {
    Block::new(bytes)
}

#[inline(never)]
fn of_nobody(bytes: usize) -> Block {
    Block::new(bytes)
}

async fn pause(number: u64) {
    match number % 3 {
        0 => tokio::time::sleep(Duration::from_micros(number % 500)).await,
        _ => tokio::task::yield_now().await,
    }
}

async fn parse(number: u64) -> Block {
    of_parse(100).free();
    pause(number).await;
    let kept = of_parse(200);
    pause(number + 1).await;
    kept
}

/// Of each request 10 + 20 bytes, and 100 + 200 in the inner span, of which the last
/// stay if the number is a multiple of four.
async fn request(number: u64) -> bool {
    let first = std::thread::current().id();
    let block = of_request(10);
    pause(number).await;
    of_request(20).free();
    let kept = parse(number).instrument(info_span!("parse")).await;
    block.free();
    match number.is_multiple_of(4) {
        true => kept.keep(),
        false => kept.free(),
    }
    first != std::thread::current().id()
}

fn run(runtime: &tokio::runtime::Runtime, requests: u64) -> u64 {
    runtime.block_on(async {
        let tasks: Vec<_> = (0..requests)
            .map(|number| {
                let task = tokio::spawn(request(number).instrument(info_span!("request", number)));
                of_nobody(5).free();
                task
            })
            .collect();
        let mut changed = 0;
        for task in tasks {
            changed += u64::from(task.await.expect("no panic"));
        }
        changed
    })
}

#[track_caller]
fn are_counted(spans: &heapledger::Spans, requests: u64) {
    let usages = spans.usages();
    let paths: HashSet<String> = usages.iter().map(|usage| usage.path()).collect();
    assert_eq!(
        paths,
        HashSet::from(["request".to_owned(), "request > parse".to_owned()])
    );
    let of = |path: &str, function: &str| {
        let site = at(&usages, path).heap.site(function);
        (site.total_blocks, site.total_bytes, site.live_blocks)
    };
    let (request, parse) = (
        "spans::tokio_tasks::of_request",
        "spans::tokio_tasks::of_parse",
    );
    assert_eq!(of("request", request), (2 * requests, 30 * requests, 0));
    assert_eq!(
        of("request > parse", parse),
        (2 * requests, 300 * requests, requests.div_ceil(4))
    );
    // Nothing of one in the other, and nothing of others in either.
    assert_eq!(of("request", parse).0, 0);
    assert_eq!(of("request > parse", request).0, 0);
    for path in ["request", "request > parse"] {
        assert_eq!(of(path, "spans::tokio_tasks::of_nobody").0, 0);
    }
}

fn across_awaits() {
    let requests = setting("HEAPLEDGER_TEST_REQUESTS", 2_000);
    let spans = install();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .expect("a runtime");
    let changed = run(&runtime, requests);
    drop(runtime);
    tell("tasks that changed their thread", changed);
    are_counted(&spans, requests);
}

/// Tasks that take turns on one thread do not get each other's blocks.
fn on_one_thread() {
    let spans = install();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    run(&runtime, 1_000);
    are_counted(&spans, 1_000);
}
