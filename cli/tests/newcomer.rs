//! From `cargo new` to one's own function in a flame graph: two commands, and what they say on the way.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use support::{printed, read_page};

/// What `cargo new` makes, with a function of one's own.
const PROGRAM: &str = r#"fn shout(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_uppercase()).collect()
}

fn main() {
    let words = shout(&["heap"; 1000]);
    println!("{}", words[0]);
    if std::env::args().nth(1).is_some() {
        std::process::exit(3);
    }
}
"#;

const TEST: &str = r#"
#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

#[test]
fn it_allocates() {
    let _profiler = heapledger::Profiler::builder().file_name("heap-test.json").build();
    drop(std::hint::black_box(vec![1_u8; 54_321]));
}
"#;

struct Project {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Project {
    fn new(name: &str) -> Project {
        let folder = tempfile::tempdir().unwrap();
        let made = Command::new(env!("CARGO"))
            .args(["new", "--quiet", "--vcs", "none", "--name", name])
            .arg(folder.path().join(name))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let project = Project {
            folder,
            // Kept from one run of the tests to the next: the crate need not be built each time.
            target: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name),
        };
        let root = project.folder.path().join(name);
        fs::write(root.join("src/main.rs"), PROGRAM).unwrap();
        // The versions that are here already.
        fs::copy(repository().join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        project
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join(self.target.file_name().unwrap())
    }

    /// `cargo heapledger …`, as cargo starts it.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-heapledger"));
        command
            .arg("heapledger")
            .args(arguments)
            .current_dir(self.root())
            .env("CARGO_TARGET_DIR", &self.target)
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTFLAGS");
        command
    }

