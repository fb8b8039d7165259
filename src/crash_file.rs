//! Tables that outlive the process: their memory is mapped from a file, so that the
//! kernel keeps it however the process ends.
//!
//! The file is a header, a directory of *extents*, and the extents: each is a chunk of a
//! table, mapped where the chunk was or would have been. All of an extent's blocks on the
//! disk are there before it is mapped: a full disk refuses an extent, and never a store.
//! Nothing here allocates or locks; what does not fit is counted and stays in memory.

use crate::clock::Moment;
use std::os::fd::RawFd;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{
    AtomicI32, AtomicPtr, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"HLCRASH\x01");

const PAGE_BYTES: u64 = 4096;

/// Chunks that the directory can hold; further ones are not kept.
pub(crate) const MAX_EXTENTS: u64 = 1 << 14;

/// What stands at the beginning of the file.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: AtomicU64,
    pub(crate) pid: AtomicU64,
    pub(crate) start_ticks: AtomicU64,
    pub(crate) start_ns: AtomicU64,
    /// The last moment that the process is known to have lived.
    pub(crate) beat_ticks: AtomicU64,
    pub(crate) beat_ns: AtomicU64,
    /// When the most bytes were live, as of that moment.
    pub(crate) peak_at_ticks: AtomicU64,
    pub(crate) sample_bytes: AtomicU64,
    /// Where what the program is lies, in pages, and above it how long that is, in bytes.
    pub(crate) about: AtomicU64,
    /// Bytes of the file in use.
    end: AtomicU64,
    /// Extents claimed, some perhaps beyond the directory.
    pub(crate) extents: AtomicU64,
    /// Chunks that are not in the file.
    pub(crate) lost: AtomicU64,
    /// Of a site: its size, and where in it the number of its stack is, and the size of its
    /// largest block.
    pub(crate) site_bytes: AtomicU64,
    pub(crate) site_leaf_at: AtomicU64,
    pub(crate) site_largest_at: AtomicU64,
}

/// A chunk of a table.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Extent {
    /// Which table, as in [`Zeroable::KEPT_AS`](crate::record::chunks::Zeroable::KEPT_AS).
    /// Written last: 0 until the others are.
    pub(crate) kind: AtomicU64,
    /// Whose: a thread's own tables differ in this.
    pub(crate) owner: AtomicU64,
    /// Which of the table's chunks.
    pub(crate) index: AtomicU64,
    pub(crate) offset: AtomicU64,
    pub(crate) bytes: AtomicU64,
    /// Where it is mapped.
    address: AtomicU64,
    unused: [AtomicU64; 2],
}

/// Where the directory begins.
pub(crate) const DIRECTORY_AT: usize = PAGE_BYTES as usize;
const FIRST_BYTES: u64 = PAGE_BYTES + MAX_EXTENTS * size_of::<Extent>() as u64;
const _: () =
    assert!(size_of::<Header>() <= DIRECTORY_AT && FIRST_BYTES.is_multiple_of(PAGE_BYTES));

/// The file of the run in progress, if it has one.
#[derive(Debug)]
pub(crate) struct CrashFile {
    file: AtomicI32,
    header: AtomicPtr<Header>,
    /// For each extent the address of a private copy; [`NO_MEMORY`] if there is none. Apart from
    /// the directory, which the two sides of a fork share.
    copies: AtomicPtr<AtomicU64>,
}

const COPIES_BYTES: usize = MAX_EXTENTS as usize * size_of::<AtomicU64>();

/// An address that no copy has.
const NO_MEMORY: u64 = 1;

pub(crate) static CRASH_FILE: CrashFile = CrashFile {
    file: AtomicI32::new(-1),
    header: AtomicPtr::new(null_mut()),
    copies: AtomicPtr::new(null_mut()),
};

