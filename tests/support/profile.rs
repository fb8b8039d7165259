//! Reading what a run leaves behind, strictly: whatever a viewer of the format
//! relies on is checked on every profile that a test reads.

use serde::Deserialize;
use std::collections::HashSet;
use std::path::Path;

/// Numbers above this are not exact in JavaScript.
const MAX_NUMBER: u64 = 1 << 53;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) bytes: u64,
    pub(crate) blocks: u64,
}

/// The three lines of totals on standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) total: Amount,
    pub(crate) peak: Amount,
    pub(crate) end: Amount,
}

impl Summary {
    pub(crate) fn all(stderr: &str) -> Vec<Self> {
        let amounts = |label| -> Vec<Amount> {
            let lines = stderr.lines().filter_map(|line| line.strip_prefix(label));
            lines.map(amount).collect()
        };
        let totals = amounts("heapledger: Total:");
        let peaks = amounts("heapledger: At t-gmax:");
        let ends = amounts("heapledger: At t-end:");
        assert_eq!(
            (totals.len(), totals.len()),
            (peaks.len(), ends.len()),
            "{stderr}"
        );
        let rest = peaks.into_iter().zip(ends);
        totals
            .into_iter()
            .zip(rest)
            .map(|(total, (peak, end))| Self { total, peak, end })
            .collect()
    }
}

/// Of `1,234 bytes in 5 blocks`.
fn amount(text: &str) -> Amount {
    let words: Vec<String> = text
        .split_whitespace()
        .map(|word| word.replace(',', ""))
        .collect();
    let [bytes, bytes_word, in_word, blocks, blocks_word] = &words[..] else {
        panic!("not an amount: {text}");
    };
    assert_eq!(
        [bytes_word, in_word, blocks_word],
        ["bytes", "in", "blocks"]
    );
    Amount {
        bytes: bytes.parse().expect("bytes"),
        blocks: blocks.parse().expect("blocks"),
    }
}

#[derive(Debug, Deserialize)]
#[expect(non_snake_case, reason = "the format's names")]
struct File {
    dhatFileVersion: u32,
    mode: String,
    verb: String,
    bklt: bool,
    bkacc: bool,
    tu: String,
    Mtu: String,
    tuth: u64,
    cmd: String,
    pid: u32,
    tg: u64,
    te: u64,
    heapledger: Limits,
    pps: Vec<Point>,
    ftbl: Vec<String>,
}

