//! Files and names as strangers and shells hand them over.

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use support::{file, heapledger, printed};
use tempfile::TempDir;
use viewer_compat::{Browser, Programs};

/// A folder with a profile, `prof.json`.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(file("log_before.json"), folder.path().join("prof.json")).unwrap();
    fs::copy(file("log_after.json"), folder.path().join("after.json")).unwrap();
    folder
}

/// Runs lines of a shell in the folder; `$H` is the command.
fn shell(folder: &Path, script: &str) -> Output {
    Command::new("bash")
        .args(["-c", script])
        .env("H", env!("CARGO_BIN_EXE_heapledger"))
        .current_dir(folder)
        .output()
        .unwrap()
}

/// What they printed, errors included.
fn said(folder: &Path, script: &str) -> String {
    let output = shell(folder, &format!("{{ {script} ; }} 2>&1"));
    String::from_utf8(output.stdout).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let names = fs::read_dir(folder).unwrap().map(name);
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

fn profile(change: impl FnOnce(&mut Value)) -> String {
    let text = fs::read_to_string(file("log_before.json")).unwrap();
    let mut value = serde_json::from_str(&text).unwrap();
    change(&mut value);
    value.to_string()
}

#[test]
fn results_have_the_rights_of_new_files_and_keep_those_of_old_ones() {
    let folder = folder();
    let mode = |name| fs::metadata(folder.path().join(name)).unwrap().mode() & 0o777;
    said(folder.path(), "umask 027; $H flame prof.json -o a.svg");
    assert_eq!(mode("a.svg"), 0o640);
    let old = folder.path().join("old.svg");
    fs::write(&old, "old").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o604)).unwrap();
    said(folder.path(), "umask 077; $H flame prof.json -o old.svg");
    assert_eq!(mode("old.svg"), 0o604);
    assert!(fs::read_to_string(old).unwrap().contains("<svg"));
}

/// Who may write to another's file neither takes it over nor shows it to anybody else.
#[test]
fn a_file_of_another_stays_theirs() {
    let folder = folder();
    if fs::metadata(folder.path()).unwrap().uid() != 0 {
        println!("not root, who alone may become somebody else: nothing is checked");
        return;
    }
    let (alice, bob, team) = (12_001, 12_002, 12_003);
    fs::copy(
        env!("CARGO_BIN_EXE_heapledger"),
        folder.path().join("heapledger"),
    )
    .unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    for (owner, group) in [(alice, team), (bob, team), (alice, bob)] {
        let old = folder.path().join("old.svg");
        fs::write(&old, "old".repeat(100_000)).unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o660)).unwrap();
        std::os::unix::fs::chown(&old, Some(owner), Some(group)).unwrap();
        let script = format!(
            "setpriv --reuid {bob} --regid {bob} --groups {team} ./heapledger flame prof.json -o old.svg"
        );
        assert_eq!(said(folder.path(), &script), "old.svg\n");
        let about = fs::metadata(&old).unwrap();
        assert_eq!(
            (about.uid(), about.gid(), about.mode() & 0o777),
            (owner, group, 0o660)
        );
        let svg = fs::read_to_string(&old).unwrap();
        assert!(svg.starts_with("<?xml") && svg.trim_end().ends_with("</svg>"));
        fs::remove_file(&old).unwrap();
    }
    assert_eq!(
        names(folder.path()),
        ["after.json", "heapledger", "prof.json"]
    );
}

#[test]
fn links_stay_and_lead_to_the_result() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("below")).unwrap();
    fs::write(path("below/real"), "old").unwrap();
    symlink("below/real", path("link")).unwrap();
    symlink("below/new", path("dangling")).unwrap();
    symlink("turning", path("turning")).unwrap();
    for (link, real) in [("link", "below/real"), ("dangling", "below/new")] {
        printed([
            "flame".as_ref(),
            path("prof.json").as_os_str(),
            "-o".as_ref(),
            path(link).as_os_str(),
        ]);
        assert!(fs::symlink_metadata(path(link)).unwrap().is_symlink());
        assert!(fs::read_to_string(path(real)).unwrap().contains("<svg"));
    }
    assert_eq!(names(&path("below")), ["new", "real"]);
    let refused = said(folder.path(), "$H flame prof.json -o turning");
    assert!(refused.contains("cannot write it: too many"), "{refused}");
}

