//! What a scope adds up to.

use crate::alloc::ENGINE;
use crate::clock::Scale;
use crate::engine::scopes::ScopeReading;
use crate::profiler::{add_modules, command};
use crate::record::scope::tally::Usage;
use crate::record::snapshot::{
    Accesses, Counts, Kind, Refusals, SampleSum, SiteCounts, Snapshot, Totals, Touched,
};
use crate::report::profile::{Options, Profile};
use crate::report::stacks::{self, StackFrame};
use crate::report::trim::Trim;
use crate::report::{dhat, save};
use std::fmt;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Frames of a stack that are shown.
const MAX_FRAMES: usize = 64;

/// What a [`Scope`](crate::Scope) adds up to at one moment; returned by
/// [`measure`](crate::measure) and [`Scope::usage`](crate::Scope::usage). All
/// numbers are exact, whatever number of threads used the scope.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let ((), heap) = heapledger::measure(|| {
///         let mut bytes = Vec::<u8>::with_capacity(10);
///         bytes.reserve_exact(30);
///     });
///     assert_eq!((heap.total_blocks, heap.total_bytes), (2, 40));
///     assert_eq!((heap.reallocs, heap.max_bytes, heap.live_bytes), (1, 30, 0));
///     assert_eq!(heap.sites().len(), 1);
/// }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct HeapUsage {
    /// Blocks allocated; a reallocation counts as one more.
    pub total_blocks: u64,
    /// Bytes allocated; a reallocation counts with its new size.
    pub total_bytes: u64,
    /// Blocks that are not freed yet.
    pub live_blocks: u64,
    /// Bytes that are not freed yet.
    pub live_bytes: u64,
    /// Blocks live when `max_bytes` was (last) reached.
    pub max_blocks: u64,
    /// The most bytes that were live at a time.
    pub max_bytes: u64,
    /// Blocks that are not freed yet, and that the result does not lead to: what
    /// [`measure`](crate::measure)'s closure has returned, or what
    /// [`Scope::usage_holding`](crate::Scope::usage_holding) was given. With
    /// [`Scope::usage`](crate::Scope::usage) there is none: all live blocks.
    ///
    /// A result leads to the blocks that an aligned word of it points into, and they to others
    /// in the same way, as in LeakSanitizer; of blocks from outside of the scope only the
    /// result itself is looked at. An address in disguise (tagged in its upper bits,
    /// compressed, an index) leads nowhere. What the closure has put elsewhere is leaked: into
    /// a static, a thread-local, or a collection from outside.
    pub leaked_blocks: u64,
    /// The bytes of these blocks.
    pub leaked_bytes: u64,
    /// Blocks of the scope that were freed.
    pub freed_blocks: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// Reallocations among the total blocks.
    pub reallocs: u64,
    /// Bytes that they copied because the block moved. Where the allocator finds
    /// room is not up to the program, so this can differ from run to run.
    pub copied_bytes: u64,
    /// The largest block.
    pub largest_bytes: u64,
    /// Bytes that held to the end what they held when their block was allocated: as good as
    /// never written. None unless the scope was made to find out
    /// ([`Scope::measuring_writes`](crate::Scope::measuring_writes)).
    ///
    /// An upper bound, as a byte can be given the value that it has: in a zeroed block
    /// every zero counts. Taken as written in full, though, are blocks from outside that
    /// grew in the scope, and blocks of up to 16 bytes that an inner allocator puts so close
    /// together that there is no place to note it.
    pub unwritten_bytes: Option<u64>,
    detail: Arc<Detail>,
}

