//! The loaded objects, for symbolizing.

use crate::capture::module_notes::ObjectFacts;
use std::ffi::{CStr, OsStr, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// A loaded object: the executable or a shared library.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Path as the loader has it; the executable's own path for the main program.
    pub(crate) path: PathBuf,
    /// Runtime address minus link-time address.
    pub(crate) bias: u64,
    /// Runtime address range, end exclusive.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// As it is in memory: the file may be another by now.
    pub(crate) build_id: BuildId,
    pub(crate) is_loaded: bool,
}

impl Module {
    pub(crate) fn of(object: &ObjectFacts<'_>) -> Self {
        Self {
            path: path_of(object.path),
            bias: object.bias,
            start: object.start,
            end: object.end,
            build_id: object.build_id,
            is_loaded: true,
        }
    }
}

/// The loader has no name for the main program.
fn path_of(name: &CStr) -> PathBuf {
    match name.to_bytes() {
        b"" => std::fs::read_link("/proc/self/exe").unwrap_or_else(|_| "/proc/self/exe".into()),
        bytes => PathBuf::from(OsStr::from_bytes(bytes)),
    }
}

/// A module that code on a stack was in, though it may have been unloaded since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotedModule {
    pub(crate) module: Module,
    /// The first site whose stack can lead through it.
    pub(crate) since_site: u32,
}

/// What the linker made to tell a build from every other; empty if it made none.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BuildId {
    len: u8,
    bytes: [u8; MAX_BUILD_ID_BYTES],
}

/// SHA-1 has 20.
const MAX_BUILD_ID_BYTES: usize = 32;

impl BuildId {
    pub(crate) fn from_bytes(id: &[u8]) -> Self {
        let mut bytes = [0; MAX_BUILD_ID_BYTES];
        let len = id.len().min(MAX_BUILD_ID_BYTES);
        bytes[..len].copy_from_slice(&id[..len]);
        let len = len as u8;
        Self { len, bytes }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl std::fmt::Debug for BuildId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hex = |byte: &u8| write!(f, "{byte:02x}");
        self.as_bytes().iter().try_for_each(hex)
    }
}

/// The build id in the notes of an object's program headers.
///
/// # Safety
/// The headers are those of an object loaded at `bias`.
pub(crate) unsafe fn build_id_of(headers: &[libc::Elf64_Phdr], bias: u64) -> BuildId {
    const GNU_BUILD_ID: u32 = 3;
    for header in headers
        .iter()
        .filter(|header| header.p_type == libc::PT_NOTE)
    {
        let address = bias.wrapping_add(header.p_vaddr) as *const u8;
        // SAFETY: notes are part of a loaded segment.
        let mut notes = unsafe { std::slice::from_raw_parts(address, header.p_memsz as usize) };
        // Each: sizes of name and content, type; then both, padded.
        while let Some((sizes, rest)) = notes.split_first_chunk::<12>() {
            let word = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|byte| sizes[at + byte]));
            let (name, content) = (word(0) as usize, word(4) as usize);
            let padded = |bytes: usize| bytes.next_multiple_of(4);
            if rest.len() < padded(name) + padded(content) {
                break;
            }
            let (name_bytes, after) = rest.split_at(padded(name));
            if word(8) == GNU_BUILD_ID && name_bytes.starts_with(b"GNU\0") {
                return BuildId::from_bytes(&after[..content]);
            }
            notes = &after[padded(content)..];
        }
    }
    BuildId::default()
}

/// All objects loaded now. Takes the loader's lock and allocates: call it with
/// recording stopped or ignored, and with no lock held.
pub(crate) fn loaded_modules() -> Vec<Module> {
    let mut modules = Vec::new();
    // SAFETY: the callback gets `modules` back and outlives nothing.
    unsafe {
        libc::dl_iterate_phdr(Some(push_module), (&raw mut modules).cast());
    }
    modules
}

/// # Safety
/// Called by `dl_iterate_phdr` with `data` pointing to a `Vec<Module>`.
unsafe extern "C" fn push_module(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a valid record, and our own `data` back.
    let (info, modules) = unsafe { (&*info, &mut *data.cast::<Vec<Module>>()) };
    if info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the record's own pointer and count.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let loads = || {
        headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
    };
    let (Some(first), Some(last)) = (loads().next(), loads().next_back()) else {
        return 0;
    };
    let name = match info.dlpi_name.is_null() {
        true => c"",
        // SAFETY: the loader's name is a NUL-terminated string.
        false => unsafe { CStr::from_ptr(info.dlpi_name) },
    };
    modules.push(Module {
        path: path_of(name),
        bias: info.dlpi_addr,
        start: info.dlpi_addr + first.p_vaddr,
        end: info.dlpi_addr + last.p_vaddr + last.p_memsz,
        // SAFETY: of the loader's record.
        build_id: unsafe { build_id_of(headers, info.dlpi_addr) },
        is_loaded: true,
    });
    0
}
