//! The key `heapledger` of a point.

use serde::Serialize;

use super::number;
use crate::record::snapshot::{AllocatorTime, Counts, Touched};
use crate::report::accesses::PointAccesses;
use crate::report::estimate::Intervals;

/// What is 0 or was not measured is left out.
#[derive(Serialize)]
pub(super) struct PointExtension {
    #[serde(skip_serializing_if = "is_zero")]
    reallocs: u64,
    #[serde(skip_serializing_if = "is_zero")]
    copied_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    largest_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    touch: Option<PointTouch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<PointTime>,
    /// Distinct bytes written at least once.
    #[serde(skip_serializing_if = "is_zero")]
    touched_bytes: u64,
    /// Of the bytes written (`wb`): found because they have changed.
    #[serde(skip_serializing_if = "is_zero")]
    untold_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate: Option<Estimate>,
}

/// What a point of a sampled run rests on: how many blocks were sampled, and
/// the 95 % intervals of the figures of these names.
#[derive(Serialize)]
struct Estimate {
    samples: u64,
    tb: (u64, u64),
    tbk: (u64, u64),
    eb: (u64, u64),
    ebk: (u64, u64),
}

/// How much of the blocks was written: an estimate. A reallocated block is one.
#[derive(Serialize)]
struct PointTouch {
    /// Blocks that were measured, their bytes, those written, and those behind
    /// the last one written.
    blocks: u64,
    bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    written_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    tail_bytes: u64,
    /// The same of all blocks but the unmeasured ones.
    all_bytes: u64,
    all_written_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    all_tail_bytes: u64,
    /// 19 times of 20.
    all_written_interval: (u64, u64),
    #[serde(skip_serializing_if = "is_zero")]
    unmeasured_blocks: u64,
}

impl PointTouch {
    pub(super) fn new(touched: &Touched) -> PointTouch {
        let (low, high) = touched.interval();
        PointTouch {
            blocks: number(touched.blocks),
            bytes: number(touched.bytes),
            written_bytes: number(touched.written_bytes),
            tail_bytes: number(touched.tail_bytes),
            all_bytes: number(touched.all_bytes),
            all_written_bytes: number(touched.all_written_bytes),
            all_tail_bytes: number(touched.all_tail_bytes),
            all_written_interval: (number(low), number(high)),
            unmeasured_blocks: number(touched.unmeasured_blocks),
        }
    }
}

impl PointExtension {
    pub(super) fn new(
        counts: &Counts,
        time: Option<&AllocatorTime>,
        accesses: Option<PointAccesses<'_>>,
        sample_bytes: Option<u64>,
    ) -> PointExtension {
        let bytes = accesses.map(|accesses| accesses.bytes).unwrap_or_default();
        let estimate = sample_bytes.map(|sample_bytes| {
            let intervals = Intervals::of(counts, sample_bytes);
            let numbers = |(low, high)| (number(low), number(high));
            Estimate {
                samples: counts.samples.samples,
                tb: numbers(intervals.total_bytes),
                tbk: numbers(intervals.total_blocks),
                eb: numbers(intervals.end_bytes),
                ebk: numbers(intervals.end_blocks),
            }
        });
        PointExtension {
            estimate,
            reallocs: number(counts.reallocs),
            copied_bytes: number(counts.copied_bytes),
            largest_bytes: number(counts.largest_bytes),
            touch: (counts.touched != Touched::default()).then(|| PointTouch::new(&counts.touched)),
            time: time.map(PointTime::new),
            touched_bytes: number(bytes.touched),
            untold_bytes: number(bytes.untold),
        }
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What the point's blocks cost in the allocator: an estimate from samples.
#[derive(Serialize)]
struct PointTime {
    alloc_ns: u64,
    realloc_ns: u64,
    free_ns: u64,
    samples: u64,
}

impl PointTime {
    pub(super) fn new(time: &AllocatorTime) -> PointTime {
        PointTime {
            alloc_ns: number(time.alloc_ns),
            realloc_ns: number(time.realloc_ns),
            free_ns: number(time.free_ns),
            samples: number(time.samples),
        }
    }
}
