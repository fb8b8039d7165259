//! A program written for dhat-rs 0.3.3 finds the same with this crate in its
//! place: `tests/compat` is built with each as `dhat`, run, and compared.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What the program can be told to do.
const SCENARIOS: [(&str, Agreement); 16] = [
    ("heap_steps", Agreement::Full),
    ("heap_default_file", Agreement::Full),
    ("heap_memory_output", Agreement::Full),
    ("heap_runs", Agreement::Full),
    ("heap_unwritable_file", Agreement::Full),
    ("ad_hoc_steps", Agreement::Full),
    ("ad_hoc_default_file", Agreement::Full),
    ("ad_hoc_memory_output", Agreement::Full),
    ("trim", Agreement::Full),
    ("threads", Agreement::PeakIsBounded),
    ("threads_testing", Agreement::Full),
    ("asserts_hold", Agreement::Full),
    ("asserts_fail", Agreement::Full),
    ("asserts_save", Agreement::Full),
    ("panics_heap", Agreement::PrintedOnly),
    ("panics_ad_hoc", Agreement::Full),
];

/// How much of a scenario must agree.
#[derive(Clone, Copy, PartialEq)]
enum Agreement {
    Full,
    /// With several threads the peak may be missed by a bounded amount.
    PeakIsBounded,
    /// dhat-rs leaves out what its own panics allocate; here these are
    /// allocations like others.
    PrintedOnly,
}

/// Missed at the peak for each thread, at most, in profiles as small as these.
const PEAK_SLACK_BYTES: u64 = 1024;
const THREADS: u64 = 10;

#[test]
fn debug_build() {
    compare_builds("debug", &[]);
}

#[test]
fn release_build() {
    compare_builds("release", &["--release"]);
}

fn compare_builds(name: &str, cargo_options: &[&str]) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("dhat-compat")
        .join(name);
    write_workspace(&folder);
    build(&folder, cargo_options);
    let programs = folder.join("target").join(name);
    for (scenario, agreement) in SCENARIOS {
        let [theirs, ours] = ["with-dhat-rs", "with-heapledger"].map(|variant| {
            let runs = folder.join("runs").join(variant).join(scenario);
            Run::new(&programs.join(variant), scenario, &runs)
        });
        compare_runs(&theirs, &ours, agreement);
        if scenario == "trim" {
            compare_kept_frames(&theirs, &ours);
        }
    }
}

