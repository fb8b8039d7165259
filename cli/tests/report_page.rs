//! The report in a real browser: what a user clicks and types, and what then stands there.

mod support;

use serde_json::{Value, json};
use support::page::Page;
use support::{LIMIT, big_profile, file, heapledger, printed};
use viewer_compat::{Browser, Programs};

const FILES: [&str; 6] = [
    "log_before.json",
    "valgrind.json",
    "valgrind-ad-hoc.json",
    "valgrind-copy.json",
    "dhat-rs.json",
    "heapscope.json",
];

#[test]
fn what_a_user_clicks_and_types() {
    let mut page = Page::of(&file("log_before.json"));
    assert_eq!(page.ask("document.title"), "log_before – heap profile");
    assert!(
        page.text("#totals")
            .contains("28,135,955 bytes (28.1 MB) in 300,001 blocks")
    );

    // The flame graph, by keyboard: down to main, to its largest callee, in, and out.
    page.ask("document.querySelector('#canvas').focus()");
    assert_eq!(
        page.text("#flame-status"),
        "[root]: 28,135,955 bytes (28.1 MB), 100.0%"
    );
    page.press("ArrowDown");
    assert_eq!(
        page.text("#flame-status"),
        "log_before::main: 28,135,955 bytes (28.1 MB), 100.0%"
    );
    page.press("ArrowDown");
    assert!(
        page.text("#flame-status")
            .starts_with("process_logs: 28,134,931 bytes")
    );
    page.press("ArrowDown");
    page.press("ArrowRight");
    assert!(
        page.text("#flame-status")
            .starts_with("to_string<str>: 8,934,931 bytes")
    );
    page.press("Enter");
    assert_eq!(
        page.ask("document.querySelector('#zoom-out').disabled"),
        false
    );
    page.press("Escape");
    assert_eq!(
        page.ask("document.querySelector('#zoom-out').disabled"),
        true
    );

    // Without the standard library, whose functions' bytes are their callers'.
    page.click("#hide-standard");
    for status in [
        "log_before::main: 28,135,955 bytes",
        "process_logs: 28,134,931 bytes",
        "process_logs: 28,134,931 bytes",
    ] {
        page.press("ArrowDown");
        let shown = page.text("#flame-status");
        assert!(shown.starts_with(status), "{shown}");
    }
    assert_eq!(
        page.text("#flame-place"),
        "examples/log_before.rs:16 and 1 other line"
    );
    page.click("#hide-standard");
    assert!(page.text("#flame-status").starts_with("[root]"));
    page.ask("document.querySelector('#canvas').focus()");

    // By mouse: the second row is main, over the whole width.
    page.ask("document.querySelector('#canvas').dispatchEvent(new MouseEvent('click', {clientX: 300, clientY: document.querySelector('#canvas').getBoundingClientRect().top + 25}))");
    assert!(page.text("#flame-status").starts_with("log_before::main"));

    // Another figure.
    page.choose("#figure", "peak-bytes");
    assert_eq!(
        page.text("#flame-status"),
        "log_before::main: 1,024 bytes, 100.0%"
    );
    page.choose("#figure", "total-blocks");
    assert_eq!(
        page.text("#flame-status"),
        "log_before::main: 300,001 blocks, 100.0%"
    );

    // Sites: sorted by the figure, then by another column, then the other way round.
    page.click("#tab-sites");
    assert_eq!(page.text("#site-table caption"), "3 sites");
    assert!(
        page.text("#site-table tbody tr")
            .starts_with("200,00066.7%process_logs")
    );
    page.click("#site-table th:nth-child(6) button");
    let peak = page.text("#site-table th[aria-sort=descending]");
    assert!(
        peak.contains("live at the end") || peak.contains("live at the peak"),
        "{peak}"
    );
    assert!(
        page.text("#site-table tbody tr td.name")
            .starts_with("log_before::main")
    );
    page.click("#site-table th:nth-child(6) button");
    assert!(!page.text("#site-table th[aria-sort=ascending]").is_empty());
    // Sorted by the figure is sorted by whichever figure is chosen.
    page.click("#site-table th:first-child button");
    page.choose("#figure", "total-bytes");
    let sorted = page.text("#site-table th[aria-sort=descending]");
    assert_eq!(sorted, page.text("#site-table th:first-child"));
    page.choose("#figure", "total-blocks");

    // Search.
    page.search("TO_STRING");
    assert_eq!(page.text("#site-table caption"), "1 site");
    assert!(
        page.text("#found").ends_with("in 1 stack") && page.text("#found").starts_with("33.3%"),
        "{}",
        page.text("#found")
    );

    // Through to the stack, and back by Escape to where one was.
    page.click("#site-table tbody .link");
    assert_eq!(
        page.text("#details-title"),
        "process_logs (examples/log_before.rs:15) through to_string [String]"
    );
    let facts = page.text("#details dl");
    assert!(
        facts.contains("mean size89") && facts.contains("8,934,931 bytes (8.9 MB)"),
        "{facts}"
    );
    let stack = page.text("#details ol");
    assert!(
        stack.contains("to_string<str> library/alloc/src/string.rs:2894"),
        "{stack}"
    );
    assert!(
        stack.contains("log_before::main examples/log_before.rs:29"),
        "{stack}"
    );
    page.press("Escape");
    assert_eq!(page.ask("document.querySelector('#details').hidden"), true);

    // Callers, by keyboard, grouped three ways.
    page.click("#tab-callers");
    page.ask("document.querySelector('#tree [tabindex=\"0\"]').focus()");
    assert!(page.text("#tree [role=treeitem]").contains("process_logs"));
    page.press("ArrowRight");
    assert!(page.text("#tree [role=group]").contains("log_before::main"));
    for (grouping, first) in [
        ("crate", "log_before"),
        ("type", "String"),
        ("own", "process_logs"),
    ] {
        page.choose("#grouping", grouping);
        let text = page.text("#tree [role=treeitem] .row span:last-child");
        assert_eq!(text, first);
    }

    page.click("#tab-timeline");
    assert!(page.text("#panel-timeline").contains("no timeline"));
    let holders = page.text("#holders");
    assert!(
        holders.starts_with("Who held most at the peak") && holders.contains("1,024100.0%"),
        "{holders}"
    );
    page.click("#tab-waste");
    let waste = page.text("#panel-waste");
    assert!(
        waste.contains("Short-lived blocks")
            && waste.contains("Not measured in this file: never written"),
        "{waste}"
    );
    page.click("#theme");
    page.assert_quiet();
}

