//! How stacks are taken: chosen once, when a run starts.
//!
//! By unwind rules wherever the program's own code has them. By frame pointers where
//! it has none but keeps frame pointers, or where that is asked for, as for code made
//! at run time, which has no rules. Else by the platform's unwinder.
//!
//! A walk by frame pointers is a walk by rules that are all the same: it goes through
//! the same checked reader, upward only, and ends where a word leads elsewhere. Where
//! code of the C library has used the register for something else, that is at `main`.

use crate::capture::platform;
use crate::capture::registers::Registers;
use crate::capture::rules::{Rule, Rules, Step};
use crate::capture::stack_bounds::StackBounds;
use crate::capture::stack_memory::{OwnStack, StackMemory};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BackEnd {
    Rules = 0,
    FramePointers = 1,
    Platform = 2,
}

impl BackEnd {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rules => "unwind rules cached by return address",
            Self::FramePointers => "frame pointers",
            Self::Platform => "the platform's unwinder",
        }
    }

    /// `has_rules`: whether the program's own code has any. `keeps_frame_pointers`
    /// is asked only if need be.
    pub(crate) fn choose(
        wants_frame_pointers: bool,
        has_rules: bool,
        keeps_frame_pointers: impl FnOnce() -> bool,
    ) -> Self {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Self::Platform;
        }
        match (wants_frame_pointers || !has_rules, has_rules) {
            (true, _) if keeps_frame_pointers() => Self::FramePointers,
            (_, true) => Self::Rules,
            (_, false) => Self::Platform,
        }
    }
}

/// All frames are found by frame pointers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramePointers;

impl FramePointers {
    /// The caller's frame begins behind the two words that rbp points to: the
    /// caller's rbp, and the return address.
    pub(crate) fn rule() -> Rule {
        Rule::pack(Step::FromFp {
            offset: 16,
            rbp_slot: 2,
        })
    }
}

impl Rules for FramePointers {
    fn rule(&self, _return_address: u64) -> Rule {
        Self::rule()
    }

    fn rule_at(&self, _pc: u64) -> Rule {
        Self::rule()
    }
}

/// Frames that are looked at to find out whether code keeps frame pointers.
const PROBED_FRAMES: usize = 4;

/// More than the function below has.
const OWN_CODE_BYTES: u64 = 1024;

/// Whether each of the innermost functions on this stack keeps a frame pointer: that
/// is, whether the walk by them finds the same callers as the platform's unwinder.
#[inline(never)]
pub(crate) fn frame_pointers_are_kept() -> bool {
    let start = Registers::here();
    let bounds = StackBounds::of_this_thread(start.sp);
    if !bounds.contains(start.sp) {
        return false;
    }
    // SAFETY: `start` is of this function, and the bounds are its stack's.
    let memory = unsafe { OwnStack::above(start.sp, bounds) };
    let found = return_addresses(start, &memory);
    let mut known = [0; 64];
    let count = platform::capture(&mut known);
    let in_here = start.pc..start.pc + OWN_CODE_BYTES;
    let own = known[..count].iter().position(|pc| in_here.contains(pc));
    match (found, own) {
        // From this function's own caller on: functions that keep no frame pointer
        // are skipped.
        (Some(found), Some(own)) => known[own + 1..count].starts_with(&found),
        _ => false,
    }
}

/// The innermost ones, by frame pointers.
fn return_addresses<M: StackMemory>(start: Registers, memory: &M) -> Option<[u64; PROBED_FRAMES]> {
    let (mut sp, mut fp) = (start.sp, start.fp);
    let mut found = [0; PROBED_FRAMES];
    for address in &mut found {
        let caller_sp = fp.wrapping_add(16);
        if !memory.may_follow(sp, caller_sp) {
            return None;
        }
        *address = memory.word(sp, fp.wrapping_add(8))?;
        fp = memory.word(sp, fp)?;
        sp = caller_sp;
    }
    Some(found)
}

