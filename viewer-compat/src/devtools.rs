//! Chromium's DevTools protocol over a pair of pipes: enough to open a page, hand it a file and ask it
//! questions. A pipe needs no port, no WebSocket, and closes with its owner.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::error::ViewerError;

/// Without these Chromium looks for hosts on the network at every start, and small containers have too
/// little shared memory for it.
const FLAGS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--lang=en-US",
];

/// Chromium reads commands from descriptor 3 and answers on 4. The shell moves our two pipes there.
const START_WITH_PIPES: &str = r#"exec "$0" "$@" 3<&0 4>&1 0</dev/null 1>/dev/null"#;

const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// One running browser with one open page. Dropping it ends the browser and removes its profile folder.
pub struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    page_session: Option<String>,
    last_id: u64,
    deadline: Instant,
    home: TempDir,
    complaints: Vec<Value>,
}

impl std::fmt::Debug for Browser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Browser").finish_non_exhaustive()
    }
}

impl Browser {
    /// Every later call fails once `limit` has passed since the start.
    pub fn start(chromium: &Path, limit: Duration) -> Result<Self, ViewerError> {
        let home = tempfile::Builder::new()
            .prefix("viewer-compat-")
            .tempdir()?;
        let mut child = Command::new("sh")
            .args(["-c", START_WITH_PIPES])
            .arg(chromium)
            .args(FLAGS)
            .arg(format!(
                "--user-data-dir={}",
                home.path().join("profile").display()
            ))
            .env("HOME", home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(log_path(&home))?)
            .spawn()?;
        let commands = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (sender, answers) = channel();
        thread::spawn(move || forward_answers(stdout, sender));

        let mut browser = Self {
            child,
            commands,
            answers,
            page_session: None,
            last_id: 0,
            deadline: Instant::now() + limit,
            home,
            complaints: Vec::new(),
        };
        browser.open_page()?;
        Ok(browser)
    }

    /// A folder of this browser alone, removed with it.
    pub(crate) fn folder(&self) -> &Path {
        self.home.path()
    }

    /// Number formats must not depend on the machine's language, so the page's locale is fixed.
    fn open_page(&mut self) -> Result<(), ViewerError> {
        let target = self.call("Target.createTarget", json!({ "url": "about:blank" }))?;
        let attached = self.call(
            "Target.attachToTarget",
            json!({ "targetId": target["targetId"], "flatten": true }),
        )?;
        self.page_session = attached["sessionId"].as_str().map(str::to_owned);
        self.call("Emulation.setLocaleOverride", json!({ "locale": "en-US" }))?;
        Ok(())
    }

    /// From now on, [`Browser::complaints`] has what pages print and throw.
    pub fn listen(&mut self) -> Result<(), ViewerError> {
        self.call("Runtime.enable", json!({}))?;
        self.call("Log.enable", json!({}))?;
        Ok(())
    }

    /// Messages on the console, thrown errors, refused loads and policy violations so far.
    pub fn complaints(&self) -> &[Value] {
        &self.complaints
    }

    /// Opens a file.
    pub fn navigate(&mut self, page: &Path) -> Result<(), ViewerError> {
        let url = format!("file://{}", page.display());
        let answer = self.call("Page.navigate", json!({ "url": url }))?;
        match answer["errorText"].as_str() {
            Some(error) => Err(self.failure(format!("cannot open {url}: {error}"))),
            None => Ok(()),
        }
    }

    /// The value of a JavaScript expression; a promise is awaited. A page that throws is an error.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value, ViewerError> {
        let answer = self.call(
            "Runtime.evaluate",
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true }),
        )?;
        match answer.get("exceptionDetails") {
            Some(details) => Err(self.failure(format!("the page threw: {details}"))),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Chooses `file` in a page's file input, as a user does in the dialogue.
    pub(crate) fn choose_file(&mut self, input: &str, file: &Path) -> Result<(), ViewerError> {
        let answer = self.call("Runtime.evaluate", json!({ "expression": input }))?;
        let object = &answer["result"]["objectId"];
        self.call(
            "DOM.setFileInputFiles",
            json!({ "objectId": object, "files": [file] }),
        )?;
        Ok(())
    }

    /// The size of the window, in pixels.
    pub fn resize(&mut self, width: u32, height: u32) -> Result<(), ViewerError> {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size)
            .map(drop)
    }

    /// A PNG of what is in the window.
    pub(crate) fn picture(&mut self) -> Result<Vec<u8>, ViewerError> {
        let answer = self.call("Page.captureScreenshot", json!({ "format": "png" }))?;
        STANDARD
            .decode(answer["data"].as_str().unwrap_or_default())
            .map_err(|error| ViewerError::Failed(format!("a broken picture: {error}")))
    }

    /// A command of the protocol, and its answer.
    pub fn call(&mut self, method: &str, params: Value) -> Result<Value, ViewerError> {
        self.last_id += 1;
        let mut command = json!({ "id": self.last_id, "method": method, "params": params });
        if let Some(session) = &self.page_session {
            command["sessionId"] = json!(session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        if let Err(error) = self.commands.write_all(&bytes) {
            return Err(self.failure(format!("cannot send {method}: {error}")));
        }
        self.answer_to(method)
    }

    fn answer_to(&mut self, method: &str) -> Result<Value, ViewerError> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let answer = match self.answers.recv_timeout(left) {
                Ok(answer) => answer,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failure(format!("no answer to {method} in time")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failure(format!("ended before it answered {method}")));
                }
            };
            if let Some("Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded") =
                answer["method"].as_str()
            {
                self.complaints.push(answer);
                continue;
            }
            if answer["method"] == "Inspector.targetCrashed" {
                return Err(self.failure(format!("the page crashed during {method}")));
            }
            if answer["id"] == self.last_id {
                return match answer.get("error") {
                    Some(error) => Err(self.failure(format!("{method}: {error}"))),
                    None => Ok(answer["result"].clone()),
                };
            }
        }
    }

    /// An error that carries the end of what Chromium printed.
    fn failure(&self, what: String) -> ViewerError {
        let log = fs::read(log_path(&self.home)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(5)..].join("\n  ");
        ViewerError::Failed(format!("{what}\nits last words:\n  {tail}"))
    }
}

impl Drop for Browser {
    /// The profile folder is removed after this, so the browser must have stopped writing into it.
    fn drop(&mut self) {
        self.page_session = None;
        self.deadline = Instant::now() + SHUTDOWN_LIMIT;
        let closing = self.call("Browser.close", json!({})).is_ok();
        let limit = Instant::now() + SHUTDOWN_LIMIT;
        while closing && Instant::now() < limit {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log_path(home: &TempDir) -> std::path::PathBuf {
    home.path().join("chromium.log")
}

/// Messages are JSON texts, each ended by a zero byte. The channel closes when the browser ends.
fn forward_answers(stdout: ChildStdout, sender: Sender<Value>) {
    let mut reader = BufReader::new(stdout);
    let mut message = Vec::new();
    while matches!(reader.read_until(0, &mut message), Ok(1..)) {
        if message.last() == Some(&0) {
            message.pop();
        }
        if let Ok(value) = serde_json::from_slice(&message)
            && sender.send(value).is_err()
        {
            return;
        }
        message.clear();
    }
}
