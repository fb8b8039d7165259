//! Memory from the system, without the C library and its `errno`. x86-64 Linux.

use core::arch::asm;

const MMAP: usize = 9;
const MUNMAP: usize = 11;
const MADVISE: usize = 28;
const PROCESS_VM_READV: usize = 310;
const GETPID: usize = 39;

const PROT_READ_WRITE: usize = 3;
const MAP_PRIVATE_ANONYMOUS_NORESERVE: usize = 0x4022;
const MADV_DONTNEED: usize = 4;
const MADV_POPULATE_WRITE: usize = 23;

pub(crate) const PAGE_BYTES: usize = 4096;

/// # Safety
/// As the system call.
#[inline(always)]
unsafe fn call(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the kernel keeps all registers but these.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// Zeroed memory whose pages cost nothing until touched. Null when refused.
#[cold]
#[inline(never)]
pub(crate) fn map(bytes: usize) -> *mut u8 {
    // SAFETY: a new private mapping touches no existing memory.
    let result = unsafe {
        call(
            MMAP,
            [
                0,
                bytes,
                PROT_READ_WRITE,
                MAP_PRIVATE_ANONYMOUS_NORESERVE,
                usize::MAX,
                0,
            ],
        )
    };
    match result {
        -4095..=0 => core::ptr::null_mut(),
        address => address as *mut u8,
    }
}

/// # Safety
/// `address` came from [`map`] with these `bytes`, and nothing uses it any more.
#[cold]
#[inline(never)]
pub(crate) unsafe fn unmap(address: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { call(MUNMAP, [address as usize, bytes, 0, 0, 0, 0]) };
}

/// Makes whole pages of a mapping read as zero again, and gives them back.
///
/// # Safety
/// The pages lie in a mapping of [`map`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn zero_pages(address: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { call(MADVISE, [address as usize, bytes, MADV_DONTNEED, 0, 0, 0]) };
}

/// Has the system make pages of a mapping at once, which takes it less time than one by one
/// when they are touched. Kernels before 5.14 do nothing.
///
/// # Safety
/// The pages lie in a mapping of [`map`].
#[cold]
#[inline(never)]
pub(crate) unsafe fn populate(address: *mut u8, bytes: usize) {
    let start = address as usize & !(PAGE_BYTES - 1);
    let end = (address as usize + bytes).next_multiple_of(PAGE_BYTES);
    // SAFETY: the caller's promise; it changes no byte.
    unsafe { call(MADVISE, [start, end - start, MADV_POPULATE_WRITE, 0, 0, 0]) };
}

/// Copies memory of this process that may have been unmapped. Whether all of it
/// could be read.
///
/// # Safety
/// `into` has room for `bytes`.
pub(crate) unsafe fn read_if_mapped(address: usize, into: *mut u8, bytes: usize) -> bool {
    let local = [into as usize, bytes];
    let remote = [address, bytes];
    // SAFETY: the kernel writes to `into` at most, and checks where it reads.
    unsafe {
        let pid = call(GETPID, [0; 6]) as usize;
        let (local, remote) = (local.as_ptr() as usize, remote.as_ptr() as usize);
        call(PROCESS_VM_READV, [pid, local, 1, remote, 1, 0]) == bytes as isize
    }
}