/// What a shell has opened gets the result where the shell is, and is not replaced. Of a pipe that is always so.
#[test]
fn open_files_are_written_to() {
    let folder = folder();
    symlink("/proc/self/fd/1", folder.path().join("stdout")).unwrap();
    symlink("/dev/fd/5", folder.path().join("five")).unwrap();
    for (output, to, redirection) in [
        ("-", "", "> all"),
        ("stdout", "", "> all"),
        ("/dev/stdout", "", "> all"),
        ("/dev/fd/1", "", "> all"),
        ("/dev/stderr", " >&2", "2> all > rest"),
        ("/dev/fd/5", " >&5", "5>&1 > rest | cat > all"),
        ("five", " >&5", "5>&1 > rest | cat > all"),
    ] {
        let script = format!(
            "{{ echo before{to}; $H convert prof.json --to folded -o {output}; echo after{to}; }} {redirection}"
        );
        let output = shell(folder.path(), &script);
        assert_eq!(output.stderr, b"", "{script}");
        let all = fs::read_to_string(folder.path().join("all")).unwrap();
        let lines: Vec<&str> = all.lines().filter(|line| !line.starts_with('/')).collect();
        assert!(
            lines.len() > 4 && lines[0] == "before" && lines[1].starts_with("log_before::main;"),
            "{script}: {all}"
        );
        assert_eq!(lines.last(), Some(&"after"), "{script}");
    }
    assert!(
        fs::symlink_metadata(folder.path().join("stdout"))
            .unwrap()
            .is_symlink()
    );
    for output in ["/dev/fd/5", "five"] {
        let script = format!("echo kept >&5; $H flame prof.json -o {output}; echo $?; cat all");
        let refused = said(folder.path(), &format!("{{ {script}; }} 5> all"));
        assert_eq!(
            refused,
            format!(
                "error: {output}: cannot write it: it is a file that is open already, and where to go on in it is not known: name the file, or use `-`\n2\nkept\n"
            )
        );
    }
    let through_a_pipe = said(
        folder.path(),
        "mkfifo pipe; cat pipe > got & $H convert prof.json --to folded -o pipe; wait; head -c 17 got; test -p pipe && echo",
    );
    assert_eq!(through_a_pipe, "pipe\nlog_before::main;\n");
}

#[test]
fn what_cannot_be_written_is_one_line() {
    let folder = folder();
    for (arguments, expected) in [
        (
            "flame prof.json -o /dev/full",
            "error: /dev/full: cannot write it: No space left on device (os error 28)\n2\n",
        ),
        (
            "flame prof.json -o -  > /dev/full",
            "error: cannot write the output: No space left on device (os error 28)\n2\n",
        ),
        (
            "top prof.json > /dev/full",
            "error: cannot write the output: No space left on device (os error 28)\n2\n",
        ),
        (
            "diff prof.json after.json --format json > /dev/full",
            "error: cannot write the output: No space left on device (os error 28)\n2\n",
        ),
        (
            "flame prof.json -o no/a.svg",
            "error: no/a.svg: cannot write it: No such file or directory (os error 2)\n2\n",
        ),
        (
            "flame prof.json -o /dev/fd/77",
            "error: /dev/fd/77: cannot write it: No such file or directory (os error 2)\n2\n",
        ),
        (
            "flame prof.json -o .",
            "error: .: is a directory: name a file in it\n2\n",
        ),
    ] {
        assert_eq!(
            said(folder.path(), &format!("$H {arguments}; echo $?")),
            expected
        );
    }
    assert_eq!(names(folder.path()), ["after.json", "prof.json"]);
}

