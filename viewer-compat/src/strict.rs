//! Readers of DHAT files that are stricter than the viewer: what dhat-to-flamegraph 2.1 and gungraun
//! accept, as types. Every key that they want is there and of their type; others are ignored.

use serde::Deserialize;

/// A file as strict readers declare it.
#[derive(Clone, Debug, Deserialize)]
#[expect(non_snake_case, reason = "the format's names")]
pub struct StrictFile {
    /// 2.
    pub dhatFileVersion: u32,
    /// One of three.
    pub mode: StrictMode,
    /// What is done to a block.
    pub verb: String,
    /// Whether points have lifetimes.
    pub bklt: bool,
    /// Whether points have accesses.
    pub bkacc: bool,
    /// Unit of time.
    pub tu: String,
    /// A million of them.
    pub Mtu: String,
    /// Short-lived below this.
    pub tuth: Option<u64>,
    /// The command.
    pub cmd: String,
    /// 32 bits.
    pub pid: u32,
    /// Time of the peak.
    pub tg: Option<u64>,
    /// Time of the end.
    pub te: u64,
    /// Points.
    pub pps: Vec<StrictPoint>,
    /// Frames.
    pub ftbl: Vec<String>,
}

/// gungraun refuses others, dhat-rs's `rust-heap` among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StrictMode {
    /// `heap`
    Heap,
    /// `ad-hoc`
    AdHoc,
    /// `copy`
    Copy,
}

/// A point as strict readers declare it.
#[derive(Clone, Debug, Deserialize)]
pub struct StrictPoint {
    /// Total bytes.
    pub tb: u64,
    /// Total blocks.
    pub tbk: u64,
    /// Lifetimes.
    pub tl: Option<u64>,
    /// Most bytes.
    pub mb: Option<u64>,
    /// And blocks.
    pub mbk: Option<u64>,
    /// At the peak.
    pub gb: Option<u64>,
    /// And blocks.
    pub gbk: Option<u64>,
    /// At the end.
    pub eb: Option<u64>,
    /// And blocks.
    pub ebk: Option<u64>,
    /// Read.
    pub rb: Option<u64>,
    /// Written.
    pub wb: Option<u64>,
    /// Of each byte; runs are negative.
    pub acc: Option<Vec<i64>>,
    /// Numbers of frames.
    pub fs: Vec<usize>,
}

/// Reads a file as they do.
///
/// # Errors
/// What is missing, or of another type; also a frame that is not in the table, for which they panic.
pub fn read_strictly(text: &str) -> Result<StrictFile, String> {
    let file: StrictFile = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let wanted = |there: bool, key: &str| {
        if there {
            Ok(())
        } else {
            Err(format!("{key} is missing"))
        }
    };
    if file.dhatFileVersion != 2 {
        return Err(format!("version {}", file.dhatFileVersion));
    }
    wanted(
        !file.bklt || (file.tg.is_some() && file.tuth.is_some()),
        "tg or tuth",
    )?;
    for point in &file.pps {
        let lifetimes = [
            point.tl, point.mb, point.mbk, point.gb, point.gbk, point.eb, point.ebk,
        ];
        wanted(
            !file.bklt || lifetimes.iter().all(Option::is_some),
            "a key of bklt",
        )?;
        let accesses = [point.rb, point.wb];
        wanted(
            !file.bkacc || accesses.iter().all(Option::is_some),
            "a key of bkacc",
        )?;
        if point.fs.iter().any(|&frame| frame >= file.ftbl.len()) {
            return Err("a frame is not in ftbl".to_owned());
        }
    }
    Ok(file)
}
