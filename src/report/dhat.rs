//! The DHAT file, version 2. One line a program point.
//!
//! Beyond the format there is one more key, `heapledger`, which every reader of the
//! format ignores: [`Extension`] in the file, [`PointExtension`] in a point.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::accesses::{PointAccesses, run_lengths};
use super::estimate::Intervals;
use super::frames::FrameId;
use super::profile::{Point, Profile};
use crate::record::snapshot::{Accesses, AllocatorTime, Counts, Kind, Touched};

/// Numbers above this are not exact in JavaScript.
const MAX_NUMBER: u64 = 1 << 53;

pub(crate) fn write(profile: &Profile<'_>, writer: impl Write) -> io::Result<()> {
    let mut writer = io::BufWriter::new(writer);
    let mut json = serde_json::Serializer::with_formatter(&mut writer, OneLineAPoint::default());
    let numbers = FrameNumbers::new(profile);
    File::new(profile, &numbers).serialize(&mut json)?;
    writer.write_all(b"\n")?;
    writer.flush()
}

pub(crate) fn to_string_pretty(profile: &Profile<'_>) -> String {
    let numbers = FrameNumbers::new(profile);
    serde_json::to_string_pretty(&File::new(profile, &numbers))
        .expect("numbers, strings and string keys")
}

#[derive(Serialize)]
#[expect(non_snake_case, reason = "the format's names")]
struct File<'a> {
    dhatFileVersion: u32,
    mode: &'static str,
    verb: &'static str,
    bklt: bool,
    bkacc: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bu: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bsu: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bksu: Option<&'static str>,
    tu: &'static str,
    Mtu: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tuth: Option<u64>,
    cmd: Cow<'a, str>,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tg: Option<u64>,
    te: u64,
    heapledger: Extension<'a>,
    pps: ProgramPoints<'a>,
    ftbl: FrameTable<'a>,
}

impl<'a> File<'a> {
    fn new(profile: &'a Profile<'a>, numbers: &'a FrameNumbers) -> File<'a> {
        let snapshot = profile.snapshot;
        let is_heap = snapshot.kind == Kind::Heap;
        let ad_hoc = |unit| (snapshot.kind == Kind::AdHoc).then_some(unit);
        // Rates are per `te`, which must not be 0.
        let te = number(snapshot.duration_us).max(1);
        File {
            dhatFileVersion: 2,
            mode: match snapshot.kind {
                Kind::Heap => "heap",
                Kind::AdHoc => "ad-hoc",
                Kind::Copies => "copy",
            },
            verb: match snapshot.kind {
                Kind::Heap | Kind::AdHoc => "Allocated",
                Kind::Copies => "Copied",
            },
            bklt: is_heap,
            bkacc: matches!(snapshot.accesses, Accesses::Counted(_)) || estimate_is_told(profile),
            bu: ad_hoc("unit"),
            bsu: ad_hoc("units"),
            bksu: ad_hoc("events"),
            tu: "µs",
            Mtu: "s",
            tuth: is_heap.then_some(10),
            cmd: command(profile),
            pid: profile.options.pid,
            tg: is_heap.then_some(number(snapshot.peak_at_us).min(te)),
            te,
            heapledger: Extension::new(profile),
            pps: ProgramPoints { profile, numbers },
            ftbl: FrameTable { profile, numbers },
        }
    }
}

/// What is written in `cmd` where `wb` and `rb` are no counts.
const ACCESSES_ARE_ESTIMATES: &str =
    " (heapledger: bytes written are an estimate, bytes read are not known and told as the same)";

/// Whether the estimate stands where counts do.
fn estimate_is_told(profile: &Profile<'_>) -> bool {
    let is_counted = matches!(profile.snapshot.accesses, Accesses::Counted(_));
    profile.options.touch_as_accesses && !is_counted && profile.snapshot.kind == Kind::Heap
}

fn command<'a>(profile: &'a Profile<'_>) -> Cow<'a, str> {
    let command = &*profile.options.command;
    match estimate_is_told(profile) {
        true => format!("{command}{ACCESSES_ARE_ESTIMATES}").into(),
        false => command.into(),
    }
}

/// How far the numbers can be trusted. `version` is this block's own.
#[derive(Serialize)]
struct Extension<'a> {
    version: u32,
    /// The back end that took the stacks.
    capture: &'static str,
    /// Where it is there, all figures are estimates.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample_bytes: Option<u64>,
    exact: Exactness,
    refused: Refused,
    /// The program's processor time, without the profiler's.
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_ns: Option<u64>,
    /// The profiler's, estimated.
    #[serde(skip_serializing_if = "Option::is_none")]
    profiler_cpu_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accesses: Option<AccessLimits>,
    /// What was live over time.
    #[serde(skip_serializing_if = "Option::is_none")]
    timeline: Option<Timeline>,
    /// For names that were not to be had here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    modules: Vec<Module<'a>>,
}

