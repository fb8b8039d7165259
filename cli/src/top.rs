//! `top`: the totals, and who has most.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use clap::Args;
use heapledger_formats::metric::Metric;
use heapledger_formats::model::{Mode, Profile};
use serde::Serialize;

use crate::failure::{Failure, Result};
use crate::figures::{Figure, TOTALS};
use crate::load;
use crate::notes;
use crate::output;
use crate::resolve;
use crate::sites::{Grouping, Sites};
use crate::terminal::{Table, escaped, percent, thousands};

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The figure to rank by: total-bytes, peak-blocks, unwritten-bytes…
    #[arg(long, default_value = "total-bytes")]
    by: Figure,
    /// What makes a row
    #[arg(long, value_enum, default_value = "site")]
    group: Grouping,
    /// The most rows to show; 0 shows all
    #[arg(long, short = 'n', default_value_t = 20)]
    limit: usize,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
    /// Print what each process of a merged profile had, instead of sites
    #[arg(long, conflicts_with_all = ["by", "group", "json"])]
    processes: bool,
}

/// A row: what it is called, its figure, its counts, and the points that it stands for.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) value: u128,
    pub(crate) total_bytes: u128,
    pub(crate) total_blocks: u128,
    /// Numbers in the file's `pps`.
    pub(crate) points: Vec<usize>,
}

/// All rows with something of the figure, the largest first.
pub(crate) fn rows(sites: &Sites<'_>, figure: Figure, grouping: Grouping) -> Vec<Row> {
    let profile = sites.profile;
    let mut rows: Vec<Row> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for (index, point) in profile.points.iter().enumerate() {
        let value = u128::from(figure.of(profile, index));
        if value == 0 {
            continue;
        }
        let name = sites.group_of(point, grouping);
        let position = match grouping {
            Grouping::Point => rows.len(),
            _ => *known.entry(name.clone()).or_insert(rows.len()),
        };
        if position == rows.len() {
            rows.push(Row {
                name,
                value: 0,
                total_bytes: 0,
                total_blocks: 0,
                points: Vec::new(),
            });
        }
        let row = &mut rows[position];
        row.value += value;
        row.total_bytes += u128::from(point.counts.total_bytes);
        row.total_blocks += u128::from(point.counts.total_blocks);
        row.points.push(index);
    }
    rows.sort_by(|a, b| b.value.cmp(&a.value).then_with(|| a.points.cmp(&b.points)));
    rows
}

pub(crate) fn run(path: &Path, options: &Options, out: &mut dyn Write) -> Result<()> {
    let profile = load::profile(path)?;
    load::check_figure(path, &profile, options.by)?;
    if options.processes {
        return print_processes(path, &profile, options.limit, out);
    }
    let sites = Sites::new(&profile);
    if options.json {
        let mut rows = rows(&sites, options.by, options.group);
        rows.truncate(if options.limit == 0 {
            usize::MAX
        } else {
            options.limit
        });
        return print_json(&profile, options, &rows, out);
    }
    print_totals(&profile, out)?;
    if let Some(note) = resolve::note(&profile) {
        writeln!(out, "{}", escaped(&note))?;
    }
    print_table(&sites, options.by, options.group, options.limit, out)
}

/// The totals, and the sites with most bytes.
pub(crate) fn print_summary(profile: &Profile, limit: usize, out: &mut dyn Write) -> Result<()> {
    print_totals(profile, out)?;
    let most = Figure::Metric(Metric::TotalBytes);
    print_table(&Sites::new(profile), most, Grouping::Site, limit, out)
}

fn print_table(
    sites: &Sites<'_>,
    by: Figure,
    group: Grouping,
    limit: usize,
    out: &mut dyn Write,
) -> Result<()> {
    let mut rows = rows(sites, by, group);
    let whole: u128 = rows.iter().map(|row| row.value).sum();
    let count = rows.len();
    if limit > 0 {
        rows.truncate(limit);
    }
    let title = by.title(sites.profile);
    let header = ["#", &title, "share", "blocks", "bytes/block", "name"];
    let mut table = Table::new(&header);
    for (index, row) in rows.iter().enumerate() {
        let mean = row.total_bytes.checked_div(row.total_blocks);
        table.row(vec![
            (index + 1).to_string(),
            thousands(row.value),
            percent(row.value, whole),
            thousands(row.total_blocks),
            mean.map_or("-".into(), thousands),
            row.name.clone(),
        ]);
    }
    write!(out, "\n{}", table.to_text())?;
    if rows.len() < count {
        let more = count - rows.len();
        writeln!(
            out,
            "… and {} more (--limit 0 shows all)",
            thousands(more as u128)
        )?;
    }
    Ok(())
}

