use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::devtools::Browser;
use crate::error::ViewerError;
use crate::programs::Programs;
use crate::viewed::Viewed;

/// A load takes about a second; a loaded machine or a file of a million points takes longer.
const LIMIT: Duration = Duration::from_secs(90);

/// Resolves to the viewer's error message, or to null when the whole file is drawn. `gInput` and the
/// classes are the viewer's: the threshold line is the last thing it draws.
const WAIT_UNTIL_DRAWN: &str = r#"
new Promise(resolve => {
    const look = () => {
        const error = document.querySelector("span.error");
        if (error) return resolve(error.textContent);
        if (document.querySelector("span.threshold")) return resolve(null);
        setTimeout(look, 5);
    };
    look();
})"#;

const WAIT_UNTIL_READY: &str = r#"
new Promise(resolve => {
    const look = () => document.readyState === "complete" && gInput ? resolve() : setTimeout(look, 5);
    look();
})"#;

const READ_BACK: &str = include_str!("read_back.js");

/// Loads a DHAT file into the installed viewer, draws every sort metric and reads the result back.
pub fn open_in_dhat_viewer(json: &str) -> Result<Viewed, ViewerError> {
    DhatViewer::open(&Programs::find()?, json)?.read_back()
}

/// The viewer with a file loaded, in a browser of its own.
pub struct DhatViewer {
    browser: Browser,
}

impl std::fmt::Debug for DhatViewer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DhatViewer").finish_non_exhaustive()
    }
}

/// What to draw and how large; the picture is cut to the page when the page is smaller.
#[derive(Clone, Debug)]
pub struct Picture {
    /// As in the viewer's menu; the viewer's default when `None`.
    pub sort_metric: Option<String>,
    pub max_width: u32,
    pub max_height: u32,
}

impl DhatViewer {
    pub fn open(programs: &Programs, json: &str) -> Result<Self, ViewerError> {
        programs.check()?;
        let mut browser = Browser::start(&programs.chromium, LIMIT)?;
        let file = browser.folder().join("profile.json");
        fs::write(&file, json)?;

        browser.navigate(&programs.viewer_page)?;
        browser.evaluate(WAIT_UNTIL_READY)?;
        browser.choose_file("gInput", &file)?;
        match browser.evaluate(WAIT_UNTIL_DRAWN)?.as_str() {
            Some(refusal) => Err(ViewerError::Refused(refusal.to_owned())),
            None => Ok(Self { browser }),
        }
    }

    /// Draws every enabled sort metric; an error drawn by any of them is a refusal.
    pub fn read_back(&mut self) -> Result<Viewed, ViewerError> {
        let mut result = self.browser.evaluate(READ_BACK)?;
        if let Some(refusal) = result["refused"].as_str() {
            return Err(ViewerError::Refused(refusal.to_owned()));
        }
        serde_json::from_value(result["viewed"].take())
            .map_err(|error| ViewerError::Failed(format!("unexpected result: {error}")))
    }

    /// A PNG of the page, from its top left corner.
    pub fn picture(&mut self, picture: &Picture) -> Result<Vec<u8>, ViewerError> {
        if let Some(label) = &picture.sort_metric {
            self.select_metric(label)?;
        }
        self.browser.resize(picture.max_width, picture.max_height)?;
        let used = self.browser.evaluate(
            "({ width: document.documentElement.scrollWidth, height: document.body.scrollHeight + 16 })",
        )?;
        let within = |size: &serde_json::Value, max: u32| {
            size.as_u64()
                .and_then(|size| u32::try_from(size).ok())
                .map_or(max, |size| size.min(max))
        };
        self.browser.resize(
            within(&used["width"], picture.max_width),
            within(&used["height"], picture.max_height),
        )?;
        self.browser.picture()
    }

    fn select_metric(&mut self, label: &str) -> Result<(), ViewerError> {
        let change = format!(
            r#"(() => {{
                const wanted = [...gSelect.options].find(o => o.label === {label} && !o.disabled);
                if (!wanted) return false;
                gSelect.selectedIndex = wanted.index;
                gSelect.dispatchEvent(new Event("change"));
                return true;
            }})()"#,
            label = json!(label)
        );
        if self.browser.evaluate(&change)? == true {
            Ok(())
        } else {
            Err(ViewerError::Refused(format!(
                "no sort metric {label:?} for this file"
            )))
        }
    }
}
