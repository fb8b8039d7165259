//! Allocations by span: nested, across awaits and threads, beside a profiler.

#[path = "../../support/mod.rs"]
mod support;

mod nested;
mod tokio_tasks;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

fn main() {
    support::main(&[nested::SCENARIOS, tokio_tasks::SCENARIOS]);
}

/// The usage of the span at `path`.
#[track_caller]
fn at<'a>(usages: &'a [heapledger::SpanUsage], path: &str) -> &'a heapledger::SpanUsage {
    match usages.iter().find(|usage| usage.path() == path) {
        Some(usage) => usage,
        None => panic!(
            "no span {path}: {:?}",
            usages.iter().map(|usage| usage.path()).collect::<Vec<_>>()
        ),
    }
}

/// Installs the layer for the whole process.
fn install() -> heapledger::Spans {
    use tracing_subscriber::prelude::*;
    let layer = heapledger::SpanLayer::new();
    let spans = layer.spans();
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::set_global_default(subscriber).expect("the first");
    spans
}
