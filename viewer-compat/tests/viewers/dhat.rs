//! DHAT's own viewer.

use heapledger_formats::dhat::{self, Options};
use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use viewer_compat::profiles::{self, NAMES};
use viewer_compat::{Totals, Viewed, open_in_dhat_viewer};

use crate::{sum, written};

pub(crate) fn text(profile: &Profile) -> String {
    let bytes = written(|out| dhat::write(profile, &Options::default(), out));
    String::from_utf8(bytes).unwrap()
}

fn view(name: &str, profile: &Profile) -> Viewed {
    let viewed =
        open_in_dhat_viewer(&text(profile)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(viewed.problems(), Vec::<String>::new(), "{name}");
    viewed
}

#[test]
fn opens_every_profile_under_every_metric() {
    for sample in profiles::all() {
        let profile = &sample.profile;
        let viewed = view(sample.name, profile);
        let total = |metric: Metric| metric.is_in(profile).then(|| sum(profile, metric));
        let expected = Totals {
            total_bytes: total(Metric::TotalBytes),
            total_blocks: total(Metric::TotalBlocks),
            total_lifetimes: total(Metric::Lifetimes),
            // Not sums: of points that were cut to the same frames, the larger one's stays.
            max_bytes: viewed.totals.max_bytes,
            max_blocks: viewed.totals.max_blocks,
            at_gmax_bytes: total(Metric::PeakBytes),
            at_gmax_blocks: total(Metric::PeakBlocks),
            at_end_bytes: total(Metric::EndBytes),
            at_end_blocks: total(Metric::EndBlocks),
            reads_bytes: total(Metric::ReadBytes),
            writes_bytes: total(Metric::WrittenBytes),
        };
        assert_eq!(viewed.totals, expected, "{}", sample.name);
        let metrics = match (profile.has_lifetimes, profile.has_accesses) {
            (true, true) => 14,
            (true, false) => 6,
            _ => 3,
        };
        assert_eq!(
            viewed.metrics.len(),
            metrics,
            "{}: {:?}",
            sample.name,
            viewed.disabled_metrics
        );
    }
}

#[test]
fn names_are_shown_as_they_are() {
    let viewed = view("names", &profiles::names());
    for (n, name) in NAMES.iter().enumerate() {
        let text = format!(
            "{:#x}: {name} (src/größe (1)/file.rs:{}:7)",
            0x1000 + n,
            n + 1
        );
        assert!(
            viewed.frames.contains(&text),
            "{text} is not in {:#?}",
            viewed.frames
        );
    }
}

#[test]
fn a_recursion_tells_what_was_left_out() {
    let deep = profiles::all()
        .into_iter()
        .find(|sample| sample.name.contains("recursion"));
    let viewed = view("recursion", &deep.unwrap().profile);
    let marker = viewed
        .frames
        .iter()
        .filter(|frame| frame.starts_with("[... "));
    assert_eq!(marker.collect::<Vec<_>>(), ["[... 2603 frames ...]"]);
}
