//! Finds the loaded object (executable, shared library) that an address lies
//! in, and its unwind tables.
//!
//! glibc's `_dl_find_object` (2.35 and later) answers without a lock. Older
//! ones and musl have `dl_iterate_phdr`, which takes the loader's lock; it is
//! what their own unwinders do for every frame, we do it once an address.

use crate::capture::module_map::build_id_of;
use crate::capture::module_notes::ObjectFacts;
use once_cell::race::OnceNonZeroUsize;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::slice;

/// An object's unwind tables, in memory for as long as it stays loaded.
#[derive(Debug)]
pub(crate) struct LoadedObject<'a> {
    pub(crate) eh_frame_hdr_address: u64,
    /// From the header to the end of the segment that holds it.
    pub(crate) eh_frame_hdr: &'a [u8],
    segment_start: u64,
    pub(crate) facts: ObjectFacts<'a>,
    _loaded: PhantomData<&'a ()>,
}

impl LoadedObject<'_> {
    /// The object that contains `pc`, if it has a table of unwind information.
    /// `pc` is on a stack or in the running thread's registers, so its object
    /// is loaded and stays so until that frame returns.
    pub(crate) fn containing(pc: u64) -> Option<Self> {
        let search = Search::for_pc(pc)?;
        let (start, end) = (search.segment_start, search.segment_end);
        let header = search.eh_frame_hdr;
        if header < start || header >= end {
            return None;
        }
        Some(Self {
            eh_frame_hdr_address: header,
            // SAFETY: `start..end` is a readable segment of a loaded object.
            eh_frame_hdr: unsafe {
                slice::from_raw_parts(header as *const u8, (end - header) as usize)
            },
            segment_start: start,
            facts: search.facts?,
            _loaded: PhantomData,
        })
    }

    /// From `address`, in the segment that holds the tables, to its end.
    pub(crate) fn bytes_from(&self, address: u64) -> Option<&[u8]> {
        let end = self.eh_frame_hdr_address + self.eh_frame_hdr.len() as u64;
        if address < self.segment_start || address >= end {
            return None;
        }
        // SAFETY: within the readable segment that `containing` found.
        Some(unsafe { slice::from_raw_parts(address as *const u8, (end - address) as usize) })
    }
}

/// What is wanted, and what was found; in runtime addresses.
#[derive(Debug, Default)]
struct Search<'a> {
    pc: u64,
    eh_frame_hdr: u64,
    segment_start: u64,
    segment_end: u64,
    facts: Option<ObjectFacts<'a>>,
}

impl Search<'_> {
    fn for_pc(pc: u64) -> Option<Self> {
        match find_object() {
            Some(find) => Self::by_find_object(find, pc),
            None => Self::by_iteration(pc),
        }
    }

    fn by_find_object(find: FindObject, pc: u64) -> Option<Self> {
        let mut found = DlFindObject::default();
        // SAFETY: the C library's function, given a result to fill in.
        if unsafe { find(pc as *mut c_void, &mut found) } != 0 || found.link_map.is_null() {
            return None;
        }
        let header = found.eh_frame as u64;
        // SAFETY: the loader's record of a loaded object, whose first field
        // is public: its load bias.
        let bias = unsafe { found.link_map.cast::<u64>().read() };
        // What the loader says of an object's extent is only the part around
        // `pc` if there are gaps between its segments. So they are read off
        // the program headers: the kernel tells where those of the program
        // are; those of a library follow its ELF header, which it begins with.
        let own = ProgramHeaders::of_the_program();
        let object = own
            .filter(|own| own.segment_containing(header).is_some())
            // SAFETY: not the program, so a library, loaded at `bias`.
            .or_else(|| unsafe { ProgramHeaders::of_library(bias) })?;
        let (segment_start, segment_end) = object.segment_containing(header)?;
        // SAFETY: the record's second public field: a name or null.
        let name = unsafe { found.link_map.cast::<*const c_char>().add(1).read() };
        Some(Self {
            pc,
            eh_frame_hdr: header,
            segment_start,
            segment_end,
            // SAFETY: a name of the loader's, of a loaded object.
            facts: unsafe { object.facts(name) },
        })
    }

    fn by_iteration(pc: u64) -> Option<Self> {
        let mut search = Self {
            pc,
            ..Self::default()
        };
        // SAFETY: the callback gets `search` back and outlives nothing.
        unsafe {
            libc::dl_iterate_phdr(Some(visit_object), (&raw mut search).cast());
        }
        (search.eh_frame_hdr != 0).then_some(search)
    }
}

/// # Safety
/// Called by `dl_iterate_phdr` with `data` pointing to a [`Search`].
unsafe extern "C" fn visit_object(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a valid record, and our own `data` back.
    let (info, search) = unsafe { (&*info, &mut *data.cast::<Search>()) };
    if info.dlpi_phnum == 0 || info.dlpi_phdr.is_null() {
        return 0;
    }
    let object = ProgramHeaders {
        // SAFETY: the record's own pointer and count.
        headers: unsafe { slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) },
        bias: info.dlpi_addr,
    };
    if object.segment_containing(search.pc).is_none() {
        return 0;
    }
    let is_tables = |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_GNU_EH_FRAME;
    if let Some(tables) = object.headers.iter().find(is_tables) {
        let address = object.bias.wrapping_add(tables.p_vaddr);
        if let Some((start, end)) = object.segment_containing(address) {
            search.eh_frame_hdr = address;
            search.segment_start = start;
            search.segment_end = end;
            // SAFETY: a name of the loader's, of a loaded object.
            search.facts = unsafe { object.facts(info.dlpi_name) };
        }
    }
    1
}

