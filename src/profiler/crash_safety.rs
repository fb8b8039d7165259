//! The crash file of a run: made beside the profile's place when the run starts, removed when
//! the profile is in place.

use crate::capture::module_map::{self, BuildId, Module};
use crate::clock::Moment;
use crate::crash_file::CRASH_FILE;
use crate::process;
use crate::report::save;
use serde::{Deserialize, Serialize};
use std::os::fd::IntoRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;

/// What a process tells about itself, for when it can no longer be asked.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) command: String,
    /// Frames to show; none: all.
    pub(crate) frames: Option<usize>,
    pub(crate) modules: Vec<AboutModule>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct AboutModule {
    path: PathBuf,
    bias: u64,
    start: u64,
    end: u64,
    build_id: Vec<u8>,
}

impl From<Module> for AboutModule {
    fn from(module: Module) -> Self {
        Self {
            path: module.path,
            bias: module.bias,
            start: module.start,
            end: module.end,
            build_id: module.build_id.as_bytes().to_vec(),
        }
    }
}

impl From<AboutModule> for Module {
    fn from(module: AboutModule) -> Self {
        Self {
            path: module.path,
            bias: module.bias,
            start: module.start,
            end: module.end,
            build_id: BuildId::from_bytes(&module.build_id),
            // Where there is no id to compare, the file is taken for what it was.
            is_loaded: true,
        }
    }
}

/// Makes every run of the process crash-safe, for whoever starts it and cannot change it.
const VARIABLE: &str = "HEAPLEDGER_CRASH_SAFE";

pub(super) fn is_asked_from_outside() -> bool {
    let value = std::env::var_os(VARIABLE);
    value.is_some_and(|value| value != "0" && value != "off" && !value.is_empty())
        && !process::has_more_rights_than_its_caller()
}

/// Makes the file for the run that is about to start, beside `profile`.
///
/// # Errors
/// Why there is none, in a sentence.
pub(super) fn open(profile: &Path) -> Result<PathBuf, String> {
    let folder = profile.parent().unwrap_or(Path::new(""));
    let name = profile.file_name().unwrap_or_default().to_string_lossy();
    let pid = std::process::id();
    let (path, file) = save::create_new(folder, |attempt| match attempt {
        0 => format!("{name}.{pid}.crash"),
        _ => format!("{name}.{pid}-{attempt}.crash"),
    })
    .map_err(|error| format!("cannot create a crash file in {folder:?}: {error}"))?;
    // The run may come to its end in another directory.
    let path = std::path::absolute(&path).unwrap_or(path);
    CRASH_FILE
        .open(file.into_raw_fd(), Moment::now())
        .map(|()| path.clone())
        .map_err(|error| {
            let _ = std::fs::remove_file(&path);
            format!("cannot make room for the crash file {path:?}: {error}")
        })
}

/// Writes down what is needed to name frames later.
pub(super) fn tell_about(command: String, frames: Option<usize>, sample_bytes: Option<u64>) {
    if let Some(header) = CRASH_FILE.header() {
        let sample_bytes = sample_bytes.unwrap_or(0);
        header.sample_bytes.store(sample_bytes, Relaxed);
    }
    let modules = module_map::loaded_modules().into_iter();
    let about = About {
        command,
        frames,
        modules: modules.map(AboutModule::from).collect(),
    };
    if let Ok(text) = serde_json::to_vec(&about) {
        CRASH_FILE.tell_about(&text);
    }
}
