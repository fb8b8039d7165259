//! Profiles of every kind, to be opened by every viewer.

use heapledger_formats::model::{
    Counts, Extension, Mode, MomentOfTimeline, Point, Profile, Timeline, Units,
};

/// A profile, and what it is.
#[derive(Debug)]
pub struct Sample {
    /// What is particular about it.
    pub name: &'static str,
    /// The profile.
    pub profile: Profile,
}

/// Frames of [`names`]: what viewers are likely to break.
pub const NAMES: [&str; 11] = [
    "<alloc::vec::Vec<T> as core::iter::traits::collect::FromIterator<T>>::from_iter",
    "<T as alloc::slice::<impl [T]>::to_vec_in::ConvertVec>::to_vec",
    "app::main::{closure#0}",
    "app::main::{{closure}}::{{closure}}",
    "app::parse::<[u8; 4], fn(u32) -> (u8, u8)>",
    "<dyn core::ops::FnOnce() + core::marker::Send>::call_once",
    "app::<img src=x onerror=alert(1)>&amp;\"quoted\"'s",
    "größe::日本語::🦀",
    "operator new(unsigned long)",
    "std::map<int, std::pair<int, char> >::operator[](int const&)",
    "call with 12 words 7",
];

/// One of each kind.
pub fn all() -> Vec<Sample> {
    let sample = |name, profile| Sample { name, profile };
    vec![
        sample("heap", heap()),
        sample("ad hoc", ad_hoc()),
        sample("copy", copy()),
        sample("exact access", exact_access()),
        sample("sampled", sampled()),
        sample("empty", Builder::heap().profile),
        sample("10,000 points", ten_thousand_points()),
        sample("recursion of 3,000 frames", deep_recursion()),
        sample("prefix stacks", prefix_stacks()),
        sample("names", names()),
    ]
}

struct Builder {
    profile: Profile,
}

impl Builder {
    fn heap() -> Self {
        Self {
            profile: Profile {
                mode: Mode::Heap,
                verb: "Allocated".to_owned(),
                units: None,
                time_units: ("µs".to_owned(), "s".to_owned()),
                short_lived_below: Some(10),
                command: "target/release/app --größe '<1>'".to_owned(),
                pid: 4242,
                end_time: 2_000_000,
                peak_time: Some(1_500_000),
                has_lifetimes: true,
                has_accesses: false,
                frames: vec!["[root]".into()],
                points: Vec::new(),
                stacks: Vec::new(),
                histograms: Vec::new(),
                extension: None,
                point_extensions: Vec::new(),
            },
        }
    }

    fn without_lifetimes(mode: Mode, verb: &str, units: [&str; 3]) -> Self {
        let mut builder = Self::heap();
        let [byte, bytes, blocks] = units.map(str::to_owned);
        builder.profile.mode = mode;
        builder.profile.verb = verb.to_owned();
        builder.profile.units = Some(Units {
            byte,
            bytes,
            blocks,
        });
        builder.profile.has_lifetimes = false;
        (builder.profile.peak_time, builder.profile.short_lived_below) = (None, None);
        builder
    }

    fn frame(&mut self, text: &str) -> u32 {
        self.profile.frames.push(text.into());
        self.profile.frames.len() as u32 - 1
    }

    fn point(&mut self, stack: &[u32], counts: Counts) {
        let start = self.profile.stacks.len() as u32;
        self.profile.stacks.extend_from_slice(stack);
        let stack = (start, self.profile.stacks.len() as u32);
        self.profile.points.push(Point { stack, counts });
    }
}

/// Different figures in every field; odd, so that nothing adds up by accident.
fn counts(seed: u64) -> Counts {
    let bytes = 1_003 + 7_919 * seed;
    Counts {
        total_bytes: bytes,
        total_blocks: 11 + seed,
        lifetimes: 17 * bytes,
        max_bytes: bytes / 2 + 1,
        max_blocks: 7,
        peak_bytes: bytes / 2,
        peak_blocks: 5,
        end_bytes: bytes / 5,
        end_blocks: 3,
        read_bytes: 0,
        written_bytes: 0,
    }
}

/// Only what every mode has.
fn totals(seed: u64) -> Counts {
    let Counts {
        total_bytes,
        total_blocks,
        ..
    } = counts(seed);
    Counts {
        total_bytes,
        total_blocks,
        ..Counts::default()
    }
}

