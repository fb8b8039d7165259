//! A heap profile in memory: what a DHAT file of version 2 holds, with what heapledger adds to it.
//!
//! The names are the format's, spelled out: its keys are in each field's description. A profile of
//! a million points is ordinary, so points own nothing: their frames lie in one array.

use serde::{Deserialize, Serialize};

/// What was profiled: the `mode` of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// `heap`, and dhat-rs's `rust-heap`: allocations and frees.
    Heap,
    /// `ad-hoc`: events with weights.
    AdHoc,
    /// `copy`: calls of memcpy and its kin.
    Copy,
}

/// One profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// `mode`.
    pub mode: Mode,
    /// `verb`: what is done to a block, "Allocated".
    pub verb: String,
    /// `bu`, `bsu`, `bksu`: a byte, bytes and blocks, where they are called something else.
    pub units: Option<Units>,
    /// `tu`, `Mtu`: the unit of time, and the name of a million of them.
    pub time_units: (String, String),
    /// `tuth`: blocks that live less than this are short-lived.
    pub short_lived_below: Option<u64>,
    /// `cmd`.
    pub command: String,
    /// `pid`.
    pub pid: u32,
    /// `te`: when the recording ended.
    pub end_time: u64,
    /// `tg`: when the most bytes were live.
    pub peak_time: Option<u64>,
    /// `bklt`: whether [`Counts`] has lifetimes, maxima, and what was live at the peak and the end.
    pub has_lifetimes: bool,
    /// `bkacc`: whether [`Counts`] has reads and writes.
    pub has_accesses: bool,
    /// `ftbl`, as it is written: `0x55D0: main (src/main.rs:3)`. Number 0 is `[root]`.
    pub frames: Vec<Box<str>>,
    /// `pps`.
    pub points: Vec<Point>,
    /// The `fs` of all points, one after the other, innermost frame first.
    pub stacks: Vec<u32>,
    /// `acc` of the points that have one: for each byte of a block, how often it was accessed.
    pub histograms: Vec<(u32, Vec<u32>)>,
    /// What heapledger adds for the whole profile.
    pub extension: Option<Extension>,
    /// What heapledger adds for a point; empty, or as long as `points`.
    pub point_extensions: Vec<PointExtension>,
}

/// Singular and plural of what is summed, plural of what is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// `bu`.
    pub byte: String,
    /// `bsu`.
    pub bytes: String,
    /// `bksu`.
    pub blocks: String,
}

/// A program point: all that was allocated under one list of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// First and one past the last of this point's frames in [`Profile::stacks`].
    pub stack: (u32, u32),
    /// Its figures.
    pub counts: Counts,
}

/// Figures of a point. What the file does not have is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// `tb`.
    pub total_bytes: u64,
    /// `tbk`.
    pub total_blocks: u64,
    /// `tl`: the sum of all blocks' lifetimes, in units of time.
    pub lifetimes: u64,
    /// `mb`: the most bytes that were live at once.
    pub max_bytes: u64,
    /// `mbk`: the blocks of that moment.
    pub max_blocks: u64,
    /// `gb`: live at [`Profile::peak_time`].
    pub peak_bytes: u64,
    /// `gbk`.
    pub peak_blocks: u64,
    /// `eb`: live at the end.
    pub end_bytes: u64,
    /// `ebk`.
    pub end_blocks: u64,
    /// `rb`.
    pub read_bytes: u64,
    /// `wb`.
    pub written_bytes: u64,
}

/// The key `heapledger` of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extension {
    /// Of this block.
    pub version: u32,
    /// What took the stacks.
    pub capture: String,
    /// Mean number of allocated bytes between two samples; absent where every block was recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_bytes: Option<u64>,
    /// How far the figures can be trusted, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<serde_json::Value>,
    /// What was not recorded, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<serde_json::Value>,
    /// What was live over time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
    /// The loaded objects: for names that were not to be had when the file was written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Module>,
    /// CPU time of the process while it was recorded, in ns, without the profiler's own; where
    /// allocator time was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_ns: Option<u64>,
    /// The profiler's own part, which is not in `cpu_ns`: an estimate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profiler_cpu_ns: Option<u64>,
    /// The processes that a merged profile is of, where it tells them apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
}

