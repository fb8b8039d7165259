//! Which files a profile becomes, and in which formats.
//!
//! Every format but DHAT's own is made from the DHAT text: so each of them shows what that file says,
//! to the byte, and this is the only place that knows of them.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
#[cfg(feature = "firefox")]
use std::time::{Duration, SystemTime};

#[cfg(feature = "formats")]
use heapledger_formats as formats;
#[cfg(feature = "flamegraph")]
use heapledger_formats::metric::Metric;
#[cfg(feature = "formats")]
use heapledger_formats::model;

use super::dhat;
use super::profile::Profile;
use super::save::{self, SaveError};

/// A format that profiles are written in; which program opens it is in each one's description. All but
/// [`Dhat`](Self::Dhat) need the feature that is named there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// DHAT's, version 2: Valgrind's `dh_view.html`, Firefox Profiler, the `heapledger` command.
    Dhat,
    /// pprof's, compressed: `go tool pprof`. Feature `pprof`.
    #[cfg(feature = "pprof")]
    Pprof,
    /// Firefox Profiler's: <https://profiler.firefox.com>, with memory over time. Feature `firefox`.
    #[cfg(feature = "firefox")]
    Firefox,
    /// speedscope's: <https://www.speedscope.app>, each figure as a profile. Feature `speedscope`.
    #[cfg(feature = "speedscope")]
    Speedscope,
    /// Valgrind massif's, live bytes over time: `ms_print`, massif-visualizer. Feature `massif`.
    #[cfg(feature = "massif")]
    Massif,
    /// Callgrind's, with what was allocated in each function and call: `callgrind_annotate`, KCachegrind. Feature
    /// `callgrind`.
    #[cfg(feature = "callgrind")]
    Callgrind,
    /// A line for each stack, with its size: for flame graph programs. Feature `flamegraph`.
    #[cfg(feature = "flamegraph")]
    Folded(Metric),
    /// A flame graph, as SVG: any browser. Feature `flamegraph`.
    #[cfg(feature = "flamegraph")]
    FlameGraph(Metric),
    /// What has changed since an earlier profile, as SVG. Widths are of the earlier one; blue frames have
    /// less now, red ones more. Feature `flamegraph`.
    #[cfg(feature = "flamegraph")]
    DiffFlameGraph {
        /// The DHAT file of the earlier profile.
        before: PathBuf,
        /// What is compared.
        metric: Metric,
    },
}

/// A file that the profile is written to; see
/// [`ProfilerBuilder::output`](crate::ProfilerBuilder::output).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    format: Format,
    path: PathBuf,
}

impl Output {
    /// A file of any format.
    ///
    /// # Examples
    /// ```
    /// use heapledger::{Format, Output};
    /// let output = Output::new(Format::Dhat, "run.json");
    /// assert_eq!(output, Output::dhat("run.json"));
    /// ```
    pub fn new(format: Format, path: impl Into<PathBuf>) -> Self {
        Self {
            format,
            path: path.into(),
        }
    }

    /// A DHAT file.
    pub fn dhat(path: impl Into<PathBuf>) -> Self {
        Self::new(Format::Dhat, path)
    }

    /// A file for `go tool pprof`; by custom it is called `.pb.gz`.
    #[cfg(feature = "pprof")]
    pub fn pprof(path: impl Into<PathBuf>) -> Self {
        Self::new(Format::Pprof, path)
    }

    /// A file for Firefox Profiler.
    #[cfg(feature = "firefox")]
    pub fn firefox(path: impl Into<PathBuf>) -> Self {
        Self::new(Format::Firefox, path)
    }

    /// A file for speedscope.
    #[cfg(feature = "speedscope")]
    pub fn speedscope(path: impl Into<PathBuf>) -> Self {
        Self::new(Format::Speedscope, path)
    }

    /// A file for `ms_print`; by custom it is called `massif.out.PID`.
    #[cfg(feature = "massif")]
    pub fn massif(path: impl Into<PathBuf>) -> Self {
        Self::new(Format::Massif, path)
    }

    /// A file for `callgrind_annotate`; by custom it is called `callgrind.out.PID`.
    #[cfg(feature = "callgrind")]
    pub fn callgrind(path: impl Into<PathBuf>) -> Self {
        Self::new(Format::Callgrind, path)
    }

    /// Folded stacks.
    #[cfg(feature = "flamegraph")]
    pub fn folded(path: impl Into<PathBuf>, metric: Metric) -> Self {
        Self::new(Format::Folded(metric), path)
    }

    /// A flame graph.
    #[cfg(feature = "flamegraph")]
    pub fn flame_graph(path: impl Into<PathBuf>, metric: Metric) -> Self {
        Self::new(Format::FlameGraph(metric), path)
    }

