//! The walk on arrays, against a simulated machine.

use super::*;
use crate::capture::walk_trial::try_walks;
use proptest::prelude::*;
use std::collections::HashMap;

const LOW: u64 = 0x1000;
const WORDS: usize = 2048;
const HIGH: u64 = LOW + 8 * WORDS as u64;

/// An array that is a stack.
struct Array(Vec<u64>);

impl StackMemory for Array {
    fn word(&self, sp: u64, address: u64) -> Option<u64> {
        let inside = address.is_multiple_of(8) && address >= sp && (LOW..HIGH).contains(&address);
        inside.then(|| self.0[((address - LOW) / 8) as usize])
    }
}

/// A function of the simulated program, by its number.
#[derive(Clone, Copy, Debug)]
struct Function {
    /// Words below the return address: locals, and the saved fp if any.
    words: u64,
    shape: Shape,
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    /// fp is an ordinary register that is left alone.
    Leaves,
    /// fp is saved at the lowest word and used for something else.
    Saves,
    /// fp is saved just below the return address and points there.
    FramePointer,
    /// As `FramePointer`, but the caller's sp is found through a word.
    Realigned,
}

fn function(number: u64) -> Function {
    let shapes = [
        Shape::Leaves,
        Shape::Saves,
        Shape::FramePointer,
        Shape::Realigned,
    ];
    Function {
        words: 2 + number / 4 * 3 % 7,
        shape: shapes[number as usize % 4],
    }
}

/// Return addresses are 100 × the function returned to + the call site.
struct Table;

impl Rules for Table {
    fn rule(&self, return_address: u64) -> Rule {
        if return_address == 1 {
            return Rule::END;
        }
        let Function { words, shape } = function(return_address / 100);
        let whole = 8 * (words as i64 + 1);
        Rule::pack(match shape {
            Shape::Leaves => Step::FromSp {
                offset: whole,
                rbp_slot: 0,
            },
            Shape::Saves => Step::FromSp {
                offset: whole,
                rbp_slot: words as u32 + 1,
            },
            Shape::FramePointer => Step::FromFp {
                offset: 16,
                rbp_slot: 2,
            },
            Shape::Realigned => Step::FromFpWord {
                offset: -8,
                rbp_slot: 2,
            },
        })
    }

    fn rule_at(&self, pc: u64) -> Rule {
        self.rule(pc)
    }
}

/// The simulated program: calls and returns, with its own idea of the stack.
struct Machine {
    memory: Array,
    sp: u64,
    fp: u64,
    pc: u64,
    /// (return address, sp and fp to go back to), outermost first.
    calls: Vec<(u64, u64, u64)>,
}

impl Machine {
    fn new() -> Self {
        Self {
            memory: Array(vec![0; WORDS]),
            sp: HIGH - 64,
            fp: 7,
            pc: 1,
            calls: vec![],
        }
    }

    fn write(&mut self, address: u64, value: u64) {
        self.memory.0[((address - LOW) / 8) as usize] = value;
    }

    fn call(&mut self, number: u64, site: u64) {
        let Function { words, shape } = function(number);
        if self.sp - LOW < 8 * (words + 4) {
            return;
        }
        let return_address = if self.pc == 1 {
            1
        } else {
            self.pc / 100 * 100 + site
        };
        self.calls.push((return_address, self.sp, self.fp));
        let caller_sp = self.sp;
        self.write(caller_sp - 8, return_address);
        self.sp -= 8 * (words + 1);
        match shape {
            Shape::Leaves => {}
            Shape::Saves => {
                self.write(self.sp, self.fp);
                self.fp = number * 31;
            }
            Shape::FramePointer | Shape::Realigned => {
                self.write(caller_sp - 16, self.fp);
                self.write(caller_sp - 24, caller_sp);
                self.fp = caller_sp - 16;
            }
        }
        self.pc = number * 100;
    }

    fn ret(&mut self) {
        if let Some((return_address, sp, fp)) = self.calls.pop() {
            (self.pc, self.sp, self.fp) = (return_address, sp, fp);
        }
    }

    fn registers(&self) -> Registers {
        Registers {
            pc: self.pc,
            sp: self.sp,
            fp: self.fp,
        }
    }

    /// What a capture must give, innermost first.
    fn stack(&self) -> Vec<u64> {
        self.calls.iter().rev().map(|call| call.0).collect()
    }
}

