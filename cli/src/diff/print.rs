//! The comparison as a table, as Markdown, as JSON.

use std::collections::BTreeMap;
use std::io::Write;

use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use serde::Serialize;

use super::{Change, Format, Options};
use crate::failure::Result;
use crate::figures::Figure;
use crate::output;
use crate::terminal::{Table, percent, signed, thousands};

/// What is compared of the whole.
const SUMS: [(Metric, &str); 6] = [
    (Metric::TotalBytes, "in all, bytes"),
    (Metric::TotalBlocks, "in all, blocks"),
    (Metric::PeakBytes, "at the peak, bytes"),
    (Metric::PeakBlocks, "at the peak, blocks"),
    (Metric::EndBytes, "at the end, bytes"),
    (Metric::EndBlocks, "at the end, blocks"),
];

/// What `--format json` prints; docs/companion.md tells it.
#[derive(Debug, Serialize)]
struct Json<'a> {
    by: String,
    totals: BTreeMap<String, Pair>,
    /// Of which those that `--limit` lets through are in `changes`.
    all_changes: usize,
    changes: &'a [Change],
}

#[derive(Debug, Serialize)]
struct Pair {
    before: u128,
    after: u128,
}

#[expect(
    clippy::cast_possible_wrap,
    reason = "sums of fewer than 2^32 numbers below 2^64"
)]
fn growth(before: u128, after: u128) -> [String; 2] {
    let relative = match before {
        0 if after > 0 => "new".into(),
        _ if after >= before => format!("+{}", percent(after - before, before)),
        _ => format!("-{}", percent(before - after, before)),
    };
    [
        signed(after as i128 - before as i128),
        if before == after {
            "=".into()
        } else {
            relative
        },
    ]
}

pub(super) fn print(
    before: &Profile,
    after: &Profile,
    changes: &[Change],
    options: &Options,
    out: &mut dyn Write,
) -> Result<()> {
    let shown = if options.limit == 0 {
        changes.len()
    } else {
        options.limit.min(changes.len())
    };
    let is_shown = |metric: &Metric| metric.is_in(before) && metric.is_in(after);
    if options.format == Format::Json {
        let totals = SUMS.iter().filter(|(metric, _)| is_shown(metric));
        let totals = totals.map(|&(metric, _)| {
            let pair = Pair {
                before: Figure::Metric(metric).sum(before),
                after: Figure::Metric(metric).sum(after),
            };
            (metric.to_string(), pair)
        });
        let json = Json {
            by: options.by.to_string(),
            totals: totals.collect(),
            all_changes: changes.len(),
            changes: &changes[..shown],
        };
        return output::write_json(&json, out);
    }

    let mut sums = Table::new(&["before", "after", "change", "", "sum"]);
    for (metric, name) in SUMS.iter().filter(|(metric, _)| is_shown(metric)) {
        let figure = Figure::Metric(*metric);
        let (old, new) = (figure.sum(before), figure.sum(after));
        let [change, relative] = growth(old, new);
        sums.row(vec![
            thousands(old),
            thousands(new),
            change,
            relative,
            (*name).into(),
        ]);
    }
    let title = options.by.title(after);
    let mut sites = Table::new(&["before", "after", "change", "", "blocks", &title]);
    for row in &changes[..shown] {
        let [change, relative] = growth(row.before, row.after);
        let relative = if row.after == 0 && row.before > 0 {
            "gone".into()
        } else {
            relative
        };
        let blocks = growth(row.before_blocks, row.after_blocks)[0].clone();
        sites.row(vec![
            thousands(row.before),
            thousands(row.after),
            change,
            relative,
            blocks,
            row.name.clone(),
        ]);
    }
    let text = |table: &Table| match options.format {
        Format::Markdown => table.to_markdown(),
        _ => table.to_text(),
    };
    writeln!(out, "{}", text(&sums))?;
    if changes.is_empty() {
        writeln!(out, "No site differs.")?;
    } else {
        write!(out, "{}", text(&sites))?;
    }
    if shown < changes.len() {
        let more = thousands((changes.len() - shown) as u128);
        writeln!(out, "\n… and {more} more (--limit 0 shows all)")?;
    }
    Ok(())
}
