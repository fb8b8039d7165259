//! What processes have left that were killed, or ended by Ctrl-C: profiles are made of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::written;
use crate::failure::Result;
use crate::terminal::escaped;
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

    /// A process that goes on will write its profile by itself.
    fn is_of_a_live_process(&self) -> bool {
        Path::new("/proc").join(self.pid.to_string()).exists()
    }

    /// Not where another process of the run has put its profile.
    fn target(&self, start: SystemTime) -> PathBuf {
        let changed = fs::metadata(&self.profile).and_then(|about| about.modified());
        match changed {
            Ok(changed) if changed >= start => {
                self.profile.with_extension(format!("{}.json", self.pid))
            }
            _ => self.profile.clone(),
        }
    }
}

/// Turns the crash files in these folders that are new since the time into profiles where the processes
/// meant to put theirs, and removes them.
pub(super) fn recover(start: SystemTime, folders: &[PathBuf], out: &mut dyn Write) -> Result<()> {
    let files = written::changed_since(start, folders);
    let crash_files = files.into_iter().filter_map(CrashFile::at);
    for left in crash_files.filter(|left| !left.is_of_a_live_process()) {
        let target = left.target(start);
        let shown = |path: &Path| escaped(&path.display().to_string()).to_string();
        let done = recover::profile(&left.path)
            .and_then(|profile| output::write(&target, |sink| sink.write_all(&profile)));
        match done {
            Ok(()) => {
                writeln!(
                    out,
                    "Process {} did not come to its end: {} is recovered from what it left.",
                    left.pid,
                    shown(&target)
                )?;
                // What is left over harms nobody.
                let _ = fs::remove_file(&left.path);
            }
            Err(failure) => writeln!(
                out,
                "Process {} did not come to its end, and what it left cannot be recovered: {failure}",
                left.pid
            )?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
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
    fn no_profile_of_this_run_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let start = SystemTime::now() - std::time::Duration::from_secs(1);
        let left = CrashFile::at(folder.path().join("heap.json.7.crash")).unwrap();
        assert_eq!(left.target(start), left.profile);
        fs::write(&left.profile, "").unwrap();
        assert_eq!(left.target(start), folder.path().join("heap.7.json"));
        let later = SystemTime::now() + std::time::Duration::from_secs(9);
        assert_eq!(left.target(later), left.profile);
    }
}
