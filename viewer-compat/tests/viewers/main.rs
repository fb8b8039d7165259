//! Every format in the real program that opens it: profiles of every kind, whose totals are read back
//! out of the viewer, and broken files, which show that each check can fail.

mod callgrind;
mod dhat;
mod firefox;
mod flame_graph;
mod massif;
mod pprof;
mod speedscope;
mod strict;
mod written;

use std::path::{Path, PathBuf};

use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use tempfile::TempDir;

/// The profiler's own sum.
fn sum(profile: &Profile, metric: Metric) -> u64 {
    profile
        .points
        .iter()
        .map(|point| metric.of(&point.counts))
        .sum()
}

/// A file in a folder of its own, removed with it.
struct Scratch {
    _folder: TempDir,
    path: PathBuf,
}

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        Self {
            _folder: folder,
            path,
        }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// What a writer writes.
#[track_caller]
fn written(write: impl FnOnce(&mut Vec<u8>) -> Result<(), heapledger_formats::Error>) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    bytes
}