/// scripts/check-stacks.sh says so.
#[cfg(test)]
pub(crate) const BUILT_WITH_FRAME_POINTERS: bool =
    option_env!("HEAPLEDGER_TEST_FRAME_POINTERS").is_some();

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::memo::{Frame, MEMO_FRAMES};
    use crate::capture::walk::{Ended, Walker};
    use proptest::prelude::*;
    use std::cell::Cell;

    #[test]
    fn the_best_of_what_there_is_is_chosen() {
        use BackEnd::{FramePointers, Platform, Rules};
        for (wants, has_rules, keeps, chosen) in [
            (false, true, false, Rules),
            (false, true, true, Rules),
            (true, true, true, FramePointers),
            (true, true, false, Rules),
            (false, false, true, FramePointers),
            (false, false, false, Platform),
            (true, false, false, Platform),
        ] {
            assert_eq!(BackEnd::choose(wants, has_rules, || keeps), chosen);
        }
    }

    #[test]
    fn a_build_with_frame_pointers_is_told_from_one_without() {
        assert_eq!(frame_pointers_are_kept(), BUILT_WITH_FRAME_POINTERS);
    }

    const LOW: u64 = 0x1000;
    const WORDS: usize = 256;
    const HIGH: u64 = LOW + 8 * WORDS as u64;

    /// An array that is a stack, and counts what is read of it.
    struct Array(Vec<u64>, Cell<usize>);

    impl StackMemory for Array {
        fn word(&self, sp: u64, address: u64) -> Option<u64> {
            self.1.set(self.1.get() + 1);
            let inside =
                address.is_multiple_of(8) && address >= sp && (LOW..HIGH).contains(&address);
            inside.then(|| self.0[((address - LOW) / 8) as usize])
        }
    }

    /// Frames at these addresses, each with its return address; the last leads to `end`.
    fn array(frames: &[(u64, u64)], end: u64) -> Array {
        let mut words = vec![0xDEAD; WORDS];
        for (index, &(fp, return_address)) in frames.iter().enumerate() {
            let place = ((fp - LOW) / 8) as usize;
            words[place] = frames.get(index + 1).map_or(end, |next| next.0);
            words[place + 1] = return_address;
        }
        Array(words, Cell::new(0))
    }

    fn walk(memory: &Array, fp: u64) -> (Vec<u64>, Ended) {
        // SAFETY: zeroed memory is a valid walker, and this one is leaked.
        let walker = unsafe { crate::untracked::map_zeroed::<Walker>().unwrap().as_mut() };
        walker.reset(
            StackBounds {
                low: LOW,
                high: HIGH,
            },
            MEMO_FRAMES,
        );
        let start = Registers { pc: 1, sp: LOW, fp };
        let stack = walker.capture(start, memory, &FramePointers, |_| 0);
        let frames = stack.frames.iter().rev();
        (frames.map(Frame::return_address).collect(), stack.ended)
    }

    #[test]
    fn a_chain_is_followed_to_where_it_leaves_the_stack() {
        let frames = [(LOW + 16, 100), (LOW + 64, 200), (LOW + 0x400, 300)];
        for end in [0, 1, 7, LOW - 16, LOW + 24, HIGH, HIGH - 4, u64::MAX - 8] {
            let memory = array(&frames, end);
            assert_eq!(walk(&memory, LOW + 16).0, [100, 200, 300], "{end:x}");
            let start = Registers {
                pc: 1,
                sp: LOW,
                fp: LOW + 16,
            };
            assert_eq!(return_addresses(start, &memory), None);
        }
    }

    #[test]
    fn a_chain_that_leads_inward_or_in_a_circle_ends() {
        let frames = [(LOW + 64, 100), (LOW + 128, 200)];
        for end in [LOW + 64, LOW + 128, LOW + 16] {
            let memory = array(&frames, end);
            assert_eq!(walk(&memory, LOW + 64), (vec![100, 200], Ended::Truncated));
        }
    }

    proptest! {
        #[test]
        fn garbage_ends_the_walk(
            words in prop::collection::vec(prop_oneof![
                LOW - 64..HIGH + 64, (LOW / 8..HIGH / 8).prop_map(|word| word * 8), any::<u64>(),
            ], WORDS),
            fp in LOW - 64..HIGH + 64,
        ) {
            let memory = Array(words, Cell::new(0));
            let (frames, _) = walk(&memory, fp);
            prop_assert!(frames.len() <= WORDS / 2);
            prop_assert!(memory.1.get() <= 4 * WORDS);
        }
    }
}