/// An ordinary program: three stacks, one with inlined frames, and a timeline.
pub fn heap() -> Profile {
    let mut builder = Builder::heap();
    let main = builder.frame("0x3000: app::main (src/main.rs:30:9)");
    let run = builder.frame("0x2000: app::run (src/app.rs:20:5)");
    let push = builder.frame(
        "0x1000: alloc::raw_vec::RawVec<T,A>::grow_one (library/alloc/src/raw_vec.rs:334:9)",
    );
    // Inlined into `run`: of its address.
    let parse = builder.frame("0x2000: app::parse (src/app.rs:44:13)");
    let unknown = builder.frame("0x77: ??? (in /usr/lib/libc.so.6)");
    builder.point(&[push, parse, run, main], counts(100));
    builder.point(&[push, main], counts(20));
    builder.point(&[unknown, main], counts(3));
    let moment = |time, bytes, blocks, top| MomentOfTimeline {
        time,
        bytes,
        blocks,
        top,
        ..MomentOfTimeline::default()
    };
    builder.profile.extension = Some(Extension {
        version: 1,
        timeline: Some(Timeline {
            moments: vec![
                moment(100_000, 200_000, 9, vec![(0, 150_000), (1, 40_000)]),
                moment(1_000_000, 300_000, 10, vec![]),
                moment(1_700_000, 250_000, 8, vec![]),
            ],
        }),
        ..Extension::default()
    });
    builder.profile
}

fn ad_hoc() -> Profile {
    let mut builder =
        Builder::without_lifetimes(Mode::AdHoc, "Allocated", ["unit", "units", "events"]);
    let main = builder.frame("0x3000: app::main (src/main.rs:30:9)");
    let leaf = builder.frame("0x1000: app::event (src/main.rs:10:1)");
    builder.point(&[leaf, main], totals(4));
    builder.point(&[main], totals(1));
    builder.profile
}

fn copy() -> Profile {
    let mut builder = Builder::without_lifetimes(Mode::Copy, "Copied", ["byte", "bytes", "copies"]);
    let main = builder.frame("0x3000: app::main (src/main.rs:30:9)");
    let copy = builder.frame("0x1000: memcpy (in /usr/lib/libc.so.6)");
    builder.point(&[copy, main], totals(9));
    builder.profile
}

fn exact_access() -> Profile {
    let mut profile = heap();
    profile.has_accesses = true;
    for (index, (read, written)) in [(5_001, 7), (0, 44), (13, 0)].into_iter().enumerate() {
        profile.points[index].counts.read_bytes = read;
        profile.points[index].counts.written_bytes = written;
    }
    profile.histograms = vec![(1, vec![0, 0, 3, 3, 3, 65_535, 1])];
    profile
}

fn sampled() -> Profile {
    let mut profile = heap();
    let extension = profile.extension.get_or_insert_default();
    extension.sample_bytes = Some(524_288);
    profile
}

/// With as many functions, under a hundred others.
fn ten_thousand_points() -> Profile {
    let mut builder = Builder::heap();
    let main = builder.frame("0x1: app::main (src/main.rs:1:1)");
    let callers: Vec<u32> = (0..100)
        .map(|n| {
            builder.frame(&format!(
                "{:#x}: app::caller_{n} (src/callers.rs:{}:5)",
                0x1000 + n,
                n + 1
            ))
        })
        .collect();
    for n in 0..10_000_u64 {
        let leaf = builder.frame(&format!(
            "{:#x}: app::leaf_{n} (src/leaves.rs:{}:9)",
            0x10_0000 + n,
            n + 1
        ));
        let caller = callers[n as usize % callers.len()];
        builder.point(&[leaf, caller, main], counts(n % 97));
    }
    builder.profile
}

/// Deeper than any viewer takes; and one that differs from it only where it is cut.
fn deep_recursion() -> Profile {
    let mut builder = Builder::heap();
    let main = builder.frame("0x3000: app::main (src/main.rs:30:9)");
    let recurse = builder.frame("0x2000: app::recurse (src/main.rs:20:9)");
    let other = builder.frame("0x2500: app::other (src/main.rs:25:9)");
    let leaf = builder.frame("0x1000: app::leaf (src/main.rs:10:9)");
    let mut stack = vec![leaf];
    stack.extend([recurse; 3_000]);
    stack.push(main);
    builder.point(&stack, counts(50));
    stack[1_500] = other;
    builder.point(&stack, counts(5));
    builder.point(&[leaf, main], counts(1));
    builder.profile
}

/// Each stack is the beginning of the next.
fn prefix_stacks() -> Profile {
    let mut builder = Builder::heap();
    let frames: Vec<u32> = (0..20)
        .map(|n| {
            builder.frame(&format!(
                "{:#x}: app::level_{n} (src/main.rs:{}:1)",
                0x1000 + n,
                n + 1
            ))
        })
        .collect();
    for depth in 1..=frames.len() {
        let stack: Vec<u32> = frames[..depth].iter().rev().copied().collect();
        builder.point(&stack, counts(depth as u64));
    }
    builder.profile
}

/// Every one of [`NAMES`] in a stack of its own, called by the one before.
pub fn names() -> Profile {
    let mut builder = Builder::heap();
    let frames: Vec<u32> = NAMES
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let line = n + 1;
            builder.frame(&format!(
                "{:#x}: {name} (src/größe (1)/file.rs:{line}:7)",
                0x1000 + n
            ))
        })
        .collect();
    for (n, &frame) in frames.iter().enumerate() {
        let stack: Vec<u32> = match n {
            0 => vec![frame],
            _ => vec![frame, frames[n - 1]],
        };
        builder.point(&stack, counts(n as u64));
    }
    builder.profile
}