#[test]
fn what_heapledger_adds() {
    let mut profile: Value =
        serde_json::from_str(&std::fs::read_to_string(file("log_before.json")).unwrap()).unwrap();
    profile["heapledger"]["timeline"] = json!({"moments": [
        {"time": 10, "bytes": 100, "blocks": 2, "total_bytes": 200, "total_blocks": 4, "top": [[1, 60]]},
        {"time": 15000, "bytes": 900, "blocks": 3, "total_bytes": 5000, "total_blocks": 40, "peak": true, "top": [[1, 800], [99, 1]]},
        {"time": 23687, "bytes": 50, "blocks": 1, "total_bytes": 6000, "total_blocks": 50},
    ]});
    profile["heapledger"]["sample_bytes"] = json!(524_288);
    profile["pps"][0]["heapledger"] = json!({"reallocs": 100_000, "copied_bytes": 6_400_000, "largest_bytes": 128,
        "touch": {"blocks": 200_000, "bytes": 19_200_000, "written_bytes": 17_600_000, "tail_bytes": 1_600_000, "all_bytes": 19_200_000, "all_tail_bytes": 1_600_000, "all_written_interval": [17_500_000, 17_700_000], "all_written_bytes": 17_600_000}});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.json");
    std::fs::write(&path, profile.to_string()).unwrap();
    let mut page = Page::of(&path);
    assert!(
        page.text("#notes")
            .contains("All figures are estimates: one block was sampled in 524,288")
    );
    page.click("#tab-timeline");
    assert_eq!(
        page.text("#peak-text"),
        "Peak: 900 bytes in 3 blocks at 15,000 µs (15 ms) of 23,687 µs (23.7 ms)"
    );
    let labels =
        page.ask("[...document.querySelectorAll('#chart text')].map(text => text.textContent)");
    let times = ["0", "5 ms", "10 ms", "15 ms", "20 ms"];
    let bytes = ["0", "200 B", "400 B", "600 B", "800 B"];
    let mut expected: Vec<&str> = bytes.into_iter().chain(times).collect();
    expected.push("peak: 900 bytes at 15 ms");
    assert_eq!(labels, json!(expected));
    // The peak's mark stands over its time: between 10 ms and 20 ms, in the middle.
    let mark = page.ask("(mark => { const x = time => +[...document.querySelectorAll('#chart text')].find(text => text.textContent === time).getAttribute('x'); return (mark - x('10 ms')) / (x('20 ms') - x('10 ms')); })(+document.querySelector('#peak-mark').getAttribute('x1'))");
    assert!((mark.as_f64().unwrap() - 0.5).abs() < 1e-6, "{mark}");
    let holders = page.text("#holders");
    assert!(
        holders.starts_with("Who held most at the peak") && holders.contains("1,024"),
        "{holders}"
    );
    // From moment to moment by keys; what a moment had is what a slider says.
    page.ask("document.querySelector('#chart').focus()");
    page.press("ArrowRight");
    assert_eq!(
        page.ask("document.querySelector('#chart').ariaValueText"),
        "At 23,687 µs (23.7 ms): 50 bytes in 1 block; 6,000 bytes allocated until then"
    );
    assert!(page.text("#holders").contains("Not noted"));
    page.press("Home");
    assert!(
        page.text("#moment")
            .starts_with("At 10 µs: 100 bytes in 2 blocks")
    );
    // Details are of the figure that is chosen when they are opened.
    page.choose("#figure", "total-blocks");
    page.click("#holders .link");
    assert_eq!(page.text("#details-body summary .value"), "100,000  100.0%");
    page.choose("#figure", "total-bytes");
    page.ask("document.querySelector('#chart').focus()");
    page.press("ArrowRight");
    assert!(page.text("#moment").starts_with("At 15,000 µs"));
    page.click("#tab-waste");
    let waste = page.text("#panel-waste");
    assert!(
        waste.contains("reserve would have saved 100,000 reallocations, 6,400,000 bytes copied"),
        "{waste}"
    );
    page.click("#panel-waste .link");
    let facts = page.text("#details dl");
    assert!(
        facts.contains("(from 1,500,000 to 1,700,000, 95 %)"),
        "{facts}"
    );
    assert!(
        waste.contains("Over-capacity") && waste.contains("1,600,000"),
        "{waste}"
    );
    page.assert_quiet();
}

