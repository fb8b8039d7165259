//! Which objects the code on stacks was in, noted when the first rule of an object
//! is derived: so that an object which has been unloaded can still be named, and
//! what has been loaded in its place is told from it.

use crate::capture::module_map::{BuildId, Module, NotedModule};
use crate::lock::SpinLock;
use crate::untracked;
use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr::NonNull;

/// Objects that are noted; of further ones nothing is known after they were
/// unloaded.
const MAX_NOTES: usize = 512;

const MAX_PATH_BYTES: usize = 440;

/// An object as the loader tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ObjectFacts<'a> {
    pub(crate) bias: u64,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) build_id: BuildId,
    pub(crate) path: &'a CStr,
}

/// Zeroed memory is a note not in use.
#[derive(Debug)]
struct Note {
    bias: u64,
    start: u64,
    end: u64,
    build_id: BuildId,
    since_site: u32,
    path_bytes: usize,
    path: [u8; MAX_PATH_BYTES],
}

#[derive(Debug)]
struct Notes {
    memory: Option<NonNull<[Note; MAX_NOTES]>>,
    count: usize,
}

// SAFETY: memory of its own, reached through a lock only.
unsafe impl Send for Notes {}

#[derive(Debug)]
pub(crate) struct ModuleNotes(SpinLock<Notes>);

/// What a note told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing new, or that there was nothing there before.
    Fits,
    /// Something else had been loaded there.
    InPlaceOfAnother,
}

impl ModuleNotes {
    pub(crate) const fn new() -> Self {
        Self(SpinLock::new(Notes {
            memory: None,
            count: 0,
        }))
    }

    /// Gets memory; before that nothing is noted.
    pub(crate) fn prepare(&self) {
        let mut notes = self.0.lock();
        if notes.memory.is_none() {
            // SAFETY: zeroed memory is valid notes.
            notes.memory = unsafe { untracked::map_zeroed() };
        }
    }

    /// Code of this object is on a stack. `since_site` is the first site that
    /// can lead through it, if it was not noted before.
    pub(crate) fn note(&self, object: &ObjectFacts<'_>, since_site: u32) -> Noted {
        let mut notes = self.0.lock();
        let Some(mut memory) = notes.memory else {
            return Noted::Fits;
        };
        // SAFETY: mapped by `prepare`, and this is the lock's holder.
        let all = unsafe { memory.as_mut() };
        let count = notes.count;
        // The latest one tells what lies there now.
        let overlapping = all[..count]
            .iter()
            .rev()
            .find(|note| note.start < object.end && object.start < note.end);
        let noted = match overlapping {
            Some(note) if note.is_of(object) => return Noted::Fits,
            Some(_) => Noted::InPlaceOfAnother,
            None => Noted::Fits,
        };
        if let Some(free) = all.get_mut(count) {
            let path = object.path.to_bytes();
            free.path_bytes = path.len().min(MAX_PATH_BYTES);
            free.path[..free.path_bytes].copy_from_slice(&path[..free.path_bytes]);
            (free.bias, free.build_id) = (object.bias, object.build_id);
            (free.start, free.end) = (object.start, object.end);
            free.since_site = since_site;
            notes.count += 1;
        }
        noted
    }

    /// All notes, the oldest first. Allocates.
    pub(crate) fn read(&self) -> Vec<NotedModule> {
        // Room is made without the lock: an allocation may note something.
        let mut modules = Vec::with_capacity(MAX_NOTES);
        let mut paths = vec![0; MAX_NOTES * MAX_PATH_BYTES];
        let mut read = Vec::with_capacity(MAX_NOTES);
        {
            let notes = self.0.lock();
            let Some(memory) = notes.memory else {
                return modules;
            };
            // SAFETY: mapped by `prepare`, and this is the lock's holder.
            let all = unsafe { memory.as_ref() };
            for (note, path) in all[..notes.count]
                .iter()
                .zip(paths.chunks_exact_mut(MAX_PATH_BYTES))
            {
                path.copy_from_slice(&note.path);
                let range = (note.bias, note.start, note.end);
                read.push((range, note.build_id, note.since_site, note.path_bytes));
            }
        }
        for (((bias, start, end), build_id, since_site, path_bytes), path) in
            read.into_iter().zip(paths.chunks_exact(MAX_PATH_BYTES))
        {
            modules.push(NotedModule {
                module: Module {
                    path: PathBuf::from(OsStr::from_bytes(&path[..path_bytes])),
                    bias,
                    start,
                    end,
                    build_id,
                    is_loaded: true,
                },
                since_site,
            });
        }
        modules
    }
}

impl Note {
    fn is_of(&self, object: &ObjectFacts<'_>) -> bool {
        let path = object.path.to_bytes();
        let path = &path[..path.len().min(MAX_PATH_BYTES)];
        (self.bias, self.start, self.end) == (object.bias, object.start, object.end)
            && self.build_id == object.build_id
            && &self.path[..self.path_bytes] == path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(path: &CStr, start: u64, build_id: u8) -> ObjectFacts<'_> {
        ObjectFacts {
            bias: start,
            start,
            end: start + 0x1000,
            build_id: BuildId::from_bytes(&[build_id; 20]),
            path,
        }
    }

    #[test]
    fn what_lies_in_place_of_another_is_told_from_it() {
        let notes = ModuleNotes::new();
        let (a, b) = (facts(c"/a.so", 0x1000, 1), facts(c"/b.so", 0x1800, 2));
        assert_eq!(notes.note(&a, 0), Noted::Fits, "no memory yet");
        assert!(notes.read().is_empty());
        notes.prepare();
        assert_eq!(notes.note(&a, 1), Noted::Fits);
        assert_eq!(notes.note(&a, 2), Noted::Fits);
        assert_eq!(notes.note(&facts(c"/c.so", 0x9000, 3), 3), Noted::Fits);
        assert_eq!(notes.note(&b, 4), Noted::InPlaceOfAnother);
        assert_eq!(notes.note(&b, 5), Noted::Fits);
        // Back again, and one built anew.
        assert_eq!(notes.note(&a, 6), Noted::InPlaceOfAnother);
        assert_eq!(
            notes.note(&facts(c"/a.so", 0x1000, 9), 7),
            Noted::InPlaceOfAnother
        );
        let since: Vec<u32> = notes.read().iter().map(|note| note.since_site).collect();
        assert_eq!(since, [1, 3, 4, 6, 7]);
        assert_eq!(notes.read()[2].module.path.to_str(), Some("/b.so"));
    }

    #[test]
    fn a_full_table_forgets_nothing() {
        let notes = ModuleNotes::new();
        notes.prepare();
        for number in 0..MAX_NOTES as u64 + 10 {
            notes.note(&facts(c"/a.so", number << 16, 1), number as u32);
        }
        let read = notes.read();
        assert_eq!(read.len(), MAX_NOTES);
        assert!(
            (0..)
                .zip(&read)
                .all(|(number, note)| note.since_site == number)
        );
    }
}
