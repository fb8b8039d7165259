//! What the settings of a run come to together.

use super::{ProfilerBuilder, command, crash_safety, exact};
use crate::alloc::ENGINE;
use crate::record::snapshot::Kind;
use crate::report::output::{Format, Output};
use crate::touch::Touch;
use std::path::{Path, PathBuf};

impl ProfilerBuilder {
    /// Why these settings cannot be had together.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        match self.sampling() {
            Some(_) if self.testing => {
                Some("testing needs every block recorded; remove sample_bytes")
            }
            Some(_) if crate::exact::COUNTS_ACCESSES => {
                Some("a build that counts accesses records every block; remove sample_bytes")
            }
            Some(_) if ENGINE.recorder().scopes.any_open() => {
                Some("scopes that are open count every block; end them before a run that samples")
            }
            Some(_) if self.timing => {
                Some("timing needs every block recorded; remove sample_bytes")
            }
            Some(_) if self.touch == Some(Touch::Estimate) => Some(
                "what is written to blocks is measured where every block is recorded; remove sample_bytes or touch",
            ),
            _ => None,
        }
    }

    pub(super) fn measures_touch(&self) -> bool {
        // What a build counts it need not estimate.
        let default = match self.testing || crate::exact::COUNTS_ACCESSES {
            true => Touch::Off,
            false => Touch::Estimate,
        };
        let is_on = self.touch.unwrap_or(default) == Touch::Estimate;
        is_on && !self.ad_hoc && self.sampling().is_none()
    }

    pub(super) fn open_crash_file(&self) -> Result<PathBuf, String> {
        let files = self.files(None);
        let first = files
            .first()
            .map_or(Path::new("dhat-heap.json"), Output::path);
        let path = crash_safety::open(first)?;
        self.tell_about();
        Ok(path)
    }

    pub(super) fn tell_about(&self) {
        crash_safety::tell_about(command(), self.trim_backtraces, self.sampling());
    }

    pub(super) fn is_crash_safe(&self) -> bool {
        self.crash_safe && self.kind() == Kind::Heap
    }

    pub(super) fn is_exact(&self) -> bool {
        self.testing || self.exact_peaks
    }

    pub(super) fn times_calls(&self) -> bool {
        self.timing && !self.ad_hoc
    }

    /// Mean number of bytes from a sample to the next, if not all is recorded.
    pub(super) fn sampling(&self) -> Option<u64> {
        self.sample_bytes.filter(|_| !self.ad_hoc)
    }

    pub(super) fn kind(&self) -> Kind {
        match (self.ad_hoc, self.copies) {
            (true, _) => Kind::AdHoc,
            (false, true) => Kind::Copies,
            (false, false) => Kind::Heap,
        }
    }

    /// What to do about a run that can record nothing.
    pub(super) fn missing(&self) -> &'static str {
        match self.copies {
            true => exact::MISSING_FLAGS_FOR_COPIES,
            false => MISSING_ALLOCATOR,
        }
    }

    /// The files to be written. A copy of the process that started the run,
    /// made by `fork`, has files of its own.
    pub(super) fn files(&self, copy: Option<u32>) -> Vec<Output> {
        let dhat = match (&self.file_name, self.kind()) {
            (Some(name), _) => Some(name.as_path()),
            (None, _) if !self.outputs.is_empty() => None,
            (None, Kind::Heap) => Some(Path::new("dhat-heap.json")),
            (None, Kind::AdHoc) => Some(Path::new("dhat-ad-hoc.json")),
            (None, Kind::Copies) => Some(Path::new("dhat-copies.json")),
        };
        let dhat = dhat.map(|path| Output::new(Format::Dhat, path));
        let all = dhat.into_iter().chain(self.outputs.iter().cloned());
        all.map(|output| match copy {
            Some(pid) => output.of_copy(pid),
            None => output,
        })
        .collect()
    }
}

pub(crate) const MISSING_ALLOCATOR: &str = "error: no allocation can be recorded, because heapledger is not the \
     program's allocator; add: #[global_allocator] static ALLOC: heapledger::Alloc = heapledger::Alloc;";
