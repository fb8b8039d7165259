//! Stacks that a walk cannot make sense of: code made at run time, wrong frame pointers,
//! return addresses that lead anywhere, stacks that end at once. Every block is
//! recorded, nothing outside of the stack is read, and what was cut short is counted.

use crate::support::Scenario;
use crate::support::blocks::{Block, Numbers};
use crate::support::child::{Child, setting, tell};
use heapledger::Profiler;
use std::arch::global_asm;
use std::ffi::c_void;
use std::hint::black_box;

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario::new(
        "hostile/code_made_at_run_time",
        code_made_at_run_time,
        |child| {
            let profile = child.run().exited_with(0).profile();
            let sum = profile.sum_in("three_in_callback");
            assert_eq!(
                (sum.tbk, sum.tb, sum.ebk),
                (3 * MADE * 3, 3 * MADE * (33 + 66 + 99), MADE * 3)
            );
            // Nothing beyond the code without unwind information.
            assert!(profile.points_in("code_made_at_run_time").is_empty());
            assert_eq!(profile.refused().truncated_stacks, 3 * MADE * 3);
        },
    ),
    Scenario::new(
        "hostile/wrong_frame_pointers",
        wrong_frame_pointers,
        survives,
    ),
    Scenario::new(
        "hostile/wrong_return_addresses",
        wrong_return_addresses,
        survives,
    ),
    Scenario::new(
        "hostile/stacks_that_end_at_once",
        stacks_that_end_at_once,
        survives,
    ),
];

#[track_caller]
fn survives(child: Child) {
    let ended = child.run().exited_with(0);
    let sum = ended.profile().sum_in("three_in_callback");
    let times = ended.told("times");
    assert_eq!((sum.tbk, sum.tb, sum.ebk), (3 * times, 198 * times, times));
    // Most of what is wrong is seen to be wrong.
    let truncated = ended.profile().refused().truncated_stacks;
    assert!(truncated > times, "{truncated} of {}", 3 * times);
}

/// The middle one stays.
#[inline(never)]
extern "C" fn three_in_callback() {
    let [first, second, third] = [33, 66, 99].map(Block::new);
    third.free();
    first.free();
    second.keep();
}

type Callback = extern "C" fn();

fn times() -> u64 {
    setting("HEAPLEDGER_TEST_CAPTURES", 5_000)
}

// ---- code made at run time ----------------------------------------------------------

const MADE: u64 = 1000;

/// A page of memory that code can be written to, and run.
fn page_of_code(code: &[u8]) -> extern "C" fn(Callback) {
    // SAFETY: a new mapping, written to within its bounds; the code calls its first
    // argument and returns.
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        );
        assert!(page != libc::MAP_FAILED);
        page.cast::<u8>()
            .copy_from_nonoverlapping(code.as_ptr(), code.len());
        assert_eq!(
            libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC),
            0
        );
        std::mem::transmute::<*mut c_void, extern "C" fn(Callback)>(page)
    }
}

fn code_made_at_run_time() {
    let with_frame_pointer = page_of_code(&[
        0x55, // push rbp
        0x48, 0x89, 0xe5, // mov rbp, rsp
        0xff, 0xd7, // call rdi
        0x5d, // pop rbp
        0xc3, // ret
    ]);
    let without = page_of_code(&[
        0x48, 0x83, 0xec, 0x08, // sub rsp, 8
        0xff, 0xd7, // call rdi
        0x48, 0x83, 0xc4, 0x08, // add rsp, 8
        0xc3, // ret
    ]);
    // Uses rbp for something else.
    let wild = page_of_code(&[
        0x55, // push rbp
        0x48, 0xc7, 0xc5, 0xf8, 0xff, 0xff, 0xff, // mov rbp, -8
        0xff, 0xd7, // call rdi
        0x5d, // pop rbp
        0xc3, // ret
    ]);
    let _profiler = Profiler::new_heap();
    for _ in 0..MADE {
        with_frame_pointer(three_in_callback);
        without(three_in_callback);
        wild(three_in_callback);
    }
}

// ---- wrong frame pointers ---------------------------------------------------------------

global_asm!(
    // fn(callback, frame pointer): its unwind information says that the frame is found by
    // rbp, and rbp is the second argument.
    ".globl heapledger_test_with_frame_pointer",
    ".type heapledger_test_with_frame_pointer, @function",
    "heapledger_test_with_frame_pointer:",
    ".cfi_startproc",
    "push rbp",
    ".cfi_def_cfa_offset 16",
    ".cfi_offset rbp, -16",
    "mov rbp, rsp",
    ".cfi_def_cfa_register rbp",
    "push rbx",
    "sub rsp, 8",
    "mov rbx, rbp",
    "mov rbp, rsi",
    "call rdi",
    "mov rbp, rbx",
    "add rsp, 8",
    "pop rbx",
    "pop rbp",
    ".cfi_def_cfa rsp, 8",
    "ret",
    ".cfi_endproc",
    ".size heapledger_test_with_frame_pointer, . - heapledger_test_with_frame_pointer",
    // fn(callback, return address, saved registers): calls the callback, with the third
    // argument, as if from the second. It does not return but goes on by:
    ".globl heapledger_test_called_from",
    ".type heapledger_test_called_from, @function",
    "heapledger_test_called_from:",
    "mov [rdx], rbx",
    "mov [rdx + 8], rbp",
    "mov [rdx + 16], r12",
    "mov [rdx + 24], r13",
    "mov [rdx + 32], r14",
    "mov [rdx + 40], r15",
    "mov [rdx + 48], rsp",
    "push rsi",
    "push rsi",
    "mov rax, rdi",
    "mov rdi, rdx",
    "jmp rax",
    ".size heapledger_test_called_from, . - heapledger_test_called_from",
    // fn(saved registers)
    ".globl heapledger_test_go_on",
    ".type heapledger_test_go_on, @function",
    "heapledger_test_go_on:",
    "mov rbx, [rdi]",
    "mov rbp, [rdi + 8]",
    "mov r12, [rdi + 16]",
    "mov r13, [rdi + 24]",
    "mov r14, [rdi + 32]",
    "mov r15, [rdi + 40]",
    "mov rsp, [rdi + 48]",
    "ret",
    ".size heapledger_test_go_on, . - heapledger_test_go_on",
    // fn(callback, end of a stack): runs the callback on that stack. Its unwind
    // information is that of a function with a frame of 1 KiB.
    ".globl heapledger_test_on_stack",
    ".type heapledger_test_on_stack, @function",
    "heapledger_test_on_stack:",
    ".cfi_startproc",
    "push rbx",
    ".cfi_def_cfa_offset 1024",
    "mov rbx, rsp",
    "mov rsp, rsi",
    "call rdi",
    "mov rsp, rbx",
    "pop rbx",
    "ret",
    ".cfi_endproc",
    ".size heapledger_test_on_stack, . - heapledger_test_on_stack",
);

