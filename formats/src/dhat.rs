//! The DHAT file, version 2: what Valgrind's viewer, Firefox Profiler and heapledger's own commands
//! read. One line a program point.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use crate::Error;
use crate::limits::{self, Limits};
use crate::model::{Extension, Mode, Point, PointExtension, Profile};

/// Numbers above this are not exact in JavaScript.
const MAX_NUMBER: u64 = 1 << 53;

/// How it is written.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// By default what the viewers take.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: limits::VIEWERS,
        }
    }
}

/// Writes a profile.
///
/// # Errors
/// Those of `out`.
pub fn write(profile: &Profile, options: &Options, out: impl Write) -> Result<(), Error> {
    let fitted = limits::fit(profile, options.limits);
    let mut out = io::BufWriter::new(out);
    let mut json = serde_json::Serializer::with_formatter(&mut out, OneLineAPoint::default());
    File::new(&fitted.profile).serialize(&mut json)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

#[derive(Serialize)]
#[expect(non_snake_case, reason = "the format's names")]
struct File<'a> {
    dhatFileVersion: u32,
    mode: &'static str,
    verb: &'a str,
    bklt: bool,
    bkacc: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    bu: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bsu: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bksu: Option<&'a str>,
    tu: &'a str,
    Mtu: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tuth: Option<u64>,
    cmd: &'a str,
    pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tg: Option<u64>,
    te: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    heapledger: Option<&'a Extension>,
    pps: ProgramPoints<'a>,
    ftbl: &'a [Box<str>],
}

impl<'a> File<'a> {
    fn new(profile: &'a Profile) -> Self {
        let units = profile.units.as_ref();
        // Rates are per `te`, which must not be 0.
        let te = number(profile.end_time).max(1);
        let with_lifetimes = |value: Option<u64>| {
            profile
                .has_lifetimes
                .then(|| number(value.unwrap_or_default()))
        };
        File {
            dhatFileVersion: 2,
            mode: match profile.mode {
                Mode::Heap => "heap",
                Mode::AdHoc => "ad-hoc",
                Mode::Copy => "copy",
            },
            verb: &profile.verb,
            bklt: profile.has_lifetimes,
            bkacc: profile.has_accesses,
            bu: units.map(|units| units.byte.as_str()),
            bsu: units.map(|units| units.bytes.as_str()),
            bksu: units.map(|units| units.blocks.as_str()),
            tu: &profile.time_units.0,
            Mtu: &profile.time_units.1,
            tuth: with_lifetimes(profile.short_lived_below),
            cmd: &profile.command,
            pid: profile.pid,
            tg: with_lifetimes(profile.peak_time).map(|time| time.min(te)),
            te,
            heapledger: profile.extension.as_ref(),
            pps: ProgramPoints(profile),
            ftbl: &profile.frames,
        }
    }
}

struct ProgramPoints<'a>(&'a Profile);

#[derive(Serialize)]
struct ProgramPoint<'a> {
    tb: u64,
    tbk: u64,
    #[serde(flatten)]
    lifetimes: Option<Lifetimes>,
    #[serde(flatten)]
    accesses: Option<Accesses<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    heapledger: Option<&'a PointExtension>,
    fs: &'a [u32],
}

#[derive(Serialize)]
struct Lifetimes {
    tl: u64,
    mb: u64,
    mbk: u64,
    gb: u64,
    gbk: u64,
    eb: u64,
    ebk: u64,
}

#[derive(Serialize)]
struct Accesses<'a> {
    rb: u64,
    wb: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    acc: Option<RunLengths<'a>>,
}

impl Serialize for ProgramPoints<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(profile) = self;
        let mut histograms = profile.histograms.iter().peekable();
        serializer.collect_seq(profile.points.iter().enumerate().map(|(index, point)| {
            let histogram = histograms
                .next_if(|(point, _)| *point == index as u32)
                .map(|(_, histogram)| histogram.as_slice());
            program_point(profile, index, point, histogram)
        }))
    }
}

