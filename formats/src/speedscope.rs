//! speedscope's own format: one profile for each figure.

use std::io::{BufWriter, Write};

use serde::Serialize;

use crate::Error;
use crate::frame::Frame;
use crate::limits;
use crate::metric::Metric;
use crate::model::Profile;

/// What is written.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The figures; empty for all that the profile has.
    pub metrics: Vec<Metric>,
}

/// Writes a profile.
///
/// # Errors
/// Those of `out`, and [`Error::NoSuchMetric`].
pub fn write(profile: &Profile, options: &Options, out: impl Write) -> Result<(), Error> {
    let mut metrics = options.metrics.clone();
    if metrics.is_empty() {
        metrics = Metric::of_profile(profile);
    }
    for metric in &metrics {
        metric.check(profile)?;
    }
    let fitted = limits::fit(profile, limits::VIEWERS);
    let mut out = BufWriter::new(out);
    serde_json::to_writer(&mut out, &File::new(&fitted.profile, &metrics))?;
    out.flush()?;
    Ok(())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    name: &'a str,
    exporter: &'static str,
    active_profile_index: usize,
    shared: Shared<'a>,
    profiles: Vec<Sampled>,
}

#[derive(Serialize)]
struct Shared<'a> {
    frames: Vec<SharedFrame<'a>>,
}

#[derive(Serialize)]
struct SharedFrame<'a> {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "is_zero")]
    line: u32,
    #[serde(skip_serializing_if = "is_zero")]
    col: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sampled {
    r#type: &'static str,
    name: String,
    unit: &'static str,
    start_value: u64,
    end_value: u64,
    /// Each from the outermost frame.
    samples: Vec<Vec<u32>>,
    weights: Vec<u64>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl<'a> File<'a> {
    fn new(profile: &'a Profile, metrics: &[Metric]) -> Self {
        let frames = profile.frames.iter().map(|text| {
            let frame = Frame::parse(text);
            SharedFrame {
                name: frame.label(),
                file: frame.file.or(frame.module),
                line: frame.line,
                col: frame.column,
            }
        });
        Self {
            schema: "https://www.speedscope.app/file-format-schema.json",
            name: &profile.command,
            exporter: concat!("heapledger ", env!("CARGO_PKG_VERSION")),
            active_profile_index: 0,
            shared: Shared {
                frames: frames.collect(),
            },
            profiles: metrics
                .iter()
                .map(|&metric| Sampled::new(profile, metric))
                .collect(),
        }
    }
}

impl Sampled {
    fn new(profile: &Profile, metric: Metric) -> Self {
        let mut samples = Vec::new();
        let mut weights = Vec::new();
        for point in &profile.points {
            let weight = metric.of(&point.counts);
            if weight != 0 {
                samples.push(profile.stack(point).iter().rev().copied().collect());
                weights.push(weight);
            }
        }
        // The viewer knows few units; what is neither bytes nor time has none.
        let unit = match (metric, metric.unit(profile)) {
            (Metric::Lifetimes, "µs") => "microseconds",
            (_, "bytes") => "bytes",
            _ => "none",
        };
        Self {
            r#type: "sampled",
            name: metric.title(profile),
            unit,
            start_value: 0,
            end_value: weights.iter().copied().fold(0, u64::saturating_add),
            samples,
            weights,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sample;

    fn written(profile: &Profile, metrics: &[Metric]) -> Value {
        let options = Options {
            metrics: metrics.to_vec(),
        };
        let mut text = Vec::new();
        write(profile, &options, &mut text).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_profile_for_each_figure() {
        let profile = sample::heap(&[
            (&["0x1: f (a.rs:3:1)", "0x2: main (a.rs:9:0)"], 400),
            (&["0x2: main (a.rs:9:0)"], 3),
        ]);
        let json = written(&profile, &[Metric::PeakBytes, Metric::TotalBlocks]);
        assert_eq!(
            json["shared"]["frames"],
            json!([
                {"name": "[root]"},
                {"name": "f", "file": "a.rs", "line": 3, "col": 1},
                {"name": "main", "file": "a.rs", "line": 9},
            ])
        );
        assert_eq!(
            json["profiles"][0],
            json!({
                "type": "sampled", "name": "bytes live at the peak", "unit": "bytes",
                "startValue": 0, "endValue": 201, "samples": [[2, 1], [2]], "weights": [200, 1],
            })
        );
        assert_eq!(json["profiles"][1]["weights"], json!([40]));
    }

    #[test]
    fn all_figures_unless_told() {
        let names = |json: &Value| -> Vec<String> {
            let profiles = json["profiles"].as_array().unwrap();
            profiles
                .iter()
                .map(|p| p["name"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names(&written(&sample::ad_hoc(), &[])), ["units", "events"]);
        assert_eq!(names(&written(&sample::empty(), &[])).len(), 9);
        let options = Options {
            metrics: vec![Metric::ReadBytes],
        };
        assert!(write(&sample::empty(), &options, Vec::new()).is_err());
    }
}
