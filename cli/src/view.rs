//! `view`: shows the report in a browser, served to this machine alone.

mod server;

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Args;

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
    let page = report::page(&load::profile(path)?)?;
    serve(&page, options.port, !options.no_browser, out)
}

/// Until it is ended from outside.
pub(crate) fn serve(page: &str, port: u16, open: bool, out: &mut dyn Write) -> Result<()> {
    let fail = |error| Failure::new(format!("cannot listen on port {port}: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(fail)?;
    let url = format!("http://{}/", listener.local_addr().map_err(fail)?);
    writeln!(out, "{url} shows it; end with Ctrl-C")?;
    out.flush()?;
    if open && !open_browser(&url) {
        writeln!(out, "No browser could be started here: open it yourself.")?;
        out.flush()?;
    }
    server::serve(&listener, page).map_err(fail)
}

/// Whether there was one to be started: whoever has none has the address.
pub(crate) fn open_browser(target: &str) -> bool {
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
    quiet.is_ok()
}
