//! Assertions that save the profile before they panic.

/// Asserts that a condition holds. If not, the profile is saved and the macro
/// panics. As with [`std::assert!`], a message may follow.
///
/// The condition runs with this thread's allocations left out of the record.
///
/// # Panics
/// If the condition does not hold. Also, without saving, if no profiler in
/// testing mode is running, or one whose assertion has failed before.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let _profiler = heapledger::Profiler::builder().testing().build();
///     let text = String::from("one block");
///     let stats = heapledger::HeapStats::get();
///     heapledger::assert!(stats.total_blocks <= 1, "{text} is all there is");
/// }
/// ```
#[macro_export]
macro_rules! assert {
    ($cond:expr $(,)?) => ({
        if $crate::check_assert_condition(|| $cond) {
            ::std::panic!("dhat: assertion failed: {}", ::std::stringify!($cond));
        }
    });
    ($cond:expr, $($arg:tt)+) => ({
        if $crate::check_assert_condition(|| $cond) {
            ::std::panic!(
                "dhat: assertion failed: {}: {}",
                ::std::stringify!($cond),
                ::std::format_args!($($arg)+)
            );
        }
    });
}

/// Asserts that two values are equal. If not, the profile is saved and the
/// macro panics. As with [`std::assert_eq!`], a message may follow.
///
/// # Panics
/// As [`assert!`](crate::assert!) does.
///
/// # Examples
/// ```
/// let _profiler = heapledger::Profiler::builder().ad_hoc().testing().build();
/// heapledger::ad_hoc_event(5);
/// heapledger::assert_eq!(heapledger::AdHocStats::get().total_units, 5);
/// ```
#[macro_export]
macro_rules! assert_eq {
    ($left:expr, $right:expr $(,)?) => ({
        if $crate::check_assert_condition(|| $left == $right) {
            ::std::panic!(
                "dhat: assertion failed: `(left == right)`\n  left: `{:?}`,\n right: `{:?}`",
                $left, $right
            );
        }
    });
    ($left:expr, $right:expr, $($arg:tt)+) => ({
        if $crate::check_assert_condition(|| $left == $right) {
            ::std::panic!(
                "dhat: assertion failed: `(left == right)`\n  left: `{:?}`,\n right: `{:?}`: {}",
                $left, $right, ::std::format_args!($($arg)+)
            );
        }
    });
}

/// Asserts that two values are not equal. If they are, the profile is saved
/// and the macro panics. As with [`std::assert_ne!`], a message may follow.
///
/// # Panics
/// As [`assert!`](crate::assert!) does.
///
/// # Examples
/// ```
/// let _profiler = heapledger::Profiler::builder().ad_hoc().testing().build();
/// heapledger::ad_hoc_event(5);
/// heapledger::assert_ne!(heapledger::AdHocStats::get().total_events, 0);
/// ```
#[macro_export]
macro_rules! assert_ne {
    ($left:expr, $right:expr $(,)?) => ({
        if $crate::check_assert_condition(|| $left != $right) {
            ::std::panic!(
                "dhat: assertion failed: `(left != right)`\n  left: `{:?}`,\n right: `{:?}`",
                $left, $right
            );
        }
    });
    ($left:expr, $right:expr, $($arg:tt)+) => ({
        if $crate::check_assert_condition(|| $left != $right) {
            ::std::panic!(
                "dhat: assertion failed: `(left != right)`\n  left: `{:?}`,\n right: `{:?}`: {}",
                $left, $right, ::std::format_args!($($arg)+)
            );
        }
    });
}

/// Runs `f` and checks that it panics with the message `expected`.
#[doc(hidden)]
pub fn assert_is_panic<R, F: FnOnce() -> R + std::panic::UnwindSafe>(f: F, expected: &str) {
    let Err(payload) = std::panic::catch_unwind(f) else {
        panic!("assert_is_panic: Not an error");
    };
    let text = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    match text {
        Some(actual) => std::assert_eq!(expected, actual),
        None => panic!("assert_is_panic: Not a string: {payload:?}"),
    }
}