/// The counts of one site, or of several together. The fields are those of
/// [`HeapUsage`], but for the maxima.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// mod lexer {
///     #[inline(never)]
///     pub fn words(text: &str) -> Vec<&str> {
///         text.split(' ').collect()
///     }
/// }
///
/// fn main() {
///     let (words, heap) = heapledger::measure(|| lexer::words("a b c"));
///     let in_lexer = heap.site(concat!(module_path!(), "::lexer"));
///     heapledger::assert_heap!(in_lexer.total_blocks == 1);
///     # drop(words);
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SiteUsage {
    /// Blocks allocated; a reallocation counts as one more.
    pub total_blocks: u64,
    /// Bytes allocated; a reallocation counts with its new size.
    pub total_bytes: u64,
    /// Blocks that are not freed yet.
    pub live_blocks: u64,
    /// Bytes that are not freed yet.
    pub live_bytes: u64,
    /// Blocks live when the scope as a whole reached its
    /// [`max_bytes`](HeapUsage::max_bytes).
    pub max_blocks: u64,
    /// Bytes live when the scope as a whole reached its `max_bytes`: those of all
    /// sites add up to that.
    pub max_bytes: u64,
    /// As [`HeapUsage::leaked_blocks`].
    pub leaked_blocks: u64,
    /// As [`HeapUsage::leaked_bytes`].
    pub leaked_bytes: u64,
    /// Blocks that were freed.
    pub freed_blocks: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// Reallocations among the total blocks.
    pub reallocs: u64,
    /// As [`HeapUsage::copied_bytes`].
    pub copied_bytes: u64,
    /// The largest block.
    pub largest_bytes: u64,
    /// As [`HeapUsage::unwritten_bytes`].
    pub unwritten_bytes: Option<u64>,
    /// Innermost first; empty if these are the counts of several sites.
    frames: Vec<SiteFrame>,
    /// Of whose sites these are, and which.
    of: Option<(Arc<Detail>, Vec<usize>)>,
}

/// A function on the way to an allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SiteFrame {
    /// The function with its path; empty if it is not known.
    pub function: String,
    /// The source file, or the loaded object where no line is known.
    pub file: String,
    /// The line, if it is known.
    pub line: Option<u32>,
    pub(crate) is_user: bool,
    pub(crate) is_profiler: bool,
}

impl fmt::Display for SiteFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = match self.function.as_str() {
            "" => "???",
            function => function,
        };
        match (self.line, self.file.as_str()) {
            (Some(line), file) => write!(f, "{function} ({file}:{line})"),
            (None, "") => f.write_str(function),
            (None, file) => write!(f, "{function} (in {file})"),
        }
    }
}

/// What is worked out when it is asked for. Never the program's own: made and
/// dropped with the thread's allocations left out.
pub(crate) struct Detail {
    reading: ScopeReading,
    has_sites: bool,
    has_writes: bool,
    snapshot: OnceLock<Snapshot>,
    sites: OnceLock<Vec<SiteUsage>>,
}

impl fmt::Debug for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detail").finish_non_exhaustive()
    }
}

impl fmt::Debug for HeapUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeapUsage")
            .field("total_blocks", &self.total_blocks)
            .field("total_bytes", &self.total_bytes)
            .field("live_blocks", &self.live_blocks)
            .field("live_bytes", &self.live_bytes)
            .field("max_blocks", &self.max_blocks)
            .field("max_bytes", &self.max_bytes)
            .field("freed_blocks", &self.freed_blocks)
            .field("freed_bytes", &self.freed_bytes)
            .field("reallocs", &self.reallocs)
            .field("copied_bytes", &self.copied_bytes)
            .field("largest_bytes", &self.largest_bytes)
            .field("unwritten_bytes", &self.unwritten_bytes)
            .finish_non_exhaustive()
    }
}

impl HeapUsage {
    pub(crate) fn of(reading: ScopeReading, has_sites: bool, has_writes: bool) -> Self {
        let usage = reading.usage;
        Self {
            total_blocks: usage.total_blocks,
            total_bytes: usage.total_bytes,
            live_blocks: usage.live_blocks,
            live_bytes: usage.live_bytes,
            max_blocks: usage.max_blocks,
            max_bytes: usage.max_bytes,
            leaked_blocks: usage.leaked_blocks,
            leaked_bytes: usage.leaked_bytes,
            freed_blocks: usage.freed_blocks,
            freed_bytes: usage.freed_bytes,
            reallocs: usage.reallocs,
            copied_bytes: usage.copied_bytes,
            largest_bytes: usage.largest_bytes,
            unwritten_bytes: has_writes.then_some(usage.unwritten_bytes),
            detail: Arc::new(Detail {
                reading,
                has_sites,
                has_writes,
                snapshot: OnceLock::new(),
                sites: OnceLock::new(),
            }),
        }
    }

    /// Every site that allocated in the scope, with its stack: the most bytes
    /// first. Their counts add up to the scope's. The first call looks names up
    /// in the program's debug information, which takes some milliseconds.
    ///
    /// # Panics
    /// If the scope was made to keep counts only.
    pub fn sites(&self) -> &[SiteUsage] {
        self.detail.sites()
    }

