//! `view` answers this machine's own browser, and nobody else.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

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

/// Whoever sends much, sends slowly or does not read keeps nobody else from the page.
#[test]
fn one_client_does_not_stop_another() {
    let server = Server::start();
    let whole = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        server.address
    );
    let connect = || TcpStream::connect(&server.address).unwrap();
    let slow: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut slow = connect();
            slow.write_all(b"GET / HT").unwrap();
            slow
        })
        .collect();
    // Many requests, of whose answers nothing is read.
    let mut deaf = connect();
    for _ in 0..200 {
        if deaf
            .write_all(whole.replace("close", "keep-alive").as_bytes())
            .is_err()
        {
            break;
        }
    }
    assert!(server.ask(&whole).starts_with("HTTP/1.1 200"));

    // A head without an end: it is told so, or cut off, long before a megabyte.
    let mut endless = connect();
    endless.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    let sent = (0..10_000).take_while(|_| endless.write_all(&[b'a'; 10_000]).is_ok());
    assert!(sent.count() < 10_000);

    for (request, status) in [
        (
            whole.replace("\r\nConnection", "\r\nHost: evil\r\nConnection"),
            "HTTP/1.1 403",
        ),
        (whole.replace("GET /", "GET http://evil/"), "HTTP/1.1 404"),
        (
            whole
                .replace("GET", "POST")
                .replace("close", "close\r\nContent-Length: 5")
                + "hello",
            "HTTP/1.1 405",
        ),
        (whole.replace("GET", "HEAD"), "HTTP/1.1 200"),
        ("\0\u{1}\r\n\r\n".into(), "HTTP/1.1 400"),
        (whole.replace("close", &"a".repeat(20_000)), "HTTP/1.1 431"),
        (
            whole.replace("close", &"a\r\nX: ".repeat(100)),
            "HTTP/1.1 400",
        ),
    ] {
        let answer = server.ask(&request);
        assert!(answer.starts_with(status), "{request}: {answer}");
        assert_eq!(
            answer.contains("<html"),
            status.ends_with("200") && !request.starts_with("HEAD")
        );
    }
    drop((slow, deaf));
}

/// A connection ends, however slowly something still comes.
#[test]
fn what_trickles_in_behind_a_request_is_not_waited_for() {
    let server = Server::start();
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let trickled = (0..150).take_while(|_| {
        thread::sleep(Duration::from_millis(100));
        stream.write_all(b"x").is_ok()
    });
    assert!(trickled.count() < 150);
}

#[test]
fn a_port_in_use_is_told() {
    let server = Server::start();
    let port = server.address.rsplit(':').next().unwrap();
    let second = support::heapledger([
        "view".as_ref(),
        "--no-browser".as_ref(),
        "--port".as_ref(),
        port.as_ref(),
        file("log_before.json").as_os_str(),
    ]);
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(
        said.starts_with(&format!(
            "error: cannot listen on port {port}: Address already in use"
        )),
        "{said}"
    );
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