unsafe extern "C" {
    #[link_name = "heapledger_test_with_frame_pointer"]
    fn with_frame_pointer(callback: Callback, frame_pointer: u64);
    #[link_name = "heapledger_test_called_from"]
    fn called_from(
        callback: unsafe extern "C" fn(*mut Saved),
        return_address: u64,
        saved: *mut Saved,
    );
    #[link_name = "heapledger_test_go_on"]
    fn go_on(saved: *mut Saved) -> !;
    #[link_name = "heapledger_test_on_stack"]
    fn on_stack(callback: Callback, end: *mut c_void);
}

/// Words that mean nothing, and words that almost do.
struct WrongWords {
    numbers: Numbers,
    heap: Block,
    pages: u64,
}

impl WrongWords {
    fn new() -> Self {
        // SAFETY: a new mapping.
        let pages = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                1 << 20,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        Self {
            numbers: Numbers::new(5),
            heap: Block::new(4096),
            pages: pages.addr() as u64,
        }
    }

    fn next(&mut self) -> u64 {
        let here = (&raw const *self).addr() as u64;
        let near = self.numbers.below(1 << 14) as u64;
        let far = (self.numbers.below(1 << 30) as u64) << 17 | near;
        let code = three_in_callback as *const () as u64;
        let of_library = libc::qsort as *const () as u64;
        match self.numbers.below(13) {
            0 => near,
            1 => near.wrapping_neg(),
            2 => far,
            3 => far << 30,
            4 => here + near,
            5 => (here + near) & !7,
            6 => (here & !7).wrapping_sub(near & !7),
            7 => self.heap.address() as u64 + (near & 4088),
            8 => self.pages + (near << 6),
            9 => code + near,
            10 => code.wrapping_sub(near),
            11 => of_library + near,
            _ => of_library.wrapping_sub(near & !15),
        }
    }
}

fn wrong_frame_pointers() {
    let mut words = WrongWords::new();
    let times = times();
    let _profiler = Profiler::new_heap();
    for _ in 0..times {
        // SAFETY: the callback neither looks at its caller's frame nor unwinds.
        unsafe { with_frame_pointer(three_in_callback, words.next()) };
    }
    tell("times", times);
}

// ---- wrong return addresses ---------------------------------------------------------------

#[repr(C)]
struct Saved([u64; 7]);

unsafe extern "C" fn callback_from_nowhere(saved: *mut Saved) {
    three_in_callback();
    // SAFETY: what was saved is of the function below this frame, which owns
    // nothing that is dropped.
    unsafe { go_on(saved) }
}

fn wrong_return_addresses() {
    let mut words = WrongWords::new();
    let times = times();
    let _profiler = Profiler::new_heap();
    let mut saved = Saved([0; 7]);
    for _ in 0..times {
        // SAFETY: the callback does not return, and goes on after this call.
        unsafe {
            called_from(
                callback_from_nowhere,
                words.next(),
                black_box(&raw mut saved),
            )
        };
    }
    tell("times", times);
}

// ---- stacks that end at once ------------------------------------------------------------

const STACK_BYTES: usize = 256 << 10;

/// Stacks between pages that cannot be read; each a new one, at whatever place. The
/// frame that they begin with claims to be larger than what is there.
fn stacks_that_end_at_once() {
    let times = times() / 10;
    let mut numbers = Numbers::new(6);
    let _profiler = Profiler::new_heap();
    for _ in 0..times {
        let usable = STACK_BYTES - 4096 * numbers.below(20);
        // SAFETY: a new mapping, of which the middle is made usable, and which is
        // left before it is unmapped.
        unsafe {
            let map = libc::mmap(
                std::ptr::null_mut(),
                STACK_BYTES + 8192,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            assert!(map != libc::MAP_FAILED);
            let low = map.byte_add(4096);
            assert_eq!(
                libc::mprotect(low, usable, libc::PROT_READ | libc::PROT_WRITE),
                0
            );
            on_stack(three_in_callback, low.byte_add(usable));
            assert_eq!(libc::munmap(map, STACK_BYTES + 8192), 0);
        }
    }
    tell("times", times);
}