    /// The sum of the sites on whose stack there is a function `path`, or one in
    /// the module or type of that path: `"my_crate::lexer"` finds
    /// `my_crate::lexer::Lexer::next`. Zeros if there is none.
    ///
    /// # Panics
    /// If the scope was made to keep counts only.
    pub fn site(&self, path: &str) -> SiteUsage {
        ENGINE.ignoring(|| {
            let sites = self.detail.sites();
            let is_in = |site: &SiteUsage| site.frames.iter().any(|frame| frame.is_in(path));
            let found = sites.iter().enumerate().filter(|(_, site)| is_in(site));
            let numbers = found.map(|(number, _)| number).collect();
            SiteUsage::sum_of(&self.detail, numbers)
        })
    }

    /// Every site, as one.
    pub(crate) fn all_sites(&self) -> SiteUsage {
        let numbers = (0..self.detail.sites().len()).collect();
        SiteUsage::sum_of(&self.detail, numbers)
    }

    /// Whether there are stacks.
    pub(crate) fn has_sites(&self) -> bool {
        self.detail.has_sites
    }

    /// Writes the scope's profile, in the format of DHAT's viewer.
    pub(crate) fn save(&self, path: &Path) -> Result<(), save::SaveError> {
        let options = options();
        let profile = Profile::from_snapshot(self.detail.snapshot(), &options);
        save::save(path, |file| {
            let mut buffer = BufWriter::with_capacity(1 << 16, file);
            dhat::write(&profile, &mut buffer)?;
            buffer.flush()
        })
    }
}

impl SiteUsage {
    /// The stack, innermost frame first, without the allocator's frames and the
    /// runtime's. Empty for the counts of several sites.
    pub fn frames(&self) -> &[SiteFrame] {
        &self.frames
    }

    /// The place that matters: the innermost frame that is not the standard
    /// library's.
    pub fn place(&self) -> Option<&SiteFrame> {
        let user = self.frames.iter().find(|frame| frame.is_user);
        user.or(self.frames.first())
    }

    fn new(usage: &Usage, has_writes: bool, frames: Vec<SiteFrame>) -> Self {
        Self {
            total_blocks: usage.total_blocks,
            total_bytes: usage.total_bytes,
            live_blocks: usage.live_blocks,
            live_bytes: usage.live_bytes,
            max_blocks: usage.peak_blocks,
            max_bytes: usage.peak_bytes,
            leaked_blocks: usage.leaked_blocks,
            leaked_bytes: usage.leaked_bytes,
            freed_blocks: usage.freed_blocks,
            freed_bytes: usage.freed_bytes,
            reallocs: usage.reallocs,
            copied_bytes: usage.copied_bytes,
            largest_bytes: usage.largest_bytes,
            unwritten_bytes: has_writes.then_some(usage.unwritten_bytes),
            frames,
            of: None,
        }
    }

    pub(crate) fn sum_of(detail: &Arc<Detail>, numbers: Vec<usize>) -> Self {
        let mut sum = Self::new(&Usage::default(), detail.has_writes, Vec::new());
        for &number in &numbers {
            sum.add(&detail.sites()[number]);
        }
        sum.of = Some((Arc::clone(detail), numbers));
        sum
    }

    /// The scope that these are counts of.
    pub(crate) fn whole_scope(&self) -> Option<HeapUsage> {
        let (detail, _) = self.of.as_ref()?;
        let mut whole = HeapUsage::of(ScopeReading::default(), detail.has_sites, detail.has_writes);
        whole.detail = Arc::clone(detail);
        Some(whole)
    }

    /// The single sites that these are counts of.
    pub(crate) fn sites_within(&self) -> Vec<SiteUsage> {
        match &self.of {
            Some((detail, numbers)) => {
                let site = |&number: &usize| detail.sites()[number].clone();
                numbers.iter().map(site).collect()
            }
            None => vec![self.clone()],
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.total_blocks += other.total_blocks;
        self.total_bytes += other.total_bytes;
        self.live_blocks += other.live_blocks;
        self.live_bytes += other.live_bytes;
        self.max_blocks += other.max_blocks;
        self.max_bytes += other.max_bytes;
        self.leaked_blocks += other.leaked_blocks;
        self.leaked_bytes += other.leaked_bytes;
        self.freed_blocks += other.freed_blocks;
        self.freed_bytes += other.freed_bytes;
        self.reallocs += other.reallocs;
        self.copied_bytes += other.copied_bytes;
        self.largest_bytes = self.largest_bytes.max(other.largest_bytes);
        let both = self.unwritten_bytes.zip(other.unwritten_bytes);
        self.unwritten_bytes = both.map(|(one, other)| one + other);
    }
}

impl SiteFrame {
    /// Whether the function is `path`, or in the module or type of that path.
    pub(crate) fn is_in(&self, path: &str) -> bool {
        let name = self.function.trim_start_matches(['<', '&']);
        let rest = name.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '<', ' ', '>']))
    }
}

