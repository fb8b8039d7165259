//! A log to process, the same at every run.

use std::fmt::Write;

const LINES: u64 = 100_000;

const EVENTS: [(&str, &str, &str); 8] = [
    ("INFO", "http::server", "request"),
    ("DEBUG", "db::pool", "checkout"),
    ("INFO", "db::query", "select"),
    ("DEBUG", "cache::lru", "hit"),
    ("INFO", "http::client", "response"),
    ("WARN", "db::pool", "exhausted"),
    ("INFO", "auth::session", "renewed"),
    ("ERROR", "http::server", "timeout"),
];

/// 100,000 lines: time, level, module, message, then fields `key=value`.
pub(crate) fn generate() -> String {
    let mut log = String::new();
    for line in 0..LINES {
        // Knuth's multiplicative hash: scattered, and the same at every run.
        let scattered = line.wrapping_mul(2_654_435_761) >> 8;
        let (level, module, message) = EVENTS[(scattered % 8) as usize];
        let (minute, second, milli) = (line / 6_000 % 60, line / 100 % 60, line % 100 * 10);
        let (request, took_ms, bytes) =
            (0x5eed_0000 + line / 4, scattered % 900, scattered % 40_000);
        // Writing to a string cannot fail.
        let _ = writeln!(
            log,
            "2026-03-01T09:{minute:02}:{second:02}.{milli:03}Z {level} {module} {message} \
             request={request:08x} took_ms={took_ms} bytes={bytes}"
        );
    }
    log
}
