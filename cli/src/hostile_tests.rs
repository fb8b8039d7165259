//! Real files, changed byte by byte and value by value: whatever is read is taken by everything that is made
//! of a profile, and a profile that was written is read as it was.

use std::path::Path;

use heapledger_formats::diff_flame;
use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use heapledger_formats::{
    callgrind, dhat, firefox, flame, folded, massif, pprof, read, speedscope, text,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::figures::Figure;
use crate::merge::Merged;
use crate::sites::{Grouping, Sites};
use crate::{diff, names, notes, report, resolve, top};

const FILES: [&str; 7] = [
    include_str!("../tests/files/log_before.json"),
    include_str!("../tests/files/log_after.json"),
    include_str!("../tests/files/valgrind.json"),
    include_str!("../tests/files/valgrind-ad-hoc.json"),
    include_str!("../tests/files/valgrind-copy.json"),
    include_str!("../tests/files/dhat-rs.json"),
    include_str!("../tests/files/heapscope.json"),
];

/// Returns whether it is a profile.
fn check(bytes: &[u8]) -> bool {
    let Ok(profile) = read::from_slice(bytes) else {
        return false;
    };
    let written = dhat_of(&profile);
    let again = read::from_slice(&written).expect("what was written is read");
    // Numbers are cut at 2^53 and points of equal frames summed up once.
    assert_eq!(
        String::from_utf8(dhat_of(&again)).unwrap(),
        String::from_utf8(written).unwrap()
    );
    write_all(&profile);
    shown(&profile);

    let mut merged = Merged::like(&profile, Path::new("a"), true);
    merged.add(&profile, Path::new("a")).expect("the same kind");
    merged.add(&again, Path::new("b")).expect("the same kind");
    let merged = merged.into_profile();
    read::from_slice(&dhat_of(&merged)).expect("what was merged is read");
    shown(&merged);

    let figure = Figure::Metric(Metric::TotalBytes);
    let changes = diff::changes(&profile, &merged, figure);
    // What differs, and what does not, is all that there is.
    let before: u128 = changes.iter().map(|change| change.before).sum();
    let after: u128 = changes.iter().map(|change| change.after).sum();
    assert_eq!(before + figure.sum(&merged), after + figure.sum(&profile));
    let _ = diff_flame::write(
        &profile,
        &merged,
        &diff_flame::Options::default(),
        std::io::sink(),
    );
    true
}

fn dhat_of(profile: &Profile) -> Vec<u8> {
    let mut written = Vec::new();
    dhat::write(profile, &dhat::Options::default(), &mut written).expect("takes every profile");
    written
}

/// A format may have no place for a profile; what it takes is whole.
fn write_all(profile: &Profile) {
    let mut svg = Vec::new();
    if flame::write(profile, &flame::Options::default(), &mut svg).is_ok() {
        let svg = String::from_utf8(svg).unwrap();
        assert!(
            !svg.contains(|c| text::is_deceptive(c) && c != '\n'),
            "{svg}"
        );
        assert!(
            svg.ends_with("</svg>\n") || svg.ends_with("</svg>"),
            "{svg}"
        );
    }
    let mut lines = Vec::new();
    if folded::write(profile, &folded::Options::default(), &mut lines).is_ok() {
        for line in String::from_utf8(lines).unwrap().lines() {
            let size = line
                .rsplit_once(' ')
                .and_then(|(_, size)| size.parse::<u64>().ok());
            assert!(size.is_some(), "{line}");
        }
    }
    let mut json = Vec::new();
    if firefox::write(profile, &firefox::Options::default(), &mut json).is_ok() {
        serde_json::from_slice::<Value>(&json).unwrap();
    }
    let mut json = Vec::new();
    if speedscope::write(profile, &speedscope::Options::default(), &mut json).is_ok() {
        serde_json::from_slice::<Value>(&json).unwrap();
    }
    let _ = pprof::write(profile, &pprof::Options::default(), std::io::sink());
    let _ = massif::write(profile, &massif::Options::default(), std::io::sink());
    let mut text = Vec::new();
    callgrind::write(profile, &callgrind::Options::default(), &mut text).expect("takes every kind");
    assert!(
        !String::from_utf8(text)
            .unwrap()
            .contains(|c| text::is_deceptive(c) && c != '\n')
    );
}

fn shown(profile: &Profile) {
    assert!(report::page(profile).unwrap().ends_with("</html>\n"));
    notes::notes(profile);
    resolve::note(profile);
    let sites = Sites::new(profile);
    let groupings = [
        Grouping::Point,
        Grouping::Site,
        Grouping::Own,
        Grouping::Function,
        Grouping::Crate,
        Grouping::File,
        Grouping::Type,
    ];
    for figure in Figure::of_profile(profile) {
        let whole = figure.sum(profile);
        for grouping in groupings {
            let rows = top::rows(&sites, figure, grouping);
            assert_eq!(rows.iter().map(|row| row.value).sum::<u128>(), whole);
        }
    }
    for number in 0..profile.frames.len() {
        names::base_name(sites.frame(u32::try_from(number).unwrap()).name);
    }
}

/// What a stranger may put in the place of a value.
fn hostile(choice: u8) -> Value {
    match choice % 16 {
        0 => json!(0),
        1 => json!(u64::MAX),
        2 => json!((1_u64 << 53) + 1),
        3 => json!(-1),
        4 => json!(1.5),
        5 => json!(u32::MAX),
        6 => json!(""),
        7 => json!("a\u{0}\u{1b}[31m\u{202e}\u{ffff}\r\n;|`<script>]]>"),
        8 => json!(" ("),
        9 => json!("0xffffffffffffffff: ??? (in )"),
        10 => json!("f (::4294967296:)"),
        11 => json!([]),
        12 => json!({}),
        13 => json!(true),
        14 => json!([1, 1, 1]),
        _ => Value::Null,
    }
}

/// Changes the value that is the `at`th on the way through the whole.
fn change(value: &mut Value, at: &mut usize, choice: u8) {
    if *at == 0 {
        *at = usize::MAX;
        *value = hostile(choice);
        return;
    }
    *at -= 1;
    match value {
        Value::Array(list) => {
            // Twice the same, or one less, is a change of the list.
            if *at == 0 && choice >= 128 && !list.is_empty() {
                *at = usize::MAX;
                let last = list.pop().expect("not empty");
                if choice >= 192 {
                    list.extend([last.clone(), last]);
                }
                return;
            }
            for value in list {
                change(value, at, choice);
            }
        }
        Value::Object(map) => {
            for value in map.values_mut() {
                change(value, at, choice);
            }
        }
        _ => {}
    }
}

/// With everything that heapledger adds.
fn extended() -> Value {
    let mut value: Value = serde_json::from_str(FILES[0]).unwrap();
    value["heapledger"] = json!({
        "version": 1, "capture": "cfi", "exact": {"peak": true, "merged_profiles": 3, "peak_slack_bytes": 1},
        "refused": {"dropped_allocs": 3},
        "timeline": {"moments": [{"time": 1, "bytes": 5, "blocks": 1, "top": [[0, 5], [1, 2]]}, {"time": 4, "peak": true}]},
        "modules": [{"path": "/a", "build_id": "00", "start": 1, "end": 2}], "cpu_ns": 5, "profiler_cpu_ns": 5,
        "processes": [{"pid": 1, "command": "c", "file": "f"}],
    });
    value["pps"][1]["heapledger"] = json!({
        "reallocs": 1, "copied_bytes": 2, "largest_bytes": 3,
        "estimate": {"samples": 1, "tb": [1, 2], "tbk": [1, 2], "eb": [1, 2], "ebk": [1, 2]},
        "touch": {"blocks": 1, "bytes": 2, "written_bytes": 1, "tail_bytes": 1, "all_bytes": 2, "all_written_bytes": 1,
            "all_tail_bytes": 1, "all_written_interval": [1, 2], "unmeasured_blocks": 1},
        "time": {"alloc_ns": 1, "realloc_ns": 1, "free_ns": 1, "samples": 1},
        "by_process": [{"process": 0, "total_bytes": 1}],
    });
    value
}

#[test]
fn files_as_they_are() {
    for text in FILES {
        assert!(check(text.as_bytes()));
    }
    assert!(check(extended().to_string().as_bytes()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn changed_bytes(
        file in 0..FILES.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..4),
    ) {
        let mut bytes = FILES[file].as_bytes().to_vec();
        for (at, byte, kind) in changes {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes[at] = b'0' + byte % 10,
                2 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        check(&bytes);
    }

    #[test]
    fn changed_values(
        file in 0..=FILES.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut value = match FILES.get(file) {
            Some(text) => serde_json::from_str(text).unwrap(),
            None => extended(),
        };
        let count = value.to_string().matches([',', '[', '{']).count();
        for (at, choice) in changes {
            change(&mut value, &mut at.index(count), choice);
        }
        check(value.to_string().as_bytes());
    }
}
