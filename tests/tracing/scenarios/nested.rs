//! Spans in spans, on one thread and on two.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::{at, install};
use heapledger::{HeapStats, Profiler, Scope};
use serde::Deserialize;
use std::sync::Barrier;
use tracing::{Span, info_span};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("nested/counts", counts, |child| {
        _ = child.run().exited_with(0)
    }),
    Scenario::new("nested/out_of_order", out_of_order, |child| {
        _ = child.run().exited_with(0)
    }),
    Scenario::new("nested/in_itself", in_itself, |child| {
        _ = child.run().exited_with(0)
    }),
    Scenario::new("nested/two_threads", two_threads, |child| {
        _ = child.run().exited_with(0)
    }),
    Scenario::new("nested/scopes", scopes, |child| {
        _ = child.run().exited_with(0)
    }),
    Scenario::new("nested/saved", saved, |child| {
        let ended = child.run().exited_with(0);
        // Beside it, the run's own profile is what it is without the layer.
        assert_eq!(ended.files(), ["dhat-heap.json", "spans.json"]);
    }),
];

#[inline(never)]
fn allocated(bytes: usize) -> Block {
    Block::new(bytes)
}

/// Blocks and bytes in the span at `path` that come from `allocated`.
#[track_caller]
fn totals(spans: &heapledger::Spans, path: &str) -> (u64, u64, u64) {
    let usages = spans.usages();
    let site = at(&usages, path).heap.site("spans::nested::allocated");
    (site.total_blocks, site.total_bytes, site.live_bytes)
}

fn counts() {
    let spans = install();
    assert!(spans.usages().is_empty());
    allocated(1).free();
    let mut kept = None;
    for _ in 0..10 {
        info_span!("outer").in_scope(|| {
            allocated(10).free();
            info_span!("inner").in_scope(|| {
                allocated(100).free();
                let old = kept.replace(allocated(1000));
                // Of the same span.
                old.into_iter().for_each(Block::free);
            });
            allocated(20).free();
        });
        info_span!("inner").in_scope(|| allocated(7).free());
        allocated(3).free();
    }
    assert_eq!(totals(&spans, "outer"), (20, 300, 0));
    assert_eq!(totals(&spans, "outer > inner"), (20, 11_000, 1000));
    assert_eq!(totals(&spans, "inner"), (10, 70, 0));
    // Outside of all spans: it still counts where it was allocated.
    kept.into_iter().for_each(Block::free);
    assert_eq!(totals(&spans, "outer > inner"), (20, 11_000, 0));
    let usages = spans.usages();
    assert_eq!(usages.len(), 3);
    let outer = at(&usages, "outer");
    let inner = at(&usages, "outer > inner");
    assert_eq!(
        outer.total_bytes_within,
        outer.heap.total_bytes + inner.heap.total_bytes
    );
    assert_eq!((outer.name, outer.target), ("outer", "spans::nested"));
    assert!(inner.heap.max_bytes >= 1100 && inner.heap.max_bytes < 5000);
    let table = spans.to_string();
    assert!(
        table
            .lines()
            .nth(1)
            .is_some_and(|line| line.ends_with("  outer > inner")),
        "{table}"
    );
    assert_eq!(table.lines().count(), 4);
    let stacks = inner.heap.sites();
    let frames = stacks[0].frames();
    assert!(
        frames
            .iter()
            .any(|frame| frame.function.ends_with("nested::counts")),
        "{frames:?}"
    );
}

/// `tracing` allows it, so the counts must stand it.
fn out_of_order() {
    let spans = install();
    let (first, second) = (info_span!("first"), info_span!("second"));
    let in_first = first.enter();
    let in_second = second.enter();
    allocated(1).free();
    drop(in_first);
    allocated(10).free();
    drop(in_second);
    allocated(100).free();
    assert_eq!(totals(&spans, "second"), (2, 11, 0));
    assert_eq!(
        at(&spans.usages(), "first")
            .heap
            .site("spans::nested::allocated")
            .total_blocks,
        0
    );
    // Nothing is left behind.
    first.in_scope(|| allocated(1000).free());
    assert_eq!(totals(&spans, "first"), (1, 1000, 0));
}

