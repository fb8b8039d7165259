//! A file with names and lines of addresses.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use object::Object;

use crate::failure::{Failure, Result};
use crate::names::file_name;

pub(super) struct DebugFile {
    pub(super) path: PathBuf,
    /// The module that it was named for.
    module: Option<String>,
    /// The GNU build id in hexadecimal, or empty.
    pub(super) build_id: String,
    loader: Loader,
}

impl std::fmt::Debug for DebugFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DebugFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl DebugFile {
    /// `FILE`, or `MODULE=FILE`.
    pub(super) fn open(argument: &OsStr) -> Result<DebugFile> {
        let pair = argument.to_str().and_then(|text| text.split_once('='));
        let (module, path) = match pair {
            Some((module, path)) if !Path::new(argument).exists() => {
                (Some(module.to_owned()), OsStr::new(path))
            }
            _ => (None, argument),
        };
        let path = PathBuf::from(path);
        // It is mapped, and read more than once: neither a pipe nor a device will do.
        if fs::metadata(&path).is_ok_and(|about| !about.is_file()) {
            return Err(Failure::of_path(&path, "is no file"));
        }
        let content = fs::read(&path)
            .map_err(|error| Failure::of_path(&path, format!("cannot read it: {error}")))?;
        let file = object::File::parse(&*content);
        let file = file.map_err(|error| {
            Failure::of_path(
                &path,
                format!("is no program, library or debug file: {error}"),
            )
        })?;
        let id = file.build_id().ok().flatten().unwrap_or_default();
        let build_id = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let loader = Loader::new(&path).map_err(|error| {
            Failure::of_path(&path, format!("its debug information is broken: {error}"))
        })?;
        Ok(DebugFile {
            path,
            module,
            build_id,
            loader,
        })
    }

    /// Whether it is named for this module, or like it: `app` and `app.debug` for `/srv/app`.
    pub(super) fn is_for(&self, module: &str) -> bool {
        let name = file_name(module);
        if let Some(own) = &self.module {
            return own == module || own == name;
        }
        let own = self
            .path
            .file_name()
            .and_then(|own| own.to_str())
            .unwrap_or_default();
        own == name || own.strip_suffix(".debug") == Some(name)
    }

    /// The frames at a return address, innermost first, as a DHAT file writes them.
    pub(super) fn frames(&self, address: u64) -> Option<Vec<Box<str>>> {
        // The call lies before it, and may be the last instruction of its function.
        let probe = address.checked_sub(1)?;
        let symbol = self.loader.find_symbol(probe);
        let mut frames = self.loader.find_frames(probe).ok()?;
        // Name and place.
        let mut parts: Vec<(Option<String>, Option<String>)> = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let place = frame.location.as_ref().and_then(|location| {
                let (line, column) = (location.line.unwrap_or(0), location.column.unwrap_or(0));
                Some(format!("{}:{line}:{column}", shortened(location.file?)))
            });
            let name = frame
                .function
                .as_ref()
                .and_then(|name| name.raw_name().ok());
            parts.push((name.map(Cow::into_owned), place));
        }
        if parts.is_empty() && symbol.is_some() {
            parts.push((None, None));
        }
        // A plain name has neither path nor type; the linker's, of what was not inlined, has both.
        if let (Some((name, _)), Some(symbol)) = (parts.last_mut(), symbol)
            && !name.as_deref().is_some_and(is_mangled)
        {
            *name = Some(symbol.to_owned());
        }
        let texts = parts.into_iter().filter_map(|(name, place)| {
            let name = demangled(&name?);
            let place = place.unwrap_or_else(|| format!("in {}", self.path.display()));
            Some(format!("{address:#x}: {name} ({place})").into_boxed_str())
        });
        let texts: Vec<Box<str>> = texts.collect();
        (!texts.is_empty()).then_some(texts)
    }
}

fn is_mangled(name: &str) -> bool {
    name.starts_with("_R") || name.starts_with("_Z")
}

fn demangled(name: &str) -> String {
    // `{:#}` leaves out the hash.
    rustc_demangle::try_demangle(name).map_or_else(|_| name.to_owned(), |name| format!("{name:#}"))
}

/// As heapledger itself writes paths of the standard library and of dependencies.
fn shortened(path: &str) -> &str {
    if let Some((_, rest)) = path
        .strip_prefix("/rustc/")
        .and_then(|rest| rest.split_once('/'))
    {
        return rest;
    }
    for cut in ["/registry/src/", "/git/checkouts/"] {
        if let Some((_, rest)) = path.split_once(cut) {
            let is_registry = cut.starts_with("/registry");
            return if is_registry {
                rest.split_once('/').map_or(rest, |(_, rest)| rest)
            } else {
                rest
            };
        }
    }
    path
}
