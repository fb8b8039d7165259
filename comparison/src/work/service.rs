//! A service under load, `parameter` connections with a thread each: it reads the headers and the JSON of a request,
//! looks up what is ordered in a catalogue that all threads share, keeps the order among the recent ones, where
//! another thread's order falls out, and writes the answer as JSON, and a line of a log.
//!
//! The clients are another process, so that what they use is not counted. As many requests for any number of
//! connections.

use super::{Done, Numbers, Work, mix};
use serde_json::{Map, Value};
use std::collections::{HashMap, VecDeque};
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, RwLock};

const REQUESTS: usize = 300_000;
/// Of which the requests are copies.
const DISTINCT: usize = 500;
const PRODUCTS: u64 = 5_000;
const RECENT: usize = 10_000;

struct Product {
    name: String,
    cents: u64,
    stock: u64,
}

struct Line {
    name: String,
    quantity: u64,
    cents: u64,
}

struct Order {
    customer: String,
    lines: Vec<Line>,
}

struct Service {
    catalogue: RwLock<HashMap<String, Product>>,
    recent: Mutex<VecDeque<Arc<Order>>>,
}

pub(super) fn prepare(connections: usize) -> Work {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    // SAFETY: this process has no other thread yet, so that the copy's locks are free.
    if unsafe { libc::fork() } == 0 {
        send_requests(address, connections);
        // SAFETY: ends the copy, which has nothing to write.
        unsafe { libc::_exit(0) };
    }
    Box::new(move || {
        let service = Service {
            catalogue: RwLock::new(catalogue()),
            recent: Mutex::new(VecDeque::new()),
        };
        let checksum = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..connections)
                .map(|_| {
                    let (stream, _) = listener.accept().expect("a client");
                    scope.spawn(|| service.serve(stream))
                })
                .collect();
            let sums = workers
                .into_iter()
                .map(|worker| worker.join().expect("no panic"));
            // Which thread did what is chance; the sum is not.
            sums.fold(0, u64::wrapping_add)
        });
        Done {
            checksum,
            operations: REQUESTS as u64,
        }
    })
}

/// All clients, each of which waits for an answer before it asks again.
fn send_requests(address: SocketAddr, connections: usize) {
    let mut numbers = Numbers(1);
    let requests: Vec<Vec<u8>> = (0..DISTINCT).map(|_| request(&mut numbers)).collect();
    std::thread::scope(|scope| {
        for first in 0..connections {
            let mut stream = TcpStream::connect(address).expect("the service listens");
            let requests = &requests;
            scope.spawn(move || {
                stream.set_nodelay(true).expect("a socket");
                let mut answer = Vec::new();
                for number in (first..REQUESTS).step_by(connections) {
                    stream
                        .write_all(&requests[number % DISTINCT])
                        .expect("it reads");
                    assert!(read_message(&mut stream, &mut answer), "an answer");
                }
            });
        }
    });
}

/// Reads headers and as much as they say. False: the other side has closed.
fn read_message(stream: &mut TcpStream, message: &mut Vec<u8>) -> bool {
    const END: &[u8] = b"\r\n\r\n";
    message.clear();
    let mut part = [0; 4096];
    let mut expected = None;
    while expected.is_none_or(|expected| message.len() < expected) {
        match stream.read(&mut part) {
            Ok(0) | Err(_) => return false,
            Ok(count) => message.extend_from_slice(&part[..count]),
        }
        if expected.is_none() {
            let head = message.windows(END.len()).position(|bytes| bytes == END);
            expected = head.map(|head| {
                let text = std::str::from_utf8(&message[..head]).expect("ours");
                let (_, length) = text.rsplit_once(' ').expect("its length comes last");
                head + END.len() + length.parse::<usize>().expect("a number")
            });
        }
    }
    true
}

fn sku(number: u64) -> String {
    format!("SKU-{number:06}")
}

fn catalogue() -> HashMap<String, Product> {
    let mut numbers = Numbers(2);
    let products = (0..PRODUCTS).map(|number| {
        let mut name = String::new();
        let letters = 6 + numbers.below(20);
        numbers.push_word(letters, &mut name);
        let product = Product {
            name,
            cents: 100 + numbers.below(100_000),
            stock: 1_000_000_000,
        };
        (sku(number), product)
    });
    products.collect()
}

