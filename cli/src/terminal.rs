//! What is safe and readable on a terminal: escaped names, numbers, tables.

use std::fmt::{self, Write as _};
use std::path::Path;

use heapledger_formats::text::is_deceptive;
use unicode_width::UnicodeWidthStr;

/// The text with everything that a terminal would act upon written out: control characters, and
/// those that reverse or hide what follows.
pub(crate) fn escaped(text: &str) -> impl fmt::Display + '_ {
    Escaped(text)
}

/// A path, likewise.
pub(crate) fn escaped_path(path: &Path) -> String {
    escaped(&path.display().to_string()).to_string()
}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if is_deceptive(character) {
                write!(f, "{}", character.escape_unicode())?;
            } else {
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// `1,234,567`.
pub(crate) fn thousands(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `+1,234` or `-1,234`.
pub(crate) fn signed(number: i128) -> String {
    let sign = if number < 0 { "-" } else { "+" };
    format!("{sign}{}", thousands(number.unsigned_abs()))
}

/// Of the whole, in percent with one digit.
#[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
pub(crate) fn percent(part: u128, whole: u128) -> String {
    if whole == 0 {
        return "-".into();
    }
    format!("{:.1}%", part as f64 * 100.0 / whole as f64)
}

/// Rows of cells; the columns before the last are aligned to the right, and the last is left as it is.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Table {
        Table {
            rows: vec![
                header
                    .iter()
                    .map(|&cell| escaped(cell).to_string())
                    .collect(),
            ],
        }
    }

    pub(crate) fn row(&mut self, cells: Vec<String>) {
        let cells = cells.into_iter().map(|cell| escaped(&cell).to_string());
        self.rows.push(cells.collect());
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].width()).max();
        (0..columns)
            .map(|column| width(column).unwrap_or(0))
            .collect()
    }

    /// For a terminal; the header is bold.
    pub(crate) fn to_text(&self) -> String {
        let widths = self.widths();
        let bold = anstyle::Style::new().bold();
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let last = column + 1 == row.len();
                let padding = " ".repeat(if last {
                    0
                } else {
                    widths[column] - cell.width()
                });
                let gap = if last { "" } else { "  " };
                line.push_str(&padding);
                line.push_str(cell);
                line.push_str(gap);
            }
            let line = line.trim_end();
            if index == 0 {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{bold}{line}{bold:#}");
            } else {
                let _ = writeln!(text, "{line}");
            }
        }
        text
    }

    /// For a pull request.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::new();
        for (index, row) in self.rows.iter().enumerate() {
            for (column, cell) in row.iter().enumerate() {
                let last = column + 1 == row.len();
                if index > 0 && last {
                    let _ = write!(text, "| {} ", markdown_code(cell));
                } else {
                    let _ = write!(text, "| {} ", markdown_text(cell));
                }
            }
            text.push_str("|\n");
            if index == 0 {
                text.push_str(&"|---:".repeat(row.len() - 1));
                text.push_str("|:---|\n");
            }
        }
        text
    }
}

/// Words, which may be a stranger's name of a unit: nothing in them is Markdown or HTML.
fn markdown_text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(
            character,
            '|' | '<' | '&' | '`' | '*' | '_' | '[' | ']' | '!' | '\\' | '~' | '@' | ':'
        ) {
            plain.push('\\');
        }
        plain.push(character);
    }
    plain
}

/// A name as code: nothing in it is Markdown or HTML any more. Its cell's bars are escaped, since a
/// table is cut into cells first.
fn markdown_code(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if text.starts_with('`') || text.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{space}{}{space}{fence}", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_upon_is_written_out() {
        let text = "a\u{1b}[31m\r\n\t\u{202e}b\u{200b}\u{9b}ü漢";
        let shown = escaped(text).to_string();
        assert_eq!(
            shown,
            "a\\u{1b}[31m\\u{d}\\u{a}\\u{9}\\u{202e}b\\u{200b}\\u{9b}ü漢"
        );
    }

    #[test]
    fn numbers() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!((signed(-1000), signed(12)), ("-1,000".into(), "+12".into()));
        assert_eq!((percent(1, 8), percent(0, 0)), ("12.5%".into(), "-".into()));
    }

    #[test]
    fn a_unit_of_a_stranger_is_text() {
        let table = Table::new(&["<b>\u{1b}|x", "[a](b)"]);
        let plain = anstream::adapter::strip_str(&table.to_text()).to_string();
        assert_eq!(plain, "<b>\\u{1b}|x  [a](b)\n");
        assert_eq!(
            table.to_markdown(),
            "| \\<b>\\\\u{1b}\\|x | \\[a\\](b) |\n|---:|:---|\n"
        );
    }

    #[test]
    fn tables() {
        let mut table = Table::new(&["bytes", "site"]);
        table.row(vec!["1,000".into(), "f|`g`\n".into()]);
        let plain = anstream::adapter::strip_str(&table.to_text()).to_string();
        assert_eq!(plain, "bytes  site\n1,000  f|`g`\\u{a}\n");
        assert_eq!(
            table.to_markdown(),
            "| bytes | site |\n|---:|:---|\n| 1,000 | ``f\\|`g`\\u{a}`` |\n"
        );
    }
}
