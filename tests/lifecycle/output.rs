//! Where the output goes, and what happens when it cannot go there: one clear
//! line, and the program goes on as if nothing had been.

use crate::ends::{known_blocks, known_blocks_are_in};
use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, Ended, argument};
use crate::support::profile::Profile;
use heapledger::{Output, Profiler};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::exit;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("output/missing_folder", save_to_argument, |child| {
        fails_with(child, "no/such/folder/heap.json", "create its directory");
    }),
    Scenario::new("output/file_as_folder", save_to_argument, |child| {
        fs::write(child.folder().join("file"), "text").expect("a file");
        fails_with(child, "file/heap.json", "create its directory");
    }),
    Scenario::new("output/folder", save_to_argument, |child| {
        fs::create_dir(child.folder().join("folder")).expect("a folder");
        fails_with(child, "folder", "choose the name of a file in it");
    }),
    Scenario::new("output/this_folder", save_to_argument, |child| {
        fails_with(child, ".", "choose the name of a file in it");
    }),
    Scenario::new("output/full_disk", save_to_argument, |child| {
        fails_with(child, "/dev/full", "make room there");
    }),
    Scenario::new("output/no_permission", save_to_argument, |child| {
        // Nobody may create files there, not even root.
        fails_with(
            child,
            "/proc/self/heap.json",
            "choose another file name|create its directory",
        );
    }),
    Scenario::new(
        "output/read_only_folder",
        save_to_argument,
        read_only_folder,
    ),
    Scenario::new("output/too_large", too_large, |child| {
        let old = child.folder().join("heap.json");
        fs::write(&old, "an older profile").expect("a file");
        let ended = fails_with(child, "heap.json", "choose another file name");
        let kept = fs::read_to_string(ended.path("heap.json")).expect("the file");
        assert_eq!(kept, "an older profile");
    }),
    Scenario::new(
        "output/replaces_an_older_file",
        main_with_default_name,
        |child| {
            fs::write(
                child.folder().join("dhat-heap.json"),
                "old ".repeat(100_000),
            )
            .expect("a file");
            known_blocks_are_in(&child.run().exited_with(7));
        },
    ),
    Scenario::new("output/null_device", save_to_argument, |child| {
        let ended = child.argument("/dev/null").run().exited_with(7);
        assert_eq!(ended.files(), Vec::<String>::new());
        assert!(
            ended.stderr.contains("saved to /dev/null"),
            "{}",
            ended.stderr
        );
    }),
    Scenario::new("output/closed_stderr", main_with_default_name, |child| {
        let ended = child.through_shell(r#"exec "$0" 2>&-"#).run();
        file_is_there_without_stderr(ended);
    }),
    Scenario::new("output/stderr_closed_later", stderr_closed_later, |child| {
        file_is_there_without_stderr(child.run());
    }),
    Scenario::new("output/full_stderr", main_with_default_name, |child| {
        let ended = child.through_shell(r#"exec "$0" 2>/dev/full"#).run();
        file_is_there_without_stderr(ended);
    }),
    Scenario::new("output/stderr_to_nobody", main_with_default_name, |child| {
        // The reader of the pipe is gone before the program starts.
        let script = r#"mkfifo pipe; : <pipe & exec 3>pipe; wait; rm pipe; exec "$0" 2>&3"#;
        file_is_there_without_stderr(child.through_shell(script).run());
    }),
    Scenario::new("output/quiet", quiet, |child| {
        let ended = child.run().exited_with(0);
        assert_eq!(ended.stderr, "");
        let profile = Profile::read(&ended.path("dhat-heap.json"));
        assert_eq!(profile.sum_in("known_blocks").tb, 10_000);
    }),
    Scenario::new("output/folder_changed", folder_changed, |child| {
        fs::create_dir(child.folder().join("inner")).expect("a folder");
        let ended = child.run().exited_with(0);
        assert_eq!(ended.files(), ["inner"]);
        Profile::read(&ended.path("inner/dhat-heap.json")).agrees_with(&ended.summaries()[0]);
    }),
    Scenario::new("output/several_files", several_files, |child| {
        let ended = child.run().exited_with(0);
        assert_eq!(ended.files(), ["one.json", "two.json"]);
        let line = |text: &str| {
            ended
                .stderr
                .lines()
                .filter(|line| line.contains(text))
                .count()
        };
        assert_eq!(
            (line("has been saved to"), line("heapledger: error: ")),
            (2, 1)
        );
        assert_eq!(
            (line("saved to one.json"), line("\"missing/three.json\"")),
            (1, 1)
        );
        let text = |name: &str| fs::read_to_string(ended.path(name)).expect("a file");
        assert_eq!(text("one.json"), text("two.json"), "one reading");
        Profile::read(&ended.path("two.json")).agrees_with(&ended.summaries()[0]);
    }),
    Scenario::new(
        "output/file_name_and_others",
        file_name_and_others,
        |child| {
            let ended = child.run().exited_with(0);
            assert_eq!(ended.files(), ["named.json", "other.json"]);
        },
    ),
];

fn save_to_argument() {
    let profiler = Profiler::builder().file_name(argument()).build();
    known_blocks();
    drop(profiler);
    exit(7);
}

fn main_with_default_name() {
    let _profiler = Profiler::new_heap();
    known_blocks();
    exit(7);
}

/// A site a level.
#[inline(never)]
fn many_sites(levels: usize) {
    Block::new(levels).free();
    if levels > 1 {
        many_sites(std::hint::black_box(levels - 1));
    }
    std::hint::black_box(());
}

/// As a full disk: the profile does not fit, the few lines on standard error do.
fn too_large() {
    let limit = libc::rlimit {
        rlim_cur: 4096,
        rlim_max: 4096,
    };
    let profiler = Profiler::builder().file_name("heap.json").build();
    many_sites(100);
    // SAFETY: plain system calls.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
    drop(profiler);
    exit(7);
}

/// Runs the child; returns what it left after the checks that hold for every
/// failure. `advice` may name alternatives.
#[track_caller]
fn fails_with(child: Child, path: &str, advice: &str) -> Ended {
    let before = names(&child);
    let ended = child.argument(path).run().exited_with(7);
    let errors: Vec<&str> = ended
        .our_lines()
        .into_iter()
        .filter(|line| line.starts_with("heapledger: error: "))
        .collect();
    let [error] = errors[..] else {
        panic!("not one error\n{}", ended.stderr);
    };
    assert!(error.contains("cannot write"), "{error}");
    assert!(
        advice.split('|').any(|advice| error.contains(advice)),
        "{error}"
    );
    assert!(!ended.stderr.contains("has been saved"), "{}", ended.stderr);
    assert_eq!(ended.files(), before);
    ended
}

fn names(child: &Child) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(child.folder())
        .expect("the folder")
        .map(|entry| entry.expect("entry").file_name().to_string_lossy().into())
        .collect();
    names.sort();
    names
}

