//! `ms_print`.

use heapledger_formats::massif::{self, Options};
use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use viewer_compat::ViewerError;
use viewer_compat::massif::{Massif, open_in_ms_print};
use viewer_compat::profiles::{self, NAMES};

use crate::{Scratch, sum, written};

fn open(name: &str, profile: &Profile) -> Massif {
    let bytes = written(|out| massif::write(profile, &Options::default(), out));
    let scratch = Scratch::new("massif.out", &bytes);
    open_in_ms_print(scratch.path()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn opens_every_profile_that_tells_what_was_live() {
    for sample in profiles::all() {
        let (name, profile) = (sample.name, &sample.profile);
        if !profile.has_lifetimes {
            assert!(massif::write(profile, &Options::default(), Vec::new()).is_err());
            continue;
        }
        let drawn = open(name, profile);
        let levels: Vec<u64> = drawn.snapshots.iter().map(|&(_, bytes)| bytes).collect();
        let (peak, end) = (
            sum(profile, Metric::PeakBytes),
            sum(profile, Metric::EndBytes),
        );
        if profile.extension.is_some() {
            let expected = [0, 200_000, 300_000, peak, 250_000, end];
            assert_eq!(levels, expected, "{name}");
            let times: Vec<&str> = drawn
                .snapshots
                .iter()
                .map(|(time, _)| time.as_str())
                .collect();
            assert_eq!(times, ["0", "100", "1,000", "1,500", "1,700", "2,000"]);
        } else {
            assert_eq!(levels, [0, peak, end], "{name}");
        }
        assert!(drawn.text.contains("(peak)"), "{name}: {}", drawn.text);
    }
}

#[test]
fn names_files_and_lines_are_shown_as_they_are() {
    let drawn = open("names", &profiles::names());
    for (n, name) in NAMES.iter().enumerate() {
        // A `#` begins a comment in this format.
        let name = name.replace('#', "＃");
        let frame = format!(
            "0x{:X}: {name} (src/größe (1)/file.rs:{})",
            0x1000 + n,
            n + 1
        );
        assert!(
            drawn.text.contains(&frame),
            "{frame} is not in\n{}",
            drawn.text
        );
    }
}

#[test]
fn broken_files_are_refused_and_wrong_sums_are_seen() {
    let bytes = written(|out| massif::write(&profiles::heap(), &Options::default(), out));
    let text = String::from_utf8(bytes).unwrap();
    for broken in [
        text.replace("time_unit: ms", "time_unit: µs"),
        text.replacen("mem_heap_extra_B=0\n", "", 1),
        text[..text.len() / 2].to_owned(),
    ] {
        assert_ne!(broken, text);
        let scratch = Scratch::new("massif.out", broken.as_bytes());
        let result = open_in_ms_print(scratch.path());
        assert!(matches!(result, Err(ViewerError::Refused(_))), "{result:?}");
    }
    let mut other = profiles::heap();
    other.points[0].counts.peak_bytes += 1;
    assert_ne!(
        open("heap", &other).snapshots,
        open("heap", &profiles::heap()).snapshots
    );
}