#[test]
fn a_profile_is_not_lost_and_names_tell_processes_apart() {
    let folder = folder();
    symlink("prof.json", folder.path().join("same")).unwrap();
    let kept = fs::read(folder.path().join("prof.json")).unwrap();
    for command in [
        "flame prof.json -o prof.json",
        "report prof.json -o same",
        "convert prof.json --to pprof -o ./prof.json",
        "diff prof.json after.json --flame prof.json",
    ] {
        let said = said(folder.path(), &format!("$H {command}; echo $?"));
        assert!(
            said.contains("is the profile itself, which would be lost") && said.ends_with("\n2\n"),
            "{said}"
        );
    }
    assert_eq!(fs::read(folder.path().join("prof.json")).unwrap(), kept);
    assert_eq!(
        said(folder.path(), "$H convert prof.json --to dhat -o prof.json"),
        "prof.json\n"
    );
    assert_eq!(
        said(
            folder.path(),
            "cp prof.json dhat.out.12; gzip -k prof.json; $H flame dhat.out.12; $H report prof.json.gz; $H flame prof.json"
        ),
        "dhat.out.12.svg\nprof.html\nprof.svg\n"
    );
}

#[test]
fn pipes_and_packed_files_are_read() {
    let folder = folder();
    let top = said(folder.path(), "$H top prof.json");
    assert!(top.contains("28,135,955 bytes"), "{top}");
    for command in [
        "$H top - < prof.json",
        "cat prof.json | $H top -",
        "$H top <(cat prof.json)",
        "gzip -c prof.json > packed; $H top packed",
        "gzip -c prof.json | $H top -",
        // With the mark that some editors put in front.
        "(printf '\\xef\\xbb\\xbf'; cat prof.json) > marked; $H top marked",
        "$H top - < marked",
        "gzip -c marked | $H top -",
        // Two packed pieces, one behind the other.
        "(head -c 999 prof.json | gzip; tail -c +1000 prof.json | gzip) | $H top /dev/stdin",
    ] {
        assert_eq!(said(folder.path(), command), top, "{command}");
    }
    let diff = said(folder.path(), "$H diff prof.json after.json");
    assert_eq!(
        said(
            folder.path(),
            "$H diff <(cat prof.json) <(gzip -c after.json)"
        ),
        diff
    );
    assert_eq!(
        said(
            folder.path(),
            "$H merge - <(cat after.json) -o all < prof.json; $H top all | grep ^Total"
        ),
        "all\nTotal:      28,136,979 bytes in 300,002 blocks\n"
    );
    let before = names(folder.path());
    for (command, expected) in [
        (
            "$H flame - < prof.json",
            "-: is no file to write another one beside: name it with -o",
        ),
        (
            "$H report <(cat prof.json)",
            "is no file to write another one beside",
        ),
        (
            "gzip -c prof.json | head -c 500 | $H top -",
            "-: cannot read it: ",
        ),
        (
            "gzip -c prof.json | head -c 3 | $H top -",
            "-: cannot read it: ",
        ),
        (
            "gzip -c packed | $H top -",
            "-: not JSON: it is compressed: unpack it",
        ),
        ("$H top - < /dev/null", "-: not JSON: the file is empty"),
        (
            "$H top /dev/zero",
            "/dev/zero: not JSON: a DHAT file starts with `{`, and byte 0 is 0x00",
        ),
    ] {
        let said = said(folder.path(), &format!("{command}; echo $?"));
        assert!(
            said.contains(expected) && said.ends_with("\n2\n") && said.lines().count() == 2,
            "{command}: {said}"
        );
    }
    assert_eq!(names(folder.path()), before);
}

