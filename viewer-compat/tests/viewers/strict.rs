//! Readers that are stricter than DHAT's viewer.

use heapledger_formats::model::Mode;
use viewer_compat::profiles;
use viewer_compat::strict::{StrictMode, read_strictly};

use crate::dhat;

#[test]
fn every_profile_is_accepted() {
    for sample in profiles::all() {
        let file = read_strictly(&dhat::text(&sample.profile));
        let file = file.unwrap_or_else(|error| panic!("{}: {error}", sample.name));
        let mode = match sample.profile.mode {
            Mode::Heap => StrictMode::Heap,
            Mode::AdHoc => StrictMode::AdHoc,
            Mode::Copy => StrictMode::Copy,
        };
        assert_eq!(file.mode, mode, "{}", sample.name);
        assert!(file.te > 0 && file.tg.is_none_or(|tg| tg <= file.te));
        assert_eq!(file.ftbl[0], "[root]");
        let sum: u64 = file.pps.iter().map(|point| point.tb).sum();
        let expected: u64 = sample
            .profile
            .points
            .iter()
            .map(|point| point.counts.total_bytes)
            .sum();
        assert_eq!(sum, expected, "{}", sample.name);
    }
}

#[test]
fn what_they_refuse_is_refused() {
    let text = dhat::text(&profiles::heap());
    for (from, to) in [
        ("\"mode\":\"heap\"", "\"mode\":\"rust-heap\""),
        ("\"pid\":4242", "\"pid\":4294967296"),
        ("\"tb\":", "\"tb\":-"),
        ("\"tl\":", "\"lt\":"),
        ("\"fs\":[3,1]", "\"fs\":[3,99]"),
        ("\"te\":", "\"et\":"),
    ] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text, "{from}");
        assert!(read_strictly(&broken).is_err(), "{to}");
    }
}