    fn heapledger(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn init(&self, more: &[&str]) -> String {
        let path = repository();
        let arguments = [&["init", "--yes", "--path", path.to_str().unwrap()], more].concat();
        let done = self.heapledger(&arguments);
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

fn after<'a>(text: &'a str, label: &str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label} in {text}"))
        .trim()
}

#[test]
fn two_commands_to_a_flame_graph() {
    let project = Project::new("newcomer");
    let source = project.root().join("src/main.rs");

    // Without a terminal nothing is asked and nothing changed, but told.
    let refused = project.heapledger(&["run"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("newcomer does not use heapledger yet: `cargo heapledger init`"),
        "{said}"
    );
    let refused = project.heapledger(&["init"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(
        String::from_utf8(refused.stdout)
            .unwrap()
            .contains("+ static ALLOC: heapledger::Alloc")
    );
    assert_eq!(fs::read_to_string(&source).unwrap(), PROGRAM);

    let said = project.init(&[]);
    assert!(said.contains("cargo heapledger run --open"), "{said}");
    assert!(
        project
            .init(&[])
            .contains("newcomer has heapledger already")
    );

    let run = project.heapledger(&["run", "--profile", "dev"]);
    assert!(run.status.success(), "{run:?}");
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(said.starts_with("HEAP\n"), "{said}");
    let profile = project.root().join(after(&said, "Profile:"));
    let functions = printed([
        "top".as_ref(),
        profile.as_os_str(),
        "--group".as_ref(),
        "function".as_ref(),
    ]);
    assert!(functions.contains("newcomer::shout"), "{functions}");

    let page = project.root().join(after(&said, "Report:"));
    let mut browser = read_page(&page);
    let names = browser.evaluate(
        "(async () => {
            const canvas = document.querySelector('#canvas');
            const names = [];
            for (let step = 0; step < 40; step++) {
                names.push(document.querySelector('#flame-status').textContent);
                canvas.dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowDown'}));
            }
            return names.join('\\n');
        })()",
    );
    let names = names.unwrap();
    assert!(
        names.as_str().unwrap().contains("newcomer::shout"),
        "{names}"
    );

    // A test's profile, likewise.
    fs::create_dir(project.root().join("tests")).unwrap();
    fs::write(project.root().join("tests/heap.rs"), TEST).unwrap();
    let arguments = [
        "test",
        "--test",
        "heap",
        "--profile",
        "dev",
        "--",
        "it_allocates",
    ];
    let tested = project.heapledger(&arguments);
    assert!(tested.status.success(), "{tested:?}");
    let said = String::from_utf8(tested.stdout).unwrap();
    assert!(
        after(&said, "Profile:").ends_with("heap-test.json"),
        "{said}"
    );
    assert!(said.contains("54,321  "), "{said}");

    // The allocator's line alone will do.
    let changed = fs::read_to_string(&source).unwrap();
    let line = "    let _profiler = heapledger::Profiler::new_heap();\n";
    fs::write(&source, changed.replace(line, "")).unwrap();
    fs::remove_dir_all(project.root().join("tests")).unwrap();
    fs::remove_file(&profile).unwrap();
    let run = project.heapledger(&["run", "--profile", "dev"]);
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(
        after(&said, "Profile:").ends_with("dhat-heap.json"),
        "{said}"
    );
    assert!(said.contains("newcomer::shout"), "{said}");
    fs::write(&source, changed).unwrap();

    // The program's own exit code, and its profile all the same.
    let run = project.heapledger(&["run", "--profile", "dev", "--", "fail"]);
    assert_eq!(run.status.code(), Some(3), "{run:?}");
    assert!(String::from_utf8(run.stdout).unwrap().contains("Profile:"));
}

#[test]
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn exact_counts_by_one_word_more() {
    let project = Project::new("exactly");
    let source = "fn main() {\n    let mut bytes = vec![0_u8; std::hint::black_box(1000)];\n    bytes[..100].fill(7);\n    std::hint::black_box(&bytes);\n}\n";
    fs::write(project.root().join("src/main.rs"), source).unwrap();
    project.init(&[]);
    let run = project.heapledger(&["run", "--exact", "--profile", "dev"]);
    assert!(run.status.success(), "{run:?}");
    let said = String::from_utf8(run.stdout).unwrap();
    let profile = project.root().join(after(&said, "Profile:"));
    let top = printed([
        "top".as_ref(),
        profile.as_os_str(),
        "--json".as_ref(),
        "--by".as_ref(),
        "written-bytes".as_ref(),
    ]);
    let top: Value = serde_json::from_str(&top).unwrap();
    assert_eq!(top["rows"][0]["total_bytes"], 1000, "{top}");
    assert_eq!(top["rows"][0]["value"], 100, "{top}");
}

/// A server is ended by Ctrl-C, which its terminal sends to all in the foreground.
#[test]
#[cfg(target_os = "linux")]
fn what_ctrl_c_ends_has_a_profile() {
    let project = Project::new("server");
    // The profiler stays in the project, behind a feature that nobody needs to remember.
    let source = "fn serve(answers: &mut Vec<String>) {\n    answers.push(\"answer\".repeat(100));\n}\n\nfn main() {\n    let mut answers = Vec::new();\n    serve(&mut answers);\n    println!(\"serving\");\n    loop {\n        std::thread::park();\n    }\n}\n";
    fs::write(project.root().join("src/main.rs"), source).unwrap();
    project.init(&["--optional"]);
    let mut server = project.command(&["run", "--profile", "dev"]);
    let mut server = server
        .process_group(0)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    assert!(line.contains("the feature `heapledger`"), "{line}");
    line.clear();
    said.read_line(&mut line).unwrap();
    assert_eq!(line, "serving\n");
    let interrupt = format!("kill -INT -{}", server.id());
    let sent = Command::new("sh").args(["-c", &interrupt]).status();
    assert!(sent.unwrap().success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(server.wait().unwrap().code(), Some(130), "{rest}");
    assert!(rest.contains("did not come to its end"), "{rest}");
    assert!(
        rest.contains("server::serve (") && rest.contains("600  "),
        "{rest}"
    );
    assert!(project.root().join(after(&rest, "Report:")).exists());
    let left = fs::read_dir(project.root()).unwrap();
    let mut left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(!left.any(|name| name.ends_with(".crash")));
}

#[test]
fn projects_of_several_packages() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "Cargo.toml",
        "[workspace]\nmembers = [\"shop\", \"parts\"]\nresolver = \"3\"\n",
    );
    for (name, more) in [("shop", "default-run = \"shop\"\n"), ("parts", "")] {
        let text =
            format!("[package]\nname = {name:?}\nversion = \"0.1.0\"\nedition = \"2024\"\n{more}");
        write(&format!("{name}/Cargo.toml"), &text);
    }
    let main = "fn main() {\n    println!();\n}\n";
    write("shop/src/main.rs", main);
    write("shop/src/bin/stock.rs", main);
    write("parts/src/lib.rs", "");
    write("parts/examples/wheel.rs", main);
    let lock = fs::read_to_string(repository().join("Cargo.lock")).unwrap();
    write("Cargo.lock", &lock);
    let said = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_cargo-heapledger"))
            .arg("heapledger")
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let refused = |arguments: &[&str], part: &str| {
        let (code, text) = said(arguments);
        assert!(
            code == Some(2) && text.contains(part),
            "{arguments:?}: {text}"
        );
    };
    // The only package with programs, and of those the one that cargo would run.
    let path = repository();
    let path = path.to_str().unwrap();
    let (code, text) = said(&["init", "--yes", "--path", path]);
    assert!(
        code == Some(0) && text.contains("shop/src/main.rs"),
        "{text}"
    );
    // Another package's profiler is not its own, and what a library's example needs is no part of the library.
    refused(
        &["run", "--example", "wheel"],
        "parts does not use heapledger yet: `cargo heapledger init --example wheel`",
    );
    let (code, text) = said(&["init", "--yes", "--example", "wheel", "--path", path]);
    assert!(
        code == Some(0) && text.contains("cargo heapledger run --example wheel --open"),
        "{text}"
    );
    let manifest = fs::read_to_string(folder.path().join("parts/Cargo.toml")).unwrap();
    assert!(
        manifest.contains("[dev-dependencies]\nheapledger"),
        "{manifest}"
    );
    refused(
        &["init", "--package", "parts"],
        "parts has no program, only a library",
    );
    refused(&["init", "--bin", "stick"], "there are several packages");
    refused(
        &["init", "--package", "shop", "--bin", "stick"],
        "it has shop, stock",
    );
    // A dependency that is there already is used as it is: by its name, behind its feature.
    let manifest = fs::read_to_string(folder.path().join("shop/Cargo.toml")).unwrap();
    let package = manifest.split("[dependencies]").next().unwrap();
    let depends = |how: &str, more: &str| {
        let dependency = format!(
            "[dependencies]\ndhat = {{ package = \"heapledger\", path = {path:?}{how} }}\n"
        );
        write("shop/Cargo.toml", &format!("{package}{dependency}{more}"));
        write("shop/src/main.rs", main);
    };
    let shop = || fs::read_to_string(folder.path().join("shop/src/main.rs")).unwrap();
    depends("", "");
    refused(
        &["init", "--yes", "--optional"],
        "shop depends on heapledger always",
    );
    assert_eq!(said(&["init", "--yes"]).0, Some(0));
    assert!(
        shop().contains("static ALLOC: dhat::Alloc = dhat::Alloc;"),
        "{}",
        shop()
    );
    depends(
        ", optional = true",
        "[features]\nheap = [\"dhat/tracing\"]\n",
    );
    assert_eq!(said(&["init", "--yes"]).0, Some(0));
    assert!(
        shop().contains("#[cfg(feature = \"heap\")]\n    let _profiler = dhat::"),
        "{}",
        shop()
    );
    // What tests depend on is no program's.
    let tests = format!("[dev-dependencies]\nheapledger = {{ path = {path:?} }}\n");
    depends(
        ", optional = true",
        &format!("{tests}[features]\nheap = [\"dhat\"]\n"),
    );
    let (_, text) = said(&["run", "--bin", "shop", "--profile", "nonexistent"]);
    assert!(text.contains("Building with the feature `heap`"), "{text}");
    depends(
        ", optional = true",
        "[features]\nheap = [\"dhat\"]\nheap-exact = [\"dhat\"]\n",
    );
    refused(&["run"], "choose by --features: heap, heap-exact");
    refused(&["init", "--yes"], "behind one of heap, heap-exact");
    refused(
        &["init", "--manifest-path", "parts/Cargo.toml"],
        "parts has no program",
    );
    refused(&["test"], "choose one by --package: parts, shop");
}

#[test]
fn help_is_all_the_documentation_it_takes() {
    let help = Command::new(env!("CARGO_BIN_EXE_cargo-heapledger"))
        .args(["heapledger", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(
        help.contains("cargo heapledger init ") && help.contains("cargo heapledger run --open"),
        "{help}"
    );
}
