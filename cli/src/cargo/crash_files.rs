//! What processes have left that were killed, or ended by Ctrl-C: profiles are made of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::written;
use crate::failure::Result;
use crate::terminal::escaped_path;
use crate::{output, recover};

/// Has every run of the process keep a crash file.
pub(super) const VARIABLE: &str = "HEAPLEDGER_CRASH_SAFE";

/// A crash file by its name, `dhat-heap.json.4711.crash`.
#[derive(Debug, PartialEq, Eq)]
struct CrashFile {
    path: PathBuf,
    /// Where the profile was to be.
    profile: PathBuf,
    pid: u32,
}

impl CrashFile {
    fn at(path: PathBuf) -> Option<CrashFile> {
        let name = path.file_name()?.to_str()?.strip_suffix(".crash")?;
        let (profile, pid) = name.rsplit_once('.')?;
        // `4711-1`, where a file of the first name was there already.
        let pid = pid.split('-').next()?.parse().ok()?;
        let profile = path.with_file_name(profile);
        Some(CrashFile { path, profile, pid })
    }

    /// Whether it is this user's, and no link: in a folder of many anybody can give a file such a name.
    fn is_own(&self) -> bool {
        let own = fs::metadata("/proc/self").map(|about| about.uid());
        let about = fs::symlink_metadata(&self.path);
        matches!((own, about), (Ok(own), Ok(about)) if about.is_file() && about.uid() == own)
    }

    /// Whether its process is still there. One that has ended and that nobody has waited for is not.
    fn is_of_a_live_process(&self) -> bool {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid));
        let state = text.as_ref().ok().and_then(|text| text.rsplit_once(") "));
        state.is_some_and(|(_, state)| !state.starts_with(['Z', 'X']))
    }

    /// Where the profile is put: not where something of this run is, nor where no profile was to be.
    fn target(&self, start: SystemTime) -> PathBuf {
        let is_json = self
            .profile
            .extension()
            .is_some_and(|ending| ending == "json");
        let first = is_json.then(|| self.profile.clone());
        let others = (0..).map(|number: u32| {
            let pid = self.pid;
            self.profile.with_extension(match number {
                0 => format!("{pid}.json"),
                _ => format!("{pid}-{number}.json"),
            })
        });
        let is_free = |path: &PathBuf| {
            let changed = fs::symlink_metadata(path).and_then(|about| about.modified());
            changed.map_or(true, |changed| changed < start)
        };
        let target = first.into_iter().chain(others).find(is_free);
        target.expect("there is always a further number")
    }
}

/// How long a process may take to die that a signal has ended, with all its memory.
const PATIENCE: Duration = Duration::from_secs(1);

/// Turns the crash files in these folders that are new since the time into profiles where the processes
/// meant to put theirs, and removes them.
pub(super) fn recover(start: SystemTime, folders: &[PathBuf], out: &mut dyn Write) -> Result<()> {
    let files = written::changed_since(start, folders);
    let crash_files = files.into_iter().filter_map(CrashFile::at);
    let deadline = Instant::now() + PATIENCE;
    for left in crash_files.filter(CrashFile::is_own) {
        let pid = left.pid;
        while left.is_of_a_live_process() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        if !left.path.exists() {
            // It came to its end after all, and has written its profile.
            continue;
        }
        if left.is_of_a_live_process() {
            let path = escaped_path(&left.path);
            writeln!(
                out,
                "Process {pid} still runs; what it may leave is {path}, for `heapledger recover`."
            )?;
            continue;
        }
        let target = left.target(start);
        let done = recover::profile(&left.path)
            .and_then(|profile| output::write_privately(&target, &profile));
        match done {
            Ok(()) => {
                let target = escaped_path(&target);
                writeln!(
                    out,
                    "Process {pid} did not come to its end: {target} is recovered from what it left."
                )?;
                // What is left over harms nobody.
                let _ = fs::remove_file(&left.path);
            }
            Err(failure) => writeln!(
                out,
                "Process {pid} did not come to its end, and what it left cannot be recovered: {failure}"
            )?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names() {
        let of = |name: &str| CrashFile::at(Path::new("a").join(name));
        let file = of("heap.json.4711.crash").unwrap();
        assert_eq!(
            (file.profile, file.pid),
            (PathBuf::from("a/heap.json"), 4711)
        );
        assert_eq!(of("heap.json.12-3.crash").unwrap().pid, 12);
        for other in ["heap.json", "heap.crash", "12.crash", "heap.json.x.crash"] {
            assert_eq!(of(other), None, "{other}");
        }
    }

    #[test]
    fn whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("heap.json.1.crash");
        fs::write(folder.path().join("other"), "").unwrap();
        std::os::unix::fs::symlink("other", &path).unwrap();
        let left = CrashFile::at(path.clone()).unwrap();
        assert!(!left.is_own() && left.is_of_a_live_process());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert!(left.is_own());
        // More than Linux gives.
        let gone = CrashFile::at(folder.path().join("heap.json.4194305.crash")).unwrap();
        assert!(!gone.is_own() && !gone.is_of_a_live_process());
    }

    #[test]
    fn no_profile_of_this_run_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let start = SystemTime::now() - std::time::Duration::from_secs(1);
        let left = CrashFile::at(folder.path().join("heap.json.7.crash")).unwrap();
        assert_eq!(left.target(start), left.profile);
        fs::write(&left.profile, "").unwrap();
        assert_eq!(left.target(start), folder.path().join("heap.7.json"));
        fs::write(folder.path().join("heap.7.json"), "").unwrap();
        assert_eq!(left.target(start), folder.path().join("heap.7-1.json"));
        let picture = CrashFile::at(folder.path().join("heap.svg.7.crash")).unwrap();
        assert_eq!(picture.target(start), folder.path().join("heap.7-1.json"));
        let later = SystemTime::now() + std::time::Duration::from_secs(9);
        assert_eq!(left.target(later), left.profile);
    }
}
