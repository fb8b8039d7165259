//! What a profile calls things, made harmless for whoever shows it.

use std::borrow::Cow;

/// Whether a character acts on what shows it instead of being shown: controls, and what Unicode calls
/// formats, such as marks and overrides of direction, joiners, blanks of no width, tags. The two that
/// are no characters are with them, as XML has no place for them.
pub fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
            | '\u{e0000}'..='\u{e007f}')
}

/// The longest name that is shown, in bytes. What a few points share may be shown for each of many, so a
/// small file with long names would become a very large picture or table.
const MAX_SHOWN: usize = 1024;

/// The text, without its middle where it is too long to be shown. A file keeps it whole.
pub fn shortened(text: &str) -> Cow<'_, str> {
    shortened_to(text, MAX_SHOWN)
}

/// The text, without its middle where it has more than `max` bytes, which are at least 16.
pub fn shortened_to(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let is_boundary = |at: &usize| text.is_char_boundary(*at);
    let start = (0..=max / 2).rev().find(is_boundary);
    let end = (text.len() - max / 2 + 4..=text.len()).find(is_boundary);
    let (start, end) = (start.unwrap_or(0), end.unwrap_or(text.len()));
    Cow::Owned(format!("{}…{}", &text[..start], &text[end..]))
}

/// In one line: controls become spaces, other deceptive characters are written out as `\u{202e}`.
#[cfg(any(feature = "callgrind", feature = "folded", feature = "massif"))]
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            c if c.is_control() => line.push(' '),
            c if is_deceptive(c) => line.extend(c.escape_unicode()),
            c => line.push(c),
        }
    }
    line
}

#[cfg(all(test, feature = "folded"))]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_loses_its_middle() {
        let text = "ä".repeat(512);
        assert_eq!(shortened(&text), text);
        let text = format!("a::{}::z", "ä".repeat(600));
        let shown = shortened(&text);
        assert!(shown.len() <= MAX_SHOWN && shown.len() > MAX_SHOWN - 8);
        assert!(shown.starts_with("a::ä") && shown.ends_with("ä::z"));
    }

    #[test]
    fn what_acts_is_shown() {
        assert_eq!(
            one_line("a\n\u{1}b\u{202e}c\u{ffff}\u{9b}ü漢"),
            "a  b\\u{202e}c\\u{ffff} ü漢"
        );
    }
}
