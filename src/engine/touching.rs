//! How much of a block is written to: blocks are prepared when they are
//! allocated, and looked at when they are freed or change their size.
//!
//! Only called by the thread that has the block in its hands, inside of the gate.

use crate::capture::registers::{self, Door, Registers};
use crate::clock;
use crate::engine::thread::{Operation, Thread};
use crate::engine::{Engine, Inside, Taken};
use crate::record::block_entry::{Entry, Measured, More};
use crate::record::book::Book;
use crate::record::sites::SiteId;
use crate::record::touch_counters::{Decision, Measure, SMALL_BYTES, TouchBook};
use crate::touch::arena::{Found, LARGE_BYTES, Purpose};
use crate::touch::pattern::{self, Changed};
use crate::touch::short::{self, ChangedBits, SHORT_BYTES};
use std::mem::MaybeUninit;
use std::ops::Range;

/// What a fresh block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contents {
    /// Nothing that the program may read.
    Undefined,
    Zeros,
    /// What the program has written.
    Known,
}

/// A part of a block.
///
/// # Safety
/// The part is the program's memory, which nobody else uses meanwhile.
pub(super) unsafe fn part<'a>(address: usize, part: Range<usize>) -> &'a mut [MaybeUninit<u8>] {
    let start = std::ptr::with_exposed_provenance_mut::<MaybeUninit<u8>>(address + part.start);
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(start, part.len()) }
}

/// A part of a block that is filled.
///
/// # Safety
/// As [`part`]'s; and every byte has a value.
pub(super) unsafe fn filled_part<'a>(address: usize, part: Range<usize>) -> &'a [u8] {
    let start = std::ptr::with_exposed_provenance::<u8>(address + part.start);
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts(start, part.len()) }
}

/// Of a part that began as the pattern.
fn of_pattern(bytes: usize, changed: Changed) -> Measure {
    let written = changed.bytes as u64;
    Measure {
        bytes: bytes as u64,
        written,
        likely: written,
        at_most: written,
        tail: (bytes - changed.end) as u64,
    }
}

/// Of a part that began as zeros, of which up to `at_most` may have been written.
fn of_zeros(bytes: usize, changed: Changed, word_bytes: usize, at_most: usize) -> Measure {
    Measure {
        bytes: bytes as u64,
        written: changed.bytes as u64,
        likely: word_bytes as u64,
        at_most: at_most.max(word_bytes) as u64,
        tail: (bytes - changed.end) as u64,
    }
}

/// Looks at a part of a block that is not mapped.
pub(super) fn look_at(how: Measured, bytes: &[u8], offset: usize) -> Measure {
    match how {
        Measured::Zeroed | Measured::ZeroedSampled => of_zeros(
            bytes.len(),
            pattern::nonzero(bytes),
            pattern::nonzero_word_bytes(bytes),
            bytes.len(),
        ),
        _ => of_pattern(bytes.len(), pattern::changed(bytes, offset)),
    }
}

pub(super) fn of_mapping(purpose: Purpose, bytes: usize, found: Found) -> Measure {
    match purpose.zeroed {
        true => of_zeros(bytes, found.changed, found.word_bytes, found.page_bytes),
        false => of_pattern(bytes, found.changed),
    }
}

impl Engine {
    // ---- operations -------------------------------------------------------

