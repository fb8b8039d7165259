//! Which part of a stack is the user's.

use std::ops::Range;

use super::frames::{Frame, Frames, Place};
use super::names::{self, Owner};
use super::symbols::Symbols;

/// How much of each stack is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trim {
    /// All of it, with the frames of the profiler and of the runtime.
    Off,
    /// Without these, and at most this many frames; inlined ones do not count.
    To(usize),
}

/// Whose code each frame of `symbols` is, by its index.
///
/// A function without a path in its name, inlined into the profiler or the allocator, is
/// part of it.
pub(super) fn owners_of_frames(symbols: &Symbols) -> Vec<Owner> {
    let frames = &symbols.frames;
    let mut owners: Vec<Owner> = frames.iter().map(|frame| owner_of(frames, frame)).collect();
    for list in symbols.lists() {
        let Some(outermost) = list.last().map(|frame| owners[frame.index()]) else {
            continue;
        };
        if matches!(outermost, Owner::Profiler | Owner::Allocator) {
            for &frame in list {
                let function = frames.function(frame).map(|function| frames.text(function));
                if function.is_some_and(|name| !names::is_path(name)) {
                    owners[frame.index()] = outermost;
                }
            }
        }
    }
    owners
}

pub(super) fn owner_of(frames: &Frames, frame: Frame) -> Owner {
    match frame {
        Frame::Code {
            function: Some(function),
            place,
            ..
        } => {
            let file = match place {
                Place::Source { file, .. } => Some(frames.text(file)),
                Place::Module(_) => None,
            };
            Owner::of(frames.text(function), file)
        }
        Frame::Code { function: None, .. } | Frame::Note(_) => Owner::Nobody,
    }
}

/// The frames to show of a stack (innermost first), never none of a stack that has any.
///
/// At the inner end the way into the profiler goes, up to the last frame of the
/// allocator in the unbroken run of frames that are not the user's. The run must
/// be unbroken: a program that allocates in a panic hook, or inside of a function of
/// this crate that takes a closure, has such frames further out too.
///
/// At the outer end goes what calls `main` or a thread's closure.
pub(super) fn visible(stack: &[Owner]) -> Range<usize> {
    let start = inner_plumbing(stack);
    if start == stack.len() {
        let own = stack.iter().position(|&owner| owner != Owner::Profiler);
        return own.unwrap_or(stack.len().saturating_sub(1))..stack.len();
    }
    let end = stack.len() - outer_runtime(&stack[start..]);
    // An allocation of the runtime itself: all that it has to show is the runtime.
    if end == start {
        start..stack.len()
    } else {
        start..end
    }
}

fn inner_plumbing(stack: &[Owner]) -> usize {
    use Owner::{Allocator, Core, Nobody, Profiler};
    let run = stack
        .iter()
        .take_while(|owner| matches!(owner, Profiler | Allocator | Core | Nobody));
    let last = run
        .enumerate()
        .filter(|(_, owner)| matches!(owner, Profiler | Allocator))
        .last();
    last.map_or(0, |(at, _)| at + 1)
}

