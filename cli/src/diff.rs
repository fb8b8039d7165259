//! `diff`: what changed between two profiles, whatever their addresses and line numbers.

mod matching;
mod print;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use heapledger_formats::diff_flame::{self, Widths};
use heapledger_formats::model::Profile;

use crate::convert;
use crate::failure::{Failure, Result};
use crate::figures::Figure;
use crate::load;
use crate::output;
use crate::sites::Sites;
use crate::terminal::{escaped, percent, thousands};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The profile of before
    before: PathBuf,
    /// The profile of after
    after: PathBuf,
    /// The figure to compare
    #[arg(long, default_value = "total-bytes")]
    by: Figure,
    /// How to print the comparison
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// The most rows to show; 0 shows all
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: usize,
    /// Exit with code 1 if the figure's sum grew by more than this: `5%`, or a number
    #[arg(long, value_name = "GROWTH")]
    fail_over: Option<Growth>,
    /// Also write a differential flame graph to this file
    #[arg(long, value_name = "SVG")]
    flame: Option<PathBuf>,
    /// Which profile the widths of the flame graph are of
    #[arg(long, value_enum, default_value = "before")]
    widths: WidthsOf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table for the terminal
    Text,
    /// For programs
    Json,
    /// A table for a pull request
    Markdown,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WidthsOf {
    /// Shows what went away
    Before,
    /// Shows what is new
    After,
}

/// How much more is too much.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Growth {
    Percent(f64),
    Amount(u128),
}

impl FromStr for Growth {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Growth, String> {
        let expected = || format!("`{text}` is neither a percentage such as 5% nor a number");
        match text.strip_suffix('%') {
            Some(percent) => match percent.trim().parse() {
                Ok(percent) if f64::is_finite(percent) && percent >= 0.0 => {
                    Ok(Growth::Percent(percent))
                }
                _ => Err(expected()),
            },
            None => text
                .replace(',', "")
                .parse()
                .map(Growth::Amount)
                .map_err(|_| expected()),
        }
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Growth::Percent(percent) => write!(f, "{percent}%"),
            Growth::Amount(amount) => f.write_str(&thousands(*amount)),
        }
    }
}

impl Growth {
    #[expect(clippy::cast_precision_loss, reason = "a tolerance is no exact figure")]
    fn is_exceeded(self, before: u128, after: u128) -> bool {
        let more = after.saturating_sub(before);
        match self {
            Growth::Percent(percent) => more > 0 && more as f64 > before as f64 * percent / 100.0,
            Growth::Amount(amount) => more > amount,
        }
    }
}

/// A site in both profiles, or in one.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Change {
    /// As in the later profile that has it.
    name: String,
    pub(crate) before: u128,
    pub(crate) after: u128,
    /// Blocks: of which the figure may be the same, and the number not.
    pub(crate) before_blocks: u128,
    pub(crate) after_blocks: u128,
}

impl Change {
    #[expect(
        clippy::cast_possible_wrap,
        reason = "sums of fewer than 2^32 numbers below 2^64"
    )]
    fn difference(&self) -> i128 {
        self.after as i128 - self.before as i128
    }
}

/// Returns whether the growth is within what was asked for.
pub(crate) fn run(options: &Options, out: &mut dyn Write) -> Result<bool> {
    let before = load::profile(&options.before)?;
    let after = load::profile(&options.after)?;
    for (path, profile) in [(&options.before, &before), (&options.after, &after)] {
        load::check_figure(path, profile, options.by)?;
    }
    if before.mode != after.mode || before.units != after.units {
        let what = format!(
            "cannot be compared with {}: they count different things",
            options.before.display()
        );
        return Err(Failure::of_path(&options.after, what));
    }
    if let Some(path) = &options.flame {
        write_flame(path, &before, &after, options)?;
    }
    let changes = changes(&before, &after, options.by);
    print::print(&before, &after, &changes, options, out)?;
    let (sum_before, sum_after) = (options.by.sum(&before), options.by.sum(&after));
    match options.fail_over {
        Some(growth) if growth.is_exceeded(sum_before, sum_after) => {
            // What was printed comes first, and may be for a program.
            out.flush()?;
            let grown = sum_after - sum_before;
            let line = format!(
                "{}: {} grew by {} from {} ({}), more than the {growth} that --fail-over allows",
                options.after.display(),
                options.by.title(&after),
                thousands(grown),
                thousands(sum_before),
                percent(grown, sum_before),
            );
            anstream::eprintln!("{}", escaped(&line));
            Ok(false)
        }
        _ => Ok(true),
    }
}