    /// As [`Engine::on_alloc`], of a block with undefined contents.
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_on_touched_alloc")
    )]
    pub(crate) fn on_touched_alloc(&'static self, address: usize, bytes: usize) {
        let door = Door::here::<2>();
        let Some(inside) = self.enter_open_gate() else {
            let block = (address, bytes, Contents::Undefined);
            // SAFETY: of this function, which stays until all is done.
            unsafe { self.first_touched_alloc(Registers::here(), door, block) };
            return registers::stay();
        };
        // SAFETY: of this function.
        let Some(site) = (unsafe { Self::last_site(&mut inside.thread.walker, door) }) else {
            let block = (address, bytes, Contents::Undefined);
            // SAFETY: as above.
            unsafe { self.touched_alloc_elsewhere(inside, Registers::here(), door, block) };
            return registers::stay();
        };
        let now = clock::counter();
        let (book, place) = (&mut inside.thread.book, (address, bytes));
        let is_filled = (1..=SHORT_BYTES).contains(&bytes) && book.touch.is_on();
        if is_filled {
            Self::fill_small(&book.touch, address, bytes);
        }
        if !is_filled || !self.alloc_filled::<false>(book, site, place, now) {
            self.touched_alloc_here(inside, site, place, now);
        }
    }

    /// Records a small block that is filled, if nothing is out of the ordinary. False: it
    /// is not recorded.
    #[inline(always)]
    fn alloc_filled<const SHARED: bool>(
        &self,
        book: &mut Book,
        site: SiteId,
        (address, bytes): (usize, usize),
        now: Option<u64>,
    ) -> bool {
        let entry = Entry::measured(site, Measured::Pattern, bytes);
        let kept = (entry, More::of(bytes, 0));
        self.recorder
            .alloc_measured_if_usual::<SHARED>(book, site, kept, (address, bytes), now)
    }

    /// As [`Self::on_touched_alloc`], of a block with any contents.
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_on_touched_alloc_of")
    )]
    pub(crate) fn on_touched_alloc_of(
        &'static self,
        address: usize,
        bytes: usize,
        contents: Contents,
    ) {
        let door = Door::here::<3>();
        let block = (address, bytes, contents);
        let Some(inside) = self.enter_open_gate() else {
            // SAFETY: of this function, which stays until all is done.
            unsafe { self.first_touched_alloc(Registers::here(), door, block) };
            return registers::stay();
        };
        // SAFETY: of this function.
        match unsafe { Self::last_site(&mut inside.thread.walker, door) } {
            Some(site) => self.record_touched_block(inside.thread, Some(site), block),
            // SAFETY: as above.
            None => unsafe {
                self.touched_alloc_elsewhere(inside, Registers::here(), door, block);
            },
        }
        registers::stay();
    }

    /// As [`Self::on_touched_alloc`], where the gate may be closed.
    ///
    /// # Safety
    /// As for [`Engine::stack`].
    #[cold]
    #[inline(never)]
    unsafe fn first_touched_alloc(
        &'static self,
        start: Registers,
        door: Door,
        block: (usize, usize, Contents),
    ) {
        let Some(inside) = self.enter(Operation::Alloc) else {
            return;
        };
        if inside.is_ignoring() {
            inside.thread.ignored.set(inside.thread.ignored.get() + 1);
            return;
        }
        // SAFETY: the caller's promise.
        unsafe { self.touched_alloc_elsewhere(inside, start, door, block) };
    }

    /// Records a block whose stack is not the last one, and leaves the gate.
    ///
    /// # Safety
    /// As for [`Engine::stack`].
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_touched_alloc_elsewhere")
    )]
    unsafe fn touched_alloc_elsewhere(
        &self,
        inside: Inside<'_>,
        start: Registers,
        door: Door,
        block: (usize, usize, Contents),
    ) {
        // SAFETY: the caller's promise.
        let site = unsafe { self.site_at(inside.thread, start) };
        if let Some(site) = site {
            inside.thread.walker.remember(door, site.get());
        }
        self.record_touched_block(inside.thread, site, block);
    }

    /// A block that is not short, or with something out of the ordinary. While blocks are measured,
    /// short ones are filled by then.
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_touched_alloc_here")
    )]
    fn touched_alloc_here(
        &self,
        inside: Inside<'_>,
        site: SiteId,
        (address, bytes): (usize, usize),
        now: Option<u64>,
    ) {
        let (book, place) = (&mut inside.thread.book, (address, bytes));
        if !(1..=SMALL_BYTES).contains(&bytes) || !book.touch.is_on() {
            let block = (address, bytes, Contents::Undefined);
            return self.record_touched_block(inside.thread, Some(site), block);
        }
        if bytes > SHORT_BYTES {
            Self::fill_small(&book.touch, address, bytes);
            if self.alloc_filled::<false>(book, site, place, now) {
                return;
            }
        }
        if !self.alloc_filled::<true>(book, site, place, now) {
            let entry = self.begin_filled(site, address, bytes);
            self.record_block(inside.thread, Some(entry), address, bytes);
        }
    }

    #[inline(always)]
    fn record_touched_block(
        &self,
        thread: &mut Thread,
        site: Option<SiteId>,
        (address, bytes, contents): (usize, usize, Contents),
    ) {
        let book = &thread.book.touch;
        let entry = site.map(|site| self.begin_touch(book, site, address, bytes, contents));
        self.record_block(thread, entry, address, bytes);
    }

    /// Records a block that was allocated in an unusual way.
    ///
    /// # Safety
    /// As for [`Engine::stack`].
    #[inline(never)]
    pub(super) unsafe fn record_touched(
        &self,
        thread: &mut Thread,
        start: Registers,
        block: (usize, usize, Contents),
    ) {
        // SAFETY: the caller's promise.
        let site = unsafe { self.site_at(thread, start) };
        self.record_touched_block(thread, site, block);
    }

    /// As [`Engine::on_free`].
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_on_touched_free")
    )]
    pub(crate) fn on_touched_free(&'static self, address: usize, bytes: usize) {
        let Some(inside) = self.enter_open_gate() else {
            return self.first_touched_free(address, bytes);
        };
        let now = clock::counter();
        if !(1..=SHORT_BYTES).contains(&bytes) {
            return self.free_of_any_size(inside, address, bytes, now);
        }
        let book = &mut inside.thread.book;
        let usual = (self.recorder).free_pattern_if_usual::<false>(book, address, bytes, now);
        let Some(site) = usual else {
            return self.other_touched_free(inside, address, bytes, now);
        };
        // SAFETY: the block's owner is in the middle of freeing it; it was filled when it
        // was fresh, or when it grew. The map has it, so it begins at a multiple of 16.
        let changed = unsafe { short::changed(std::ptr::with_exposed_provenance(address), bytes) };
        match book.touch.sums_of_small(site) {
            Some(sums) if changed.is_all() => sums.add_filled(bytes),
            _ => Self::add_short(inside, site, changed, bytes),
        }
    }

    /// Adds a short block that was not written to everywhere, or is the first one of its
    /// site, and leaves the gate.
    #[inline(never)]
    #[cfg_attr(heapledger_exact, unsafe(export_name = "__asan_heapledger_add_short"))]
    fn add_short(inside: Inside<'_>, site: SiteId, changed: ChangedBits, bytes: usize) {
        let changed = changed.count();
        let book = &inside.thread.book.touch;
        book.add_small(site, bytes, changed.bytes, bytes - changed.end);
    }

    /// A block that is not short.
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_free_of_any_size")
    )]
    fn free_of_any_size(
        &self,
        mut inside: Inside<'_>,
        address: usize,
        bytes: usize,
        now: Option<u64>,
    ) {
        if bytes > SMALL_BYTES || !self.free_small::<false>(&mut inside, address, bytes, now) {
            self.other_touched_free(inside, address, bytes, now);
        }
    }

    /// Of any size up to [`SMALL_BYTES`], if nothing is out of the ordinary. False: nothing was done.
    #[inline(always)]
    fn free_small<const SHARED: bool>(
        &self,
        inside: &mut Inside<'_>,
        address: usize,
        bytes: usize,
        now: Option<u64>,
    ) -> bool {
        let book = &mut inside.thread.book;
        let usual = (self.recorder).free_pattern_if_usual::<SHARED>(book, address, bytes, now);
        if let Some(site) = usual {
            Self::end_small(&book.touch, site, address, bytes);
        }
        usual.is_some()
    }

    /// As [`Self::on_touched_free`], where the gate may be closed.
    #[cold]
    #[inline(never)]
    fn first_touched_free(&'static self, address: usize, bytes: usize) {
        if let Some(inside) = self.enter(Operation::Free) {
            self.other_touched_free(inside, address, bytes, clock::counter());
        }
    }

    /// A block that is not short, or with something out of the ordinary.
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_other_touched_free")
    )]
    fn other_touched_free(
        &self,
        mut inside: Inside<'_>,
        address: usize,
        bytes: usize,
        now: Option<u64>,
    ) {
        let is_small = (1..=SMALL_BYTES).contains(&bytes);
        if is_small && self.free_small::<true>(&mut inside, address, bytes, now) {
            return;
        }
        self.free_touched(inside.thread, address, bytes);
    }

    #[inline(always)]
    pub(super) fn free_touched(&self, thread: &mut Thread, address: usize, bytes: usize) {
        let book = &mut thread.book;
        let entry = self.recorder.free(book, address, bytes, clock::ticks());
        if let Some(entry) = entry {
            self.end_touch(&book.touch, entry, address, bytes);
        }
    }

    /// As [`Engine::before_realloc`].
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_before_touched_realloc")
    )]
    pub(crate) fn before_touched_realloc(
        &'static self,
        address: usize,
        sizes: (usize, usize),
    ) -> Option<Taken> {
        let _inside = self.enter(Operation::Free)?;
        let mut taken = self.taken(self.recorder.take(address)?);
        self.before_resize(&mut taken, address, sizes);
        Some(taken)
    }

    /// As [`Engine::after_realloc`].
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_after_touched_realloc")
    )]
    pub(crate) fn after_touched_realloc(
        &'static self,
        taken: Option<Taken>,
        old: (usize, usize),
        new: (usize, usize),
    ) {
        let start = Registers::here();
        if let Some(mut inside) = self.enter(Operation::Alloc) {
            self.put_back_touched(&mut inside, start, taken, old, new);
        }
    }

    #[inline(always)]
    pub(super) fn put_back_touched(
        &self,
        inside: &mut Inside<'_>,
        start: Registers,
        taken: Option<Taken>,
        old: (usize, usize),
        new: (usize, usize),
    ) {
        self.put_back(inside, start, taken, old, new, |book, taken| {
            self.after_resize(book, taken, new.0, (old.1, new.1))
        });
    }

    // ---- blocks of the inner allocator ------------------------------------

    /// Prepares a fresh block.
    #[inline(always)]
    pub(super) fn begin_touch(
        &self,
        book: &TouchBook,
        site: SiteId,
        address: usize,
        bytes: usize,
        contents: Contents,
    ) -> Entry {
        if !book.is_on() {
            return Entry::of(site);
        }
        if contents == Contents::Undefined && (1..=SMALL_BYTES).contains(&bytes) {
            return self.begin_small(book, site, address, bytes);
        }
        self.begin_other(book, site, address, bytes, contents)
    }

    /// A small block, which has at least a byte.
    #[inline(always)]
    pub(super) fn fill_small(book: &TouchBook, address: usize, bytes: usize) {
        if bytes <= SHORT_BYTES {
            let block = std::ptr::with_exposed_provenance_mut(address);
            // SAFETY: a fresh block, whose contents nobody knows; the spare bytes are
            // this thread's.
            return unsafe { short::fill(block, bytes, book.spare()) };
        }
        // SAFETY: as above.
        pattern::fill(unsafe { part(address, 0..bytes) }, 0);
    }

    #[inline(always)]
    fn begin_small(&self, book: &TouchBook, site: SiteId, address: usize, bytes: usize) -> Entry {
        Self::fill_small(book, address, bytes);
        self.begin_filled(site, address, bytes)
    }

    /// The entry of a small block that is filled.
    #[inline(always)]
    fn begin_filled(&self, site: SiteId, address: usize, bytes: usize) -> Entry {
        self.note_more(address, More::of(bytes, 0));
        Entry::measured(site, Measured::Pattern, bytes)
    }

    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_begin_other")
    )]
    fn begin_other(
        &self,
        book: &TouchBook,
        site: SiteId,
        address: usize,
        bytes: usize,
        contents: Contents,
    ) -> Entry {
        if contents == Contents::Known || bytes == 0 || bytes >= LARGE_BYTES {
            return Entry::of(site);
        }
        let decision = match bytes <= SMALL_BYTES {
            true => Decision::Measure { weight: 0 },
            false => book.decide(site, bytes),
        };
        let Decision::Measure { weight } = decision else {
            return Entry::measured(site, Measured::Represented, bytes);
        };
        if contents == Contents::Undefined {
            // SAFETY: as in `begin_touch`.
            pattern::fill(unsafe { part(address, 0..bytes) }, 0);
        }
        let zeroed = contents == Contents::Zeros;
        self.prepared(site, address, bytes, zeroed, weight)
    }

    /// The entry of a block that is to be looked at later.
    fn prepared(
        &self,
        site: SiteId,
        address: usize,
        bytes: usize,
        zeroed: bool,
        weight: u8,
    ) -> Entry {
        let how = match (zeroed, weight) {
            (false, 0) => Measured::Pattern,
            (false, _) => Measured::PatternSampled,
            (true, 0) => Measured::Zeroed,
            (true, _) => Measured::ZeroedSampled,
        };
        let is_kept = self.note_more(address, More::of(bytes, weight));
        if !is_kept && weight != 0 {
            // Nobody would know its weight.
            return Entry::measured(site, Measured::Represented, bytes);
        }
        Entry::measured(site, how, bytes)
    }

    #[inline(always)]
    fn note_more(&self, address: usize, more: Option<More>) -> bool {
        more.is_none_or(|more| self.recorder.note_more(address, more))
    }

    /// A block is about to go, and has been taken out.
    #[inline(always)]
    pub(super) fn end_touch(&self, book: &TouchBook, entry: Entry, address: usize, bytes: usize) {
        if entry.how() == Measured::Pattern && bytes <= SMALL_BYTES {
            Self::end_small(book, entry.site(), address, bytes);
        } else if entry.how() != Measured::Not {
            self.end_other(book, entry, address, bytes);
        }
    }

    /// Looks at a small block that was filled.
    #[inline(always)]
    fn end_small(book: &TouchBook, site: SiteId, address: usize, bytes: usize) {
        // SAFETY: the block's owner is in the middle of freeing it; it was filled
        // when it was fresh, or when it grew.
        let changed = pattern::changed(unsafe { filled_part(address, 0..bytes) }, 0);
        book.add_small(site, bytes, changed.bytes, bytes - changed.end);
    }

    #[inline(never)]
    #[cfg_attr(heapledger_exact, unsafe(export_name = "__asan_heapledger_end_other"))]
    fn end_other(&self, book: &TouchBook, entry: Entry, address: usize, bytes: usize) {
        let weight = match entry.how() {
            Measured::Not | Measured::Represented | Measured::Mapped => return,
            Measured::Pattern | Measured::Zeroed => 0,
            Measured::PatternSampled | Measured::ZeroedSampled => self.weight_at(address),
        };
        // SAFETY: as in `end_touch`.
        let block = unsafe { filled_part(address, 0..bytes) };
        book.add(entry.site(), weight, 1, &look_at(entry.how(), block, 0));
    }

    pub(super) fn weight_at(&self, address: usize) -> u8 {
        self.recorder.more(address).map_or(0, More::weight)
    }

    /// What a block that was taken out is to be known by when it is put back;
    /// and what is lost of it if it shrinks.
    pub(super) fn before_resize(&self, taken: &mut Taken, address: usize, sizes: (usize, usize)) {
        let (old_bytes, bytes) = sizes;
        let how = taken.entry.how();
        if matches!(how, Measured::PatternSampled | Measured::ZeroedSampled) {
            taken.weight = self.weight_at(address);
        }
        let is_looked_at = !matches!(
            how,
            Measured::Not | Measured::Represented | Measured::Mapped
        );
        if bytes < old_bytes && is_looked_at {
            // SAFETY: the block's owner is in the middle of reallocating it; it
            // was filled when it was fresh, or when it grew.
            let cut = unsafe { filled_part(address, bytes..old_bytes) };
            taken.cut = look_at(how, cut, bytes);
        }
    }

    /// The block is at `address` now. How it is measured from now on.
    #[inline(never)]
    #[cfg_attr(
        heapledger_exact,
        unsafe(export_name = "__asan_heapledger_after_resize")
    )]
    pub(super) fn after_resize(
        &self,
        book: &TouchBook,
        taken: &Taken,
        address: usize,
        (old_bytes, bytes): (usize, usize),
    ) -> Entry {
        if let Some(decided) = taken.decided {
            return decided;
        }
        let (entry, weight) = (taken.entry, taken.weight);
        let (site, how) = (entry.site(), entry.how());
        match how {
            Measured::Not | Measured::Mapped => return Entry::of(site),
            Measured::Represented => {
                if bytes > old_bytes {
                    book.grow(site, None, old_bytes, bytes);
                }
                return entry;
            }
            _ => {}
        }
        let zeroed = matches!(how, Measured::Zeroed | Measured::ZeroedSampled);
        if bytes <= old_bytes {
            if taken.cut.bytes != 0 {
                book.add(site, weight, 0, &taken.cut);
            }
            if weight != 0 && More::of(bytes, weight).is_none() {
                // So small that its weight has no place: looked at now.
                // SAFETY: as in `before_resize`.
                let rest = unsafe { filled_part(address, 0..bytes) };
                book.add(site, weight, 1, &look_at(how, rest, 0));
                return Entry::of(site);
            }
            return self.prepared(site, address, bytes, zeroed, weight);
        }
        let weight = match self.after_growth(book, site, weight, (old_bytes, bytes)) {
            Decision::Measure { weight } if bytes < LARGE_BYTES => weight,
            // It was to be mapped, and there was no room.
            Decision::Measure { weight: 0 } => return Entry::of(site),
            _ => return Entry::measured(site, Measured::Represented, bytes),
        };
        // SAFETY: what a reallocation adds is as fresh as a fresh block.
        let grown = unsafe { part(address, old_bytes..bytes) };
        match zeroed {
            true => grown.fill(MaybeUninit::new(0)),
            false => pattern::fill(grown, old_bytes),
        }
        self.prepared(site, address, bytes, zeroed, weight)
    }

    /// Whether a measured block of this weight is still measured.
    pub(super) fn after_growth(
        &self,
        book: &TouchBook,
        site: SiteId,
        weight: u8,
        (old_bytes, bytes): (usize, usize),
    ) -> Decision {
        match weight {
            0 if old_bytes <= SMALL_BYTES && bytes > SMALL_BYTES => book.decide(site, bytes),
            0 => Decision::Measure { weight: 0 },
            _ => book.grow(site, Some(weight), old_bytes, bytes),
        }
    }
}
