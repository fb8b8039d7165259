use serde_json::Value;

use crate::viewed::Totals;

/// The totals of a DHAT file by our own addition, to compare with the viewer's.
///
/// # Panics
/// If the text is not a DHAT file.
#[track_caller]
pub fn file_sums(json: &str) -> Totals {
    let file: Value = serde_json::from_str(json).expect("JSON");
    let points = file["pps"].as_array().expect("an array `pps`");
    let sum = |key: &str| -> Option<u64> { points.iter().map(|point| point[key].as_u64()).sum() };
    let sum_if = |flag: &str, key: &str| if file[flag] == true { sum(key) } else { None };
    Totals {
        total_bytes: sum("tb"),
        total_blocks: sum("tbk"),
        total_lifetimes: sum_if("bklt", "tl"),
        max_bytes: sum_if("bklt", "mb"),
        max_blocks: sum_if("bklt", "mbk"),
        at_gmax_bytes: sum_if("bklt", "gb"),
        at_gmax_blocks: sum_if("bklt", "gbk"),
        at_end_bytes: sum_if("bklt", "eb"),
        at_end_blocks: sum_if("bklt", "ebk"),
        reads_bytes: sum_if("bkacc", "rb"),
        writes_bytes: sum_if("bkacc", "wb"),
    }
}
