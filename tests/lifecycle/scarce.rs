//! Deaths for which the kernel has to be asked: a disk that is full, memory that has run out. Where it does not let us,
//! these are not run, which is told.

use crate::ends::known_blocks;
use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, Ended, argument};
use crate::support::profile::Profile;
use heapledger::{Format, Profiler};
use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("scarce/disk_is_full", writes_at_the_end, |child| {
        for safe in ["", "safe"] {
            let child = Child::of("scarce/disk_is_full").argument(safe);
            let ended = on_small_disk(child, "head -c 9m /dev/zero >filler");
            let ended = ended.exited_with(6);
            let told = |part: &str| ended.our_lines().iter().any(|line| line.contains(part));
            assert!(told("cannot write"), "{}", ended.stderr);
            assert_eq!(
                told("is not crash-safe"),
                safe == "safe",
                "{}",
                ended.stderr
            );
            assert_eq!(kept(&ended), ["dhat-heap.json", "filler"]);
            let older = fs::read_to_string(ended.path("kept/dhat-heap.json"));
            assert_eq!(older.expect("the older file"), "older\n");
        }
        drop(child);
    })
    .where_possible(private_disks),
    Scenario::new("scarce/disk_fills_up", fills_the_disk, |child| {
        let ended = on_small_disk(child, "true").killed_by(libc::SIGKILL);
        let kept = kept(&ended);
        let crash_file = kept.iter().find(|file| file.ends_with(".crash"));
        let crash_file = ended.path("kept").join(crash_file.expect("the crash file"));
        let recovered = ended.path("recovered.json");
        let to = File::create(&recovered).expect("a file");
        heapledger::recover(&crash_file, &Format::Dhat, to).expect("recovers");
        let profile = Profile::read(&recovered);
        let sum = profile.sum_in("known_blocks");
        assert_eq!((sum.tb, sum.tbk, sum.eb, sum.ebk), (10_000, 4, 6_000, 3));
        // Of what there was no room for, nothing is made up, and it is told.
        assert!(profile.sum_in("many_stacks").tbk < MANY);
        assert!(profile.refused().dropped_allocs > 0);
    })
    .where_possible(private_disks),
    Scenario::new("scarce/killed_for_memory", takes_all_memory, |child| {
        for safe in ["", "safe"] {
            let group = Group::new(64 << 20).expect("it was possible");
            let child = Child::of("scarce/killed_for_memory").argument(safe);
            let script = format!(
                "echo $$ >'{}'/cgroup.procs && exec \"$0\"",
                group.0.display()
            );
            let ended = child.through_shell(&script).run().killed_by(libc::SIGKILL);
            assert!(ended.our_lines().is_empty(), "{}", ended.stderr);
            assert_eq!(group.kills(), 1, "it was the kernel");
            let files = ended.files();
            let Some(crash_file) = files.first().filter(|_| safe == "safe") else {
                assert!(files.is_empty(), "{files:?}");
                continue;
            };
            let recovered = ended.path("recovered.json");
            let to = File::create(&recovered).expect("a file");
            let crash_file = ended.path(crash_file);
            heapledger::recover(&crash_file, &Format::Dhat, to).expect("recovers");
            let profile = Profile::read(&recovered);
            let sum = profile.sum_in("known_blocks");
            assert_eq!((sum.tb, sum.tbk, sum.eb, sum.ebk), (10_000, 4, 6_000, 3));
            // All that it took, but for the block in which it was killed.
            let taken = profile.sum_in("take_all_memory").eb;
            assert!(taken > 32 << 20, "{taken}");
        }
        drop(child);
    })
    .where_possible(memory_groups),
];

// ---- a disk of its own --------------------------------------------------------------