fn read_only_folder(child: Child) {
    let folder = child.folder().join("closed");
    fs::create_dir(&folder).expect("a folder");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).expect("permissions");
    // Root may write there nevertheless.
    if fs::write(folder.join("probe"), "").is_ok() {
        return;
    }
    fails_with(child, "closed/heap.json", "that this process may write to");
}

#[track_caller]
fn file_is_there_without_stderr(ended: Ended) {
    let ended = ended.exited_with(7);
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.files(), ["dhat-heap.json"]);
    let profile = Profile::read(&ended.path("dhat-heap.json"));
    assert_eq!(profile.sum_in("known_blocks").tb, 10_000);
}

/// The next file that is opened gets the number of standard error.
fn stderr_closed_later() {
    let _profiler = Profiler::new_heap();
    known_blocks();
    // SAFETY: nobody holds the descriptor.
    unsafe { libc::close(2) };
    exit(7);
}

fn quiet() {
    let _profiler = Profiler::builder().quiet().build();
    known_blocks();
}

/// One in the middle cannot be written.
fn several_files() {
    let _profiler = Profiler::builder()
        .output(Output::dhat("one.json"))
        .output(Output::dhat("missing/three.json"))
        .output(Output::dhat("two.json"))
        .build();
    known_blocks();
}

fn file_name_and_others() {
    let _profiler = Profiler::builder()
        .output(Output::dhat("other.json"))
        .file_name("named.json")
        .build();
    known_blocks();
}

fn folder_changed() {
    let _profiler = Profiler::new_heap();
    known_blocks();
    std::env::set_current_dir("inner").expect("the folder");
}
