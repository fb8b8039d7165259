//! A web service that stays profiled: `/debug/pprof/heap` is what `go tool pprof` and the
//! collectors that speak its format fetch, `/metrics` what Prometheus scrapes.
//!
//! `cargo run --release -p examples-service`, then
//! `go tool pprof -top http://127.0.0.1:3000/debug/pprof/heap`

mod debug;
mod orders;

use axum::Router;
use axum::routing::get;
use std::io::Write;
use tokio::net::TcpListener;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

/// A profile tells the names of functions and the command line: it is for this machine alone,
/// unless somebody says otherwise.
const LISTEN: &str = "127.0.0.1:3000";

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let _profiler = heapledger::Profiler::builder()
        .sample_bytes(sample_bytes())
        .quiet()
        .file_name("/dev/null")
        .build();
    let service = Router::new()
        .route("/orders", get(orders::page))
        .route("/debug/pprof/heap", get(debug::heap))
        .route("/metrics", get(debug::metrics));
    let address = std::env::var("LISTEN").unwrap_or_else(|_| LISTEN.into());
    let listener = TcpListener::bind(address).await?;
    // In one write, for who waits for it.
    let line = format!("listening on http://{}\n", listener.local_addr()?);
    std::io::stdout().write_all(line.as_bytes())?;
    axum::serve(listener, service).await
}

fn sample_bytes() -> u64 {
    let text = std::env::var("SAMPLE_BYTES").ok();
    text.and_then(|text| text.parse().ok())
        .unwrap_or(512 * 1024)
}
