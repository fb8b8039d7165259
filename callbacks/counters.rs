//! What each thread has read and written, by site. A thread counts in a table of its
//! own, without atomic additions, if the profiler has given it one; else in one that
//! all such threads share.

use crate::shadow::Tag;
use crate::system;
use core::arch::{asm, global_asm};
use core::ptr::null_mut;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Numbers that a site can have.
pub(crate) const MAX_SITES: usize = 1 << 22;

/// What was done to a site's blocks, in bytes: half a cache line.
#[repr(C, align(32))]
pub(crate) struct Counts {
    pub(crate) read: AtomicU64,
    pub(crate) written: AtomicU64,
    /// Distinct bytes written at least once.
    pub(crate) distinct: AtomicU64,
    /// Of those, bytes that have changed, but that no callback told of.
    pub(crate) untold: AtomicU64,
}

/// A thread's counts. Zeroed memory is a thread that has touched nothing.
#[repr(C)]
pub(crate) struct Table {
    pub(crate) counts: [Counts; MAX_SITES],
    pub(crate) histograms: [AtomicPtr<u16>; MAX_SITES],
    next: AtomicPtr<Table>,
    in_use: AtomicU32,
}

// A thread's table, or null. Not through the C library, which may allocate it.
global_asm!(
    ".pushsection .tbss,\"awT\",@nobits",
    ".balign 8",
    ".type heapledger_exact_table,@tls_object",
    ".size heapledger_exact_table,8",
    "heapledger_exact_table:",
    ".zero 8",
    ".popsection",
);

/// This thread's table. None: it counts in the shared one.
#[inline(always)]
pub(crate) fn own_table() -> Option<&'static Table> {
    // SAFETY: tables stay mapped.
    unsafe { own_pointer().as_ref() }
}

/// This thread's table, or null.
#[inline(always)]
fn own_pointer() -> *mut Table {
    let table: *mut Table;
    // SAFETY: reads the variable above, of this thread.
    unsafe {
        asm!(
            "mov {table}, qword ptr [rip + heapledger_exact_table@GOTTPOFF]",
            "mov {table}, qword ptr fs:[{table}]",
            table = out(reg) table,
            options(nostack, readonly, preserves_flags),
        );
    }
    table
}

fn set_own_table(table: *mut Table) {
    // SAFETY: writes the variable above, of this thread.
    unsafe {
        asm!(
            "mov {offset}, qword ptr [rip + heapledger_exact_table@GOTTPOFF]",
            "mov qword ptr fs:[{offset}], {table}",
            offset = out(reg) _,
            table = in(reg) table,
            options(nostack, preserves_flags),
        );
    }
}

/// All tables, those in use and those of threads that have ended.
static TABLES: AtomicPtr<Table> = AtomicPtr::new(null_mut());
/// The table of all threads that have none.
static SHARED: AtomicPtr<Table> = AtomicPtr::new(null_mut());

/// Whether there were ever two threads that count.
static MANY: AtomicBool = AtomicBool::new(false);

#[inline(always)]
pub(crate) fn are_many() -> bool {
    MANY.load(Relaxed)
}

/// The table of threads that have none. None: the system gives no memory.
#[cold]
#[inline(never)]
pub(crate) fn shared_table() -> Option<&'static Table> {
    MANY.store(true, Relaxed);
    let mut table = SHARED.load(Acquire);
    if table.is_null() {
        let fresh = new_table()?;
        let pointer = core::ptr::from_ref(fresh).cast_mut();
        match SHARED.compare_exchange(null_mut(), pointer, AcqRel, Acquire) {
            Ok(_) => table = pointer,
            // It stays in the list, for a thread to come.
            Err(theirs) => {
                fresh.in_use.store(0, Release);
                table = theirs;
            }
        }
    }
    // SAFETY: tables stay mapped.
    Some(unsafe { &*table })
}

/// `tag`'s site has read `bytes`.
#[inline(always)]
pub(crate) fn add_read(tag: Tag, bytes: usize) {
    match own_table() {
        Some(own) => own.add_read(tag, bytes),
        None => add_shared(tag, [bytes, 0, 0, 0]),
    }
}

/// `tag`'s site has written `bytes`.
#[inline(always)]
pub(crate) fn add_written(tag: Tag, bytes: usize) {
    match own_table() {
        Some(own) => own.add_written(tag, bytes),
        None => add_shared(tag, [0, bytes, 0, 0]),
    }
}

/// Of `tag`'s site, so many more bytes were written for the first time.
#[inline(always)]
pub(crate) fn add_first(tag: Tag, bytes: u32) {
    match own_table() {
        Some(own) => own.add_first(tag, bytes),
        None => add_shared(tag, [0, 0, bytes as usize, 0]),
    }
}

