//! The gate on instruction counts: how many instructions each path through the
//! allocator takes, under callgrind, against the figures checked in beside this
//! file. Counts repeat exactly where times do not, so a change of 2 % shows.
//!
//! Each path runs twice with different numbers of iterations; the slope leaves
//! out start-up. `--update` writes the figures anew.

#[path = "support/at_depth.rs"]
mod at_depth;

use at_depth::at_depth;
use heapledger::{Profiler, Scope, Touch};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

#[global_allocator]
static ALLOC: heapledger::Alloc = heapledger::Alloc;

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.toml");
const TOLERANCE_PERCENT: f64 = 2.0;
const FEW: u64 = 1_000;
const MANY: u64 = 11_000;

/// In which argument the child finds its path.
const CHILD: &str = "--path";

struct PathUnderTest {
    name: &'static str,
    profiler: Option<fn() -> Profiler>,
    run: fn(u64),
}

const fn recording(name: &'static str, run: fn(u64)) -> PathUnderTest {
    PathUnderTest {
        name,
        profiler: Some(untouched),
        run,
    }
}

const fn without_profiler(name: &'static str, run: fn(u64)) -> PathUnderTest {
    PathUnderTest {
        profiler: None,
        ..recording(name, run)
    }
}

fn untouched() -> Profiler {
    Profiler::builder().touch(Touch::Off).build()
}

/// As by default: what is written to blocks is measured.
const fn touching(name: &'static str, run: fn(u64)) -> PathUnderTest {
    PathUnderTest {
        profiler: Some(Profiler::new_heap),
        ..recording(name, run)
    }
}

const PATHS: [PathUnderTest; 17] = [
    without_profiler("pair-idle", ten_deep),
    PathUnderTest {
        profiler: Some(unsampled),
        ..recording("pair-unsampled", ten_deep)
    },
    recording("pair-depth-10", ten_deep),
    recording("pair-depth-30", |count| pairs(30, count)),
    recording("pair-depth-100", |count| pairs(100, count)),
    recording("pair-new-frame", new_frames),
    recording("pair-new-frames-5", five_new_frames),
    recording("realloc", reallocs),
    recording("pair-other-thread-frees", freed_elsewhere),
    recording("pair-new-stack", new_stacks),
    recording("pair-known-stacks", known_stacks),
    touching("touch-pair", ten_deep),
    touching("touch-pair-16", buffers::<16>),
    touching("touch-pair-1000", buffers::<1000>),
    touching("touch-realloc", reallocs),
    without_profiler("scope-pair", |count| in_scope(&Scope::new(), count)),
    without_profiler("scope-counts-pair", |count| {
        in_scope(&Scope::counts_only(), count)
    }),
];

// ---- the paths --------------------------------------------------------------

/// A sampled run of which no sample falls into the paths.
fn unsampled() -> Profiler {
    Profiler::builder()
        .sample_bytes(1 << 30)
        .sample_seed(1)
        .build()
}

#[inline(never)]
fn pair() {
    black_box(Box::new(black_box([0_u8; 64])));
}

fn pairs(depth: usize, count: u64) {
    at_depth(depth, &mut || (0..count).for_each(|_| pair()));
}

fn ten_deep(count: u64) {
    pairs(10, count);
}

fn in_scope(scope: &Scope, count: u64) {
    let _inside = scope.enter();
    ten_deep(count);
}

/// Of which only the first byte is written.
fn buffers<const BYTES: usize>(count: u64) {
    #[inline(never)]
    fn buffer<const BYTES: usize>() {
        let mut bytes = Vec::<u8>::with_capacity(black_box(BYTES));
        bytes.push(1);
        black_box(bytes);
    }
    at_depth(10, &mut || (0..count).for_each(|_| buffer::<BYTES>()));
}

#[inline(never)]
fn pair_in_another_function() {
    black_box(Box::new(black_box([1_u8; 64])));
}

/// Each stack differs from the last in its innermost frame.
fn new_frames(count: u64) {
    let functions = [pair, pair_in_another_function];
    at_depth(10, &mut || {
        for number in 0..count {
            black_box(functions[number as usize % 2])();
        }
    });
}

/// Each stack differs from the last in the outermost of its five innermost frames.
fn five_new_frames(count: u64) {
    #[inline(never)]
    fn one() {
        at_depth(3, &mut pair);
    }
    #[inline(never)]
    fn other() {
        at_depth(3, &mut pair_in_another_function);
    }
    let functions = [one, other];
    at_depth(10, &mut || {
        for number in 0..count {
            black_box(functions[number as usize % 2])();
        }
    });
}

/// An allocation, a reallocation, and a free.
fn reallocs(count: u64) {
    at_depth(10, &mut || {
        for _ in 0..count {
            let mut bytes = Vec::<u8>::with_capacity(black_box(64));
            bytes.reserve_exact(black_box(128));
            black_box(bytes);
        }
    });
}

fn freed_elsewhere(count: u64) {
    let blocks: Vec<_> = (0..count)
        .map(|_| Box::new(black_box([0_u8; 64])))
        .collect();
    let freeing = std::thread::spawn(move || drop(black_box(blocks)));
    freeing.join().expect("no panic");
}

/// A call of [`pair`] through so many functions, which `number` tells.
#[inline(never)]
fn digits(left: u32, number: u64) {
    if left == 0 {
        return pair();
    }
    match number % 4 {
        0 => digits(left - 1, number / 4),
        1 => digits(left - 1, black_box(number / 4)),
        2 => digits(left - 1, black_box(black_box(number / 4))),
        _ => digits(black_box(left - 1), black_box(number / 4)),
    }
    black_box(());
}

