//! `callgrind_annotate`.

use std::collections::{BTreeMap, HashSet};

use heapledger_formats::callgrind::{self, Options};
use heapledger_formats::frame::Frame;
use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use viewer_compat::ViewerError;
use viewer_compat::callgrind::{Callgrind, open_in_callgrind_annotate};
use viewer_compat::profiles::{self, NAMES};

use crate::{Scratch, sum, written};

fn file(profile: &Profile) -> Vec<u8> {
    written(|out| callgrind::write(profile, &Options::default(), out))
}

fn open(name: &str, profile: &Profile) -> Callgrind {
    let scratch = Scratch::new("callgrind.out", &file(profile));
    open_in_callgrind_annotate(scratch.path()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All but each point's own maximum, which is no part of a sum.
fn metrics(profile: &Profile) -> Vec<Metric> {
    let mut metrics = Metric::of_profile(profile);
    metrics.retain(|metric| !matches!(metric, Metric::MaxBytes | Metric::MaxBlocks));
    metrics
}

/// Each frame as it is shown: with the object where any is known.
fn functions(profile: &Profile) -> Vec<String> {
    let frames = || profile.frames.iter().map(|text| Frame::parse(text));
    let has_objects = frames().any(|frame| frame.module.is_some());
    let function = |frame: Frame<'_>| {
        let function = format!("{}:{}", frame.file.unwrap_or("???"), frame.label());
        match frame.module {
            _ if !has_objects => function,
            object => format!("{function} [{}]", object.unwrap_or("???")),
        }
    };
    frames().map(function).collect()
}

/// What each function has by itself, and what all stacks have that it is in, from the points alone.
fn expected(profile: &Profile) -> [BTreeMap<String, Vec<u64>>; 2] {
    let (metrics, names) = (metrics(profile), functions(profile));
    let [mut own, mut inclusive]: [BTreeMap<String, Vec<u64>>; 2] = Default::default();
    for point in &profile.points {
        let figures = metrics.iter().map(|metric| metric.of(&point.counts));
        let figures: Vec<u64> = figures.collect();
        let stack = profile.stack(point).iter().chain(&[0]);
        let functions: Vec<&String> = stack.map(|&frame| &names[frame as usize]).collect();
        let add = |sums: &mut BTreeMap<String, Vec<u64>>, function: &String, figures: &[u64]| {
            let sums = sums.entry(function.clone());
            let sums = sums.or_insert_with(|| vec![0; metrics.len()]);
            for (sum, figure) in sums.iter_mut().zip(figures) {
                *sum += figure;
            }
        };
        add(&mut own, functions[0], &figures);
        for function in functions.into_iter().collect::<HashSet<_>>() {
            add(&mut own, function, &[]);
            add(&mut inclusive, function, &figures);
        }
    }
    [own, inclusive]
}

#[test]
fn opens_every_profile_with_every_sum() {
    for sample in profiles::all() {
        let (name, profile) = (sample.name, &sample.profile);
        let opened = open(name, profile);
        let metrics = metrics(profile);
        let sums: Vec<u64> = metrics.iter().map(|&metric| sum(profile, metric)).collect();
        assert_eq!(opened.events.len(), metrics.len(), "{name}");
        assert_eq!(opened.totals, sums, "{name}");
        let [own, inclusive] = expected(profile);
        assert_eq!(opened.own, own, "{name}");
        assert_eq!(opened.inclusive, inclusive, "{name}");
    }
}

/// The totals are not only repeated from the file: without its last line they are added up, and the same.
#[test]
fn what_is_added_up_is_what_the_file_says() {
    let profile = profiles::heap();
    let text = String::from_utf8(file(&profile)).unwrap();
    let (without, _) = text.split_once("\ntotals:").unwrap();
    let scratch = Scratch::new("callgrind.out", without.as_bytes());
    let added_up = open_in_callgrind_annotate(scratch.path()).unwrap();
    let told = open("heap", &profile);
    assert!(added_up.is_added_up && !told.is_added_up);
    assert_eq!(added_up.totals, told.totals);
}

#[test]
fn names_and_files_are_shown_as_they_are() {
    let opened = open("names", &profiles::names());
    for name in NAMES {
        let function = format!("src/größe (1)/file.rs:{name}");
        assert!(
            opened.own.contains_key(&function),
            "{function} is not in {:#?}",
            opened.own
        );
    }
}

#[test]
fn broken_files_are_refused_and_wrong_sums_are_seen() {
    let text = String::from_utf8(file(&profiles::heap())).unwrap();
    for broken in [
        text.replace("\nversion: 1", "\nversion: 2"),
        text.replace("\nevents: ", "\nno: "),
        text.replacen("calls=", "cells=", 1),
    ] {
        assert_ne!(broken, text);
        let scratch = Scratch::new("callgrind.out", broken.as_bytes());
        let result = open_in_callgrind_annotate(scratch.path());
        assert!(matches!(result, Err(ViewerError::Refused(_))), "{result:?}");
    }
    // What is cut off it does not miss.
    let cut = Scratch::new("callgrind.out", &text.as_bytes()[..text.len() / 2]);
    let cut = open_in_callgrind_annotate(cut.path()).unwrap();
    assert_ne!(cut.totals, open("heap", &profiles::heap()).totals);
    let (right, mut other) = (profiles::heap(), profiles::heap());
    other.points[0].counts.total_bytes += 1;
    let (right, other) = (open("heap", &right), open("other", &other));
    assert_eq!(other.totals[0], right.totals[0] + 1);
    assert_ne!(other.own, right.own);
    assert_ne!(other.inclusive, right.inclusive);
}
