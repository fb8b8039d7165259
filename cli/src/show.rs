//! `show`: all that is known of some points.

use std::io::Write;
use std::path::Path;

use clap::Args;
use heapledger_formats::model::{Point, Profile};

use crate::failure::{Failure, Result};
use crate::figures::Figure;
use crate::load;
use crate::sites::{Grouping, Sites};
use crate::terminal::{escaped, thousands};
use crate::top;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// A row of `top` by its number, or a part of a function's or file's name
    site: String,
    /// The figure that `top` ranked by
    #[arg(long, default_value = "total-bytes")]
    by: Figure,
    /// What made a row of `top`
    #[arg(long, value_enum, default_value = "site")]
    group: Grouping,
    /// The most points to show; 0 shows all
    #[arg(long, short = 'n', default_value_t = 5)]
    limit: usize,
}

pub(crate) fn run(path: &Path, options: &Options, out: &mut dyn Write) -> Result<()> {
    let profile = load::profile(path)?;
    load::check_figure(path, &profile, options.by)?;
    let sites = Sites::new(&profile);
    let rows = top::rows(&sites, options.by, options.group);
    let points: Vec<usize> = match options.site.parse::<usize>() {
        Ok(rank) => {
            let row = rank.checked_sub(1).and_then(|index| rows.get(index));
            let none = || {
                Failure::of_path(
                    path,
                    format!("has no row {rank}: `top` shows {}", rows.len()),
                )
            };
            row.ok_or_else(none)?.points.clone()
        }
        Err(_) => {
            let frames: Vec<bool> = profile
                .frames
                .iter()
                .map(|text| text.contains(&options.site))
                .collect();
            let is_named = |&index: &usize| {
                let stack = profile.stack(&profile.points[index]);
                stack.iter().any(|&frame| frames[frame as usize])
            };
            rows.iter()
                .flat_map(|row| row.points.iter().copied())
                .filter(is_named)
                .collect()
        }
    };
    if points.is_empty() {
        let what = format!("no stack has a frame with `{}` in it", options.site);
        return Err(Failure::of_path(path, what));
    }
    let shown = if options.limit == 0 {
        points.len()
    } else {
        options.limit
    };
    for &index in points.iter().take(shown) {
        print_point(&sites, index, out)?;
    }
    if points.len() > shown {
        let more = thousands((points.len() - shown) as u128);
        writeln!(out, "… and {more} more points (--limit 0 shows all)")?;
    }
    Ok(())
}

fn print_point(sites: &Sites<'_>, index: usize, out: &mut dyn Write) -> Result<()> {
    let profile = sites.profile;
    let point = &profile.points[index];
    writeln!(out, "{}", escaped(&sites.site(point).label()))?;
    for figure in Figure::of_profile(profile) {
        let value = thousands(figure.of(profile, index).into());
        let interval = figure
            .interval(profile, index)
            .filter(|(low, high)| low != high);
        let bound = interval.map(|(low, high)| {
            format!(
                " (from {} to {}, 95 %)",
                thousands(low.into()),
                thousands(high.into())
            )
        });
        let bound = bound.unwrap_or_default();
        let title = escaped(&figure.title(profile)).to_string();
        writeln!(out, "  {title:<36}{value}{bound}")?;
    }
    let largest = profile
        .point_extensions
        .get(index)
        .map_or(0, |point| point.largest_bytes);
    print_means(profile, point, largest, out)?;
    if let Some((_, counts)) = profile
        .histograms
        .iter()
        .find(|(owner, _)| *owner as usize == index)
    {
        writeln!(out, "  accesses of each byte:")?;
        for (row, counts) in counts.chunks(16).enumerate() {
            let cells = counts.iter().map(|count| match count {
                0 => "    -".into(),
                65535.. => "    ∞".into(),
                count => format!("{count:>5}"),
            });
            writeln!(
                out,
                "  [{:>4}] {}",
                row * 16,
                cells.collect::<Vec<_>>().join(" ")
            )?;
        }
    }
    print_processes(profile, index, out)?;
    writeln!(out, "  allocated at:")?;
    for &frame in profile.stack(point) {
        writeln!(out, "    {}", escaped(&profile.frames[frame as usize]))?;
    }
    writeln!(out)?;
    Ok(())
}

fn print_processes(profile: &Profile, index: usize, out: &mut dyn Write) -> Result<()> {
    let processes = profile
        .extension
        .as_ref()
        .map_or(&[][..], |extension| &extension.processes);
    let shares = profile
        .point_extensions
        .get(index)
        .map_or(&[][..], |point| &point.by_process);
    for share in shares {
        let Some(process) = processes.get(share.process as usize) else {
            continue;
        };
        let (bytes, blocks) = (
            thousands(share.total_bytes.into()),
            thousands(share.total_blocks.into()),
        );
        writeln!(
            out,
            "  of which {bytes} in {blocks} blocks by {} ({})",
            process.pid,
            escaped(&process.file)
        )?;
    }
    Ok(())
}

fn print_means(profile: &Profile, point: &Point, largest: u64, out: &mut dyn Write) -> Result<()> {
    let counts = point.counts;
    let Some(size) = counts.total_bytes.checked_div(counts.total_blocks) else {
        return Ok(());
    };
    writeln!(out, "  {:<36}{}", "mean size", thousands(size.into()))?;
    if largest > 0 {
        writeln!(
            out,
            "  {:<36}{}",
            "largest block",
            thousands(largest.into())
        )?;
    }
    if profile.has_lifetimes {
        let mean = counts.lifetimes / counts.total_blocks;
        let unit = escaped(&profile.time_units.0);
        writeln!(
            out,
            "  {:<36}{} {unit}",
            "mean lifetime",
            thousands(mean.into())
        )?;
    }
    Ok(())
}