fn walker(limit: usize) -> &'static mut Walker {
    // SAFETY: zeroed memory is a valid walker, and this one is leaked.
    let walker = unsafe { crate::untracked::map_zeroed::<Walker>().unwrap().as_mut() };
    let bounds = StackBounds {
        low: LOW,
        high: HIGH,
    };
    walker.reset(bounds, limit);
    walker
}

fn addresses(stack: &Stack<'_>) -> Vec<u64> {
    stack
        .frames
        .iter()
        .rev()
        .map(Frame::return_address)
        .collect()
}

#[derive(Clone, Debug)]
enum Act {
    Call {
        number: u64,
        site: u64,
    },
    Return {
        count: usize,
    },
    /// Returns so far and calls the same functions again, the first from `site`: the
    /// stack pointer is what it was, and something further out may have changed.
    Repeat {
        count: usize,
        site: u64,
    },
    Capture {
        remember: bool,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1_u64..12, 1_u64..4).prop_map(|(number, site)| Act::Call { number, site }),
        2 => (1_usize..6).prop_map(|count| Act::Return { count }),
        2 => (1_usize..6, 1_u64..4).prop_map(|(count, site)| Act::Repeat { count, site }),
        4 => (0..8).prop_map(|n| Act::Capture { remember: n > 0 }),
    ];
    prop::collection::vec(act, 1..300)
}

