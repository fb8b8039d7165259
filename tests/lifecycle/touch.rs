//! How much of each block was written to: programs that know it, and what the
//! profiler says of them.

use crate::runs::memory_kib;
use crate::support::Scenario;
use crate::support::blocks::{Block, Numbers};
use crate::support::child::tell;
use crate::support::profile::{Profile, Touch as Estimate};
use heapledger::{Profiler, Touch};
use std::fs::File;
use std::hint::black_box;
use std::sync::Barrier;
use std::thread;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new("touch/a_hundred_of_a_million", a_hundred, |child| {
        let ended = child.run().exited_with(0);
        assert!((1..=2).contains(&ended.told("resident pages")));
        let profile = ended.profile();
        let expected = all_measured(1, 1_000_000, 100, 1_000_000 - 100);
        assert_eq!(profile.touch_in("million"), expected);
        let line =
            "allocated 1,000,000 bytes, wrote 100 (0.01%), unused at the end of blocks 999,900";
        assert!(ended.stderr.contains(line), "{}", ended.stderr);
    }),
    Scenario::new("touch/small_blocks", small_blocks, |child| {
        let profile = child.run().exited_with(0).profile();
        // 1,000 of 10 bytes, of which 3 are written.
        let freed = all_measured(1_000, 10_000, 3_000, 7_000);
        assert_eq!(profile.touch_in("three_of_ten"), freed);
        assert_eq!(profile.touch_in("three_of_ten_live"), freed);
        let middle = profile.touch_in("only_the_middle");
        assert_eq!(middle, all_measured(1, 4_096, 10, 4_096 - 2_010));
        assert_eq!(profile.touch_in("untouched"), all_measured(1, 77, 0, 77));
        // A string that grew: 5 bytes of text, 8 of capacity.
        let text = profile.touch_in("over_capacity");
        assert_eq!(text, all_measured(1, 64, 5, 59));
    }),
    Scenario::new("touch/reallocations", reallocations, |child| {
        let profile = child.run().exited_with(0).profile();
        // 50 of 100 bytes; then 300 more, of which 10.
        assert_eq!(profile.touch_in("grown"), all_measured(1, 400, 60, 200));
        // 10 of 1,000 bytes, 990 are cut off.
        assert_eq!(profile.touch_in("shrunk"), all_measured(1, 1_000, 10, 990));
        // One byte to each size up to 4 MB and back to 1.
        let all = profile.touch_in("through_all_sizes");
        assert_eq!((all.blocks, all.unmeasured_blocks), (1, 0));
        assert_eq!((all.bytes, all.written_bytes), (4 << 20, 23), "{all:?}");
        assert_eq!(all.all_written_interval, (23, 23));
        assert_eq!(profile.touch_in("failed"), all_measured(1, 500, 7, 493));
    }),
    Scenario::new("touch/zeroed_blocks", zeroed_blocks, |child| {
        let profile = child.run().exited_with(0).profile();
        let small = profile.touch_in("zeroed_small");
        assert_eq!((small.blocks, small.bytes, small.written_bytes), (1, 80, 2));
        // Two words of 8 bytes, but it may be all of it.
        assert_eq!(
            (small.all_written_bytes, small.all_written_interval),
            (16, (2, 80))
        );
        let large = profile.touch_in("zeroed_large");
        assert_eq!((large.bytes, large.written_bytes), (3_000_000, 1));
        let (low, high) = large.all_written_interval;
        assert_eq!(low, 1);
        // As resident: one page, or one huge page.
        assert!((8..=2 << 20).contains(&high), "{high}");
        let grown = profile.touch_in("zeroed_grown");
        assert_eq!((grown.bytes, grown.written_bytes), (1_000, 5));
    }),
    Scenario::new("touch/large_blocks", large_blocks, |child| {
        let ended = child.run().exited_with(0);
        assert!(ended.told("grown by kib") < 2_000);
        let profile = ended.profile();
        let aligned = profile.touch_in("large_aligned");
        assert_eq!(aligned, all_measured(4, 4 * 300_000, 4 * 20, 4 * 299_980));
        let pushed = profile.touch_in("pushed");
        assert_eq!((pushed.blocks, pushed.unmeasured_blocks), (1, 0));
        assert_eq!(pushed.written_bytes, 3_000_000);
        assert_eq!(pushed.bytes, 4 << 20, "the last capacity");
        assert_eq!(pushed.tail_bytes, (4 << 20) - 3_000_000);
        let live = profile.touch_in("large_live");
        assert_eq!(live, all_measured(1, 5_000_000, 1_234, 5_000_000 - 1_234));
        assert_eq!(ended.told("contents"), 7);
    }),
    Scenario::new("touch/sampled_blocks", sampled_blocks, |child| {
        let profile = child.run().exited_with(0).profile();
        for (function, blocks, bytes, written) in [
            ("medium_blocks", 4_000, 65_536, 1_000),
            ("churned_large", 4_000, 1_000_000, 5_000),
        ] {
            let touch = profile.touch_in(function);
            let truth = blocks * written;
            assert_eq!(
                (touch.all_bytes, touch.unmeasured_blocks),
                (blocks * bytes, 0)
            );
            assert!(touch.blocks >= 16 && touch.blocks < blocks / 4, "{touch:?}");
            assert_eq!(touch.written_bytes, touch.blocks * written);
            let error = touch.all_written_bytes as f64 / truth as f64 - 1.0;
            assert!(error.abs() < 0.001, "{touch:?}");
            let (low, high) = touch.all_written_interval;
            assert!(low < truth && truth < high, "an interval: {touch:?}");
        }
    }),
    Scenario::new("touch/oracle", storm, |child| {
        let ended = child.run().exited_with(0);
        let touch = ended.profile().touch_in("stormy");
        assert_eq!(touch.unmeasured_blocks, 0);
        assert_eq!(touch.blocks, ended.told("blocks"));
        assert_eq!(touch.bytes, ended.told("bytes"));
        assert_eq!(touch.written_bytes, ended.told("written"));
        assert_eq!(touch.all_bytes, touch.bytes);
    }),
    Scenario::new("touch/threads", threads, |child| {
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        let here = profile.touch_in("freed_elsewhere");
        assert_eq!(
            here,
            all_measured(1_002, 100_000 + 2_000_000, 3_000 + 20, 97_000 + 1_999_980)
        );
    }),
    Scenario::new("touch/used_memory", used_memory, |child| {
        let profile = child.run().exited_with(0).profile();
        let blocks = TURNS * TIMES * SIZES.len() as u64;
        let bytes = TURNS * TIMES * SIZES.iter().sum::<usize>() as u64;
        let one_byte = all_measured(blocks, bytes, blocks, bytes - blocks);
        assert_eq!(profile.touch_in("written_at_its_begin"), one_byte);
    }),
    Scenario::new("touch/runs", runs, |child| {
        let ended = child.run().exited_with(0);
        let expected = "wrote 300 (0.03%)";
        assert_eq!(
            ended.stderr.matches(expected).count(),
            2,
            "{}",
            ended.stderr
        );
        assert_eq!(ended.told("kept"), 7);
    }),
    Scenario::new("touch/fork", fork, |child| {
        let ended = child.run().exited_with(0);
        // The copy writes more to its block than the process that it is of.
        let files = ended.files();
        assert_eq!(files.len(), 2, "{files:?}");
        let mut written: Vec<u64> = files
            .iter()
            .map(|file| crate::support::profile::Profile::read(&ended.path(file)))
            .map(|profile| profile.touch_in("million").written_bytes)
            .collect();
        written.sort();
        assert_eq!(written, [100, 150]);
    }),
    Scenario::new("touch/off", off, |child| {
        let ended = child.run().exited_with(0);
        let profile = ended.profile();
        assert!(profile.sum_in("million").heapledger.touch.is_none());
        assert!(!ended.stderr.contains("ritten"), "{}", ended.stderr);
    }),
    Scenario::new("touch/in_the_format", in_the_format, |child| {
        let profile = child.run().exited_with(0).profile();
        assert_eq!(profile.sum_in("million").wb, Some(100));
        // 100 bytes are kept by the reallocation, and counted in `tb` again.
        let grown = profile.sum_in("grown");
        assert_eq!((grown.tb, grown.wb), (500, Some(60 + 100)));
    }),
    Scenario::new("touch/live_in_a_snapshot", live_in_a_snapshot, |child| {
        let ended = child.run().exited_with(0);
        let read = |name| Profile::read(&ended.path(name)).touch_in("three_of_ten_each");
        let during = read("during.json");
        // Of two, one is freed; what is live is not looked at while the program uses it.
        assert_eq!((during.blocks, during.unmeasured_blocks), (1, 1));
        assert_eq!(
            (during.all_bytes, during.all_written_interval),
            (10, (3, 3))
        );
        assert_eq!(read("dhat-heap.json"), all_measured(2, 20, 6, 14));
    }),
    Scenario::new("touch/timed", timed, |child| {
        let ended = child.run().exited_with(0);
        // The program's allocator is what is timed, so it serves large blocks, too.
        let large = ended.profile().touch_in("timed_large");
        assert_eq!((large.blocks, large.unmeasured_blocks), (0, 1));
        let small = ended.profile().touch_in("timed_small");
        assert_eq!(small, all_measured(1, 1_000, 7, 993));
    }),
    Scenario::new("touch/not_measured", not_measured, |child| {
        let profile = child.run().exited_with(0).profile();
        let older = profile.touch_in("resized_older");
        assert_eq!((older.blocks, older.unmeasured_blocks), (0, 1));
        assert_eq!((older.all_bytes, older.all_written_interval), (0, (0, 0)));
    }),
];

