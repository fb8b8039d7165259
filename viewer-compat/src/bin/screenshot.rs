//! A picture of a file in the program that opens it: flame graphs (`.svg`) and reports (`.html`) in a browser, speedscope's
//! files (`.speedscope.json`) in speedscope, all others in the DHAT viewer.
//!
//! `screenshot FILE OUT.png [--sort "At t-gmax (bytes)"] [--width PIXELS] [--height PIXELS]`

use std::error::Error;
use std::fs;
use std::path::Path;

use viewer_compat::speedscope::Speedscope;
use viewer_compat::{DhatViewer, Picture, Programs, page_picture, svg_picture};

const USAGE: &str =
    "usage: screenshot FILE OUT.png [--sort METRIC] [--width PIXELS] [--height PIXELS]";

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
    let [file, out] = files.as_slice() else {
        return Err(USAGE.into());
    };
    let (width, height) = (picture.max_width, picture.max_height);
    let png = if file.ends_with(".svg") {
        svg_picture(Path::new(file), width)?
    } else if file.ends_with(".html") {
        page_picture(Path::new(file), width, height)?
    } else if file.ends_with(".speedscope.json") {
        let mut viewer = Speedscope::start()?;
        viewer.load(&Path::new(file).canonicalize()?)?;
        viewer.picture(width, height)?
    } else {
        DhatViewer::open(&Programs::find()?, &fs::read_to_string(file)?)?.picture(&picture)?
    };
    fs::write(out, png)?;
    Ok(())
}