fn run(limit: usize, acts: &[Act]) -> Result<(), TestCaseError> {
    let mut machine = Machine::new();
    let walker = walker(limit);
    let mut keys = HashMap::new();
    let mut tags = HashMap::new();
    machine.call(1, 1);
    // Where the machine allocates.
    let door = 1 + limit as u64 % 8;
    for act in acts {
        match *act {
            Act::Call { number, site } => machine.call(number, site),
            Act::Return { count } => {
                for _ in 0..count.min(machine.calls.len().saturating_sub(1)) {
                    machine.ret();
                }
            }
            Act::Repeat { count, site } => {
                let mut functions = vec![];
                for _ in 0..count.min(machine.calls.len().saturating_sub(1)) {
                    functions.push(machine.pc / 100);
                    machine.ret();
                }
                for (depth, number) in functions.into_iter().rev().enumerate() {
                    machine.call(number, if depth == 0 { site } else { 1 });
                }
            }
            Act::Capture { remember } => {
                let depth = machine.calls.len();
                machine.call(door, 2);
                if machine.calls.len() == depth {
                    continue;
                }
                let mut expected = machine.stack();
                expected.truncate(limit);
                let start = machine.registers();
                let here = Door::at(start.sp, start.fp);
                if let Some(tag) = walker.tag_of(here, &machine.memory) {
                    prop_assert_eq!(tags.get(&expected), Some(&tag));
                }
                let stack = walker.capture(start, &machine.memory, &Table, |_| {
                    unreachable!("every rule fits")
                });
                prop_assert_eq!(addresses(&stack), expected.clone());
                prop_assert_eq!(stack.ended, Ended::Whole);
                prop_assert_eq!(stack.is_window, machine.calls.len() > limit);
                // One key a stack, one stack a key.
                let identity = (stack.key, stack.check);
                prop_assert_eq!(keys.entry(identity).or_insert(expected.clone()), &expected);
                let others = keys.iter().filter(|(_, stack)| **stack == expected);
                prop_assert_eq!(others.count(), 1);
                if !remember {
                    machine.ret();
                    continue;
                }
                let tag = tags.len() as u32 + 1;
                let tag = *tags.entry(expected).or_insert(tag);
                walker.remember(here, tag);
                prop_assert_eq!(walker.tag_of(here, &machine.memory), Some(tag));
                machine.ret();
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn captures_are_the_calls_in_progress(acts in acts()) {
        run(MEMO_FRAMES, &acts)?;
    }

    #[test]
    fn captures_with_a_limit_are_the_innermost_calls(acts in acts(), limit in 1_usize..9) {
        run(limit, &acts)?;
    }

    #[test]
    fn bytes_never_make_the_memo_differ(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        try_walks(&bytes);
    }

    /// Whatever lies on the stack, a walk ends and reads nothing outside.
    #[test]
    fn garbage_ends_the_walk(
        words in prop::collection::vec(prop_oneof![
            0_u64..2000, LOW - 64..HIGH + 64, any::<u64>(),
        ], WORDS),
        sp in LOW / 8..HIGH / 8,
        pc in 1_u64..2000,
        fp in LOW - 64..HIGH + 64,
    ) {
        let memory = Array(words);
        let start = Registers { pc, sp: sp * 8, fp };
        let walker = walker(MEMO_FRAMES);
            let first = addresses(&walker.capture(start, &memory, &Table, |_| 0));
        let again = addresses(&walker.capture(start, &memory, &Table, |_| 0));
        prop_assert_eq!(first, again);
    }
}

#[test]
fn a_signal_frame_leads_to_the_interrupted_instruction() {
    struct SignalAt(u64);
    impl Rules for SignalAt {
        fn rule(&self, return_address: u64) -> Rule {
            match return_address == self.0 {
                true => Rule::SIGNAL_FRAME,
                false => Table.rule(return_address),
            }
        }
        fn rule_at(&self, pc: u64) -> Rule {
            Table.rule(pc)
        }
    }
    let mut machine = Machine::new();
    machine.call(2, 1);
    let interrupted = machine.registers();
    // The kernel's frame below a red zone, and a handler called from it.
    let frame = (interrupted.sp - 128 - 512) & !15;
    for (offset, value) in [
        (SIGNAL_FP, interrupted.fp),
        (SIGNAL_SP, interrupted.sp),
        (SIGNAL_PC, interrupted.pc + 3),
    ] {
        machine.write(frame + offset, value);
    }
    const RESTORER: u64 = 0xABCD;
    let handler = function(4);
    machine.write(frame - 8, RESTORER);
    let start = Registers {
        pc: 400,
        sp: frame - 8 * (handler.words + 1),
        fp: 99,
    };
    let walker = walker(MEMO_FRAMES);
    for _ in 0..2 {
        let stack = walker.capture(start, &machine.memory, &SignalAt(RESTORER), |_| 0);
        assert_eq!(addresses(&stack), [RESTORER, interrupted.pc + 4, 1]);
    }
}

#[test]
fn a_frame_pointer_passed_on_tells_stacks_apart() {
    let (leaves, by_fp, saves) = (4, 2, 1);
    let mut machine = Machine::new();
    let start = |fp| Registers {
        pc: leaves * 100,
        sp: LOW,
        fp,
    };
    let (near, far) = (LOW + 512, LOW + 1024);
    let caller_sp = LOW + 8 * (function(leaves).words + 1);
    machine.write(caller_sp - 8, by_fp * 100 + 1);
    machine.write(near + 8, 1);
    machine.write(far + 8, saves * 100 + 1);
    machine.write(far + 16 + 8 * function(saves).words, 1);
    let walker = walker(MEMO_FRAMES);
    let mut captured = |fp| {
        assert_eq!(walker.tag_of(Door::at(LOW, fp), &machine.memory), None);
        let stack = walker.capture(start(fp), &machine.memory, &Table, |_| 0);
        let found = addresses(&stack);
        walker.remember(Door::at(LOW, fp), 1);
        assert_eq!(walker.tag_of(Door::at(LOW, fp), &machine.memory), Some(1));
        found
    };
    assert_eq!(captured(near), [201, 1]);
    assert_eq!(captured(far), [201, 101, 1]);
}

/// Whatever other stacks begin at the same place in between; until one word is another.
#[test]
fn stacks_that_come_back_are_known_without_a_walk() {
    let mut machine = Machine::new();
    machine.call(1, 1);
    let walker = walker(MEMO_FRAMES);
    let mut tag_of = |site: u64, tag: u32| {
        machine.call(2, site);
        machine.call(4, 1);
        let start = machine.registers();
        let here = Door::at(start.sp, start.fp);
        let known = walker.tag_of(here, &machine.memory);
        if known.is_none() {
            walker.capture(start, &machine.memory, &Table, |_| 0);
            walker.remember(here, tag);
        }
        machine.ret();
        machine.ret();
        known
    };
    for round in 0..4 {
        for site in 1..=3 {
            let known = (round >= 2).then_some(site);
            assert_eq!(tag_of(site.into(), site), known, "round {round}");
        }
    }
    assert_eq!(tag_of(4, 4), None);
}

#[test]
fn where_no_rule_fits_the_platforms_stack_is_taken() {
    struct Misfit;
    impl Rules for Misfit {
        fn rule(&self, _: u64) -> Rule {
            Rule::UNFIT
        }
        fn rule_at(&self, _: u64) -> Rule {
            Rule::UNFIT
        }
    }
    let machine = Machine::new();
    let walker = walker(2);
    let stack = walker.capture(machine.registers(), &machine.memory, &Misfit, |into| {
        into[..3].copy_from_slice(&[30, 20, 10]);
        3
    });
    assert_eq!(addresses(&stack), [30, 20]);
    assert!(stack.is_window);
}
