//! C libraries that nobody here wrote, and that tell what they hold.

use crate::support::Scenario;
use crate::support::child::tell;
use heapledger::{HeapStats, Profiler};
use interpose_tests::{sqlite, zstd};
use std::ffi::{CStr, c_int};
use std::hint::black_box;
use std::ptr::null_mut;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("published/sqlite", queries_profiled, |child| {
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        // SQLite counts the blocks it has and their bytes; it asks for 8 more each, to
        // keep the size in. What it reallocates keeps the site that it began at.
        let sum = profile.sum_in("sqlite3MemMalloc");
        let (blocks, bytes) = (ended.told("sqlite blocks"), ended.told("sqlite bytes"));
        assert!(blocks > 20, "{blocks}");
        assert_eq!((sum.ebk, sum.eb), (blocks, bytes + 8 * blocks));
        assert!(profile.sum_in("sqlite3_exec").tbk > 1_000);
        assert_eq!(profile.refused().truncated_stacks, 0);
    }),
    Scenario::new("published/zstd", compression_profiled, |child| {
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        let sum = profile.sum_in("ZSTD_createCCtx");
        let grown = profile.sum_in("ZSTD_compressCCtx");
        assert_eq!(sum.eb + grown.eb, ended.told("context bytes"));
        assert_eq!(profile.refused().truncated_stacks, 0);
    }),
];

/// A number that SQLite keeps.
fn status(of: c_int) -> u64 {
    let (mut now, mut most) = (0, 0);
    // SAFETY: both can be written to.
    let error = unsafe { sqlite::sqlite3_status(of, &mut now, &mut most, 0) };
    assert_eq!(error, sqlite::SQLITE_OK);
    now as u64
}

fn execute(database: *mut sqlite::sqlite3, statements: &CStr) {
    // SAFETY: an open database and a text.
    let error = unsafe {
        sqlite::sqlite3_exec(database, statements.as_ptr(), None, null_mut(), null_mut())
    };
    assert_eq!(error, sqlite::SQLITE_OK, "{statements:?}");
}

fn queries_profiled() {
    let profiler = Profiler::new_heap();
    let database = queries();
    drop(profiler);
    // SAFETY: open, and nothing of it is in use.
    assert_eq!(
        unsafe { sqlite::sqlite3_close(database) },
        sqlite::SQLITE_OK
    );
}

pub(crate) fn queries() -> *mut sqlite::sqlite3 {
    let mut database = null_mut();
    // SAFETY: a name, and room for the handle.
    let error = unsafe { sqlite::sqlite3_open(c":memory:".as_ptr(), &mut database) };
    assert_eq!(error, sqlite::SQLITE_OK);
    execute(
        database,
        c"create table t (id integer primary key, name text, size integer);
          create index by_name on t (name);
          with recursive n (i) as (select 1 union all select i + 1 from n where i < 3000)
          insert into t select i, 'name ' || (i * 7919 % 3000), i * i from n;
          delete from t where id % 3 = 0;
          update t set name = name || ' and more' where id % 5 = 0;
          select name, group_concat(size) from t group by name order by size desc;",
    );
    tell("sqlite blocks", status(sqlite::SQLITE_STATUS_MALLOC_COUNT));
    tell("sqlite bytes", status(sqlite::SQLITE_STATUS_MEMORY_USED));
    database
}

fn compression_profiled() {
    let profiler = Profiler::new_heap();
    compression();
    drop(profiler);
}

pub(crate) fn compression() {
    let text: Vec<u8> = (0..200_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    let mut packed = vec![0_u8; 300_000];
    let mut unpacked = vec![0_u8; text.len()];
    let before = HeapStats::get();
    // SAFETY: buffers with their sizes; the context is used by this thread alone.
    unsafe {
        let context = zstd::ZSTD_createCCtx();
        let size = zstd::ZSTD_compressCCtx(
            context,
            packed.as_mut_ptr().cast(),
            packed.len(),
            text.as_ptr().cast(),
            text.len(),
            9,
        );
        assert_eq!(zstd::ZSTD_isError(size), 0);
        let held = HeapStats::get().curr_bytes - before.curr_bytes;
        assert_eq!(held, zstd::ZSTD_sizeof_CCtx(context));
        tell("context bytes", held as u64);
        let out = zstd::ZSTD_decompress(
            unpacked.as_mut_ptr().cast(),
            unpacked.len(),
            packed.as_ptr().cast(),
            size,
        );
        assert_eq!(out, text.len());
        black_box(context);
    }
    assert!(text == unpacked);
}
