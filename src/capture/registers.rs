//! The three registers a walk starts from.

/// A point of execution: enough to find the caller by unwind rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registers {
    /// An instruction address in the running function.
    pub(crate) pc: u64,
    pub(crate) sp: u64,
    /// rbp: a frame pointer in some functions, an ordinary register in others.
    pub(crate) fp: u64,
}

impl Registers {
    /// The registers of the function this is inlined into. That function must
    /// stay on the stack for as long as a walk from here runs.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn here() -> Self {
        let (pc, sp, fp);
        // SAFETY: reads three registers and changes nothing. rbp first: where
        // it is no frame pointer the other two may be given out in it.
        unsafe {
            std::arch::asm!(
                "mov {fp}, rbp",
                "lea {pc}, [rip]",
                "mov {sp}, rsp",
                pc = out(reg) pc,
                sp = out(reg) sp,
                fp = out(reg) fp,
                options(nomem, nostack, preserves_flags),
            );
        }
        Self { pc, sp, fp }
    }

    /// Where there is no walker of our own the platform's unwinder finds its
    /// start by itself.
    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub(crate) fn here() -> Self {
        Self {
            pc: 0,
            sp: 0,
            fp: 0,
        }
    }
}

/// Where the program came in: the stack pointer and rbp of a function that it calls to allocate.
/// Two words, so that it is passed on in registers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Door {
    /// The stack pointer, a multiple of 8, and which function it is.
    place: u64,
    pub(crate) fp: u64,
}

const NUMBERS: u64 = 8;

impl Door {
    /// Of the function this is inlined into, which alone has that number, from 1 to 7.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn here<const NUMBER: u64>() -> Self {
        let (sp, fp): (u64, u64);
        // SAFETY: as in `Registers::here`.
        unsafe {
            std::arch::asm!(
                "mov {fp}, rbp",
                "mov {sp}, rsp",
                sp = out(reg) sp,
                fp = out(reg) fp,
                options(nomem, nostack, preserves_flags),
            );
        }
        Self {
            place: sp | NUMBER,
            fp,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    #[inline(always)]
    pub(crate) fn here<const NUMBER: u64>() -> Self {
        Self {
            place: NUMBER,
            fp: 0,
        }
    }

    /// The function and its stack pointer in one word.
    #[inline(always)]
    pub(crate) fn place(self) -> u64 {
        self.place
    }

    #[inline(always)]
    pub(crate) fn sp(self) -> u64 {
        self.place & !(NUMBERS - 1)
    }

    #[cfg(any(test, feature = "internals"))]
    pub(crate) fn at(sp: u64, fp: u64) -> Self {
        Self { place: sp | 1, fp }
    }
}

/// Does nothing, after a call, so that the caller's frame stays on the stack during the
/// call: nothing that is done last in a function needs its frame.
#[inline(always)]
pub(crate) fn stay() {
    // SAFETY: no instruction; the compiler may not leave it out.
    unsafe { std::arch::asm!("", options(nomem, nostack, preserves_flags)) };
}