/// One of the processes that a merged profile is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Its number in the system.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// The file that its profile was read from.
    pub file: String,
}

/// An executable or library that was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Module {
    /// As the loader names it.
    pub path: String,
    /// The GNU build id in lower-case hexadecimal, or empty.
    pub build_id: String,
    /// Frame addresses of this module, as written in frames, lie in this range.
    pub start: u64,
    /// One past the last.
    pub end: u64,
}

/// Live bytes and blocks over time, at a bounded number of moments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeline {
    /// In order of time; the last is the end of the recording.
    pub moments: Vec<MomentOfTimeline>,
}

/// One moment of a [`Timeline`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MomentOfTimeline {
    /// Since the start, in the profile's unit of time.
    pub time: u64,
    /// Live bytes.
    pub bytes: u64,
    /// Live blocks.
    pub blocks: u64,
    /// Allocated so far, in bytes.
    pub total_bytes: u64,
    /// Allocated so far, in blocks.
    pub total_blocks: u64,
    /// Whether this is the moment with the most live bytes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub peak: bool,
    /// The points that held most, as index into the file's `pps`, and their live bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub top: Vec<(u32, u64)>,
}

/// The key `heapledger` of a program point. A part is absent where it was not measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PointExtension {
    /// Reallocations among `tbk`.
    pub reallocs: u64,
    /// Bytes that reallocations had to copy because the block moved.
    pub copied_bytes: u64,
    /// The largest block.
    pub largest_bytes: u64,
    /// What the figures rest on, where blocks were sampled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
    /// How much of the blocks was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub touch: Option<Touch>,
    /// Time spent in the allocator for these blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<AllocatorTime>,
    /// What each process of a merged profile had of this point, where that was kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_process: Vec<ProcessShare>,
}

/// What one process had of a point.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcessShare {
    /// As index of [`Extension::processes`].
    pub process: u32,
    /// Its [`Counts::total_bytes`].
    pub total_bytes: u64,
    /// Its [`Counts::total_blocks`].
    pub total_blocks: u64,
    /// Its [`Counts::peak_bytes`], at its own peak.
    pub peak_bytes: u64,
    /// Its [`Counts::end_bytes`].
    pub end_bytes: u64,
}

/// Figures of a sampled run: how many blocks were sampled, and between what the figures lie with a
/// certainty of 95 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Estimate {
    /// Blocks that were sampled.
    pub samples: u64,
    /// Of [`Counts::total_bytes`].
    pub tb: (u64, u64),
    /// Of [`Counts::total_blocks`].
    pub tbk: (u64, u64),
    /// Of [`Counts::end_bytes`].
    pub eb: (u64, u64),
    /// Of [`Counts::end_blocks`].
    pub ebk: (u64, u64),
}

/// An estimate of what was written. Blocks are either measured or not; the figures but the last
/// three are sums over those that were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Touch {
    /// Blocks that were measured.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of them that were written: a lower bound.
    pub written_bytes: u64,
    /// Bytes of them behind the last one that was written: the unused tail.
    pub tail_bytes: u64,
    /// Bytes of all blocks of the point but the unmeasured ones.
    pub all_bytes: u64,
    /// Estimate for those: bytes written.
    pub all_written_bytes: u64,
    /// Estimate for those: bytes behind the last one that was written.
    pub all_tail_bytes: u64,
    /// The 95 % interval of that estimate; equal ends where every block was measured.
    pub all_written_interval: (u64, u64),
    /// Blocks for which nothing is known, not even through others of their point.
    pub unmeasured_blocks: u64,
}

/// Sampled CPU time in the inner allocator, scaled to all calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AllocatorTime {
    /// In `alloc` and `alloc_zeroed`.
    pub alloc_ns: u64,
    /// In `realloc`, with its copies.
    pub realloc_ns: u64,
    /// In `dealloc`.
    pub free_ns: u64,
    /// Calls that were timed.
    pub samples: u64,
}

impl Profile {
    /// The frames of a point, innermost first, as numbers of [`Profile::frames`].
    pub fn stack(&self, point: &Point) -> &[u32] {
        &self.stacks[point.stack.0 as usize..point.stack.1 as usize]
    }
}
