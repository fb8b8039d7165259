//! Flame graphs, which inferno draws.

use heapledger_formats::diff_flame::{self, Widths};
use heapledger_formats::flame;
use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use viewer_compat::ViewerError;
use viewer_compat::flame_graph::{FlameGraph, read_flame_graph};
use viewer_compat::profiles::{self, NAMES};

use crate::{sum, written};

fn drawn(profile: &Profile, metric: Metric) -> String {
    let options = flame::Options {
        metric,
        ..flame::Options::default()
    };
    String::from_utf8(written(|out| flame::write(profile, &options, out))).unwrap()
}

#[track_caller]
fn read(name: &str, svg: &str) -> FlameGraph {
    read_flame_graph(svg).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `1234567` as the picture writes it.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[test]
fn draws_every_profile_by_every_metric() {
    for sample in profiles::all() {
        let (name, profile) = (sample.name, &sample.profile);
        for metric in Metric::of_profile(profile) {
            let graph = read(name, &drawn(profile, metric));
            if name.contains("recursion") && metric.to_string().starts_with("max") {
                // Maxima of points that became one are no sums.
                continue;
            }
            let total = sum(profile, metric);
            let all = format!("all ({} {}, 100%)", grouped(total), metric.unit(profile));
            assert!(
                graph.titles.contains(&all),
                "{name}: no {all} in {:?}",
                graph.titles
            );
            if total > 0 {
                assert_eq!(graph.total, total, "{name} by {metric}");
            }
        }
    }
}

#[test]
fn names_are_shown_as_they_are() {
    let graph = read("names", &drawn(&profiles::names(), Metric::TotalBytes));
    for name in NAMES {
        // What stands behind the last space of a folded line is its count.
        let shown = name.replace(" 7", "\u{a0}7");
        let is_shown = |title: &String| title.starts_with(&format!("{shown} ("));
        assert!(
            graph.titles.iter().any(is_shown),
            "{name} is not in {:#?}",
            graph.titles
        );
    }
}

#[test]
fn a_difference_is_told_by_frame() {
    let before = profiles::heap();
    let mut after = before.clone();
    after.points[0].counts.total_bytes /= 4;
    after.points[2].counts.total_bytes += 1_000;
    for (widths, shown) in [(Widths::Before, &before), (Widths::After, &after)] {
        let options = diff_flame::Options {
            widths,
            ..diff_flame::Options::default()
        };
        let svg = written(|out| diff_flame::write(&before, &after, &options, out));
        let graph = read("difference", &String::from_utf8(svg).unwrap());
        assert_eq!(graph.total, sum(shown, Metric::TotalBytes));
        // Of the whole, as inferno tells it: what the leaf of the first stack has less.
        let all = sum(shown, Metric::TotalBytes) as f64;
        let less = before.points[0].counts.total_bytes - after.points[0].counts.total_bytes;
        let change = format!("; -{:.2}%)", 100.0 * less as f64 / all);
        let leaf = "alloc::raw_vec::RawVec<T,A>::grow_one (";
        let is_told = |title: &String| title.starts_with(leaf) && title.ends_with(&change);
        assert!(
            graph.titles.iter().any(is_told),
            "{change} in {:#?}",
            graph.titles
        );
    }
}

#[test]
fn broken_pictures_are_refused_and_wrong_sums_are_seen() {
    let svg = drawn(&profiles::heap(), Metric::TotalBytes);
    let cut = &svg[..svg.rfind("</title>").unwrap()].replace("</g>", "");
    assert!(matches!(
        read_flame_graph(cut),
        Err(ViewerError::Refused(_))
    ));
    let mut other = profiles::heap();
    other.points[0].counts.total_bytes += 1;
    let graph = read("heap", &drawn(&other, Metric::TotalBytes));
    assert_ne!(graph.total, sum(&profiles::heap(), Metric::TotalBytes));
}