/// Two packages of the same source; what differs is the dependency that they
/// call `dhat`.
fn write_workspace(folder: &Path) {
    let root = env!("CARGO_MANIFEST_DIR");
    write(
        &folder.join("Cargo.toml"),
        "[workspace]\nmembers = [\"with-dhat-rs\", \"with-heapledger\"]\nresolver = \"3\"\n\
         [profile.release]\ndebug = \"full\"\n",
    );
    let dependencies = [
        ("with-dhat-rs", String::from("\"=0.3.3\"")),
        (
            "with-heapledger",
            format!("{{ package = \"heapledger\", path = {root:?} }}"),
        ),
    ];
    for (name, dependency) in dependencies {
        let manifest = format!(
            "[package]\nname = \"{name}\"\nedition = \"2024\"\n\
             [[bin]]\nname = \"{name}\"\npath = \"{root}/tests/compat/program.rs\"\n\
             [dependencies]\ndhat = {dependency}\n"
        );
        write(&folder.join(name).join("Cargo.toml"), &manifest);
    }
    // Where there is one, so that what both crates depend on is there already.
    let lock = folder.join("Cargo.lock");
    if !lock.exists() {
        let _ = fs::copy(Path::new(root).join("Cargo.lock"), lock);
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Asks the registry only if something is missing on this machine.
fn build(folder: &Path, options: &[&str]) {
    let build = |more: &[&str]| {
        Command::new(env!("CARGO"))
            .args(["build", "--target-dir", "target"])
            .args(options)
            .args(more)
            .current_dir(folder)
            .output()
            .unwrap()
    };
    if build(&["--offline"]).status.success() {
        return;
    }
    let output = build(&[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What one run of the program printed and saved.
struct Run {
    scenario: &'static str,
    stdout: String,
    stderr: String,
    exit_code: Option<i32>,
    /// By file name, and what was printed as JSON on standard error.
    profiles: BTreeMap<String, Value>,
}

impl Run {
    fn new(program: &Path, scenario: &'static str, folder: &Path) -> Self {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).unwrap();
        let output = Command::new(program)
            .arg(scenario)
            .current_dir(folder)
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        let mut profiles: BTreeMap<String, Value> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                (
                    entry.file_name().into_string().unwrap(),
                    read_profile(&entry.path()),
                )
            })
            .collect();
        if let Some((_, rest)) = stderr.split_once("json = `") {
            let json = rest.split_once("`\n").unwrap().0;
            profiles.insert(String::from("stderr"), serde_json::from_str(json).unwrap());
        }
        Self {
            scenario,
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr,
            exit_code: output.status.code(),
            profiles,
        }
    }

    /// The lines of the summary, without the name of the profiler.
    fn summary(&self) -> Vec<&str> {
        const BEGINNINGS: [&str; 4] = [
            "Total:",
            "At t-gmax:",
            "At t-end:",
            "The data has been saved",
        ];
        self.stderr
            .lines()
            .filter_map(|line| {
                let told = line
                    .strip_prefix("dhat: ")
                    .or(line.strip_prefix("heapledger: "))?;
                BEGINNINGS
                    .iter()
                    .any(|start| told.starts_with(start))
                    .then_some(told)
            })
            .collect()
    }
}

fn read_profile(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn compare_runs(theirs: &Run, ours: &Run, agreement: Agreement) {
    let scenario = ours.scenario;
    assert_eq!(theirs.exit_code, ours.exit_code, "{scenario}");
    assert_eq!(
        theirs.profiles.keys().collect::<Vec<_>>(),
        ours.profiles.keys().collect::<Vec<_>>(),
        "{scenario}: saved profiles"
    );
    assert_eq!(
        theirs.stderr.contains("error: "),
        ours.stderr.contains("error: "),
        "{scenario}"
    );
    match agreement {
        Agreement::Full => {
            assert_eq!(theirs.stdout, ours.stdout, "{scenario}: standard output");
            assert_eq!(theirs.summary(), ours.summary(), "{scenario}: summary");
            for (file, profile) in &theirs.profiles {
                compare_profiles(
                    profile,
                    &ours.profiles[file],
                    &format!("{scenario}: {file}"),
                );
            }
        }
        Agreement::PeakIsBounded => {
            assert_eq!(
                without_peaks(&theirs.stdout),
                without_peaks(&ours.stdout),
                "{scenario}"
            );
            for (file, profile) in &theirs.profiles {
                compare_bounded(profile, &ours.profiles[file]);
            }
        }
        Agreement::PrintedOnly => assert_eq!(theirs.stdout, ours.stdout, "{scenario}"),
    }
}

/// Printed statistics up to where the peak begins.
fn without_peaks(stdout: &str) -> Vec<&str> {
    stdout
        .lines()
        .filter_map(|line| line.split(", max_blocks").next())
        .collect()
}

/// A point's figures, in the order of `FIGURES`; an ad hoc profile has two.
type Figures = Vec<Option<u64>>;
const FIGURES: [&str; 8] = ["tb", "tbk", "eb", "ebk", "gb", "gbk", "mb", "mbk"];

/// For each combination of figures, where in the program the points with
/// these are. None: the stack ends before it gets there.
fn places_by_figures(profile: &Value) -> BTreeMap<Figures, Vec<Option<String>>> {
    let mut places = BTreeMap::<_, Vec<_>>::new();
    for point in points(profile) {
        let figures = FIGURES.map(|key| point[key].as_u64()).to_vec();
        places
            .entry(figures)
            .or_default()
            .push(place_in_program(profile, point));
    }
    places.values_mut().for_each(|places| places.sort());
    places
}

fn points(profile: &Value) -> &Vec<Value> {
    profile["pps"].as_array().unwrap()
}

fn frames<'a>(profile: &'a Value, point: &'a Value) -> impl Iterator<Item = &'a str> {
    let stack = point["fs"].as_array().unwrap();
    stack.iter().map(|frame| {
        profile["ftbl"][frame.as_u64().unwrap() as usize]
            .as_str()
            .unwrap()
    })
}

/// `file.rs:line:column` of the innermost frame in one of the scenarios' files
/// (not in `program.rs`: there, the allocator is).
fn place_in_program(profile: &Value, point: &Value) -> Option<String> {
    frames(profile, point).find_map(|frame| {
        let (_, place) = frame.split_once("tests/compat/")?;
        (!place.starts_with("program.rs")).then(|| place.trim_end_matches(')').to_owned())
    })
}

fn compare_profiles(theirs: &Value, ours: &Value, title: &str) {
    for key in [
        "dhatFileVersion",
        "verb",
        "bklt",
        "bkacc",
        "bu",
        "bsu",
        "bksu",
        "tu",
        "Mtu",
        "tuth",
    ] {
        assert_eq!(theirs[key], ours[key], "{title}: {key}");
    }
    let their_mode = theirs["mode"].as_str().unwrap();
    assert_eq!(
        their_mode.strip_prefix("rust-").unwrap(),
        ours["mode"],
        "{title}"
    );
    assert!(ours["te"].as_u64() > Some(0), "{title}");
    assert!(ours["tg"].as_u64() <= ours["te"].as_u64(), "{title}");

    let (theirs, ours) = (places_by_figures(theirs), places_by_figures(ours));
    assert_eq!(
        theirs
            .iter()
            .map(|(figures, places)| (figures, places.len()))
            .collect::<Vec<_>>(),
        ours.iter()
            .map(|(figures, places)| (figures, places.len()))
            .collect::<Vec<_>>(),
        "{title}: points with these {FIGURES:?}"
    );
    for (figures, places) in &theirs {
        // By default, dhat-rs ends a stack after ten frames: in debug builds
        // these can all be the allocator's.
        if title == "heap_steps: heap_steps.json" || places.iter().all(Option::is_some) {
            assert_eq!(places, &ours[figures], "{title}: {figures:?}");
        }
    }
}

fn sum(profile: &Value, key: &str) -> u64 {
    points(profile)
        .iter()
        .map(|point| point[key].as_u64().unwrap())
        .sum()
}

fn compare_bounded(theirs: &Value, ours: &Value) {
    for key in ["tb", "tbk", "eb", "ebk"] {
        assert_eq!(sum(theirs, key), sum(ours, key), "{key}");
    }
    let (true_peak, peak) = (sum(theirs, "gb"), sum(ours, "gb"));
    assert!(
        peak <= true_peak && true_peak - peak <= PEAK_SLACK_BYTES * THREADS,
        "{peak} of {true_peak}"
    );
}

/// `tests/compat/trim.rs` descends this deep at least, and allocates there.
const LEVELS: usize = 30;

fn compare_kept_frames(theirs: &Run, ours: &Run) {
    for (file, frames_asked) in [
        ("trim_0.json", 4),
        ("trim_4.json", 4),
        ("trim_5.json", 5),
        ("trim_10.json", 10),
        ("trim_20.json", 20),
        ("trim_max.json", usize::MAX),
        ("trim_none.json", usize::MAX),
    ] {
        let [their_levels, levels] = [theirs, ours].map(|run| levels(&run.profiles[file]));
        assert!(levels <= frames_asked, "{file}: {levels} levels");
        if frames_asked == usize::MAX {
            assert!(levels >= LEVELS, "{file}: {levels} levels");
            assert_eq!(their_levels, levels, "{file}: levels");
        } else {
            // Here, the allocator's frames take nothing away from the program's.
            assert!(
                their_levels <= levels,
                "{file}: {levels} levels, not {their_levels}"
            );
        }
        let runtime = [theirs, ours].map(|run| has_frame(&run.profiles[file], "lang_start"));
        assert_eq!(
            runtime,
            [file == "trim_none.json"; 2],
            "{file}: frames before main"
        );
    }
}

fn levels(profile: &Value) -> usize {
    let [point] = points(profile).as_slice() else {
        panic!("more than one allocation");
    };
    frames(profile, point)
        .filter(|frame| frame.contains("::descend "))
        .count()
}

fn has_frame(profile: &Value, name: &str) -> bool {
    points(profile)
        .iter()
        .any(|point| frames(profile, point).any(|frame| frame.contains(name)))
}
