//! Running a scenario's program, within a time limit.

use super::profile::{Profile, Summary};
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

const SCENARIO: &str = "HEAPLEDGER_TEST_SCENARIO";
const ARGUMENT: &str = "HEAPLEDGER_TEST_ARGUMENT";

/// Long after the slowest scenario on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(180);

pub(crate) fn scenario_of_this_process() -> Option<String> {
    std::env::var(SCENARIO).ok()
}

/// In a child: what [`Child::argument`] said.
pub(crate) fn argument() -> String {
    std::env::var(ARGUMENT).unwrap_or_default()
}

/// In a child: tells the parent a number.
pub(crate) fn tell(name: &str, value: u64) {
    println!("{name}={value}");
}

/// A number from the environment, for runs that are longer than the usual one.
pub(crate) fn setting<T: FromStr>(name: &str, usual: T) -> T {
    match std::env::var(name) {
        Ok(text) => match text.parse() {
            Ok(value) => value,
            Err(_) => panic!("{name}={text} is not a number"),
        },
        Err(_) => usual,
    }
}

/// A child that is not yet started.
pub(crate) struct Child {
    name: String,
    command: Command,
    folder: Folder,
    time_limit: Duration,
}

impl Child {
    pub(crate) fn of(scenario: &str) -> Self {
        let program = std::env::current_exe().expect("path of this binary");
        let mut child = Self::of_program(scenario, &program);
        child.command.env(SCENARIO, scenario);
        child
    }

    /// Any other program.
    pub(crate) fn of_program(name: &str, program: &Path) -> Self {
        let folder = Folder::new(name);
        let mut command = Command::new(program);
        command.current_dir(&folder.0).env("RUST_BACKTRACE", "0");
        Self {
            name: name.to_owned(),
            command,
            folder,
            time_limit: TIME_LIMIT,
        }
    }

