//! One page over HTTP. Each connection is answered once, on a thread of its own, within limits of size and
//! time: whoever sends slowly, sends much or does not read keeps one connection of many until then. Only who
//! holds all of them keeps others from the page.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use httparse::{EMPTY_HEADER, Request, Status};

/// A browser sends less than 2 KiB.
const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// At a time; more are closed at once.
const MAX_CONNECTIONS: usize = 512;

/// How long a request may take to come.
const ASKING: Duration = Duration::from_secs(10);

/// How long an answer may take to go: the largest page, through a tunnel.
const ANSWERING: Duration = Duration::from_secs(300);

/// How long what stands behind a request may take to come.
const ENDING: Duration = Duration::from_secs(1);

/// Until the process is ended from outside.
pub(super) fn serve(listener: &TcpListener, page: &str) -> io::Result<()> {
    let port = listener.local_addr()?.port();
    let open = AtomicUsize::new(0);
    thread::scope(|scope| {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of descriptors, most likely: until some are closed.
                thread::sleep(Duration::from_millis(50));
                continue;
            };
            if open.fetch_add(1, Relaxed) >= MAX_CONNECTIONS {
                open.fetch_sub(1, Relaxed);
                continue;
            }
            let open = &open;
            let answer = move || {
                // Who asked has gone, or was too slow: there is nobody to tell.
                let _ = answer(&stream, page, port);
                open.fetch_sub(1, Relaxed);
            };
            if thread::Builder::new().spawn_scoped(scope, answer).is_err() {
                open.fetch_sub(1, Relaxed);
            }
        }
    });
    Ok(())
}

/// What is sent back.
#[derive(Debug, PartialEq)]
struct Answer<'a> {
    status: &'static str,
    kind: &'static str,
    body: &'a str,
    /// Only the head was asked for.
    head_only: bool,
    /// Of HTTP/1.
    minor_version: u8,
}

impl<'a> Answer<'a> {
    fn refusal(status: &'static str, body: &'a str, minor_version: u8) -> Answer<'a> {
        Answer {
            status,
            kind: "text/plain",
            body,
            head_only: false,
            minor_version,
        }
    }
}

/// A connection whose time is over at some moment, in however small pieces something comes or goes.
struct Timed<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
}

impl Timed<'_> {
    fn new(stream: &TcpStream, time: Duration) -> Timed<'_> {
        let deadline = Instant::now() + time;
        Timed { stream, deadline }
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(left)
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn answer(stream: &TcpStream, page: &str, port: u16) -> io::Result<()> {
    let answer = asked(Timed::new(stream, ASKING), page, port)?;
    let mut sink = Timed::new(stream, ANSWERING);
    write!(
        sink,
        "HTTP/1.{} {}\r\n\
         Content-Type: {}\r\n\
         Content-Length: {}\r\n\
         Connection: close\r\n\
         X-Content-Type-Options: nosniff\r\n\
         X-Frame-Options: DENY\r\n\
         Cross-Origin-Resource-Policy: same-origin\r\n\
         Cache-Control: no-store\r\n\r\n",
        answer.minor_version,
        answer.status,
        answer.kind,
        answer.body.len()
    )?;
    if !answer.head_only {
        sink.write_all(answer.body.as_bytes())?;
    }
    stream.shutdown(Shutdown::Write)?;
    // A connection that is closed with something unread loses what was sent.
    let mut rest = Timed::new(stream, ENDING).take(MAX_HEAD as u64);
    io::copy(&mut rest, &mut io::sink())?;
    Ok(())
}

/// Reads the head of a request; its body is of no interest.
fn asked<'a>(mut source: impl Read, page: &'a str, port: u16) -> io::Result<Answer<'a>> {
    let mut head = Vec::new();
    let mut part = [0; 2048];
    loop {
        let length = source.read(&mut part)?;
        if length == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.extend_from_slice(&part[..length]);
        let mut headers = [EMPTY_HEADER; MAX_HEADERS];
        let mut request = Request::new(&mut headers);
        match request.parse(&head) {
            Ok(Status::Complete(_)) => return Ok(answer_to(&request, page, port)),
            Ok(Status::Partial) if head.len() < MAX_HEAD => {}
            Ok(Status::Partial) => {
                let status = "431 Request Header Fields Too Large";
                return Ok(Answer::refusal(status, "too long", 1));
            }
            Err(_) => return Ok(Answer::refusal("400 Bad Request", "not HTTP", 1)),
        }
    }
}

fn answer_to<'a>(request: &Request<'_, '_>, page: &'a str, port: u16) -> Answer<'a> {
    let version = request.version.unwrap_or(1);
    let mut hosts = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("Host"));
    let host = hosts.next().map(|header| header.value);
    if !host.is_some_and(|host| is_our_host(host, port)) || hosts.next().is_some() {
        return Answer::refusal("403 Forbidden", "this address is not served here", version);
    }
    let head_only = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Answer::refusal("405 Method Not Allowed", "only GET", version),
    };
    let (status, kind, body) = match request.path {
        Some("/") => ("200 OK", "text/html; charset=utf-8", page),
        _ => (
            "404 Not Found",
            "text/plain",
            "there is only the report, at /",
        ),
    };
    Answer {
        status,
        kind,
        body,
        head_only,
        minor_version: version,
    }
}

/// A page of another site could have its name resolve to this machine: it is not ours to answer.
fn is_our_host(host: &[u8], port: u16) -> bool {
    ["127.0.0.1", "localhost"].iter().any(|name| {
        let with_port = format!("{name}:{port}");
        host.eq_ignore_ascii_case(with_port.as_bytes())
            || (port == 80 && host.eq_ignore_ascii_case(name.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However little comes or goes at a time.
    #[test]
    fn time_is_over_for_who_trickles() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let trickling = thread::spawn(move || {
            let mut some = [0; 1 << 16];
            let mut both = || client.write_all(b"x").and_then(|()| client.read(&mut some));
            while both().is_ok_and(|length| length > 0) {
                thread::sleep(Duration::from_millis(10));
            }
        });
        let time = Duration::from_millis(300);
        let written = Timed::new(&stream, time).write_all(&vec![0; 1 << 30]);
        assert!(written.is_err());
        let mut came = Vec::new();
        let read = Timed::new(&stream, time).read_to_end(&mut came);
        assert!(read.is_err() && came.len() > 1, "{came:?}");
        drop(stream);
        trickling.join().unwrap();
    }

    #[test]
    fn hosts() {
        assert!(is_our_host(b"127.0.0.1:8000", 8000));
        assert!(is_our_host(b"LocalHost:8000", 8000));
        assert!(is_our_host(b"localhost", 80));
        for other in [
            "evil.example:8000",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:8000.evil",
            "localhost.:8000",
            "a@localhost:8000",
            "[::1]:8000",
            "",
            "0.0.0.0:8000",
        ] {
            assert!(!is_our_host(other.as_bytes(), 8000), "{other}");
        }
    }
}