#[test]
fn sums_beyond_64_bits_are_exact() {
    let folder = folder();
    let huge = folder.path().join("huge.json");
    let most = u64::MAX;
    fs::write(
        &huge,
        profile(|value| {
            for point in value["pps"].as_array_mut().unwrap() {
                for key in ["tb", "tbk", "tl", "mb", "mbk", "gb", "gbk", "eb", "ebk"] {
                    point[key] = json!(most);
                }
            }
            value["te"] = json!(most);
        }),
    )
    .unwrap();
    let sum = (u128::from(most) * 3).to_string();
    let top = printed(["top".as_ref(), huge.as_os_str(), "--json".as_ref()]);
    assert!(top.contains(&format!("\"total-bytes\": {sum}")), "{top}");
    let diff = said(folder.path(), "$H diff prof.json huge.json --format json");
    assert!(diff.contains(&format!("\"after\": {sum}")), "{diff}");
    for command in [
        "flame huge.json",
        "convert huge.json --to firefox",
        "diff prof.json huge.json --flame x.svg",
    ] {
        let said = said(folder.path(), &format!("$H {command}; echo $?"));
        assert!(
            said.contains("are more than") && said.ends_with("\n2\n"),
            "{said}"
        );
    }
    for format in [
        "pprof",
        "folded",
        "speedscope",
        "massif",
        "callgrind",
        "dhat",
    ] {
        let script = format!("$H convert huge.json --to {format} -o out");
        assert_eq!(said(folder.path(), &script), "out\n", "{format}");
    }
}

/// Even where colours are wanted, which lets escapes through.
#[test]
fn units_of_a_stranger_do_not_reach_the_terminal() {
    let folder = folder();
    let hostile = "\u{1b}]0;title\u{7}\u{202e}\u{9b}31m<script>\n";
    let text = profile(|value| {
        for key in ["bu", "bsu", "bksu", "tu", "Mtu", "verb", "cmd"] {
            value[key] = hostile.into();
        }
        value["cmd"] = format!("{hostile}\u{7f}\u{e0001}").into();
        value["ftbl"][1] = hostile.into();
        value["heapledger"] = json!({
            "version": 1, "capture": hostile, "exact": {"note": hostile},
            "processes": [{"pid": 1, "command": hostile, "file": hostile}],
            "modules": [{"path": hostile, "build_id": hostile}],
        });
    });
    fs::write(folder.path().join("units.json"), text.clone()).unwrap();
    fs::write(
        folder.path().join("less.json"),
        text.replace("19200000", "192000"),
    )
    .unwrap();
    for command in [
        "top units.json",
        "top units.json --by lifetimes",
        "top units.json --by read-bytes",
        "top units.json --json",
        "top units.json --processes",
        "top units.json --group function",
        "show units.json 1",
        "diff units.json less.json",
        "diff units.json less.json --by lifetimes",
        "diff units.json less.json --format markdown",
        "diff units.json less.json --format json",
        "diff less.json units.json --fail-over 0",
        "diff units.json prof.json",
        "merge units.json prof.json -o x",
        "resolve units.json --exe /bin/true",
    ] {
        let said = said(folder.path(), &format!("CLICOLOR_FORCE=1 $H {command}"));
        assert!(!said.is_empty(), "{command}");
        let mut plain = said.clone();
        for style in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[31m"] {
            plain = plain.replace(style, "");
        }
        let deceptive = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!plain.contains(deceptive), "{command}: {said:?}");
        let is_markup = said
            .lines()
            .any(|line| line.starts_with("| before") && line.contains("| <script"));
        assert!(!is_markup, "{command}: {said}");
    }
    let json = said(folder.path(), "$H top units.json --json");
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["command"], format!("{hostile}\u{7f}\u{e0001}"));
}

/// Not only names of functions may be long.
#[test]
fn long_texts_are_shown_without_their_middle() {
    let folder = folder();
    let long = "\u{202e}".repeat(1_000_000);
    let text = profile(|value| {
        for key in ["bu", "bsu", "bksu", "tu", "Mtu", "verb", "cmd"] {
            value[key] = long.clone().into();
        }
        value["heapledger"] = json!({
            "version": 1, "capture": long,
            "processes": [{"pid": 1, "command": long, "file": long}],
            "modules": [{"path": long, "build_id": long}],
        });
    });
    fs::write(folder.path().join("long.json"), text).unwrap();
    assert_eq!(
        said(folder.path(), "$H convert long.json --to dhat -o out"),
        "out\n"
    );
    assert!(fs::metadata(folder.path().join("out")).unwrap().len() < 400_000);
}

