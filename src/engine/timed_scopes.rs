//! Calls of the inner allocator that are timed while scopes are open.

use crate::engine::Engine;
use crate::engine::control::HeapRecording;
use crate::engine::scopes::TakenBesideScopes;
use crate::engine::thread::Operation;
use crate::engine::timing::{Sampled, Timer};
use crate::engine::touching::Contents;
use crate::record::sites::SiteId;
use crate::record::time_counters::Call;

/// A reallocation that has begun.
#[derive(Debug)]
pub(crate) struct TimedRealloc {
    taken: Option<TakenBesideScopes>,
    timer: Timer,
    times_recording: bool,
}

impl Engine {
    /// As [`Engine::on_alloc_beside_scopes`], after [`Engine::start_timer`].
    #[inline(never)]
    pub(crate) fn on_timed_alloc_beside_scopes(
        &'static self,
        (timer, times_recording): &(Timer, bool),
        recording: HeapRecording,
        block: (usize, usize),
        contents: Contents,
    ) {
        let spent = timer.stop(&self.timing);
        let own_part = times_recording.then(|| self.timer(0, None));
        self.on_alloc_beside_scopes(recording, block, contents);
        self.credit_own_part(Operation::Alloc, own_part.as_ref());
        if let Some(spent) = spent.filter(|_| block.0 != 0)
            && let Some(inside) = self.enter(Operation::Alloc)
        {
            let site = self.site_in_run(block.0);
            self.credit(inside.thread, timer, spent, Call::Alloc, site);
        }
    }

    /// As [`Engine::on_free_beside_scopes`]; to be followed by [`Engine::after_timed_free`].
    #[inline(never)]
    pub(crate) fn before_timed_free_beside_scopes(
        &'static self,
        address: usize,
        bytes: usize,
    ) -> Timer {
        let sampled = self.sampled();
        let mut site = None;
        if sampled == Sampled::Call {
            let inside = self.enter(Operation::Free);
            site = inside.and_then(|_inside| self.site_in_run(address));
        }
        let own_part = (sampled == Sampled::Recording).then(|| self.timer(0, None));
        self.on_free_beside_scopes(address, bytes);
        self.credit_own_part(Operation::Free, own_part.as_ref());
        match sampled {
            Sampled::Call => self.timer(bytes, site),
            _ => Timer::NONE,
        }
    }

    /// As [`Engine::before_realloc_beside_scopes`].
    #[inline(never)]
    pub(crate) fn before_timed_realloc_beside_scopes(
        &'static self,
        address: usize,
        sizes: (usize, usize),
    ) -> TimedRealloc {
        let sampled = self.sampled();
        let own_part = (sampled == Sampled::Recording).then(|| self.timer(0, None));
        let taken = self.before_realloc_beside_scopes(address, sizes);
        self.credit_own_part(Operation::Free, own_part.as_ref());
        let timer = match sampled {
            Sampled::Call => self.timer(sizes.0.max(sizes.1), None),
            _ => Timer::NONE,
        };
        TimedRealloc {
            taken,
            timer,
            times_recording: own_part.is_some(),
        }
    }

    /// As [`Engine::after_realloc_beside_scopes`].
    #[inline(never)]
    pub(crate) fn after_timed_realloc_beside_scopes(
        &'static self,
        before: &TimedRealloc,
        recording: HeapRecording,
        old: (usize, usize),
        new: (usize, usize),
    ) {
        let spent = before.timer.stop(&self.timing);
        let own_part = before.times_recording.then(|| self.timer(0, None));
        self.after_realloc_beside_scopes(recording, before.taken, old, new);
        self.credit_own_part(Operation::Alloc, own_part.as_ref());
        if let Some(spent) = spent
            && let Some(inside) = self.enter(Operation::Alloc)
        {
            let site = self.site_in_run(if new.0 == 0 { old.0 } else { new.0 });
            self.credit(inside.thread, &before.timer, spent, Call::Realloc, site);
        }
    }

    fn site_in_run(&self, address: usize) -> Option<SiteId> {
        self.recorder.site_of_block(address)
    }

    fn credit_own_part(&'static self, operation: Operation, own_part: Option<&Timer>) {
        if own_part.is_some()
            && let Some(inside) = self.enter(operation)
        {
            self.credit_recording(inside.thread, own_part);
        }
    }
}
