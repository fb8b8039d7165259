//! Whatever bytes a DHAT file holds: an error, or a profile that every format takes, and
//! that is the same after it was written and read again.
#![no_main]

use heapledger_formats::limits::{VIEWERS, fit};
use heapledger_formats::model::Counts;
use heapledger_formats::read::from_slice;
use heapledger_formats::{callgrind, dhat, firefox, flame, folded, massif, pprof, speedscope};
use libfuzzer_sys::fuzz_target;
use std::io::sink;

fuzz_target!(|text: &[u8]| {
    let Ok(profile) = from_slice(text) else {
        return;
    };
    let mut written = Vec::new();
    dhat::write(&profile, &dhat::Options::default(), &mut written).expect("memory takes it");
    let again = from_slice(&written).expect("what we have written can be read");
    // Points of equal frames, which viewers refuse, are written as one.
    let fitted = fit(&profile, VIEWERS).profile;
    assert_eq!(fitted.points.len(), again.points.len());
    for (before, after) in std::iter::zip(&fitted.points, &again.points) {
        assert_eq!(as_written(before.counts), after.counts);
    }
    // Some formats have no place for some kinds of profile: an error, not a panic.
    let _ = folded::write(&profile, &folded::Options::default(), sink());
    let _ = flame::write(&profile, &flame::Options::default(), sink());
    let _ = pprof::write(&profile, &pprof::Options::default(), sink());
    let _ = firefox::write(&profile, &firefox::Options::default(), sink());
    let _ = speedscope::write(&profile, &speedscope::Options::default(), sink());
    let _ = massif::write(&profile, &massif::Options::default(), sink());
    callgrind::write(&profile, &callgrind::Options::default(), sink()).expect("takes every kind");
});

/// Viewers read numbers as floating-point ones, so no larger one is written than those count exactly.
fn as_written(counts: Counts) -> Counts {
    let number = |value: u64| value.min(1 << 53);
    Counts {
        total_bytes: number(counts.total_bytes),
        total_blocks: number(counts.total_blocks),
        lifetimes: number(counts.lifetimes),
        max_bytes: number(counts.max_bytes),
        max_blocks: number(counts.max_blocks),
        peak_bytes: number(counts.peak_bytes),
        peak_blocks: number(counts.peak_blocks),
        end_bytes: number(counts.end_bytes),
        end_blocks: number(counts.end_blocks),
        read_bytes: number(counts.read_bytes),
        written_bytes: number(counts.written_bytes),
    }
}
