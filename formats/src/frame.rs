//! A frame's text, taken apart: `0xADDR: name (file:line:column)`.

use crate::text::shortened;

/// What a frame's text says. What it does not say is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame<'a> {
    /// The return address, as the linker or the loader numbered it. Frames of equal address are one
    /// call and what was inlined into it.
    pub address: Option<u64>,
    /// The function, or the whole text where it has no other part: `[other]`.
    pub name: &'a str,
    /// The source file.
    pub file: Option<&'a str>,
    /// From 1; 0 is what writers put where they know none.
    pub line: u32,
    /// From 1; 0 where there is none.
    pub column: u32,
    /// The executable or library, where no source is known: `(in path)`.
    pub module: Option<&'a str>,
}

impl<'a> Frame<'a> {
    /// Takes a text of a DHAT file's `ftbl` apart. Every text is a frame: what does not look like a
    /// part of one belongs to the name.
    ///
    /// # Examples
    /// ```
    /// use heapledger_formats::frame::Frame;
    /// let frame = Frame::parse("0x55d0: app::main (src/main.rs:3:9)");
    /// assert_eq!((frame.address, frame.name), (Some(0x55d0), "app::main"));
    /// assert_eq!((frame.file, frame.line, frame.column), (Some("src/main.rs"), 3, 9));
    /// ```
    pub fn parse(text: &'a str) -> Self {
        let (address, rest) = split_address(text);
        let mut frame = Frame {
            address,
            name: rest,
            file: None,
            line: 0,
            column: 0,
            module: None,
        };
        if let Some((name, place)) = split_place(rest) {
            frame.name = name;
            match place {
                Place::Module(module) => frame.module = Some(module),
                Place::Source(file, line, column) => {
                    frame.file = Some(file);
                    (frame.line, frame.column) = (line, column);
                }
            }
        }
        frame
    }

    /// Whether the function is known by name.
    pub fn is_named(&self) -> bool {
        self.name != "???"
    }

    /// The name, and where it is not known the address and the module. A long one loses its middle.
    pub fn label(&self) -> String {
        match (self.is_named(), self.address, self.module) {
            (false, Some(address), Some(module)) => {
                let file = module.rsplit(['/', '\\']).next().unwrap_or(module);
                format!("{address:#x} ({})", shortened(file))
            }
            (false, Some(address), None) => format!("{address:#x}"),
            _ => shortened(self.name).into_owned(),
        }
    }

    /// The label, and file and line where they are known: `name (src/main.rs:3)`.
    pub fn label_with_place(&self) -> String {
        match (self.file, self.line) {
            (Some(file), 0) => format!("{} ({})", self.label(), shortened(file)),
            (Some(file), line) => format!("{} ({}:{line})", self.label(), shortened(file)),
            (None, _) => self.label(),
        }
    }
}

fn split_address(text: &str) -> (Option<u64>, &str) {
    text.strip_prefix("0x")
        .and_then(|rest| rest.split_once(": "))
        .and_then(|(digits, rest)| Some((u64::from_str_radix(digits, 16).ok()?, rest)))
        .map_or((None, text), |(address, rest)| (Some(address), rest))
}