#[derive(Serialize)]
struct Timeline {
    moments: Vec<MomentOfTimeline>,
}

#[derive(Serialize)]
struct MomentOfTimeline {
    time: u64,
    bytes: u64,
    blocks: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    peak: bool,
    /// Points that held most, as numbers of `pps`, with their bytes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    top: Vec<(u32, u64)>,
}

impl Timeline {
    fn new(profile: &Profile<'_>) -> Timeline {
        let points = profile.points_of_top_sites();
        let moments = profile.snapshot.timeline.iter().map(|moment| {
            let mut top: Vec<(u32, u64)> = Vec::new();
            for (site, bytes) in moment.top.into_iter().filter(|&(_, bytes)| bytes > 0) {
                let point = points[&site];
                match top.iter_mut().find(|(known, _)| *known == point) {
                    Some((_, sum)) => *sum += bytes,
                    None => top.push((point, number(bytes))),
                }
            }
            MomentOfTimeline {
                time: number(moment.at_us),
                bytes: number(moment.live_bytes),
                blocks: number(moment.live_blocks),
                peak: moment.is_peak,
                top,
            }
        });
        Timeline {
            moments: moments.collect(),
        }
    }
}

/// A file that frames are of. Their addresses, as they are written, lie from `start` to before `end`.
#[derive(Serialize)]
struct Module<'a> {
    path: &'a str,
    build_id: &'a str,
    start: u64,
    end: u64,
}

/// Of `rb` and `wb`, in a build that was to count them.
#[derive(Default, Serialize)]
struct AccessLimits {
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_counted: Option<&'static str>,
    /// Reads by code that comes compiled, as the standard library does, are not counted.
    reads_are_lower_bounds: bool,
    refused_blocks: u64,
    unsearched_blocks: u64,
    unreadable_bytes: u64,
}

impl AccessLimits {
    fn new(accesses: &Accesses) -> Option<AccessLimits> {
        match accesses {
            Accesses::NotCounted => None,
            Accesses::Silent(why) => Some(AccessLimits {
                not_counted: Some(why),
                ..AccessLimits::default()
            }),
            Accesses::Counted(counted) => Some(AccessLimits {
                not_counted: None,
                reads_are_lower_bounds: true,
                refused_blocks: counted.refused_blocks,
                unsearched_blocks: counted.unsearched_blocks,
                unreadable_bytes: counted.unreadable_bytes,
            }),
        }
    }
}

#[derive(Serialize)]
struct Exactness {
    /// Is the global peak exact?
    peak: bool,
    /// Else it is at most this much higher.
    peak_slack_bytes: u64,
    /// Sites whose `mb` is known only within a bound because several threads used them.
    bounded_max_sites: u64,
    /// Points whose `mb` is a lower bound because they stand for several sites.
    merged_points: u64,
    /// Points summed up in `[other]`.
    folded_points: u64,
}

#[derive(Serialize)]
struct Refused {
    reentrant_allocs: u64,
    reentrant_frees: u64,
    dropped_allocs: u64,
    truncated_stacks: u64,
    unsized_frees: u64,
    torn_readings: u64,
}

