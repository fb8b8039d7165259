//! A file written by dhat-rs itself passes the same checks: they hold for the format, not for us alone.

use std::fs;
use std::hint::black_box;

use viewer_compat::{file_sums, open_in_dhat_viewer};

#[global_allocator]
static ALLOC: dhat::Alloc = dhat::Alloc;

#[test]
fn a_file_of_dhat_rs_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("dhat-rs.json");

    let profiler = dhat::Profiler::builder().file_name(&path).build();
    let kept: Vec<String> = (0..100).map(|n| format!("kept {n}")).collect();
    for size in 1..50 {
        black_box(vec![0_u8; size]);
    }
    black_box(&kept);
    drop(profiler);

    let file = fs::read_to_string(path).unwrap();
    let viewed = open_in_dhat_viewer(&file).unwrap();
    viewed.assert_sound();
    assert_eq!(viewed.totals, file_sums(&file));
    assert!(viewed.totals.total_blocks >= Some(149));
    assert!(
        viewed
            .frames
            .iter()
            .any(|frame| frame.contains("a_file_of_dhat_rs_is_sound"))
    );
}
