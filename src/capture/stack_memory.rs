//! Reading the stack: every word a walk looks at comes through here, checked
//! against the bounds of the stack it lies in. So a wrong unwind rule ends a
//! walk, and never faults; and a walk can be tested on an array.

/// Stack words by address.
pub(crate) trait StackMemory {
    /// The word at `address`, or None if that is not a word of this stack.
    fn word(&self, address: u64) -> Option<u64>;

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

/// The stacks a walk of the running thread may read: from the stack pointer up
/// to the end of the thread's own stack, and, when it starts on another stack,
/// a window of that one too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveStack {
    own: StackBounds,
    foreign: StackBounds,
}

impl LiveStack {
    /// # Safety
    /// `sp` is the running thread's stack pointer and stays at or below that
    /// value for as long as the result is used, and `own` are its bounds.
    #[inline]
    pub(crate) unsafe fn new(own: StackBounds, sp: u64) -> Self {
        if own.contains(sp) {
            Self {
                own: StackBounds { low: sp, ..own },
                foreign: StackBounds::default(),
            }
        } else {
            Self {
                own,
                foreign: StackBounds {
                    low: sp,
                    high: sp.saturating_add(FOREIGN_STACK_WINDOW_BYTES),
                },
            }
        }
    }
}

impl StackMemory for LiveStack {
    #[inline]
    fn word(&self, address: u64) -> Option<u64> {
        let inside = |bounds: &StackBounds| address >= bounds.low && address < bounds.high;
        if address % 8 != 0 || !(inside(&self.own) || inside(&self.foreign)) {
            return None;
        }
        // SAFETY: an aligned word between the stack pointer and the end of a
        // mapped stack (the type's contract). Other frames of this thread own
        // the word and are suspended meanwhile.
        Some(unsafe { std::ptr::read_volatile(address as *const u64) })
    }

    /// From a foreign stack a walk may cross over to the thread's own, once.
    #[inline]
    fn may_follow(&self, from: u64, to: u64) -> bool {
        if self.own.contains(from) {
            to > from
        } else {
            self.own.contains(to) || to > from
        }
    }
}