    /// What has changed since the DHAT file `before` was written.
    #[cfg(feature = "flamegraph")]
    pub fn diff_flame_graph(
        path: impl Into<PathBuf>,
        before: impl Into<PathBuf>,
        metric: Metric,
    ) -> Self {
        let before = before.into();
        Self::new(Format::DiffFlameGraph { before, metric }, path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same for a copy of the process, made by `fork`: `name.PID.json`.
    pub(crate) fn of_copy(mut self, pid: u32) -> Self {
        let mut extension = OsString::from(pid.to_string());
        if let Some(old) = self.path.extension() {
            extension.push(".");
            extension.push(old);
        }
        self.path.set_extension(extension);
        self
    }
}

/// A profile, and what is made of it for formats other than DHAT's, once.
pub(crate) struct Formats<'a> {
    profile: &'a Profile<'a>,
    #[cfg(feature = "formats")]
    model: Option<model::Profile>,
}

impl<'a> Formats<'a> {
    pub(crate) fn of(profile: &'a Profile<'a>) -> Self {
        Self {
            profile,
            #[cfg(feature = "formats")]
            model: None,
        }
    }

    /// Writes a file. What comes back says so in a sentence.
    pub(crate) fn save(&mut self, output: &Output) -> Result<Saved, SaveError> {
        save::save(&output.path, |file| {
            let mut buffer = BufWriter::with_capacity(1 << 16, file);
            self.write(&output.format, &mut buffer)?;
            buffer.flush()
        })?;
        Ok(Saved {
            path: output.path.clone(),
            opened_by: opened_by(&output.format),
        })
    }

    pub(crate) fn write(&mut self, format: &Format, out: impl Write) -> io::Result<()> {
        match format {
            Format::Dhat => dhat::write(self.profile, out),
            #[cfg(feature = "pprof")]
            Format::Pprof => {
                let options = formats::pprof::Options::default();
                written(formats::pprof::write(self.model()?, &options, out))
            }
            #[cfg(feature = "firefox")]
            Format::Firefox => {
                let so_far = Duration::from_micros(self.profile.snapshot.duration_us);
                let options = formats::firefox::Options {
                    started_at: SystemTime::now().checked_sub(so_far),
                };
                written(formats::firefox::write(self.model()?, &options, out))
            }
            #[cfg(feature = "speedscope")]
            Format::Speedscope => {
                let options = formats::speedscope::Options::default();
                written(formats::speedscope::write(self.model()?, &options, out))
            }
            #[cfg(feature = "massif")]
            Format::Massif => {
                let options = formats::massif::Options::default();
                written(formats::massif::write(self.model()?, &options, out))
            }
            #[cfg(feature = "callgrind")]
            Format::Callgrind => {
                let options = formats::callgrind::Options::default();
                written(formats::callgrind::write(self.model()?, &options, out))
            }
            #[cfg(feature = "flamegraph")]
            Format::Folded(metric) => {
                let options = formats::folded::Options {
                    metric: *metric,
                    ..Default::default()
                };
                written(formats::folded::write(self.model()?, &options, out))
            }
            #[cfg(feature = "flamegraph")]
            Format::FlameGraph(metric) => {
                let options = formats::flame::Options {
                    metric: *metric,
                    ..Default::default()
                };
                written(formats::flame::write(self.model()?, &options, out))
            }
            #[cfg(feature = "flamegraph")]
            Format::DiffFlameGraph { before, metric } => {
                let options = formats::diff_flame::Options {
                    metric: *metric,
                    ..Default::default()
                };
                let earlier = formats::read::from_path(before).map_err(|error| {
                    let what = format!("the earlier profile {before:?}: {error}");
                    io::Error::new(io::ErrorKind::InvalidInput, what)
                })?;
                let later = self.model()?;
                written(formats::diff_flame::write(&earlier, later, &options, out))
            }
        }
    }

    #[cfg(feature = "formats")]
    fn model(&mut self) -> io::Result<&model::Profile> {
        if self.model.is_none() {
            let mut text = Vec::new();
            dhat::write(self.profile, &mut text)?;
            let read = formats::read::from_slice(&text);
            self.model = Some(read.map_err(io::Error::other)?);
        }
        Ok(self.model.as_ref().expect("read above"))
    }
}

/// That the profile has no such figures is not the file's fault.
#[cfg(feature = "formats")]
fn written(result: Result<(), formats::Error>) -> io::Result<()> {
    result.map_err(|error| match error {
        formats::Error::Io(error) => error,
        other => io::Error::new(io::ErrorKind::InvalidInput, other),
    })
}

fn opened_by(format: &Format) -> &'static str {
    match format {
        Format::Dhat => "dhat/dh_view.html",
        #[cfg(feature = "pprof")]
        Format::Pprof => "go tool pprof",
        #[cfg(feature = "firefox")]
        Format::Firefox => "https://profiler.firefox.com",
        #[cfg(feature = "speedscope")]
        Format::Speedscope => "https://www.speedscope.app",
        #[cfg(feature = "massif")]
        Format::Massif => "ms_print",
        #[cfg(feature = "callgrind")]
        Format::Callgrind => "callgrind_annotate",
        #[cfg(feature = "flamegraph")]
        Format::Folded(_) => "flame graph programs",
        #[cfg(feature = "flamegraph")]
        Format::FlameGraph(_) | Format::DiffFlameGraph { .. } => "a web browser",
    }
}

/// What the user is told of a file that is in place.
pub(crate) struct Saved {
    path: PathBuf,
    opened_by: &'static str,
}

impl fmt::Display for Saved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, program) = (self.path.display(), self.opened_by);
        write!(
            f,
            "The data has been saved to {path}, and is viewable with {program}"
        )
    }
}
