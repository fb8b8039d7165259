//! The key `heapledger` of the file.

use serde::Serialize;

use super::number;
use crate::record::snapshot::{Accesses, Kind};
use crate::report::profile::Profile;

/// How far the numbers can be trusted. `version` is this block's own.
#[derive(Serialize)]
pub(super) struct Extension<'a> {
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
    pub(super) fn new(profile: &Profile<'_>) -> Timeline {
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
    pub(super) fn new(accesses: &Accesses) -> Option<AccessLimits> {
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
    pub(super) fn new(profile: &'a Profile<'a>) -> Extension<'a> {
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
