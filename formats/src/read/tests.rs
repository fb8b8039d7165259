use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::Mode;

fn sample() -> Value {
    json!({
        "dhatFileVersion": 2, "mode": "heap", "verb": "Allocated", "bklt": true, "bkacc": true,
        "tu": "instrs", "Mtu": "Minstr", "tuth": 500, "cmd": "app \u{fc}", "pid": 12, "tg": 7, "te": 9,
        "unknown": [{"deep": [1.5, null]}],
        "pps": [
            {"tb": 10, "tbk": 2, "tl": 3, "mb": 8, "mbk": 1, "gb": 8, "gbk": 1, "eb": 0, "ebk": 0,
             "rb": 4, "wb": 5, "acc": [-3, 2, 0, 65535], "fs": [2, 1], "also": "unknown"},
            {"tb": 1, "tbk": 1, "tl": 3, "mb": 8, "mbk": 1, "gb": 8, "gbk": 1, "eb": 0, "ebk": 0,
             "rb": 0, "wb": 0, "fs": [1], "heapledger": {"reallocs": 3, "new": true}},
        ],
        "ftbl": ["[root]", "0x1: main (main.rs:1)", "0x2: f (main.rs:2)"],
    })
}

fn parse(value: &Value) -> Result<Profile, ReadError> {
    from_slice(value.to_string().as_bytes())
}

/// The error after `change` was made to the sample.
fn refusal(change: impl FnOnce(&mut Value)) -> String {
    let mut value = sample();
    change(&mut value);
    parse(&value).unwrap_err().to_string()
}

#[test]
fn all_fields() {
    let profile = parse(&sample()).unwrap();
    assert_eq!(profile.mode, Mode::Heap);
    assert_eq!(profile.command, "app ü");
    assert_eq!((profile.peak_time, profile.end_time), (Some(7), 9));
    assert_eq!(profile.short_lived_below, Some(500));
    assert_eq!(profile.time_units, ("instrs".into(), "Minstr".into()));
    let point = &profile.points[0];
    assert_eq!(profile.stack(point), [2, 1]);
    assert_eq!(point.counts.total_bytes, 10);
    assert_eq!(point.counts.written_bytes, 5);
    assert_eq!(profile.histograms, [(0, vec![2, 2, 2, 0, 65535])]);
    assert_eq!(profile.stack(&profile.points[1]), [1]);
    let reallocs: Vec<u64> = profile
        .point_extensions
        .iter()
        .map(|e| e.reallocs)
        .collect();
    assert_eq!(reallocs, [0, 3]);
    assert_eq!(&*profile.frames[2], "0x2: f (main.rs:2)");
}

#[test]
fn flags_may_follow_the_points() {
    let text = br#"{"pps":[{"fs":[0],"tbk":1,"tb":2}],"ftbl":["0x1: f"],"te":1,"pid":1,"cmd":"",
        "Mtu":"","tu":"","bu":"unit","bsu":"units","bksu":"events","bkacc":false,"bklt":false,
        "verb":"","mode":"ad-hoc","dhatFileVersion":2}"#;
    let profile = from_slice(text).unwrap();
    assert_eq!(profile.units.as_ref().unwrap().blocks, "events");
    // A table without [root] gets one.
    assert_eq!(&*profile.frames[0], "[root]");
    assert_eq!(profile.stack(&profile.points[0]), [1]);
}

