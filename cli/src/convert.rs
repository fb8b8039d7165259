//! `convert` and `flame`: a profile as what other programs open.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use heapledger_formats::metric::Metric;
use heapledger_formats::model::Profile;
use heapledger_formats::{
    Error, callgrind, dhat, firefox, flame, folded, massif, pprof, speedscope,
};

use crate::failure::{Failure, Result};
use crate::load;
use crate::output;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The format to write
    #[arg(long, value_enum)]
    to: Format,
    /// The file to write, `-` for standard output; by default beside FILE, named after it
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// The figure of formats that hold only one (folded)
    #[arg(long, default_value = "total-bytes")]
    by: Metric,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For `go tool pprof`, Pyroscope, Parca
    Pprof,
    /// A stack a line, for flame graph tools
    Folded,
    /// For profiler.firefox.com
    Firefox,
    /// For speedscope.app
    Speedscope,
    /// For ms_print and massif-visualizer
    Massif,
    /// For callgrind_annotate and KCachegrind
    Callgrind,
    /// For DHAT's viewer, dh_view.html
    Dhat,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::Pprof => "pb.gz",
            Self::Folded => "folded",
            Self::Firefox => "firefox.json",
            Self::Speedscope => "speedscope.json",
            Self::Massif => "massif.out",
            Self::Callgrind => "callgrind.out",
            Self::Dhat => "dhat.json",
        }
    }

    fn write(
        self,
        profile: &Profile,
        by: Metric,
        out: &mut dyn Write,
    ) -> std::result::Result<(), Error> {
        match self {
            Self::Folded => {
                let options = folded::Options {
                    metric: by,
                    places: false,
                };
                folded::write(profile, &options, out)
            }
            Self::Pprof => pprof::write(profile, &pprof::Options::default(), out),
            Self::Firefox => firefox::write(profile, &firefox::Options::default(), out),
            Self::Speedscope => speedscope::write(profile, &speedscope::Options::default(), out),
            Self::Massif => massif::write(profile, &massif::Options::default(), out),
            Self::Callgrind => callgrind::write(profile, &callgrind::Options::default(), out),
            Self::Dhat => dhat::write(profile, &dhat::Options::default(), out),
        }
    }
}

pub(crate) fn run(path: &Path, options: &Options, out: &mut dyn Write) -> Result<()> {
    let target = target(path, options.output.as_deref(), options.to.extension())?;
    if !matches!(options.to, Format::Dhat) {
        refuse_loss(path, &target)?;
    }
    let profile = load::profile(path)?;
    output::write(&target, |sink| options.to.write(&profile, options.by, sink))?;
    output::announce(&target, out)
}

#[derive(Args, Debug)]
pub(crate) struct FlameOptions {
    /// The file to write, `-` for standard output; by default beside FILE, named after it
    #[arg(long, short)]
    output: Option<PathBuf>,
    /// The figure that widths show
    #[arg(long, default_value = "total-bytes")]
    by: Metric,
    /// Show file and line beside each function
    #[arg(long)]
    lines: bool,
    /// The picture's headline
    #[arg(long)]
    title: Option<String>,
}

pub(crate) fn run_flame(path: &Path, options: &FlameOptions, out: &mut dyn Write) -> Result<()> {
    let target = target(path, options.output.as_deref(), "svg")?;
    refuse_loss(path, &target)?;
    let profile = load::profile(path)?;
    let picture = flame::Options {
        metric: options.by,
        places: options.lines,
        title: options.title.clone(),
    };
    output::write(&target, |sink| flame::write(&profile, &picture, sink))?;
    output::announce(&target, out)
}

/// What was asked for, or the file's own path with `extension` in the place of `.json` and `.gz`. Other
/// ends are kept: `dhat.out.4711` is of another process than `dhat.out.4712`.
pub(crate) fn target(path: &Path, asked: Option<&Path>, extension: &str) -> Result<PathBuf> {
    if let Some(asked) = asked {
        return Ok(asked.to_owned());
    }
    if load::is_stream(path) {
        let what = "is no file to write another one beside: name it with -o";
        return Err(Failure::of_path(path, what));
    }
    let mut target = path.to_owned();
    for end in ["gz", "json"] {
        if target
            .extension()
            .is_some_and(|own| own.eq_ignore_ascii_case(end))
        {
            target.set_extension("");
        }
    }
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(extension);
    Ok(target.with_file_name(name))
}

/// Fails if the profile itself would be replaced by something that is no profile.
pub(crate) fn refuse_loss(path: &Path, target: &Path) -> Result<()> {
    let place = |path: &Path| fs::canonicalize(path).ok();
    if place(target).is_some_and(|target| target.is_file() && place(path) == Some(target.clone())) {
        let what = "is the profile itself, which would be lost: name another file with -o";
        return Err(Failure::of_path(target, what));
    }
    Ok(())
}
