//! How far a profile's figures can be trusted, in sentences: what its file says of itself.

use heapledger_formats::model::Profile;
use serde_json::Value;

use crate::terminal::thousands;

/// Instead of how stacks were taken.
const RECOVERED: &str = "recovered";

pub(crate) fn notes(profile: &Profile) -> Vec<String> {
    let Some(extension) = &profile.extension else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    if extension.capture == RECOVERED {
        notes.push(
            "Recovered from what the process left, which did not come to its end: bytes written, reallocations and \
             the curve over time are not known."
                .to_owned(),
        );
    }
    if let Some(bytes) = extension.sample_bytes {
        notes.push(format!(
            "All figures are estimates: one block was sampled in {} allocated bytes.",
            thousands(bytes.into())
        ));
    }
    let number = |value: &Option<Value>, key: &str| {
        let number = value.as_ref().and_then(|value| value.get(key)?.as_u64());
        number.unwrap_or(0)
    };
    let processes = number(&extension.exact, "merged_profiles");
    if processes > 1 {
        notes.push(format!(
            "Merged from {}: figures at the peak are sums of what each process had at its own peak.",
            thousands(processes.into())
        ));
    }
    for (key, what) in [
        (
            "peak_slack_bytes",
            "Bytes that the true peak may lie above the one told",
        ),
        (
            "bounded_max_sites",
            "Sites of several threads, whose most bytes live at once are known to 1/64 or 1 KiB a thread",
        ),
        ("folded_points", "Smallest points summed up as [other]"),
    ] {
        let count = number(&extension.exact, key);
        if count > 0 {
            notes.push(format!("{what}: {}.", thousands(count.into())));
        }
    }
    for (key, what) in [
        (
            "dropped_allocs",
            "Allocations not recorded because a table was full",
        ),
        (
            "reentrant_allocs",
            "Allocations not recorded because they interrupted the profiler",
        ),
        (
            "reentrant_frees",
            "Frees not recorded because they interrupted the profiler",
        ),
        (
            "truncated_stacks",
            "Stacks that end early at a frame without unwind information",
        ),
        (
            "unsized_frees",
            "Blocks allocated by Rust and freed by C's free, which stayed counted as live",
        ),
        (
            "torn_readings",
            "Readings that can be off by one operation of a thread",
        ),
    ] {
        let count = number(&extension.refused, key);
        if count > 0 {
            notes.push(format!("{what}: {}.", thousands(count.into())));
        }
    }
    notes
}