/// One row for each pair of sites, the largest change first.
pub(crate) fn changes(before: &Profile, after: &Profile, figure: Figure) -> Vec<Change> {
    let (sites_before, sites_after) = (Sites::new(before), Sites::new(after));
    let mut rows: BTreeMap<(Option<String>, Option<String>), Change> = BTreeMap::new();
    for pair in matching::pairs(&sites_before, &sites_after) {
        let label = |sites: &Sites<'_>, index: Option<usize>| {
            index.map(|index| sites.site(&sites.profile.points[index]).label())
        };
        let old = label(&sites_before, pair.before.first().copied());
        let new = label(&sites_after, pair.after.first().copied());
        let sum = |profile: &Profile, points: &[usize]| {
            let of = |&index: &usize| u128::from(figure.of(profile, index));
            let blocks = |&index: &usize| u128::from(profile.points[index].counts.total_blocks);
            (
                points.iter().map(of).sum::<u128>(),
                points.iter().map(blocks).sum::<u128>(),
            )
        };
        let (old_sum, old_blocks) = sum(before, &pair.before);
        let (new_sum, new_blocks) = sum(after, &pair.after);
        let name = new.clone().or_else(|| old.clone()).unwrap_or_default();
        let row = rows.entry((old, new)).or_insert(Change {
            name,
            before: 0,
            after: 0,
            before_blocks: 0,
            after_blocks: 0,
        });
        row.before += old_sum;
        row.after += new_sum;
        row.before_blocks += old_blocks;
        row.after_blocks += new_blocks;
    }
    let mut changes: Vec<Change> = rows
        .into_values()
        .filter(|row| row.difference() != 0 || row.before_blocks != row.after_blocks)
        .collect();
    changes.sort_by_key(|row| std::cmp::Reverse(row.difference().unsigned_abs()));
    changes
}

fn write_flame(path: &Path, before: &Profile, after: &Profile, options: &Options) -> Result<()> {
    let Figure::Metric(metric) = options.by else {
        let what = format!("there is no flame graph of {}", options.by);
        return Err(Failure::new(what));
    };
    let picture = diff_flame::Options {
        metric,
        places: false,
        title: None,
        widths: match options.widths {
            WidthsOf::Before => Widths::Before,
            WidthsOf::After => Widths::After,
        },
    };
    for profile in [&options.before, &options.after] {
        convert::refuse_loss(profile, path)?;
    }
    output::write(path, |sink| {
        diff_flame::write(before, after, &picture, sink)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth() {
        assert_eq!("5%".parse(), Ok(Growth::Percent(5.0)));
        assert_eq!("1,000".parse(), Ok(Growth::Amount(1000)));
        for wrong in ["", "%", "-1%", "nan%", "inf%", "5 percent", "-3"] {
            assert!(wrong.parse::<Growth>().is_err(), "{wrong}");
        }
        let five = Growth::Percent(5.0);
        assert!(!five.is_exceeded(100, 105) && five.is_exceeded(100, 106));
        assert!(!five.is_exceeded(0, 0) && five.is_exceeded(0, 1));
        assert!(!five.is_exceeded(100, 1));
        assert!(Growth::Amount(3).is_exceeded(1, 5) && !Growth::Amount(4).is_exceeded(1, 5));
        assert!(!Growth::Percent(0.0).is_exceeded(7, 7));
    }
}
