//! Libraries that are unloaded, and others that are loaded in their place.

use crate::support::Scenario;
use crate::support::blocks::Block;
use crate::support::child::{Ended, tell};
use crate::support::profile::Profile;
use heapledger::Profiler;
use std::ffi::{CStr, CString, c_void};
use std::path::Path;
use std::process::Command;

pub(crate) const SCENARIOS: &[Scenario] = &[
    // Frames of different sizes: the first one's unwind rules are wrong for the second.
    Scenario::new("unloading/another_layout", another_layout, |child| {
        let ended = child.run().exited_with(0);
        assert_eq!(ended.told("at the same address"), 1);
        blocks_are_of(&ended, "of_library_a", 10);
        blocks_are_of(&ended, "of_library_b", 20);
        assert_eq!(profile_of(&ended).refused().truncated_stacks, 0);
    }),
    // Calls from other places: nothing is wrong but the names.
    Scenario::new("unloading/other_calls", other_calls, |child| {
        let ended = child.run().exited_with(0);
        assert_eq!(ended.told("at the same address"), 1);
        blocks_are_of(&ended, "of_library_a", 10);
        blocks_are_of(&ended, "of_library_b", 20);
    }),
    Scenario::new("unloading/back_again", back_again, |child| {
        let ended = child.run().exited_with(0);
        assert_eq!(ended.told("at the same address"), 1);
        blocks_are_of(&ended, "of_library_a", 30);
        blocks_are_of(&ended, "of_library_b", 20);
    }),
    Scenario::new("unloading/built_anew", built_anew, |child| {
        let ended = child.run().exited_with(0);
        // What lies there now is not what was loaded: no name is better than a wrong one.
        let profile = profile_of(&ended);
        assert!(profile.points_in("of_library_a").is_empty());
        assert!(profile.points_in("of_library_b").is_empty());
        assert_eq!(profile.sum_in("called").tbk, 10);
        assert!(profile.has_frame("??? (in ") && profile.has_frame("library_a.so)"));
    }),
];

/// The libraries lie beside it.
#[track_caller]
fn profile_of(ended: &Ended) -> Profile {
    Profile::read(&ended.path("dhat-heap.json"))
}

#[track_caller]
fn blocks_are_of(ended: &Ended, function: &str, blocks: u64) {
    let profile = profile_of(ended);
    let points = profile.points_in(function);
    assert_eq!(
        points.iter().map(|point| point.tbk).sum::<u64>(),
        blocks,
        "{function}"
    );
    // The walk went on behind the library.
    let called = profile.points_in("called");
    let both = points
        .iter()
        .filter(|point| called.iter().any(|other| std::ptr::eq(*other, **point)));
    assert_eq!(both.count(), points.len(), "{function}");
}

/// A library with a function that calls back, from a frame of so many bytes and
/// after so many instructions.
fn build(name: &str, function: &str, frame_bytes: usize, padding: usize) -> CString {
    let source = format!(
        "void *{function}(void *(*allocate)(void)) {{
            volatile char frame[{frame_bytes}];
            frame[0] = 1;
            __asm__ volatile (\".fill {padding}, 1, 0x90\");
            void *block = allocate();
            frame[1] = 2;
            return block;
        }}"
    );
    let (file, library) = (format!("{name}.c"), format!("{name}.so"));
    std::fs::write(&file, source).unwrap();
    let built = Command::new("cc")
        .args([
            "-O1",
            "-g",
            "-fomit-frame-pointer",
            "-shared",
            "-fPIC",
            "-Wl,--build-id",
            "-o",
        ])
        .args([&library, &file])
        .status();
    assert!(built.expect("a C compiler").success());
    let path = std::env::current_dir().unwrap().join(library);
    CString::new(path.to_str().unwrap()).unwrap()
}

type Function = extern "C" fn(extern "C" fn() -> *mut c_void) -> *mut c_void;

struct Library {
    handle: *mut c_void,
    function: Function,
}

impl Library {
    /// Allocates nothing: what the profiler maps for a new stack could take the place
    /// of the library before.
    fn open(path: &CStr, function: &CStr) -> Self {
        // SAFETY: a library without constructors, and its function.
        unsafe {
            let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
            assert!(!handle.is_null(), "{path:?}");
            let address = libc::dlsym(handle, function.as_ptr());
            assert!(!address.is_null());
            let function = std::mem::transmute::<*mut c_void, Function>(address);
            Self { handle, function }
        }
    }

    fn close(self) {
        // SAFETY: opened once; nothing of it is in use.
        assert_eq!(unsafe { libc::dlclose(self.handle) }, 0);
    }
}

extern "C" fn allocate() -> *mut c_void {
    let block = Block::new(24);
    block.address() as *mut c_void
}

/// The same call for all libraries.
#[inline(never)]
fn called(library: &Library, times: usize) {
    for _ in 0..times {
        std::hint::black_box((library.function)(allocate));
    }
}

fn both(a: &CString, b: &CString) {
    let _profiler = Profiler::new_heap();
    let library = Library::open(a, c"of_library_a");
    called(&library, 10);
    let first = library.function as usize;
    library.close();
    let library = Library::open(b, c"of_library_b");
    tell(
        "at the same address",
        u64::from(library.function as usize == first),
    );
    called(&library, 20);
}

fn another_layout() {
    let a = build("library_a", "of_library_a", 400, 0);
    let b = build("library_b", "of_library_b", 800, 0);
    both(&a, &b);
}

fn other_calls() {
    let a = build("library_a", "of_library_a", 400, 0);
    let b = build("library_b", "of_library_b", 400, 100);
    both(&a, &b);
}

fn back_again() {
    let a = build("library_a", "of_library_a", 400, 0);
    let b = build("library_b", "of_library_b", 800, 0);
    let _profiler = Profiler::new_heap();
    let mut at = Vec::with_capacity(3);
    for (path, function, times) in [
        (&a, c"of_library_a", 10),
        (&b, c"of_library_b", 20),
        (&a, c"of_library_a", 20),
    ] {
        let library = Library::open(path, function);
        at.push(library.function as usize);
        called(&library, times);
        library.close();
    }
    tell(
        "at the same address",
        u64::from(at[0] == at[1] && at[0] == at[2]),
    );
}

fn built_anew() {
    let a = build("library_a", "of_library_a", 400, 0);
    let _profiler = Profiler::new_heap();
    let library = Library::open(&a, c"of_library_a");
    called(&library, 10);
    library.close();
    std::fs::remove_file(Path::new("library_a.so")).unwrap();
    build("library_a", "of_library_b", 400, 0);
}
