//! Points that become one.

use crate::model::{AllocatorTime, Counts, Estimate, PointExtension, ProcessShare, Touch};

impl Counts {
    /// Adds another point's figures. What is known of the largest moment of both is a lower bound:
    /// the larger one of theirs, or what they held together at two known moments.
    pub fn add(&mut self, other: &Self) {
        for (sum, other) in [
            (&mut self.total_bytes, other.total_bytes),
            (&mut self.total_blocks, other.total_blocks),
            (&mut self.lifetimes, other.lifetimes),
            (&mut self.peak_bytes, other.peak_bytes),
            (&mut self.peak_blocks, other.peak_blocks),
            (&mut self.end_bytes, other.end_bytes),
            (&mut self.end_blocks, other.end_blocks),
            (&mut self.read_bytes, other.read_bytes),
            (&mut self.written_bytes, other.written_bytes),
        ] {
            *sum = sum.saturating_add(other);
        }
        (self.max_bytes, self.max_blocks) = [
            (self.max_bytes, self.max_blocks),
            (other.max_bytes, other.max_blocks),
            (self.peak_bytes, self.peak_blocks),
            (self.end_bytes, self.end_blocks),
        ]
        .into_iter()
        .max()
        .unwrap_or_default();
    }
}

impl PointExtension {
    /// Adds another point's. A part that only one has is known of neither any more.
    pub fn add(&mut self, other: &Self) {
        self.reallocs = self.reallocs.saturating_add(other.reallocs);
        self.copied_bytes = self.copied_bytes.saturating_add(other.copied_bytes);
        self.largest_bytes = self.largest_bytes.max(other.largest_bytes);
        self.estimate = both(self.estimate, other.estimate, Estimate::plus);
        self.touch = both(self.touch, other.touch, Touch::plus);
        self.time = both(self.time, other.time, AllocatorTime::plus);
        if !other.by_process.is_empty() {
            self.by_process.extend(&other.by_process);
            // Two lists in order, most often: as good as merged.
            self.by_process.sort_by_key(|share| share.process);
            self.by_process.dedup_by(|share, sum| {
                let is_same = share.process == sum.process;
                if is_same {
                    sum.add(share);
                }
                is_same
            });
        }
    }
}

impl ProcessShare {
    fn add(&mut self, other: &Self) {
        self.total_bytes = self.total_bytes.saturating_add(other.total_bytes);
        self.total_blocks = self.total_blocks.saturating_add(other.total_blocks);
        self.peak_bytes = self.peak_bytes.saturating_add(other.peak_bytes);
        self.end_bytes = self.end_bytes.saturating_add(other.end_bytes);
    }
}

fn both<T>(a: Option<T>, b: Option<T>, plus: impl FnOnce(T, T) -> T) -> Option<T> {
    Some(plus(a?, b?))
}

impl Estimate {
    /// The intervals of two sums lie within the sums of the intervals.
    fn plus(self, other: Self) -> Self {
        let sum = |(low, high): (u64, u64), (other_low, other_high): (u64, u64)| {
            (
                low.saturating_add(other_low),
                high.saturating_add(other_high),
            )
        };
        Self {
            samples: self.samples.saturating_add(other.samples),
            tb: sum(self.tb, other.tb),
            tbk: sum(self.tbk, other.tbk),
            eb: sum(self.eb, other.eb),
            ebk: sum(self.ebk, other.ebk),
        }
    }
}

impl Touch {
    fn plus(self, other: Self) -> Self {
        let (low, high) = self.all_written_interval;
        let (other_low, other_high) = other.all_written_interval;
        Self {
            blocks: self.blocks.saturating_add(other.blocks),
            bytes: self.bytes.saturating_add(other.bytes),
            written_bytes: self.written_bytes.saturating_add(other.written_bytes),
            tail_bytes: self.tail_bytes.saturating_add(other.tail_bytes),
            all_bytes: self.all_bytes.saturating_add(other.all_bytes),
            all_written_bytes: self
                .all_written_bytes
                .saturating_add(other.all_written_bytes),
            all_tail_bytes: self.all_tail_bytes.saturating_add(other.all_tail_bytes),
            // Wider than need be, never narrower: the errors need not be independent.
            all_written_interval: (
                low.saturating_add(other_low),
                high.saturating_add(other_high),
            ),
            unmeasured_blocks: self
                .unmeasured_blocks
                .saturating_add(other.unmeasured_blocks),
        }
    }
}

impl AllocatorTime {
    fn plus(self, other: Self) -> Self {
        Self {
            alloc_ns: self.alloc_ns.saturating_add(other.alloc_ns),
            realloc_ns: self.realloc_ns.saturating_add(other.realloc_ns),
            free_ns: self.free_ns.saturating_add(other.free_ns),
            samples: self.samples.saturating_add(other.samples),
        }
    }
}
