//! The programs of `c/`: each function allocates what its comment says.

use crate::support::Scenario;
use crate::support::child::{Child, setting, tell};
use crate::support::profile::Profile;
use heapledger::Profiler;
use interpose_tests::{self as c, KNOWN_LOADED, PLUG_INS};
use std::ffi::{CString, c_int, c_uint, c_ulong, c_void};

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("known/static", statically_linked, |child| {
        known_is_in(child, "static");
    }),
    Scenario::new("known/shared", dynamically_linked, |child| {
        known_is_in(child, "shared");
    }),
    Scenario::new("known/loaded", loaded, |child| known_is_in(child, "loaded")),
    Scenario::new("known/loaded_again_and_again", loaded_often, |child| {
        let profile = child.run().exited_with(0).profile();
        let sum = profile.sum_in("loaded_callocs");
        assert_eq!((sum.tbk, sum.tb, sum.ebk), (10 * LOADS, 770 * LOADS, 0));
        assert_eq!(profile.refused().truncated_stacks, 0);
    }),
    Scenario::new("known/rebuilt_plug_in", rebuilt_plug_in, |child| {
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        // Else there were no rules of other code that could have been taken for this one's.
        assert!(
            ended.told("replaced") > 0,
            "no version lay where the other one had"
        );
        // Names are looked up in what is loaded at the end; the caller's are always there.
        let through = profile.sum_in("call_plug_in");
        assert_eq!((through.tbk, through.ebk), (2 * PLUGS, 0));
        assert_eq!(profile.refused().truncated_stacks, 0);
        let depths: Vec<usize> = profile
            .points_in("call_plug_in")
            .iter()
            .map(|point| {
                let frames = profile.frames(point);
                frames
                    .take_while(|frame| !frame.contains("call_plug_in"))
                    .count()
            })
            .collect();
        assert!(depths.iter().all(|&depth| depth == 3), "{depths:?}");
    }),
    Scenario::new("known/cpp", cpp, |child| {
        let profile = child.run().exited_with(0).profile();
        let of = |function| {
            let sum = profile.sum_in(function);
            (sum.tbk, sum.tb, sum.ebk, sum.eb)
        };
        assert_eq!(of("cpp_new"), (3, 920, 1, 8));
        assert_eq!(of("cpp_vector"), (8, 255 * 8, 0, 0));
        let (map_blocks, map_bytes, live, _) = of("cpp_map");
        // Nodes of 72 bytes, and strings of 101, for a moment twice each.
        assert!(
            (2_000..=3_000).contains(&map_blocks) && live == 0,
            "{map_blocks}"
        );
        assert!(map_bytes >= 1_000 * (72 + 101), "{map_bytes}");
        let (thrown, _, live, _) = of("cpp_throw");
        assert!(thrown >= 2 && live == 0, "{thrown} {live}");
        let by_new = profile.sum_in("operator new(unsigned long)");
        assert!(by_new.tbk >= 2_010, "{by_new:?}");
    }),
    Scenario::new("known/storm_static", storm_static, |child| {
        storm_is_in(child, "static")
    }),
    Scenario::new("known/storm_shared", storm_shared, |child| {
        storm_is_in(child, "shared")
    }),
];

/// The functions of the C program, from wherever it is.
struct Known {
    functions: [unsafe extern "C" fn(); 10],
    deep: unsafe extern "C" fn(c_int),
}

impl Known {
    fn run(self) {
        let profiler = Profiler::new_heap();
        self.call();
        drop(profiler);
    }

    fn call(self) {
        for function in self.functions {
            // SAFETY: the C program's functions take nothing and return nothing.
            unsafe { function() };
        }
        // SAFETY: a few frames deep.
        unsafe { (self.deep)(20) };
    }
}

fn statically_linked() {
    known_static().run();
}

