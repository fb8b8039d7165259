//! Results as Markdown.

use crate::Results;
use crate::cases::{CASES, Case, HEAPLEDGER, HEAPSCOPE, Kind, NO_TOUCH, PEERS};
use crate::runs::Measured;
use std::fmt::Write;

const NONE: usize = 0;
const MIB: f64 = (1 << 20) as f64;

pub(crate) fn all(results: &Results) -> String {
    let is_program = |kind| matches!(kind, Kind::Program | Kind::Threads);
    let seconds = |value: f64| format!("{value:.2} s");
    let mebibytes = |value: f64| format!("{:.0} MiB", value / MIB);
    let nanoseconds = |value: f64| format!("{value:.1} ns");
    let per_operation = |run: &Measured| run.cpu * 1e9 / run.operations;
    let mut text = String::new();
    let mut add = |title, table: Table| text.push_str(&table.to_markdown(title));
    add(
        "CPU time of the work",
        Table::ratios(results, is_program, |run| run.cpu, seconds),
    );
    add(
        "Of that, outside of the kernel",
        Table::ratios(results, is_program, |run| run.user, seconds),
    );
    add(
        "Elapsed time of the work",
        Table::ratios(results, is_program, |run| run.wall, seconds),
    );
    add(
        "Peak resident memory while working",
        Table::ratios(results, is_program, |run| run.working_rss, mebibytes),
    );
    add(
        "Peak resident memory of the process, with the end of the run",
        Table::ratios(results, is_program, |run| run.peak_rss, mebibytes),
    );
    add(
        "An operation's CPU time, and as a multiple of the same peer's with one thread",
        Table::threads(results, per_operation),
    );
    add(
        "What a profiler adds to an operation's CPU time, and as a multiple of what heapscope adds",
        Table::added(results, per_operation),
    );
    let is_pairs = |kind| kind == Kind::Pairs;
    add(
        "Allocation and free of 64 bytes",
        Table::ratios(results, is_pairs, per_operation, nanoseconds),
    );
    add(
        "The estimate of bytes written: with it, as a multiple of without",
        Table::touch(results),
    );
    add("End of the run", Table::ends(results));
    add("Counted", Table::totals(results));
    text
}

/// Rows of cells, a column a peer.
struct Table {
    peers: Vec<usize>,
    rows: Vec<(&'static str, Vec<String>)>,
}

impl Table {
    fn new(
        results: &Results,
        wanted: impl Fn(Kind) -> bool,
        cell: impl Fn(usize, usize, &[Measured]) -> String,
    ) -> Self {
        let peers: Vec<usize> = (0..PEERS.len())
            .filter(|&peer| results.keys().any(|key| key.1 == peer))
            .collect();
        let measured = |&(case, _): &(usize, &Case)| results.contains_key(&(case, NONE));
        let cases = CASES.iter().enumerate().filter(measured);
        let rows = cases
            .filter(|(_, case)| wanted(case.kind))
            .map(|(case, Case { label, .. })| {
                let cell = |&peer: &usize| match results.get(&(case, peer)) {
                    Some(runs) => cell(case, peer, runs),
                    None => String::new(),
                };
                (*label, peers.iter().map(cell).collect())
            })
            .collect();
        Self { peers, rows }
    }

    /// The unprofiled program's value, and the others' as multiples of it.
    fn ratios(
        results: &Results,
        wanted: impl Fn(Kind) -> bool,
        value: impl Fn(&Measured) -> f64,
        format: impl Fn(f64) -> String,
    ) -> Self {
        Self::new(results, wanted, |case, peer, runs| {
            let base = Spread::of(&results[&(case, NONE)], &value).median;
            let spread = Spread::of(runs, &value);
            let median = format(spread.median);
            let range = spread.range(base);
            if peer == NONE {
                return format!("{median}{range}");
            }
            let differs = runs[0].checksum != results[&(case, NONE)][0].checksum;
            let wrong = if differs { " **other work**" } else { "" };
            format!("{median} · **{:.2}×**{range}{wrong}", spread.median / base)
        })
    }

    fn threads(results: &Results, value: impl Fn(&Measured) -> f64) -> Self {
        let wanted = |kind| kind == Kind::Threads;
        Self::new(results, wanted, |case, peer, runs| {
            let spread = Spread::of(runs, &value);
            let is_single =
                |other: &Case| other.workload == CASES[case].workload && other.parameter == 1;
            let single = CASES.iter().position(is_single);
            let single = single.and_then(|single| results.get(&(single, peer)));
            // Not every work is done by one thread as well.
            let ratio = single.map_or(String::new(), |single| {
                let ratio = spread.median / Spread::of(single, &value).median;
                format!(" · {ratio:.2}×")
            });
            format!("{:.0} ns{ratio}", spread.median)
        })
    }

