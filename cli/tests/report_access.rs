//! The report for those who see it otherwise, or have no mouse.

mod support;

use serde_json::{Value, json};
use support::file;
use support::page::Page;
use viewer_compat::accessibility_flaws;

const TABS: [&str; 5] = ["flame", "sites", "callers", "timeline", "waste"];

/// A report with something in all views.
fn full_page() -> Page {
    let text = std::fs::read_to_string(file("log_before.json")).unwrap();
    let mut profile: Value = serde_json::from_str(&text).unwrap();
    profile["heapledger"]["timeline"] = json!({"moments": [
        {"time": 10, "bytes": 100, "blocks": 2},
        {"time": 15000, "bytes": 900, "blocks": 3, "peak": true},
        {"time": 20000, "bytes": 500, "blocks": 2, "top": [[1, 400]]},
        {"time": 23687, "bytes": 50, "blocks": 1},
    ]});
    profile["pps"][0]["heapledger"] = json!({"reallocs": 100_000, "copied_bytes": 6_400_000,
        "touch": {"blocks": 200_000, "bytes": 19_200_000, "all_bytes": 19_200_000, "all_tail_bytes": 1_600_000, "all_written_bytes": 17_600_000}});
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.json");
    std::fs::write(&path, profile.to_string()).unwrap();
    Page::of(&path)
}

#[test]
fn no_rule_of_accessibility_is_broken() {
    let mut page = full_page();
    let mut flaws = Vec::new();
    for theme in ["light", "dark"] {
        let shown = "getComputedStyle(document.documentElement).colorScheme";
        if page.ask(shown) != theme {
            page.click("#theme");
        }
        assert_eq!(page.ask(shown), theme);
        for tab in TABS {
            page.click(&format!("#tab-{tab}"));
            if tab == "callers" {
                page.click("#tree [role=treeitem] .row");
            }
            if tab == "timeline" {
                page.click("#panel-timeline summary");
            }
            for details in [false, true] {
                if details {
                    page.click("#tab-sites");
                    page.click("#site-table tbody .link");
                    page.click(&format!("#tab-{tab}"));
                }
                let found = accessibility_flaws(&mut page.browser).unwrap();
                flaws.extend(
                    found
                        .iter()
                        .map(|flaw| format!("{tab}, {theme}, details {details}: {flaw}")),
                );
            }
            page.click("#close");
        }
    }
    assert!(flaws.is_empty(), "{flaws:#?}");
    // The checker does find what is there.
    page.ask("document.querySelector('#theme').textContent = ''");
    let flaws = accessibility_flaws(&mut page.browser).unwrap();
    assert!(
        flaws.iter().any(|flaw| flaw.starts_with("button-name")),
        "{flaws:#?}"
    );
    page.assert_quiet();
}

#[test]
fn all_is_reached_by_keys_alone() {
    let mut page = full_page();
    for control in ["#figure", "#search", "#theme", "#tab-flame"] {
        page.tab_to(control);
    }
    page.tab_to("#canvas");
    page.press("ArrowDown");
    page.press("Enter");
    assert!(page.text("#flame-place").contains("examples/log_before.rs"));
    page.press("Escape");

    // The list of tabs is one stop; arrows go from tab to tab, and round.
    page.ask("document.querySelector('#tab-flame').focus()");
    page.press("ArrowLeft");
    assert!(page.has_focus("#tab-waste[aria-selected=true]"));
    page.press("Home");
    page.press("ArrowRight");
    assert!(page.has_focus("#tab-sites[aria-selected=true]"));
    assert_eq!(page.ask("location.hash"), "#sites");

    // A table: sorted by its header, a row opened, its stack opened, and back to that row.
    page.tab_to("#rows");
    page.tab_to("#site-table th:nth-child(4) button");
    page.press("Enter");
    assert!(page.has_focus("#site-table th:nth-child(4)[aria-sort=descending] button"));
    page.tab_to("#site-table tbody tr:nth-child(2) .link");
    page.press("Enter");
    assert!(page.has_focus("#details-title"));
    page.tab_to("#close");
    page.tab_to("#details-body summary");
    page.press("Enter");
    assert_eq!(
        page.ask("document.querySelector('#details-body details').open"),
        false
    );
    page.press("Escape");
    assert!(page.has_focus("#site-table tbody tr:nth-child(2) .link"));
    // What is out of sight does not get the focus.
    page.press("Enter");
    page.click("#tab-callers");
    page.press("Escape");
    assert!(page.has_focus("#tab-callers"));
    page.click("#tab-sites");

    // The tree is one stop, too.
    page.ask("document.querySelector('#tab-sites').focus()");
    page.press("ArrowRight");
    page.tab_to("#caller-details");
    page.tab_to("#tree [role=treeitem]");
    page.press("ArrowRight");
    page.press("ArrowRight");
    assert!(page.has_focus("#tree [role=group] [role=treeitem]"));
    page.press("ArrowLeft");
    page.press("ArrowLeft");
    assert!(page.has_focus("#tree > [aria-expanded=false]"));

    page.ask("document.querySelector('#tab-callers').focus()");
    page.press("ArrowRight");
    page.tab_to("#chart");
    page.press("ArrowRight");
    assert!(page.text("#holders").starts_with("Who held most at 20 ms"));
    page.tab_to("#holders .link");
    page.press("Enter");
    assert!(page.has_focus("#details-title"));
    page.press("Escape");
    assert!(page.has_focus("#holders .link"));
    page.assert_quiet();
}

/// Alt+Left goes back, Ctrl+Home goes up: such keys are the browser's.
#[test]
fn keys_of_the_browser() {
    let mut page = full_page();
    for (tab, selector) in [
        ("flame", "#tab-flame"),
        ("flame", "#canvas"),
        ("callers", "#tree [role=treeitem]"),
        ("timeline", "#chart"),
    ] {
        page.click(&format!("#tab-{tab}"));
        let mut is_taken = |with: &str| {
            let event = format!(
                "new KeyboardEvent('keydown', {{key: 'ArrowLeft', bubbles: true, cancelable: true, {with}: true}})"
            );
            page.ask(&format!(
                "!document.querySelector({selector:?}).dispatchEvent({event})"
            )) == true
        };
        for key in ["altKey", "ctrlKey", "metaKey"] {
            assert!(!is_taken(key), "{selector}, {key}");
        }
        assert!(is_taken("repeat"), "{selector}");
    }
    page.assert_quiet();
}

/// Where the details cover the page, Tab does not go under them.
#[test]
fn narrow_windows() {
    let mut page = full_page();
    let size = json!({"width": 420, "height": 800, "deviceScaleFactor": 1, "mobile": false});
    page.browser
        .call("Emulation.setDeviceMetricsOverride", size)
        .unwrap();
    for tab in TABS {
        page.click(&format!("#tab-{tab}"));
        let wide = page.ask("document.documentElement.scrollWidth");
        assert!(wide.as_u64().unwrap() <= 420, "{tab}: {wide}");
    }
    page.click("#tab-sites");
    page.tab_to("#site-table tbody .link");
    page.press("Enter");
    for _ in 0..10 {
        page.press("Tab");
        assert!(page.has_focus("aside, aside *, body"));
    }
    let flaws = accessibility_flaws(&mut page.browser).unwrap();
    assert!(flaws.is_empty(), "{flaws:#?}");
    page.press("Escape");
    assert!(page.has_focus("#site-table tbody .link"));
}
