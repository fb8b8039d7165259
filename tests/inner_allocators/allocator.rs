//! The allocators to choose from, by an environment variable: once a process,
//! because a block goes back to where it came from.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};
use std::ffi::CStr;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

pub(crate) const VARIABLE: &CStr = c"HEAPLEDGER_TEST_ALLOCATOR";

const UNDECIDED: u8 = 0;
const SYSTEM: u8 = 1;
const ODD: u8 = 2;
const MIMALLOC: u8 = 3;
const SIGNAL_SAFE: u8 = 4;

static CHOICE: AtomicU8 = AtomicU8::new(UNDECIDED);
static ODD_PLACES: Odd = Odd::new();
static FOR_HANDLERS: Bump = Bump::new();

/// Set: every request is refused.
pub(crate) static REFUSING: AtomicBool = AtomicBool::new(false);

/// Set: calls for blocks of these sizes take so much longer.
pub(crate) static BURNING: AtomicBool = AtomicBool::new(false);
pub(crate) const BURNED_BY_FREE: [(usize, Duration); 2] = [
    (1001, Duration::from_micros(10)),
    (1002, Duration::from_micros(40)),
];
pub(crate) const BURNED_BY_ALLOC: (usize, Duration) = (1003, Duration::from_micros(20));

fn burn(bytes: usize, (burning, time): (usize, Duration)) {
    if bytes == burning && BURNING.load(Relaxed) {
        let start = Instant::now();
        while start.elapsed() < time {
            std::hint::spin_loop();
        }
    }
}

/// Whether to refuse this request.
fn refuses() -> bool {
    if REFUSING.load(Relaxed) {
        return true;
    }
    let (one_in, random) = REFUSED_ONE_IN.get();
    if one_in == 0 {
        return false;
    }
    // Knuth's linear congruential generator.
    let random = random.wrapping_mul(6364136223846793005).wrapping_add(1);
    REFUSED_ONE_IN.set((one_in, random));
    (random >> 33).is_multiple_of(one_in)
}

thread_local! {
    /// Set by signal handlers: serve this thread from memory of their own, as
    /// the system's allocator cannot be entered twice.
    pub(crate) static IN_HANDLER: Cell<bool> = const { Cell::new(false) };

    /// How many of this thread's requests one is refused of, at random (0: none), and
    /// where the random numbers are.
    pub(crate) static REFUSED_ONE_IN: Cell<(u64, u64)> = const { Cell::new((0, 1)) };
}

fn choice() -> u8 {
    match CHOICE.load(Relaxed) {
        UNDECIDED => {
            // SAFETY: a look-up by a NUL-terminated name, which does not
            // allocate; nobody changes the environment.
            let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
            let name = match value.is_null() {
                true => c"",
                // SAFETY: the environment's strings end in NUL.
                false => unsafe { CStr::from_ptr(value) },
            };
            let choice = match name.to_bytes() {
                b"odd" => ODD,
                b"mimalloc" => MIMALLOC,
                b"signal-safe" => SIGNAL_SAFE,
                _ => SYSTEM,
            };
            CHOICE.store(choice, Relaxed);
            choice
        }
        choice => choice,
    }
}

pub(crate) struct Chosen;