#[test]
fn modes() {
    for (name, mode) in [
        ("rust-heap", Mode::Heap),
        ("ad-hoc", Mode::AdHoc),
        ("copy", Mode::Copy),
    ] {
        let mut value = sample();
        value["mode"] = name.into();
        assert_eq!(parse(&value).unwrap().mode, mode);
    }
    assert_eq!(
        refusal(|value| value["mode"] = "a\u{1b}".into()),
        "mode: `a\\u{1b}` is not a mode of DHAT: heap, rust-heap, ad-hoc or copy (at byte 154)"
    );
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let wrong = refusal(|value| value["pps"][1]["gb"] = json!(-5));
    assert!(
        wrong.starts_with("pps[1].gb: invalid value: integer `-5`, expected u64 (at byte "),
        "{wrong}"
    );
    let wrong = refusal(|value| value["pps"][0]["tb"] = json!(1.5));
    assert!(
        wrong.starts_with("pps[0].tb: invalid type: floating point `1.5`"),
        "{wrong}"
    );
    let wrong = refusal(|value| value["te"] = json!("9"));
    assert!(
        wrong.starts_with("te: invalid type: string \"9\""),
        "{wrong}"
    );
    assert_eq!(
        refusal(|value| value["pps"][0]["fs"] = json!([1, 3])),
        "pps[0].fs[1]: frame 3 is out of range, since \"ftbl\" has 3"
    );
    let without = |key: &'static str| {
        refusal(move |value| {
            value["pps"][1].as_object_mut().unwrap().remove(key);
        })
    };
    assert_eq!(
        without("tl"),
        "pps[1]: the key \"tl\" is missing, which \"bklt\" promises"
    );
    assert_eq!(
        without("wb"),
        "pps[1]: the key \"wb\" is missing, which \"bkacc\" promises"
    );
    assert_eq!(without("tbk"), "pps[1]: the key \"tbk\" is missing");
    for key in [
        "mode",
        "verb",
        "bklt",
        "bkacc",
        "tu",
        "Mtu",
        "cmd",
        "pid",
        "tg",
        "te",
        "tuth",
        "pps",
        "ftbl",
        "dhatFileVersion",
    ] {
        let wrong = refusal(|value| {
            value.as_object_mut().unwrap().remove(key);
        });
        assert!(
            wrong.starts_with(&format!("{key}: the key is missing")),
            "{wrong}"
        );
    }
    let wrong = refusal(|value| value["bu"] = "unit".into());
    assert!(wrong.contains("some are missing"), "{wrong}");
    let wrong = refusal(|value| value["pps"][0]["acc"] = json!([-1025, 1]));
    assert!(
        wrong.contains("pps[0].acc: access counts of more than 1024 bytes"),
        "{wrong}"
    );
    let wrong = refusal(|value| value["pps"][0]["acc"] = json!([-5]));
    assert!(wrong.contains("a run without its count"), "{wrong}");
}

#[test]
fn the_offset_is_that_of_the_value() {
    let text = "{\n \"dhatFileVersion\": 2,\n \"pid\": x}";
    let wrong = from_slice(text.as_bytes()).unwrap_err();
    let ReadError::Invalid { offset, .. } = wrong else {
        panic!("{wrong}");
    };
    assert_eq!(offset, text.find('x'));
}

#[test]
fn other_files() {
    let error = |text: &[u8]| from_slice(text).unwrap_err().to_string();
    assert_eq!(error(b" \n"), "not JSON: the file is empty");
    assert!(error(b"\x1f\x8b\x08").contains("gunzip"));
    assert!(error(b"\x7fELF\x02").contains("it is a program"));
    assert!(error(b"PK\x03\x04").contains("unpack it first"));
    for utf_16 in [&b"\xff\xfe{\0"[..], b"\xfe\xff\0{", b"{\0\n\0", b"\0{\0\n"] {
        assert!(error(utf_16).contains("UTF-16"), "{utf_16:?}");
    }
    assert!(error(b"[1]").contains("byte 0 is 0x5b"));
    assert!(error(b"{\"a\": 1}").starts_with("dhatFileVersion: the key is missing"));
    assert!(error(b"{\"dhatFileVersion\": 1").contains("is of version 1"));
    let mut twice = sample().to_string();
    twice.insert_str(1, "\"pid\":1,");
    assert!(error(twice.as_bytes()).starts_with("pid: the key stands twice"));
    let mut more = sample().to_string();
    more.push_str(" {}");
    assert!(error(more.as_bytes()).contains("trailing characters"));
}

