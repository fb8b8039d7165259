//! The flame graph of the report in a real browser: what it draws, and what it says of it.

mod support;

use serde_json::{Value, json};
use support::file;
use support::page::Page;

/// From a function of the flame graph to the sites under it, and to their stacks.
#[test]
fn under_a_function() {
    let mut page = Page::of(&file("log_before.json"));
    page.ask("document.querySelector('#canvas').focus()");
    for _ in 0..3 {
        page.press("ArrowDown");
    }
    page.press("ArrowRight");
    assert!(
        page.text("#flame-status")
            .starts_with("to_string<str>: 8,934,931 bytes (8.9 MB), 31.8%")
    );
    assert_eq!(
        page.text("#flame-place"),
        "library/alloc/src/string.rs:2894"
    );
    page.click("#flame-details");
    assert_eq!(page.text("#details-title"), "to_string<str>");
    assert!(
        page.text("#details dl")
            .contains("8,934,931 bytes (8.9 MB)")
    );
    page.click("#close");
    page.click("#sites-below");
    assert!(page.has_focus("#tab-sites"));
    assert_eq!(page.text("#site-filter span"), "Under to_string<str>");
    assert_eq!(page.text("#site-table caption"), "1 site");
    assert_eq!(page.rows()[0][0], "8,934,931");
    page.search("main");
    assert_eq!(page.text("#site-table caption"), "1 site");
    page.search("collect");
    assert_eq!(page.text("#site-table caption"), "0 sites");
    page.click("#site-filter button");
    assert_eq!(page.text("#site-table caption"), "1 site");
    page.search("");
    assert_eq!(page.text("#site-table caption"), "3 sites");
    page.assert_quiet();
}

/// Where the standard library is hidden, what it is found in is not what called it.
#[test]
fn what_is_found_is_marked() {
    let mut page = Page::of(&file("log_before.json"));
    let mut marked = |needle: &str, click: Option<&str>| {
        page.search(needle);
        if let Some(selector) = click {
            page.click(selector);
        }
        let pixels = page.ask(
            "(canvas => {
                const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
                let count = 0;
                for (let at = 0; at < data.length; at += 4) count += data[at] === 0xf3 && data[at + 1] === 0xa6 && data[at + 2] === 0xdc;
                return count;
            })(document.querySelector('#canvas'))",
        );
        pixels.as_u64().unwrap() > 100
    };
    assert!(marked("to_string", None));
    assert!(!marked("nowhere", None));
    assert!(!marked("to_string", Some("#hide-standard")));
    assert!(marked("process_logs", None));
}

/// A function of a dependency that is called like one's own is a box of its own with the standard library hidden, too.
#[test]
fn kinds_stay_apart() {
    let text = std::fs::read_to_string(file("log_before.json")).unwrap();
    let mut profile: Value = serde_json::from_str(&text).unwrap();
    profile["ftbl"] = json!([
        "[root]",
        "0x1: alike (src/main.rs:1:1)",
        "0x2: alike (/home/me/.cargo/registry/src/index/other-1.0.0/src/lib.rs:1:1)"
    ]);
    for (point, stack) in [[1], [2], [1]].iter().enumerate() {
        profile["pps"][point]["fs"] = json!(stack);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alike.json");
    std::fs::write(&path, profile.to_string()).unwrap();
    let mut page = Page::of(&path);
    for hides in [false, true] {
        if hides {
            page.click("#hide-standard");
        }
        page.ask("document.querySelector('#canvas').focus()");
        page.press("ArrowDown");
        assert_eq!(
            page.text("#flame-status"),
            "alike: 19,201,024 bytes (19.2 MB), 68.2%",
            "{hides}"
        );
    }
    page.assert_quiet();
}

/// What is told beside the pointer is of the figure that is shown.
#[test]
fn the_tip_is_of_the_picture() {
    let mut page = Page::of(&file("log_before.json"));
    let hover = "document.querySelector('#canvas').dispatchEvent(new MouseEvent('mousemove', {clientX: 300, clientY: document.querySelector('#canvas').getBoundingClientRect().top + 25}))";
    page.ask(hover);
    assert_eq!(
        page.text("#tip"),
        "log_before::main28,135,955 bytes (28.1 MB), 100.0%examples/log_before.rs:29"
    );
    page.choose("#figure", "total-blocks");
    assert_eq!(page.ask("document.querySelector('#tip').hidden"), true);
    page.ask(hover);
    assert_eq!(page.ask("document.querySelector('#tip').hidden"), false);
    assert!(
        page.text("#tip")
            .starts_with("log_before::main300,001 blocks, 100.0%")
    );
    page.assert_quiet();
}

/// Sharp where it can be, and never larger than what browsers draw.
#[test]
fn pictures_have_pixels_enough_and_not_too_many() {
    let text = std::fs::read_to_string(file("log_before.json")).unwrap();
    let mut profile: Value = serde_json::from_str(&text).unwrap();
    profile["pps"][0]["fs"] = json!(vec![1; 390]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep.json");
    std::fs::write(&path, profile.to_string()).unwrap();
    for (profile, wide, scale) in [
        (file("log_before.json"), 1003, 1.25),
        (file("log_before.json"), 1003, 3.0),
        (path, 2560, 3.0),
    ] {
        let mut page = Page::of(&profile);
        let size =
            json!({"width": wide, "height": 900, "deviceScaleFactor": scale, "mobile": false});
        page.browser
            .call("Emulation.setDeviceMetricsOverride", size)
            .unwrap();
        page.click("#tab-sites");
        page.click("#tab-flame");
        let picture = page.ask("(canvas => [canvas.width, canvas.height, canvas.clientWidth, canvas.clientHeight])(document.querySelector('#canvas'))");
        let [width, height, shown_width, shown_height] =
            [0, 1, 2, 3].map(|at| picture[at].as_f64().unwrap());
        if shown_width * shown_height * scale * scale < 16e6 {
            assert_eq!(width, (shown_width * scale).round(), "{picture}");
            assert_eq!(height, (shown_height * scale).round(), "{picture}");
        } else {
            let pixels = width * height;
            assert!((15.9e6..16.7e6).contains(&pixels), "{picture}");
        }
        page.assert_quiet();
    }
}

/// Ink is for what is told: paper is light, whatever the screen is.
#[test]
fn paper_is_light() {
    let mut page = Page::of(&file("log_before.json"));
    let mut shown = |media: &str| {
        let features = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        page.browser
            .call(
                "Emulation.setEmulatedMedia",
                json!({"media": media, "features": features}),
            )
            .unwrap();
        page.ask(
            "new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(resolve)))",
        );
        page.ask("[getComputedStyle(document.body).backgroundColor, ...document.querySelector('#canvas').getContext('2d').getImageData(300, 10, 1, 1).data]")
    };
    assert_eq!(
        shown("screen"),
        json!(["rgb(13, 17, 23)", 0x3a, 0x3d, 0x42, 255])
    );
    assert_eq!(
        shown("print"),
        json!(["rgb(255, 255, 255)", 0xe2, 0xe2, 0xe2, 255])
    );
}
