//! The sum of profiles: grows with distinct stacks, not with files.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use heapledger_formats::frame::Frame;
use heapledger_formats::model::{
    Counts, Extension, Module, Point, PointExtension, Process, ProcessShare, Profile,
};
use serde_json::Value;

/// A process's layout may be drawn anew at each start, so a named place is the same place at any address.
fn place(text: &str) -> &str {
    let frame = Frame::parse(text);
    match text.split_once(": ") {
        Some((_, place)) if frame.address.is_some() && frame.is_named() => place,
        _ => text,
    }
}

#[derive(Debug)]
pub(crate) struct Merged {
    first: PathBuf,
    /// Everything but points and frames.
    head: Profile,
    per_process: bool,
    places: HashMap<Box<str>, u32>,
    frames: Vec<Box<str>>,
    stacks: HashMap<Box<[u32]>, u32>,
    sums: Vec<Sum>,
    modules: Vec<Module>,
    known_modules: HashSet<Module>,
    processes: Vec<Process>,
    sample_bytes: Option<u64>,
    /// While all profiles have it.
    cpu_ns: Option<u64>,
    has_extensions: bool,
    /// Processes: a merged profile that is merged again is of several.
    merged: u64,
    /// Sums of what the profiles tell of `refused` records, and of how far peaks are off.
    refused: BTreeMap<String, u64>,
    peak_slack_bytes: u64,
}

/// As they are called in a file's `exact`.
const MERGED: &str = "merged_profiles";
const SLACK: &str = "peak_slack_bytes";

/// Without what a merge adds to it.
fn command(text: &str) -> &str {
    text.rsplit_once(" (merged from ")
        .filter(|(_, rest)| rest.ends_with(" profiles)"))
        .map_or(text, |(command, _)| command)
}

fn sample_bytes(profile: &Profile) -> Option<u64> {
    profile
        .extension
        .as_ref()
        .and_then(|extension| extension.sample_bytes)
}

#[derive(Debug)]
struct Sum {
    counts: Counts,
    extension: PointExtension,
    histogram: Option<Vec<u32>>,
}

impl Merged {
    /// Nothing yet, to which profiles of this kind can be added.
    pub(crate) fn like(profile: &Profile, path: &Path, per_process: bool) -> Merged {
        Merged {
            first: path.to_owned(),
            head: Profile {
                mode: profile.mode,
                verb: profile.verb.clone(),
                units: profile.units.clone(),
                time_units: profile.time_units.clone(),
                short_lived_below: profile.short_lived_below,
                command: profile.command.clone(),
                pid: profile.pid,
                end_time: profile.end_time,
                peak_time: profile.peak_time,
                has_lifetimes: profile.has_lifetimes,
                has_accesses: profile.has_accesses,
                frames: Vec::new(),
                points: Vec::new(),
                stacks: Vec::new(),
                histograms: Vec::new(),
                extension: None,
                point_extensions: Vec::new(),
            },
            sample_bytes: sample_bytes(profile),
            cpu_ns: Some(0),
            per_process,
            places: HashMap::from([("[root]".into(), 0)]),
            frames: vec!["[root]".into()],
            stacks: HashMap::new(),
            sums: Vec::new(),
            modules: Vec::new(),
            known_modules: HashSet::new(),
            processes: Vec::new(),
            has_extensions: false,
            merged: 0,
            refused: BTreeMap::new(),
            peak_slack_bytes: 0,
        }
    }

    /// Fails if the two count different things.
    pub(crate) fn add(&mut self, profile: &Profile, path: &Path) -> Result<(), String> {
        self.check_kind(profile)?;
        let head = &mut self.head;
        head.end_time = head.end_time.max(profile.end_time);
        head.peak_time = head.peak_time.max(profile.peak_time);
        head.short_lived_below = head.short_lived_below.min(profile.short_lived_below);
        if command(&head.command) != command(&profile.command) {
            head.command = "(several programs)".into();
        }
        let of_exact = |key| {
            let exact = profile.extension.as_ref()?.exact.as_ref()?;
            exact.get(key)?.as_u64()
        };
        self.merged = self
            .merged
            .saturating_add(of_exact(MERGED).unwrap_or(1).max(1));
        self.peak_slack_bytes = self
            .peak_slack_bytes
            .saturating_add(of_exact(SLACK).unwrap_or(0));
        if let Some(extension) = &profile.extension {
            let refused = extension.refused.iter().filter_map(Value::as_object);
            for (key, count) in refused.flatten() {
                if let Some(count) = count.as_u64() {
                    let sum = self.refused.entry(key.clone()).or_default();
                    *sum = sum.saturating_add(count);
                }
            }
            for module in &extension.modules {
                if self.known_modules.insert(module.clone()) {
                    self.modules.push(module.clone());
                }
            }
        }
        let process = Process {
            pid: profile.pid,
            command: profile.command.clone(),
            file: path.display().to_string(),
        };
        let number = self.processes.len();
        self.processes.push(process);
        let cpu_ns = profile
            .extension
            .as_ref()
            .and_then(|extension| extension.cpu_ns);
        self.cpu_ns = self
            .cpu_ns
            .zip(cpu_ns)
            .map(|(sum, more)| sum.saturating_add(more));
        self.has_extensions |= !profile.point_extensions.is_empty() || self.per_process;
        self.add_points(number, profile);
        Ok(())
    }

