//! A picture of a profile in the DHAT viewer.
//!
//! `screenshot PROFILE.json OUT.png [--sort "At t-gmax (bytes)"] [--width PIXELS] [--height PIXELS]`

use std::error::Error;
use std::fs;

use viewer_compat::{DhatViewer, Picture, Programs};

const USAGE: &str =
    "usage: screenshot PROFILE.json OUT.png [--sort METRIC] [--width PIXELS] [--height PIXELS]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut files = Vec::new();
    let mut picture = Picture {
        sort_metric: None,
        max_width: 1500,
        max_height: 1500,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(USAGE);
        match argument.as_str() {
            "--sort" => picture.sort_metric = Some(value()?),
            "--width" => picture.max_width = value()?.parse()?,
            "--height" => picture.max_height = value()?.parse()?,
            _ => files.push(argument),
        }
    }
    let [profile, out] = files.as_slice() else {
        return Err(USAGE.into());
    };

    let mut viewer = DhatViewer::open(&Programs::find()?, &fs::read_to_string(profile)?)?;
    fs::write(out, viewer.picture(&picture)?)?;
    Ok(())
}