fn known_static() -> Known {
    Known {
        functions: [
            c::static_mallocs,
            c::static_callocs,
            c::static_reallocs,
            c::static_reallocarrays,
            c::static_aligned,
            c::static_nothing,
            c::static_usable,
            c::static_copies,
            c::static_refusals,
            c::static_realigns,
        ],
        deep: c::static_deep,
    }
}

/// All of it, with no profiler started or ended here.
pub(crate) fn all_static() {
    known_static().call();
}

fn dynamically_linked() {
    let known = Known {
        functions: [
            c::shared_mallocs,
            c::shared_callocs,
            c::shared_reallocs,
            c::shared_reallocarrays,
            c::shared_aligned,
            c::shared_nothing,
            c::shared_usable,
            c::shared_copies,
            c::shared_refusals,
            c::shared_realigns,
        ],
        deep: c::shared_deep,
    };
    known.run();
}

/// A library that is loaded, and unloaded when dropped.
struct Library(*mut c_void);

impl Library {
    fn load() -> Self {
        Self::open(KNOWN_LOADED)
    }

    fn open(path: &str) -> Self {
        let name = CString::new(path).expect("a path");
        // SAFETY: a library without initializers.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!library.is_null(), "{path}");
        Self(library)
    }

    fn symbol(&self, name: &str) -> *mut c_void {
        let name = CString::new(name).expect("a name");
        // SAFETY: a look-up in an open library.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!symbol.is_null(), "{name:?}");
        symbol
    }

    fn function(&self, name: &str) -> unsafe extern "C" fn() {
        // SAFETY: the C program's functions have this type.
        unsafe { std::mem::transmute(self.symbol(name)) }
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: opened once, and nothing of it runs.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
    }
}

const FUNCTIONS: [&str; 10] = [
    "mallocs",
    "callocs",
    "reallocs",
    "reallocarrays",
    "aligned",
    "nothing",
    "usable",
    "copies",
    "refusals",
    "realigns",
];

fn loaded() {
    let library = Library::load();
    let known = Known {
        functions: FUNCTIONS.map(|name| library.function(&format!("loaded_{name}"))),
        // SAFETY: the function takes one number.
        deep: unsafe {
            std::mem::transmute::<*mut c_void, unsafe extern "C" fn(c_int)>(
                library.symbol("loaded_deep"),
            )
        },
    };
    known.run();
}

const PLUGS: u64 = 20;

#[inline(never)]
fn call_plug_in(outermost: unsafe extern "C" fn(c_int) -> c_int) {
    // SAFETY: the function takes a number below the size of its frame.
    assert_eq!(unsafe { outermost(5) }, 3);
}

/// One version, then the other in its place, in turns.
fn rebuilt_plug_in() {
    let profiler = Profiler::new_heap();
    let (mut replaced, mut last) = (0, 0);
    for _ in 0..PLUGS {
        for pad in [1000, 2000] {
            let library = Library::open(&format!("{PLUG_INS}{pad}.so"));
            let outermost = library.symbol("plugged_outermost");
            replaced += u64::from(outermost.addr() == last);
            last = outermost.addr();
            // SAFETY: the function has this type.
            call_plug_in(unsafe {
                std::mem::transmute::<*mut c_void, unsafe extern "C" fn(c_int) -> c_int>(outermost)
            });
        }
    }
    tell("replaced", replaced);
    drop(profiler);
}

const LOADS: u64 = 300;

fn loaded_often() {
    let profiler = Profiler::new_heap();
    let mut last = None;
    for _ in 0..LOADS {
        let library = Library::load();
        // SAFETY: takes nothing, and the library stays until after it.
        unsafe { library.function("loaded_callocs")() };
        last = Some(library);
    }
    // Names are found in what is loaded at the end.
    drop(profiler);
    drop(last);
}

