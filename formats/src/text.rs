//! What a profile calls things, made harmless for whoever shows it.

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
    fn what_acts_is_shown() {
        assert_eq!(
            one_line("a\n\u{1}b\u{202e}c\u{ffff}\u{9b}ü漢"),
            "a  b\\u{202e}c\\u{ffff} ü漢"
        );
    }
}
