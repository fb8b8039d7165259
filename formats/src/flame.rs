//! The flame graph: an SVG that a browser opens, zooms and searches.

use std::io::{self, Write};

use inferno::flamegraph;

use crate::Error;
use crate::folded;
use crate::limits;
use crate::metric::Metric;
use crate::model::Profile;
use crate::text::one_line;

/// Stands for a `;` in a name on the way through inferno, which cuts stacks at semicolons. A private
/// character, so that no name has it.
pub(crate) const SEMICOLON: char = '\u{e000}';

pub(crate) const FORMAT: &str = "a flame graph";

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The figure that a frame's width shows.
    pub metric: Metric,
    /// Whether frames show file and line beside their function.
    pub places: bool,
    /// The headline; by default the metric's title.
    pub title: Option<String>,
}

/// Writes a profile.
///
/// # Errors
/// Those of `out`, [`Error::NoSuchMetric`], and [`Error::TooLarge`] where the sum is beyond 64 bits.
pub fn write(profile: &Profile, options: &Options, out: impl Write) -> Result<(), Error> {
    options.metric.check(profile)?;
    check_sum(profile, options.metric)?;
    let fitted = limits::fit(profile, limits::VIEWERS);
    let folded = folded::Options {
        metric: options.metric,
        places: options.places,
    };
    let mut lines: Vec<String> =
        folded::lines(&fitted.profile, &folded, SEMICOLON, FORMAT)?.collect();
    let mut picture = picture(profile, options.metric, options.title.as_deref());
    if lines.is_empty() {
        lines.push(nothing(profile, options.metric));
        picture.factor = NEXT_TO_NOTHING;
    }
    draw(&mut picture, &lines, out)
}

/// inferno sums up in 64 bits, and does not tell when they overflow.
pub(crate) fn check_sum(profile: &Profile, metric: Metric) -> Result<(), Error> {
    let mut sizes = profile.points.iter().map(|point| metric.of(&point.counts));
    match sizes.try_fold(0, u64::checked_add) {
        Some(_) => Ok(()),
        None => Err(Error::TooLarge {
            metric,
            format: FORMAT,
        }),
    }
}

/// A width that is shown as 0: inferno draws nothing at all if there is none.
pub(crate) const NEXT_TO_NOTHING: f64 = 1e-9;

/// The line for a profile that has nothing of a metric.
pub(crate) fn nothing(profile: &Profile, metric: Metric) -> String {
    format!(
        "[no {}] 1",
        one_line(&metric.title(profile)).replace(';', ":")
    )
}

pub(crate) fn picture(
    profile: &Profile,
    metric: Metric,
    title: Option<&str>,
) -> flamegraph::Options<'static> {
    let mut picture = flamegraph::Options::default();
    let mut headline = metric.title(profile);
    if let Some(first) = headline.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    picture.title = one_line(title.unwrap_or(&headline));
    picture.subtitle = (!profile.command.is_empty()).then(|| one_line(&profile.command));
    picture.count_name = one_line(metric.unit(profile));
    picture.colors = flamegraph::Palette::Basic(flamegraph::color::BasicPalette::Mem);
    // The same picture for the same profile.
    picture.hash = true;
    picture
}

/// Lets inferno draw folded lines.
pub(crate) fn draw(
    picture: &mut flamegraph::Options<'_>,
    lines: &[String],
    out: impl Write,
) -> Result<(), Error> {
    let mut svg = Vec::new();
    flamegraph::from_lines(picture, lines.iter().map(String::as_str), &mut svg)?;
    write_with_semicolons(&svg, out)?;
    Ok(())
}

fn write_with_semicolons(svg: &[u8], mut out: impl Write) -> io::Result<()> {
    let mut encoded = [0; 4];
    let stand_in = SEMICOLON.encode_utf8(&mut encoded).as_bytes();
    let mut rest = svg;
    while let Some(at) = rest
        .windows(stand_in.len())
        .position(|bytes| bytes == stand_in)
    {
        out.write_all(&rest[..at])?;
        out.write_all(b";")?;
        rest = &rest[at + stand_in.len()..];
    }
    out.write_all(rest)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn drawn(profile: &Profile, metric: Metric) -> String {
        let options = Options {
            metric,
            ..Options::default()
        };
        let mut svg = Vec::new();
        write(profile, &options, &mut svg).unwrap();
        String::from_utf8(svg).unwrap()
    }

    #[test]
    fn frames_and_sums_are_in_it() {
        let profile = sample::heap(&[
            (
                &[
                    "0x1: <[T; 4] as a::B<'_>>::f (a.rs:3:1)",
                    "0x2: main (a.rs:9:1)",
                ],
                1200,
            ),
            (&["0x2: main (a.rs:9:1)"], 34),
        ]);
        let svg = drawn(&profile, Metric::TotalBytes);
        for text in [
            "total_samples=\"1234\"",
            "<title>all (1,234 bytes, 100%)</title>",
            "&lt;[T; 4] as a::B&lt;",
            ">Allocated bytes<",
            "app --größe",
        ] {
            assert!(svg.contains(text), "no {text} in {svg}");
        }
        assert!(!svg.contains(SEMICOLON));
        assert_eq!(
            svg,
            drawn(&profile, Metric::TotalBytes),
            "drawn the same again"
        );
    }

    #[test]
    fn names_hold_nothing_that_xml_forbids() {
        let mut profile = sample::heap(&[(&["a\u{1}\u{fffe}b\u{202e}\u{0}]]>", "<script>"], 12)]);
        profile.command = "\u{1b}\u{ffff}<b>".into();
        let svg = drawn(&profile, Metric::TotalBytes);
        let is_wrong = |c: char| crate::text::is_deceptive(c) && c != '\n';
        assert!(!svg.contains(is_wrong), "{svg}");
        assert!(svg.contains("a \\u{fffe}b\\u{202e} ]]&gt;"), "{svg}");
    }

    #[test]
    fn a_sum_beyond_64_bits_is_refused() {
        let mut profile = sample::heap(&[(&["a"], 1), (&["b"], 2)]);
        profile.points[0].counts.total_bytes = u64::MAX - 2;
        assert!(drawn(&profile, Metric::TotalBytes).contains("18446744073709551615"));
        profile.points[0].counts.total_bytes = u64::MAX;
        let error = write(&profile, &Options::default(), Vec::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the profile's total-bytes are more than a flame graph can hold: is the file damaged?"
        );
    }

    #[test]
    fn nothing_is_drawn_as_nothing() {
        let svg = drawn(&sample::empty(), Metric::PeakBytes);
        assert!(svg.contains("<title>all (0 bytes, 100%)</title>"), "{svg}");
        assert!(
            svg.contains("[no bytes live at the peak] (0 bytes, 0.00%)"),
            "{svg}"
        );
    }
}
