//! Where stacks end. Asked inside the allocator, possibly in a signal handler
//! that interrupted `malloc`, so the threads library cannot be asked:
//! `pthread_getattr_np` allocates.

use crate::errno;
use std::ffi::c_int;

/// The address range of a stack; `low` is its deepest extent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StackBounds {
    pub(crate) low: u64,
    pub(crate) high: u64,
}

/// How much of a thread's stack is taken for granted below where it is first
/// seen. What lies deeper is looked up once it is met.
const ASSUMED_BYTES: u64 = 128 * 1024;

impl StackBounds {
    #[inline(always)]
    pub(crate) fn contains(&self, sp: u64) -> bool {
        sp >= self.low && sp < self.high
    }

    /// The calling thread's own stack, on which `sp` is.
    pub(crate) fn of_this_thread(sp: u64) -> Self {
        if is_main_thread() {
            let Some(mapping) = mapping_of(sp) else {
                return Self::default();
            };
            // The mapping grows with the stack, up to the limit.
            let limit = stack_limit_bytes().map(|limit| mapping.high.saturating_sub(limit));
            return Self {
                low: limit.map_or(mapping.low, |low| low.min(mapping.low)),
                ..mapping
            };
        }
        match thread_pointer() {
            // The C libraries keep a thread's control block at the high end of
            // its stack.
            Some(high) if high > sp => Self {
                low: sp.saturating_sub(ASSUMED_BYTES),
                high,
            },
            _ => mapping_of(sp).unwrap_or_default(),
        }
    }
}

/// The mapping that contains an address, from the kernel's list. Costs some
/// tens of microseconds.
#[cold]
pub(crate) fn mapping_of(address: u64) -> Option<StackBounds> {
    errno::preserving(|| {
        // SAFETY: opens a file by a NUL-terminated name.
        let file = unsafe {
            libc::open(
                c"/proc/self/maps".as_ptr(),
                libc::O_RDONLY | libc::O_CLOEXEC,
            )
        };
        if file < 0 {
            return None;
        }
        let found = find_mapping(address, |buffer| read(file, buffer));
        // SAFETY: opened above, closed once.
        unsafe { libc::close(file) };
        found
    })
}

fn read(file: c_int, buffer: &mut [u8]) -> Option<usize> {
    loop {
        // SAFETY: reads at most the buffer's length into it.
        let count = unsafe { libc::read(file, buffer.as_mut_ptr().cast(), buffer.len()) };
        if count >= 0 {
            return Some(count as usize);
        }
        if std::io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
            return None;
        }
    }
}

/// Looks through lines that begin with `low-high `, in hexadecimal, which
/// `read` delivers piece by piece; 0 bytes are the end.
fn find_mapping(
    address: u64,
    mut read: impl FnMut(&mut [u8]) -> Option<usize>,
) -> Option<StackBounds> {
    let mut buffer = [0; 512];
    let mut bounds = [0_u64; 2];
    // Which bound the next digit belongs to; 2: the rest of the line.
    let mut field = 0;
    loop {
        let count = read(&mut buffer)?;
        if count == 0 {
            return None;
        }
        for &byte in &buffer[..count] {
            match (byte, field) {
                (b'\n', _) => (bounds, field) = ([0; 2], 0),
                (b'-', 0) => field = 1,
                (b' ', 1) => {
                    let [low, high] = bounds;
                    if address >= low && address < high {
                        return Some(StackBounds { low, high });
                    }
                    field = 2;
                }
                (_, 0 | 1) => {
                    let digit = (byte as char).to_digit(16)?;
                    bounds[field] = bounds[field] << 4 | u64::from(digit);
                }
                _ => {}
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn is_main_thread() -> bool {
    // SAFETY: asks for two numbers.
    unsafe { libc::syscall(libc::SYS_gettid) == i64::from(libc::getpid()) as libc::c_long }
}

#[cfg(not(target_os = "linux"))]
fn is_main_thread() -> bool {
    false
}

/// How large the main thread's stack can become; None: without limit.
fn stack_limit_bytes() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid to write to.
    let asked = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &mut limit) };
    (asked == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// The address of the thread's control block, as the ABI has it.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn thread_pointer() -> Option<u64> {
    let pointer: u64;
    // SAFETY: the psABI: the word at fs:0 holds its own address.
    unsafe {
        std::arch::asm!(
            "mov {}, fs:0",
            out(reg) pointer,
            options(nostack, preserves_flags, readonly)
        );
    }
    Some(pointer)
}

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
fn thread_pointer() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
5581b7a00000-5581b7a21000 r--p 00000000 fe:00 1 /usr/bin/a-b c
7f10aa000000-7f10aa021000 rw-p 00000000 00:00 0
7ffd1c5e2000-7ffd1c603000 rw-p 00000000 00:00 0                          [stack]
";

    fn find(address: u64, piece: usize) -> Option<StackBounds> {
        let mut rest = MAPS.as_bytes();
        find_mapping(address, |buffer| {
            let count = rest.len().min(piece);
            buffer[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            Some(count)
        })
    }

    #[test]
    fn mappings_are_found_however_the_list_is_cut() {
        for piece in [1, 2, 7, 60, 512] {
            for (low, high) in [
                (0x5581b7a00000, 0x5581b7a21000),
                (0x7f10aa000000, 0x7f10aa021000),
                (0x7ffd1c5e2000, 0x7ffd1c603000),
            ] {
                let bounds = Some(StackBounds { low, high });
                assert_eq!(find(low, piece), bounds);
                assert_eq!(find(high - 1, piece), bounds);
                assert_eq!(find(high, piece), None);
            }
        }
    }

    #[test]
    fn a_local_variable_is_on_the_threads_stack() {
        fn check() {
            let local = 0_u8;
            let sp = (&raw const local) as u64;
            let bounds = StackBounds::of_this_thread(sp);
            assert!(bounds.contains(sp), "{bounds:x?} {sp:x}");
            let mapping = mapping_of(sp).unwrap();
            assert!(mapping.contains(bounds.high - 1) || is_main_thread());
        }
        check();
        std::thread::spawn(check).join().unwrap();
    }
}