/// Every stack is one that was never seen: its seven innermost frames are the
/// digits of a number.
fn new_stacks(count: u64) {
    (0..count).for_each(|number| digits(7, number));
}

/// More stacks in turn than are remembered whole: each is walked, and differs from the last in seven
/// frames.
fn known_stacks(count: u64) {
    (0..count).for_each(|number| digits(7, number % 256));
}

/// Runs one path and ends the process there: the end of a run is not measured.
fn run_child(name: &str, count: u64) {
    let path = PATHS.iter().find(|path| path.name == name);
    let path = path.unwrap_or_else(|| panic!("no path {name}"));
    let _profiler = path.profiler.map(|start| start());
    (path.run)(count);
    // SAFETY: ends the process, with nothing left to write.
    unsafe { libc::_exit(0) };
}

// ---- the gate ---------------------------------------------------------------

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, flag, name, count] = &arguments[..]
        && flag == CHILD
    {
        run_child(name, count.parse().expect("a number"));
    }
    if cfg!(feature = "internals") {
        println!("instructions: not counted: the figures are for a build without `internals`");
        return ExitCode::SUCCESS;
    }
    match count_all() {
        Ok(counted) if arguments.iter().any(|argument| argument == "--update") => update(&counted),
        Ok(counted) => compare(&counted),
        Err(message) => {
            println!("instructions: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Instructions an iteration, by path.
type Counts = BTreeMap<String, f64>;

/// Two paths at a time: most machines have two processors.
fn count_all() -> Result<Counts, String> {
    let mut counts = Counts::new();
    for paths in PATHS.chunks(2) {
        std::thread::scope(|scope| {
            let slopes = paths
                .iter()
                .map(|path| (path.name, scope.spawn(|| slope(path.name))))
                .collect::<Vec<_>>();
            for (name, slope) in slopes {
                counts.insert(name.to_string(), slope.join().expect("no panic")?);
            }
            Ok::<(), String>(())
        })?;
    }
    Ok(counts)
}

fn slope(path: &str) -> Result<f64, String> {
    let (few, many) = (count(path, FEW)?, count(path, MANY)?);
    Ok((many as f64 - few as f64) / (MANY - FEW) as f64)
}

/// Instructions of a whole process that runs `path` `iterations` times.
fn count(path: &str, iterations: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([CHILD, path, &iterations.to_string()])
        // Nothing in a user's environment should move the stack.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind does not start: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected : "))
        .and_then(|(_, count)| count.trim().parse().ok())
        .filter(|_| output.status.success());
    collected.ok_or_else(|| format!("{path} failed under valgrind:\n{text}"))
}

fn compare(counted: &Counts) -> ExitCode {
    let (figures, toolchain) = match read_figures() {
        Ok(read) => read,
        Err(message) => {
            println!("instructions: {message}");
            return ExitCode::FAILURE;
        }
    };
    let mut failures = 0;
    println!(
        "{:28} {:>9} {:>9}",
        "instructions an iteration", "expected", "got"
    );
    for (path, &got) in counted {
        let Some(&expected) = figures.get(path) else {
            println!(
                "{path:28} {:>9} {got:9.1}  FAILED: has no figure: add it with --update",
                ""
            );
            failures += 1;
            continue;
        };
        let percent = (got / expected - 1.0) * 100.0;
        let verdict = match percent {
            _ if percent > TOLERANCE_PERCENT => "FAILED: slower",
            _ if percent < -TOLERANCE_PERCENT => "FAILED: faster: set the new figure with --update",
            _ => "",
        };
        failures += u32::from(!verdict.is_empty());
        println!("{path:28} {expected:9.1} {got:9.1} {percent:+6.1} %  {verdict}");
    }
    if failures == 0 {
        return ExitCode::SUCCESS;
    }
    println!(
        "{failures} of {} paths differ by more than {TOLERANCE_PERCENT} %.",
        counted.len()
    );
    if toolchain != this_toolchain() {
        println!(
            "The figures are of {toolchain}; this is {}.",
            this_toolchain()
        );
    }
    println!("To set new figures: cargo bench --bench instructions -- --update");
    ExitCode::FAILURE
}

fn update(counted: &Counts) -> ExitCode {
    let mut text = String::from(
        "# Instructions an iteration, by `cargo bench --bench instructions`, which also writes\n\
         # this file, with `-- --update`.\n",
    );
    let _ = writeln!(text, "toolchain = \"{}\"\n", this_toolchain());
    for (path, count) in counted {
        let _ = writeln!(text, "{path} = {count:.1}");
    }
    print!("{text}");
    match std::fs::write(Path::new(FIGURES), text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("instructions: {FIGURES}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The checked-in figures, and the toolchain that they are of.
fn read_figures() -> Result<(Counts, String), String> {
    let text = std::fs::read_to_string(FIGURES).map_err(|error| format!("{FIGURES}: {error}"))?;
    let mut toolchain = String::new();
    let mut figures = Counts::new();
    for (name, value) in text.lines().filter_map(|line| line.split_once(" = ")) {
        match value.parse() {
            Ok(figure) => drop(figures.insert(name.to_string(), figure)),
            Err(_) => toolchain = value.trim_matches('"').to_string(),
        }
    }
    Ok((figures, toolchain))
}

fn this_toolchain() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output();
    let version = version.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&version).trim().to_string()
}