    /// This child's program started by a shell's `script`, as `"$0"`.
    pub(crate) fn through_shell(mut self, script: &str) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell
            .arg("-c")
            .arg(script)
            .arg(self.command.get_program())
            .current_dir(&self.folder.0);
        for (name, value) in self.command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        self.command = shell;
        self
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.command.env(ARGUMENT, argument);
        self
    }

    /// For another copy of this binary.
    pub(crate) fn scenario(mut self, name: &str) -> Self {
        self.command.env(SCENARIO, name);
        self
    }

    /// The variable that starts a run from outside.
    pub(crate) fn environment(mut self, text: &str) -> Self {
        self.command.env("HEAPLEDGER", text);
        self
    }

    /// Which allocator the profiler's own is put around.
    pub(crate) fn allocator(mut self, name: &str) -> Self {
        self.command.env("HEAPLEDGER_TEST_ALLOCATOR", name);
        self
    }

    /// Sets a variable of the environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// For what takes longer than all else.
    pub(crate) fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder.0
    }

    /// Starts the program and waits for it.
    pub(crate) fn run(self) -> Ended {
        self.run_among(|_| ())
    }

    /// A program that was just written may still be open for writing: in a process that another
    /// test has forked and that has not yet become its own program.
    fn spawn(&mut self, started: Instant) -> std::process::Child {
        loop {
            match self.command.spawn() {
                Err(error)
                    if error.kind() == ErrorKind::ExecutableFileBusy
                        && started.elapsed() < self.time_limit =>
                {
                    std::thread::sleep(Duration::from_millis(2));
                }
                spawned => return spawned.expect("starts"),
            }
        }
    }

    /// As `run`, with `meanwhile` called while it runs.
    pub(crate) fn run_among(mut self, meanwhile: impl FnOnce(u32)) -> Ended {
        // Files, not pipes: a child that fills a pipe would wait for us.
        let output = |name| self.folder.0.join(name);
        let (stdout, stderr) = (output(".stdout"), output(".stderr"));
        self.command
            .stdout(File::create(&stdout).expect("file for stdout"))
            .stderr(File::create(&stderr).expect("file for stderr"));
        let started = Instant::now();
        let mut process = self.spawn(started);
        meanwhile(process.id());
        let status = loop {
            if let Some(status) = process.try_wait().expect("waits") {
                break Some(status);
            }
            if started.elapsed() > self.time_limit {
                break None;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let threads = match status {
            Some(_) => String::new(),
            None => {
                let threads = threads_of(process.id());
                process.kill().expect("kills what hangs");
                process.wait().expect("waits for what was killed");
                threads
            }
        };
        let read = |path| String::from_utf8_lossy(&fs::read(path).expect("output")).into_owned();
        let (stdout, stderr) = (read(&stdout), read(&stderr));
        let Some(status) = status else {
            panic!(
                "{}: still running after {:?}\nthreads:\n{threads}\nstderr:\n{stderr}",
                self.name, self.time_limit
            );
        };
        Ended {
            name: self.name,
            status,
            stdout,
            stderr,
            folder: self.folder,
        }
    }
}

/// What each thread of a hanging child waits in, for the failure's message.
fn threads_of(process: u32) -> String {
    let mut text = String::new();
    let tasks = fs::read_dir(format!("/proc/{process}/task"));
    for task in tasks.into_iter().flatten().flatten().take(20) {
        let word = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        text.push_str(&format!(
            "{} in {}, system call {}",
            word("comm").trim_end(),
            word("wchan"),
            word("syscall")
        ));
    }
    text
}

/// A child that has ended.
pub(crate) struct Ended {
    name: String,
    status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    folder: Folder,
}

impl Ended {
    #[track_caller]
    pub(crate) fn exited_with(self, code: i32) -> Self {
        assert_eq!(
            (self.status.code(), self.status.signal()),
            (Some(code), None),
            "{}: exit code, signal\n{}{}",
            self.name,
            self.stdout,
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn killed_by(self, signal: i32) -> Self {
        assert_eq!(
            (self.status.code(), self.status.signal()),
            (None, Some(signal)),
            "{}: exit code, signal\n{}",
            self.name,
            self.stderr
        );
        self
    }

    /// A number that the child told.
    #[track_caller]
    pub(crate) fn told(&self, name: &str) -> u64 {
        let mut values = self.stdout.lines().filter_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key == name).then(|| value.parse::<u64>())
        });
        match values.next_back() {
            Some(Ok(value)) => value,
            _ => panic!("{}: did not tell {name}\n{}", self.name, self.stdout),
        }
    }

    /// What we have printed on standard error.
    pub(crate) fn our_lines(&self) -> Vec<&str> {
        self.stderr
            .lines()
            .filter(|line| line.starts_with("heapledger: "))
            .collect()
    }

    /// The summaries of all runs, the first run's first.
    pub(crate) fn summaries(&self) -> Vec<Summary> {
        Summary::all(&self.stderr)
    }

    /// Files that the child has left, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder.0).expect("the child's folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("entry").file_name().to_string_lossy().into())
            .filter(|name: &String| name != ".stdout" && name != ".stderr")
            .collect();
        names.sort();
        names
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.0.join(file)
    }

    /// The profile of the only run: the file, the summary and the line that
    /// says where it is all agree, and there is no other file.
    #[track_caller]
    pub(crate) fn profile(&self) -> Profile {
        assert_eq!(self.files(), ["dhat-heap.json"], "{}", self.stderr);
        let saved = "heapledger: The data has been saved to dhat-heap.json, \
                     and is viewable with dhat/dh_view.html";
        assert_eq!(
            self.our_lines()
                .iter()
                .filter(|&&line| line == saved)
                .count(),
            1,
            "{}",
            self.stderr
        );
        let [summary] = &self.summaries()[..] else {
            panic!("{}: not one summary\n{}", self.name, self.stderr);
        };
        let profile = Profile::read(&self.path("dhat-heap.json"));
        profile.agrees_with(summary);
        profile
    }
}

/// A folder of the child's own, removed unless the test fails.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!(
            "{name}-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Relaxed)
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique);
        fs::create_dir_all(&path).expect("a folder for the child");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}
