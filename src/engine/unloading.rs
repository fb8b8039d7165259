//! What is remembered of code holds as long as the code is loaded. Where another
//! object has been loaded in place of one that stacks led through, rules, memos,
//! and sites of the old one must not stand for the new one.
//!
//! Nobody tells of an unloading. But a rule of other code leads a walk to a stack
//! that was never seen: so before a site is made, the rules of its stack are derived
//! anew. That costs nothing for code that is never unloaded: the program's own, and
//! the C library's.

use crate::capture::back_end::BackEnd;
use crate::capture::module_map::NotedModule;
use crate::capture::registers::Registers;
use crate::capture::rules::{Rule, Rules};
use crate::capture::walk::{Ended, Stack};
use crate::engine::Engine;
use crate::engine::thread::Thread;
use crate::record::book::Book;
use crate::record::sites::SiteId;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// A stack was found by rules of code that is no longer loaded.
pub(super) struct Unloaded;

impl Engine {
    /// The rule of a return address, without the cache.
    pub(crate) fn derived_rule(&self, return_address: u64) -> Rule {
        let since_site = self.recorder.site_numbers() as u32;
        self.deriver
            .derive(return_address.wrapping_sub(1), since_site)
    }

    /// The site of a stack that the thread's cache does not have, unless the stack was
    /// found by rules of code that is no longer loaded. None: there is no memory for it.
    #[cold]
    #[inline(never)]
    pub(super) fn site_in_loaded_code(
        &self,
        book: &mut Book,
        stack: &mut Stack<'_>,
    ) -> Result<Option<SiteId>, Unloaded> {
        if self.deriver.found_other_code() {
            return Err(Unloaded);
        }
        if let Some(site) = self.recorder.others_site(book, stack) {
            return Ok(Some(site));
        }
        match self.rules_hold(stack) {
            true => Ok(self.recorder.site_of(book, stack)),
            false => Err(Unloaded),
        }
    }

    /// Every frame is looked at, also where one is wrong: each may tell of other code.
    fn rules_hold(&self, stack: &Stack<'_>) -> bool {
        let permanent = self.deriver.permanent();
        let mut hold = true;
        for frame in &*stack.frames {
            let address = frame.return_address();
            if !permanent.iter().any(|code| code.contains(&address)) {
                let cached = self.rule(address);
                hold &= self.derived_rule(address) == cached;
            }
        }
        hold && !self.deriver.found_other_code()
    }

    /// The site of the stack at `start`, by rules of the code that is loaded now.
    ///
    /// # Safety
    /// As for [`Engine::stack`].
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn site_after_unloading(
        &self,
        thread: &mut Thread,
        start: Registers,
    ) -> Option<SiteId> {
        self.forget_unloaded(thread);
        // SAFETY: the caller's promise.
        let mut stack = unsafe { self.stack(&mut thread.walker, start) };
        if stack.ended == Ended::Truncated && self.back_end() == BackEnd::Rules {
            thread.truncated.set(thread.truncated.get() + 1);
        }
        self.recorder.site_of(&mut thread.book, &mut stack)
    }

    /// Forgets what was remembered of code that is no longer loaded. Inside of
    /// `thread`'s gate; the other threads follow when they next come to theirs.
    fn forget_unloaded(&self, thread: &mut Thread) {
        if let Some(range) = self.deriver.take_other_code() {
            self.recorder.retire_sites_through(range);
        }
        self.rules.clear();
        // Release: who sees it finds the rules cleared.
        self.code_epoch.fetch_add(1, Release);
        self.control.change(0, 0);
        self.follow_code(thread);
    }

    /// Brings a thread up to date with what code is loaded.
    pub(super) fn follow_code(&self, thread: &mut Thread) {
        let epoch = self.code_epoch.load(Relaxed);
        if thread.code_epoch.replace(epoch) != epoch {
            thread.walker.forget();
            thread.book.cache.clear();
        }
    }

    /// The objects that stacks led through, for naming those that are gone.
    pub(crate) fn noted_modules(&self) -> Vec<NotedModule> {
        self.deriver.noted_modules()
    }
}
