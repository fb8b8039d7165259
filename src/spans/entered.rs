//! The spans that this thread is in, and the scopes that it was in before each.

use crate::alloc::ENGINE;
use crate::testing::scope::Scope;
use std::cell::RefCell;

/// Spans that a thread can be in at a time; what is deeper counts for the last of them.
const MAX_ENTERED: usize = 128;

#[derive(Clone, Copy, Debug)]
struct One {
    span: u64,
    before: u32,
}

#[derive(Debug)]
struct Entered {
    len: usize,
    spans: [One; MAX_ENTERED],
}

thread_local! {
    /// Without a destructor, as it is used until the thread's end.
    static ENTERED: RefCell<Entered> = const {
        RefCell::new(Entered {
            len: 0,
            spans: [One { span: 0, before: 0 }; MAX_ENTERED],
        })
    };
}

/// This thread enters a span.
pub(crate) fn enter(span: u64, scope: &Scope) {
    // Not to be had in a signal handler that interrupted this.
    let _ = ENTERED.with(|entered| {
        let mut entered = entered.try_borrow_mut().ok()?;
        let len = entered.len;
        let place = entered.spans.get_mut(len)?;
        let before = scope.put_thread_in()?;
        *place = One { span, before };
        entered.len += 1;
        Some(())
    });
}

/// It leaves a span: in most cases the one that it entered last.
pub(crate) fn exit(span: u64) {
    let _ = ENTERED.with(|entered| {
        let mut entered = entered.try_borrow_mut().ok()?;
        let Entered { len, spans } = &mut *entered;
        let at = spans[..*len].iter().rposition(|one| one.span == span)?;
        let before = spans[at].before;
        match at + 1 == *len {
            true => ENGINE.leave_scope(before),
            // The one inside goes back to where this one would have.
            false => spans[at + 1].before = before,
        }
        spans.copy_within(at + 1..*len, at);
        *len -= 1;
        Some(())
    });
}
