//! `report`: the profile as one page that needs nothing else.

mod data;
mod moments;

use std::io::Write;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use heapledger_formats::limits::{self, Limits};
use heapledger_formats::model::Profile;
use sha2::{Digest, Sha256};

use crate::convert;
use crate::failure::{Failure, Result};
use crate::load;
use crate::output;

const PAGE: &str = include_str!("report/page/page.html");
const STYLE: &str = include_str!("report/page/page.css");
/// One module: each part uses what those before it declare.
const SCRIPT: &str = concat!(
    include_str!("report/page/common.js"),
    include_str!("report/page/data.js"),
    include_str!("report/page/groups.js"),
    include_str!("report/page/head.js"),
    include_str!("report/page/search.js"),
    include_str!("report/page/tabs.js"),
    include_str!("report/page/flame.js"),
    include_str!("report/page/sites.js"),
    include_str!("report/page/callers.js"),
    include_str!("report/page/timeline.js"),
    include_str!("report/page/waste.js"),
    include_str!("report/page/details.js"),
    include_str!("report/page/start.js"),
);

/// What a browser draws in a few seconds.
const LIMITS: Limits = Limits {
    frames: 400,
    points: 1_000_000,
};

/// Chromium has no longer texts than 2^29 characters.
const MOST: usize = 500_000_000;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The page to write, `-` for standard output; by default beside FILE, named after it
    #[arg(long, short)]
    output: Option<PathBuf>,
}

pub(crate) fn run(path: &Path, options: &Options, out: &mut dyn Write) -> Result<()> {
    let target = convert::target(path, options.output.as_deref(), "html")?;
    convert::refuse_loss(path, &target)?;
    let profile = load::profile(path)?;
    let page = page(&profile)?;
    output::write(&target, |sink| sink.write_all(page.as_bytes()))?;
    output::announce(&target, out)
}

/// One page with its style, its script and the profile in it. Its policy lets only those run.
pub(crate) fn page(profile: &Profile) -> Result<String> {
    let fitted = limits::fit(profile, LIMITS);
    let data = STANDARD.encode(data::packed(&fitted)?);
    check_size(data.len())?;
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    // In this order: only what is ours is looked through for the next mark.
    Ok(PAGE
        .replace("{{policy}}", &policy)
        .replace("{{style}}", STYLE)
        .replace("{{script}}", SCRIPT)
        .replace("{{data}}", &data))
}

fn check_size(bytes: usize) -> Result<()> {
    if bytes <= MOST {
        return Ok(());
    }
    Err(Failure::new(format!(
        "the report would have {} MB, and browsers show up to {} MB: look at this profile with `heapledger top`, \
         `flame` or `convert`, or record it with fewer frames",
        bytes / 1_000_000,
        MOST / 1_000_000
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_browser_shows_is_refused() {
        assert!(check_size(MOST).is_ok());
        let failure = check_size(1_500_000_000).unwrap_err().to_string();
        assert!(
            failure.starts_with("the report would have 1500 MB, and browsers show up to 500 MB"),
            "{failure}"
        );
    }
}
