//! The two lines in a program's source, put where the compiler's own grammar says that `main` is.

use syn::spanned::Spanned;
use syn::{Attribute, Item};

/// The two, for a project that calls the crate so, and has it behind this feature or always.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    pub(super) crate_name: String,
    pub(super) feature: Option<String>,
}

impl Lines {
    fn gated(&self, lines: &[String]) -> Vec<String> {
        let gate = self.feature.as_ref();
        let gate = gate.map(|feature| format!("#[cfg(feature = \"{feature}\")]"));
        gate.into_iter().chain(lines.iter().cloned()).collect()
    }

    pub(super) fn before_main(&self) -> Vec<String> {
        let name = &self.crate_name;
        let allocator = format!("static ALLOC: {name}::Alloc = {name}::Alloc;");
        self.gated(&["#[global_allocator]".to_owned(), allocator])
    }

    /// What comes first in it.
    pub(super) fn in_main(&self) -> Vec<String> {
        let name = &self.crate_name;
        self.gated(&[format!("let _profiler = {name}::Profiler::new_heap();")])
    }
}

/// The source with both lines in it.
///
/// Fails, in words for the user, where they cannot simply be added.
pub(super) fn with_profiler(source: &str, lines: &Lines) -> Result<String, String> {
    let file =
        syn::parse_file(source).map_err(|error| format!("cannot be read as Rust: {error}"))?;
    if let Some(line) = file.items.iter().find_map(own_allocator) {
        return Err(format!(
            "line {line} sets a global allocator: wrap it, `{}::Alloc::new(…)` around what is there, \
             and begin `main` with `{}`",
            lines.crate_name,
            lines.in_main().join(" ")
        ));
    }
    let main = file.items.iter().find_map(|item| match item {
        Item::Fn(function) if function.sig.ident == "main" => Some(function),
        _ => None,
    });
    let main = main.ok_or("has no function `main`")?;
    let before = byte_of(source, main.span().start());
    let after_brace = byte_of(source, main.block.brace_token.span.open().end());
    let indent = indent_of(source, main.block.stmts.first());
    let mut changed = String::with_capacity(source.len() + 200);
    changed.push_str(&source[..before]);
    for line in lines.before_main() {
        changed.push_str(&line);
        changed.push('\n');
    }
    changed.push('\n');
    changed.push_str(&source[before..after_brace]);
    for line in lines.in_main() {
        changed.push('\n');
        changed.push_str(&indent);
        changed.push_str(&line);
    }
    let rest = &source[after_brace..];
    if !rest
        .trim_start_matches([' ', '\t'])
        .starts_with(['\n', '\r'])
    {
        changed.push('\n');
    }
    changed.push_str(rest);
    syn::parse_file(&changed).map_err(|error| format!("would no longer be Rust: {error}"))?;
    Ok(changed)
}

/// The line of a `#[global_allocator]`, in whatever module.
fn own_allocator(item: &Item) -> Option<usize> {
    let is_allocator = |attribute: &Attribute| attribute.path().is_ident("global_allocator");
    match item {
        Item::Static(item) if item.attrs.iter().any(is_allocator) => Some(item.span().start().line),
        Item::Mod(module) => module.content.as_ref()?.1.iter().find_map(own_allocator),
        _ => None,
    }
}

/// Lines are counted from 1, columns from 0 and in characters.
fn byte_of(source: &str, place: proc_macro2::LineColumn) -> usize {
    // Not of the source: the parser skips it.
    let bom = if source.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    let text = &source[bom..];
    let line_start = match place.line {
        0 | 1 => 0,
        line => text
            .match_indices('\n')
            .nth(line - 2)
            .map_or(text.len(), |(at, _)| at + 1),
    };
    let line = &text[line_start..];
    let column = line
        .char_indices()
        .nth(place.column)
        .map_or(line.len(), |(at, _)| at);
    bom + line_start + column
}

/// That of the first statement, else four spaces.
fn indent_of(source: &str, first: Option<&syn::Stmt>) -> String {
    let line = first.and_then(|first| {
        let at = byte_of(source, first.span().start());
        let start = source[..at].rfind('\n')? + 1;
        Some(&source[start..at])
    });
    match line {
        Some(line) if !line.is_empty() && line.trim().is_empty() => line.to_owned(),
        _ => "    ".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(feature: Option<&str>) -> Lines {
        Lines {
            crate_name: "heapledger".into(),
            feature: feature.map(str::to_owned),
        }
    }

    #[test]
    fn what_cargo_new_writes() {
        let source = "fn main() {\n    println!(\"Hello, world!\");\n}\n";
        let expected = "#[global_allocator]\nstatic ALLOC: heapledger::Alloc = heapledger::Alloc;\n\nfn main() {\n    let _profiler = heapledger::Profiler::new_heap();\n    println!(\"Hello, world!\");\n}\n";
        assert_eq!(with_profiler(source, &lines(None)).unwrap(), expected);
        let gated = expected
            .replace("#[global", "#[cfg(feature = \"heap\")]\n#[global")
            .replace("    let", "    #[cfg(feature = \"heap\")]\n    let");
        assert_eq!(with_profiler(source, &lines(Some("heap"))).unwrap(), gated);
    }

    #[test]
    fn other_shapes_stay_rust() {
        for source in [
            "//! Says ü.\nuse std::fmt;\n/// Ü { fn main() {\n#[tokio::main]\nasync fn main() -> Result<(), E> {\n\tlet x = \"ü\";\n\tOk(())\n}\n",
            "fn main() {}",
            "fn main() { run() }\n",
            "fn other() { fn main() {} }\npub fn main() -> ! {\n  loop {}\n}\n",
            "\u{feff}fn main() {\r\n    a();\r\n}\r\n",
            "#!/usr/bin/env run\nfn main()\n{\n    a();\n}\n",
        ] {
            let changed = with_profiler(source, &lines(None)).unwrap();
            let file = syn::parse_file(&changed).unwrap();
            let main = file.items.iter().find_map(|item| match item {
                Item::Fn(function) if function.sig.ident == "main" => Some(function),
                _ => None,
            });
            let first = main.unwrap().block.stmts.first().unwrap();
            assert!(matches!(first, syn::Stmt::Local(_)), "{changed}");
            assert!(
                file.items.iter().any(|item| own_allocator(item).is_some()),
                "{changed}"
            );
        }
    }

    #[test]
    fn where_it_cannot_be_done_it_says_so() {
        let own = "mod a {\n    #[global_allocator]\n    static A: Mi = Mi;\n}\nfn main() {}\n";
        assert!(
            with_profiler(own, &lines(None))
                .unwrap_err()
                .contains("line 2 sets a global allocator")
        );
        assert!(
            with_profiler("fn other() {}", &lines(None))
                .unwrap_err()
                .contains("no function `main`")
        );
        assert!(
            with_profiler("fn main( {", &lines(None))
                .unwrap_err()
                .contains("cannot be read as Rust")
        );
    }
}
