//! Which pages of a mapping are the process's own: those that it has written to.

use std::ops::Range;

/// Entries of the kernel's table that are read at a time, onto the stack.
#[cfg(target_os = "linux")]
const BATCH: usize = 128;

/// The kernel does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotTold;

pub(crate) fn page_bytes() -> usize {
    // SAFETY: asks for a number.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// Calls `visit` with each run of own pages that overlaps `range`, cut to it.
///
/// The table is opened each time: a descriptor that is kept would, after a
/// fork, be of the parent's memory, and a program may close what it does not know.
#[cfg(target_os = "linux")]
pub(crate) fn own_pages(
    range: Range<usize>,
    mut visit: impl FnMut(Range<usize>),
) -> Result<(), NotTold> {
    // SAFETY: a NUL-terminated path.
    let table = unsafe {
        libc::open(
            c"/proc/self/pagemap".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    if table < 0 {
        return Err(NotTold);
    }
    let page_bytes = page_bytes();
    let last = range.end.div_ceil(page_bytes);
    let mut page = range.start / page_bytes;
    let mut run: Option<Range<usize>> = None;
    let mut told = true;
    while page < last {
        let mut entries = [0_u64; BATCH];
        let wanted = entries.len().min(last - page);
        // SAFETY: `entries` has room for as many bytes.
        let read = unsafe {
            libc::pread(
                table,
                entries.as_mut_ptr().cast(),
                8 * wanted,
                8 * page as libc::off_t,
            )
        };
        if read < 8 {
            told = false;
            break;
        }
        for entry in &entries[..read as usize / 8] {
            let start = page * page_bytes;
            let is_next = run.as_ref().is_some_and(|run| run.end == start);
            if is_own(*entry) {
                match &mut run {
                    Some(run) if is_next => run.end += page_bytes,
                    _ => run = Some(start..start + page_bytes),
                }
            } else if let Some(run) = run.take() {
                visit(run.start.max(range.start)..run.end.min(range.end));
            }
            page += 1;
        }
    }
    if let Some(run) = run {
        visit(run.start.max(range.start)..run.end.min(range.end));
    }
    // SAFETY: opened above.
    unsafe { libc::close(table) };
    if told { Ok(()) } else { Err(NotTold) }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn own_pages(_: Range<usize>, _: impl FnMut(Range<usize>)) -> Result<(), NotTold> {
    Err(NotTold)
}

/// Whether a page is present and not the file's, or swapped out. (A page of the
/// file is never swapped out as such.)
#[cfg(target_os = "linux")]
fn is_own(entry: u64) -> bool {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const OF_A_FILE: u64 = 1 << 61;
    entry & PRESENT != 0 && entry & OF_A_FILE == 0 || entry & SWAPPED != 0
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::untracked;

    #[test]
    fn pages_that_were_written_to_are_told_in_runs() {
        let page = page_bytes();
        let pages = 2 * BATCH + 10;
        let mapping = untracked::map(pages * page).unwrap();
        let start = mapping.as_ptr().addr();
        for written in [0, 3, 4, BATCH - 1, BATCH, pages - 1] {
            // SAFETY: in the mapping.
            unsafe { mapping.as_ptr().add(written * page + 5).write(1) };
        }
        let mut runs = Vec::new();
        let cut = start + 3 * page + 100;
        own_pages(cut..start + pages * page - 1, |run| {
            runs.push((run.start - start, run.end - start));
        })
        .unwrap();
        let expected = [
            (3 * page + 100, 5 * page),
            ((BATCH - 1) * page, (BATCH + 1) * page),
            ((pages - 1) * page, pages * page - 1),
        ];
        assert_eq!(runs, expected);
        // SAFETY: mapped above.
        unsafe { untracked::unmap(mapping, pages * page) };
    }
}
