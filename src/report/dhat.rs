//! The DHAT file, version 2. One line a program point.
//!
//! Beyond the format there is one more key, `heapledger`, which every reader of the
//! format ignores: [`Extension`] in the file, [`PointExtension`] in a point.

use std::borrow::Cow;
use std::io::{self, Write};

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::accesses::run_lengths;
use super::frames::FrameId;
use super::profile::{Point, Profile};
use crate::record::snapshot::{Accesses, Kind};

mod extension;
mod layout;
mod point_extension;
#[cfg(test)]
mod tests;

use extension::Extension;
use layout::OneLineAPoint;
use point_extension::PointExtension;

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
                    &counts,
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