fn known_is_in(child: Child, prefix: &str) {
    let profile = child.run().exited_with(0).profile();
    let of = |function: &str| {
        let sum = profile.sum_in(&format!("{prefix}_{function}"));
        (sum.tbk, sum.tb, sum.ebk, sum.eb)
    };
    assert_eq!(of("mallocs"), (100, 10_000, 50, 5_000));
    assert_eq!(of("callocs"), (10, 770, 0, 0));
    assert_eq!(of("reallocs"), (13, 550 + 33 + 1_000_005, 1, 5));
    assert_eq!(of("reallocarrays"), (2, 350, 0, 0));
    assert_eq!(of("aligned"), (5, 1000 + 1280 + 5000 + 100 + 4096, 1, 1000));
    assert_eq!(of("nothing"), (5, 0, 1, 0));
    assert_eq!(of("usable"), (1, 100, 0, 0));
    assert_eq!(of("copies"), (40, 40 * 13, 0, 0));
    assert_eq!(of("refusals"), (1, 50, 0, 0));
    assert!(profile.points_in(&format!("{prefix}_refused")).is_empty());
    assert_eq!(of("deep"), (1, 17, 1, 17));
    assert_eq!(of("below_realigned"), (1, 29, 1, 29));
    assert_eq!(of("realigns"), (1, 29, 1, 29), "the stack goes on");
    stack_is_whole(&profile, prefix);
    assert_eq!(profile.refused().truncated_stacks, 0);
    assert_eq!(profile.refused().reentrant_allocs, 0);
    assert_eq!(profile.unsized_frees(), 0);
    // One life through all reallocations: one point, of `malloc`.
    let lives = profile.points_in(&format!("{prefix}_reallocs"));
    assert_eq!(lives.len(), 3, "malloc; realloc of null; malloc");
}

/// All frames of the recursion are there, with names and lines, and go on into Rust.
#[track_caller]
fn stack_is_whole(profile: &Profile, prefix: &str) {
    let points = profile.points_in(&format!("{prefix}_deep"));
    let [point] = points[..] else {
        panic!("{} points", points.len());
    };
    let frames: Vec<&str> = profile.frames(point).collect();
    let is_deep = |frame: &&str| {
        frame.contains(&format!(": {prefix}_deep (")) && frame.contains("/c/known.c:")
    };
    let (c, rust) = frames.split_at(20);
    assert!(c.iter().all(is_deep), "{frames:#?}");
    assert!(rust[0].contains("Known::call"), "{frames:#?}");
}

fn cpp() {
    let profiler = Profiler::new_heap();
    // SAFETY: functions that take nothing.
    unsafe {
        c::cpp_new();
        assert_eq!(c::cpp_vector(), 100);
        assert_eq!(c::cpp_map(), 1000);
        assert_eq!(c::cpp_throw(), 50);
    }
    drop(profiler);
}

// ---- a storm ------------------------------------------------------------------------

const COUNTS: [&str; 4] = ["total blocks", "total bytes", "live blocks", "live bytes"];

fn storm(storm: unsafe extern "C" fn(c_uint, c_ulong, *mut c_ulong)) {
    let steps = setting("HEAPLEDGER_TEST_OPERATIONS", 50_000);
    let profiler = Profiler::new_heap();
    let mut counts = [0; 4];
    // SAFETY: room for the four counts.
    unsafe { storm(8, steps, counts.as_mut_ptr()) };
    for (name, count) in COUNTS.into_iter().zip(counts) {
        tell(name, count);
    }
    drop(profiler);
}

fn storm_static() {
    storm(c::static_storm);
}

fn storm_shared() {
    storm(c::shared_storm);
}

fn storm_is_in(child: Child, prefix: &str) {
    let ended = child.run().exited_with(0);
    let profile = ended.profile();
    let sum = profile.sum_in(&format!("{prefix}_storm_step"));
    let told = COUNTS.map(|name| ended.told(name));
    assert_eq!([sum.tbk, sum.tb, sum.ebk, sum.eb], told);
    assert!(sum.ebk > 0 && sum.tbk > 10_000);
    assert_eq!(profile.unsized_frees(), 0);
}
