//! Firefox Profiler's processed format: a memory track over time, a call tree for each figure, and
//! allocations that can be narrowed to a part of the time.
//!
//! A profile holds sums, not events, so the allocations are made up such that every sum holds: of each
//! point, as many bytes are retained in the range up to the peak as were live there, and as many over
//! the whole range as were live at the end; all allocations together are its total.

use std::io::{BufWriter, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Error;
use crate::limits;
use crate::metric::Metric;
use crate::model::{Counts, Profile};
use crate::timeline;
use fxprof_processed_profile::{
    CategoryHandle, CpuDelta, Frame as FxFrame, FrameFlags, FrameInfo, ProcessHandle,
    Profile as FxProfile, SamplingInterval, StackHandle, ThreadHandle, Timestamp, WeightType,
};

mod source;

/// What is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// When the recording began, if that is known: only shown.
    pub started_at: Option<SystemTime>,
}

/// The figures that have a call tree, each as a thread of its name. The first has the allocations.
const THREADS: [Metric; 4] = [
    Metric::TotalBytes,
    Metric::PeakBytes,
    Metric::EndBytes,
    Metric::TotalBlocks,
];

/// Samples hold 31 bits of weight: so many more than points, at most, are written for large points. They
/// hold 2 PiB.
const MAX_MORE_SAMPLES: u64 = 1 << 20;

fn check_weights(profile: &Profile) -> Result<(), Error> {
    for metric in THREADS {
        let mut more = profile
            .points
            .iter()
            .map(|point| metric.of(&point.counts) / u64::from(i32::MAX.unsigned_abs()));
        let sum = more.try_fold(0, u64::checked_add);
        if sum.is_none_or(|sum| sum > MAX_MORE_SAMPLES) {
            return Err(Error::TooLarge {
                metric,
                format: "Firefox's profile",
            });
        }
    }
    Ok(())
}

/// Writes a profile.
///
/// # Errors
/// Those of `out`, and [`Error::TooLarge`] where a figure needs more samples than a browser takes.
pub fn write(profile: &Profile, options: &Options, out: impl Write) -> Result<(), Error> {
    check_weights(profile)?;
    let fitted = limits::fit(profile, limits::VIEWERS);
    let profile = &*fitted.profile;
    let mut json = serde_json::to_value(Writer::new(profile, options).written())?;
    source::add_places(&mut json, profile);
    // The crate calls it by the process's name, because it is the main thread.
    json["threads"][0]["name"] = THREADS[0].title(profile).into();
    let mut out = BufWriter::new(out);
    serde_json::to_writer(&mut out, &json)?;
    out.flush()?;
    Ok(())
}

struct Writer<'a> {
    profile: &'a Profile,
    firefox: FxProfile,
    process: ProcessHandle,
    start: Timestamp,
    peak: Timestamp,
    end: Timestamp,
}

impl<'a> Writer<'a> {
    fn new(profile: &'a Profile, options: &Options) -> Self {
        let name = profile.command.split(' ').next().unwrap_or_default();
        let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
        let mut firefox = FxProfile::new(
            name,
            options.started_at.unwrap_or(UNIX_EPOCH).into(),
            SamplingInterval::from(Duration::from_millis(1)),
        );
        firefox.set_symbolicated(true);
        let start = Timestamp::from_nanos_since_reference(0);
        let process = firefox.add_process(name, profile.pid, start);
        let end = time(profile, profile.end_time);
        firefox.set_process_end_time(process, end);
        Self {
            profile,
            firefox,
            process,
            start,
            peak: time(profile, profile.peak_time.unwrap_or_default()).min(end),
            end,
        }
    }

    fn written(mut self) -> FxProfile {
        for (index, metric) in THREADS.into_iter().enumerate() {
            if metric.is_in(self.profile) {
                self.add_thread(index, metric);
            }
        }
        if self.profile.has_lifetimes {
            self.add_memory_track();
        }
        self.firefox
    }

