//! The platform's own unwinder, through the `backtrace` crate: for platforms
//! without a walker of ours, and for the rare frame whose unwind information
//! does not fit into a rule. Some hundred times slower than the walk.

/// Return addresses of the caller's stack, innermost first, up to the length
/// of `into`. Returns how many there are.
#[cold]
#[inline(never)]
pub(crate) fn capture(into: &mut [u64]) -> usize {
    let mut count = 0;
    let mut visit = |frame: &backtrace::Frame| {
        // Some unwinders end with a null frame beyond the outermost one.
        let address = frame.ip() as u64;
        match into.get_mut(count) {
            Some(place) if address != 0 => {
                *place = address;
                count += 1;
                true
            }
            _ => false,
        }
    };
    // SAFETY: `trace_unsynchronized` may not run at the same time as other
    // uses of the crate's *symbol* tables on platforms that share them
    // (dbghelp on Windows); on Unix a trace touches only its own stack.
    unsafe { backtrace::trace_unsynchronized(&mut visit) };
    count
}
