//! The differential flame graph: two profiles of one program, red where the second has more, blue
//! where it has less.

use std::collections::BTreeMap;
use std::io::Write;

use crate::Error;
use crate::flame;
use crate::folded;
use crate::limits;
use crate::metric::Metric;
use crate::model::Profile;
use crate::text::one_line;

/// Which profile the widths are of. What it does not have is not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Widths {
    /// The first: shows what became of everything that there was.
    #[default]
    Before,
    /// The second: shows where everything that there is comes from.
    After,
}

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The figure that is compared.
    pub metric: Metric,
    /// Whether frames show file and line beside their function. Lines move between two versions of
    /// a program, and frames are compared as they are shown.
    pub places: bool,
    /// The headline; by default the metric's title.
    pub title: Option<String>,
    /// Which profile the widths are of.
    pub widths: Widths,
}

/// Writes the difference of two profiles.
///
/// # Errors
/// Those of `out`, [`Error::NoSuchMetric`] if either has no such figure, and [`Error::TooLarge`] where
/// a sum is beyond 64 bits.
pub fn write(
    before: &Profile,
    after: &Profile,
    options: &Options,
    out: impl Write,
) -> Result<(), Error> {
    options.metric.check(before)?;
    options.metric.check(after)?;
    for profile in [before, after] {
        flame::check_sum(profile, options.metric)?;
    }
    let mut stacks: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (profile, is_after) in [(before, false), (after, true)] {
        let fitted = limits::fit(profile, limits::VIEWERS);
        let folded = folded::Options {
            metric: options.metric,
            places: options.places,
        };
        for line in folded::lines(&fitted.profile, &folded, flame::SEMICOLON, flame::FORMAT)? {
            let Some((stack, size)) = line.rsplit_once(' ') else {
                continue;
            };
            let size: u64 = size.parse().unwrap_or_default();
            let sizes = stacks.entry(stack.to_owned()).or_default();
            let sum = if is_after { &mut sizes.1 } else { &mut sizes.0 };
            *sum = sum.saturating_add(size);
        }
    }
    // inferno's widths are of the last column, and its colours of last less first.
    let by_before = options.widths == Widths::Before;
    let mut width = 0_u64;
    let mut lines: Vec<String> = stacks
        .iter()
        .map(|(stack, &(before, after))| {
            let (other, shown) = if by_before {
                (after, before)
            } else {
                (before, after)
            };
            width = width.saturating_add(shown);
            format!("{stack} {other} {shown}")
        })
        .collect();
    let shown = if by_before { before } else { after };
    let mut picture = flame::picture(shown, options.metric, options.title.as_deref());
    picture.negate_differentials = by_before;
    picture.notes = format!(
        "{} of {}; red: more in the second, blue: less",
        one_line(&options.metric.title(shown)),
        if by_before {
            "the first profile"
        } else {
            "the second profile"
        },
    );
    if width == 0 {
        lines = vec![flame::nothing(shown, options.metric)];
        picture.factor = flame::NEXT_TO_NOTHING;
    }
    flame::draw(&mut picture, &lines, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn drawn(before: &Profile, after: &Profile, widths: Widths) -> String {
        let options = Options {
            widths,
            ..Options::default()
        };
        let mut svg = Vec::new();
        write(before, after, &options, &mut svg).unwrap();
        String::from_utf8(svg).unwrap()
    }

    #[test]
    fn widths_of_one_and_differences_to_the_other() {
        let before = sample::heap(&[(&["0x1: f (a.rs:3:1)", "0x2: main (a.rs:9:1)"], 400)]);
        let after = sample::heap(&[
            // At another address and line: the same function.
            (&["0x7: f (a.rs:4:1)", "0x8: main (a.rs:10:1)"], 100),
            (&["0x9: g (a.rs:5:1)", "0x8: main (a.rs:10:1)"], 60),
        ]);
        let svg = drawn(&before, &after, Widths::Before);
        assert!(svg.contains("total_samples=\"400\""), "{svg}");
        assert!(svg.contains("f (400 bytes, 100.00%; -75.00%)"), "{svg}");
        let svg = drawn(&before, &after, Widths::After);
        assert!(svg.contains("f (100 bytes, 62.50%; -187.50%)"), "{svg}");
        assert!(svg.contains("g (60 bytes, 37.50%; +37.50%)"), "{svg}");
    }

    #[test]
    fn a_first_profile_of_nothing_is_drawn() {
        let after = sample::heap(&[(&["f"], 100)]);
        let svg = drawn(&sample::empty(), &after, Widths::Before);
        assert!(svg.contains("[no allocated bytes]"), "{svg}");
    }
}