impl<'a> Extension<'a> {
    fn new(profile: &'a Profile<'a>) -> Extension<'a> {
        let refusals = profile.snapshot.refusals;
        let time = profile.snapshot.time;
        Extension {
            version: 1,
            capture: profile.snapshot.capture,
            sample_bytes: profile.snapshot.sample_bytes,
            exact: Exactness {
                peak: refusals.peak_slack_bytes == 0 && profile.snapshot.sample_bytes.is_none(),
                peak_slack_bytes: refusals.peak_slack_bytes,
                bounded_max_sites: refusals.bounded_max_sites,
                merged_points: profile.merged_points,
                folded_points: profile.folded_points,
            },
            refused: Refused {
                reentrant_allocs: refusals.reentrant_allocs,
                reentrant_frees: refusals.reentrant_frees,
                dropped_allocs: refusals.dropped_allocs,
                truncated_stacks: refusals.truncated_stacks,
                unsized_frees: refusals.unsized_frees,
                torn_readings: refusals.torn_readings,
            },
            cpu_ns: time.map(|time| number(time.program_ns())),
            profiler_cpu_ns: time.map(|time| number(time.profiler_ns)),
            accesses: AccessLimits::new(&profile.snapshot.accesses),
            timeline: (profile.snapshot.kind == Kind::Heap).then(|| Timeline::new(profile)),
            modules: profile
                .builds()
                .map(|(path, build)| Module {
                    path,
                    build_id: &build.id,
                    start: build.addresses.0,
                    end: build.addresses.1 + 1,
                })
                .collect(),
        }
    }
}

struct ProgramPoints<'a> {
    profile: &'a Profile<'a>,
    numbers: &'a FrameNumbers,
}

#[derive(Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "one at a time, to be written")]
enum ProgramPoint<'a> {
    Heap {
        tb: u64,
        tbk: u64,
        tl: u64,
        mb: u64,
        mbk: u64,
        gb: u64,
        gbk: u64,
        eb: u64,
        ebk: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        rb: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        wb: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        acc: Option<Vec<i32>>,
        heapledger: PointExtension,
        fs: FrameIndices<'a>,
    },
    Events {
        tb: u64,
        tbk: u64,
        fs: FrameIndices<'a>,
    },
}

/// What is 0 or was not measured is left out.
#[derive(Serialize)]
struct PointExtension {
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
    fn new(touched: &Touched) -> PointTouch {
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
    fn new(
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
    fn new(time: &AllocatorTime) -> PointTime {
        PointTime {
            alloc_ns: number(time.alloc_ns),
            realloc_ns: number(time.realloc_ns),
            free_ns: number(time.free_ns),
            samples: number(time.samples),
        }
    }
}

struct FrameIndices<'a> {
    points: &'a ProgramPoints<'a>,
    point: &'a Point,
}

impl ProgramPoints<'_> {
    fn program_point<'a>(&'a self, point: &'a Point) -> ProgramPoint<'a> {
        let counts = self.profile.counts(point);
        let (tb, tbk) = (number(counts.total_bytes), number(counts.total_blocks));
        let accesses = self.profile.accesses(point);
        let fs = FrameIndices {
            points: self,
            point,
        };
        // What a reallocation keeps is in the total bytes again.
        let written = counts.touched.all_written_bytes + counts.kept_bytes;
        let estimate = estimate_is_told(self.profile).then(|| number(written));
        match self.profile.snapshot.kind {
            Kind::AdHoc | Kind::Copies => ProgramPoint::Events { tb, tbk, fs },
            Kind::Heap => ProgramPoint::Heap {
                tb,
                tbk,
                tl: number(counts.lifetimes_us),
                mb: number(counts.max_bytes),
                mbk: number(counts.max_blocks),
                gb: number(counts.peak_bytes),
                gbk: number(counts.peak_blocks),
                eb: number(counts.end_bytes),
                ebk: number(counts.end_blocks),
                rb: accesses.map_or(estimate, |accesses| Some(number(accesses.bytes.read))),
                wb: accesses.map_or(estimate, |accesses| Some(number(accesses.bytes.written))),
                acc: accesses
                    .and_then(|accesses| accesses.histogram)
                    .map(run_lengths),
                heapledger: PointExtension::new(
                    counts,
                    self.profile.time(point),
                    accesses,
                    self.profile.snapshot.sample_bytes,
                ),
                fs,
            },
        }
    }
}

impl Serialize for ProgramPoints<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let points = self.profile.points.iter();
        serializer.collect_seq(points.map(|point| self.program_point(point)))
    }
}

impl Serialize for FrameIndices<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let FrameIndices {
            points: ProgramPoints { profile, numbers },
            point,
        } = self;
        serializer.collect_seq(
            profile
                .frames_of(point)
                .map(|frame| numbers.of_frame[frame.index()]),
        )
    }
}

/// The frames that points show, numbered in order of their first use. Number 0 is
/// `[root]`, which no point names.
struct FrameNumbers {
    /// 0 for a frame that is not shown.
    of_frame: Vec<u32>,
    shown: Vec<FrameId>,
}

