//! Every way to die: what is kept of a run, and that the process dies as it would have. The rows of
//! the table in `docs/production.md`.

use crate::ends::known_blocks;
use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, Ended, argument, setting, tell};
use crate::support::profile::{Point, Profile};
use heapledger::{Format, Profiler, Snapshot};
use std::fs::File;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::exit;
use std::thread;
use std::time::Duration;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "deaths/abort",
        || dies(|| std::process::abort()),
        |child| {
            only_the_crash_file(child, |ended| ended.killed_by(libc::SIGABRT));
        },
    ),
    Scenario::new(
        "deaths/term",
        || dies(|| by_signal(libc::SIGTERM)),
        |child| {
            only_the_crash_file(child, |ended| ended.killed_by(libc::SIGTERM));
        },
    ),
    Scenario::new(
        "deaths/interrupt",
        || dies(|| by_signal(libc::SIGINT)),
        |child| {
            only_the_crash_file(child, |ended| ended.killed_by(libc::SIGINT));
        },
    ),
    Scenario::new(
        "deaths/segmentation_fault",
        || dies(segmentation_fault),
        |child| {
            only_the_crash_file(child, |ended| ended.killed_by(libc::SIGSEGV));
        },
    ),
    Scenario::new(
        "deaths/kill",
        || dies(|| by_signal(libc::SIGKILL)),
        |child| {
            only_the_crash_file(child, |ended| ended.killed_by(libc::SIGKILL));
        },
    ),
    Scenario::new(
        "deaths/out_of_memory",
        || dies(out_of_memory),
        |child| {
            only_the_crash_file(child, |ended| ended.killed_by(libc::SIGABRT));
        },
    ),
    Scenario::new(
        "deaths/stack_overflow",
        || dies(overflows),
        |child| {
            only_the_crash_file(child, |ended| {
                assert!(
                    ended.stderr.contains("overflowed its stack"),
                    "{}",
                    ended.stderr
                );
                ended.killed_by(libc::SIGABRT)
            });
        },
    ),
    Scenario::new(
        "deaths/quick_exit",
        || dies(quick_exit),
        |child| {
            only_the_crash_file(child, |ended| ended.exited_with(9));
        },
    ),
    Scenario::new(
        "deaths/exec",
        || dies(becomes_another),
        |child| {
            only_the_crash_file(child, |ended| {
                assert_eq!(ended.stdout.trim(), "another program");
                ended.exited_with(0)
            });
        },
    ),
    Scenario::new(
        "deaths/panic_in_a_drop",
        || dies(double_panic),
        |child| {
            only_the_crash_file(child, |ended| ended.killed_by(libc::SIGABRT));
        },
    ),
    Scenario::new(
        "deaths/asked_from_outside",
        || dies(|| by_signal(libc::SIGKILL)),
        |child| {
            let asked = |child: Child, value| child.variable("HEAPLEDGER_CRASH_SAFE", value).run();
            let ended = asked(child, "0").killed_by(libc::SIGKILL);
            assert!(ended.files().is_empty(), "{:?}", ended.files());
            let child = Child::of("deaths/asked_from_outside");
            let ended = asked(child, "off").killed_by(libc::SIGKILL);
            assert!(ended.files().is_empty(), "{:?}", ended.files());
            let child = Child::of("deaths/asked_from_outside");
            known(&recovered(&asked(child, "1").killed_by(libc::SIGKILL)));
        },
    ),
    Scenario::new("deaths/safety_costs_no_exactness", in_peace, |child| {
        // The thread that it takes allocates nothing that is recorded, and is none of the program's.
        let plain = child.run().exited_with(0);
        let safe = Child::of("deaths/safety_costs_no_exactness").argument("safe");
        let safe = safe.run().exited_with(0);
        assert_eq!(safe.summaries(), plain.summaries());
        assert_eq!(
            safe.our_lines().len(),
            plain.our_lines().len(),
            "{}",
            safe.stderr
        );
    }),
    Scenario::new("deaths/orderly", orderly, |child| {
        let ended = child.run().exited_with(3);
        assert_eq!(ended.files(), ["dhat-heap.json"], "no crash file is left");
        known(&Profile::read(&ended.path("dhat-heap.json")));
    }),
    Scenario::new("deaths/runs_one_after_another", crash_safe_runs, |child| {
        let ended = child.run().exited_with(0);
        assert_eq!(ended.files(), ["0.json", "1.json", "2.json"]);
        for (number, summary) in ended.summaries().iter().enumerate() {
            let profile = Profile::read(&ended.path(&format!("{number}.json")));
            profile.agrees_with(summary);
            known(&profile);
        }
    }),
    Scenario::new("deaths/many_runs", many_crash_safe_runs, |child| {
        let ended = child.run().exited_with(0);
        assert_eq!(ended.told("threads"), 1);
        assert_eq!(ended.told("files"), 0, "files that stay open, of each run");
    }),
    Scenario::new("deaths/fork", forks, a_fork_leaves_the_file_alone),
    Scenario::new("deaths/daemon", becomes_a_daemon, |child| {
        let ended = child.run().exited_with(0);
        let found = ended.files();
        let daemon = found.iter().find(|file| *file != "ready");
        let sum = Profile::read(&ended.path(daemon.expect("its own file"))).sum_in("known_blocks");
        assert_eq!((sum.tb, sum.tbk), (20_000, 8), "before and after");
    }),
    Scenario::new("deaths/full_disk", small_files, |child| {
        let ended = child.run().exited_with(6);
        assert!(ended.files().is_empty(), "{:?}", ended.files());
        let told = |part: &str| ended.our_lines().iter().any(|line| line.contains(part));
        assert!(
            told("is not crash-safe") && told("cannot write"),
            "{}",
            ended.stderr
        );
    }),
    Scenario::new("deaths/read_only_folder", in_no_folder, |child| {
        let ended = child.run().exited_with(6);
        assert!(ended.files().is_empty(), "{:?}", ended.files());
        assert!(
            ended.stderr.contains("is not crash-safe"),
            "{}",
            ended.stderr
        );
    }),
    Scenario::new("deaths/link_in_the_way", orderly, |child| {
        // The names are guessed: what they lead to stays as it is.
        let folder = child.folder().to_owned();
        std::fs::write(folder.join("victim"), "precious").expect("a file");
        for pid in 1..=3 {
            let name = format!("dhat-heap.json.{pid}.crash");
            std::os::unix::fs::symlink("victim", folder.join(name)).expect("a link");
        }
        let victim = folder.join("victim");
        std::os::unix::fs::symlink("victim", folder.join("dhat-heap.json")).expect("a link");
        let ended = child.run().exited_with(3);
        assert_eq!(
            std::fs::read_to_string(victim).expect("the file"),
            "precious"
        );
        known(&Profile::read(&ended.path("dhat-heap.json")));
    }),
    Scenario::new("deaths/killed_at_random", work_for_ever, killed_at_random),
];

