//! The walk tried with whatever rules, stack and changes of the stack some bytes stand
//! for: it ends, reads nothing off the stack, and finds with its memo what it finds
//! without. For tests and for fuzzing.

use crate::capture::memo::Frame;
use crate::capture::registers::{Door, Registers};
use crate::capture::rules::{Rule, Rules, Step};
use crate::capture::stack_bounds::StackBounds;
use crate::capture::stack_memory::StackMemory;
use crate::capture::walk::{Ended, Stack, Walker};
use crate::untracked;
use std::ptr::NonNull;

const LOW: u64 = 0x1_0000;
const WORDS: usize = 512;
const HIGH: u64 = LOW + 8 * WORDS as u64;
const RULES: usize = 32;

/// What the bytes say, one after the other; zeros once they are used up.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u64 {
        match self.0.split_off_first() {
            Some(&byte) => byte.into(),
            None => 0,
        }
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// A word as stacks hold them: an address of code, one of the stack, or anything.
    fn word(&mut self) -> u64 {
        match self.byte() % 4 {
            0 => self.byte(),
            1 => LOW + 8 * (self.byte() << 1 | self.byte() & 1),
            2 => LOW + self.byte() * 16 + self.byte() % 16,
            _ => u64::from_le_bytes(std::array::from_fn(|_| self.byte() as u8)),
        }
    }

    fn rule(&mut self) -> Rule {
        let offset = (self.byte() as i64 - 32) * 8;
        let rbp_slot = (self.byte() % 8) as u32;
        Rule::pack(match self.byte() % 12 {
            0 => Step::End,
            1 => Step::NoInformation,
            2 => Step::SignalFrame,
            3 | 4 => Step::FromFp { offset, rbp_slot },
            5 => Step::FromFpWord { offset, rbp_slot },
            _ => Step::FromSp { offset, rbp_slot },
        })
    }
}

impl Rules for [Rule; RULES] {
    fn rule(&self, return_address: u64) -> Rule {
        self[return_address as usize % RULES]
    }

    fn rule_at(&self, pc: u64) -> Rule {
        self.rule(pc)
    }
}

impl StackMemory for [u64; WORDS] {
    fn word(&self, sp: u64, address: u64) -> Option<u64> {
        let inside = address.is_multiple_of(8) && address >= sp && (LOW..HIGH).contains(&address);
        inside.then(|| self[((address - LOW) / 8) as usize])
    }
}

/// Zeroed memory that is a walker, given back at the end.
struct Owned(NonNull<Walker>);

impl Owned {
    fn new(limit: usize) -> Self {
        // SAFETY: zeroed memory is a valid walker.
        let mut walker = unsafe { untracked::map_zeroed::<Walker>() }.expect("memory");
        let bounds = StackBounds {
            low: LOW,
            high: HIGH,
        };
        // SAFETY: just mapped.
        unsafe { walker.as_mut() }.reset(bounds, limit);
        Self(walker)
    }

    fn get(&mut self) -> &mut Walker {
        // SAFETY: mapped, and owned.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size.
        unsafe { untracked::unmap(self.0.cast(), size_of::<Walker>()) };
    }
}

fn found(stack: &Stack<'_>) -> (Vec<u64>, Ended, bool) {
    let frames = stack.frames.iter().map(Frame::return_address).collect();
    (frames, stack.ended, stack.is_window)
}

/// # Panics
/// If a walk with the memo finds something else than one without.
pub(crate) fn try_walks(bytes: &[u8]) {
    let mut script = Script(bytes);
    let limit = 1 + script.byte() as usize;
    let rules: [Rule; RULES] = std::array::from_fn(|_| script.rule());
    let mut memory = [0; WORDS];
    for word in &mut memory[..128] {
        *word = script.word();
    }
    let (mut with_memo, mut without) = (Owned::new(limit), Owned::new(limit));
    let mut stacks = Vec::new();
    while !script.is_over() {
        for _ in 0..script.byte() % 4 {
            memory[(script.byte() << 1 | script.byte() & 1) as usize % WORDS] = script.word();
        }
        let start = Registers {
            // The door is one function.
            pc: 1,
            sp: LOW + 8 * (script.byte() % 32),
            fp: script.word(),
        };
        let door = Door::at(start.sp, start.fp);
        let walker = with_memo.get();
        let known = walker.tag_of(door, &memory);
        let none = |_: &mut [u64]| 0;
        let expected = found(&without.get().capture_foreign(start, &memory, &rules, none));
        if let Some(tag) = known {
            assert_eq!(stacks[tag as usize - 1], expected, "known again");
        }
        assert_eq!(
            found(&walker.capture(start, &memory, &rules, none)),
            expected
        );
        stacks.push(expected);
        walker.remember(door, stacks.len() as u32);
    }
}
