//! Large blocks that are measured: mappings of the profiler's own, which never
//! reach the inner allocator, also when nothing is recorded any more.

use crate::capture::registers::Registers;
use crate::clock;
use crate::engine::control::Control;
use crate::engine::thread::{Operation, gate};
use crate::engine::touching::{Contents, filled_part, of_mapping};
use crate::engine::{Engine, Inside, Taken};
use crate::errno;
use crate::record::block_entry::{Entry, Measured};
use crate::record::touch_counters::{Decision, Measure};
use crate::touch::arena::Purpose;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// Where a large block is to come from.
#[derive(Debug)]
pub(crate) enum Large {
    /// It is mapped, and recorded.
    Mapped(NonNull<u8>),
    /// From the inner allocator, to be recorded with [`Engine::on_large_alloc`].
    Inner(Option<Taken>),
}

impl Engine {
    /// Whether a block lies in a mapping of the profiler's own. Such a block
    /// must not reach the inner allocator.
    #[inline(always)]
    pub(crate) fn is_mapped(&self, address: usize) -> bool {
        self.arena.contains(address)
    }

    /// The size of a block that [`Self::is_mapped`].
    #[cfg(feature = "interpose")]
    pub(crate) fn mapped_bytes(&self, address: usize) -> usize {
        self.arena.bytes(address)
    }

    /// The program asks for a block of [`LARGE_BYTES`] or more.
    #[inline(never)]
    pub(crate) fn large_alloc(
        &'static self,
        bytes: usize,
        align: usize,
        contents: Contents,
    ) -> Large {
        let start = Registers::here();
        let Some(inside) = self.enter(Operation::Alloc).filter(|at| !at.is_ignoring()) else {
            return Large::Inner(None);
        };
        let thread = &mut *inside.thread;
        // SAFETY: `start` is of this function.
        let Some(site) = (unsafe { self.site_at(thread, start) }) else {
            return Large::Inner(None);
        };
        let inner = |entry| Large::Inner(Some(self.taken(entry)));
        if !thread.book.touch.is_on() {
            return inner(Entry::of(site));
        }
        let Decision::Measure { weight } = thread.book.touch.decide(site, bytes) else {
            return inner(Entry::measured(site, Measured::Represented, bytes));
        };
        let zeroed = contents == Contents::Zeros;
        let purpose = Purpose { zeroed, weight };
        let Some(block) = self.map(bytes, align, purpose) else {
            return inner(match weight {
                0 => Entry::of(site),
                _ => Entry::measured(site, Measured::Represented, bytes),
            });
        };
        let entry = Entry::measured(site, Measured::Mapped, bytes);
        let address = block.as_ptr().expose_provenance();
        self.record_block(inside.thread, Some(entry), address, bytes);
        Large::Mapped(block)
    }

    /// The inner allocator has served it; `address` is not null.
    #[inline(never)]
    pub(crate) fn on_large_alloc(
        &'static self,
        taken: Option<Taken>,
        address: usize,
        bytes: usize,
    ) {
        let run = self.run.load(Relaxed);
        let Some(taken) = taken.filter(|taken| taken.run == run) else {
            return self.on_alloc(address, bytes);
        };
        if let Some(inside) = self.enter(Operation::Alloc) {
            self.record_block(inside.thread, Some(taken.entry), address, bytes);
        }
    }

    fn map(&self, bytes: usize, align: usize, purpose: Purpose) -> Option<NonNull<u8>> {
        let block = errno::preserving(|| self.arena.map(bytes, align, purpose))?;
        if !self.control.get().has(Control::ARENA) {
            // From now on, frees are looked at for ever.
            self.control.change(Control::ARENA, 0);
        }
        Some(block)
    }

