//! Whatever bytes a DHAT file holds: an error, or a profile that every format takes, and
//! that is the same after it was written and read again.
#![no_main]

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
    // NaN is not equal to itself, and JSON has none.
    assert_eq!(profile.points.len(), again.points.len());
    for (before, after) in std::iter::zip(&profile.points, &again.points) {
        assert_eq!(before.counts, after.counts);
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
