//! A service answers requests: it parses each one's JSON, looks something up, and
//! labels its metrics. Where does its processor time go? Everybody looks at the
//! parser. But most of it goes to the allocator, which hands out the labels' strings
//! and gets them all back when the request is answered.
//!
//! Run with `cargo run --release --example json_service`; the profile is
//! `json_service.json`.

use serde::Deserialize;
use std::collections::HashMap;
use std::hint::black_box;

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

#[derive(Deserialize)]
struct Request<'a> {
    user: u64,
    #[serde(borrow)]
    items: Vec<&'a str>,
}

const ITEMS: [&str; 8] = [
    "apple", "bread", "cheese", "dates", "eggs", "figs", "grapes", "honey",
];

fn parse(text: &str) -> Request<'_> {
    serde_json::from_str(text).expect("a request")
}

/// A string for each dimension of each item, and nobody reads most of them.
fn label_metrics(request: &Request<'_>) -> Vec<String> {
    let mut labels = Vec::with_capacity(8 * request.items.len());
    for item in &request.items {
        for dimension in [
            "region", "shard", "tenant", "tier", "zone", "cell", "build", "item",
        ] {
            labels.push(if dimension == "item" {
                item.to_string()
            } else {
                dimension.to_string()
            });
        }
    }
    labels
}

fn answer(prices: &HashMap<&str, u64>, text: &str) -> u64 {
    let request = parse(text);
    let labels = label_metrics(&request);
    let sum: u64 = request.items.iter().map(|item| prices[item]).sum();
    sum + request.user + black_box(labels).len() as u64
}

fn main() {
    let prices: HashMap<&str, u64> = ITEMS.iter().copied().zip(1..).collect();
    let requests: Vec<String> = (0..1000)
        .map(|user| format!(r#"{{"user":{user},"items":{ITEMS:?}}}"#))
        .collect();
    let _profiler = heapledger::Profiler::builder()
        .timing(true)
        .file_name("json_service.json")
        .build();
    let rounds = if cfg!(debug_assertions) { 10 } else { 200 };
    let answers = (0..rounds).flat_map(|_| &requests);
    let sum: u64 = answers.map(|request| answer(&prices, request)).sum();
    println!("{} requests, {sum}", rounds * requests.len());
}
