//! The loaded objects, for symbolizing.

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
    let path = match name.to_bytes() {
        // The main program has no name of its own.
        b"" => std::fs::read_link("/proc/self/exe").unwrap_or_else(|_| "/proc/self/exe".into()),
        bytes => PathBuf::from(OsStr::from_bytes(bytes)),
    };
    modules.push(Module {
        path,
        bias: info.dlpi_addr,
        start: info.dlpi_addr + first.p_vaddr,
        end: info.dlpi_addr + last.p_vaddr + last.p_memsz,
    });
    0
}