/// What is a count, not an estimate.
fn all_measured(blocks: u64, bytes: u64, written: u64, tail: u64) -> Estimate {
    Estimate {
        blocks,
        bytes,
        written_bytes: written,
        tail_bytes: tail,
        all_bytes: bytes,
        all_written_bytes: written,
        all_tail_bytes: tail,
        all_written_interval: (written, written),
        unmeasured_blocks: 0,
    }
}

#[inline(never)]
fn million() -> Block {
    let mut block = Block::new(1_000_000);
    block.write(0, 100);
    block
}

/// As the kernel's table says: the process's own, and present.
fn resident_pages(block: &Block) -> u64 {
    use std::os::unix::fs::FileExt;
    let table = std::fs::File::open("/proc/self/pagemap").expect("pagemap");
    let pages = block.address() / 4096..(block.address() + block.bytes()).div_ceil(4096);
    let own = pages.filter(|page| {
        let mut entry = [0; 8];
        table
            .read_exact_at(&mut entry, 8 * *page as u64)
            .expect("an entry");
        u64::from_le_bytes(entry) >> 63 == 1
    });
    own.count() as u64
}

fn a_hundred() {
    let _profiler = Profiler::new_heap();
    let block = million();
    tell("resident pages", resident_pages(&block));
    block.free();
}

