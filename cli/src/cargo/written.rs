//! The profiles that a run wrote: found by looking, so that it does not matter which profiler did.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A DHAT file's first key.
const FIRST_KEY: &str = "\"dhatFileVersion\"";

/// Profiles in these folders that are new since the time, the latest last.
pub(super) fn since(start: SystemTime, folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut files = changed_since(start, folders);
    files
        .retain(|path| path.extension().is_some_and(|ending| ending == "json") && is_profile(path));
    files
}

/// Files in these folders that have changed since the time, the latest last.
pub(super) fn changed_since(start: SystemTime, folders: &[PathBuf]) -> Vec<PathBuf> {
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    let mut known = HashSet::new();
    for folder in folders {
        // The same folder may be told in several ways.
        if !folder
            .canonicalize()
            .is_ok_and(|folder| known.insert(folder))
        {
            continue;
        }
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let changed = fs::metadata(&path).and_then(|about| about.modified());
            if let Ok(changed) = changed
                && changed >= start
            {
                found.push((changed, path));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

fn is_profile(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    let text = String::from_utf8_lossy(&start);
    read.is_ok()
        && text
            .trim_start()
            .strip_prefix('{')
            .is_some_and(|rest| rest.trim_start().starts_with(FIRST_KEY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_profiles() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let start = SystemTime::now() - std::time::Duration::from_secs(1);
        write("a.json", "{\n \"dhatFileVersion\": 2");
        write("b.json", "{\"other\": 2");
        write("c.txt", "{\"dhatFileVersion\": 2");
        write("old.json", "{\"dhatFileVersion\": 2");
        let old = File::options()
            .write(true)
            .open(folder.path().join("old.json"))
            .unwrap();
        old.set_modified(start - std::time::Duration::from_secs(9))
            .unwrap();
        let folders = [
            folder.path().to_owned(),
            folder.path().join("."),
            "/no/such".into(),
        ];
        assert_eq!(since(start, &folders), [folder.path().join("a.json")]);
    }
}