fn in_itself() {
    fn descend(depth: usize) {
        info_span!("level").in_scope(|| {
            allocated(1).free();
            info_span!("between").in_scope(|| allocated(10).free());
            if depth > 1 {
                descend(depth - 1);
            }
        });
    }
    let spans = install();
    // More than a thread keeps track of.
    descend(200);
    allocated(1).free();
    let usages = spans.usages();
    let paths: Vec<String> = usages.iter().map(|usage| usage.path()).collect();
    assert_eq!(paths, ["level", "level > between"]);
    let (level, between) = (totals(&spans, "level"), totals(&spans, "level > between"));
    assert_eq!(level.0 + between.0, 400);
    assert_eq!(level.1 + between.1, 200 * 11);
    assert!(between.0 >= 127, "{between:?}");
}

/// One span, entered by two threads at a time.
fn two_threads() {
    const TIMES: usize = 2_000;
    let spans = install();
    let span = info_span!("shared");
    let both = &Barrier::new(2);
    let work = |span: Span, bytes: usize| {
        both.wait();
        for _ in 0..TIMES {
            span.in_scope(|| allocated(bytes).free());
            allocated(1).free();
        }
    };
    std::thread::scope(|scope| {
        let of_other = span.clone();
        scope.spawn(move || work(of_other, 10));
        work(span.clone(), 20);
    });
    drop(span);
    assert_eq!(totals(&spans, "shared"), (4_000, 60_000, 0));
}

/// Scopes inside of spans, and spans inside of scopes.
fn scopes() {
    let spans = install();
    let scope = Scope::new();
    let around = scope.enter();
    info_span!("span").in_scope(|| {
        allocated(10).free();
        let inside = Scope::new();
        {
            let _inside = inside.enter();
            allocated(100).free();
        }
        assert_eq!(inside.usage().total_bytes, 100);
        allocated(10).free();
    });
    allocated(1000).free();
    drop(around);
    assert_eq!(totals(&spans, "span").0, 3);
    let site = scope.usage().site("spans::nested::allocated");
    assert_eq!((site.total_blocks, site.total_bytes), (1, 1000));
}

#[derive(Deserialize)]
struct Point {
    tb: u64,
    tbk: u64,
    fs: Vec<usize>,
}

#[derive(Deserialize)]
struct File {
    pps: Vec<Point>,
    ftbl: Vec<String>,
}

/// The spans are frames.
fn saved() {
    let spans = install();
    let profiler = Profiler::new_heap();
    let before = HeapStats::get().total_blocks;
    info_span!("outer").in_scope(|| {
        allocated(10).free();
        info_span!("inner").in_scope(|| allocated(100).free());
    });
    let of_run = HeapStats::get().total_blocks - before;
    spans.save("spans.json").expect("saves");
    let usages = spans.usages();
    let total: u64 = usages.iter().map(|usage| usage.heap.total_blocks).sum();
    // What `tracing` itself allocates is in the run, and mostly outside of the spans.
    assert!(total >= 2 && of_run >= total, "{of_run} {total}");
    drop(profiler);
    let text = std::fs::read_to_string("spans.json").expect("the file");
    let file: File = serde_json::from_str(&text).expect("JSON");
    let sum_of = |frame: &str| {
        let number = file
            .ftbl
            .iter()
            .position(|text| text == frame)
            .expect("the frame");
        let points = file.pps.iter().filter(|point| point.fs.contains(&number));
        points.fold((0, 0), |sum, point| (sum.0 + point.tbk, sum.1 + point.tb))
    };
    let (outer, inner) = (at(&usages, "outer"), at(&usages, "outer > inner"));
    assert_eq!(
        sum_of("span: inner"),
        (inner.heap.total_blocks, inner.heap.total_bytes)
    );
    assert_eq!(
        sum_of("span: outer"),
        (outer.total_blocks_within, outer.total_bytes_within)
    );
    let outermost = file.pps.iter().filter_map(|point| point.fs.last());
    assert!(
        outermost
            .into_iter()
            .all(|&frame| file.ftbl[frame] == "span: outer")
    );
}
