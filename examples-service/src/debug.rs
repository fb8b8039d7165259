//! What the service tells of its heap.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use heapledger::{Format, HeapGauges, Snapshot, SnapshotError};
use std::fmt::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two profiles: whoever asks more often is told to come back.
const PAUSE: Duration = Duration::from_secs(1);

static LAST: Mutex<Option<Instant>> = Mutex::new(None);

/// `GET /debug/pprof/heap`
pub(crate) async fn heap() -> Response {
    if !may_ask() {
        return later("profiles are served once a second");
    }
    // Names are looked up meanwhile: not on a thread that serves others.
    let profile = tokio::task::spawn_blocking(|| {
        let snapshot = Snapshot::take()?;
        let mut body = Vec::new();
        let written = snapshot.write(&Format::Pprof, &mut body);
        Ok::<_, SnapshotError>(written.map(|()| body))
    });
    match profile.await {
        Ok(Ok(Ok(body))) => {
            ([(header::CONTENT_TYPE, "application/octet-stream")], body).into_response()
        }
        Ok(Err(SnapshotError::Busy)) => later("another profile is being made"),
        Ok(Err(error)) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
        Ok(Ok(Err(error))) => failed(&error),
        Err(error) => failed(&error),
    }
}

fn may_ask() -> bool {
    let mut last = LAST.lock().expect("no panic under the lock");
    let now = Instant::now();
    let may = last.is_none_or(|last| now.duration_since(last) >= PAUSE);
    if may {
        *last = Some(now);
    }
    may
}

fn later(why: &'static str) -> Response {
    let seconds = [(header::RETRY_AFTER, "1")];
    (StatusCode::TOO_MANY_REQUESTS, seconds, why).into_response()
}

fn failed(error: &dyn std::error::Error) -> Response {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
}

/// `GET /metrics`
pub(crate) async fn metrics() -> Response {
    let Some(gauges) = HeapGauges::read() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "no profiler is running").into_response();
    };
    let mut text = String::new();
    for (name, kind, value) in [
        ("heap_live_bytes", "gauge", gauges.live_bytes),
        ("heap_live_blocks", "gauge", gauges.live_blocks),
        ("heap_allocated_bytes_total", "counter", gauges.total_bytes),
        (
            "heap_allocated_blocks_total",
            "counter",
            gauges.total_blocks,
        ),
    ] {
        // Writing to a string cannot fail.
        let _ = write!(text, "# TYPE {name} {kind}\n{name} {value}\n");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}