#[track_caller]
fn known(profile: &Profile) {
    known_sum(&profile.sum_in("known_blocks"));
}

#[track_caller]
fn known_sum(sum: &Point) {
    assert_eq!((sum.tb, sum.tbk, sum.eb, sum.ebk), (10_000, 4, 6_000, 3));
}

/// A run that is to be crash-safe if the argument says so, some blocks, and an end.
fn dies(end: fn()) {
    let _profiler = Profiler::builder().crash_safe(argument() == "safe").build();
    known_blocks();
    end();
}

/// Without crash safety nothing is left; with it, a crash file, which becomes a profile.
#[track_caller]
fn only_the_crash_file(child: Child, end: fn(Ended) -> Ended) {
    let name = child.name().to_owned();
    let ended = end(child.run());
    assert!(ended.files().is_empty(), "{:?}", ended.files());
    assert!(ended.our_lines().is_empty(), "{}", ended.stderr);

    let ended = end(Child::of(&name).argument("safe").run());
    assert!(ended.our_lines().is_empty(), "{}", ended.stderr);
    let profile = recovered(&ended);
    known(&profile);
    assert!(profile.duration_us() > 0);
}

fn crash_file(ended: &Ended) -> PathBuf {
    use std::os::unix::fs::MetadataExt;
    let files = ended.files();
    let mut crash_files = files.iter().filter(|file| file.ends_with(".crash"));
    let path = ended.path(crash_files.next().expect("a crash file"));
    assert_eq!(crash_files.next(), None);
    let mode = std::fs::metadata(&path).expect("the file").mode();
    assert_eq!(mode & 0o777, 0o600, "for nobody else's eyes");
    path
}