    /// A thread with a sample for each point, as heavy as the point.
    fn add_thread(&mut self, index: usize, metric: Metric) {
        let number = self.profile.pid.wrapping_add(index as u32);
        let is_first = index == 0;
        let thread = self
            .firefox
            .add_thread(self.process, number, self.start, is_first);
        self.firefox
            .set_thread_name(thread, &metric.title(self.profile));
        self.firefox.set_thread_end_time(thread, self.end);
        self.firefox.add_initial_visible_thread(thread);
        if is_first {
            self.firefox.add_initial_selected_thread(thread);
        }
        let weight_type = match metric.unit(self.profile) {
            "bytes" => WeightType::Bytes,
            _ => WeightType::Samples,
        };
        self.firefox
            .set_thread_samples_weight_type(thread, weight_type);
        let at = match metric {
            Metric::PeakBytes => self.peak,
            Metric::EndBytes => self.end,
            _ => self.start,
        };
        let allocates = is_first && self.profile.has_lifetimes;
        let mut events = Vec::new();
        for point in &self.profile.points {
            let stack = self.stack(thread, self.profile.stack(point));
            self.add_weight(thread, at, stack, metric.of(&point.counts));
            if allocates {
                self.add_events(stack, &point.counts, &mut events);
            }
        }
        // The format wants them in order of time.
        events.sort_by_key(|event| (event.at, event.bytes < 0));
        for event in events {
            self.firefox.add_allocation_sample(
                thread,
                event.at,
                event.stack,
                event.address,
                event.bytes,
            );
        }
    }

    fn stack(&mut self, thread: ThreadHandle, stack: &[u32]) -> Option<StackHandle> {
        // Each frame of the file is a frame of its own for now; `source` puts its text in.
        let mut parent = None;
        for &frame in stack.iter().rev() {
            let label = self.firefox.intern_string(&frame.to_string());
            let frame = self.firefox.intern_frame(
                thread,
                FrameInfo {
                    frame: FxFrame::Label(label),
                    category_pair: CategoryHandle::OTHER.into(),
                    flags: FrameFlags::empty(),
                },
            );
            parent = Some(self.firefox.intern_stack(thread, parent, frame));
        }
        parent
    }

    /// One sample, or several where the format's 32 bits do not hold the weight.
    fn add_weight(
        &mut self,
        thread: ThreadHandle,
        at: Timestamp,
        stack: Option<StackHandle>,
        mut weight: u64,
    ) {
        while weight > 0 {
            let part = i32::try_from(weight).unwrap_or(i32::MAX);
            self.firefox
                .add_sample(thread, at, stack, CpuDelta::ZERO, part);
            weight -= u64::from(part.unsigned_abs());
        }
    }

    /// See the module's text.
    fn add_events(&self, stack: Option<StackHandle>, counts: &Counts, events: &mut Vec<Event>) {
        let (peak, end) = (counts.peak_bytes, counts.end_bytes);
        let both = peak.min(end);
        let gone = counts.total_bytes.saturating_sub(peak.max(end));
        for (bytes, allocated, freed) in [
            (both, self.start, None),
            (peak - both, self.start, Some(self.end)),
            (end - both, self.end, None),
            (gone, self.start, Some(self.start)),
        ] {
            let Some(bytes) = i64::try_from(bytes).ok().filter(|&bytes| bytes > 0) else {
                continue;
            };
            let allocation = Event {
                at: allocated,
                stack,
                address: 16 * (events.len() as u64 + 1),
                bytes,
            };
            events.push(allocation);
            events.extend(freed.map(|at| Event {
                at,
                bytes: -bytes,
                ..allocation
            }));
        }
    }

    fn add_memory_track(&mut self) {
        let counter =
            self.firefox
                .add_counter(self.process, "malloc", "Memory", "Live bytes of the heap");
        let (mut bytes, mut operations) = (0, 0);
        for moment in timeline::moments(self.profile) {
            let at = time(self.profile, moment.time);
            // Counted since the start; a moment that does not tell has 0.
            let made = moment.total_blocks.saturating_sub(operations);
            operations = operations.max(moment.total_blocks);
            self.firefox.add_counter_sample(
                counter,
                at,
                moment.bytes as f64 - bytes as f64,
                u32::try_from(made).unwrap_or(u32::MAX),
            );
            bytes = moment.bytes;
        }
    }
}

/// An allocation or, with less than 0 bytes, a free.
#[derive(Clone, Copy)]
struct Event {
    at: Timestamp,
    stack: Option<StackHandle>,
    /// Of no meaning, but the same for both.
    address: u64,
    bytes: i64,
}

