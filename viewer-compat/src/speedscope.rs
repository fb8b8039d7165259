//! speedscope, as npm packs it, in Chromium.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::command::npm_file;
use crate::devtools::Browser;
use crate::error::ViewerError;
use crate::programs::Programs;

const LIMIT: Duration = Duration::from_secs(240);

/// speedscope in a browser; it can load one file after the other.
pub struct Speedscope {
    browser: Browser,
}

impl std::fmt::Debug for Speedscope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Speedscope").finish_non_exhaustive()
    }
}

/// A profile, as speedscope saves it again after it has read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct SpeedscopeProfile {
    /// What the menu shows.
    pub name: String,
    /// `bytes`, `none`, ...
    pub unit: String,
    /// The sum of its samples' weights.
    pub total: u64,
}

/// All that speedscope read of a file.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SpeedscopeFile {
    /// The window's title.
    pub title: String,
    /// The profiles, in the menu's order.
    pub profiles: Vec<SpeedscopeProfile>,
    /// `name file:line` of all frames.
    pub frames: Vec<String>,
    /// Rows of the sandwich view of the profile shown, as far as they are in sight.
    pub rows: Vec<String>,
}

/// Saving makes a link to the text; here it is kept. An alert is how a file is refused.
const PREPARE: &str = r#"
new Promise(resolve => {
    window.saved = null;
    window.alerts = [];
    window.alert = text => window.alerts.push(text);
    const create = URL.createObjectURL.bind(URL);
    URL.createObjectURL = blob => {
        if (blob.type === "text/json") { window.saved = blob; return "javascript:void 0"; }
        return create(blob);
    };
    const look = () => document.querySelector('#file') ? resolve() : setTimeout(look, 5);
    look();
})"#;

/// Resolves to why the file is refused, or to null when it is drawn.
const WAIT_UNTIL_DRAWN: &str = r#"
new Promise(resolve => {
    const look = () => {
        if (window.alerts.length) return resolve(window.alerts.join("\n"));
        if (document.body.textContent.includes("Something went wrong")) return resolve("Something went wrong");
        const isDrawn = document.title.endsWith(" - speedscope") && document.querySelector("canvas");
        return isDrawn ? resolve(null) : setTimeout(look, 5);
    };
    look();
})"#;

/// The sandwich view's rows, and the file that speedscope saves.
const READ_BACK: &str = r#"
(async () => {
    const press = (key, more) => {
        for (const type of ["keydown", "keypress"]) {
            window.dispatchEvent(new KeyboardEvent(type, { key, bubbles: true, ...more }));
        }
    };
    const until = async found => { while (!found()) await new Promise(next => setTimeout(next, 5)); };
    press("3");
    // Where nothing has any weight there is no row.
    // Each function's row has its part in per cent.
    const functions = () => [...document.querySelectorAll("tr")]
        .map(row => row.textContent)
        .filter(text => text.includes("%"));
    const started = performance.now();
    await until(() => functions().length > 0 || performance.now() - started > 3000);
    const rows = functions();
    window.dispatchEvent(new KeyboardEvent("keydown", { key: "s", ctrlKey: true }));
    await until(() => window.saved);
    const file = JSON.parse(await window.saved.text());
    const profiles = file.profiles.map(p => ({
        name: p.name, unit: p.unit,
        total: p.endValue - p.startValue,
    }));
    const frames = file.shared.frames.map(f => `${f.name} ${f.file}:${f.line}`);
    return { title: document.title, profiles, frames, rows };
})()"#;

impl Speedscope {
    /// Starts a browser.
    pub fn start() -> Result<Self, ViewerError> {
        Ok(Self {
            browser: Browser::start(&Programs::find()?.chromium, LIMIT)?,
        })
    }

    /// Loads a file.
    pub fn load(&mut self, file: &Path) -> Result<(), ViewerError> {
        let page = npm_file("speedscope/dist/release/index.html")?;
        // The page before may be the same one, with another file. Not by a script: its
        // navigation could still be under way, and win.
        self.browser
            .call("Page.navigate", json!({ "url": "about:blank" }))?;
        self.browser.navigate(&page)?;
        self.browser.evaluate(PREPARE)?;
        self.browser
            .choose_file("document.querySelector('#file')", file)?;
        match self.browser.evaluate(WAIT_UNTIL_DRAWN)?.as_str() {
            Some(refusal) => Err(ViewerError::Refused(refusal.to_owned())),
            None => Ok(()),
        }
    }

    /// What it made of the file.
    pub fn read_back(&mut self) -> Result<SpeedscopeFile, ViewerError> {
        let result = self.browser.evaluate(READ_BACK)?;
        serde_json::from_value(result)
            .map_err(|error| ViewerError::Failed(format!("unexpected result: {error}")))
    }

    /// A PNG of the window.
    pub fn picture(&mut self, width: u32, height: u32) -> Result<Vec<u8>, ViewerError> {
        self.browser.resize(width, height)?;
        // Left heavy: equal stacks side by side.
        self.browser.evaluate(
            "for (const type of ['keydown', 'keypress'])
                 window.dispatchEvent(new KeyboardEvent(type, { key: '2', bubbles: true }));
             new Promise(next => setTimeout(next, 500))",
        )?;
        self.browser.picture()
    }
}
