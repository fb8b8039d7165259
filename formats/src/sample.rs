//! Small profiles for tests.

use crate::model::{Counts, Mode, Point, Profile, Units};

/// A heap profile: stacks, innermost frame first, with their total bytes. Of these, half were live at
/// the peak and a quarter is at the end.
pub(crate) fn heap(points: &[(&[&str], u64)]) -> Profile {
    let mut profile = empty();
    for (stack, bytes) in points {
        let counts = Counts {
            total_bytes: *bytes,
            total_blocks: bytes / 10,
            lifetimes: bytes * 3,
            max_bytes: bytes / 2,
            max_blocks: bytes / 20,
            peak_bytes: bytes / 2,
            peak_blocks: bytes / 20,
            end_bytes: bytes / 4,
            end_blocks: bytes / 40,
            ..Counts::default()
        };
        push(&mut profile, stack, counts);
    }
    profile
}

pub(crate) fn push(profile: &mut Profile, stack: &[&str], counts: Counts) {
    let start = profile.stacks.len() as u32;
    for &text in stack {
        let known = profile.frames.iter().position(|frame| **frame == *text);
        let frame = known.unwrap_or_else(|| {
            profile.frames.push(text.into());
            profile.frames.len() - 1
        });
        profile.stacks.push(frame as u32);
    }
    profile.points.push(Point {
        stack: (start, profile.stacks.len() as u32),
        counts,
    });
}

pub(crate) fn empty() -> Profile {
    Profile {
        mode: Mode::Heap,
        verb: "Allocated".to_owned(),
        units: None,
        time_units: ("µs".to_owned(), "s".to_owned()),
        short_lived_below: Some(10),
        command: "app --größe \"1\"".to_owned(),
        pid: 42,
        end_time: 2000,
        peak_time: Some(1500),
        has_lifetimes: true,
        has_accesses: false,
        frames: vec!["[root]".into()],
        points: Vec::new(),
        stacks: Vec::new(),
        histograms: Vec::new(),
        extension: None,
        point_extensions: Vec::new(),
    }
}

/// An ad hoc profile of one point.
pub(crate) fn ad_hoc() -> Profile {
    let mut profile = Profile {
        mode: Mode::AdHoc,
        units: Some(Units {
            byte: "unit".to_owned(),
            bytes: "units".to_owned(),
            blocks: "events".to_owned(),
        }),
        peak_time: None,
        short_lived_below: None,
        has_lifetimes: false,
        ..empty()
    };
    let counts = Counts {
        total_bytes: 30,
        total_blocks: 3,
        ..Counts::default()
    };
    push(
        &mut profile,
        &["0x1: f (a.rs:1:2)", "0x2: main (a.rs:9:1)"],
        counts,
    );
    profile
}
