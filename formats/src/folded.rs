//! Folded stacks: a line for each, outermost frame first, `main;parse;push 1024`. What flame graph
//! programs and speedscope read.
//!
//! The format has no escapes, so a `;` in a name (`[u8; 4]`) is written as `:`, and a line break as a
//! space.

use std::io::{BufWriter, Write};

use crate::Error;
use crate::frame::Frame;
use crate::limits;
use crate::metric::Metric;
use crate::model::Profile;
use crate::text;

/// What is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The figure behind each stack. Stacks that have 0 of it are left out.
    pub metric: Metric,
    /// Whether frames show file and line beside their function.
    pub places: bool,
}

/// Writes a profile.
///
/// # Errors
/// Those of `out`, [`Error::NoSuchMetric`], and [`Error::TooLong`].
pub fn write(profile: &Profile, options: &Options, out: impl Write) -> Result<(), Error> {
    options.metric.check(profile)?;
    let fitted = limits::fit(profile, limits::VIEWERS);
    let mut out = BufWriter::new(out);
    for line in lines(&fitted.profile, options, ':', "a list of folded stacks")? {
        writeln!(out, "{line}")?;
    }
    out.flush()?;
    Ok(())
}

/// The most bytes of all lines, whose names stand in each.
const MAX_LENGTH: u64 = 4 << 30;

/// The lines, with `semicolon` for a `;` in a name.
pub(crate) fn lines<'a>(
    profile: &'a Profile,
    options: &Options,
    semicolon: char,
    format: &'static str,
) -> Result<impl Iterator<Item = String> + use<'a>, Error> {
    let metric = options.metric;
    let places = options.places;
    let labels: Vec<String> = profile
        .frames
        .iter()
        .map(|text| {
            let frame = Frame::parse(text);
            let label = if places {
                frame.label_with_place()
            } else {
                frame.label()
            };
            safe(&label, semicolon)
        })
        .collect();
    let mut lengths = profile
        .stacks
        .iter()
        .map(|&frame| labels[frame as usize].len() as u64 + 1);
    let length = lengths.try_fold(0, u64::checked_add);
    if length.is_none_or(|length| length > MAX_LENGTH) {
        return Err(Error::TooLong { format });
    }
    Ok(profile.points.iter().filter_map(move |point| {
        let size = metric.of(&point.counts);
        let stack = profile.stack(point);
        (size != 0).then(|| {
            let mut line = String::new();
            for (index, &frame) in stack.iter().rev().enumerate() {
                if index != 0 {
                    line.push(';');
                }
                line.push_str(&labels[frame as usize]);
            }
            if stack.is_empty() {
                line.push_str("[no stack]");
            }
            line.push_str(&format!(" {size}"));
            line
        })
    }))
}

/// A label that readers take for one frame: they cut at semicolons and line breaks, take a number
/// behind the last space for a count, and a line that begins with `# ` for a comment.
fn safe(label: &str, semicolon: char) -> String {
    const NO_BREAK_SPACE: &str = "\u{a0}";
    let mut safe: String = text::one_line(label.trim())
        .chars()
        .map(|c| if c == ';' { semicolon } else { c })
        .collect();
    let is_count = |word: &str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    if let Some(at) = safe.rfind(' ').filter(|at| is_count(&safe[at + 1..])) {
        safe.replace_range(at..=at, NO_BREAK_SPACE);
    }
    if let Some(rest) = safe.strip_prefix("# ") {
        safe = format!("#{NO_BREAK_SPACE}{rest}");
    }
    if safe.is_empty() {
        "???".to_owned()
    } else {
        safe
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn written(profile: &Profile, metric: Metric, places: bool) -> String {
        let mut text = Vec::new();
        write(profile, &Options { metric, places }, &mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn outermost_first_and_by_any_metric() {
        let profile = sample::heap(&[
            (&["0x1: f (a.rs:3:1)", "0x2: main (a.rs:9:1)"], 200),
            (&["0x3: ??? (in /lib/libc.so.6)"], 3),
        ]);
        assert_eq!(
            written(&profile, Metric::TotalBytes, false),
            "main;f 200\n0x3 (libc.so.6) 3\n"
        );
        assert_eq!(
            written(&profile, Metric::EndBlocks, true),
            "main (a.rs:9);f (a.rs:3) 5\n"
        );
    }

    #[test]
    fn names_stay_one_frame() {
        let profile = sample::heap(&[(
            &["f::<[u8; 4]>", "call 12 7", "# no comment", "a\nb", " "],
            10,
        )]);
        assert_eq!(
            written(&profile, Metric::TotalBytes, false),
            "???;a b;#\u{a0}no comment;call 12\u{a0}7;f::<[u8: 4]> 10\n"
        );
    }

    #[test]
    fn few_long_names_do_not_become_many_lines_of_them() {
        let mut profile = sample::heap(&[(&[&"n".repeat(2_000_000)], 10)]);
        assert!(written(&profile, Metric::TotalBytes, false).len() < 2000);
        profile.stacks = vec![1; 5 << 20];
        let error = lines(&profile, &Options::default(), ':', "it")
            .err()
            .unwrap();
        assert!(error.to_string().contains("more than the 4 GiB"), "{error}");
    }

    #[test]
    fn what_the_profile_lacks_is_told() {
        let options = Options {
            metric: Metric::PeakBytes,
            places: false,
        };
        let error = write(&sample::ad_hoc(), &options, Vec::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the profile has no peak-bytes; it has: total-bytes, total-blocks"
        );
    }
}
