//! A picture of an SVG, as a browser shows it.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::devtools::Browser;
use crate::error::ViewerError;
use crate::programs::Programs;

const LIMIT: Duration = Duration::from_secs(60);

/// A PNG of an SVG, so wide and as high as the SVG is.
pub fn svg_picture(svg: &Path, width: u32) -> Result<Vec<u8>, ViewerError> {
    let mut browser = Browser::start(&Programs::find()?.chromium, LIMIT)?;
    let resize = |browser: &mut Browser, height: u64| {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser.call("Emulation.setDeviceMetricsOverride", size)
    };
    resize(&mut browser, 600)?;
    browser.navigate(&svg.canonicalize()?)?;
    let height = browser.evaluate(
        "new Promise(done => {
             const look = () => document.readyState === 'complete'
                 ? setTimeout(() => done(Math.ceil(document.documentElement.getBoundingClientRect().height)), 100)
                 : setTimeout(look, 5);
             look();
         })",
    )?;
    let Some(height) = height.as_u64().filter(|height| (1..5000).contains(height)) else {
        return Err(ViewerError::Refused(format!("its height is {height}")));
    };
    resize(&mut browser, height)?;
    browser.picture()
}