#[inline(never)]
fn three_of_ten() -> Block {
    let mut block = Block::new(10);
    block.write(0, 3);
    block
}

/// Of another size of code than its namesake, so that the two are not merged.
#[inline(never)]
fn three_of_ten_live() -> Block {
    let mut block = Block::aligned(10, 2);
    block.write(0, 3);
    block
}

#[inline(never)]
fn only_the_middle() -> Block {
    let mut block = Block::new(4_096);
    block.write(2_000, 10);
    block
}

#[inline(never)]
fn untouched() -> Block {
    Block::new(77)
}

#[inline(never)]
fn over_capacity() -> String {
    let mut text = String::with_capacity(64);
    text.push_str(black_box("hello"));
    text
}

fn small_blocks() {
    let _profiler = Profiler::new_heap();
    for _ in 0..1_000 {
        three_of_ten().free();
        three_of_ten_live().keep();
    }
    only_the_middle().free();
    untouched().keep();
    std::mem::forget(black_box(over_capacity()));
}

#[inline(never)]
fn grown() -> Block {
    let mut block = Block::new(100);
    block.write(0, 50);
    block.resize(400);
    block.write(190, 10);
    block
}

#[inline(never)]
fn shrunk() -> Block {
    let mut block = Block::new(1_000);
    block.write(0, 10);
    block.resize(10);
    block
}

#[inline(never)]
fn through_all_sizes() {
    let mut block = Block::new(1);
    block.write(0, 1);
    for power in 1..=22 {
        block.resize(1 << power);
        block.write((1 << power) - 1, 1);
    }
    for power in (0..22).rev() {
        block.resize(1 << power);
    }
    block.free();
}

#[inline(never)]
fn failed() -> Block {
    let mut block = Block::new(500);
    block.write(0, 7);
    assert!(
        !block.try_resize(isize::MAX as usize - 4096),
        "that much memory"
    );
    block
}

fn reallocations() {
    let _profiler = Profiler::new_heap();
    grown().free();
    shrunk().keep();
    through_all_sizes();
    failed().keep();
}

#[inline(never)]
fn zeroed_small() -> Block {
    let mut block = Block::zeroed(80, 8);
    block.write(3, 1);
    block.write(23, 1);
    block
}

#[inline(never)]
fn zeroed_large() -> Block {
    let mut block = Block::zeroed(3_000_000, 8);
    block.write(2_000_000, 1);
    block
}

