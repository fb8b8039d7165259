//! The gate (`src/engine/mod.rs`), as a model that loom runs through in every order that the
//! memory model allows: a thread marks itself busy and looks at the control word; a
//! reader changes the control word and looks at the marks. Whoever changes the book, and
//! whoever reads it, must be alone.
//!
//! Where the kernel can put a barrier into every running thread, the worker's fence is that
//! barrier: it stands at some place between the mark and the look, or before or after both.
//! So the model has the fence, as the engine itself has with `Control::FENCE`.

#![cfg(test)]

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
    fence,
};
use loom::thread;

const PAUSED: u32 = 1;

struct Gate {
    control: AtomicU32,
    busy: AtomicU32,
    book: UnsafeCell<u64>,
    fences: Fences,
}

#[derive(Clone, Copy)]
struct Fences {
    worker: bool,
    reader: bool,
}

impl Gate {
    fn new(fences: Fences) -> Arc<Self> {
        Arc::new(Self {
            control: AtomicU32::new(0),
            busy: AtomicU32::new(0),
            book: UnsafeCell::new(0),
            fences,
        })
    }

    /// `Engine::enter`, one change of the book, and the opening of the gate. False: there
    /// was a pause, and nothing was recorded.
    fn record(&self) -> bool {
        self.busy.store(1, Relaxed);
        if self.fences.worker {
            fence(SeqCst);
        }
        let enters = self.control.load(Acquire) & PAUSED == 0;
        if enters {
            // SAFETY: what the model is to find out; loom panics if it is not so.
            self.book.with_mut(|book| unsafe { *book += 1 });
        }
        self.busy.store(0, Release);
        enters
    }

    /// `Engine::pause` around a reading of the book.
    fn read(&self) -> u64 {
        self.control.fetch_or(PAUSED, SeqCst);
        if self.fences.reader {
            fence(SeqCst);
        }
        while self.busy.load(Acquire) != 0 {
            thread::yield_now();
        }
        // SAFETY: as above.
        let read = self.book.with(|book| unsafe { *book });
        self.control.fetch_and(!PAUSED, SeqCst);
        read
    }
}

fn run(fences: Fences) {
    loom::model(move || {
        let gate = Gate::new(fences);
        let of_worker = Arc::clone(&gate);
        let worker = thread::spawn(move || {
            let first = of_worker.record();
            let second = of_worker.record();
            u64::from(first) + u64::from(second)
        });
        let early = gate.read();
        let recorded = worker.join().unwrap();
        let late = gate.read();
        assert!(early <= recorded);
        assert_eq!(late, recorded);
    });
}

#[test]
fn reader_and_worker_are_never_in_the_book_together() {
    run(Fences {
        worker: true,
        reader: true,
    });
}

#[test]
#[should_panic]
fn the_worker_needs_its_fence() {
    run(Fences {
        worker: false,
        reader: true,
    });
}

#[test]
#[should_panic]
fn the_reader_needs_its_fence() {
    run(Fences {
        worker: true,
        reader: false,
    });
}