#[track_caller]
fn recovered(ended: &Ended) -> Profile {
    let to = ended.path("recovered.json");
    let file = File::create(&to).expect("a file");
    heapledger::recover(&crash_file(ended), &Format::Dhat, file).expect("recovers");
    Profile::read(&to)
}

fn by_signal(signal: i32) {
    // SAFETY: sends a signal to this process; one that a shell without job control has it ignore
    // is as it is elsewhere.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::kill(libc::getpid(), signal);
    }
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

fn segmentation_fault() {
    // Not the standard library's handler, which is for stack overflows.
    let nowhere: *mut u8 = black_box(std::ptr::without_provenance_mut(8));
    // SAFETY: it is not, and that is the point.
    unsafe { nowhere.write_volatile(1) };
}

fn out_of_memory() {
    let limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: lowers a limit of this process.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
    black_box(Vec::<u8>::with_capacity(black_box(1 << 40)));
}

fn quick_exit() {
    // SAFETY: ends the process.
    unsafe { libc::_exit(9) };
}

fn overflows() {
    black_box(overflow(0));
}

#[expect(unconditional_recursion, reason = "that is what it is for")]
fn overflow(depth: u64) -> [u64; 64] {
    let mut deeper = overflow(black_box(depth + 1));
    deeper[0] += depth;
    black_box(deeper)
}

fn becomes_another() {
    use std::os::unix::process::CommandExt;
    let error = std::process::Command::new("/bin/echo")
        .arg("another program")
        .exec();
    panic!("{error}");
}

fn double_panic() {
    struct PanicsToo;
    impl Drop for PanicsToo {
        fn drop(&mut self) {
            panic!("while unwinding");
        }
    }
    let _panics = PanicsToo;
    panic!("the program's own panic");
}

fn in_peace() {
    let _profiler = Profiler::builder().crash_safe(argument() == "safe").build();
    // Until the thread lives, and has noted that.
    thread::sleep(Duration::from_millis(300));
    known_blocks();
}

fn orderly() {
    let _profiler = Profiler::builder().crash_safe(true).build();
    known_blocks();
    exit(3);
}

/// The tables of one run serve the next, whether that is crash-safe or not.
fn crash_safe_runs() {
    for number in 0..3 {
        let profiler = Profiler::builder()
            .crash_safe(number != 1)
            .file_name(format!("{number}.json"))
            .build();
        thread::scope(|scope| {
            scope.spawn(|| (0..100).for_each(|_| Block::new(10).free()));
        });
        known_blocks();
        drop(profiler);
    }
}

/// One thread and no open file is all that is left of runs, however many.
fn many_crash_safe_runs() {
    let open_files = || std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as u64);
    let helpers = || {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
        let names = tasks.flatten();
        let names = names.map(|task| std::fs::read_to_string(task.path().join("comm")));
        names
            .flatten()
            .filter(|name| name == "heapledger\n")
            .count() as u64
    };
    let before = open_files();
    for _ in 0..5 {
        let profiler = Profiler::builder().crash_safe(true).quiet().build();
        // Until the thread lives, and has a name.
        while helpers() == 0 {
            thread::sleep(Duration::from_millis(1));
        }
        drop(profiler);
    }
    thread::sleep(Duration::from_millis(100));
    tell("threads", helpers());
    tell("files", open_files() - before);
}