#[inline(never)]
fn zeroed_grown() -> Block {
    let mut block = Block::zeroed(100, 4);
    block.resize(1_000);
    block.write(990, 5);
    block
}

fn zeroed_blocks() {
    let _profiler = Profiler::new_heap();
    // So that what is handed out next was used before.
    let used: Vec<Block> = [100, 1_000]
        .map(|bytes| {
            let mut block = Block::new(bytes);
            block.write(0, bytes);
            block
        })
        .into();
    used.into_iter().for_each(Block::free);
    zeroed_small().free();
    zeroed_large().free();
    zeroed_grown().free();
}

#[inline(never)]
fn large_aligned(align: usize) -> Block {
    let mut block = Block::aligned(300_000, align);
    block.write(0, 20);
    block
}

#[inline(never)]
fn pushed() -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..3_000_000 {
        bytes.push(black_box(number as u8) & 0x7F);
    }
    bytes
}

#[inline(never)]
fn large_live() -> Block {
    let mut block = Block::new(5_000_000);
    block.write(0, 1_234);
    block
}

fn large_blocks() {
    let _profiler = Profiler::new_heap();
    for align in [1, 64, 8_192, 1 << 21] {
        large_aligned(align).free();
    }
    let bytes = pushed();
    let sum = bytes
        .iter()
        .enumerate()
        .find(|(at, byte)| **byte != *at as u8 & 0x7F);
    tell("contents", if sum.is_none() { 7 } else { 0 });
    drop(bytes);
    let before = memory_kib("VmRSS:");
    large_live().keep();
    tell("grown by kib", memory_kib("VmRSS:").saturating_sub(before));
}

#[inline(never)]
fn medium_blocks() -> Block {
    let mut block = Block::new(65_536);
    block.write(64_000, 1_000);
    block
}

#[inline(never)]
fn churned_large() -> Block {
    let mut block = Block::new(1_000_000);
    block.write(500_000, 5_000);
    block
}

fn sampled_blocks() {
    let _profiler = Profiler::new_heap();
    for _ in 0..4_000 {
        medium_blocks().free();
        churned_large().free();
    }
}

/// A block of which it is known what was written to it.
struct Known {
    block: Block,
    written: [bool; 4_096],
}

impl Known {
    fn write(&mut self, numbers: &mut Numbers) {
        let bytes = self.block.bytes();
        let at = numbers.below(bytes);
        let count = 1 + numbers.below(bytes - at);
        self.block.write(at, count);
        self.written[at..at + count].fill(true);
    }

    fn count(&self) -> u64 {
        self.written.iter().filter(|&&written| written).count() as u64
    }
}

#[derive(Default)]
struct Truth {
    blocks: u64,
    bytes: u64,
    written: u64,
}

#[inline(never)]
fn stormy(numbers: &mut Numbers, known: Option<Known>, truth: &mut Truth) -> Option<Known> {
    const BYTES_MAX: usize = 4_096;
    let Some(mut known) = known else {
        let (bytes, align) = (1 + numbers.size() % BYTES_MAX, numbers.align());
        let block = match numbers.below(3) {
            0 => Block::zeroed(bytes, align),
            _ => Block::aligned(bytes, align),
        };
        truth.blocks += 1;
        truth.bytes += bytes as u64;
        let written = [false; BYTES_MAX];
        return Some(Known { block, written });
    };
    match numbers.below(3) {
        0 => {
            truth.written += known.count();
            known.block.free();
            None
        }
        1 => {
            known.write(numbers);
            Some(known)
        }
        _ => {
            let bytes = 1 + numbers.size() % BYTES_MAX;
            let old = known.block.bytes();
            known.block.resize(bytes);
            truth.bytes += bytes.saturating_sub(old) as u64;
            let cut = &mut known.written[bytes..];
            truth.written += cut.iter().filter(|&&written| written).count() as u64;
            cut.fill(false);
            Some(known)
        }
    }
}

fn storm() {
    let mut truth = Truth::default();
    let mut slots: Vec<Option<Known>> = std::iter::repeat_with(|| None).take(500).collect();
    let _profiler = Profiler::new_heap();
    let mut numbers = Numbers::new(9);
    for _ in 0..40_000 {
        let slot = numbers.below(slots.len());
        let known = slots[slot].take();
        slots[slot] = stormy(&mut numbers, known, &mut truth);
    }
    truth.written += slots.iter().flatten().map(Known::count).sum::<u64>();
    tell("blocks", truth.blocks);
    tell("bytes", truth.bytes);
    tell("written", truth.written);
    std::mem::forget(slots);
}

