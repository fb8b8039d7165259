//! Reads and writes as a reading yields them: plain numbers.

/// What was read and written, if this build counts it and does so truly.
#[derive(Clone, Debug, Default)]
pub(crate) enum Accesses {
    /// This is an ordinary build.
    #[default]
    NotCounted,
    /// The build was to count them, but does not.
    Silent(&'static str),
    Counted(Box<CountedAccesses>),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct CountedAccesses {
    /// Of each of the snapshot's sites.
    pub(crate) sites: Vec<SiteAccesses>,
    /// Of each site, how often each byte of its blocks was accessed, if they are of one
    /// size. Empty if that was not asked for.
    pub(crate) histograms: Vec<Option<Box<[u16]>>>,
    /// Blocks whose accesses were not counted.
    pub(crate) refused_blocks: u64,
    /// Blocks in which writes by code that comes compiled were not looked for.
    pub(crate) unsearched_blocks: u64,
    /// Bytes of blocks live at the end in which they could not be looked for.
    pub(crate) unreadable_bytes: u64,
}

/// Bytes that were read from and written to the blocks of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SiteAccesses {
    pub(crate) read: u64,
    /// With `untold`.
    pub(crate) written: u64,
    /// Distinct bytes written at least once.
    pub(crate) touched: u64,
    /// Of these, bytes written by code that comes compiled: found because they have
    /// changed.
    pub(crate) untold: u64,
}

impl SiteAccesses {
    pub(crate) fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.written += other.written;
        self.touched += other.touched;
        self.untold += other.untold;
    }
}

impl CountedAccesses {
    /// Of all sites.
    pub(crate) fn total(&self) -> SiteAccesses {
        let mut total = SiteAccesses::default();
        for site in &self.sites {
            total.add(site);
        }
        total
    }
}