/// What we say about how far the numbers can be trusted: from the file, not
/// from the sentences on standard error, which may be put in other words.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Limits {
    pub(crate) sample_bytes: Option<u64>,
    pub(crate) exact: Exact,
    pub(crate) refused: Refused,
    #[serde(flatten)]
    time: Option<ProcessTime>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct ProcessTime {
    pub(crate) cpu_ns: u64,
    pub(crate) profiler_cpu_ns: u64,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Exact {
    pub(crate) peak: bool,
    pub(crate) peak_slack_bytes: u64,
    pub(crate) bounded_max_sites: u64,
    pub(crate) merged_points: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Refused {
    pub(crate) reentrant_allocs: u64,
    pub(crate) dropped_allocs: u64,
    pub(crate) truncated_stacks: u64,
    unsized_frees: u64,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Point {
    pub(crate) tb: u64,
    pub(crate) tbk: u64,
    pub(crate) tl: u64,
    pub(crate) mb: u64,
    pub(crate) mbk: u64,
    pub(crate) gb: u64,
    pub(crate) gbk: u64,
    pub(crate) eb: u64,
    pub(crate) ebk: u64,
    pub(crate) rb: Option<u64>,
    pub(crate) wb: Option<u64>,
    #[serde(default)]
    pub(crate) heapledger: PointExtension,
    fs: Vec<usize>,
}

/// What is 0 is left out of the file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PointExtension {
    pub(crate) reallocs: u64,
    pub(crate) copied_bytes: u64,
    pub(crate) largest_bytes: u64,
    pub(crate) touch: Option<Touch>,
    time: Option<AllocatorTime>,
    pub(crate) estimate: Option<Estimate>,
}

/// What is 0 is left out of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Touch {
    pub(crate) blocks: u64,
    pub(crate) bytes: u64,
    pub(crate) written_bytes: u64,
    pub(crate) tail_bytes: u64,
    pub(crate) all_bytes: u64,
    pub(crate) all_written_bytes: u64,
    pub(crate) all_tail_bytes: u64,
    pub(crate) all_written_interval: (u64, u64),
    pub(crate) unmeasured_blocks: u64,
}

impl Touch {
    /// Intervals are added as if errors were not independent.
    fn add(&mut self, other: &Self) {
        self.blocks += other.blocks;
        self.bytes += other.bytes;
        self.written_bytes += other.written_bytes;
        self.tail_bytes += other.tail_bytes;
        self.all_bytes += other.all_bytes;
        self.all_written_bytes += other.all_written_bytes;
        self.all_tail_bytes += other.all_tail_bytes;
        self.all_written_interval.0 += other.all_written_interval.0;
        self.all_written_interval.1 += other.all_written_interval.1;
        self.unmeasured_blocks += other.unmeasured_blocks;
    }

    fn holds_together(&self) {
        let (low, high) = self.all_written_interval;
        assert!(
            self.written_bytes + self.tail_bytes <= self.bytes,
            "{self:?}"
        );
        assert!(self.bytes <= self.all_bytes, "{self:?}");
        assert!(low <= self.all_written_bytes && self.all_written_bytes <= high);
        assert!(
            self.written_bytes <= high && high <= self.all_bytes,
            "{self:?}"
        );
    }
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct AllocatorTime {
    pub(crate) alloc_ns: u64,
    pub(crate) realloc_ns: u64,
    pub(crate) free_ns: u64,
    pub(crate) samples: u64,
}

impl AllocatorTime {
    pub(crate) fn total(&self) -> u64 {
        self.alloc_ns + self.realloc_ns + self.free_ns
    }
}

/// Of a sampled run.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Estimate {
    pub(crate) samples: u64,
    pub(crate) tb: (u64, u64),
    pub(crate) tbk: (u64, u64),
    pub(crate) eb: (u64, u64),
    pub(crate) ebk: (u64, u64),
}

/// A heap profile that obeys the format.
pub(crate) struct Profile {
    file: File,
}

impl Profile {
    #[track_caller]
    pub(crate) fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the profile");
        let file: File = match serde_json::from_str(&text) {
            Ok(file) => file,
            Err(error) => panic!("{}: {error}", path.display()),
        };
        let profile = Self { file };
        profile.obeys_the_format();
        profile
    }

    #[track_caller]
    fn obeys_the_format(&self) {
        let file = &self.file;
        assert_eq!(file.dhatFileVersion, 2);
        assert_eq!((&*file.mode, &*file.verb), ("heap", "Allocated"));
        assert!(file.bklt);
        // Only an estimate has accesses, and says so.
        assert_eq!(
            file.bkacc,
            file.cmd.contains("bytes written are an estimate"),
            "{}",
            file.cmd
        );
        assert!(!file.tu.is_empty() && !file.Mtu.is_empty() && !file.cmd.is_empty());
        assert!(file.pid > 0 && file.tuth > 0);
        assert!(file.te > 0 && file.tg <= file.te, "{} {}", file.tg, file.te);
        assert_eq!(file.ftbl[0], "[root]");
        let exact = file.heapledger.exact;
        let sampled = file.heapledger.sample_bytes.is_some();
        assert_eq!(exact.peak, exact.peak_slack_bytes == 0 && !sampled);
        let mut stacks = HashSet::new();
        for point in &file.pps {
            assert!(!point.fs.is_empty(), "{point:?}");
            assert_eq!(point.wb.is_some(), file.bkacc, "{point:?}");
            assert_eq!(point.rb, point.wb, "{point:?}");
            for &frame in &point.fs {
                assert!(frame > 0 && frame < file.ftbl.len(), "{point:?}");
            }
            assert!(stacks.insert(&point.fs), "twice the same stack: {point:?}");
            let Point {
                tb,
                tbk,
                tl,
                mb,
                mbk,
                gb,
                gbk,
                eb,
                ebk,
                ..
            } = *point;
            for number in [tb, tbk, tl, mb, mbk, gb, gbk, eb, ebk] {
                assert!(number <= MAX_NUMBER, "{point:?}");
            }
            assert!(gb <= mb && eb <= mb && mb <= tb, "{point:?}");
            let extension = &point.heapledger;
            assert_eq!(extension.estimate.is_some(), sampled);
            if let Some(estimate) = &extension.estimate {
                let is_in = |figure, (low, high)| low <= figure && figure <= high;
                assert!(
                    is_in(tb, estimate.tb) && is_in(tbk, estimate.tbk),
                    "{point:?}"
                );
                assert!(
                    is_in(eb, estimate.eb) && is_in(ebk, estimate.ebk),
                    "{point:?}"
                );
                assert!(estimate.samples > 0 && estimate.samples <= tbk, "{point:?}");
            }
            if let Some(touch) = &extension.touch {
                touch.holds_together();
                assert!(touch.blocks + extension.reallocs <= tbk && touch.all_bytes <= tb);
            }
            assert!(extension.reallocs <= tbk && extension.copied_bytes <= tb);
            assert!(extension.largest_bytes <= tb && extension.largest_bytes * tbk >= tb);
            assert!(gbk <= tbk && ebk <= tbk && mbk <= tbk, "{point:?}");
        }
    }

    /// The points add up to the totals that were printed.
    #[track_caller]
    pub(crate) fn agrees_with(&self, summary: &Summary) {
        let sum = |bytes: fn(&Point) -> u64, blocks: fn(&Point) -> u64| Amount {
            bytes: self.file.pps.iter().map(bytes).sum(),
            blocks: self.file.pps.iter().map(blocks).sum(),
        };
        let of_points = Summary {
            total: sum(|point| point.tb, |point| point.tbk),
            peak: sum(|point| point.gb, |point| point.gbk),
            end: sum(|point| point.eb, |point| point.ebk),
        };
        assert_eq!(
            of_points, *summary,
            "sums over points, and what was printed"
        );
    }

    pub(crate) fn pid(&self) -> u32 {
        self.file.pid
    }

    pub(crate) fn exact(&self) -> Exact {
        self.file.heapledger.exact
    }

    /// Frees by C of blocks whose size is not known.
    pub(crate) fn unsized_frees(&self) -> u64 {
        self.refused().unsized_frees
    }

    pub(crate) fn sample_bytes(&self) -> Option<u64> {
        self.file.heapledger.sample_bytes
    }

    pub(crate) fn refused(&self) -> Refused {
        self.file.heapledger.refused
    }

    /// Microseconds of the run.
    pub(crate) fn duration_us(&self) -> u64 {
        self.file.te
    }

    /// The points with a frame of a function whose path ends so.
    pub(crate) fn points_in(&self, function: &str) -> Vec<&Point> {
        let is_of = |frame: &str| {
            // `0xADDRESS: path::function (file:line:column)`
            let name = frame.split_once(": ").map_or(frame, |(_, rest)| rest);
            let name = name.split(" (").next().unwrap_or(name);
            name == function || name.ends_with(&format!("::{function}"))
        };
        let frames: HashSet<usize> = (0..self.file.ftbl.len())
            .filter(|&frame| is_of(&self.file.ftbl[frame]))
            .collect();
        self.file
            .pps
            .iter()
            .filter(|point| point.fs.iter().any(|frame| frames.contains(frame)))
            .collect()
    }

    /// The allocator's time for the blocks of these points.
    #[track_caller]
    pub(crate) fn time_in(&self, function: &str) -> AllocatorTime {
        let mut sum = AllocatorTime::default();
        for point in self.points_in(function) {
            let time = point.heapledger.time.expect("was measured");
            sum.alloc_ns += time.alloc_ns;
            sum.realloc_ns += time.realloc_ns;
            sum.free_ns += time.free_ns;
            sum.samples += time.samples;
        }
        sum
    }

    pub(crate) fn points_with_time(&self) -> usize {
        let timed = |point: &&Point| point.heapledger.time.is_some();
        self.file.pps.iter().filter(timed).count()
    }

    #[track_caller]
    pub(crate) fn process_time(&self) -> ProcessTime {
        self.file.heapledger.time.expect("was measured")
    }

    pub(crate) fn has_frame(&self, part: &str) -> bool {
        self.file.ftbl.iter().any(|frame| frame.contains(part))
    }

    /// The sums over these points; maxima too, so mind who is asked.
    #[track_caller]
    pub(crate) fn sum_in(&self, function: &str) -> Point {
        let points = self.points_in(function);
        assert!(
            !points.is_empty(),
            "no point in {function}; frames:\n{}",
            self.file.ftbl.join("\n")
        );
        let mut sum = Point::default();
        for point in points {
            sum.tb += point.tb;
            sum.tbk += point.tbk;
            sum.tl += point.tl;
            sum.mb += point.mb;
            sum.mbk += point.mbk;
            sum.gb += point.gb;
            sum.gbk += point.gbk;
            sum.eb += point.eb;
            sum.ebk += point.ebk;
            sum.wb = point.wb.map(|wb| wb + sum.wb.unwrap_or(0));
            let (all, one) = (&mut sum.heapledger, &point.heapledger);
            all.reallocs += one.reallocs;
            all.copied_bytes += one.copied_bytes;
            all.largest_bytes = all.largest_bytes.max(one.largest_bytes);
            if let Some(touch) = &one.touch {
                all.touch.get_or_insert_default().add(touch);
            }
        }
        sum
    }

    /// What was measured in a function.
    #[track_caller]
    pub(crate) fn touch_in(&self, function: &str) -> Touch {
        let touch = self.sum_in(function).heapledger.touch;
        touch.unwrap_or_else(|| panic!("nothing was measured in {function}"))
    }

    /// A point's frames, innermost first.
    pub(crate) fn frames<'a>(&'a self, point: &'a Point) -> impl Iterator<Item = &'a str> {
        point.fs.iter().map(|&frame| &*self.file.ftbl[frame])
    }
}
