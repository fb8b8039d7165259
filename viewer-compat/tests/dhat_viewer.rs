//! The viewer opens sound files, and broken ones are either refused by it or caught by our own check.

use serde_json::{Value, json};
use viewer_compat::{
    DhatViewer, Picture, Programs, Viewed, ViewerError, file_sums, open_in_dhat_viewer,
};

/// Every mandatory key and nothing else, with block lifetimes and access counts.
fn sample() -> Value {
    json!({
        "dhatFileVersion": 2, "mode": "heap", "verb": "Allocated",
        "bklt": true, "bkacc": true,
        "tu": "µs", "Mtu": "s", "tuth": 10,
        "cmd": "sample --with 'quotes' <and> undefined", "pid": 4242,
        "tg": 600, "te": 1000,
        "pps": [
            point([100, 4, 900, 75, 3, 75, 3, 25, 1, 40, 100], json!([1, 3])),
            point([50, 1, 500, 50, 1, 50, 1, 0, 0, 0, 50], json!([2, 3])),
            point([7, 7, 70, 1, 1, 0, 0, 0, 0, 1, 7], json!([1, 4, 3])),
        ],
        "ftbl": [
            "[root]",
            "0x1000: alloc::vec::Vec<T>::with_capacity (vec.rs:10:5)",
            "0x2000: sample::undefined::<NaN, Infinity> (main.rs:20:9)",
            "0x3000: main (main.rs:30:1)",
            "0x4000: <impl FnOnce() for &dyn Fn()>::call_once{{closure}} (function.rs:250:5)",
        ],
    })
}

fn point(numbers: [u64; 11], frames: Value) -> Value {
    let [tb, tbk, tl, mb, mbk, gb, gbk, eb, ebk, rb, wb] = numbers;
    json!({
        "tb": tb, "tbk": tbk, "tl": tl, "mb": mb, "mbk": mbk, "gb": gb, "gbk": gbk,
        "eb": eb, "ebk": ebk, "rb": rb, "wb": wb, "fs": frames,
    })
}

fn view(file: &Value) -> Result<Viewed, ViewerError> {
    open_in_dhat_viewer(&file.to_string())
}