/// How many frames at the outer end are the runtime's.
fn outer_runtime(stack: &[Owner]) -> usize {
    use Owner::{Nobody, Runtime, RuntimeBoundary};
    let boundary = stack.iter().position(|&owner| owner == RuntimeBoundary);
    let inside = &stack[..boundary.unwrap_or(stack.len())];
    let run = inside
        .iter()
        .rev()
        .take_while(|owner| matches!(owner, Runtime | Nobody));
    let last = run
        .enumerate()
        .filter(|(_, owner)| **owner == Runtime)
        .last();
    stack.len() - inside.len() + last.map_or(0, |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown<'a>(stack: &[&'a str]) -> Vec<&'a str> {
        let owners: Vec<Owner> = stack
            .iter()
            .map(|name| {
                if *name == "???" {
                    Owner::Nobody
                } else {
                    Owner::of(name, None)
                }
            })
            .collect();
        stack[visible(&owners)].to_vec()
    }

    const MAIN_THREAD: &[&str] = &[
        "core::ops::function::FnOnce::call_once",
        "std::sys::backtrace::__rust_begin_short_backtrace",
        "std::rt::lang_start::{{closure}}",
        "core::ops::function::impls::<impl core::ops::function::FnOnce<A> for &F>::call_once",
        "std::panicking::catch_unwind::do_call",
        "std::panicking::catch_unwind",
        "std::panic::catch_unwind",
        "std::rt::lang_start_internal::{{closure}}",
        "std::rt::lang_start_internal",
        "std::rt::lang_start",
        "main",
        "__libc_start_call_main",
        "__libc_start_main_impl",
        "_start",
    ];

    const THREAD: &[&str] = &[
        "std::sys::backtrace::__rust_begin_short_backtrace",
        "std::thread::lifecycle::spawn_unchecked::{{closure}}::{{closure}}",
        "<core::panic::unwind_safe::AssertUnwindSafe<F> as core::ops::function::FnOnce<()>>::call_once",
        "std::panicking::catch_unwind::do_call",
        "__rust_try",
        "core::ops::function::FnOnce::call_once{{vtable.shim}}",
        "<alloc::boxed::Box<F,A> as core::ops::function::FnOnce<Args>>::call_once",
        "std::sys::thread::unix::Thread::new::thread_start",
        "start_thread",
        "clone3",
    ];

    const DEBUG_ALLOC: &[&str] = &[
        "heapledger::capture::walk",
        "core::option::Option<T>::map",
        "heapledger::alloc::record",
        "<heapledger::alloc::Alloc as core::alloc::global::GlobalAlloc>::alloc",
        "__rustc::__rust_alloc",
        "alloc::alloc::alloc",
        "alloc::alloc::Global::alloc_impl",
        "<alloc::alloc::Global as core::alloc::Allocator>::allocate",
        "alloc::raw_vec::RawVecInner<A>::try_allocate_in",
        "alloc::raw_vec::RawVecInner<A>::with_capacity_in",
    ];

    fn around<'a>(inner: &[&'a str], middle: &[&'a str], outer: &[&'a str]) -> Vec<&'a str> {
        [inner, middle, outer].concat()
    }

    #[test]
    fn both_ends_go_and_the_collection_stays() {
        let users = [
            "alloc::vec::Vec<T>::with_capacity",
            "app::load",
            "app::main",
        ];
        for outer in [MAIN_THREAD, THREAD] {
            assert_eq!(shown(&around(DEBUG_ALLOC, &users, outer)), users);
        }
    }

    #[test]
    fn release_stacks_with_few_frames() {
        let stack = [
            "<heapledger::alloc::Alloc<A> as core::alloc::global::GlobalAlloc>::alloc",
            "<alloc::string::String as core::convert::From<&str>>::from",
            "app::main",
            "std::sys::backtrace::__rust_begin_short_backtrace",
            "std::rt::lang_start_internal",
            "main",
            "???",
            "__libc_start_main",
            "_start",
        ];
        assert_eq!(shown(&stack), &stack[1..3]);
    }

    #[test]
    fn v0_names_and_a_wrapper_around_the_profiler() {
        let stack = [
            "heapledger::alloc::record",
            "<heapledger::alloc::Alloc as core::alloc::global::GlobalAlloc>::realloc",
            "<app::Tracking as core::alloc::global::GlobalAlloc>::realloc",
            "__rustc::__rust_realloc",
            "<alloc::alloc::Global>::grow_impl_runtime",
            "<alloc::alloc::Global as core::alloc::Allocator>::grow",
            "alloc::raw_vec::finish_grow",
            "<alloc::raw_vec::RawVecInner>::grow_amortized",
            "<alloc::raw_vec::RawVec<u8>>::grow_one",
            "<alloc::vec::Vec<u8>>::push",
            "app::fill::{closure#0}",
            "<app::Item as core::iter::Iterator>::for_each::<u8>",
            "app::main",
        ];
        assert_eq!(shown(&around(&stack, &[], MAIN_THREAD)), &stack[9..]);
    }

    #[test]
    fn the_test_harness_is_the_runtime() {
        let users = ["suite::reads_twice", "suite::reads_twice::{{closure}}"];
        let harness = [
            "core::ops::function::FnOnce::call_once",
            "test::__rust_begin_short_backtrace",
            "test::run_test_in_process::{{closure}}",
            "std::sys::backtrace::__rust_begin_short_backtrace",
            "start_thread",
        ];
        assert_eq!(shown(&around(DEBUG_ALLOC, &users, &harness)), users);
    }

    #[test]
    fn own_and_allocator_frames_further_out_stay() {
        let users = [
            "alloc::fmt::format",
            "app::hook",
            "std::panicking::rust_panic_with_hook",
            "alloc::raw_vec::capacity_overflow",
            "app::measured",
            "heapledger::measure::measure",
            "app::main",
        ];
        assert_eq!(shown(&around(DEBUG_ALLOC, &users, MAIN_THREAD)), users);
    }

    #[test]
    fn ad_hoc_events_show_their_caller() {
        let stack = ["heapledger::ad_hoc_event", "app::step", "app::main"];
        assert_eq!(shown(&around(&stack, &[], MAIN_THREAD)), &stack[1..]);
    }

    #[test]
    fn the_main_of_a_c_program_is_the_users() {
        let stack = [
            "__rust_alloc",
            "app_open",
            "main",
            "__libc_start_call_main",
            "_start",
        ];
        assert_eq!(shown(&stack), &stack[1..3]);
    }

    #[test]
    fn something_is_always_shown() {
        assert_eq!(shown(&[]), [""; 0]);
        assert_eq!(shown(&["???", "???"]), ["???", "???"]);
        assert_eq!(
            shown(&["heapledger::a", "heapledger::b"]),
            ["heapledger::b"]
        );
        assert_eq!(shown(&["heapledger::a", "__rust_alloc"]), ["__rust_alloc"]);
        let runtime = [
            "std::thread::Thread::new",
            "std::rt::lang_start_internal",
            "main",
            "_start",
        ];
        assert_eq!(shown(&around(DEBUG_ALLOC, &runtime, &[])), runtime[..3]);
        let only_runtime = ["std::rt::init", "std::rt::lang_start_internal", "_start"];
        assert_eq!(
            shown(&around(DEBUG_ALLOC, &only_runtime, &[])),
            only_runtime
        );
    }
}