/// As a client sends it.
fn request(numbers: &mut Numbers) -> Vec<u8> {
    let mut body = String::from(r#"{"customer":{"id":"#);
    let _ = write!(body, r#"{},"name":""#, numbers.below(100_000));
    numbers.push_word(12, &mut body);
    body.push_str(r#"","address":{"street":""#);
    numbers.push_word(18, &mut body);
    let _ = write!(
        body,
        r#"","zip":"{:05}"}}}},"items":["#,
        numbers.below(100_000)
    );
    for item in 0..3 + numbers.below(10) {
        let comma = if item > 0 { "," } else { "" };
        let (sku, quantity) = (sku(numbers.below(PRODUCTS)), 1 + numbers.below(9));
        let _ = write!(
            body,
            r#"{comma}{{"sku":"{sku}","quantity":{quantity},"note":""#
        );
        let letters = numbers.below(40);
        numbers.push_word(letters, &mut body);
        body.push_str("\"}");
    }
    body.push_str(r#"],"gift":false}"#);
    let mut head = String::from("POST /orders HTTP/1.1\r\n");
    for (name, letters) in [
        ("host", 14),
        ("user-agent", 60),
        ("accept", 20),
        ("cookie", 120),
    ] {
        let _ = write!(head, "{name}: ");
        numbers.push_word(letters, &mut head);
        head.push_str("\r\n");
    }
    let _ = write!(head, "content-length: {}\r\n\r\n{body}", body.len());
    head.into_bytes()
}

impl Service {
    fn serve(&self, mut stream: TcpStream) -> u64 {
        stream.set_nodelay(true).expect("a socket");
        let mut log = String::new();
        let mut sum = 0_u64;
        loop {
            let mut bytes = Vec::new();
            if !read_message(&mut stream, &mut bytes) {
                return sum;
            }
            let answer = self.answer(&bytes, &mut log);
            stream.write_all(answer.as_bytes()).expect("it reads");
            sum = sum.wrapping_add(answer.bytes().fold(1, |sum, byte| mix(sum, byte.into())));
        }
    }

    fn answer(&self, bytes: &[u8], log: &mut String) -> String {
        let text = std::str::from_utf8(bytes).expect("ours");
        let (head, body) = text.split_once("\r\n\r\n").expect("ours");
        let headers = headers(head);
        let body: Value = serde_json::from_str(body).expect("ours");
        let order = self.order(&body);
        let cents: u64 = order
            .lines
            .iter()
            .map(|line| line.quantity * line.cents)
            .sum();
        let answer = page(&order, cents);
        log.clear();
        let agent = headers.get("user-agent").map_or("-", String::as_str);
        let _ = write!(log, "200 {} {cents} {agent}", order.customer);
        let order = Arc::new(order);
        let oldest = {
            let mut recent = self.recent.lock().expect("no panic");
            recent.push_back(order);
            if recent.len() > RECENT {
                recent.pop_front()
            } else {
                None
            }
        };
        drop(oldest);
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        )
    }

    fn order(&self, body: &Value) -> Order {
        let catalogue = self.catalogue.read().expect("no panic");
        let items = body["items"].as_array().expect("ours");
        let mut lines: Vec<Line> = Vec::new();
        for item in items {
            let product = &catalogue[item["sku"].as_str().expect("ours")];
            let quantity = item["quantity"].as_u64().expect("ours").min(product.stock);
            lines.push(Line {
                name: product.name.clone(),
                quantity,
                cents: product.cents,
            });
        }
        lines.sort_by(|a, b| a.name.cmp(&b.name));
        Order {
            customer: body["customer"]["name"].as_str().expect("ours").to_owned(),
            lines,
        }
    }
}

fn headers(head: &str) -> HashMap<String, String> {
    let lines = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "));
    lines
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect()
}

fn page(order: &Order, cents: u64) -> String {
    let lines = order.lines.iter().map(|line| {
        let mut fields = Map::new();
        fields.insert("name".to_owned(), line.name.as_str().into());
        fields.insert("quantity".to_owned(), line.quantity.into());
        fields.insert("price".to_owned(), price(line.cents).into());
        Value::Object(fields)
    });
    let mut page = Map::new();
    page.insert("customer".to_owned(), order.customer.as_str().into());
    page.insert("lines".to_owned(), lines.collect());
    page.insert("sum".to_owned(), price(cents).into());
    Value::Object(page).to_string()
}

fn price(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
