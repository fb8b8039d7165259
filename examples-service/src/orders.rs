//! The service's work: orders, the last of which it remembers.

use axum::Json;
use axum::extract::Query;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Mutex;

const REMEMBERED: usize = 20_000;

static ORDERS: Mutex<VecDeque<Order>> = Mutex::new(VecDeque::new());

#[derive(Debug, Deserialize)]
pub(crate) struct Page {
    count: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Order {
    number: usize,
    customer: String,
    lines: Vec<String>,
}

/// `GET /orders?count=N`: so many new ones.
pub(crate) async fn page(Query(page): Query<Page>) -> Json<Vec<Order>> {
    let orders: Vec<Order> = (0..page.count.min(10_000)).map(make_order).collect();
    remember(&orders);
    Json(orders)
}

#[inline(never)]
fn make_order(number: usize) -> Order {
    Order {
        number,
        customer: format!("customer {}", number % 97),
        lines: (0..5)
            .map(|line| format!("{line} of article {number}"))
            .collect(),
    }
}

#[inline(never)]
fn remember(orders: &[Order]) {
    let mut remembered = ORDERS.lock().expect("no panic under the lock");
    remembered.extend(orders.iter().cloned());
    let surplus = remembered.len().saturating_sub(REMEMBERED);
    remembered.drain(..surplus);
}
