//! The flags of a build that counts every access. They belong to the version of heapledger that the
//! project uses, so they are read from its source.

use std::fs;
use std::process::Command;

use super::project::Project;
use crate::failure::{Failure, Result};

const FILE: &str = "exact-flags.txt";

/// What cargo must be told.
#[derive(Debug)]
pub(super) struct Exact {
    /// Must be named: else build scripts and procedural macros got the flags, too.
    pub(super) target: String,
    /// In the form of `CARGO_ENCODED_RUSTFLAGS`.
    pub(super) rustflags: String,
}

pub(super) fn exact(project: &Project) -> Result<Exact> {
    let Some(folder) = project.heapledger() else {
        return Err(Failure::new(
            "--exact needs heapledger in the project: `cargo heapledger init` adds it",
        ));
    };
    let path = folder.join(FILE);
    let text = fs::read_to_string(&path).map_err(|error| {
        let advice =
            "the project's version of heapledger has no exact mode: `cargo update heapledger`";
        Failure::of_path(&path, format!("{error}; {advice}"))
    })?;
    // What the user asks of the compiler stays.
    let own = std::env::var("CARGO_ENCODED_RUSTFLAGS").ok().or_else(|| {
        let flags = std::env::var("RUSTFLAGS").ok()?;
        Some(flags.split_whitespace().collect::<Vec<_>>().join("\u{1f}"))
    });
    let flags = text
        .lines()
        .filter(|line| line.starts_with('-'))
        .map(str::to_owned);
    let all: Vec<String> = own
        .filter(|own| !own.is_empty())
        .into_iter()
        .chain(flags)
        .collect();
    Ok(Exact {
        target: host()?,
        rustflags: all.join("\u{1f}"),
    })
}

/// The machine's own target, as rustc names it.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("-vV").output();
    let output = output.map_err(|error| Failure::new(format!("cannot run rustc: {error}")))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| Failure::new("rustc -vV does not tell its host"))
}