impl FrameNumbers {
    fn new(profile: &Profile<'_>) -> FrameNumbers {
        let mut numbers = FrameNumbers {
            of_frame: vec![0; profile.frames().frame_count()],
            shown: Vec::new(),
        };
        for point in &profile.points {
            for frame in profile.frames_of(point) {
                let number = &mut numbers.of_frame[frame.index()];
                if *number == 0 {
                    numbers.shown.push(frame);
                    *number = numbers.shown.len() as u32;
                }
            }
        }
        numbers
    }
}

struct FrameTable<'a> {
    profile: &'a Profile<'a>,
    numbers: &'a FrameNumbers,
}

impl Serialize for FrameTable<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = serializer.serialize_seq(Some(1 + self.numbers.shown.len()))?;
        table.serialize_element("[root]")?;
        for &frame in &self.numbers.shown {
            table.serialize_element(&format_args!("{}", self.profile.frames().display(frame)))?;
        }
        table.end()
    }
}

fn number(value: u64) -> u64 {
    value.min(MAX_NUMBER)
}

/// Compact, but for a line break before each key of the file and each element of
/// its arrays.
#[derive(Default)]
struct OneLineAPoint {
    depth: usize,
}

impl OneLineAPoint {
    fn separate(
        &self,
        writer: &mut (impl Write + ?Sized),
        first: bool,
        max_depth: usize,
    ) -> io::Result<()> {
        if !first {
            writer.write_all(b",")?;
        }
        if self.depth <= max_depth {
            writer.write_all(b"\n")
        } else {
            Ok(())
        }
    }
}