    /// What each peer takes beyond the unprofiled program.
    fn added(results: &Results, value: impl Fn(&Measured) -> f64) -> Self {
        let heapscope = PEERS.iter().position(|peer| peer.name == HEAPSCOPE);
        let wanted = |kind| kind == Kind::Threads;
        Self::new(results, wanted, |case, peer, runs| {
            let median = |runs: &[Measured]| Spread::of(runs, &value).median;
            let base = median(&results[&(case, NONE)]);
            if peer == NONE {
                return format!("{base:.1} ns in all");
            }
            let added = median(runs) - base;
            let reference = heapscope.and_then(|heapscope| results.get(&(case, heapscope)));
            let ratio = reference.map_or(String::new(), |reference| {
                format!(" · {:.3}×", added / (median(reference) - base))
            });
            format!("{added:.1} ns{ratio}")
        })
    }

    fn touch(results: &Results) -> Self {
        let peer = |name| PEERS.iter().position(|peer| peer.name == name);
        let mut table = Self {
            peers: Vec::new(),
            rows: Vec::new(),
        };
        let (Some(with), Some(without)) = (peer(HEAPLEDGER), peer(NO_TOUCH)) else {
            return table;
        };
        table.peers.push(with);
        for (index, case) in CASES.iter().enumerate() {
            let runs = |peer| results.get(&(index, peer));
            let (Some(with), Some(without)) = (runs(with), runs(without)) else {
                continue;
            };
            let ratio = |value: fn(&Measured) -> f64| {
                Spread::of(with, value).median / Spread::of(without, value).median
            };
            let cell = format!(
                "CPU {:.3}× (outside of the kernel {:.3}×), resident {:.3}×",
                ratio(|run| run.cpu),
                ratio(|run| run.user),
                ratio(|run| run.working_rss)
            );
            table.rows.push((case.label, vec![cell]));
        }
        table
    }

    fn ends(results: &Results) -> Self {
        Self::new(
            results,
            |kind| kind != Kind::Pairs,
            |_, _, runs| {
                let Some(first) = runs.first().filter(|run| run.file > 0.0) else {
                    return String::new();
                };
                let end = Spread::of(runs, |run| run.end);
                let rss = Spread::of(runs, |run| run.peak_rss).median;
                format!(
                    "{:.2} s{}, {:.1} MB, {} points, {:.0} MiB",
                    end.median,
                    end.range(end.median),
                    first.file / 1e6,
                    first.points,
                    rss / MIB
                )
            },
        )
    }

    fn totals(results: &Results) -> Self {
        Self::new(
            results,
            |kind| kind != Kind::Pairs,
            |_, _, runs| match runs.first().and_then(|run| run.totals) {
                Some([blocks, bytes, peak]) => format!("{blocks} blocks, {bytes} B, peak {peak} B"),
                None => String::new(),
            },
        )
    }

    fn to_markdown(&self, title: &str) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let names = self.peers.iter().map(|&peer| PEERS[peer].name);
        let header: String = names.map(|name| format!(" {name} |")).collect();
        let line = "---|".repeat(self.peers.len());
        let mut text = format!("\n{title}\n\n| |{header}\n|---|{line}\n");
        for (label, cells) in &self.rows {
            let cells: String = cells.iter().map(|cell| format!(" {cell} |")).collect();
            let _ = writeln!(text, "| {label} |{cells}");
        }
        text
    }
}

struct Spread {
    min: f64,
    median: f64,
    max: f64,
    count: usize,
}

impl Spread {
    fn of(runs: &[Measured], value: impl Fn(&Measured) -> f64) -> Self {
        let mut values: Vec<f64> = runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            0 => (values[middle - 1] + values[middle]) / 2.0,
            _ => values[middle],
        };
        Self {
            min: values[0],
            median,
            max: values[values.len() - 1],
            count: values.len(),
        }
    }

    /// The least and the greatest, as multiples of `base`.
    fn range(&self, base: f64) -> String {
        match self.count {
            1 => String::new(),
            _ => format!(" ({:.2}–{:.2})", self.min / base, self.max / base),
        }
    }
}
