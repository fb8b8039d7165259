//! A report in a real browser.

use std::path::Path;

use serde_json::{Value, json};
use viewer_compat::Browser;

use super::{heapledger, read_page};

/// A report of `profile` that is loaded; its page is removed with the folder.
pub(crate) struct Page {
    pub(crate) browser: Browser,
    _folder: tempfile::TempDir,
}

impl Page {
    pub(crate) fn of(profile: &Path) -> Page {
        Page::at(profile, "")
    }

    /// Opened with this end of its address.
    pub(crate) fn at(profile: &Path, hash: &str) -> Page {
        let folder = tempfile::tempdir().unwrap();
        let page = folder.path().join("report.html");
        let written = heapledger([
            "report".as_ref(),
            profile.as_os_str(),
            "-o".as_ref(),
            page.as_os_str(),
        ]);
        assert!(written.status.success(), "{written:?}");
        let address = format!("{}{hash}", page.display());
        let browser = read_page(Path::new(&address));
        Page {
            browser,
            _folder: folder,
        }
    }

    pub(crate) fn ask(&mut self, expression: &str) -> Value {
        self.browser.evaluate(expression).unwrap()
    }

    pub(crate) fn text(&mut self, selector: &str) -> String {
        let text = self.ask(&format!(
            "document.querySelector({selector:?})?.textContent ?? null"
        ));
        text.as_str()
            .unwrap_or_else(|| panic!("no {selector}"))
            .to_owned()
    }

    pub(crate) fn click(&mut self, selector: &str) {
        let clicked = self.ask(&format!(
            "(e => (e?.click(), !!e))(document.querySelector({selector:?}))"
        ));
        assert_eq!(clicked, true, "no {selector}");
    }

    pub(crate) fn choose(&mut self, select: &str, value: &str) {
        let chosen = self.ask(&format!("(e => {{ e.value = {value:?}; e.dispatchEvent(new Event('change')); return e.value; }})(document.querySelector({select:?}))"));
        assert_eq!(chosen, value, "{select}");
    }

    pub(crate) fn search(&mut self, text: &str) {
        self.ask(&format!("(e => {{ e.value = {text:?}; e.dispatchEvent(new Event('input')); }})(document.querySelector('#search'))"));
        self.ask("new Promise(resolve => setTimeout(resolve, 400))");
    }

    /// The rows of the table of sites: the figure, the blocks, the name.
    pub(crate) fn rows(&mut self) -> Value {
        self.ask("[...document.querySelectorAll('#site-table tbody tr')].map(row => [row.cells[0].textContent, row.cells[3].textContent, row.querySelector('.link').textContent])")
    }

    /// A real key, sent to whatever has the focus.
    pub(crate) fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Tab" => (9, ""),
            "Enter" => (13, "\r"),
            "Escape" => (27, ""),
            "End" => (35, ""),
            "Home" => (36, ""),
            "ArrowLeft" => (37, ""),
            "ArrowUp" => (38, ""),
            "ArrowRight" => (39, ""),
            "ArrowDown" => (40, ""),
            _ => panic!("no such key: {key}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.browser.call("Input.dispatchKeyEvent", event).unwrap();
        }
    }

    /// Goes on by Tab until what `selector` names has the focus.
    pub(crate) fn tab_to(&mut self, selector: &str) {
        let mut passed = Vec::new();
        for _ in 0..100 {
            self.press("Tab");
            if self.has_focus(selector) {
                return;
            }
            let focus = "(e => e.tagName + '#' + e.id + ' ' + e.textContent.slice(0, 20))(document.activeElement)";
            passed.push(self.ask(focus));
        }
        panic!("Tab does not reach {selector}, only {passed:#?}");
    }

    pub(crate) fn has_focus(&mut self, selector: &str) -> bool {
        self.ask(&format!("document.activeElement.matches({selector:?})")) == true
    }

    pub(crate) fn assert_quiet(&self) {
        assert!(
            self.browser.complaints().is_empty(),
            "{:#?}",
            self.browser.complaints()
        );
    }
}