impl serde_json::ser::Formatter for OneLineAPoint {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(writer, first, 2)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth += 1;
        writer.write_all(b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.depth -= 1;
        writer.write_all(b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.separate(writer, first, 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;
    use crate::record::snapshot::{Counts, Snapshot};
    use crate::report::sample;
    use crate::report::trim::Trim;

    fn json_of(snapshot: &Snapshot, trim: Trim) -> Value {
        let options = sample::options(trim);
        let profile = Profile::from_snapshot(snapshot, &options);
        let mut written = Vec::new();
        write(&profile, &mut written).unwrap();
        let json: Value = serde_json::from_slice(&written).unwrap();
        let pretty: Value = serde_json::from_str(&to_string_pretty(&profile)).unwrap();
        assert_eq!(json, pretty);
        assert_contract(&json, snapshot);
        json
    }

    /// What the viewers rely on.
    fn assert_contract(json: &Value, snapshot: &Snapshot) {
        let is_heap = snapshot.kind == Kind::Heap;
        assert_eq!(json["dhatFileVersion"], 2);
        assert_eq!(json["bklt"], is_heap);
        assert_eq!(json["bkacc"], false);
        for key in ["mode", "verb", "tu", "Mtu", "cmd"] {
            assert!(json[key].is_string(), "{key}");
        }
        assert!(json["pid"].is_u64());
        assert!(json["te"].as_u64().unwrap() > 0);
        assert_eq!(json["tg"].is_u64(), is_heap);
        assert_eq!(json["tuth"].is_u64(), is_heap);
        for key in ["bu", "bsu", "bksu"] {
            assert_eq!(json[key].is_string(), !is_heap, "{key}");
        }

        let frames = json["ftbl"].as_array().unwrap();
        assert_eq!(frames[0], "[root]");
        let texts: HashSet<&str> = frames.iter().map(|frame| frame.as_str().unwrap()).collect();
        assert_eq!(texts.len(), frames.len(), "no frame stands twice");
        let points = json["pps"].as_array().unwrap();
        let mut seen = HashSet::new();
        let mut used = HashSet::from([0]);
        for point in points {
            let fs = point["fs"].as_array().unwrap();
            assert!(!fs.is_empty());
            for index in fs {
                let index = index.as_u64().unwrap() as usize;
                assert!(index > 0 && index < frames.len());
                used.insert(index);
            }
            assert!(seen.insert(fs), "no two points have the same frames");
            for key in ["tl", "mb", "mbk", "gb", "gbk", "eb", "ebk"] {
                assert_eq!(point[key].is_u64(), is_heap, "{key}");
            }
        }
        assert_eq!(used.len(), frames.len(), "every frame is used");

        let sum = |key| {
            points
                .iter()
                .map(|point| point[key].as_u64().unwrap())
                .sum::<u64>()
        };
        let totals = snapshot.totals;
        assert_eq!(
            (sum("tb"), sum("tbk")),
            (totals.total_bytes, totals.total_blocks)
        );
        if is_heap {
            assert_eq!(
                (sum("gb"), sum("gbk")),
                (totals.peak_bytes, totals.peak_blocks)
            );
            assert_eq!(
                (sum("eb"), sum("ebk")),
                (totals.live_bytes, totals.live_blocks)
            );
        }
    }

    #[test]
    fn a_heap_profile() {
        let sites: &[(&[u64], Counts)] = &[
            (&[1, 2, 3], sample::counts(1200)),
            (&[1, 2, 4], sample::counts(2400)),
            (&[5], sample::counts(120)),
            (&[], sample::counts(12)),
        ];
        let snapshot = sample::snapshot(Kind::Heap, sites);
        let json = json_of(&snapshot, Trim::Off);
        assert_eq!(
            (&json["mode"], &json["tg"], &json["te"]),
            (&"heap".into(), &1500.into(), &2000.into())
        );
        assert_eq!(json["cmd"], "app --größe \"1\"");
        let first = &json["pps"][0];
        let expected = serde_json::json!({
            "tb": 2400, "tbk": 10, "tl": 77, "mb": 1200, "mbk": 5, "gb": 800, "gbk": 3,
            "eb": 600, "ebk": 2, "fs": [1, 2, 3],
            "heapledger": {"reallocs": 4, "copied_bytes": 200, "largest_bytes": 480},
        });
        assert_eq!(*first, expected);
        assert_eq!(json["heapledger"]["exact"]["merged_points"], 0);
        let merged = json_of(&snapshot, Trim::To(2));
        assert_eq!(merged["heapledger"]["exact"]["merged_points"], 1);
        assert_eq!(merged["pps"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn an_ad_hoc_profile() {
        let counts = Counts {
            total_blocks: 3,
            total_bytes: 30,
            ..Counts::default()
        };
        let json = json_of(
            &sample::snapshot(Kind::AdHoc, &[(&[1], counts)]),
            Trim::To(64),
        );
        assert_eq!(json["mode"], "ad-hoc");
        assert_eq!(
            json["pps"][0],
            serde_json::json!({"tb": 30, "tbk": 3, "fs": [1]})
        );
    }

    #[test]
    fn an_empty_profile_of_no_time() {
        let mut snapshot = sample::snapshot(Kind::Heap, &[]);
        (snapshot.duration_us, snapshot.peak_at_us) = (0, 0);
        let json = json_of(&snapshot, Trim::To(64));
        assert_eq!(
            (&json["te"], &json["ftbl"]),
            (&1.into(), &serde_json::json!(["[root]"]))
        );
    }

    #[test]
    fn names_of_a_real_program_survive() {
        let stack = sample::own_stack();
        let mut snapshot = sample::snapshot(Kind::Heap, &[(&stack, sample::counts(8))]);
        snapshot.modules.push(sample::this_program());
        let json = json_of(&snapshot, Trim::Off);
        let frames = json["ftbl"].as_array().unwrap();
        let is_this_test = |frame: &&Value| {
            let text = frame.as_str().unwrap();
            text.contains("names_of_a_real_program_survive") && text.contains("report/dhat.rs:")
        };
        assert!(
            frames.iter().any(|frame| is_this_test(&frame)),
            "{frames:#?}"
        );
    }

    #[test]
    fn numbers_stay_exact_in_javascript() {
        let counts = Counts {
            lifetimes_us: u64::MAX,
            ..sample::counts(12)
        };
        let json = json_of(
            &sample::snapshot(Kind::Heap, &[(&[1], counts)]),
            Trim::To(64),
        );
        assert_eq!(json["pps"][0]["tl"], 1_u64 << 53);
    }

    #[test]
    fn one_line_a_point() {
        let sites: &[(&[u64], Counts)] =
            &[(&[1, 2], sample::counts(24)), (&[3], sample::counts(12))];
        let snapshot = sample::snapshot(Kind::Heap, sites);
        let options = sample::options(Trim::Off);
        let mut written = Vec::new();
        write(&Profile::from_snapshot(&snapshot, &options), &mut written).unwrap();
        let text = String::from_utf8(written).unwrap();
        let points: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("{\"tb\":"))
            .collect();
        assert_eq!(points.len(), 2, "{text}");
        assert!(
            points.iter().all(|line| line.contains("\"fs\":[")),
            "{text}"
        );
    }
}
