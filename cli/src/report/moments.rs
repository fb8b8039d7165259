//! The moments of the timeline that the page draws.

use heapledger_formats::model::{MomentOfTimeline, Profile};
use serde_json::{Value, json};

/// Stretches of time that a curve has room for.
const STRETCHES: usize = 1000;

/// The moments as the page reads them, and how many others there are.
pub(super) fn drawn(profile: &Profile) -> (Vec<Value>, usize) {
    let timeline = profile
        .extension
        .as_ref()
        .and_then(|extension| extension.timeline.as_ref());
    let moments = timeline.map_or(&[][..], |timeline| &timeline.moments);
    let points = profile.points.len();
    let drawn: Vec<Value> = outline(moments)
        .map(|moment| {
            let top: Vec<_> = moment
                .top
                .iter()
                .filter(|(point, _)| (*point as usize) < points)
                .collect();
            json!([
                moment.time,
                moment.bytes,
                moment.blocks,
                moment.total_bytes,
                moment.total_blocks,
                moment.peak,
                top
            ])
        })
        .collect();
    let left_out = moments.len() - drawn.len();
    (drawn, left_out)
}

/// The peak, and of each stretch the moments with least and most: all of them, if they are few.
fn outline(moments: &[MomentOfTimeline]) -> impl Iterator<Item = &MomentOfTimeline> {
    let peak = moments.iter().position(|moment| moment.peak);
    let stretch = moments.len().div_ceil(STRETCHES).max(1);
    moments
        .chunks(stretch)
        .enumerate()
        .flat_map(move |(number, part)| {
            let bytes = |&at: &usize| part[at].bytes;
            // Of equals the first and the last one, so that two moments are both drawn.
            let least = (0..part.len()).min_by_key(bytes);
            let most = (0..part.len()).max_by_key(bytes);
            let is_drawn = move |at: usize| {
                [least, most].contains(&Some(at)) || peak == Some(number * stretch + at)
            };
            let part = part.iter().enumerate();
            part.filter_map(move |(at, moment)| is_drawn(at).then_some(moment))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(count: u64, bytes: impl Fn(u64) -> u64) -> Vec<MomentOfTimeline> {
        let moment = |time| MomentOfTimeline {
            time,
            bytes: bytes(time),
            ..MomentOfTimeline::default()
        };
        (0..count).map(moment).collect()
    }

    #[test]
    fn few_moments_are_all_drawn() {
        for count in [0, 1, 2, 999, 1000, 1001, 1999, 2000] {
            for bytes in [|_| 7, |time| time, |time| 5000 - time] {
                let all = moments(count, bytes);
                let times: Vec<u64> = outline(&all).map(|moment| moment.time).collect();
                assert_eq!(times, (0..count).collect::<Vec<_>>(), "{count}");
            }
        }
    }

    #[test]
    fn of_many_moments_the_highs_the_lows_and_the_peak_are_drawn() {
        let mut all = moments(1_000_000, |time| match time {
            123_456 => 90,
            654_321 => 1,
            _ => 50,
        });
        all[333_333].peak = true;
        all[777_777].peak = true;
        let drawn: Vec<u64> = outline(&all).map(|moment| moment.time).collect();
        assert!((1_001..=2_001).contains(&drawn.len()), "{}", drawn.len());
        assert!(drawn.is_sorted());
        for time in [123_456, 654_321, 333_333] {
            assert!(drawn.contains(&time), "{time}");
        }
        assert!(!drawn.contains(&777_777), "the page marks the first one");
    }
}