impl SiteFrame {
    /// Files in the folder `here` are told from there on.
    fn new(frame: StackFrame, here: &Path) -> Self {
        let file = Path::new(&frame.file).strip_prefix(here);
        Self {
            file: file.map_or(frame.file.clone(), |file| file.display().to_string()),
            function: frame.function,
            line: frame.line,
            is_user: frame.is_user,
            is_profiler: frame.is_profiler,
        }
    }
}

fn options() -> Options {
    Options {
        trim: Trim::To(MAX_FRAMES),
        command: command(),
        pid: std::process::id(),
        touch_as_accesses: false,
    }
}

impl Detail {
    fn sites(&self) -> &[SiteUsage] {
        if !self.has_sites {
            ENGINE.ignoring(|| {
                panic!("heapledger: a scope that keeps counts only has no sites; use measure or Scope::new")
            });
        }
        ENGINE.ignoring(|| {
            self.sites.get_or_init(|| {
                let stacks = stacks::of_sites(self.snapshot(), &options());
                let here = std::env::current_dir().unwrap_or_default();
                let usages = self.reading.sites.iter().map(|(_, usage)| usage);
                let mut sites: Vec<SiteUsage> = usages
                    .zip(stacks)
                    .map(|(usage, stack)| {
                        let frames = stack.into_iter();
                        let frames = frames.map(|frame| SiteFrame::new(frame, &here));
                        SiteUsage::new(usage, self.has_writes, frames.collect())
                    })
                    .collect();
                sites.sort_by(|a, b| {
                    let size = |site: &SiteUsage| (site.total_bytes, site.total_blocks);
                    size(b).cmp(&size(a))
                });
                sites
            })
        })
    }

    fn snapshot(&self) -> &Snapshot {
        self.snapshot.get_or_init(|| {
            let reading = &self.reading;
            let scale = Scale::between(reading.started, reading.end);
            let (nodes, leaves) = ENGINE.nodes_of(reading.sites.iter().map(|&(site, _)| site));
            let end = reading.end.ticks;
            let counts = reading.sites.iter().zip(leaves);
            let since_start = |ticks: u64| scale.to_us(ticks.saturating_sub(reading.started.ticks));
            let mut snapshot = Snapshot {
                kind: Kind::Heap,
                time: None,
                site_times: Vec::new(),
                timeline: Vec::new(),
                accesses: Accesses::NotCounted,
                duration_us: since_start(end),
                peak_at_us: since_start(reading.peak_at_ticks),
                totals: totals(&reading.usage),
                sites: counts
                    .map(|((site, usage), leaf)| SiteCounts {
                        number: site.get(),
                        leaf,
                        counts: counts_of(usage, scale, end),
                    })
                    .collect(),
                nodes,
                modules: Vec::new(),
                sample_bytes: None,
                refusals: Refusals::default(),
                capture: ENGINE.back_end().name(),
            };
            add_modules(&mut snapshot);
            snapshot
        })
    }
}

fn totals(usage: &Usage) -> Totals {
    Totals {
        total_blocks: usage.total_blocks,
        total_bytes: usage.total_bytes,
        live_blocks: usage.live_blocks,
        live_bytes: usage.live_bytes,
        peak_blocks: usage.peak_blocks,
        peak_bytes: usage.peak_bytes,
    }
}

fn counts_of(usage: &Usage, scale: Scale, end: u64) -> Counts {
    let live_ticks = end.wrapping_mul(usage.live_blocks);
    let lifetimes = usage.lifetime_ticks.wrapping_add(live_ticks);
    Counts {
        total_blocks: usage.total_blocks,
        total_bytes: usage.total_bytes,
        lifetimes_us: scale.to_us((lifetimes as i64).max(0) as u64),
        max_bytes: usage.max_bytes,
        max_blocks: usage.max_blocks,
        peak_bytes: usage.peak_bytes,
        peak_blocks: usage.peak_blocks,
        end_bytes: usage.live_bytes,
        end_blocks: usage.live_blocks,
        largest_bytes: usage.largest_bytes,
        reallocs: usage.reallocs,
        kept_bytes: usage.kept_bytes,
        copied_bytes: usage.copied_bytes,
        samples: SampleSum::default(),
        touched: Touched::default(),
    }
}
