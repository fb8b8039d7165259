//! Reading memory that may be gone, or be written to meanwhile: the kernel
//! copies it, and stops where nothing is mapped.

/// Copies what is at `address` into `buffer`. Returns how many bytes there were.
#[cfg(target_os = "linux")]
pub(crate) fn peek(address: usize, buffer: &mut [u8]) -> usize {
    let to = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let from = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(address),
        iov_len: buffer.len(),
    };
    // SAFETY: the kernel writes into `buffer` only, and checks `address`.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &to, 1, &from, 1, 0) };
    usize::try_from(read).unwrap_or(0)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn peek(_address: usize, _buffer: &mut [u8]) -> usize {
    0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::untracked;

    #[test]
    fn reads_up_to_where_memory_ends() {
        let page = crate::touch::pages::page_bytes();
        let mapping = untracked::map(2 * page).unwrap();
        let start = mapping.as_ptr().addr();
        // SAFETY: in the mapping, whose second page nobody uses.
        unsafe {
            mapping.as_ptr().add(page - 1).write(9);
            libc::mprotect(mapping.as_ptr().add(page).cast(), page, libc::PROT_NONE);
        }
        let mut buffer = [1; 8];
        assert_eq!(peek(start + page - 2, &mut buffer[..2]), 2);
        assert_eq!(buffer[..2], [0, 9]);
        assert_eq!(peek(start + page - 2, &mut buffer), 2, "a part");
        assert_eq!(peek(start + page, &mut buffer), 0, "nothing");
        // SAFETY: mapped above.
        unsafe { untracked::unmap(mapping, 2 * page) };
    }
}