/// They were, and no callback told of it.
#[inline(always)]
pub(crate) fn add_untold(tag: Tag, bytes: u32) {
    match own_table() {
        Some(own) => own.add_untold(tag, bytes),
        None => add_shared(tag, [0, 0, 0, bytes as usize]),
    }
}

#[cold]
#[inline(never)]
fn add_shared(tag: Tag, more: [usize; 4]) {
    if let Some(table) = shared_table() {
        let Counts {
            read,
            written,
            distinct,
            untold,
        } = table.counts_of(tag);
        let counts = [read, written, distinct, untold];
        for (count, more) in counts.into_iter().zip(more) {
            if more != 0 {
                count.fetch_add(more as u64, Relaxed);
            }
        }
    }
}

/// A table in the list, in use.
fn new_table() -> Option<&'static Table> {
    let fresh = system::map(size_of::<Table>()).cast::<Table>();
    if fresh.is_null() {
        return None;
    }
    // SAFETY: zeroed memory of the right size, page-aligned, never unmapped.
    let table = unsafe { &*fresh };
    table.in_use.store(1, Relaxed);
    let mut first = TABLES.load(Relaxed);
    loop {
        table.next.store(first, Relaxed);
        match TABLES.compare_exchange_weak(first, fresh, AcqRel, Relaxed) {
            Ok(_) => return Some(table),
            Err(other) => first = other,
        }
    }
}

pub(crate) fn tables() -> impl Iterator<Item = &'static Table> {
    let mut at = TABLES.load(Acquire);
    core::iter::from_fn(move || {
        // SAFETY: tables stay mapped; null ends the list.
        let table = unsafe { at.as_ref() }?;
        at = table.next.load(Acquire);
        Some(table)
    })
}

/// Gives this thread a table of its own: one whose thread has ended, or a new one.
pub(crate) fn attach() {
    if own_table().is_some() {
        return;
    }
    if tables().any(|table| table.in_use.load(Relaxed) != 0) {
        MANY.store(true, Relaxed);
    }
    let free = |table: &&Table| table.in_use.compare_exchange(0, 1, AcqRel, Relaxed).is_ok();
    let table = tables().find(free).or_else(new_table);
    set_own_table(table.map_or(null_mut(), |table| core::ptr::from_ref(table).cast_mut()));
}

/// Takes this thread's table back. What it counts from now on goes to the shared one.
pub(crate) fn detach() {
    if let Some(own) = own_table() {
        set_own_table(null_mut());
        own.in_use.store(0, Release);
    }
}

/// In a process made by `fork`: this thread is the only one.
pub(crate) fn only_this_thread() {
    let own = own_pointer().cast_const();
    let shared = SHARED.load(Relaxed).cast_const();
    for table in tables() {
        let is = |other| core::ptr::eq(table, other);
        if !is(own) && !is(shared) {
            table.in_use.store(0, Relaxed);
        }
    }
}

/// Of this thread alone. One instruction, so that a signal handler in between loses
/// nothing.
#[inline(always)]
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
}

impl Table {
    #[inline(always)]
    pub(crate) fn counts_of(&self, tag: Tag) -> &Counts {
        const { assert!(size_of::<Counts>() == 2 << Tag::SITE_SHIFT) };
        // SAFETY: as it stands, a tag's number is half the offset of its counts.
        unsafe {
            &*self
                .counts
                .as_ptr()
                .cast::<u8>()
                .add((tag.0 & Tag::SITE) as usize * 2)
                .cast::<Counts>()
        }
    }

    #[inline(always)]
    pub(crate) fn add_read(&self, tag: Tag, bytes: usize) {
        add(&self.counts_of(tag).read, bytes as u64);
    }

    #[inline(always)]
    pub(crate) fn add_written(&self, tag: Tag, bytes: usize) {
        add(&self.counts_of(tag).written, bytes as u64);
    }

    /// Written for the first time.
    #[inline(always)]
    pub(crate) fn add_first(&self, tag: Tag, bytes: u32) {
        add(&self.counts_of(tag).distinct, u64::from(bytes));
    }

    #[inline(always)]
    pub(crate) fn add_untold(&self, tag: Tag, bytes: u32) {
        add(&self.counts_of(tag).untold, u64::from(bytes));
    }

    #[inline(always)]
    pub(crate) fn histogram_of(&self, tag: Tag) -> &AtomicPtr<u16> {
        &self.histograms[tag.site()]
    }

    pub(crate) fn clear(&self) {
        let bytes = core::mem::offset_of!(Table, next);
        // SAFETY: whole pages of this mapping: the fields before `next`.
        unsafe { system::zero_pages(core::ptr::from_ref(self).cast_mut().cast(), bytes) };
    }
}

const _: () = assert!(core::mem::offset_of!(Table, next) % system::PAGE_BYTES == 0);
