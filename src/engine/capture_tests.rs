//! The walk against the platform's unwinder, on live stacks.

use super::Engine;
use crate::capture::back_end::{BUILT_WITH_FRAME_POINTERS, BackEnd};
use crate::capture::memo::MEMO_FRAMES;
use crate::capture::registers::Registers;
use crate::capture::stack_bounds::StackBounds;
use crate::capture::walk::Walker;
use crate::untracked;
use std::hint::black_box;

static ENGINE: Engine = Engine::new();

fn with_walker<T>(test: impl FnOnce(&mut Walker) -> T) -> T {
    ENGINE.prepare_to_derive();
    // SAFETY: zeroed memory is a valid walker; leaked, so never unmapped.
    let walker = unsafe { untracked::map_zeroed::<Walker>().unwrap().as_mut() };
    walker.reset(
        StackBounds::of_this_thread(Registers::here().sp),
        MEMO_FRAMES,
    );
    test(walker)
}

fn on_a_big_stack(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(64 << 20).spawn(test);
    thread.unwrap().join().unwrap();
}

/// A random walk over call shapes: different frame sizes, callee-saved
/// registers, dynamic calls, calls out of C code and out of loops.
struct Wanderer<'w> {
    walker: &'w mut Walker,
    seed: u64,
    captures: u32,
    frames: u64,
}

