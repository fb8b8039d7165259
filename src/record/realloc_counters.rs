//! What became of one site's blocks that changed their size, as one thread saw
//! it. Apart from the counters that every operation changes, so that those stay
//! in one cache line.

use crate::record::chunks::Zeroable;
use crate::record::counter::Counter64;
use crate::record::site_counters::SiteSum;

/// Zeroed memory is a site of which the thread has reallocated nothing.
#[derive(Debug)]
pub(crate) struct ReallocCounters {
    reallocs: Counter64,
    kept_bytes: Counter64,
    copied_bytes: Counter64,
}

// SAFETY: atomics, for which zero is valid.
unsafe impl Zeroable for ReallocCounters {}

impl ReallocCounters {
    #[inline]
    pub(crate) fn count(&self, old_bytes: usize, new_bytes: usize, moved: bool) {
        let kept = old_bytes.min(new_bytes) as u64;
        self.reallocs.add(1);
        self.kept_bytes.add(kept);
        self.copied_bytes.add(if moved { kept } else { 0 });
    }

    /// Adds this thread's counts to a site's sum.
    pub(crate) fn add_to(&self, sum: &mut SiteSum) {
        sum.reallocs += self.reallocs.get();
        sum.kept_bytes += self.kept_bytes.get();
        sum.copied_bytes += self.copied_bytes.get();
    }
}