/// Runs the child in a folder that is a disk of 4 MiB, on which `prepare` has been run. What is on it at the
/// end is in `kept`.
fn on_small_disk(child: Child, prepare: &str) -> Ended {
    let script = format!(
        "mkdir disk kept && exec {} sh -c 'mount -t tmpfs -o size=4m none disk && cd disk &&
         echo older >dhat-heap.json && {{ {prepare}; }} 2>/dev/null; \"$0\"; status=$?
         cp -p * ../kept; [ $status -lt 128 ] || kill -$((status - 128)) $$; exit $status' \"$0\"",
        unshare().expect("it was possible").join(" ")
    );
    child.through_shell(&script).run()
}

fn kept(ended: &Ended) -> Vec<String> {
    let entries = fs::read_dir(ended.path("kept")).expect("the folder");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What has to stand before a command that mounts something for itself alone.
fn unshare() -> Option<Vec<&'static str>> {
    let ways = [vec!["unshare", "-m"], vec!["unshare", "-rm"]];
    ways.into_iter().find(|way| {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).args(["sh", "-c"]);
        command.arg("mount -t tmpfs -o size=4m none /mnt");
        command.output().is_ok_and(|output| output.status.success())
    })
}

fn private_disks() -> Result<(), &'static str> {
    match unshare() {
        Some(_) => Ok(()),
        None => Err("mounting a disk for one process alone is not permitted"),
    }
}

fn writes_at_the_end() {
    let _profiler = Profiler::builder()
        .crash_safe(argument() == "safe")
        .quiet()
        .build();
    known_blocks();
    exit(6);
}

const MANY: u64 = 1 << 13;

/// Leaves no room for what comes after a few blocks: many stacks.
fn fills_the_disk() {
    let _profiler = Profiler::builder().crash_safe(true).quiet().build();
    known_blocks();
    let mut filler = File::create("filler").expect("a file");
    while filler.write_all(&[0; 4096]).is_ok() {}
    for number in 0..MANY {
        many_stacks(13, number);
    }
    // SAFETY: ends this process.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
}

/// A stack for each number below 2¹³.
#[inline(never)]
fn many_stacks(left: u32, number: u64) {
    match (left, number % 2) {
        (0, _) => Block::new(16).free(),
        (_, 0) => many_stacks(left - 1, number / 2),
        _ => many_stacks(black_box(left - 1), black_box(number / 2)),
    }
    black_box(());
}

// ---- memory of its own --------------------------------------------------------------

/// A control group with a limit on memory, removed when dropped.
struct Group(PathBuf);

impl Group {
    fn new(bytes: u64) -> Option<Self> {
        let name = format!("heapledger-test-{}-{bytes}", std::process::id());
        // The first version of control groups, then the second.
        for (root, limit) in [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ] {
            if !Path::new(root).join("cgroup.procs").exists() {
                continue;
            }
            let group = Self(Path::new(root).join(&name));
            fs::create_dir(&group.0).ok()?;
            // Memory that is swapped out is not gone.
            for file in ["memory.swappiness", "memory.swap.max"] {
                let _ = fs::write(group.0.join(file), "0");
            }
            return fs::write(group.0.join(limit), bytes.to_string())
                .is_ok()
                .then_some(group);
        }
        None
    }

    /// How many processes the kernel has killed in it.
    fn kills(&self) -> u64 {
        let texts = ["memory.oom_control", "memory.events"]
            .map(|file| fs::read_to_string(self.0.join(file)).unwrap_or_default());
        let mut lines = texts.iter().flat_map(|text| text.lines());
        lines
            .find_map(|line| line.strip_prefix("oom_kill "))
            .expect("a count")
            .parse()
            .expect("a number")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn memory_groups() -> Result<(), &'static str> {
    match Group::new(1 << 30) {
        Some(_) => Ok(()),
        None => Err("a limit on the memory of one process's group is not permitted"),
    }
}

fn takes_all_memory() {
    let _profiler = Profiler::builder()
        .crash_safe(argument() == "safe")
        .quiet()
        .build();
    known_blocks();
    take_all_memory();
}

#[inline(never)]
fn take_all_memory() {
    loop {
        black_box(Box::leak(vec![1_u8; 1 << 20].into_boxed_slice()));
    }
}