/// What DHAT's viewer calls the sums of all points.
pub(crate) fn print_totals(profile: &Profile, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "Command:    {}", escaped(&profile.command))?;
    writeln!(out, "PID:        {}", profile.pid)?;
    for (name, _, bytes, blocks) in TOTALS {
        if !bytes.is_in(profile) {
            continue;
        }
        let amount = |metric: Metric| {
            let sum = Figure::Metric(metric).sum(profile);
            format!("{} {}", thousands(sum), metric.unit(profile))
        };
        let blocks = blocks.map(|metric| format!(" in {}", amount(metric)));
        let line = format!(
            "{:<12}{}{}",
            format!("{name}:"),
            amount(bytes),
            blocks.unwrap_or_default()
        );
        writeln!(out, "{}", escaped(&line))?;
    }
    for note in notes::notes(profile) {
        writeln!(out, "{note}")?;
    }
    Ok(())
}

fn print_processes(
    path: &Path,
    profile: &Profile,
    limit: usize,
    out: &mut dyn Write,
) -> Result<()> {
    let processes = profile
        .extension
        .as_ref()
        .map_or(&[][..], |extension| &extension.processes);
    if processes.is_empty() {
        let what =
            "does not tell processes apart: `heapledger merge --per-process` writes one that does";
        return Err(Failure::of_path(path, what));
    }
    let mut sums = vec![[0_u128; 4]; processes.len()];
    for share in profile
        .point_extensions
        .iter()
        .flat_map(|point| &point.by_process)
    {
        if let Some(sums) = sums.get_mut(share.process as usize) {
            let share = [
                share.total_bytes,
                share.total_blocks,
                share.peak_bytes,
                share.end_bytes,
            ];
            sums.iter_mut()
                .zip(share)
                .for_each(|(sum, share)| *sum += u128::from(share));
        }
    }
    let mut order: Vec<usize> = (0..processes.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(sums[index]));
    print_totals(profile, out)?;
    let mut table = Table::new(&[
        "pid",
        "bytes",
        "blocks",
        "at its peak",
        "at its end",
        "file",
    ]);
    let shown = if limit == 0 { order.len() } else { limit };
    for &index in order.iter().take(shown) {
        let mut row = vec![processes[index].pid.to_string()];
        row.extend(sums[index].map(thousands));
        row.push(processes[index].file.clone());
        table.row(row);
    }
    write!(out, "\n{}", table.to_text())?;
    if shown < order.len() {
        writeln!(
            out,
            "… and {} more (--limit 0 shows all)",
            thousands((order.len() - shown) as u128)
        )?;
    }
    Ok(())
}

/// What `--json` prints. Sums may be beyond 64 bits, which a `serde_json::Value` cannot hold.
#[derive(Debug, Serialize)]
struct Json<'a> {
    command: &'a str,
    pid: u32,
    mode: &'static str,
    by: String,
    totals: BTreeMap<String, u128>,
    rows: &'a [Row],
}

fn print_json(
    profile: &Profile,
    options: &Options,
    rows: &[Row],
    out: &mut dyn Write,
) -> Result<()> {
    let totals: BTreeMap<String, u128> = Metric::of_profile(profile)
        .into_iter()
        .filter(|metric| !matches!(metric, Metric::MaxBytes | Metric::MaxBlocks))
        .map(|metric| (metric.to_string(), Figure::Metric(metric).sum(profile)))
        .collect();
    let mode = match profile.mode {
        Mode::Heap => "heap",
        Mode::AdHoc => "ad-hoc",
        Mode::Copy => "copy",
    };
    let json = Json {
        command: &profile.command,
        pid: profile.pid,
        mode,
        by: options.by.to_string(),
        totals,
        rows,
    };
    output::write_json(&json, out)
}