/// As Valgrind writes arguments that are no UTF-8.
#[test]
fn bytes_that_are_no_text() {
    let text = sample().to_string();
    let (before, after) = text.split_once("app").unwrap();
    let bytes = [before.as_bytes(), b"a\xff\xc3p\xc3\xbc", after.as_bytes()].concat();
    let profile = from_slice(&bytes).unwrap();
    assert_eq!(profile.command, "a??pü ü");
    let wrong = [before.as_bytes(), b"\xff\", x", after.as_bytes()].concat();
    let ReadError::Invalid { offset, .. } = from_slice(&wrong).unwrap_err() else {
        panic!("no place");
    };
    assert_eq!(offset, wrong.iter().position(|&byte| byte == b'x'));
}

/// What never ends is read no further than what shows that it is no profile.
#[test]
fn pipes() {
    struct Endless(u64);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0 += buffer.len() as u64;
            assert!(self.0 < 1 << 20, "reads on");
            buffer.fill(0);
            Ok(buffer.len())
        }
    }
    let error = from_reader(Endless(0), 0).unwrap_err();
    assert!(matches!(error, ReadError::NotJson(_)), "{error}");
    let text = format!("{}{}", " ".repeat(9000), sample());
    let profile = from_reader(text.as_bytes(), 0).unwrap();
    assert_eq!(profile.points.len(), 2);
}

#[test]
fn paths() {
    let folder = std::env::temp_dir();
    assert!(matches!(from_path(&folder), Err(ReadError::Directory)));
    let missing = folder.join("heapledger-no-such-file.json");
    assert!(matches!(from_path(&missing), Err(ReadError::Unreadable(_))));
}

/// Its order is that of the file, so that cutting it off tells how far the reader came.
const ORDERED: &str = r#"{"dhatFileVersion":2,"mode":"heap","verb":"Allocated","bklt":false,
"bkacc":false,"tu":"s","Mtu":"Ms","cmd":"app","pid":1,"te":9,"pps":[
{"tb":8,"tbk":1,"fs":[1,2]},
{"tb":9,"tbk":1,"acc":[-3,1,5],"fs":[1],"heapledger":{"touch":{"blocks":4,"all_written_interval":[1,2]}}}],
"ftbl":["[root]","0x1: main (main.rs:1)","0x2: \u00fc (in /lib/c.so)"],
"heapledger":{"version":1,"timeline":{"moments":[{"time":1,"top":[[0,5]]}]}}}"#;

#[test]
fn every_truncation_says_so() {
    assert!(from_slice(ORDERED.as_bytes()).is_ok());
    for length in 1..ORDERED.len() {
        let text = &ORDERED.as_bytes()[..length];
        match from_slice(text).unwrap_err() {
            ReadError::Truncated { offset, .. } => assert_eq!(offset, length),
            other => panic!("{length}: {other}"),
        }
    }
    let at = ORDERED.find("\"tbk\":1,\"acc\"").unwrap() + 6;
    let error = from_slice(&ORDERED.as_bytes()[..at])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        format!("truncated: the file ends at byte {at}, in pps[1].tbk")
    );
}

proptest! {
    #[test]
    fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = from_slice(&text);
        let _ = from_slice(&[b"{\"pps\":[{\"fs\":[", &text[..]].concat());
    }

    #[test]
    fn changed_bytes_never_panic_and_never_leave_an_index_out_of_range(
        changes in proptest::collection::vec((0..ORDERED.len(), any::<u8>()), 1..4),
        digits in any::<bool>(),
    ) {
        let mut text = ORDERED.as_bytes().to_vec();
        for (at, byte) in changes {
            text[at] = if digits { b'0' + byte % 10 } else { byte };
        }
        if let Ok(profile) = from_slice(&text) {
            for point in &profile.points {
                for &frame in profile.stack(point) {
                    prop_assert!((frame as usize) < profile.frames.len());
                }
            }
        }
    }
}