    fn check_kind(&self, profile: &Profile) -> Result<(), String> {
        let head = &self.head;
        let same = [
            ("modes", head.mode == profile.mode),
            ("units", head.units == profile.units),
            ("units of time", head.time_units == profile.time_units),
            (
                "lifetimes (bklt)",
                head.has_lifetimes == profile.has_lifetimes,
            ),
            (
                "reads and writes (bkacc)",
                head.has_accesses == profile.has_accesses,
            ),
            ("sampling", self.sample_bytes == sample_bytes(profile)),
        ];
        match same.iter().find(|(_, same)| !same) {
            None => Ok(()),
            Some((what, _)) => Err(format!(
                "cannot be merged with {}: they differ in their {what}",
                self.first.display()
            )),
        }
    }

    fn add_points(&mut self, number: usize, profile: &Profile) {
        let mut numbers: Vec<Option<u32>> = vec![None; profile.frames.len()];
        let histograms: HashMap<u32, &Vec<u32>> = profile
            .histograms
            .iter()
            .map(|(point, counts)| (*point, counts))
            .collect();
        let mut stack = Vec::new();
        for (index, point) in profile.points.iter().enumerate() {
            stack.clear();
            for &frame in profile.stack(point) {
                let number = numbers[frame as usize].get_or_insert_with(|| {
                    intern(
                        &mut self.places,
                        &mut self.frames,
                        &profile.frames[frame as usize],
                    )
                });
                stack.push(*number);
            }
            let extension = profile.point_extensions.get(index);
            let histogram = u32::try_from(index)
                .ok()
                .and_then(|index| histograms.get(&index).copied());
            let sum = match self.stacks.get(stack.as_slice()) {
                Some(&known) => {
                    let sum = &mut self.sums[known as usize];
                    sum.add(&point.counts, extension, histogram);
                    sum
                }
                None => {
                    let next = u32::try_from(self.sums.len()).expect("fewer than 2^32 points");
                    self.stacks.insert(stack.as_slice().into(), next);
                    self.sums.push(Sum {
                        counts: point.counts,
                        extension: extension.cloned().unwrap_or_default(),
                        histogram: histogram.cloned(),
                    });
                    self.sums.last_mut().expect("just pushed")
                }
            };
            if self.per_process {
                sum.extension.by_process.push(share(number, &point.counts));
            }
        }
    }

    pub(crate) fn into_profile(self) -> Profile {
        let mut profile = self.head;
        profile.frames = self.frames;
        let mut stacks: Vec<(Box<[u32]>, u32)> = self.stacks.into_iter().collect();
        let sums = &self.sums;
        // The most bytes first; else in the order in which they came.
        stacks.sort_by_key(|&(_, sum)| {
            (
                std::cmp::Reverse(sums[sum as usize].counts.total_bytes),
                sum,
            )
        });
        let mut sums: Vec<Option<Sum>> = self.sums.into_iter().map(Some).collect();
        for (stack, sum) in stacks {
            let sum = sums[sum as usize]
                .take()
                .expect("each stack has its own sum");
            let index = u32::try_from(profile.points.len()).expect("fewer than 2^32 points");
            let end = |stacks: &Vec<u32>| {
                u32::try_from(stacks.len()).expect("fewer than 2^32 frames in all")
            };
            let start = end(&profile.stacks);
            profile.stacks.extend_from_slice(&stack);
            profile.points.push(Point {
                stack: (start, end(&profile.stacks)),
                counts: sum.counts,
            });
            if let Some(histogram) = sum.histogram {
                profile.histograms.push((index, histogram));
            }
            if self.has_extensions {
                profile.point_extensions.push(sum.extension);
            }
        }
        let slack = self.peak_slack_bytes;
        profile.extension = Some(Extension {
            version: 1,
            capture: "merged".into(),
            sample_bytes: self.sample_bytes,
            exact: Some(serde_json::json!({
                "peak": self.merged == 1 && slack == 0 && self.sample_bytes.is_none(),
                (MERGED): self.merged,
                (SLACK): slack,
                "note": "figures at the peak are sums of what each process had at its own peak",
            })),
            modules: self.modules,
            refused: (!self.refused.is_empty()).then(|| serde_json::json!(self.refused)),
            cpu_ns: self.cpu_ns,
            processes: if self.per_process {
                self.processes
            } else {
                Vec::new()
            },
            ..Extension::default()
        });
        if self.merged > 1 {
            let command = command(&profile.command);
            profile.command = format!("{command} (merged from {} profiles)", self.merged);
        }
        profile
    }
}

fn intern(places: &mut HashMap<Box<str>, u32>, frames: &mut Vec<Box<str>>, text: &str) -> u32 {
    let place = place(text);
    if let Some(&number) = places.get(place) {
        return number;
    }
    let number = u32::try_from(frames.len()).expect("fewer than 2^32 frames");
    places.insert(place.into(), number);
    frames.push(text.into());
    number
}

fn share(process: usize, counts: &Counts) -> ProcessShare {
    ProcessShare {
        process: u32::try_from(process).expect("fewer than 2^32 files"),
        total_bytes: counts.total_bytes,
        total_blocks: counts.total_blocks,
        peak_bytes: counts.peak_bytes,
        end_bytes: counts.end_bytes,
    }
}

impl Sum {
    fn add(
        &mut self,
        counts: &Counts,
        extension: Option<&PointExtension>,
        histogram: Option<&Vec<u32>>,
    ) {
        self.counts.add(counts);
        let shares = std::mem::take(&mut self.extension.by_process);
        self.extension
            .add(extension.unwrap_or(&PointExtension::default()));
        self.extension.by_process = shares;
        // Blocks of different sizes have no common histogram.
        self.histogram = match (self.histogram.take(), histogram) {
            (Some(mut sum), Some(more)) if sum.len() == more.len() => {
                for (sum, more) in sum.iter_mut().zip(more) {
                    *sum = sum.saturating_add(*more).min(65535);
                }
                Some(sum)
            }
            _ => None,
        };
    }
}