/// Lists that are long in every part: what is quadratic in them does not end here.
#[test]
fn long_lists_take_time_in_proportion() {
    let folder = folder();
    let count = 150_000;
    let text = profile(|value| {
        let shares = |from: u32| -> Vec<Value> {
            (from..from + count)
                .map(|process| json!({"process": process}))
                .collect()
        };
        for (index, from) in [(0, 0), (1, count)] {
            value["pps"][index]["fs"] = json!([1]);
            value["pps"][index]["heapledger"] = json!({"by_process": shares(from)});
        }
        let modules = (0..count).map(|number| json!({"path": format!("/{number:06}")}));
        let frames = (0..count).map(|number| format!("0x1: ??? (in /{number:06})"));
        value["ftbl"] = ["[root]".to_owned()].into_iter().chain(frames).collect();
        value["heapledger"] = json!({"modules": modules.collect::<Vec<_>>()});
    });
    fs::write(folder.path().join("long.json"), text).unwrap();
    for (command, expected) in [
        ("convert long.json --to dhat -o out", "out\n"),
        ("merge long.json -o out", "out\n"),
        (
            "resolve long.json --exe /bin/true",
            "error: long.json: no file was given for its modules: /000000, /000001, /000002, /000003, /000004, /000005, /000006, /000007, /000008, /000009 and 149,990 more; name one as `--exe MODULE=FILE`\n",
        ),
    ] {
        assert_eq!(said(folder.path(), &format!("$H {command}")), expected);
    }
}

/// A long name that many stacks share is neither looked through nor shown for each of them.
#[test]
fn a_long_name_on_many_stacks_is_no_burden() {
    let folder = folder();
    let long = "L".repeat(4_000_000);
    let text = profile(|value| {
        let point = value["pps"][0].clone();
        let points = (0..4_000_u32).map(|number| {
            let mut point = point.clone();
            point["fs"] = json!([1, 2 + number]);
            point
        });
        value["pps"] = points.collect();
        let callers = (0..4_000).map(|number| format!("0x{number:x}: app::f{number} (a.rs:1:1)"));
        let shared = format!("0x1: core::{long} (library/core/src/{long}.rs:1:1)");
        value["ftbl"] = ["[root]".to_owned(), shared]
            .into_iter()
            .chain(callers)
            .collect();
    });
    fs::write(folder.path().join("long.json"), text).unwrap();
    let top = said(folder.path(), "$H top long.json -n 2");
    let row = top
        .lines()
        .find(|line| line.contains("app::f0 (a.rs:1) through LLL"));
    assert!(
        row.is_some_and(|row| row.contains("L…L") && row.len() < 2000),
        "{top}"
    );
    assert_eq!(said(folder.path(), "$H flame long.json -o out"), "out\n");
    assert!(fs::metadata(folder.path().join("out")).unwrap().len() < 100_000_000);
}

/// What a browser makes of it: text.
#[test]
fn a_picture_runs_no_script_but_its_own() {
    let folder = folder();
    let payload = "<script>window.pwned = 1</script>";
    let names = [
        payload,
        "]]></title><script>window.pwned = 1</script>",
        "\" onmouseover=\"window.pwned = 1\" x=\"",
        "</text></g></svg><svg onload='window.pwned = 1'>",
        "\u{1}\u{0}\u{fffe}\u{202e}&#x3c;script&#x3e;window.pwned = 1",
        "<image href='x' onerror='window.pwned = 1'/>",
        "&entity; <!DOCTYPE x [<!ENTITY entity 'y'>]>",
    ];
    let text = profile(|value| {
        value["cmd"] = names.concat().into();
        for (frame, name) in (1..).zip(names) {
            value["ftbl"][frame] = name.into();
        }
    });
    fs::write(folder.path().join("h.json"), text).unwrap();
    let title = "</title><script>window.pwned = 1</script>\u{1}";
    printed([
        "flame",
        folder.path().join("h.json").to_str().unwrap(),
        "--title",
        title,
    ]);
    let chromium = Programs::find().unwrap().chromium;
    let mut browser = Browser::start(&chromium, support::LIMIT).unwrap();
    browser.navigate(&folder.path().join("h.svg")).unwrap();
    let seen = browser
        .evaluate(
            "document.querySelectorAll('g').forEach(g => g.dispatchEvent(new Event('mouseover', {bubbles: true}))),
             [document.documentElement.nodeName, document.querySelectorAll('script').length, typeof window.pwned,
              document.querySelectorAll('parsererror').length, document.querySelectorAll('image').length]",
        )
        .unwrap();
    assert_eq!(seen, json!(["svg", 1, "undefined", 0, 0]));
    let shown = browser.evaluate("document.querySelector('#title').textContent");
    assert_eq!(shown.unwrap(), "</title><script>window.pwned = 1</script> ");
}