/// A time of the profile; where its unit is not time, as if it were microseconds.
fn time(profile: &Profile, time: u64) -> Timestamp {
    let unit = timeline::nanoseconds(profile).unwrap_or(1_000);
    Timestamp::from_nanos_since_reference(time.saturating_mul(unit))
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

    fn thread<'a>(json: &'a Value, name: &str) -> &'a Value {
        let threads = json["threads"].as_array().unwrap();
        threads
            .iter()
            .find(|thread| thread["name"] == name)
            .unwrap_or_else(|| panic!("no thread {name} in {json:#}"))
    }

    fn sum(column: &Value) -> i64 {
        column
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_i64().unwrap())
            .sum()
    }

    #[test]
    fn a_figure_of_too_many_samples_is_refused() {
        let mut profile = sample::heap(&[(&["a"], 1)]);
        profile.points[0].counts.total_blocks = u64::MAX;
        let error = write(&profile, &Options::default(), Vec::new()).unwrap_err();
        assert!(
            error.to_string().contains("total-blocks are more than"),
            "{error}"
        );
    }

    #[test]
    fn a_thread_for_each_figure() {
        let profile = sample::heap(&[
            (
                &[
                    "0x1: push (vec.rs:1:2)",
                    "0x1: f (a.rs:3:4)",
                    "0x2: main (a.rs:9:1)",
                ],
                4000,
            ),
            (&["0x7: f (a.rs:5:6)", "0x2: main (a.rs:9:1)"], 400),
        ]);
        let json = written(&profile);
        assert_eq!(json["threads"].as_array().unwrap().len(), 4);
        for (name, total) in [
            ("allocated bytes", 4400),
            ("bytes live at the peak", 2200),
            ("bytes live at the end", 1100),
            ("allocated blocks", 440),
        ] {
            assert_eq!(
                sum(&thread(&json, name)["samples"]["weight"]),
                total,
                "{name}"
            );
        }
        let first = thread(&json, "allocated bytes");
        let strings = first["stringArray"].as_array().unwrap();
        let text = |index: &Value| strings[index.as_u64().unwrap() as usize].as_str().unwrap();
        let funcs = &first["funcTable"];
        let names: Vec<&str> = funcs["name"].as_array().unwrap().iter().map(text).collect();
        assert_eq!(names, ["main", "f", "push"], "`f` is one function");
        assert_eq!(text(&funcs["fileName"][1]), "a.rs");
        let frames = &first["frameTable"];
        assert_eq!(frames["line"], json!([9, 3, 1, 5]));
        assert_eq!(frames["column"], json!([1, 4, 2, 6]));
        assert_eq!(frames["func"], json!([0, 1, 2, 1]));
        assert_eq!(frames["inlineDepth"], json!([0, 0, 1, 0]));
        assert_eq!(frames["address"], json!([2, 1, 1, 7]));
    }

    /// What is retained in the samples up to `until`.
    fn retained(allocations: &Value, until: f64) -> i64 {
        let column = |name: &str| allocations[name].as_array().unwrap();
        assert!(column("time").is_sorted_by_key(|time| time.as_f64().unwrap()));
        let samples = column("time").iter().zip(column("weight"));
        samples
            .filter(|(time, _)| time.as_f64().unwrap() <= until)
            .map(|(_, weight)| weight.as_i64().unwrap())
            .sum()
    }

    #[test]
    fn allocations_sum_up_to_the_peak_and_to_the_end() {
        let mut profile = sample::heap(&[(&["a"], 400), (&["b"], 40)]);
        // Holds more at the end than at the peak.
        profile.points[1].counts.end_bytes = 35;
        let json = written(&profile);
        let allocations = &thread(&json, "allocated bytes")["nativeAllocations"];
        let weights = allocations["weight"].as_array().unwrap();
        let allocated = weights
            .iter()
            .map(|n| n.as_i64().unwrap())
            .filter(|&n| n > 0);
        assert_eq!(allocated.sum::<i64>(), 440);
        assert_eq!(retained(allocations, 1.5), 220);
        assert_eq!(retained(allocations, 2.0), 135);
    }

    #[test]
    fn the_memory_track_ends_with_what_is_left() {
        let json = written(&sample::heap(&[(&["a"], 400)]));
        let counter = &json["counters"][0];
        assert_eq!(counter["category"], "Memory");
        assert_eq!(counter["samples"]["count"], json!([0.0, 200.0, -100.0]));
        assert_eq!(counter["samples"]["number"], json!([0, 0, 40]));
    }

    #[test]
    fn a_point_of_many_gigabytes_is_several_samples() {
        let json = written(&sample::heap(&[(&["a"], 5 << 30)]));
        let weights = &thread(&json, "allocated bytes")["samples"]["weight"];
        assert_eq!(
            (weights.as_array().unwrap().len(), sum(weights)),
            (3, 5 << 30)
        );
    }

    #[test]
    fn other_kinds() {
        let json = written(&sample::ad_hoc());
        assert_eq!(json["threads"].as_array().unwrap().len(), 2);
        assert_eq!(sum(&thread(&json, "units")["samples"]["weight"]), 30);
        assert_eq!(thread(&json, "units")["samples"]["weightType"], "samples");
        assert_eq!(json["counters"], json!([]));
        let json = written(&sample::empty());
        assert_eq!(thread(&json, "allocated bytes")["samples"]["length"], 0);
    }
}
