//! Reading the stack: every word a walk looks at comes through here, checked
//! against the bounds of the stack it lies in. So a wrong unwind rule ends a
//! walk, and never faults; and a walk can be tested on an array.

/// A stack word that a walk has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) address: u64,
    pub(crate) value: u64,
}

/// Stack words by address.
pub(crate) trait StackMemory {
    /// The word at `address`, or None if that is not a word of this stack
    /// outward of `sp`, the stack pointer of the frame that asks.
    fn word(&self, sp: u64, address: u64) -> Option<u64>;

    /// How many of `words`, from the first on, to go back over because of a
    /// change: one more than the index of the last word that no longer holds
    /// its value, 0 if all do. All were read from this stack before, and lie
    /// in frames that are still on it.
    fn unchanged_from(&self, words: &[Word]) -> usize;

    /// Whether a caller's stack pointer may be `to` when its callee's was
    /// `from`: outward is upward, so that every walk ends.
    fn may_follow(&self, from: u64, to: u64) -> bool;
}

/// The address range of a thread's stack; `low` is its deepest extent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StackBounds {
    pub(crate) low: u64,
    pub(crate) high: u64,
}

impl StackBounds {
    #[inline]
    pub(crate) fn contains(&self, sp: u64) -> bool {
        sp >= self.low && sp < self.high
    }

    /// The calling thread's stack, from the threads library. Empty when it
    /// cannot tell. Costs some 30 µs on the main thread (it reads the process's
    /// memory map), so ask once a thread.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_this_thread() -> Self {
        use std::mem::MaybeUninit;
        let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
        let mut low = std::ptr::null_mut();
        let mut bytes = 0;
        // SAFETY: the attributes are read only after they were filled in, and
        // destroyed exactly once.
        unsafe {
            if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
                return Self::default();
            }
            let found = libc::pthread_attr_getstack(attributes.as_ptr(), &mut low, &mut bytes);
            libc::pthread_attr_destroy(attributes.as_mut_ptr());
            if found != 0 {
                return Self::default();
            }
        }
        let low = low as u64;
        Self {
            low,
            high: low.saturating_add(bytes as u64),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of_this_thread() -> Self {
        Self::default()
    }
}

/// How far above the stack pointer a walk may read on a stack that is not the
/// thread's own (a coroutine's, a signal handler's): such stacks tell nobody
/// their end, and are small.
const FOREIGN_STACK_WINDOW_BYTES: u64 = 64 * 1024;

/// The thread's own stack, from the stack pointer up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnStack(StackBounds);

impl OwnStack {
    /// None: `sp` is not on that stack.
    ///
    /// # Safety
    /// `sp` is the running thread's stack pointer and stays at or below that
    /// value for as long as the result is used, and `bounds` are its stack's.
    #[inline(always)]
    pub(crate) unsafe fn above(sp: u64, bounds: StackBounds) -> Option<Self> {
        bounds
            .contains(sp)
            .then_some(Self(StackBounds { low: sp, ..bounds }))
    }
}

impl StackMemory for OwnStack {
    #[inline(always)]
    fn word(&self, sp: u64, address: u64) -> Option<u64> {
        // `sp` of a walk only grows, from the bounds' low end.
        debug_assert!(sp >= self.0.low);
        if !address.is_multiple_of(8) || address < sp || address >= self.0.high {
            return None;
        }
        // SAFETY: an aligned word between the stack pointer and the end of
        // the mapped stack (the type's contract). Other frames of this thread
        // own the word and are suspended meanwhile.
        Some(unsafe { std::ptr::read_volatile(address as *const u64) })
    }

    /// The inner loop of all capturing: two thirds of its instructions.
    #[inline(always)]
    fn unchanged_from(&self, words: &[Word]) -> usize {
        let changed = |word: &Word| {
            // SAFETY: the words were read through `word` before, so they lie
            // in the mapped stack; and above the stack pointer, as their
            // frames do.
            unsafe { std::ptr::read_volatile(word.address as *const u64) != word.value }
        };
        let mut end = words.len();
        for [a, b, c, d] in words.as_rchunks::<4>().1.iter().rev() {
            if changed(d) || changed(c) || changed(b) || changed(a) {
                break;
            }
            end -= 4;
        }
        while end > 0 && !changed(&words[end - 1]) {
            end -= 1;
        }
        end
    }

    #[inline(always)]
    fn may_follow(&self, from: u64, to: u64) -> bool {
        to > from
    }
}

/// A stack that is not the thread's own: a window of it, and the thread's own
/// stack, to which a walk may cross over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ForeignStack {
    own: StackBounds,
    window: StackBounds,
}

impl ForeignStack {
    /// # Safety
    /// As for [`OwnStack::above`], for a stack pointer that is not on the
    /// thread's own stack. At least [`FOREIGN_STACK_WINDOW_BYTES`] above it
    /// are mapped, or the walk's rules are right; no more can be known.
    pub(crate) unsafe fn above(sp: u64, own: StackBounds) -> Self {
        Self {
            own,
            window: StackBounds {
                low: sp,
                high: sp.saturating_add(FOREIGN_STACK_WINDOW_BYTES),
            },
        }
    }
}

impl StackMemory for ForeignStack {
    fn word(&self, _sp: u64, address: u64) -> Option<u64> {
        if !address.is_multiple_of(8)
            || !(self.own.contains(address) || self.window.contains(address))
        {
            return None;
        }
        // SAFETY: an aligned word of one of the two stacks, by the type's
        // contract; the frames that own it are suspended meanwhile.
        Some(unsafe { std::ptr::read_volatile(address as *const u64) })
    }

    fn unchanged_from(&self, words: &[Word]) -> usize {
        // Nothing of these stacks is remembered.
        words.len()
    }

    fn may_follow(&self, from: u64, to: u64) -> bool {
        match self.own.contains(from) {
            true => to > from,
            false => self.own.contains(to) || to > from,
        }
    }
}