impl CrashFile {
    /// Begins to keep chunks in `file`, which is empty and stays open.
    ///
    /// # Errors
    /// That of the system.
    pub(crate) fn open(&self, file: RawFd, start: Moment) -> std::io::Result<()> {
        if !allocate(file, 0, FIRST_BYTES) {
            return Err(std::io::Error::last_os_error());
        }
        // SAFETY: a new mapping of a file of that size.
        let address = unsafe {
            libc::mmap(
                null_mut(),
                FIRST_BYTES as usize,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        let Some(copies) = crate::untracked::map(COPIES_BYTES) else {
            return Err(std::io::ErrorKind::OutOfMemory.into());
        };
        self.copies.store(copies.as_ptr().cast(), Relaxed);
        let header = address.cast::<Header>();
        // SAFETY: mapped, and zeroed atomics are valid.
        let new = unsafe { &*header };
        new.pid.store(std::process::id().into(), Relaxed);
        new.start_ticks.store(start.ticks, Relaxed);
        new.start_ns.store(start.ns, Relaxed);
        new.end.store(FIRST_BYTES, Relaxed);
        self.file.store(file, Relaxed);
        self.header.store(header, Release);
        self.beat(start, start.ticks);
        new.magic.store(MAGIC, Release);
        Ok(())
    }

    pub(crate) fn header(&self) -> Option<&Header> {
        let header = NonNull::new(self.header.load(Acquire))?;
        // SAFETY: mapped until `close` or the child's end of a fork, when no thread records.
        Some(unsafe { header.as_ref() })
    }

    /// The process lives; its peak was at `peak_at_ticks`.
    pub(crate) fn beat(&self, now: Moment, peak_at_ticks: u64) {
        if let Some(header) = self.header() {
            header.beat_ticks.store(now.ticks, Relaxed);
            header.beat_ns.store(now.ns, Relaxed);
            header.peak_at_ticks.store(peak_at_ticks, Relaxed);
        }
    }

    /// Adds what is known about the program; replaces what was there.
    pub(crate) fn tell_about(&self, text: &[u8]) {
        let Some(header) = self.header() else {
            return;
        };
        let file = self.file.load(Relaxed);
        let Some(offset) = claim(header, file, text.len()) else {
            return;
        };
        if write_at(file, text, offset) {
            let about = (offset / PAGE_BYTES) | ((text.len() as u64) << 32);
            header.about.store(about, Release);
        }
    }

    /// Moves a chunk of a table into the file. `has_contents`: it may be other than zero.
    ///
    /// # Safety
    /// A whole mapping of `bytes`, a multiple of pages, that stays one until the end of the
    /// run; if it has contents, no other thread writes to it meanwhile.
    #[cold]
    pub(crate) unsafe fn keep(
        &self,
        address: NonNull<u8>,
        bytes: usize,
        (kind, owner, index): (u32, usize, usize),
        has_contents: bool,
    ) {
        let Some(header) = self.header() else {
            return;
        };
        // SAFETY: the caller's promise.
        if unsafe { self.try_keep(header, address, bytes, (kind, owner, index), has_contents) }
            .is_none()
        {
            header.lost.fetch_add(1, Relaxed);
        }
    }

    /// # Safety
    /// As for [`Self::keep`].
    unsafe fn try_keep(
        &self,
        header: &Header,
        address: NonNull<u8>,
        bytes: usize,
        (kind, owner, index): (u32, usize, usize),
        has_contents: bool,
    ) -> Option<()> {
        let file = self.file.load(Relaxed);
        let number = header.extents.fetch_add(1, AcqRel);
        let extent = extents(header).get(number as usize)?;
        let offset = claim(header, file, bytes)?;
        if has_contents {
            // SAFETY: a mapping of that size.
            let contents = unsafe { std::slice::from_raw_parts(address.as_ptr(), bytes) };
            if !write_at(file, contents, offset) {
                return None;
            }
        }
        // SAFETY: replaces the caller's whole mapping by one with equal contents.
        let mapped = unsafe {
            libc::mmap(
                address.as_ptr().cast(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_FIXED,
                file,
                offset as i64,
            )
        };
        if mapped == libc::MAP_FAILED {
            return None;
        }
        extent.owner.store(owner as u64, Relaxed);
        extent.index.store(index as u64, Relaxed);
        extent.offset.store(offset, Relaxed);
        extent.bytes.store(bytes as u64, Relaxed);
        extent.address.store(address.as_ptr() as u64, Relaxed);
        extent.kind.store(kind.into(), Release);
        Some(())
    }

    /// Before a fork or the end: makes a private copy of each chunk. Until
    /// [`Self::take_copies`] or [`Self::drop_copies`] no thread writes to a chunk.
    pub(crate) fn copy(&self) {
        for (_, copy, address, bytes) in self.kept() {
            let made = crate::untracked::map(bytes);
            if let Some(made) = made {
                // SAFETY: both are mappings of that size, and the copy is new.
                unsafe { std::ptr::copy_nonoverlapping(address, made.as_ptr(), bytes) };
            }
            copy.store(made.map_or(NO_MEMORY, |made| made.as_ptr() as u64), Relaxed);
        }
    }

    pub(crate) fn drop_copies(&self) {
        for (_, copy, _, bytes) in self.kept() {
            let made = copy.swap(0, Relaxed);
            if let Some(made) = NonNull::new(made as *mut u8).filter(|_| made != NO_MEMORY) {
                // SAFETY: mapped by `copy`, with that size.
                unsafe { crate::untracked::unmap(made, bytes) };
            }
        }
    }

    /// Puts the copies in the chunks' places: from then on the file is no longer written to.
    /// The file stays as it is.
    pub(crate) fn take_copies(&self) {
        for (_, copy, address, bytes) in self.kept() {
            let address = address.cast::<libc::c_void>();
            // SAFETY: replaces a whole mapping of ours, by one of that size.
            unsafe {
                match copy.load(Relaxed) {
                    // Kept by the other side of the fork, after it.
                    0 => continue,
                    NO_MEMORY => libc::mmap(
                        address,
                        bytes,
                        libc::PROT_READ | libc::PROT_WRITE,
                        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                        -1,
                        0,
                    ),
                    copy => libc::mremap(
                        copy as *mut libc::c_void,
                        bytes,
                        bytes,
                        libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED,
                        address,
                    ),
                };
            }
        }
        self.close();
    }

    /// A chunk that was kept is given back before it was used.
    pub(crate) fn forget(&self, address: NonNull<u8>) {
        for (extent, _, kept, _) in self.kept() {
            if kept == address.as_ptr() {
                extent.kind.store(0, Release);
            }
        }
    }

    fn close(&self) {
        let header = self.header.swap(null_mut(), AcqRel);
        let copies = self.copies.swap(null_mut(), Relaxed);
        let file = self.file.swap(-1, Relaxed);
        if let Some(copies) = NonNull::new(copies.cast()).filter(|_| !header.is_null()) {
            // SAFETY: mapped and opened for `open`, and out of use.
            unsafe {
                crate::untracked::unmap(copies, COPIES_BYTES);
                libc::munmap(header.cast(), FIRST_BYTES as usize);
                libc::close(file);
            }
        }
    }

    /// Extents in use, each with the place of its copy, its address and its size.
    fn kept(&self) -> impl Iterator<Item = (&Extent, &AtomicU64, *mut u8, usize)> {
        let all = self.header().map(extents).unwrap_or_default();
        let copies = self.copies.load(Relaxed);
        let numbered = all.iter().enumerate();
        let kept = numbered.filter(|(_, extent)| extent.kind.load(Acquire) != 0);
        kept.map(move |(number, extent)| {
            let address = extent.address.load(Relaxed) as *mut u8;
            // SAFETY: mapped with the header; as many as there are extents.
            let copy = unsafe { &*copies.add(number) };
            (extent, copy, address, extent.bytes.load(Relaxed) as usize)
        })
    }
}

fn extents(header: &Header) -> &[Extent] {
    let first = std::ptr::from_ref(header).cast::<u8>();
    // SAFETY: the directory lies behind the header, in one mapping; zeroed atomics are valid.
    unsafe {
        std::slice::from_raw_parts(
            first.add(DIRECTORY_AT).cast::<Extent>(),
            MAX_EXTENTS as usize,
        )
    }
}

/// Room for `bytes` at the end of the file.
fn claim(header: &Header, file: RawFd, bytes: usize) -> Option<u64> {
    let bytes = (bytes as u64).next_multiple_of(PAGE_BYTES);
    let offset = header.end.fetch_add(bytes, AcqRel);
    allocate(file, offset, bytes).then_some(offset)
}

/// Has the file system set blocks aside, so that a store cannot fail for lack of them.
fn allocate(file: RawFd, offset: u64, bytes: u64) -> bool {
    // SAFETY: a valid structure to write to.
    let limit = unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit);
        limit.rlim_cur
    };
    // Beyond it the process would get a signal that ends it.
    if limit != libc::RLIM_INFINITY && offset + bytes > limit {
        // SAFETY: the thread's own errno.
        unsafe { *libc::__errno_location() = libc::EFBIG };
        return false;
    }
    // SAFETY: system calls on a file of ours.
    unsafe {
        if libc::fallocate(file, 0, offset as i64, bytes as i64) == 0 {
            return true;
        }
        if *libc::__errno_location() != libc::EOPNOTSUPP {
            return false;
        }
    }
    let zeros = [0; PAGE_BYTES as usize];
    (0..bytes / PAGE_BYTES).all(|page| write_at(file, &zeros, offset + page * PAGE_BYTES))
}

fn write_at(file: RawFd, mut bytes: &[u8], mut offset: u64) -> bool {
    while !bytes.is_empty() {
        // SAFETY: the slice's bytes, for the time of the call.
        let written =
            unsafe { libc::pwrite(file, bytes.as_ptr().cast(), bytes.len(), offset as i64) };
        match usize::try_from(written) {
            Ok(written) if written > 0 => {
                bytes = &bytes[written..];
                offset += written as u64;
            }
            _ => return false,
        }
    }
    true
}