/// What reverses or hides text is written out wherever a file's text is shown.
#[test]
fn nothing_is_turned_round() {
    let text = std::fs::read_to_string(file("log_before.json")).unwrap();
    let mut profile: Value = serde_json::from_str(&text).unwrap();
    profile["cmd"] = "app \u{202e}gpj.exe\u{200b}".into();
    profile["tu"] = "\u{202e}s".into();
    for frame in profile["ftbl"].as_array_mut().unwrap().iter_mut().skip(1) {
        *frame = "0x1: evil\u{202e}live\n (src/\u{202e}sr.nam:1:1)".into();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.json");
    std::fs::write(&path, profile.to_string()).unwrap();
    let mut page = Page::of(&path);
    assert_eq!(
        page.ask("document.title"),
        "app \\u{202e}gpj.exe\\u{200b} – heap profile"
    );
    for tab in [
        "#tab-flame",
        "#tab-sites",
        "#tab-callers",
        "#tab-timeline",
        "#tab-waste",
    ] {
        page.click(tab);
        if tab == "#tab-flame" {
            page.ask("document.querySelector('#canvas').focus()");
            page.press("ArrowDown");
            assert_eq!(page.text("#flame-place"), "src/\\u{202e}sr.nam:1");
        }
        if tab == "#tab-sites" {
            page.click("#site-table tbody .link");
            assert!(
                page.text("#details ol")
                    .contains("evil\\u{202e}live\\u{a} src/\\u{202e}sr.nam:1")
            );
        }
        let found = page.ask(r"[...document.body.innerText.matchAll(/[\u202a-\u202e\u200b-\u200f\u2066-\u2069]/g)].length + [...document.body.innerText.matchAll(/\\u\{202e\}/g)].length * 1000");
        let found = found.as_u64().unwrap();
        assert!(
            found >= 1000 && found.is_multiple_of(1000),
            "{tab}: {found}"
        );
    }
    page.assert_quiet();
}

/// A link to a view opens it without moving the page, and the address follows the view.
#[test]
fn addresses_of_views() {
    let text = std::fs::read_to_string(file("log_before.json")).unwrap();
    let mut profile: Value = serde_json::from_str(&text).unwrap();
    profile["pps"][0]["fs"] = json!(vec![1; 100]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep.json");
    std::fs::write(&path, profile.to_string()).unwrap();
    for (view, tall) in [("flame", true), ("sites", false)] {
        let mut page = Page::at(&path, &format!("#{view}"));
        page.ask("new Promise(resolve => setTimeout(resolve, 100))");
        let is_tall = page.ask("document.documentElement.scrollHeight > innerHeight");
        assert_eq!(is_tall, tall, "{view}");
        assert_eq!(page.ask("scrollY"), 0, "{view}");
        let open = format!("document.querySelector('#panel-{view}').hidden");
        assert_eq!(page.ask(&open), false);
    }
    let mut page = Page::of(&path);
    page.click("#tab-waste");
    assert_eq!(page.ask("location.hash"), "#waste");
    // As the button of the browser does.
    page.ask("location.hash = 'sites'");
    page.ask("new Promise(resolve => setTimeout(resolve, 100))");
    assert_eq!(
        page.ask("document.querySelector('#panel-sites').hidden"),
        false
    );
    page.assert_quiet();
}

/// A page whose data was cut off or changed tells so.
#[test]
fn what_cannot_be_drawn_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.html");
    let profile = file("log_before.json");
    let arguments = [
        "report".as_ref(),
        profile.as_os_str(),
        "-o".as_ref(),
        path.as_os_str(),
    ];
    assert!(heapledger(arguments).status.success());
    let page = std::fs::read_to_string(&path).unwrap();
    let data = page.find("id=\"data\">").unwrap() + 100;
    std::fs::write(&path, [&page[..data], &page[data + 400..]].concat()).unwrap();
    let mut browser = Browser::start(&Programs::find().unwrap().chromium, LIMIT).unwrap();
    browser.navigate(&path).unwrap();
    let told = "new Promise(resolve => {
        const look = () => (text => text?.startsWith('This') ? resolve(text) : setTimeout(look, 5))(document.querySelector('#command')?.textContent);
        look();
        setTimeout(() => resolve(document.body.textContent.slice(0, 200)), 5000);
    })";
    let told = browser.evaluate(told).unwrap();
    let told = told.as_str().unwrap();
    let start = "This report cannot be drawn: ";
    assert!(
        told.starts_with(start) && told.len() > start.len(),
        "{told}"
    );
}

