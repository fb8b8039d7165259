//! `view` answers this machine's own browser, and nobody else.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use support::{LIMIT, UNTIL_READY, file};
use viewer_compat::{Browser, Programs};

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_heapledger"))
            .args(["view", "--no-browser"])
            .arg(file("log_before.json"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .unwrap()
            .0;
        let address = address.to_owned();
        Server { child, address }
    }

    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn only_the_report_only_for_this_machine() {
    let server = Server::start();
    assert!(server.address.starts_with("127.0.0.1:"));
    let get = |path: &str, host: &str| {
        server.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        ))
    };
    let page = get("/", &server.address);
    assert!(
        page.starts_with("HTTP/1.1 200") && page.contains("Content-Security-Policy"),
        "{page}"
    );
    let port = server.address.rsplit(':').next().unwrap();
    assert!(get("/", &format!("localhost:{port}")).starts_with("HTTP/1.1 200"));
    for host in [
        "evil.example".to_owned(),
        format!("evil.example:{port}"),
        format!("{}.evil.example", server.address),
    ] {
        let answer = get("/", &host);
        assert!(
            answer.starts_with("HTTP/1.1 403") && !answer.contains("Security-Policy"),
            "{answer}"
        );
    }
    let without = server.ask("GET / HTTP/1.0\r\n\r\n");
    assert!(without.starts_with("HTTP/1.0 403"), "{without}");
    for path in [
        "/etc/passwd",
        "/../../etc/passwd",
        "/log_before.json",
        "//",
        "/?x",
    ] {
        assert!(
            get(path, &server.address).starts_with("HTTP/1.1 404"),
            "{path}"
        );
    }
    let post = server.ask(&format!(
        "POST / HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        server.address
    ));
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
}

#[test]
fn a_browser_shows_it() {
    let server = Server::start();
    let mut browser = Browser::start(&Programs::find().unwrap().chromium, LIMIT).unwrap();
    browser.listen().unwrap();
    let url = format!("http://{}/", server.address);
    browser
        .call("Page.navigate", serde_json::json!({"url": url}))
        .unwrap();
    browser.evaluate(UNTIL_READY).unwrap();
    let totals = browser
        .evaluate("document.querySelector('#totals').textContent")
        .unwrap();
    assert!(
        totals.as_str().unwrap().contains("28,135,955 bytes"),
        "{totals}"
    );
    assert!(
        browser.complaints().is_empty(),
        "{:#?}",
        browser.complaints()
    );
}
