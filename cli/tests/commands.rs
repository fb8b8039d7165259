//! The commands, run as a user runs them.

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::{file, heapledger, printed};

const FILES: [&str; 7] = [
    "log_before.json",
    "log_after.json",
    "valgrind.json",
    "valgrind-ad-hoc.json",
    "valgrind-copy.json",
    "dhat-rs.json",
    "heapscope.json",
];

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(arguments)).unwrap()
}

fn path(name: &str) -> String {
    file(name).to_str().unwrap().to_owned()
}

/// What a command that must fail says.
fn refusal(arguments: &[&str]) -> String {
    let output = heapledger(arguments);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn top_agrees_with_the_dhat_viewer() {
    for name in FILES {
        let totals = &json(&["top", &path(name), "--json"])["totals"];
        let text = fs::read_to_string(file(name)).unwrap();
        let viewed = viewer_compat::open_in_dhat_viewer(&text).unwrap().totals;
        for (key, shown) in [
            ("total-bytes", viewed.total_bytes),
            ("total-blocks", viewed.total_blocks),
            ("lifetimes", viewed.total_lifetimes),
            ("peak-bytes", viewed.at_gmax_bytes),
            ("peak-blocks", viewed.at_gmax_blocks),
            ("end-bytes", viewed.at_end_bytes),
            ("end-blocks", viewed.at_end_blocks),
            ("read-bytes", viewed.reads_bytes),
            ("written-bytes", viewed.writes_bytes),
        ] {
            assert_eq!(totals[key].as_u64(), shown, "{name}: {key}");
        }
    }
}

/// Not a copy of what Valgrind once wrote: what the installed one writes now.
#[test]
fn a_file_that_valgrind_writes_here() {
    let folder = tempfile::tempdir().unwrap();
    let written = folder.path().join("valgrind.json");
    let output = Command::new("valgrind")
        .args(["-q", "--tool=dhat"])
        .arg(format!("--dhat-out-file={}", written.display()))
        .args([
            env!("CARGO_BIN_EXE_heapledger"),
            "top",
            &path("valgrind.json"),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let written = written.to_str().unwrap();
    let top = json(&["top", written, "--json"]);
    assert!(top["totals"]["read-bytes"].as_u64() > Some(10_000), "{top}");
    let by_crate = json(&["top", written, "--json", "--group", "crate"]);
    let names: Vec<&str> = by_crate["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"heapledger_formats") && names.contains(&"clap_builder"),
        "{names:?}"
    );
}

#[test]
fn top_ranks_and_groups() {
    let log = path("log_before.json");
    let text = printed(["top", &log]);
    let rows: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("log_before.rs"))
        .collect();
    assert_eq!(rows.len(), 3);
    assert!(
        rows[0].contains("19,200,000  68.2%  200,000")
            && rows[0].contains("process_logs (examples/log_before.rs:16) through collect [Vec]"),
        "{text}"
    );
    assert!(rows[1].contains("through to_string [String]"), "{text}");
    let names = |arguments: &[&str]| -> Vec<String> {
        let all = json(&[&["top", &log, "--json"], arguments].concat());
        all["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&["--group", "type"]), ["Vec", "String", "I/O buffer"]);
    assert_eq!(names(&["--group", "crate"]), ["log_before"]);
    assert_eq!(names(&["--group", "file"]), ["examples/log_before.rs"]);
    assert_eq!(
        names(&["--group", "function", "--limit", "1"]),
        ["process_logs (examples/log_before.rs)"]
    );
    assert_eq!(names(&["--by", "end-bytes"]).len(), 1);
    assert_eq!(names(&["--by", "short-lived-blocks"]).len(), 2);
    let dhat_rs = json(&[
        "top",
        &path("dhat-rs.json"),
        "--json",
        "--group",
        "function",
    ]);
    assert_eq!(dhat_rs["rows"].as_array().unwrap().len(), 1, "{dhat_rs}");
    assert_eq!(dhat_rs["rows"][0]["name"], "work (bin/../work.rs)");
}

#[test]
fn show_tells_all_of_a_site() {
    let text = printed(["show", &path("valgrind.json"), "2", "--group", "point"]);
    assert!(
        text.contains("0x1091D3: main (t.c:6)")
            && text.contains("mean size                           16"),
        "{text}"
    );
    assert!(
        text.contains("[   0]    10    10    10    10    10    10    10    10     -"),
        "{text}"
    );
    let text = printed(["show", &path("log_before.json"), "to_string"]);
    assert!(
        text.contains("allocated bytes                     8,934,931")
            && !text.contains("19,200,000"),
        "{text}"
    );
    assert!(refusal(&["show", &path("log_before.json"), "4"]).contains("has no row 4"));
    assert!(
        refusal(&["show", &path("log_before.json"), "nowhere"]).contains("no stack has a frame")
    );
}

#[test]
fn diff_names_what_went_away() {
    let (before, after) = (path("log_before.json"), path("log_after.json"));
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("d.svg");
    let change = json(&[
        "diff",
        &before,
        &after,
        "--format",
        "json",
        "--flame",
        picture.to_str().unwrap(),
    ]);
    let changes = change["changes"].as_array().unwrap();
    // The buffer of standard output is in both, on another line of another file.
    assert_eq!(changes.len(), 2, "{change}");
    for (change, name, bytes) in [
        (&changes[0], "through collect [Vec]", 19_200_000),
        (&changes[1], "through to_string [String]", 8_934_931),
    ] {
        assert!(change["name"].as_str().unwrap().ends_with(name), "{change}");
        assert_eq!(
            (change["before"].as_u64(), change["after"].as_u64()),
            (Some(bytes), Some(0))
        );
    }
    assert_eq!(change["totals"]["total-blocks"]["after"], 1);
    assert!(fs::read_to_string(picture).unwrap().contains("to_string"));

    let text = printed(["diff", &before, &before]);
    assert!(text.ends_with("No site differs.\n"), "{text}");
    let markdown = printed(["diff", &before, &after, "--format", "markdown"]);
    assert!(markdown.contains("| 8,934,931 | 0 | -8,934,931 | gone | -100,000 | `process_logs (examples/log_before.rs:15) through to_string [String]` |"), "{markdown}");
}

#[test]
fn diff_fails_over_what_was_allowed() {
    let (before, after) = (path("log_before.json"), path("log_after.json"));
    let code = |arguments: &[&str]| heapledger([&["diff"], arguments].concat()).status.code();
    assert_eq!(code(&[&before, &after, "--fail-over", "5%"]), Some(0));
    let failed = heapledger([
        "diff",
        &after,
        &before,
        "--fail-over",
        "5%",
        "--format",
        "json",
    ]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(serde_json::from_slice::<Value>(&failed.stdout).is_ok());
    let why = String::from_utf8(failed.stderr).unwrap();
    assert!(
        why.ends_with("log_before.json: allocated bytes grew by 28,134,931 from 1,024 (2747551.9%), more than the 5% that --fail-over allows\n"),
        "{why}"
    );
    assert_eq!(code(&[&after, &before, "--fail-over", "28134931"]), Some(0));
    assert_eq!(
        code(&[&after, &before, "--fail-over", "28,134,930"]),
        Some(1)
    );
    assert_eq!(
        code(&[&after, &before, "--fail-over", "5%", "--by", "end-bytes"]),
        Some(0)
    );
    assert_eq!(code(&[&after, &before, "--fail-over", "much"]), Some(2));
    assert!(
        refusal(&["diff", &before, &path("valgrind-copy.json")]).contains("count different things")
    );
}

/// Lines move and addresses change; functions stay.
#[test]
fn diff_follows_lines_that_moved() {
    let folder = tempfile::tempdir().unwrap();
    let moved = folder.path().join("moved.json");
    let text = fs::read_to_string(file("log_before.json")).unwrap();
    let text = text
        .replace("log_before.rs:16:", "log_before.rs:36:")
        .replace("log_before.rs:15:", "log_before.rs:35:");
    let text = text.replace("0x2e4", "0x7d1").replace("8934931", "8934930");
    fs::write(&moved, text).unwrap();
    let change = json(&[
        "diff",
        &path("log_before.json"),
        moved.to_str().unwrap(),
        "--format",
        "json",
    ]);
    let changes = change["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{change}");
    assert_eq!(
        changes[0]["name"],
        "process_logs (examples/log_before.rs:35) through to_string [String]"
    );
    assert_eq!(
        (changes[0]["before"].as_u64(), changes[0]["after"].as_u64()),
        (Some(8_934_931), Some(8_934_930))
    );
}

#[test]
fn merge_adds_processes_up() {
    let folder = tempfile::tempdir().unwrap();
    // The same program twice, at other addresses and with another number.
    let other = folder.path().join("other.json");
    let text = fs::read_to_string(file("log_before.json")).unwrap();
    fs::write(
        &other,
        text.replace("\"0x", "\"0x7f")
            .replace("\"pid\":", "\"pid\":9"),
    )
    .unwrap();
    let merged = folder.path().join("merged.json");
    let (other, merged) = (other.to_str().unwrap(), merged.to_str().unwrap());
    let (before, after) = (path("log_before.json"), path("log_after.json"));
    printed([
        "merge",
        &before,
        other,
        &after,
        "-o",
        merged,
        "--per-process",
    ]);
    let top = json(&["top", merged, "--json"]);
    assert_eq!(top["totals"]["total-bytes"], 2 * 28_135_955 + 1024);
    assert_eq!(top["rows"].as_array().unwrap().len(), 4, "{top}");
    let processes = printed(["top", merged, "--processes"]);
    let rows: Vec<&str> = processes
        .lines()
        .filter(|line| line.ends_with(".json"))
        .collect();
    assert_eq!(rows.len(), 3);
    assert!(rows[0].contains("28,135,955  300,001"), "{processes}");
    let site = printed(["show", merged, "to_string"]);
    assert_eq!(
        site.matches("of which 8,934,931 in 100,000 blocks by")
            .count(),
        2,
        "{site}"
    );
    viewer_compat::open_in_dhat_viewer(&fs::read_to_string(merged).unwrap())
        .unwrap()
        .assert_sound();

    // One by one gives the same as all at once.
    let step = folder.path().join("step.json");
    let step = step.to_str().unwrap();
    printed(["merge", &before, other, "-o", step]);
    printed(["merge", step, &after, "-o", step]);
    assert_eq!(json(&["top", step, "--json"])["rows"], top["rows"]);

    let kept = fs::read(merged).unwrap();
    let said = refusal(&["merge", &before, &path("valgrind.json"), "-o", merged]);
    assert!(said.contains("differ in their units of time"), "{said}");
    assert_eq!(
        fs::read(merged).unwrap(),
        kept,
        "a failure leaves the file as it was"
    );
    assert!(refusal(&["top", &before, "--processes"]).contains("--per-process"));
}

#[test]
fn errors_are_one_line_with_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let whole = fs::read(file("log_before.json")).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let huge = write("huge", b"{");
    fs::File::options()
        .write(true)
        .open(&huge)
        .unwrap()
        .set_len((2 << 30) + 1)
        .unwrap();
    let none = folder.path().join("none").to_str().unwrap().to_owned();
    let cases: [(String, &str); 9] = [
        (
            write("text", b"hello"),
            "not JSON: a DHAT file starts with `{`, and byte 0 is 0x68",
        ),
        (write("empty", b""), "the file is empty"),
        (
            write("half", &whole[..text.find("\"fs\":[20").unwrap() + 8]),
            ", in pps[2].fs",
        ),
        (write("one", br#"{"dhatFileVersion":1"#), "is of version 1"),
        (
            write(
                "index",
                text.replace("[1,2,3,4,5,6,7,8]", "[1,2,3,4,5,6,7,999]")
                    .as_bytes(),
            ),
            "pps[0].fs[7]: frame 999 is out of range",
        ),
        (
            write("minus", text.replace("\"tb\":1024", "\"tb\":-1").as_bytes()),
            "pps[2].tb: invalid value: integer `-1`",
        ),
        (
            huge,
            "has 2147483649 bytes, and at most 2147483648 are read",
        ),
        (folder.path().to_str().unwrap().to_owned(), "is a directory"),
        (none, "cannot read it: No such file"),
    ];
    for (path, expected) in &cases {
        for command in [
            &["top"][..],
            &["report"],
            &["flame"],
            &["convert", "--to", "folded"],
        ] {
            let said = refusal(&[command, &[path]].concat());
            assert!(said.contains(expected), "{said}");
        }
    }
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 7, "nothing was written");
    let log = path("log_before.json");
    let said = refusal(&[
        "report",
        &log,
        "-o",
        folder.path().join("no/such/folder.html").to_str().unwrap(),
    ]);
    assert!(said.contains("cannot write it: No such file"), "{said}");
    assert!(
        refusal(&["top", &log, "--by", "read-bytes"])
            .contains("has no read-bytes; it has total-bytes")
    );
}

#[test]
fn a_strangers_names_do_not_reach_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(file("log_before.json")).unwrap();
    let hostile = "\\u001b]0;title\\u0007\\u202e\\u009b31m";
    let text = text
        .replace("process_logs", hostile)
        .replace("\"cmd\":\"", &format!("\"cmd\":\"{hostile}"));
    let path = folder.path().join("hostile\u{1b}.json");
    fs::write(&path, &text).unwrap();
    let name = path.to_str().unwrap();
    let broken = folder.path().join("broken\u{1b}.json");
    fs::write(
        &broken,
        text.replace("\"mode\":\"heap\"", &format!("\"mode\":\"{hostile}\"")),
    )
    .unwrap();
    let broken = broken.to_str().unwrap();
    let after = support::file("log_after.json");
    let after = after.to_str().unwrap();
    for arguments in [
        &["top", name][..],
        &["top", broken],
        &["show", name, "1"],
        &["diff", name, after],
        &["diff", name, after, "--format", "markdown"],
        &["top", name, "--group", "function"],
        &["flame", name],
    ] {
        let output = heapledger(arguments);
        for printed in [output.stdout, output.stderr] {
            let printed = String::from_utf8(printed).unwrap();
            let deceptive = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!printed.contains(deceptive), "{arguments:?}: {printed:?}");
        }
    }
}

#[test]
fn colours_are_for_terminals() {
    let output = printed(["top", &path("log_before.json")]);
    assert!(!output.contains('\u{1b}'));
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let heapledger = env!("CARGO_BIN_EXE_heapledger");
    let script = format!(
        "{heapledger} top {} --limit 0 | true; echo ${{PIPESTATUS[0]}}",
        path("log_before.json")
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(
        (output.stdout.as_slice(), output.stderr.as_slice()),
        (&b"0\n"[..], &b""[..])
    );
}

#[test]
fn shells_and_man_learn_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(
            printed(["completions", shell]).contains("fail-over"),
            "{shell}"
        );
    }
    assert!(printed(["man"]).starts_with(".ie"));
    let folder = tempfile::tempdir().unwrap();
    printed(["man".as_ref(), folder.path().as_os_str()]);
    assert!(Path::new(&folder.path().join("heapledger-diff.1")).exists());
    assert!(printed(["diff", "--help"]).contains("Examples:"));
}

#[test]
fn convert_writes_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("prof.json");
    fs::copy(file("log_before.json"), &profile).unwrap();
    let profile = profile.to_str().unwrap();
    let cases: [(&str, &str, &[u8]); 7] = [
        ("pprof", "prof.pb.gz", &[0x1f, 0x8b]),
        ("folded", "prof.folded", b"log_before::main;process_logs;"),
        ("firefox", "prof.firefox.json", b"{"),
        ("speedscope", "prof.speedscope.json", b"{"),
        ("massif", "prof.massif.out", b"desc: "),
        ("callgrind", "prof.callgrind.out", b"# callgrind format\n"),
        ("dhat", "prof.dhat.json", b"{\n\"dhatFileVersion\":2"),
    ];
    for (format, name, start) in cases {
        let said = printed(["convert", profile, "--to", format]);
        let path = folder.path().join(name);
        assert_eq!(said.trim_end(), path.to_str().unwrap());
        let content = fs::read(&path).unwrap();
        let shown = String::from_utf8_lossy(&content[..content.len().min(60)]);
        assert!(content.starts_with(start), "{format}: {shown}");
        if name.ends_with(".json") {
            assert!(
                serde_json::from_slice::<Value>(&content).is_ok(),
                "{format}: {shown}"
            );
        }
    }
    // What was converted to itself says the same.
    let again = folder.path().join("prof.dhat.json");
    assert_eq!(
        json(&["top", again.to_str().unwrap(), "--json"])["rows"],
        json(&["top", profile, "--json"])["rows"]
    );
    assert!(
        refusal(&[
            "convert",
            &path("valgrind-copy.json"),
            "--to",
            "massif",
            "-o",
            folder.path().join("x").to_str().unwrap()
        ])
        .contains("has no peak-bytes")
    );
    assert!(!folder.path().join("x").exists());
}

#[test]
fn files_cut_anywhere_are_refused() {
    for name in FILES {
        let whole = fs::read(file(name)).unwrap();
        let end = whole.trim_ascii_end().len();
        assert!(
            heapledger_formats::read::from_slice(&whole[..end]).is_ok(),
            "{name}"
        );
        for length in 0..end {
            let cut = heapledger_formats::read::from_slice(&whole[..length]);
            assert!(cut.is_err(), "{name}: {length}");
        }
    }
}
