//! Which leaks are known: patterns of function names, in a file as
//! LeakSanitizer's.

use crate::testing::usage::SiteFrame;
use std::path::PathBuf;

/// The file, in place of [`DEFAULT_FILE`] in the package's folder.
const FILE: &str = "HEAPLEDGER_SUPPRESSIONS";
const DEFAULT_FILE: &str = "heapledger.supp";

/// What the standard library, and crates that stand for parts of it, allocate
/// once and keep.
const BUILT_IN: &[&str] = &[
    // The handle of the current thread, and what thread-locals are registered in.
    "^std::thread::current::",
    "^std::thread::Thread::new",
    "^std::thread::thread::Thread::new",
    "^std::sys::thread_local::",
    "^std::sys::pal::unix::thread_local",
    // Buffers of the standard streams; what tests print is kept by the harness.
    "^std::io::stdio::stdout",
    "^std::io::stdio::stdin",
    "^std::io::stdio::STDOUT",
    "^std::io::stdio::print_to_buffer_if_capture_used",
    "^std::io::stdio::OUTPUT_CAPTURE",
    // Debug information, for backtraces.
    "^std::backtrace::",
    "^std::backtrace_rs::",
    "^backtrace::symbolize::",
    // A thread's place in a channel's queues, and in the table of parked threads.
    "^std::sync::mpmc::context::",
    "^std::sync::lazy_lock::",
    "^parking_lot_core::parking_lot::create_hashtable",
    "^parking_lot_core::parking_lot::grow_hashtable",
    // Storage for a signal's alternative stack.
    "^std::sys::pal::unix::stack_overflow::",
];

/// A pattern: a part of a name, with `*` for any text, `^` for its start and
/// `$` for its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    parts: Vec<String>,
    at_start: bool,
    at_end: bool,
}

impl Pattern {
    fn new(text: &str) -> Self {
        let at_start = text.starts_with('^');
        let at_end = text.ends_with('$');
        let text = text.strip_prefix('^').unwrap_or(text);
        let text = text.strip_suffix('$').unwrap_or(text);
        Self {
            parts: text.split('*').map(str::to_owned).collect(),
            at_start,
            at_end,
        }
    }

    fn matches(&self, name: &str) -> bool {
        let [first, others @ ..] = &self.parts[..] else {
            return false;
        };
        let starts: Vec<usize> = match self.at_start {
            true => vec![0],
            false => name
                .match_indices(first.as_str())
                .map(|(at, _)| at)
                .collect(),
        };
        starts.into_iter().any(|start| {
            name[start..]
                .strip_prefix(first.as_str())
                .is_some_and(|rest| self.others_match(others, rest))
        })
    }

    fn others_match(&self, others: &[String], mut rest: &str) -> bool {
        let Some((last, middle)) = others.split_last() else {
            return !self.at_end || rest.is_empty();
        };
        for part in middle {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        match self.at_end {
            true => rest.ends_with(last.as_str()),
            false => rest.contains(last.as_str()),
        }
    }
}

/// Known leaks.
#[derive(Debug)]
pub(crate) struct Suppressions(Vec<Pattern>);

impl Suppressions {
    /// The built-in ones, and those of the package's file, if there is one.
    ///
    /// # Errors
    /// One line, if the file cannot be read or has a line that is none of its format.
    pub(crate) fn of_package(folder: PathBuf) -> Result<Self, String> {
        let named = std::env::var_os(FILE).map(PathBuf::from);
        let must_exist = named.is_some();
        let path = named.unwrap_or_else(|| folder.join(DEFAULT_FILE));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
                String::new()
            }
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        };
        Self::parse(&text).map_err(|(line, text)| {
            format!(
                "{}:{line}: expected `leak:` and a part of a function's or file's name, found {text:?}",
                path.display()
            )
        })
    }

    fn parse(text: &str) -> Result<Self, (usize, &str)> {
        let mut patterns: Vec<Pattern> = BUILT_IN.iter().copied().map(Pattern::new).collect();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.strip_prefix("leak:").map(str::trim) {
                // An empty pattern would hide every leak.
                Some(pattern) if !pattern.trim_matches(['*', '^', '$']).is_empty() => {
                    patterns.push(Pattern::new(pattern));
                }
                _ => return Err((number + 1, line)),
            }
        }
        Ok(Self(patterns))
    }

    /// Whether a function of this stack, or its file, is one of those.
    pub(crate) fn cover(&self, stack: &[SiteFrame]) -> bool {
        stack.iter().any(|frame| {
            let names = [frame.function.as_str(), frame.file.as_str()];
            self.0
                .iter()
                .any(|pattern| names.iter().any(|name| pattern.matches(name)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_leak_sanitizers_do() {
        for (pattern, name, expected) in [
            ("lexer", "app::lexer::next", true),
            ("parser", "app::lexer::next", false),
            ("^app::", "app::lexer::next", true),
            ("^lexer", "app::lexer::next", false),
            ("next$", "app::lexer::next", true),
            ("lexer$", "app::lexer::next", false),
            ("app*next", "app::lexer::next", true),
            ("^app*lexer*xt$", "app::lexer::next", true),
            ("^app*lexer*xt$", "app::lexer::next_one", false),
            ("next*app", "app::lexer::next", false),
            ("^app::lexer::next$", "app::lexer::next", true),
            // The first of two places does not lead on.
            ("ab*c$", "abd abc", true),
            ("aab", "aaab", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(name),
                expected,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_file_has_comments_and_patterns_and_nothing_else() {
        let known = Suppressions::parse("# known\n\n leak:app::cache \nleak:^lib*new$\n").unwrap();
        assert_eq!(known.0.len(), BUILT_IN.len() + 2);
        for (text, line) in [
            ("race:x", (1, "race:x")),
            ("leak:a\nleak:\n", (2, "leak:")),
            ("leak:*", (1, "leak:*")),
        ] {
            assert_eq!(Suppressions::parse(text).unwrap_err(), line);
        }
    }
}