/// The child counts on its own; the file is the parent's, who is killed afterwards.
fn forks() {
    let _profiler = Profiler::builder().crash_safe(true).build();
    known_blocks();
    for _ in 0..20 {
        // SAFETY: the child only records, and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            for _ in 0..100 {
                known_blocks();
            }
            // SAFETY: ends the child, after its handlers.
            unsafe { libc::exit(0) };
        }
        Block::new(77).free();
        // SAFETY: waits for the child.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
    }
    // SAFETY: ends the process.
    unsafe { libc::_exit(0) };
}

fn a_fork_leaves_the_file_alone(child: Child) {
    let ended = child.run().exited_with(0);
    known(&recovered(&ended));
    let copies = ended.files();
    let copies: Vec<_> = copies
        .iter()
        .filter(|file| file.starts_with("dhat-heap.") && file.ends_with(".json"))
        .collect();
    assert_eq!(copies.len(), 20, "{copies:?}");
    for copy in copies {
        let sum = Profile::read(&ended.path(copy)).sum_in("known_blocks");
        assert_eq!((sum.tbk, sum.ebk), (404, 303));
    }
}

fn becomes_a_daemon() {
    let _profiler = Profiler::new_heap();
    known_blocks();
    // SAFETY: as `daemon(3)` does, but in this directory. The parent waits here, so that the test
    // does not look too early.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: a session of its own.
        unsafe { libc::setsid() };
        known_blocks();
        exit(0);
    }
    // SAFETY: waits, and ends the process.
    unsafe {
        libc::waitpid(child, std::ptr::null_mut(), 0);
        libc::_exit(0);
    }
}

/// As on a full disk; but writing beyond the limit would end the process with a signal.
fn small_files() {
    let limit = libc::rlimit {
        rlim_cur: 2048,
        rlim_max: 2048,
    };
    // SAFETY: lowers a limit of this process.
    unsafe { libc::setrlimit(libc::RLIMIT_FSIZE, &limit) };
    let _profiler = Profiler::builder().crash_safe(true).quiet().build();
    known_blocks();
    exit(6);
}

fn in_no_folder() {
    let _profiler = Profiler::builder()
        .crash_safe(true)
        .file_name("/proc/no/such/place.json")
        .build();
    known_blocks();
    exit(6);
}

/// Threads that allocate and free, from known places, until they are killed.
fn work_for_ever() {
    #[inline(never)]
    fn churn(number: usize) {
        loop {
            let held: [Block; 16] = std::array::from_fn(|n| Block::new(64 + n * number));
            held.into_iter().for_each(Block::free);
        }
    }
    let _profiler = Profiler::builder().crash_safe(true).build();
    known_blocks();
    tell("ready", 1);
    thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || churn(number));
        }
    });
}

/// `HEAPLEDGER_TEST_KILLS=200 cargo test --test lifecycle -- deaths/killed_at_random`
fn killed_at_random(child: Child) {
    drop(child);
    let kills: u64 = setting("HEAPLEDGER_TEST_KILLS", 8);
    let mut random = u64::from(std::process::id());
    for number in 0..kills {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        // From before the run starts to when it is well under way.
        let wait = Duration::from_micros((random >> 33) % 60_000);
        let ended = Child::of("deaths/killed_at_random").run_among(|pid| {
            thread::sleep(wait);
            // SAFETY: sends a signal to our own child.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        });
        let ended = ended.killed_by(libc::SIGKILL);
        let is_ready = ended.stdout.contains("ready");
        if !ended.files().iter().any(|file| file.ends_with(".crash")) {
            assert!(!is_ready, "{number}: no file");
            continue;
        }
        if !is_ready {
            // Killed while the file was made: it may not be one yet.
            let mut sink = Vec::new();
            let _ = heapledger::recover(&crash_file(&ended), &Format::Dhat, &mut sink);
            continue;
        }
        let profile = recovered(&ended);
        known(&profile);
        let live = profile.points_in("churn");
        let live: u64 = live.iter().map(|point| point.ebk).sum();
        // What four threads held, and an operation each.
        assert!(live <= 4 * 17, "{number}: {live} blocks");
    }
    assert!(Snapshot::take().is_err(), "this process has no run");
}
