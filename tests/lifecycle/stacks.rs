//! Deep stacks and small ones.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Child, tell};
use crate::support::profile::Refused;
use heapledger::{HeapStats, Profiler, ProfilerBuilder};
use std::hint::black_box;
use std::mem::MaybeUninit;
use std::thread;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "stacks/deep_recursion",
        || deep_recursion(Profiler::builder().exact_peaks(), 100_000),
        deep,
    ),
    Scenario::new(
        "stacks/deep_recursion_untrimmed",
        || {
            let builder = Profiler::builder().exact_peaks().trim_backtraces(None);
            deep_recursion(builder, 5_000);
        },
        deep,
    ),
    Scenario::new("stacks/no_frame_pointers", no_frame_pointers, |child| {
        let ended = child.run().exited_with(0);
        let line = "heapledger: error: stacks cannot be walked by frame pointers";
        assert!(ended.stderr.contains(line), "{}", ended.stderr);
        // By unwind rules, then.
        assert_eq!(ended.profile().sum_in("no_frame_pointers").tbk, 1);
    }),
    Scenario::new("stacks/small_stack", small_stack, |child| {
        let ended = child.run().exited_with(0);
        let sum = ended.profile().sum_in("recursion_to_the_end");
        assert_eq!(sum.tbk, 2 * ended.told("levels"));
    }),
    Scenario::new("stacks/needs", stack_needs, stack_needs_are_small),
];

/// Allocates on the way in and on the way out.
#[inline(never)]
fn recursion(levels: u64) {
    let block = Block::new(16);
    if levels > 1 {
        recursion(black_box(levels - 1));
    }
    Block::new(32).free();
    black_box(block).free();
}

fn deep_recursion(builder: ProfilerBuilder, levels: u64) {
    let _profiler = builder.build();
    thread::Builder::new()
        .stack_size(512 << 20)
        .spawn(move || recursion(levels))
        .expect("a thread")
        .join()
        .expect("joins");
    tell("levels", levels);
}

fn deep(child: Child) {
    let ended = child.run().exited_with(0);
    let profile = ended.profile();
    let sum = profile.sum_in("recursion");
    let levels = ended.told("levels");
    assert_eq!((sum.tbk, sum.tb, sum.ebk), (2 * levels, 48 * levels, 0));
    assert_eq!((sum.gbk, sum.gb), (levels + 1, 16 * levels + 32));
    assert_eq!(profile.refused(), Refused::default());
}

// ---- small stacks ---------------------------------------------------------------

const SMALL_STACK_BYTES: usize = 64 << 10;

/// What the program leaves free, for the system's allocator and for us.
const RESERVE_BYTES: usize = 16 << 10;

#[inline(never)]
fn recursion_to_the_end(low: usize, levels: u64) -> u64 {
    let block = Block::new(24);
    let here = black_box(&block) as *const Block as usize;
    let deepest = match here - low > RESERVE_BYTES {
        true => recursion_to_the_end(low, levels + 1),
        false => levels,
    };
    let mut second = block;
    second.resize(48);
    second.free();
    deepest
}

fn small_stack() {
    let _profiler = Profiler::new_heap();
    let levels = thread::Builder::new()
        .stack_size(SMALL_STACK_BYTES)
        .spawn(move || recursion_to_the_end(stack_of_this_thread().start, 1))
        .expect("a thread")
        .join()
        .expect("joins");
    tell("levels", levels);
}

fn stack_of_this_thread() -> std::ops::Range<usize> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut low, mut bytes) = (std::ptr::null_mut(), 0);
    // SAFETY: the attributes are filled in before they are read.
    unsafe {
        assert_eq!(
            libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()),
            0
        );
        libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut bytes);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
    }
    low.addr()..low.addr() + bytes
}

// ---- how much stack an operation needs --------------------------------------------

const PAINT: u64 = 0x5AFE_5AFE_5AFE_5AFE;

const OWN_FRAME_BYTES: usize = 512;

/// How far below its caller `work` reaches; at least `OWN_FRAME_BYTES`.
#[inline(never)]
fn stack_used_by(work: impl FnOnce()) -> u64 {
    let marker = black_box(0_u64);
    let here = (&raw const marker).addr() & !7;
    let low = stack_of_this_thread().start + 8192;
    // Below the red zone and this function's own frame.
    let top = here - OWN_FRAME_BYTES;
    for address in (low..top).step_by(8) {
        // SAFETY: unused words of this thread's stack, below every frame.
        unsafe { (address as *mut u64).write_volatile(PAINT) };
    }
    work();
    for address in (low..top).step_by(8) {
        // SAFETY: as above.
        if unsafe { (address as *const u64).read_volatile() } != PAINT {
            return (here - address) as u64;
        }
    }
    OWN_FRAME_BYTES as u64
}

/// In a new thread, which has not allocated yet.
fn stack_used_in_a_thread(work: fn()) -> u64 {
    struct Work(fn(), u64);
    extern "C" fn start(work: *mut libc::c_void) -> *mut libc::c_void {
        // SAFETY: the `Work` of the thread that waits for this one.
        let work = unsafe { &mut *work.cast::<Work>() };
        work.1 = stack_used_by(work.0);
        std::ptr::null_mut()
    }
    let mut work = Work(work, 0);
    let mut thread = 0;
    // SAFETY: `work` outlives the thread, which is joined.
    unsafe {
        let argument = (&raw mut work).cast();
        assert_eq!(
            libc::pthread_create(&mut thread, std::ptr::null(), start, argument),
            0
        );
        libc::pthread_join(thread, std::ptr::null_mut());
    }
    work.1
}

fn three_operations() {
    let mut block = Block::new(40);
    block.resize(80);
    block.free();
}

fn stack_needs() {
    three_operations();
    tell("system", stack_used_in_a_thread(three_operations));
    let _profiler = Profiler::new_heap();
    tell("first ever", stack_used_in_a_thread(three_operations));
    tell(
        "first of a thread",
        stack_used_in_a_thread(three_operations),
    );
    let mut used = 0;
    let used_later = &mut used;
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..black_box(2) {
                *used_later = stack_used_by(three_operations);
            }
        });
    });
    tell("later", used);
    tell("reading", stack_used_by(|| _ = HeapStats::get()));
}

/// An allocation may come close to the end of a small stack: what ours needs
/// beside the system's is bounded. Unoptimized code needs more.
fn stack_needs_are_small(child: Child) {
    let ended = child.run().exited_with(0);
    let (first, later) = match cfg!(debug_assertions) {
        true => (24 << 10, 8 << 10),
        false => (3 << 10, 1 << 10),
    };
    for (when, limit) in [
        ("first ever", first),
        ("first of a thread", first),
        ("later", later),
    ] {
        let ours = ended.told(when).saturating_sub(ended.told("system"));
        assert!(
            ours < limit,
            "{when}: {ours} bytes beside the system's\n{}",
            ended.stdout
        );
    }
}

#[inline(never)]
fn no_frame_pointers() {
    let _profiler = Profiler::builder().frame_pointers(true).build();
    Block::new(10).free();
}
