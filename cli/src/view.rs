//! `view`: shows the report in a browser, served to this machine alone.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;
use tiny_http::{Header, Method, Request, Response, Server};

use crate::failure::{Failure, Result};
use crate::load;
use crate::report;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The port to listen on; by default one that is free
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Only print the address, start no browser
    #[arg(long)]
    no_browser: bool,
}

pub(crate) fn run(path: &Path, options: &Options, out: &mut dyn Write) -> Result<()> {
    let page = report::page(&load::profile(path)?);
    serve(&page, options.port, !options.no_browser, out)
}

/// Until it is ended from outside.
pub(crate) fn serve(page: &str, port: u16, open: bool, out: &mut dyn Write) -> Result<()> {
    let server = Server::http(("127.0.0.1", port));
    let server =
        server.map_err(|error| Failure::new(format!("cannot listen on port {port}: {error}")))?;
    let Some(address) = server.server_addr().to_ip() else {
        return Err(Failure::new("cannot listen on a port"));
    };
    let url = format!("http://{address}/");
    writeln!(out, "{url} shows it; end with Ctrl-C")?;
    out.flush()?;
    if open {
        open_browser(&url);
    }
    for request in server.incoming_requests() {
        answer(request, page, address.port());
    }
    Ok(())
}

/// A page of another site could have its name resolve to this machine: it is not ours to answer.
fn is_our_host(host: &str, port: u16) -> bool {
    ["127.0.0.1", "localhost"].iter().any(|name| {
        let with_port = format!("{name}:{port}");
        host.eq_ignore_ascii_case(&with_port) || (port == 80 && host.eq_ignore_ascii_case(name))
    })
}

fn answer(request: Request, page: &str, port: u16) {
    let mut hosts = request
        .headers()
        .iter()
        .filter(|header| header.field.equiv("Host"));
    let host = hosts.next().map(|header| header.value.as_str());
    let is_ours = host.is_some_and(|host| is_our_host(host, port)) && hosts.next().is_none();
    let (status, kind, body) = match (is_ours, request.method(), request.url()) {
        (false, ..) => (403, "text/plain", "this address is not served here"),
        (true, Method::Get | Method::Head, "/") => (200, "text/html; charset=utf-8", page),
        (true, Method::Get | Method::Head, _) => {
            (404, "text/plain", "there is only the report, at /")
        }
        (true, ..) => (405, "text/plain", "only GET"),
    };
    let mut response = Response::from_string(body).with_status_code(status);
    for (name, value) in [
        ("Content-Type", kind),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cache-Control", "no-store"),
    ] {
        let header = Header::from_bytes(name, value).expect("ASCII");
        response = response.with_header(header);
    }
    // Who asked has gone.
    let _ = request.respond(response);
}

/// Tries; whoever has no browser has the address.
pub(crate) fn open_browser(target: &str) {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let quiet = Command::new(opener)
        .arg(target)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    drop(quiet);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert!(is_our_host("127.0.0.1:8000", 8000));
        assert!(is_our_host("LocalHost:8000", 8000));
        for other in [
            "evil.example:8000",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:8000.evil",
            "",
            "0.0.0.0:8000",
        ] {
            assert!(!is_our_host(other, 8000), "{other}");
        }
    }
}