#[test]
fn names_are_text() {
    let hostile = r#"<img src=x onerror="document.body.dataset.hacked=1"></script><script>document.body.dataset.hacked=2</script>"#;
    let mut profile: Value =
        serde_json::from_str(&std::fs::read_to_string(file("log_before.json")).unwrap()).unwrap();
    profile["cmd"] = hostile.into();
    profile["tu"] = "constructor".into();
    for at in [8, 19] {
        profile["ftbl"][at] = format!("0x1: {hostile} ({hostile}:1:1)").into();
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.json");
    std::fs::write(&path, profile.to_string()).unwrap();
    let mut page = Page::of(&path);
    for tab in ["#tab-sites", "#tab-callers", "#tab-waste"] {
        page.click(tab);
    }
    page.click("#panel-waste .link");
    assert!(page.text("#details ol").contains("<img src=x"));
    page.click("#tab-timeline");
    assert!(
        page.text("#panel-timeline")
            .contains("of 23,687 constructor.")
    );
    assert_eq!(
        page.ask("document.body.dataset.hacked ?? null"),
        Value::Null
    );
    assert_eq!(page.ask("document.querySelectorAll('img').length"), 0);
    page.assert_quiet();
}

#[test]
fn rows_are_those_of_top() {
    let mut compared = 0;
    for name in FILES {
        let path = file(name);
        let mut page = Page::of(&path);
        page.click("#tab-sites");
        for (rows, group) in [
            ("site", "site"),
            ("own", "own"),
            ("function", "function"),
            ("crate", "crate"),
            ("file", "file"),
            ("type", "type"),
            ("stack", "point"),
        ] {
            page.choose("#rows", rows);
            let shown = page.rows();
            let top = printed([
                "top".as_ref(),
                path.as_os_str(),
                "--json".as_ref(),
                "--group".as_ref(),
                group.as_ref(),
            ]);
            let top: Value = serde_json::from_str(&top).unwrap();
            let top = top["rows"].as_array().unwrap();
            assert!(top.len() < 20, "{name}: all are compared");
            compared += top.len();
            for (at, row) in top.iter().enumerate() {
                let expected = json!([
                    thousands(&row["value"]),
                    thousands(&row["total_blocks"]),
                    row["name"]
                ]);
                assert_eq!(shown[at], expected, "{name}, {group}");
            }
        }
        page.assert_quiet();
    }
    assert!(compared > 50, "{compared}");
}

fn thousands(number: &Value) -> String {
    let digits = number.as_u64().unwrap().to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap())
        .collect();
    groups.join(",")
}

