//! Pictures of SVGs and pages, as a browser shows them.

use std::path::Path;
use std::time::Duration;

use crate::devtools::Browser;
use crate::error::ViewerError;
use crate::programs::Programs;

const LIMIT: Duration = Duration::from_secs(60);

/// A PNG of an SVG, so wide and as high as the SVG is.
pub fn svg_picture(svg: &Path, width: u32) -> Result<Vec<u8>, ViewerError> {
    let mut browser = Browser::start(&Programs::find()?.chromium, LIMIT)?;
    browser.resize(width, 600)?;
    browser.navigate(&svg.canonicalize()?)?;
    let height = browser.evaluate(
        "new Promise(done => {
             const look = () => document.readyState === 'complete'
                 ? setTimeout(() => done(Math.ceil(document.documentElement.getBoundingClientRect().height)), 100)
                 : setTimeout(look, 5);
             look();
         })",
    )?;
    let pixels = height
        .as_u64()
        .and_then(|height| u32::try_from(height).ok());
    let Some(height) = pixels.filter(|pixels| (1..5000).contains(pixels)) else {
        return Err(ViewerError::Refused(format!("its height is {height}")));
    };
    browser.resize(width, height)?;
    browser.picture()
}

/// A PNG of the window of a page that says `data-ready` of its body once it is drawn.
pub fn page_picture(page: &Path, width: u32, height: u32) -> Result<Vec<u8>, ViewerError> {
    let mut browser = Browser::start(&Programs::find()?.chromium, LIMIT)?;
    browser.resize(width, height)?;
    browser.navigate(&page.canonicalize()?)?;
    browser.evaluate(
        "new Promise(done => {
             const look = () => document.body?.dataset.ready ? setTimeout(done, 100) : setTimeout(look, 5);
             look();
         })",
    )?;
    browser.picture()
}