#[test]
fn merging_tells_what_it_is_of() {
    let folder = folder();
    let lossy = |name: &str, lost: u32| {
        let text = profile(|value| {
            value["heapledger"] = json!({
                "version": 1, "capture": "x", "exact": {"peak": false, "peak_slack_bytes": 5},
                "refused": {"dropped_allocs": lost, "what": "ever"},
            });
        });
        fs::write(folder.path().join(name), text).unwrap();
    };
    lossy("a.json", 2);
    lossy("b.json", 40);
    lossy("c.json", 0);
    for twice in ["a.json b.json ./a.json", "a.json *.json"] {
        let refused = said(folder.path(), &format!("$H merge {twice} -o all; echo $?"));
        assert!(
            refused.contains("a.json: is given twice") && refused.ends_with("\n2\n"),
            "{refused}"
        );
    }
    assert!(!folder.path().join("all").exists());
    let top = said(
        folder.path(),
        "$H merge a.json b.json -o all && $H merge all c.json -o all && $H top all -n 1",
    );
    for line in [
        "Command:    log_before (merged from 3 profiles)",
        "Merged from 3: figures at the peak are sums of what each process had at its own peak.",
        "Allocations not recorded because a table was full: 42.",
        "Bytes that the true peak may lie above the one told: 15.",
    ] {
        assert!(top.lines().any(|shown| shown == line), "{line}: {top}");
    }
    fs::write(folder.path().join("bad.json"), "{\"pid\": x").unwrap();
    let refused = said(
        folder.path(),
        "rm all; $H merge a.json b.json bad.json c.json -o all; echo $?",
    );
    assert_eq!(
        refused,
        "error: bad.json: pid: expected value (at byte 8)\n2\n"
    );
    assert!(!folder.path().join("all").exists());
}

#[test]
fn frames_without_a_name_are_told() {
    let top = printed(["top".as_ref(), file("heapscope.json").as_os_str()]);
    let note = "Frames without a name: 25 of 25, 24 of them in hs; `heapledger resolve FILE --exe hs` adds those that a copy of it with symbols has.";
    assert!(top.lines().any(|line| line == note), "{top}");
    let top = printed(["top".as_ref(), file("log_before.json").as_os_str()]);
    assert!(!top.contains("without a name"), "{top}");
    let top = printed(["top".as_ref(), file("valgrind-copy.json").as_os_str()]);
    assert!(
        top.contains("Frames without a name: 1 of ") && !top.contains("resolve"),
        "{top}"
    );
}

#[test]
fn paths_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt;
    let folder = folder();
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff\x1b.json");
    fs::copy(file("log_before.json"), folder.path().join(odd)).unwrap();
    let done = heapledger(["flame".as_ref(), folder.path().join(odd).as_os_str()]);
    assert!(done.status.success(), "{done:?}");
    assert!(
        String::from_utf8(done.stdout)
            .unwrap()
            .ends_with("odd\u{fffd}\\u{1b}.svg\n")
    );
    let odd = std::ffi::OsStr::from_bytes(b"odd\xff\x1b.svg");
    assert!(folder.path().join(odd).exists());
    for (exe, expected) in [
        ("$'no\\xff'", "no\u{fffd}: cannot read it: No such file"),
        (
            "app=$'no\\xff'",
            "app=no\u{fffd}: cannot read it: No such file",
        ),
        ("/dev/zero", "/dev/zero: is no file"),
        ("app=.", ".: is no file"),
    ] {
        let said = said(folder.path(), &format!("$H resolve prof.json --exe {exe}"));
        assert!(
            said.starts_with("error: ") && said.contains(expected),
            "{exe}: {said}"
        );
    }
}