#[inline(never)]
fn freed_elsewhere(mut all: Vec<Block>) -> Vec<Block> {
    let sizes = (0..1_002).map(|n| if n < 1_000 { 100 } else { 1_000_000 });
    let blocks = sizes.map(|bytes| {
        let mut block = Block::new(bytes);
        block.write(0, if bytes == 100 { 3 } else { 10 });
        block
    });
    all.extend(blocks);
    all
}

fn threads() {
    let blocks = Vec::with_capacity(1_002);
    let _profiler = Profiler::new_heap();
    let blocks = freed_elsewhere(blocks);
    thread::spawn(move || blocks.into_iter().for_each(Block::free))
        .join()
        .expect("joins");
}

const SIZES: [usize; 10] = [3, 10, 16, 17, 40, 64, 65, 200, 1_000, 4_096];
const TIMES: u64 = 20;
const TURNS: u64 = 4;

#[inline(never)]
fn written_everywhere(bytes: usize) {
    let mut block = Block::new(bytes);
    block.write(0, bytes);
    block.free();
}

#[inline(never)]
fn written_at_its_begin(bytes: usize) {
    let mut block = Block::new(bytes);
    block.write(0, 1);
    block.free();
}

/// Blocks where others were that held nothing of the pattern: of a site that one thread uses, at
/// first with larger blocks than it had before, then without; and once a second thread uses it, by
/// turns.
fn used_memory() {
    let _profiler = Profiler::new_heap();
    let turns = Barrier::new(2);
    thread::scope(|scope| {
        for own in 0..2 {
            let turns = &turns;
            scope.spawn(move || {
                for turn in 0..TURNS {
                    if turn % 2 == own {
                        use_again();
                    }
                    turns.wait();
                }
            });
        }
    });
}

fn use_again() {
    for _ in 0..TIMES {
        for bytes in SIZES {
            written_everywhere(bytes);
            written_at_its_begin(bytes);
        }
    }
}

#[inline(never)]
fn kept_million() -> Block {
    let mut block = Block::aligned(1_000_000, 8);
    block.write(0, 300);
    block
}

/// Mapped blocks of one run live on in none and in another.
fn runs() {
    let profiler = Profiler::new_heap();
    let mut first = kept_million();
    drop(profiler);
    first.resize(3_000_000);
    first.resize(30_000_000);
    let profiler = Profiler::new_heap();
    let second = kept_million();
    first.resize(40_000_000);
    first.write(39_999_999, 1);
    // SAFETY: in the block.
    let byte = unsafe { *(first.address() as *const u8).add(299) };
    tell("kept", byte.into());
    first.resize(100);
    first.free();
    drop(profiler);
    second.free();
}

fn fork() {
    let _profiler = Profiler::new_heap();
    let mut block = million();
    // SAFETY: one thread.
    if unsafe { libc::fork() } == 0 {
        block.write(100, 50);
        block.free();
        return;
    }
    let mut status = 0;
    // SAFETY: waits for the child.
    unsafe { libc::wait(&mut status) };
    assert_eq!(status, 0);
    block.keep();
}

fn off() {
    let _profiler = Profiler::builder().touch(Touch::Off).build();
    million().free();
}

fn in_the_format() {
    let _profiler = Profiler::builder().touch_in_dhat(true).build();
    million().free();
    grown().free();
}

#[inline(never)]
fn resized_older(block: &mut Block) {
    block.resize(500);
}

/// Of another alignment than its namesakes, so that they are not merged.
#[inline(never)]
fn three_of_ten_each() -> Block {
    let mut block = Block::aligned(10, 4);
    block.write(0, 3);
    block
}

fn live_in_a_snapshot() {
    let profiler = Profiler::new_heap();
    let kept = three_of_ten_each();
    three_of_ten_each().free();
    let snapshot = profiler.snapshot().expect("a snapshot");
    let file = File::create("during.json").expect("a file");
    snapshot.write_dhat(file).expect("written");
    drop(profiler);
    kept.free();
}

#[inline(never)]
fn timed_large() {
    let mut block = Block::new(1_000_000);
    block.write(0, 7);
    block.free();
}

#[inline(never)]
fn timed_small() {
    let mut block = Block::new(1_000);
    block.write(0, 7);
    block.free();
}

fn timed() {
    let _profiler = Profiler::builder().timing(true).build();
    timed_large();
    timed_small();
}

fn not_measured() {
    let mut older = Block::new(100);
    let _profiler = Profiler::new_heap();
    resized_older(&mut older);
    older.free();
}
