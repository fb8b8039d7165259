//! Runs that the variable `HEAPLEDGER` starts, of programs that know nothing of it.

use crate::ends::known_blocks;
use crate::support::Scenario;
use crate::support::child::{Child, Ended, argument, tell};
use crate::support::profile::Profile;
use heapledger::{HeapGauges, Profiler};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, exit};
use std::thread;
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("environment/whole_run", knows_nothing, |child| {
        let ended = child.environment("out=prof-%p.json,frames=8").run();
        let ended = ended.exited_with(5);
        let file = format!("prof-{}.json", ended.told("pid"));
        assert_eq!(ended.files(), [&*file]);
        let mode = std::fs::metadata(ended.path(&file))
            .expect("the file")
            .mode();
        assert_eq!(mode & 0o777, 0o600, "for nobody else's eyes");
        known_blocks_are_in(&ended, &file);
        let profile = Profile::read(&ended.path(&file));
        profile.agrees_with(&ended.summaries()[0]);
        let deepest = profile.points_in("known_blocks");
        assert!(
            deepest
                .iter()
                .all(|point| profile.frames(point).count() <= 20)
        );
    }),
    Scenario::new("environment/default_name", knows_nothing, |child| {
        let ended = child.environment("quiet").run().exited_with(5);
        let file = format!("heapledger-{}.json", ended.told("pid"));
        assert_eq!((ended.files(), &*ended.stderr), (vec![file.clone()], ""));
        known_blocks_are_in(&ended, &file);
    }),
    Scenario::new("environment/sampled", knows_nothing, |child| {
        let ended = child
            .environment("sample=1k,out=s.json")
            .run()
            .exited_with(5);
        let profile = Profile::read(&ended.path("s.json"));
        assert_eq!(profile.sample_bytes(), Some(1024));
    }),
    Scenario::new("environment/touch_off", knows_nothing, |child| {
        assert!(!measures_touch(child, "touch=off,out=t.json"));
    }),
    Scenario::new("environment/touch_estimate", knows_nothing, |child| {
        assert!(measures_touch(child, "touch=estimate,out=t.json"));
    }),
    Scenario::new("environment/off", knows_nothing, |child| {
        let ended = child.environment("off").run().exited_with(5);
        assert_eq!((ended.files(), &*ended.stderr), (vec![], ""));
    }),
    Scenario::new("environment/bad_value", knows_nothing, |child| {
        let ended = child.environment("frames=many").run().exited_with(5);
        assert_eq!(ended.files(), Vec::<String>::new());
        let [line] = &ended.our_lines()[..] else {
            panic!("not one line: {}", ended.stderr);
        };
        assert!(line.contains("frames=many is not a whole number"), "{line}");
        assert!(line.ends_with("nothing is recorded"), "{line}");
    }),
    Scenario::new("environment/own_profiler", own_profiler, |child| {
        let ended = child.environment("out=outer.json").run().exited_with(0);
        assert_eq!(ended.files(), ["dhat-heap.json", "outer.json"]);
        let outer = Profile::read(&ended.path("outer.json"));
        assert_eq!(outer.sum_in("before_it").tb, 123);
        known_blocks_are_in(&ended, "dhat-heap.json");
        assert!(outer.points_in("known_blocks").is_empty());
    }),
    Scenario::new("environment/children", starts_another, |child| {
        let ended = child.environment("out=%p.json").run().exited_with(0);
        let mut files = ended.files();
        files.sort();
        let mut expected = ["outer", "inner"].map(|name| format!("{}.json", ended.told(name)));
        expected.sort();
        assert_eq!(files, expected);
        known_blocks_are_in(&ended, &format!("{}.json", ended.told("inner")));
    }),
    Scenario::new("environment/signal", until_snapshot, |child| {
        let folder = child.folder().to_owned();
        let ended = child.environment("out=s.json,signal=USR2");
        let ended = ended.run_among(|pid| {
            for number in 1..=2 {
                wait_for(&folder.join(format!("ready.{number}")));
                // SAFETY: sends a signal to our own child.
                unsafe { libc::kill(pid as i32, libc::SIGUSR2) };
            }
        });
        let ended = ended.exited_with(4);
        for file in ["s.1.json", "s.2.json", "s.json"] {
            known_blocks_are_in(&ended, file);
        }
        let first = Profile::read(&ended.path("s.1.json"));
        assert!(first.points_in("after_snapshot").is_empty());
        let second = Profile::read(&ended.path("s.2.json"));
        assert_eq!(second.sum_in("after_snapshot").tb, 99);
    }),
    Scenario::new("environment/small_stacks", until_one_snapshot, |child| {
        // What the program's threads get is not what names need.
        let folder = child.folder().to_owned();
        let child = child.environment("out=s.json,signal=USR2");
        let child = child.through_shell("ulimit -s 64 && exec \"$0\"");
        let ended = child.run_among(|pid| {
            wait_for(&folder.join("ready.1"));
            // SAFETY: sends a signal to our own child.
            unsafe { libc::kill(pid as i32, libc::SIGUSR2) };
        });
        known_blocks_are_in(&ended.exited_with(4), "s.1.json");
    }),
    Scenario::new("environment/signal_in_use", uses_the_signal, |child| {
        let ended = child.run().exited_with(0);
        assert_eq!(ended.told("own handler"), 1);
        assert!(ended.stderr.contains("is used by the program itself"));
        ended.profile();
    }),
    Scenario::new(
        "environment/window_that_never_comes",
        knows_nothing,
        |child| {
            let ended = child.environment("window=3600..,out=w.json").run();
            let profile = Profile::read(&ended.exited_with(5).path("w.json"));
            assert!(profile.points_in("known_blocks").is_empty());
        },
    ),
    Scenario::new("environment/window_that_comes", until_recorded, |child| {
        let ended = child.environment("window=0.1..3600,out=w.json").run();
        let profile = Profile::read(&ended.exited_with(0).path("w.json"));
        assert!(profile.sum_in("until_recorded").tb >= 77);
    }),
    Scenario::new(
        "environment/more_rights",
        knows_nothing,
        ignored_with_more_rights,
    ),
];

