//! What the viewers rely on, and each kind of profile.

use std::collections::HashSet;

use serde_json::Value;

use super::*;
use crate::record::snapshot::{Counts, Snapshot};
use crate::report::sample;
use crate::report::trim::Trim;

fn json_of(snapshot: &Snapshot, trim: Trim) -> Value {
    let options = sample::options(trim);
    let profile = Profile::from_snapshot(snapshot, &options);
    let mut written = Vec::new();
    write(&profile, &mut written).unwrap();
    let json: Value = serde_json::from_slice(&written).unwrap();
    let pretty: Value = serde_json::from_str(&to_string_pretty(&profile)).unwrap();
    assert_eq!(json, pretty);
    assert_contract(&json, snapshot);
    json
}

/// What the viewers rely on.
fn assert_contract(json: &Value, snapshot: &Snapshot) {
    let is_heap = snapshot.kind == Kind::Heap;
    assert_eq!(json["dhatFileVersion"], 2);
    assert_eq!(json["bklt"], is_heap);
    assert_eq!(json["bkacc"], false);
    for key in ["mode", "verb", "tu", "Mtu", "cmd"] {
        assert!(json[key].is_string(), "{key}");
    }
    assert!(json["pid"].is_u64());
    assert!(json["te"].as_u64().unwrap() > 0);
    assert_eq!(json["tg"].is_u64(), is_heap);
    assert_eq!(json["tuth"].is_u64(), is_heap);
    for key in ["bu", "bsu", "bksu"] {
        assert_eq!(json[key].is_string(), !is_heap, "{key}");
    }

    let frames = json["ftbl"].as_array().unwrap();
    assert_eq!(frames[0], "[root]");
    let texts: HashSet<&str> = frames.iter().map(|frame| frame.as_str().unwrap()).collect();
    assert_eq!(texts.len(), frames.len(), "no frame stands twice");
    let points = json["pps"].as_array().unwrap();
    let mut seen = HashSet::new();
    let mut used = HashSet::from([0]);
    for point in points {
        let fs = point["fs"].as_array().unwrap();
        assert!(!fs.is_empty());
        for index in fs {
            let index = index.as_u64().unwrap() as usize;
            assert!(index > 0 && index < frames.len());
            used.insert(index);
        }
        assert!(seen.insert(fs), "no two points have the same frames");
        for key in ["tl", "mb", "mbk", "gb", "gbk", "eb", "ebk"] {
            assert_eq!(point[key].is_u64(), is_heap, "{key}");
        }
    }
    assert_eq!(used.len(), frames.len(), "every frame is used");

    let sum = |key| {
        points
            .iter()
            .map(|point| point[key].as_u64().unwrap())
            .sum::<u64>()
    };
    let totals = snapshot.totals;
    assert_eq!(
        (sum("tb"), sum("tbk")),
        (totals.total_bytes, totals.total_blocks)
    );
    if is_heap {
        assert_eq!(
            (sum("gb"), sum("gbk")),
            (totals.peak_bytes, totals.peak_blocks)
        );
        assert_eq!(
            (sum("eb"), sum("ebk")),
            (totals.live_bytes, totals.live_blocks)
        );
    }
}

#[test]
fn a_heap_profile() {
    let sites: &[(&[u64], Counts)] = &[
        (&[1, 2, 3], sample::counts(1200)),
        (&[1, 2, 4], sample::counts(2400)),
        (&[5], sample::counts(120)),
        (&[], sample::counts(12)),
    ];
    let snapshot = sample::snapshot(Kind::Heap, sites);
    let json = json_of(&snapshot, Trim::Off);
    assert_eq!(
        (&json["mode"], &json["tg"], &json["te"]),
        (&"heap".into(), &1500.into(), &2000.into())
    );
    assert_eq!(json["cmd"], "app --größe \"1\"");
    let first = &json["pps"][0];
    let expected = serde_json::json!({
        "tb": 2400, "tbk": 10, "tl": 77, "mb": 1200, "mbk": 5, "gb": 800, "gbk": 3,
        "eb": 600, "ebk": 2, "fs": [1, 2, 3],
        "heapledger": {"reallocs": 4, "copied_bytes": 200, "largest_bytes": 480},
    });
    assert_eq!(*first, expected);
    assert_eq!(json["heapledger"]["exact"]["merged_points"], 0);
    let merged = json_of(&snapshot, Trim::To(2));
    assert_eq!(merged["heapledger"]["exact"]["merged_points"], 1);
    assert_eq!(merged["pps"].as_array().unwrap().len(), 3);
}

#[test]
fn an_ad_hoc_profile() {
    let counts = Counts {
        total_blocks: 3,
        total_bytes: 30,
        ..Counts::default()
    };
    let json = json_of(
        &sample::snapshot(Kind::AdHoc, &[(&[1], counts)]),
        Trim::To(64),
    );
    assert_eq!(json["mode"], "ad-hoc");
    assert_eq!(
        json["pps"][0],
        serde_json::json!({"tb": 30, "tbk": 3, "fs": [1]})
    );
}

#[test]
fn an_empty_profile_of_no_time() {
    let mut snapshot = sample::snapshot(Kind::Heap, &[]);
    (snapshot.duration_us, snapshot.peak_at_us) = (0, 0);
    let json = json_of(&snapshot, Trim::To(64));
    assert_eq!(
        (&json["te"], &json["ftbl"]),
        (&1.into(), &serde_json::json!(["[root]"]))
    );
}

#[test]
fn names_of_a_real_program_survive() {
    let stack = sample::own_stack();
    let mut snapshot = sample::snapshot(Kind::Heap, &[(&stack, sample::counts(8))]);
    snapshot.modules.push(sample::this_program());
    let json = json_of(&snapshot, Trim::Off);
    let frames = json["ftbl"].as_array().unwrap();
    let is_this_test = |frame: &&Value| {
        let text = frame.as_str().unwrap();
        text.contains("names_of_a_real_program_survive") && text.contains("report/dhat/tests.rs:")
    };
    assert!(
        frames.iter().any(|frame| is_this_test(&frame)),
        "{frames:#?}"
    );
}

#[test]
fn numbers_stay_exact_in_javascript() {
    let counts = Counts {
        lifetimes_us: u64::MAX,
        ..sample::counts(12)
    };
    let json = json_of(
        &sample::snapshot(Kind::Heap, &[(&[1], counts)]),
        Trim::To(64),
    );
    assert_eq!(json["pps"][0]["tl"], 1_u64 << 53);
}

#[test]
fn one_line_a_point() {
    let sites: &[(&[u64], Counts)] = &[(&[1, 2], sample::counts(24)), (&[3], sample::counts(12))];
    let snapshot = sample::snapshot(Kind::Heap, sites);
    let options = sample::options(Trim::Off);
    let mut written = Vec::new();
    write(&Profile::from_snapshot(&snapshot, &options), &mut written).unwrap();
    let text = String::from_utf8(written).unwrap();
    let points: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("{\"tb\":"))
        .collect();
    assert_eq!(points.len(), 2, "{text}");
    assert!(
        points.iter().all(|line| line.contains("\"fs\":[")),
        "{text}"
    );
}