/// The program headers of a loaded object.
struct ProgramHeaders<'a> {
    headers: &'a [libc::Elf64_Phdr],
    bias: u64,
}

impl ProgramHeaders<'_> {
    /// Of the executable.
    fn of_the_program() -> Option<Self> {
        // SAFETY: asks for two numbers that the kernel left for the process.
        let (first, count) = unsafe {
            (
                libc::getauxval(libc::AT_PHDR),
                libc::getauxval(libc::AT_PHNUM),
            )
        };
        if first == 0 {
            return None;
        }
        // SAFETY: the kernel's own address and count; mapped for good.
        let headers =
            unsafe { slice::from_raw_parts(first as *const libc::Elf64_Phdr, count as usize) };
        let own = headers.iter().find(|header| header.p_type == libc::PT_PHDR);
        let bias = own.map_or(0, |own| first.wrapping_sub(own.p_vaddr));
        Some(Self { headers, bias })
    }

    /// # Safety
    /// A library whose first segment has link-time address 0 is loaded at
    /// `bias`.
    unsafe fn of_library(bias: u64) -> Option<Self> {
        if bias == 0 {
            return None;
        }
        // SAFETY: the first page of that segment holds the ELF header.
        let file = unsafe { &*(bias as *const libc::Elf64_Ehdr) };
        if file.e_ident[..4] != *b"\x7fELF" {
            return None;
        }
        // SAFETY: the loader read the program headers from this place.
        let headers = unsafe {
            let first = (bias + file.e_phoff) as *const libc::Elf64_Phdr;
            slice::from_raw_parts(first, file.e_phnum.into())
        };
        Some(Self { headers, bias })
    }

    /// # Safety
    /// `name` is the loader's, of this object.
    unsafe fn facts<'n>(&self, name: *const c_char) -> Option<ObjectFacts<'n>> {
        let is_loaded = |header: &&libc::Elf64_Phdr| header.p_type == libc::PT_LOAD;
        let first = self.headers.iter().find(is_loaded)?;
        let last = self.headers.iter().rfind(is_loaded)?;
        Some(ObjectFacts {
            bias: self.bias,
            start: self.bias.wrapping_add(first.p_vaddr),
            end: self.bias.wrapping_add(last.p_vaddr + last.p_memsz),
            // SAFETY: the headers of an object loaded at `bias`.
            build_id: unsafe { build_id_of(self.headers, self.bias) },
            path: match name.is_null() {
                true => c"",
                // SAFETY: the loader's name is a NUL-terminated string.
                false => unsafe { CStr::from_ptr(name) },
            },
        })
    }

    fn segment_containing(&self, address: u64) -> Option<(u64, u64)> {
        let loads = self
            .headers
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD);
        loads
            .map(|header| {
                let start = self.bias.wrapping_add(header.p_vaddr);
                (start, start.wrapping_add(header.p_memsz))
            })
            .find(|&(start, end)| (start..end).contains(&address))
    }
}

/// `struct dl_find_object` of glibc's <dlfcn.h> on x86-64.
#[repr(C)]
#[derive(Debug)]
struct DlFindObject {
    flags: u64,
    map_start: *mut c_void,
    map_end: *mut c_void,
    link_map: *mut c_void,
    eh_frame: *mut c_void,
    reserved: [u64; 7],
}

impl Default for DlFindObject {
    fn default() -> Self {
        Self {
            flags: 0,
            map_start: std::ptr::null_mut(),
            map_end: std::ptr::null_mut(),
            link_map: std::ptr::null_mut(),
            eh_frame: std::ptr::null_mut(),
            reserved: [0; 7],
        }
    }
}

type FindObject = unsafe extern "C" fn(*mut c_void, *mut DlFindObject) -> c_int;

/// Address of `_dl_find_object`, or `ABSENT`.
static FIND_OBJECT: OnceNonZeroUsize = OnceNonZeroUsize::new();
const ABSENT: NonZeroUsize = NonZeroUsize::new(1).unwrap();

/// Looks `_dl_find_object` up. `dlsym` takes the loader's lock, so this is
/// done before recording starts.
pub(crate) fn prepare() {
    FIND_OBJECT.get_or_init(|| {
        // SAFETY: a look-up by a NUL-terminated name.
        let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
        NonZeroUsize::new(address as usize).unwrap_or(ABSENT)
    });
}

fn find_object() -> Option<FindObject> {
    let address = FIND_OBJECT.get().filter(|&address| address != ABSENT)?;
    // SAFETY: `prepare` stored the address of the C library's function, which
    // has this type.
    Some(unsafe { std::mem::transmute::<usize, FindObject>(address.get()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_addresses() -> [u64; 2] {
        [
            code_addresses as fn() -> [u64; 2] as usize as u64,
            libc::qsort as *const () as usize as u64,
        ]
    }

    #[test]
    fn both_ways_find_the_same_tables() {
        prepare();
        let find = find_object().expect("a C library that has it");
        for pc in code_addresses() {
            let found = Search::by_find_object(find, pc).unwrap();
            let iterated = Search::by_iteration(pc).unwrap();
            let tables = |search: &Search| {
                (
                    search.eh_frame_hdr,
                    search.segment_start,
                    search.segment_end,
                )
            };
            assert_eq!(tables(&found), tables(&iterated));
        }
    }

    #[test]
    fn nothing_is_found_where_no_code_is() {
        prepare();
        let local = 0_u8;
        for pc in [0, 1, (&raw const local) as u64, u64::MAX] {
            assert!(LoadedObject::containing(pc).is_none());
            assert!(Search::by_iteration(pc).is_none());
        }
    }
}