/// Whether the file tells how much of the known blocks was written.
#[track_caller]
fn measures_touch(child: Child, variable: &str) -> bool {
    let ended = child.environment(variable).run().exited_with(5);
    known_blocks_are_in(&ended, "t.json");
    let profile = Profile::read(&ended.path("t.json"));
    let mut points = profile.points_in("known_blocks").into_iter();
    points.any(|point| point.heapledger.touch.is_some())
}

#[track_caller]
fn known_blocks_are_in(ended: &Ended, file: &str) {
    let sum = Profile::read(&ended.path(file)).sum_in("known_blocks");
    assert_eq!((sum.tb, sum.tbk, sum.eb, sum.ebk), (10_000, 4, 6_000, 3));
}

fn wait_for(path: &Path) {
    // The child's time limit ends this too: it is then gone, and the signal is lost.
    for _ in 0..10_000 {
        if path.exists() {
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn knows_nothing() {
    known_blocks();
    tell("pid", std::process::id().into());
    exit(5);
}

fn own_profiler() {
    #[inline(never)]
    fn before_it() {
        crate::support::blocks::Block::new(123).keep();
    }
    before_it();
    let _profiler = Profiler::new_heap();
    known_blocks();
}

fn starts_another() {
    let own = u64::from(std::process::id());
    if argument() == "inner" {
        known_blocks();
        return tell("inner", own);
    }
    tell("outer", own);
    let program = std::env::current_exe().expect("path");
    let status = Command::new(program)
        .env("HEAPLEDGER_TEST_ARGUMENT", "inner")
        .status();
    assert!(status.expect("runs").success());
}

fn until_snapshot() {
    #[inline(never)]
    fn after_snapshot() {
        crate::support::blocks::Block::new(99).keep();
    }
    known_blocks();
    for number in 1..=2 {
        std::fs::write(format!("ready.{number}"), "").expect("a file");
        wait_for(Path::new(&format!("s.{number}.json")));
        after_snapshot();
    }
    exit(4);
}

fn until_one_snapshot() {
    known_blocks();
    std::fs::write("ready.1", "").expect("a file");
    wait_for(Path::new("s.1.json"));
    // SAFETY: ends the process, without the report: that is another thread's.
    unsafe { libc::_exit(4) };
}

/// The program's own handler stays.
fn uses_the_signal() {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
    static CALLS: AtomicU64 = AtomicU64::new(0);
    extern "C" fn handler(_: i32) {
        CALLS.fetch_add(1, Relaxed);
    }
    // SAFETY: a handler that only counts.
    unsafe { libc::signal(libc::SIGUSR2, handler as extern "C" fn(i32) as usize) };
    let _profiler = Profiler::builder().snapshot_signal(libc::SIGUSR2).build();
    // SAFETY: the process has a handler.
    unsafe { libc::raise(libc::SIGUSR2) };
    tell("own handler", CALLS.load(Relaxed));
}

fn until_recorded() {
    loop {
        crate::support::blocks::Block::new(77).keep();
        if HeapGauges::read().is_some_and(|gauges| gauges.total_bytes > 0) {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// As root, a program that gives its rights to another user runs in secure mode, too.
fn ignored_with_more_rights(child: Child) {
    // SAFETY: asks for a number.
    if unsafe { libc::geteuid() } != 0 {
        println!("not checked: only root can make such a program");
        return;
    }
    let program = child.folder().join("program");
    std::fs::copy(std::env::current_exe().expect("path"), &program).expect("a copy");
    let nobody = 65_534;
    std::os::unix::fs::chown(&program, Some(nobody), Some(nobody)).expect("root may");
    let rights = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&program, permissions).expect("root may");
    };
    let run = || {
        let child = Child::of_program("more_rights", &program);
        child
            .scenario("environment/more_rights")
            .environment("out=x.json,quiet")
            .run()
    };
    rights(0o755);
    let ended = run().exited_with(5);
    assert_eq!(ended.files(), ["x.json"]);
    rights(0o4755);
    let ended = run().exited_with(5);
    assert_eq!((ended.files(), &*ended.stderr), (vec![], ""));
}
