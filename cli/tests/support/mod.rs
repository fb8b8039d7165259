//! What tests of the commands share.
#![allow(dead_code, reason = "each test uses its part")]

pub(crate) mod page;

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::json;
use viewer_compat::{Browser, Programs};

/// A profile under `tests/files`.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/files")
        .join(name)
}

/// A browser with the report loaded. What pages complain of is kept from the start.
pub(crate) fn read_page(page: &Path) -> Browser {
    let chromium = Programs::find().unwrap().chromium;
    let mut browser = Browser::start(&chromium, LIMIT).unwrap();
    browser.listen().unwrap();
    let size = json!({"width": 1200, "height": 800, "deviceScaleFactor": 1, "mobile": false});
    browser
        .call("Emulation.setDeviceMetricsOverride", size)
        .unwrap();
    browser.navigate(page).unwrap();
    browser.evaluate(UNTIL_READY).unwrap();
    browser
}

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const UNTIL_READY: &str = r#"
new Promise(resolve => {
    const look = () => document.body?.dataset.ready ? resolve() : setTimeout(look, 5);
    look();
})"#;

/// Runs the command.
pub(crate) fn heapledger<I: IntoIterator<Item: AsRef<OsStr>>>(arguments: I) -> Output {
    Command::new(env!("CARGO_BIN_EXE_heapledger"))
        .args(arguments)
        .output()
        .unwrap()
}

/// What it printed; it must succeed.
pub(crate) fn printed<I: IntoIterator<Item: AsRef<OsStr>>>(arguments: I) -> String {
    let output = heapledger(arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A profile of many points, each with a stack of 20 frames of its own.
pub(crate) fn big_profile(points: u32) -> String {
    let mut text = String::from(
        r#"{"dhatFileVersion":2,"mode":"heap","verb":"Allocated","bklt":true,"bkacc":false,"tu":"µs","Mtu":"s","tuth":10,"cmd":"big","pid":1,"tg":9,"te":10,"pps":["#,
    );
    for point in 0..points {
        let comma = if point == 0 { "" } else { "," };
        let bytes = 1 + point % 977;
        write!(
            text,
            r#"{comma}{{"tb":{bytes},"tbk":1,"tl":5,"mb":{bytes},"mbk":1,"gb":{bytes},"gbk":1,"eb":0,"ebk":0,"fs":["#
        )
        .unwrap();
        for depth in (0..20_u32).rev() {
            // Outer frames are shared by many stacks, inner ones by few.
            let comma = if depth == 19 { "" } else { "," };
            let choice = match depth {
                19 => point % 1024,
                18 => point / 1024 % 1024,
                _ => (point.wrapping_mul(2_654_435_761) >> 7) % (1 << (depth / 2 + 1)),
            };
            write!(text, "{comma}{}", 1 + depth * 1024 + choice).unwrap();
        }
        text.push_str("]}");
    }
    text.push_str(r#"],"ftbl":["[root]""#);
    for frame in 0..20 * 1024 {
        write!(
            text,
            r#","0x{frame:x}: app::function_{frame} (src/main.rs:{frame}:1)""#
        )
        .unwrap();
    }
    text.push_str("]}");
    text
}
