//! The report in a real browser: what a user clicks and types, and what then stands there.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::{big_profile, file, heapledger, read_page};
use viewer_compat::Browser;

/// A report of `profile` that is loaded; its page is removed with the folder.
struct Page {
    browser: Browser,
    _folder: tempfile::TempDir,
}

impl Page {
    fn of(profile: &Path) -> Page {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("report.html");
        let written = heapledger([
            "report".as_ref(),
            profile.as_os_str(),
            "-o".as_ref(),
            page.as_os_str(),
        ]);
        assert!(written.status.success(), "{written:?}");
        let browser = read_page(&page);
        Page {
            browser,
            _folder: folder,
        }
    }

    fn ask(&mut self, expression: &str) -> Value {
        self.browser.evaluate(expression).unwrap()
    }

    fn text(&mut self, selector: &str) -> String {
        let text = self.ask(&format!(
            "document.querySelector({selector:?})?.textContent ?? null"
        ));
        text.as_str()
            .unwrap_or_else(|| panic!("no {selector}"))
            .to_owned()
    }

    fn click(&mut self, selector: &str) {
        let clicked = self.ask(&format!(
            "(e => (e?.click(), !!e))(document.querySelector({selector:?}))"
        ));
        assert_eq!(clicked, true, "no {selector}");
    }

    /// A real key, sent to whatever has the focus.
    fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let event = json!({"type": kind, "key": key, "code": key});
            self.browser.call("Input.dispatchKeyEvent", event).unwrap();
        }
    }

    fn assert_quiet(&self) {
        assert!(
            self.browser.complaints().is_empty(),
            "{:#?}",
            self.browser.complaints()
        );
    }
}

#[test]
fn what_a_user_clicks_and_types() {
    let mut page = Page::of(&file("log_before.json"));
    assert_eq!(page.ask("document.title"), "log_before – heap profile");
    assert!(
        page.text("#totals")
            .contains("28,135,955 bytes in 300,001 blocks")
    );

    // The flame graph, by keyboard: down to main, to its largest callee, in, and out.
    page.ask("document.querySelector('#canvas').focus()");
    assert_eq!(
        page.text("#flame-status"),
        "[root]: 28,135,955 bytes, 100.0%"
    );
    page.press("ArrowDown");
    assert_eq!(
        page.text("#flame-status"),
        "log_before::main: 28,135,955 bytes, 100.0%"
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

    // By mouse: the second row is main, over the whole width.
    page.ask("document.querySelector('#canvas').dispatchEvent(new MouseEvent('click', {clientX: 300, clientY: document.querySelector('#canvas').getBoundingClientRect().top + 25}))");
    assert!(page.text("#flame-status").starts_with("log_before::main"));

    // Another figure.
    page.ask("(e => { e.value = 'peak-bytes'; e.dispatchEvent(new Event('change')); })(document.querySelector('#figure'))");
    assert_eq!(
        page.text("#flame-status"),
        "log_before::main: 1,024 bytes, 100.0%"
    );
    page.ask("(e => { e.value = 'total-blocks'; e.dispatchEvent(new Event('change')); })(document.querySelector('#figure'))");
    assert_eq!(
        page.text("#flame-status"),
        "log_before::main: 300,001 blocks, 100.0%"
    );

    // Sites: sorted by the figure, then by another column, then the other way round.
    page.click("#tab-sites");
    assert_eq!(page.text("#site-table caption"), "3 sites");
    assert!(
        page.text("#site-table tbody tr")
            .starts_with("200,00066.7%")
    );
    page.click("#site-table th:nth-child(5) button");
    let peak = page.text("#site-table th[aria-sort=descending]");
    assert!(
        peak.contains("live at the end") || peak.contains("live at the peak"),
        "{peak}"
    );
    assert!(
        page.text("#site-table tbody tr td:last-child")
            .starts_with("log_before::main")
    );
    page.click("#site-table th:nth-child(5) button");
    assert!(!page.text("#site-table th[aria-sort=ascending]").is_empty());

    // Search.
    page.ask("(e => { e.value = 'TO_STRING'; e.dispatchEvent(new Event('input')); })(document.querySelector('#search'))");
    page.ask("new Promise(resolve => setTimeout(resolve, 300))");
    assert_eq!(page.text("#site-table caption"), "1 sites");
    assert!(
        page.text("#found").starts_with("33.3%"),
        "{}",
        page.text("#found")
    );

    // Through to the stack, and back by Escape to where one was.
    page.click("#site-table tbody .link");
    assert_eq!(page.text("#details-title"), "process_logs");
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
    for (grouping, first) in [("crate", "log_before"), ("type", "Vec")] {
        page.ask(&format!("(e => {{ e.value = {grouping:?}; e.dispatchEvent(new Event('change')); }})(document.querySelector('#grouping'))"));
        let text = page.text("#tree [role=treeitem] .row span:last-child");
        assert_eq!(text, first);
    }

    page.click("#tab-timeline");
    assert!(page.text("#timeline").contains("no timeline"));
    page.click("#tab-waste");
    let waste = page.text("#waste");
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
        {"time": 10, "bytes": 100, "blocks": 2, "total_bytes": 200, "total_blocks": 4},
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
        "Peak: 900 bytes in 3 blocks at 15,000 of 23,687 µs"
    );
    let mark = page
        .ask("+document.querySelector('#peak-mark').getAttribute('x1')")
        .as_f64()
        .unwrap();
    assert!((mark - 1000.0 * 15000.0 / 23687.0).abs() < 0.01, "{mark}");
    assert!(page.text("#timeline table").contains("to_string"));
    page.click("#tab-waste");
    let waste = page.text("#waste");
    assert!(
        waste.contains("reserve would have saved 100,000 reallocations, 6,400,000 bytes copied"),
        "{waste}"
    );
    page.click("#waste .link");
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

#[test]
fn names_are_text() {
    let hostile = r#"<img src=x onerror="document.body.dataset.hacked=1"></script><script>document.body.dataset.hacked=2</script>"#;
    let mut profile: Value =
        serde_json::from_str(&std::fs::read_to_string(file("log_before.json")).unwrap()).unwrap();
    profile["cmd"] = hostile.into();
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
    page.click("#waste .link");
    assert!(page.text("#details ol").contains("<img src=x"));
    assert_eq!(
        page.ask("document.body.dataset.hacked ?? null"),
        Value::Null
    );
    assert_eq!(page.ask("document.querySelectorAll('img').length"), 0);
    page.assert_quiet();
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
    assert_eq!(page.text("#site-table caption"), "100,000 sites");
    page.ask("(e => { e.value = 'function_19777'; e.dispatchEvent(new Event('input')); })(document.querySelector('#search'))");
    page.ask("new Promise(resolve => setTimeout(resolve, 1000))");
    assert_eq!(page.text("#site-table caption"), "98 sites");
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
    for name in [
        "valgrind.json",
        "valgrind-ad-hoc.json",
        "valgrind-copy.json",
        "dhat-rs.json",
        "heapscope.json",
    ] {
        let mut page = Page::of(&file(name));
        for tab in ["#tab-sites", "#tab-callers", "#tab-timeline", "#tab-waste"] {
            page.click(tab);
        }
        page.assert_quiet();
    }
}
