//! What axe-core, the checker of rules for accessible pages, has against an open page.

use std::fs;

use serde_json::Value;

use crate::command::npm_file;
use crate::devtools::Browser;
use crate::error::ViewerError;

/// The rules that the page breaks, with the elements that do.
pub fn accessibility_flaws(browser: &mut Browser) -> Result<Vec<String>, ViewerError> {
    let checker = fs::read_to_string(npm_file("axe-core/axe.min.js")?)?;
    browser.evaluate(&format!("{checker}; null"))?;
    let found = browser.evaluate(CHECK)?;
    let texts = found.as_array().into_iter().flatten();
    Ok(texts.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// All rules, those of good practice among them.
const CHECK: &str = r#"
axe.run(document, { resultTypes: ["violations"] }).then(({ violations, passes }) => {
    if (passes.length < 10) return ["only " + passes.length + " rules applied"];
    return violations.map(({ id, help, nodes }) =>
        id + ": " + help + ": " + nodes.map(node => node.target.join(" ") + " " + node.failureSummary).join("; "));
})"#;