impl Wanderer<'_> {
    fn random(&mut self, below: u64) -> u64 {
        self.seed = self
            .seed
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.seed >> 33) % below
    }

    fn check(&mut self) {
        let [walked, fresh, platform] = ENGINE.compare_captures(self.walker);
        assert!(walked.len() > 3);
        assert_eq!(walked, fresh, "memo against no memo");
        assert_eq!(walked, platform, "walk against the platform's unwinder");
        self.captures += 1;
        self.frames += walked.len() as u64;
    }

    fn wander(&mut self, depth: u32) {
        for _ in 0..self.random(3) + 1 {
            if self.random(3) == 0 {
                self.check();
            }
            if depth == 0 {
                continue;
            }
            match self.random(6) {
                0 => self.small(depth - 1),
                1 => self.big_frame(depth - 1),
                2 => self.many_registers(depth - 1),
                3 => self.through_dyn(depth - 1),
                4 => self.through_c(depth - 1),
                _ => self.through_catch(depth - 1),
            }
        }
    }

    #[inline(never)]
    fn small(&mut self, depth: u32) {
        self.wander(depth);
        black_box(());
    }

    #[inline(never)]
    fn big_frame(&mut self, depth: u32) {
        let mut big = [0_u8; 3000];
        black_box(&mut big);
        self.wander(depth);
        black_box(&mut big);
    }

    #[inline(never)]
    fn many_registers(&mut self, depth: u32) {
        let values: [u64; 8] = std::array::from_fn(|n| black_box(n as u64));
        let [a, b, c, d, e, f, g, h] = values;
        self.wander(depth);
        black_box(a ^ b.rotate_left(1) ^ c.rotate_left(2) ^ d ^ (e * 3) ^ (f * 5) ^ (g * 7) ^ h);
    }

    #[inline(never)]
    fn through_dyn(&mut self, depth: u32) {
        let calls: [&dyn Fn(&mut Self); 2] = [&|own| own.wander(depth), &|own| own.small(depth)];
        let which = self.random(2) as usize;
        black_box(calls)[which](self);
    }

    #[inline(never)]
    fn through_c(&mut self, depth: u32) {
        extern "C" fn compare(own: *const libc::c_void, _: *const libc::c_void) -> i32 {
            // SAFETY: `bsearch` passes its key through.
            let (own, depth) = unsafe { &mut *own.cast_mut().cast::<(&mut Wanderer<'_>, u32)>() };
            own.wander(*depth);
            0
        }
        let element = 0_u8;
        let mut key = (self, depth);
        // SAFETY: one element of one byte, and a comparison that ignores it.
        unsafe {
            libc::bsearch(
                (&raw mut key).cast(),
                (&raw const element).cast(),
                1,
                1,
                Some(compare),
            );
        }
    }

    #[inline(never)]
    fn through_catch(&mut self, depth: u32) {
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.wander(depth)));
        if let Err(panic) = caught {
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn random_stacks_are_the_platforms() {
    // scripts/check-stacks.sh asks for more.
    let wanted = std::env::var("HEAPLEDGER_TEST_CAPTURES");
    let wanted = wanted.map_or(2000, |count| count.parse().expect("a number of captures"));
    let (captures, frames) = with_walker(|walker| {
        let mut wanderer = Wanderer {
            walker,
            seed: 42,
            captures: 0,
            frames: 0,
        };
        while wanderer.captures < wanted {
            wanderer.wander(6);
        }
        (wanderer.captures, wanderer.frames)
    });
    assert!(captures >= wanted);
    // The first difference ends the test.
    println!("{captures} captures of {frames} frames: 0 differences");
}

#[test]
fn stacks_by_frame_pointers_are_the_platforms_but_for_the_c_library() {
    static BY_FRAME_POINTERS: Engine = Engine::new();
    BY_FRAME_POINTERS.prepare_to_derive();
    if !BUILT_WITH_FRAME_POINTERS {
        BY_FRAME_POINTERS.deriver.choose(true);
        assert_eq!(BY_FRAME_POINTERS.back_end(), BackEnd::Rules);
        return;
    }
    #[inline(never)]
    fn down(walker: &mut Walker, depth: u32) {
        if depth > 0 {
            down(walker, depth - 1);
            return black_box(());
        }
        let [walked, _, platform] = BY_FRAME_POINTERS.compare_captures(walker);
        // Down to the C library's start of a thread.
        assert!(walked.len() > 200, "{walked:x?}");
        assert_eq!(walked[..200], platform[..200]);
        let outer = walked.len().min(platform.len()) - 3;
        assert_eq!(walked[..outer], platform[..outer]);
    }
    BY_FRAME_POINTERS.deriver.choose(true);
    assert_eq!(BY_FRAME_POINTERS.back_end(), BackEnd::FramePointers);
    for _ in 0..2 {
        with_walker(|walker| down(walker, 200));
    }
}

#[test]
fn deep_recursion_beyond_the_memo_keeps_the_innermost_frames() {
    #[inline(never)]
    fn down(walker: &mut Walker, depth: u32) {
        if depth == 0 {
            let [walked, fresh, platform] = ENGINE.compare_captures(walker);
            assert_eq!(walked.len(), MEMO_FRAMES);
            assert_eq!(walked, fresh);
            assert_eq!(walked, platform[..MEMO_FRAMES]);
        } else {
            down(walker, depth - 1);
        }
        black_box(());
    }
    let run = || with_walker(|walker| down(walker, 10_000));
    std::thread::Builder::new()
        .stack_size(64 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn a_limit_gives_the_same_key_however_deep_the_rest_is() {
    #[inline(never)]
    fn down(walker: &mut Walker, depth: u32, keys: &mut Vec<u64>) {
        let start = Registers::here();
        // SAFETY: `start` is of this function.
        let stack = unsafe { ENGINE.stack(walker, start) };
        keys.push(stack.key);
        if depth > 0 {
            down(walker, depth - 1, keys);
        }
        black_box(());
    }
    let run = |walker: &mut Walker| {
        walker.reset(walker.bounds(), 16);
        let mut keys = Vec::new();
        // Past the memo too, where the window is walked and hashed by itself.
        for _ in 0..2 {
            down(walker, 6000, &mut keys);
        }
        let settled = keys[40];
        assert!(keys[40..6001].iter().all(|&key| key == settled));
        assert!(keys[6001 + 40..].iter().all(|&key| key == settled));
        assert_ne!(keys[3], settled);
    };
    on_a_big_stack(move || with_walker(run));
}
