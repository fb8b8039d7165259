//! Programs whose counts are known, in debug builds, release builds, and with link-time
//! optimization and abort on panic.

use crate::builds::{Build, DEBUG, LTO, RELEASE};
use crate::dhat_file::DhatFile;

const ALL: [Build; 3] = [DEBUG, RELEASE, LTO];

/// `(read, written, touched, untold)` of the points with a function.
#[track_caller]
fn assert_counts(profile: &DhatFile, function: &str, expected: (u64, u64, u64, u64)) {
    let sum = profile.sum_of(function);
    let counts = (
        sum.read.unwrap_or(u64::MAX),
        sum.written.unwrap_or(u64::MAX),
        sum.touched,
        sum.untold,
    );
    assert_eq!(
        counts, expected,
        "{function}: read, written, touched, untold"
    );
}

#[test]
fn every_size_of_access_is_counted() {
    for build in ALL {
        let profile = build.run("counts").in_order().profile();
        assert!(profile.bkacc, "{build:?}");
        assert_counts(&profile, "counted_block", (7, 31, 24, 0));
        assert_counts(&profile, "sparse_block", (0, 100, 100, 0));
        assert_counts(&profile, "copied_block", (300, 300, 300, 0));
    }
}

#[test]
fn the_estimate_stands_beside_the_count() {
    let profile = RELEASE.run("estimate").in_order().profile();
    for (function, bytes) in [
        ("counted_block", 24),
        ("sparse_block", 100),
        ("copied_block", 300),
    ] {
        let sum = profile.sum_of(function);
        assert_eq!((sum.touched, sum.untold), (bytes, 0), "{function}");
        assert_eq!(sum.estimate, Some(bytes), "{function}");
    }
    assert_counts(&profile, "sparse_block", (0, 100, 100, 0));
    let profile = RELEASE.run("counts").in_order().profile();
    assert_eq!(profile.sum_of("sparse_block").estimate, None);
}

#[test]
fn a_block_may_lie_in_two_regions() {
    for build in ALL {
        let profile = build.run("straddling").in_order().profile();
        let bytes = 12_345;
        // From 4 on, each 8 of them, as long as 8 are left behind.
        let unaligned = 8 * (bytes - 8_u64 - 4).div_ceil(8);
        let written = bytes + unaligned + bytes;
        assert_counts(&profile, "straddling", (bytes, written, bytes, 0));
    }
}

#[test]
fn copies_of_values_and_comparisons_are_counted_wherever_they_lie() {
    for build in ALL {
        let profile = build.run("values").in_order().profile();
        let of_all = |each: fn(u64) -> u64| 64 * (1..=57).map(each).sum::<u64>();
        let (written, distinct) = (of_all(|bytes| 2 * bytes), of_all(|bytes| bytes + bytes / 2));
        assert_counts(&profile, "copied_values", (0, written, distinct, 0));
        let sizes = [1, 7, 8, 40, 64, 65, 100_u64];
        let up_to_difference = |bytes: u64| (0..=bytes).map(move |at| 2 * bytes.min(at + 1));
        let read = sizes.into_iter().flat_map(up_to_difference).sum();
        let written = sizes.into_iter().sum();
        assert_counts(&profile, "compared", (read, written, written, 0));
    }
}

#[test]
fn a_second_run_counts_its_own() {
    for build in ALL {
        let profile = build.run("again").in_order().profile();
        assert_counts(&profile, "counted_block", (7, 31, 24, 0));
        assert_counts(&profile, "copied_block", (300, 300, 300, 0));
        assert_counts(&profile, "outlives_the_run", (0, 10, 10, 0));
    }
}

#[test]
fn threads_lose_no_count() {
    for build in ALL {
        let profile = build.run("threads").in_order().profile();
        let own = profile.sum_of("thread_own");
        assert_eq!(own.written, Some(4 * 500 * 48), "{build:?}");
        assert_eq!(own.touched, 4 * 48);
        // The one block of 64 bytes.
        let shared = profile
            .pps
            .iter()
            .find(|point| (point.tb, point.tbk) == (64, 1));
        let shared = shared.expect("the shared block");
        assert_eq!((shared.rb, shared.wb), (Some(4 * 50_000), Some(64)));
    }
}

#[test]
fn a_forked_process_counts_on_by_itself() {
    let ran = RELEASE.run("fork").in_order();
    let mut files = ran.files();
    // `profile.PID.json` before `profile.json`.
    files.sort_by_key(|(name, _)| name.len());
    let [(_, parent), (_, child)] = &files[..] else {
        panic!("{files:?}");
    };
    let block = |profile: &DhatFile| {
        let point = profile
            .pps
            .iter()
            .find(|point| (point.tb, point.tbk) == (200, 1));
        point.expect("the block").wb
    };
    assert_eq!((block(parent), block(child)), (Some(110), Some(150)));
    assert_eq!(parent.sum_of("thread_own").written, None);
    assert_eq!(child.sum_of("thread_own").written, Some(500 * 48));
}

#[test]
fn what_a_reallocation_keeps_is_read_and_written() {
    for build in ALL {
        let profile = build.run("resized").in_order().profile();
        let small = (100 + 20, 40 + 100 + 10 + 20, 50);
        let large = (100_000 + 200_000, 3 + 100_000 + 3 + 200_000 + 2, 4);
        assert_counts(
            &profile,
            "scenarios::resized",
            (small.0 + large.0, small.1 + large.1, small.2 + large.2, 0),
        );
    }
}

#[test]
fn writes_without_a_callback_are_found() {
    for build in ALL {
        let profile = build.run("untold").in_order().profile();
        assert_counts(&profile, "untold_freed", (0, 12 + 56, 68, 56));
        assert_counts(&profile, "untold_zeroed", (1_000, 30, 30, 30));
        assert_counts(
            &profile,
            "untold_moved",
            (500 + 500, 500 + 500 + 60, 60, 60),
        );
        assert_counts(&profile, "untold_live", (0, 5_001, 5_001, 5_001));
    }
}

#[test]
fn accesses_outside_of_the_run_do_no_harm() {
    for build in ALL {
        let ran = build.run("outside").in_order();
        let profile = ran.profile();
        assert_counts(&profile, "outlives_the_run", (0, 10, 10, 0));
        assert_counts(&profile, "late_block", (0, 32, 32, 0));
        assert!(!profile.pps.iter().any(|point| point.tb == 128), "{ran:?}");
    }
}

#[test]
fn a_panic_leaves_the_counts() {
    for build in [DEBUG, LTO] {
        let ran = build.run("panic");
        assert!(ran.stderr().contains("as asked"), "{}", ran.stderr());
        assert_counts(&ran.profile(), "counted_block", (7, 31, 24, 0));
    }
}

#[test]
fn bytes_are_counted_one_by_one_in_blocks_of_one_size() {
    for build in ALL {
        let profile = build.run("histograms").in_order().profile();
        let counts = [vec![9; 4], vec![3; 16]].concat();
        assert_eq!(profile.sum_of("counted_bytes").histograms, [counts]);
        let mixed = profile.sum_of("of_two_sizes");
        assert_eq!(mixed.written, Some(50));
        assert!(mixed.histograms.is_empty());
        let in_threads = profile.sum_of("counted_in_threads").histograms;
        let mut expected = vec![2; 8];
        expected[5] = 65_535;
        assert_eq!(in_threads, [expected]);
    }
}