// SAFETY: each method passes everything on to one allocator, the same one for
// all of a block's life.
unsafe impl GlobalAlloc for Chosen {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if refuses() {
            return std::ptr::null_mut();
        }
        burn(layout.size(), BURNED_BY_ALLOC);
        // SAFETY: the caller's promises.
        unsafe {
            match choice() {
                ODD if Odd::serves(layout) => ODD_PLACES.alloc(layout),
                MIMALLOC => MiMalloc.alloc(layout),
                SIGNAL_SAFE if IN_HANDLER.get() => FOR_HANDLERS.alloc(layout),
                _ => System.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if refuses() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises.
        unsafe {
            match choice() {
                ODD if Odd::serves(layout) => {
                    let block = ODD_PLACES.alloc(layout);
                    block.write_bytes(0, layout.size());
                    block
                }
                MIMALLOC => MiMalloc.alloc_zeroed(layout),
                SIGNAL_SAFE if IN_HANDLER.get() => FOR_HANDLERS.alloc(layout),
                _ => System.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        for burned in BURNED_BY_FREE {
            burn(layout.size(), burned);
        }
        // SAFETY: the caller's promises.
        unsafe {
            match choice() {
                ODD if Odd::serves(layout) => ODD_PLACES.dealloc(block, layout),
                MIMALLOC => MiMalloc.dealloc(block, layout),
                SIGNAL_SAFE if FOR_HANDLERS.owns(block) => {}
                _ => System.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if refuses() {
            return std::ptr::null_mut();
        }
        // SAFETY: the caller's promises.
        unsafe {
            match choice() {
                MIMALLOC => MiMalloc.realloc(block, layout, new_size),
                SYSTEM => System.realloc(block, layout, new_size),
                // From one to another of them, perhaps.
                _ => {
                    let new =
                        self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
                    if new.is_null() {
                        return new;
                    }
                    new.copy_from_nonoverlapping(block, layout.size().min(new_size));
                    self.dealloc(block, layout);
                    new
                }
            }
        }
    }
}

/// Places small blocks 8 bytes apart, and those without an alignment at odd
/// addresses. The block freed last is given out first.
pub(crate) struct Odd {
    locked: AtomicBool,
    state: UnsafeCell<OddState>,
}

struct OddState {
    region: *mut u8,
    used: usize,
    /// Freed places by size in words; each holds the next one.
    free: [*mut u8; ODD_WORDS_MAX + 1],
}

const ODD_REGION_BYTES: usize = 1 << 30;
const ODD_WORDS_MAX: usize = 64;

// SAFETY: the state is used under the lock only.
unsafe impl Sync for Odd {}

impl Odd {
    const fn new() -> Self {
        Self {
            locked: AtomicBool::new(false),
            state: UnsafeCell::new(OddState {
                region: std::ptr::null_mut(),
                used: 0,
                free: [std::ptr::null_mut(); ODD_WORDS_MAX + 1],
            }),
        }
    }

    /// Blocks of others are the system's.
    fn serves(layout: Layout) -> bool {
        layout.align() <= 8 && Self::words(layout) <= ODD_WORDS_MAX
    }

    fn words(layout: Layout) -> usize {
        (layout.size() + Self::offset(layout)).div_ceil(8)
    }

    fn offset(layout: Layout) -> usize {
        match layout.align() {
            1 => layout.size() % 8,
            _ => 0,
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut OddState) -> T) -> T {
        while self.locked.swap(true, Acquire) {
            std::thread::yield_now();
        }
        // SAFETY: under the lock.
        let result = work(unsafe { &mut *self.state.get() });
        self.locked.store(false, Release);
        result
    }

    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let words = Self::words(layout);
        let place = self.with(|state| {
            let free = state.free[words];
            if !free.is_null() {
                // SAFETY: a freed place holds the next one.
                state.free[words] = unsafe { free.cast::<*mut u8>().read() };
                return free;
            }
            if state.region.is_null() {
                state.region = map(ODD_REGION_BYTES);
            }
            assert!(state.used + 8 * words <= ODD_REGION_BYTES);
            // SAFETY: within the region.
            let place = unsafe { state.region.add(state.used) };
            state.used += 8 * words;
            place
        });
        // SAFETY: the place has room for the offset and the block.
        unsafe { place.add(Self::offset(layout)) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let words = Self::words(layout);
        // SAFETY: as it was placed.
        let place = unsafe { block.sub(Self::offset(layout)) };
        self.with(|state| {
            // SAFETY: the place is free, aligned, and has at least one word.
            unsafe { place.cast::<*mut u8>().write(state.free[words]) };
            state.free[words] = place;
        });
    }
}

/// Serves signal handlers: no lock, nothing is used again.
pub(crate) struct Bump {
    region: AtomicUsize,
    used: AtomicUsize,
}

const BUMP_REGION_BYTES: usize = 8 << 30;

impl Bump {
    const fn new() -> Self {
        Self {
            region: AtomicUsize::new(0),
            used: AtomicUsize::new(0),
        }
    }

    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let at = self
            .used
            .fetch_add(layout.size().next_multiple_of(16), Relaxed);
        assert!(layout.align() <= 16 && at < BUMP_REGION_BYTES);
        std::ptr::with_exposed_provenance_mut(self.region.load(Relaxed) + at)
    }

    fn owns(&self, block: *mut u8) -> bool {
        let region = self.region.load(Relaxed);
        (region..region + BUMP_REGION_BYTES).contains(&block.addr())
    }
}

/// Before the first signal.
pub(crate) fn prepare_for_handlers() {
    let region = map(BUMP_REGION_BYTES).expose_provenance();
    FOR_HANDLERS.region.store(region, Relaxed);
}

fn map(bytes: usize) -> *mut u8 {
    // SAFETY: a new private mapping.
    let region = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    assert!(region != libc::MAP_FAILED);
    region.cast()
}