    /// Runs `work` with the gate marked busy, recording or not; the second value
    /// tells whether this thread records. None: it is busy already, or one of ours, which has no gate.
    fn inside_or_idle<T>(
        &'static self,
        operation: Operation,
        work: impl FnOnce(Option<&mut Inside<'_>>) -> T,
    ) -> Option<T> {
        if let Some(mut inside) = self.enter(operation) {
            return Some(work(Some(&mut inside)));
        }
        let thread = self.this_thread()?;
        // SAFETY: this thread's own block, and its gate is atomic.
        let own_gate = unsafe { &(*thread.as_ptr()).gate };
        let before = own_gate.load(Relaxed);
        if before & (gate::BUSY | gate::PAUSING) != 0 {
            return None;
        }
        own_gate.store(before | gate::BUSY, Relaxed);
        let result = work(None);
        own_gate.store(before, Release);
        Some(result)
    }

    fn look_into(&self, address: usize, range: Range<usize>) -> Measure {
        let (purpose, bytes) = (self.arena.purpose(address), range.len());
        let found = self.arena.look(address, range, |run, see| {
            // SAFETY: within the block, which this thread owns, and which has
            // the pattern or zeros where it has not been written to.
            see(run.start, unsafe { filled_part(0, run.clone()) });
        });
        of_mapping(purpose, bytes, found)
    }

    /// The program frees a block that [`Self::is_mapped`]. Where that cannot be
    /// done, in a signal handler that interrupted recording, or on a thread of ours, it is not.
    #[cold]
    #[inline(never)]
    pub(crate) fn free_mapped(&'static self, address: usize, bytes: usize) {
        errno::preserving(|| {
            self.inside_or_idle(Operation::Free, |inside| {
                let purpose = self.arena.purpose(address);
                if let Some(inside) = inside {
                    let book = &mut inside.thread.book;
                    let entry = self.recorder.free(book, address, bytes, clock::ticks());
                    let is_measured = |entry: &Entry| entry.how() == Measured::Mapped;
                    if let Some(entry) = entry.filter(is_measured) {
                        let measure = self.look_into(address, 0..bytes);
                        book.touch.add(entry.site(), purpose.weight, 1, &measure);
                    }
                }
                // SAFETY: the program gives the block back.
                unsafe { self.arena.unmap(address) };
            });
        });
    }

    /// The program reallocates a block that [`Self::is_mapped`]. None: there is
    /// no room in the arena, and the block is what it was.
    #[cold]
    #[inline(never)]
    pub(crate) fn realloc_mapped(
        &'static self,
        address: usize,
        align: usize,
        sizes: (usize, usize),
    ) -> Option<NonNull<u8>> {
        let start = Registers::here();
        let resized = errno::preserving(|| {
            self.inside_or_idle(Operation::Alloc, |inside| match inside {
                None => self.resize(address, align, sizes.1),
                Some(inside) => self.resize_recorded(inside, start, (address, align), sizes),
            })
        });
        NonNull::new(std::ptr::with_exposed_provenance_mut(resized??))
    }

    /// As [`Self::realloc_mapped`], for a thread that records.
    fn resize_recorded(
        &self,
        inside: &mut Inside<'_>,
        start: Registers,
        (address, align): (usize, usize),
        (old_bytes, bytes): (usize, usize),
    ) -> Option<usize> {
        let taken = self.recorder.take(address);
        let book = &inside.thread.book.touch;
        let weight = self.arena.purpose(address).weight;
        let mut entry = taken;
        if let Some(taken) = taken {
            let site = taken.site();
            let is_measured = taken.how() == Measured::Mapped;
            if bytes < old_bytes && is_measured {
                let cut = self.look_into(address, bytes..old_bytes);
                book.add(site, weight, 0, &cut);
            }
            let decision = match taken.how() {
                _ if bytes <= old_bytes => None,
                Measured::Mapped => Some(self.after_growth(book, site, weight, (old_bytes, bytes))),
                Measured::Represented => Some(book.grow(site, None, old_bytes, bytes)),
                _ => None,
            };
            match decision {
                Some(Decision::Measure { weight }) => self.arena.set_weight(address, weight),
                Some(Decision::Leave) => {
                    entry = Some(Entry::measured(site, Measured::Represented, bytes));
                }
                None => {}
            }
        }
        let Some(new_address) = self.resize(address, align, bytes) else {
            if let Some(entry) = entry {
                // It will leave the arena, and then others stand for it, if any.
                let how = match (entry.how(), self.arena.purpose(address).weight) {
                    (Measured::Mapped, 0) | (Measured::Not, _) => Measured::Not,
                    _ => Measured::Represented,
                };
                let entry = Entry::measured(entry.site(), how, bytes);
                let _ = self.recorder.put_back(address, entry);
            }
            return None;
        };
        match entry {
            Some(entry) => {
                self.record_resized(inside, entry, (address, new_address), (old_bytes, bytes))
            }
            None if inside.is_ignoring() || !inside.thread.acted_on.get().records_all_blocks() => {}
            // SAFETY: `start` is of a caller of this function.
            None => unsafe { self.record_alloc(inside.thread, start, new_address, bytes) },
        }
        Some(new_address)
    }

    fn record_resized(
        &self,
        inside: &mut Inside<'_>,
        entry: Entry,
        places: (usize, usize),
        sizes: (usize, usize),
    ) {
        let thread = &mut *inside.thread;
        let recorded =
            self.recorder
                .resized(&mut thread.book, entry, places, sizes, clock::ticks());
        if recorded.is_err() {
            thread.dropped.set(thread.dropped.get() + 1);
        }
    }

    /// A mapped block of another size, where it is or elsewhere in the arena.
    fn resize(&self, address: usize, align: usize, bytes: usize) -> Option<usize> {
        // SAFETY: the block's owner is in the middle of reallocating it.
        if unsafe { self.arena.resize(address, bytes) } {
            return Some(address);
        }
        let kept = self.arena.bytes(address).min(bytes);
        let new = self.map(bytes, align, self.arena.purpose(address))?;
        let new = new.as_ptr().expose_provenance();
        // SAFETY: as above; and the new block is nobody's yet.
        unsafe {
            self.arena.copy(address, new, kept);
            self.arena.unmap(address);
        }
        Some(new)
    }

    /// The program has copied a block that [`Self::is_mapped`] to a new one of the
    /// inner allocator, and is through with it.
    #[cold]
    #[inline(never)]
    pub(crate) fn left_mapping(
        &'static self,
        (address, old_bytes): (usize, usize),
        (new_address, bytes): (usize, usize),
    ) {
        errno::preserving(|| {
            self.inside_or_idle(Operation::Alloc, |inside| {
                if let Some(inside) = inside
                    && let Some(entry) = self.recorder.take(address)
                {
                    let entry = match entry.how() {
                        Measured::Represented => entry,
                        _ => Entry::of(entry.site()),
                    };
                    let places = (address, new_address);
                    self.record_resized(inside, entry, places, (old_bytes, bytes));
                }
                // SAFETY: the program's promise.
                unsafe { self.arena.unmap(address) };
            });
        });
    }

    /// As [`Self::before_realloc`], of a block that is to be a large one and is
    /// not mapped. If it is mapped now, its contents are there already, and what
    /// it was is the inner allocator's to free.
    #[inline(never)]
    pub(crate) fn before_large_realloc(
        &'static self,
        address: usize,
        align: usize,
        (old_bytes, bytes): (usize, usize),
    ) -> Large {
        let Some(mut inside) = self.enter(Operation::Free) else {
            return Large::Inner(None);
        };
        let Some(entry) = self.recorder.take(address) else {
            return Large::Inner(None);
        };
        let mut taken = self.taken(entry);
        let (site, how) = (entry.site(), entry.how());
        let is_measured = !matches!(
            how,
            Measured::Not | Measured::Represented | Measured::Mapped
        );
        if !is_measured || bytes <= old_bytes {
            self.before_resize(&mut taken, address, (old_bytes, bytes));
            return Large::Inner(Some(taken));
        }
        taken.decided = Some(Entry::measured(site, Measured::Represented, bytes));
        let weight = match how {
            Measured::Pattern | Measured::Zeroed => 0,
            _ => self.weight_at(address),
        };
        let book = &inside.thread.book.touch;
        let Decision::Measure { weight } =
            self.after_growth(book, site, weight, (old_bytes, bytes))
        else {
            return Large::Inner(Some(taken));
        };
        let zeroed = matches!(how, Measured::Zeroed | Measured::ZeroedSampled);
        let Some(block) = self.map(bytes, align, Purpose { zeroed, weight }) else {
            if weight == 0 {
                taken.decided = Some(Entry::of(site));
            }
            return Large::Inner(Some(taken));
        };
        let new_address = block.as_ptr().expose_provenance();
        // SAFETY: the block's owner is in the middle of reallocating it; it was
        // filled when it was fresh, or when it grew. The new one is larger.
        unsafe {
            let old = filled_part(address, 0..old_bytes);
            block
                .as_ptr()
                .copy_from_nonoverlapping(old.as_ptr(), old_bytes);
        }
        let entry = Entry::measured(site, Measured::Mapped, bytes);
        let places = (address, new_address);
        self.record_resized(&mut inside, entry, places, (old_bytes, bytes));
        Large::Mapped(block)
    }
}