enum Place<'a> {
    Module(&'a str),
    Source(&'a str, u32, u32),
}

/// Names have parentheses in them, and so can paths: the place is the shortest end that is balanced.
fn split_place(text: &str) -> Option<(&str, Place<'_>)> {
    let inner_end = text.strip_suffix(')')?;
    // From the end, each byte once: how many are closed and not yet opened.
    let (mut closed, mut end) = (0_usize, inner_end.len());
    for (at, _) in inner_end.rmatch_indices(" (") {
        for byte in inner_end.as_bytes()[at + 2..end].iter().rev() {
            match byte {
                b')' => closed += 1,
                // What is opened and not closed is so in any longer end, too.
                b'(' => closed = closed.checked_sub(1)?,
                _ => {}
            }
        }
        end = at + 2;
        if closed == 0
            && let Some(place) = place(&inner_end[at + 2..])
        {
            return Some((&text[..at], place));
        }
    }
    None
}

/// `in path`, `path:line` or `path:line:column`.
fn place(text: &str) -> Option<Place<'_>> {
    if let Some(module) = text.strip_prefix("in ") {
        return Some(Place::Module(module));
    }
    let (rest, last) = text.rsplit_once(':')?;
    let last = last.parse().ok()?;
    match rest.rsplit_once(':') {
        Some((file, line)) if !file.is_empty() && line.parse::<u32>().is_ok() => {
            Some(Place::Source(file, line.parse().ok()?, last))
        }
        _ if rest.is_empty() => None,
        _ => Some(Place::Source(rest, last, 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Parts<'a> = (
        Option<u64>,
        &'a str,
        Option<&'a str>,
        u32,
        u32,
        Option<&'a str>,
    );

    fn parts(text: &str) -> Parts<'_> {
        let frame = Frame::parse(text);
        (
            frame.address,
            frame.name,
            frame.file,
            frame.line,
            frame.column,
            frame.module,
        )
    }

    #[test]
    fn texts_of_all_writers() {
        let cases: [(&str, Parts<'_>); 12] = [
            (
                "0x1f0: app::f (src/main.rs:7:0)",
                (Some(0x1f0), "app::f", Some("src/main.rs"), 7, 0, None),
            ),
            // Valgrind's have no column.
            (
                "0x109181: main (test.c:5)",
                (Some(0x10_9181), "main", Some("test.c"), 5, 0, None),
            ),
            (
                "0x4848899: malloc (in /usr/lib/valgrind/vg.so)",
                (
                    Some(0x484_8899),
                    "malloc",
                    None,
                    0,
                    0,
                    Some("/usr/lib/valgrind/vg.so"),
                ),
            ),
            (
                "0x10: ??? (in ???)",
                (Some(0x10), "???", None, 0, 0, Some("???")),
            ),
            ("[other]", (None, "[other]", None, 0, 0, None)),
            (
                "[... 12 frames ...]",
                (None, "[... 12 frames ...]", None, 0, 0, None),
            ),
            (
                "0x1: <fn(u8) -> (u8, u8) as a::T>::f (a.rs:1:2)",
                (
                    Some(1),
                    "<fn(u8) -> (u8, u8) as a::T>::f",
                    Some("a.rs"),
                    1,
                    2,
                    None,
                ),
            ),
            // A name only, with a space and a bracket.
            ("0x1: f (b)", (Some(1), "f (b)", None, 0, 0, None)),
            (
                "0x1: f (/a (copy)/m.rs:1:2)",
                (Some(1), "f", Some("/a (copy)/m.rs"), 1, 2, None),
            ),
            (
                "0x1: f (in /a (in b)/c)",
                (Some(1), "f", None, 0, 0, Some("/a (in b)/c")),
            ),
            (
                r"0x1: f (C:\a\m.rs:1:2)",
                (Some(1), "f", Some(r"C:\a\m.rs"), 1, 2, None),
            ),
            ("", (None, "", None, 0, 0, None)),
        ];
        for (text, expected) in cases {
            assert_eq!(parts(text), expected, "{text}");
        }
    }

    /// In time that grows with the text, not with its square.
    #[test]
    fn a_text_of_nothing_but_parentheses() {
        let text = format!("f{}{}", " (a".repeat(400_000), ")".repeat(400_000));
        assert_eq!(parts(&text), (None, &*text, None, 0, 0, None));
        let text = format!("f (in a{}{})", " (a".repeat(400_000), ")".repeat(400_000));
        assert_eq!(parts(&text).1, "f");
    }

    #[test]
    fn labels() {
        let label = |text| Frame::parse(text).label_with_place();
        assert_eq!(label("0x1: f (a.rs:3:2)"), "f (a.rs:3)");
        assert_eq!(label("0x1: f (a.rs:0:0)"), "f (a.rs)");
        assert_eq!(label("0x1f: ??? (in /lib/libc.so.6)"), "0x1f (libc.so.6)");
        assert_eq!(label("0x1: f (in /lib/libc.so.6)"), "f");
        assert_eq!(label("[other]"), "[other]");
    }
}
