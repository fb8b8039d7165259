//! Hand-made snapshots for tests.

use std::path::PathBuf;

use super::profile::Options;
use super::trim::Trim;
use crate::record::snapshot::{
    Accesses, BuildId, Counts, Kind, Module, Node, Refusals, SampleSum, SiteCounts, SiteList,
    Snapshot, Totals, Touched,
};

/// Sites whose counts differ in every field, so that a mix-up of two shows.
pub(super) fn counts(bytes: u64) -> Counts {
    Counts {
        total_blocks: 10,
        total_bytes: bytes,
        lifetimes_us: 77,
        max_bytes: bytes / 2,
        max_blocks: 5,
        peak_bytes: bytes / 3,
        peak_blocks: 3,
        end_bytes: bytes / 4,
        end_blocks: 2,
        largest_bytes: bytes / 5,
        reallocs: 4,
        kept_bytes: bytes / 6,
        copied_bytes: bytes / 12,
        samples: SampleSum::default(),
        touched: Touched::default(),
    }
}

/// A snapshot of these stacks (innermost first), each a site of its own.
pub(super) fn snapshot(kind: Kind, sites: &[(&[u64], Counts)]) -> Snapshot {
    let mut nodes = vec![Node {
        parent: 0,
        address: 0,
    }];
    let mut totals = Totals::default();
    let mut site_counts = SiteList::default();
    for &(stack, counts) in sites {
        let mut leaf = 0;
        for &address in stack.iter().rev() {
            nodes.push(Node {
                parent: leaf,
                address,
            });
            leaf = nodes.len() as u32 - 1;
        }
        site_counts.push(&SiteCounts {
            number: site_counts.len() as u32 + 1,
            leaf,
            counts,
        });
        totals.total_bytes += counts.total_bytes;
        totals.total_blocks += counts.total_blocks;
        totals.peak_bytes += counts.peak_bytes;
        totals.peak_blocks += counts.peak_blocks;
        totals.live_bytes += counts.end_bytes;
        totals.live_blocks += counts.end_blocks;
    }
    let timeline = match kind {
        Kind::Heap => totals.framing(std::iter::empty(), 1_500, 2_000),
        Kind::AdHoc | Kind::Copies => Vec::new(),
    };
    Snapshot {
        kind,
        duration_us: 2_000,
        peak_at_us: 1_500,
        totals,
        sites: site_counts,
        time: None,
        site_times: Vec::new(),
        accesses: Accesses::NotCounted,
        timeline,
        nodes,
        modules: Vec::new(),
        sample_bytes: None,
        refusals: Refusals::default(),
        capture: "by hand",
    }
}

pub(super) fn options(trim: Trim) -> Options {
    Options {
        trim,
        command: "app --größe \"1\"".to_owned(),
        pid: 42,
        touch_as_accesses: false,
    }
}

/// The running test program as a module, so that real return addresses resolve.
pub(super) fn this_program() -> Module {
    let path: PathBuf = std::env::current_exe().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let of_this = maps
        .lines()
        .filter(|line| line.ends_with(path.to_str().unwrap()));
    let range = |line: &str| {
        let (start, end) = line
            .split_whitespace()
            .next()
            .unwrap()
            .split_once('-')
            .unwrap();
        let number = |hex| u64::from_str_radix(hex, 16).unwrap();
        (number(start), number(end))
    };
    let ranges: Vec<(u64, u64)> = of_this.map(range).collect();
    let (start, end) = (ranges[0].0, ranges[ranges.len() - 1].1);
    // A position-independent program is linked at 0.
    Module {
        path,
        bias: start,
        start,
        end,
        build_id: BuildId::default(),
        is_loaded: true,
    }
}

/// The stack of the caller, innermost first.
pub(super) fn own_stack() -> Vec<u64> {
    let mut stack = Vec::new();
    backtrace::trace(|frame| {
        stack.push(frame.ip() as u64);
        true
    });
    stack
}