fn program_point<'a>(
    profile: &'a Profile,
    index: usize,
    point: &Point,
    histogram: Option<&'a [u32]>,
) -> ProgramPoint<'a> {
    let counts = &point.counts;
    ProgramPoint {
        tb: number(counts.total_bytes),
        tbk: number(counts.total_blocks),
        lifetimes: profile.has_lifetimes.then(|| Lifetimes {
            tl: number(counts.lifetimes),
            mb: number(counts.max_bytes),
            mbk: number(counts.max_blocks),
            gb: number(counts.peak_bytes),
            gbk: number(counts.peak_blocks),
            eb: number(counts.end_bytes),
            ebk: number(counts.end_blocks),
        }),
        accesses: profile.has_accesses.then(|| Accesses {
            rb: number(counts.read_bytes),
            wb: number(counts.written_bytes),
            acc: histogram.map(RunLengths),
        }),
        heapledger: profile.point_extensions.get(index),
        fs: profile.stack(point),
    }
}

/// Counts of accesses, byte by byte: `-N, v` stands for N times v.
struct RunLengths<'a>(&'a [u32]);

impl Serialize for RunLengths<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let runs = self.0.chunk_by(|a, b| a == b);
        serializer.collect_seq(runs.flat_map(|run| {
            let length = (run.len() > 1).then(|| -(run.len() as i64));
            length.into_iter().chain([i64::from(run[0])])
        }))
    }
}

fn number(value: u64) -> u64 {
    value.min(MAX_NUMBER)
}

/// Compact, but for a line break before each key of the file and each element of its arrays.
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
            writer.write_all(b"\n")?;
        }
        Ok(())
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
    use serde_json::{Value, json};

    use super::*;
    use crate::sample;

    fn written(profile: &Profile) -> Value {
        let mut text = Vec::new();
        write(profile, &Options::default(), &mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_heap_profile() {
        let json = written(&sample::heap(&[(&["b", "a"], 200)]));
        let expected = json!({
            "dhatFileVersion": 2, "mode": "heap", "verb": "Allocated", "bklt": true, "bkacc": false,
            "tu": "µs", "Mtu": "s", "tuth": 10, "cmd": "app --größe \"1\"", "pid": 42, "tg": 1500, "te": 2000,
            "pps": [{
                "tb": 200, "tbk": 20, "tl": 600, "mb": 100, "mbk": 10, "gb": 100, "gbk": 10,
                "eb": 50, "ebk": 5, "fs": [1, 2],
            }],
            "ftbl": ["[root]", "b", "a"],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn an_ad_hoc_profile_has_units_and_no_lifetimes() {
        let json = written(&sample::ad_hoc());
        assert_eq!(
            (&json["bu"], &json["bksu"]),
            (&json!("unit"), &json!("events"))
        );
        assert_eq!(json["pps"][0], json!({"tb": 30, "tbk": 3, "fs": [1, 2]}));
        assert!(json.get("tg").is_none() && json.get("tuth").is_none());
    }

    #[test]
    fn accesses_are_run_length_encoded() {
        let mut profile = sample::heap(&[(&["a"], 200), (&["b"], 100)]);
        profile.has_accesses = true;
        profile.points[1].counts.read_bytes = 7;
        profile.histograms = vec![(1, vec![3, 3, 3, 0, 65535, 65535])];
        let json = written(&profile);
        assert!(json["pps"][0].get("acc").is_none());
        assert_eq!(json["pps"][1]["acc"], json!([-3, 3, 0, -2, 65535]));
        assert_eq!(
            (&json["pps"][1]["rb"], &json["pps"][1]["wb"]),
            (&json!(7), &json!(0))
        );
    }

    #[test]
    fn no_time_is_some_time() {
        let mut profile = sample::empty();
        (profile.end_time, profile.peak_time) = (0, Some(5));
        let json = written(&profile);
        assert_eq!((&json["te"], &json["tg"]), (&json!(1), &json!(1)));
    }
}
