//! Firefox Profiler, through its command line program: the same code reads and sums up files there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{npm_file, printed, program};
use crate::error::ViewerError;

/// Firefox Profiler with a file loaded, as a server of its own; ended when this is dropped.
#[derive(Debug)]
pub struct Firefox {
    /// Dropped before the folder that it writes to.
    server: Server,
    session: TempDir,
    node: PathBuf,
    script: PathBuf,
}

#[derive(Debug)]
struct Server(Child);

/// The server's name, of which there is one in a folder.
const SESSION: &str = "heap";
/// A line of the server's log once it answers questions, and the start of one that says why it never will.
const LOADED: &str = "Profile loaded successfully";
const FAILED: &str = "Failed to load profile: ";
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a function stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its file.
    pub file: String,
    /// Lines that have something.
    pub lines: Vec<u64>,
}

impl Firefox {
    /// Loads a file of any format that Firefox Profiler knows.
    ///
    /// The server is started here, as the program says it can be, and not by its `load`, which gives the server half a second:
    /// too little on a busy machine.
    pub fn open(file: &Path) -> Result<Self, ViewerError> {
        let session = tempfile::tempdir()?;
        let node = program("node", "nodejs")?;
        let script = npm_file("@firefox-devtools/profiler-cli/dist/profiler-cli.js")?;
        let mut command = command(&node, &script, session.path());
        command
            .arg("--daemon")
            .arg(file)
            .args(["--session", SESSION]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut firefox = Self {
            server: Server(command.stderr(Stdio::null()).spawn()?),
            session,
            node,
            script,
        };
        firefox.wait_until_loaded()?;
        Ok(firefox)
    }

    fn wait_until_loaded(&mut self) -> Result<(), ViewerError> {
        let log = self.session.path().join(format!("{SESSION}.log"));
        let until = Instant::now() + PATIENCE;
        loop {
            let ended = self.server.0.try_wait()?;
            let log = fs::read_to_string(&log).unwrap_or_default();
            if let Some((_, why)) = log.split_once(FAILED) {
                return Err(ViewerError::Refused(why.to_owned()));
            }
            if let Some(status) = ended {
                let why = format!("Firefox Profiler's server ended: {status}: {log}");
                return Err(ViewerError::Failed(why));
            }
            if log.contains(LOADED) {
                return Ok(());
            }
            if Instant::now() > until {
                let why = format!("Firefox Profiler did not load it in {PATIENCE:?}: {log}");
                return Err(ViewerError::Failed(why));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn ask(&self, arguments: &[&str]) -> Result<String, ViewerError> {
        let mut command = command(&self.node, &self.script, self.session.path());
        command.args(arguments);
        printed(&mut command)
    }

    fn ask_json(&self, arguments: &[&str]) -> Result<Value, ViewerError> {
        let mut with_json = arguments.to_vec();
        with_json.push("--json");
        let text = self.ask(&with_json)?;
        serde_json::from_str(&text)
            .map_err(|error| ViewerError::Refused(format!("no JSON: {error}: {text}")))
    }

    /// The functions of a thread by what the thread's samples weigh, or by another `strategy`:
    /// `native-allocations`, `native-retained-allocations`.
    pub fn functions(
        &self,
        thread: &str,
        strategy: Option<&str>,
    ) -> Result<Functions, ViewerError> {
        let mut question = vec!["thread", "functions", "--limit", "0", "--thread", thread];
        if let Some(strategy) = strategy {
            question.extend(["--strategy", strategy]);
        }
        Ok(Functions(self.ask_json(&question)?))
    }

    /// Source file and lines of a function's own bytes, in the thread that was asked last.
    pub fn source(&self, handle: &str) -> Result<Source, ViewerError> {
        let answer = self.ask_json(&["function", "annotate", handle, "--context", "0"])?;
        let annotation = &answer["srcAnnotation"];
        let lines = annotation["lines"].as_array().into_iter().flatten();
        Ok(Source {
            file: annotation["filename"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            lines: lines
                .filter(|line| line["selfSamples"] != 0)
                .filter_map(|line| line["lineNumber"].as_u64())
                .collect(),
        })
    }

    /// The memory track: how much it rises above its lowest, or none.
    pub fn memory_range(&self) -> Result<Option<u64>, ViewerError> {
        let counters = self.ask_json(&["counter", "list"])?;
        Ok(counters["counters"][0]["stats"][0]["value"].as_u64())
    }

    /// Shows a part of the time only, in seconds.
    pub fn zoom(&self, from: f64, to: f64) -> Result<(), ViewerError> {
        self.ask(&["zoom", "push", &format!("{from},{to}")])?;
        Ok(())
    }
}

fn command(node: &Path, script: &Path, session: &Path) -> Command {
    let mut command = Command::new(node);
    command.arg(script);
    command.env("PROFILER_CLI_SESSION_DIR", session);
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The functions of a call tree.
#[derive(Clone, Debug)]
pub struct Functions(Value);

impl Functions {
    /// What all of them weigh together, without what they call.
    pub fn sum(&self) -> u64 {
        let functions = self.0["functions"].as_array().into_iter().flatten();
        functions
            .filter_map(|function| function["selfSamples"].as_u64())
            .sum()
    }

    /// The call tree's name.
    pub fn thread(&self) -> &str {
        self.0["friendlyThreadName"].as_str().unwrap_or_default()
    }

    /// The handle of a function.
    pub fn handle(&self, name: &str) -> Option<&str> {
        let mut functions = self.0["functions"].as_array().into_iter().flatten();
        let function = functions.find(|function| function["name"] == name)?;
        function["functionHandle"].as_str()
    }

    /// Functions' names.
    pub fn names(&self) -> Vec<&str> {
        let functions = self.0["functions"].as_array().into_iter().flatten();
        functions
            .filter_map(|function| function["name"].as_str())
            .collect()
    }
}
