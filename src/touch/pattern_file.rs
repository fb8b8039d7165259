//! A small file in memory, full of the pattern: what large blocks are mapped
//! from, privately, any number of times.

use crate::touch::pattern;
use crate::untracked;
use std::mem::MaybeUninit;

/// The file's size; a multiple of the pattern's.
pub(crate) const FILE_BYTES: usize = 2 << 20;

/// Written at a time.
const PIECE_BYTES: usize = 64 << 10;

/// The descriptor, and what tells that it is still of our file: a program may
/// close descriptors that it does not know, and get the number for another file.
#[derive(Clone, Copy, Debug)]
struct Open {
    file: libc::c_int,
    device: libc::dev_t,
    inode: libc::ino_t,
}

#[derive(Debug)]
pub(crate) struct PatternFile(Option<Open>);

impl PatternFile {
    pub(crate) const fn new() -> Self {
        Self(None)
    }

    /// The descriptor. None when the system gives none.
    pub(crate) fn get(&mut self) -> Option<libc::c_int> {
        if let Some(open) = self.0
            && identity(open.file) == Some((open.device, open.inode))
        {
            return Some(open.file);
        }
        let file = make()?;
        let (device, inode) = identity(file)?;
        self.0 = Some(Open {
            file,
            device,
            inode,
        });
        Some(file)
    }
}

fn identity(file: libc::c_int) -> Option<(libc::dev_t, libc::ino_t)> {
    // SAFETY: zero is valid for a struct of integers, which the call fills.
    let (result, status) = unsafe {
        let mut status = std::mem::zeroed::<libc::stat>();
        (libc::fstat(file, &mut status), status)
    };
    (result == 0).then_some((status.st_dev, status.st_ino))
}

#[cfg(target_os = "linux")]
fn make() -> Option<libc::c_int> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: a NUL-terminated name.
    let file = unsafe { libc::memfd_create(c"heapledger".as_ptr(), flags) };
    if file < 0 {
        return None;
    }
    if fill(file).is_none() {
        // SAFETY: opened above.
        unsafe { libc::close(file) };
        return None;
    }
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: without a seal the file works as well.
    unsafe { libc::fcntl(file, libc::F_ADD_SEALS, seals) };
    Some(file)
}

#[cfg(not(target_os = "linux"))]
fn make() -> Option<libc::c_int> {
    None
}

fn fill(file: libc::c_int) -> Option<()> {
    let piece = untracked::map(PIECE_BYTES)?;
    // SAFETY: just mapped.
    let bytes = unsafe {
        std::slice::from_raw_parts_mut(piece.as_ptr().cast::<MaybeUninit<u8>>(), PIECE_BYTES)
    };
    pattern::fill(bytes, 0);
    let mut at = 0;
    while at < FILE_BYTES {
        // SAFETY: as many bytes of the piece.
        let written =
            unsafe { libc::pwrite(file, piece.as_ptr().cast(), PIECE_BYTES, at as libc::off_t) };
        if written != PIECE_BYTES as isize {
            break;
        }
        at += PIECE_BYTES;
    }
    // SAFETY: mapped above.
    unsafe { untracked::unmap(piece, PIECE_BYTES) };
    (at == FILE_BYTES).then_some(())
}