#[track_caller]
fn refusal(text: &str) -> String {
    match open_in_dhat_viewer(text) {
        Err(ViewerError::Refused(message)) => message,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn unsound(file: &Value) -> Viewed {
    let viewed = view(file).expect("the viewer takes it without a word");
    assert!(!viewed.problems().is_empty(), "an unsound file passed");
    viewed
}

#[test]
fn a_sound_file_is_shown_whole() {
    let file = sample().to_string();
    let viewed = open_in_dhat_viewer(&file).unwrap();
    viewed.assert_sound();

    assert_eq!(viewed.totals, file_sums(&file));
    assert_eq!(viewed.totals.total_bytes, Some(157));
    assert_eq!(viewed.totals.max_bytes, Some(126));
    assert_eq!(viewed.header("Mode"), Some("heap"));
    assert_eq!(
        viewed.header("Command"),
        Some("sample --with 'quotes' <and> undefined")
    );
    assert_eq!(viewed.header("PID"), Some("4242"));
    assert_eq!(
        viewed.header("t-gmax"),
        Some("600 µs (60% of program duration)")
    );
    assert_eq!(viewed.header("t-end"), Some("1,000 µs"));

    // The root, 1 with its two children 3 and 4-3, and 2-3.
    assert_eq!(viewed.tree_nodes, 5);
    assert_eq!(viewed.frames.len(), 5);
    assert_eq!(viewed.frames[0], "[root]");

    // All fourteen sort metrics, because the file has lifetimes and accesses.
    assert_eq!(
        (viewed.metrics.len(), viewed.disabled_metrics.len()),
        (14, 0)
    );
    let at_gmax = viewed.metric("At t-gmax (bytes)").unwrap();
    assert!(
        at_gmax
            .text
            .contains("At t-gmax: 125 bytes (100%) in 4 blocks (100%)"),
        "{}",
        at_gmax.text
    );
    assert!(
        at_gmax
            .text
            .contains("threshold: at-t-gmax >= 1.25 bytes (1%)"),
        "{}",
        at_gmax.text
    );
    let low = viewed.metric("Total (bytes), low-access").unwrap();
    assert!(
        low.text.contains("Reads:     40 bytes (97.56%, 40,000/s)"),
        "{}",
        low.text
    );
}

#[test]
fn a_file_without_lifetimes_and_accesses_is_sound() {
    let mut file = sample();
    file["bklt"] = json!(false);
    file["bkacc"] = json!(false);
    file["mode"] = json!("ad-hoc");
    (file["bu"], file["bsu"], file["bksu"]) = (json!("unit"), json!("units"), json!("events"));
    for point in file["pps"].as_array_mut().unwrap() {
        *point = json!({ "tb": point["tb"], "tbk": point["tbk"], "fs": point["fs"] });
    }
    let viewed = view(&file).unwrap();
    viewed.assert_sound();

    assert_eq!(viewed.totals, file_sums(&file.to_string()));
    assert_eq!(viewed.totals.at_gmax_bytes, None);
    let labels: Vec<&str> = viewed
        .metrics
        .iter()
        .map(|metric| metric.label.as_str())
        .collect();
    assert_eq!(
        labels,
        ["Total (units)", "Total (events)", "Total (events), tiny"]
    );
    assert_eq!(viewed.disabled_metrics.len(), 11);
}

#[test]
fn an_empty_profile_is_sound() {
    let mut file = sample();
    file["pps"] = json!([]);
    file["ftbl"] = json!(["[root]"]);
    let viewed = view(&file).unwrap();
    viewed.assert_sound();
    assert_eq!((viewed.totals.total_bytes, viewed.tree_nodes), (Some(0), 1));
}

#[test]
fn missing_fields_are_refused() {
    let mut file = sample();
    file["pps"][1].as_object_mut().unwrap().remove("gb");
    assert!(refusal(&file.to_string()).contains("missing a field: gb"));

    let mut file = sample();
    file.as_object_mut().unwrap().remove("ftbl");
    assert!(refusal(&file.to_string()).contains("missing a field: ftbl"));
}

#[test]
fn a_repeated_stack_is_refused() {
    let mut file = sample();
    file["pps"][2]["fs"] = file["pps"][1]["fs"].clone();
    assert!(refusal(&file.to_string()).contains("repeated location"));
}

#[test]
fn another_version_and_a_cut_file_are_refused() {
    let mut file = sample();
    file["dhatFileVersion"] = json!(3);
    assert!(refusal(&file.to_string()).contains("version number 3, expected version number 2"));

    let text = sample().to_string();
    assert!(refusal(&text[..text.len() / 2]).contains("SyntaxError"));
}

#[test]
fn a_frame_outside_the_table_is_detected() {
    let mut file = sample();
    file["pps"][1]["fs"] = json!([2, 99]);
    let viewed = unsound(&file);
    assert_eq!(viewed.flaws, ["pps[1].fs: 99"]);
    assert!(viewed.frames.contains(&"undefined".to_owned()));
    assert!(viewed.nonsense_words > 0);
}

#[test]
fn numbers_the_viewer_cannot_add_are_detected() {
    let mut file = sample();
    let first = file["pps"][0].as_object_mut().unwrap();
    first.remove("tl");
    first.insert("tb".into(), json!("100"));
    first.insert("eb".into(), json!(-25));
    first.insert("mb".into(), json!(1_u64 << 53));
    let viewed = unsound(&file);
    let found = viewed.flaws.join("\n");
    for expected in [
        "pps[0].tl: undefined",
        "pps[0].tb: \"100\"",
        "pps[0].eb: -25",
        "pps[0].mb: 9007199254740992",
        "the viewer's total lifetimes: NaN",
        "the viewer's bytes at t-end: -25",
    ] {
        assert!(found.contains(expected), "no {expected:?} in {found}");
    }
    assert!(viewed.nonsense_words > 0);
    assert_eq!(viewed.totals.total_lifetimes, None);
}

#[test]
fn a_program_that_took_no_time_is_detected() {
    let mut file = sample();
    file["te"] = json!(0);
    let viewed = unsound(&file);
    assert!(
        viewed.flaws.contains(&"te: 0".to_owned()),
        "{:?}",
        viewed.flaws
    );
    assert!(viewed.nonsense_words > 0);
}

#[test]
fn the_picture_has_the_size_of_the_page() {
    let programs = Programs::find().unwrap();
    let mut viewer = DhatViewer::open(&programs, &sample().to_string()).unwrap();
    let mut picture = Picture {
        sort_metric: Some("At t-end (bytes)".into()),
        max_width: 900,
        max_height: 5000,
    };
    let png = viewer.picture(&picture).unwrap();
    assert_eq!(png[1..4], *b"PNG");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    let (width, height) = (number(16), number(20));
    assert_eq!(width, 900);
    assert!((500..2000).contains(&height), "{height}");

    picture.sort_metric = Some("Total (blocks), imagined".into());
    assert!(matches!(
        viewer.picture(&picture),
        Err(ViewerError::Refused(_))
    ));
}

#[test]
fn a_missing_program_names_its_package() {
    let found = Programs::find().unwrap();
    let without_viewer = Programs {
        viewer_page: "/nowhere/dh_view.html".into(),
        ..found.clone()
    };
    let without_chromium = Programs {
        chromium: "/nowhere/chromium".into(),
        ..found
    };
    for (programs, package) in [
        (without_viewer, "`valgrind`"),
        (without_chromium, "`chromium`"),
    ] {
        match DhatViewer::open(&programs, "{}") {
            Err(ViewerError::Missing(message)) => {
                assert!(
                    message.contains(package) && message.contains("scripts/setup.sh"),
                    "{message}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}
