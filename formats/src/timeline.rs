//! What was live over time, for the formats that show it.

use crate::metric::Metric;
use crate::model::{MomentOfTimeline, Profile};

/// The moments of a profile, in order of time: those that were recorded, and always the start, the
/// peak and the end, which every profile with lifetimes tells.
pub(crate) fn moments(profile: &Profile) -> Vec<MomentOfTimeline> {
    let sum = |metric: Metric| -> u64 {
        let figures = profile.points.iter().map(|point| metric.of(&point.counts));
        figures.fold(0, u64::saturating_add)
    };
    let recorded = profile
        .extension
        .as_ref()
        .and_then(|extension| extension.timeline.as_ref())
        .map_or(&[][..], |timeline| &timeline.moments);
    let end_time = profile.end_time.max(1);
    let peak_time = profile.peak_time.unwrap_or_default().min(end_time);
    let mut moments: Vec<MomentOfTimeline> = recorded
        .iter()
        .filter(|moment| !moment.peak && moment.time < end_time)
        .cloned()
        .collect();
    moments.sort_by_key(|moment| moment.time);
    if moments.first().is_none_or(|first| first.time > 0) {
        moments.insert(0, MomentOfTimeline::default());
    }
    let total_at_peak = recorded.iter().find(|moment| moment.peak);
    let peak = MomentOfTimeline {
        time: peak_time,
        bytes: sum(Metric::PeakBytes),
        blocks: sum(Metric::PeakBlocks),
        total_bytes: total_at_peak.map_or(0, |moment| moment.total_bytes),
        total_blocks: total_at_peak.map_or(0, |moment| moment.total_blocks),
        peak: true,
        top: Vec::new(),
    };
    let after = moments.partition_point(|moment| moment.time <= peak_time);
    moments.insert(after, peak);
    moments.push(MomentOfTimeline {
        time: end_time,
        bytes: sum(Metric::EndBytes),
        blocks: sum(Metric::EndBlocks),
        total_bytes: sum(Metric::TotalBytes),
        total_blocks: sum(Metric::TotalBlocks),
        peak: false,
        top: Vec::new(),
    });
    moments
}

/// How many nanoseconds a profile's unit of time has; none where it is not time.
pub(crate) fn nanoseconds(profile: &Profile) -> Option<u64> {
    match profile.time_units.0.as_str() {
        "ns" => Some(1),
        // Two characters look alike.
        "µs" | "μs" | "us" => Some(1_000),
        "ms" => Some(1_000_000),
        "s" => Some(1_000_000_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Extension, Timeline};
    use crate::sample;

    #[test]
    fn start_peak_and_end_are_always_there() {
        let mut profile = sample::heap(&[(&["a"], 400), (&["b"], 40)]);
        let seen = |profile: &Profile| -> Vec<(u64, u64, bool)> {
            let moments = moments(profile);
            moments.iter().map(|m| (m.time, m.bytes, m.peak)).collect()
        };
        assert_eq!(
            seen(&profile),
            [(0, 0, false), (1500, 220, true), (2000, 110, false)]
        );
        let moment = |time, bytes, peak| MomentOfTimeline {
            time,
            bytes,
            peak,
            ..MomentOfTimeline::default()
        };
        profile.extension = Some(Extension {
            timeline: Some(Timeline {
                moments: vec![
                    moment(10, 7, false),
                    moment(1500, 220, true),
                    moment(1600, 8, false),
                    moment(2000, 110, false),
                ],
            }),
            ..Extension::default()
        });
        assert_eq!(
            seen(&profile),
            [
                (0, 0, false),
                (10, 7, false),
                (1500, 220, true),
                (1600, 8, false),
                (2000, 110, false)
            ]
        );
    }
}
