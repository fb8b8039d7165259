//! The law of imports: a module uses only what stands below it; and the list of
//! modules that may be `unsafe` is in `lib.rs` and nowhere else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// From the top down. Modules of one line do not use each other, except within
/// themselves.
const LAYERS: &[&[&str]] = &[
    &["lib"],
    &["internals"],
    &["spans"],
    &[
        "assert",
        "environment",
        "recover",
        "snapshot",
        "stats",
        "testing",
    ],
    &["profiler"],
    &["interpose"],
    &["alloc", "report", "process"],
    &["engine"],
    &["touch"],
    &["record"],
    &["capture", "exact"],
    &["crash_file"],
    &["clock", "errno", "futex", "lock", "untracked"],
];

/// Narrower than the layers: all that these may use outside of themselves.
const ONLY: &[(&str, &[&str])] = &[
    ("report", &["record::snapshot", "capture::module_map"]),
    ("capture", &["clock", "errno", "lock", "untracked"]),
    ("exact", &["untracked"]),
    ("touch", &["record::chunks", "lock", "untracked"]),
    ("process", &[]),
    ("clock", &[]),
    ("errno", &[]),
    ("futex", &[]),
    ("lock", &[]),
    ("untracked", &[]),
];

#[test]
fn imports_go_down() {
    let mut broken = Vec::new();
    let mut seen = 0;
    for (path, text) in sources() {
        let module = top_module(&path);
        for import in imports(&text) {
            seen += 1;
            if let Some(why) = objection(&module, &import) {
                broken.push(format!("{}: crate::{import}: {why}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(seen > 50, "the reader of imports is broken: {seen}");
}

#[test]
fn only_modules_listed_in_lib_are_unsafe() {
    let lib = fs::read_to_string(src().join("lib.rs")).expect("lib.rs");
    assert!(code(&lib).contains("#![deny(unsafe_code)]"));
    let listed = modules_allowed_unsafe(&lib);
    assert!(listed.iter().any(|module| module == "alloc"), "{listed:?}");
    for (path, text) in sources() {
        let code = code(&text);
        let module = top_module(&path);
        let is_unsafe = words(&code).any(|word| word == "unsafe");
        let has_allow = code.contains("allow(unsafe_code") || code.contains("expect(unsafe_code");
        if listed.contains(&module) || module == "lib" {
            continue;
        }
        let places = code.matches("(unsafe_code").count();
        match &*module {
            // Maps the files of loaded objects, and gives their pages back.
            "report" if path.ends_with("report/symbols.rs") => {
                assert!(places <= 2, "{}: {places} places", path.display());
            }
            _ => assert!(!is_unsafe && !has_allow, "{}: unsafe", path.display()),
        }
    }
}

#[test]
fn the_law_can_be_broken() {
    assert!(objection("record", "engine").is_some());
    assert!(objection("record", "report::dhat").is_some());
    assert!(objection("capture", "record::sites").is_some());
    assert!(objection("report", "record::sites").is_some());
    assert!(objection("report", "record::snapshot::Kind").is_none());
    assert!(objection("alloc", "report").is_some());
    assert!(objection("engine", "record::sites::SiteId").is_none());
    assert!(objection("stats", "alloc::ENGINE").is_none());
    assert!(objection("lock", "clock").is_some());
    assert!(objection("no_such_module", "clock").is_some());
    let text = "use crate::{a::b, c};\n// crate::comment\nlet x = crate::d::e(\"crate::text\");\n\
                #[cfg(test)]\nmod tests {\n    use crate::f;\n}\n";
    assert_eq!(imports(text), ["a::b", "c", "d::e"]);
    assert_eq!(
        modules_allowed_unsafe("mod a;\n#[allow(unsafe_code, reason = \"b\")]\nmod b;\nmod c;\n"),
        ["b"]
    );
}

fn objection(module: &str, import: &str) -> Option<String> {
    let used = import.split("::").next().unwrap_or(import);
    if used == module {
        return None;
    }
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    let (Some(from), Some(to)) = (layer(module), layer(used)) else {
        // The crate's own re-exports and macros, which only `lib` may use.
        return (module != "lib").then(|| "not a module of the law".to_owned());
    };
    if to <= from {
        return Some(format!("{used} does not stand below {module}"));
    }
    let (_, allowed) = ONLY.iter().find(|(name, _)| *name == module)?;
    let is_allowed = allowed
        .iter()
        .any(|path| import == *path || import.starts_with(&format!("{path}::")));
    (!is_allowed).then(|| format!("{module} may use {allowed:?} only"))
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> BTreeMap<PathBuf, String> {
    let mut sources = BTreeMap::new();
    let mut folders = vec![src()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("source");
                sources.insert(path, text);
            }
        }
    }
    sources
}

/// `src/report/dhat.rs` belongs to `report`.
fn top_module(path: &Path) -> String {
    let inner = path.strip_prefix(src()).expect("under src");
    let first = inner.components().next().expect("a file");
    let name = Path::new(first.as_os_str()).file_stem().expect("a name");
    name.to_string_lossy().into_owned()
}

/// Paths after `crate::`, of the code that is not a test. Groups are opened up
/// one level, which is as deep as the law looks.
fn imports(text: &str) -> Vec<String> {
    let code = code(text);
    let mut imports = Vec::new();
    for (at, matched) in code.match_indices("crate::") {
        // `$crate::` is what a macro of the crate says in other crates.
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + matched.len()..];
        match rest.strip_prefix('{') {
            Some(group) => {
                let group = &group[..group.find('}').unwrap_or(group.len())];
                imports.extend(
                    group
                        .split(',')
                        .map(path_at)
                        .filter(|path| !path.is_empty()),
                );
            }
            None => imports.push(path_at(rest)),
        }
    }
    imports
}

fn path_at(text: &str) -> String {
    let text = text.trim_start();
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    text[..end].trim_end_matches(':').to_owned()
}

/// Without comments, the contents of strings, and the module of unit tests,
/// which stands last.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let mut code = String::new();
    for line in text.lines() {
        let mut in_string = false;
        let mut before = ' ';
        for (at, c) in line.char_indices() {
            if !in_string && line[at..].starts_with("//") {
                break;
            }
            if c == '"' && before != '\\' && !line[at..].starts_with("\"'") {
                in_string = !in_string;
            } else if !in_string {
                code.push(c);
            }
            before = c;
        }
        code.push('\n');
    }
    code
}

fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !(c.is_alphanumeric() || c == '_'))
}

/// The `mod` lines that follow an `allow(unsafe_code)`.
fn modules_allowed_unsafe(lib: &str) -> Vec<String> {
    let mut allowed = false;
    let mut modules = Vec::new();
    for line in code(lib).lines() {
        if line.contains("unsafe_code") && !line.contains("deny") {
            allowed = true;
        }
        let name = line
            .trim_start_matches("pub ")
            .strip_prefix("mod ")
            .and_then(|rest| rest.strip_suffix(';'));
        if let Some(name) = name
            && std::mem::take(&mut allowed)
        {
            modules.push(name.to_owned());
        }
    }
    modules
}
