//! What the callbacks and `src/exact` of the crate tell each other. Compiled into both.

/// What is in a block that is put into the shadow.
#[allow(dead_code, reason = "made on one side, read on the other")]
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(crate) enum Content {
    /// Nothing that the program could know: it may be overwritten.
    Nothing,
    Zeros,
}

/// What is kept of a block while it moves.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Moving {
    /// 0: it is not in the shadow.
    pub(crate) tag: u32,
    /// Bytes that stay the block's.
    pub(crate) kept: usize,
    /// Which of them were written, a bit each, if there are too many for `few`.
    pub(crate) many: *mut u8,
    pub(crate) few: [u8; FEW_KEPT / 8],
}

/// More than these need a mapping.
pub(crate) const FEW_KEPT: usize = 4096;

/// What all threads did to the blocks of a site, in bytes.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct SiteSum {
    pub(crate) read: u64,
    /// With `untold`.
    pub(crate) written: u64,
    /// Distinct bytes written at least once.
    pub(crate) distinct: u64,
    /// Distinct bytes that have changed though no callback told of it.
    pub(crate) untold: u64,
}

/// What is not in the counts.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Limits {
    /// Blocks that are not in the shadow.
    pub(crate) refused_blocks: u64,
    /// Blocks that are not searched for untold writes: too large.
    pub(crate) unsearched_blocks: u64,
    /// Bytes of blocks that could not be searched when the run ended.
    pub(crate) unreadable_bytes: u64,
}

/// The largest blocks whose bytes are counted one by one: what a DHAT file may hold.
pub(crate) const MAX_HISTOGRAM_BYTES: usize = 1024;