#[test]
fn a_hundred_thousand_points() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("big.json");
    std::fs::write(&path, big_profile(100_000)).unwrap();
    let mut page = Page::of(&path);
    println!(
        "ready after {} ms",
        page.ask("document.body.dataset.ready").as_str().unwrap()
    );
    page.click("#tab-sites");
    assert_eq!(page.text("#site-table caption"), "1,024 sites");
    page.choose("#rows", "stack");
    assert_eq!(page.text("#site-table caption"), "100,000 stacks");
    page.search("function_19777");
    page.ask("new Promise(resolve => setTimeout(resolve, 1000))");
    assert_eq!(page.text("#site-table caption"), "98 stacks");
    page.choose("#rows", "site");
    assert_eq!(page.text("#site-table caption"), "1 site");
    page.click("#site-table tbody .link");
    assert_eq!(
        page.ask("document.querySelectorAll('#details-body details').length"),
        20
    );
    // What comes next has the focus, not a button that may be gone.
    page.click("#details-body > button");
    assert!(page.has_focus("#details-body details:nth-child(21) summary"));
    page.click("#close");
    page.search("");
    page.click("#more-sites");
    assert!(page.has_focus("#site-table tbody tr:nth-child(101) .link"));
    page.click("#tab-callers");
    page.click("#tree [role=treeitem] .row");
    assert_eq!(
        page.ask("document.querySelectorAll('#tree [role=group] [role=treeitem]').length > 0"),
        true
    );
    page.assert_quiet();
}

#[test]
fn every_kind_of_file() {
    for name in FILES {
        let mut page = Page::of(&file(name));
        for tab in ["#tab-sites", "#tab-callers", "#tab-timeline", "#tab-waste"] {
            page.click(tab);
        }
        page.assert_quiet();
    }
}
