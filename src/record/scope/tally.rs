//! The counts of a scope, and of each of its sites. Plain stores: whoever
//! counts has the slot to itself.

use crate::record::counter::Counter64;

/// Zeroed memory is a tally of nothing.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    total_blocks: Counter64,
    total_bytes: Counter64,
    live_blocks: Counter64,
    live_bytes: Counter64,
    /// What was counted in total and is not live, though it was not freed: blocks that
    /// were resized, or have moved to another scope. Rarer than frees, which follow from it.
    left_blocks: Counter64,
    left_bytes: Counter64,
    reallocs: Counter64,
    kept_bytes: Counter64,
    copied_bytes: Counter64,
    largest_bytes: Counter64,
    max_blocks: Counter64,
    max_bytes: Counter64,
    /// Sum of the times of frees less that of allocations; wraps.
    lifetime_ticks: Counter64,
    /// Of blocks that are gone.
    unwritten_bytes: Counter64,
}

/// A reading of a [`Tally`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) total_blocks: u64,
    pub(crate) total_bytes: u64,
    pub(crate) live_blocks: u64,
    pub(crate) live_bytes: u64,
    pub(crate) freed_blocks: u64,
    pub(crate) freed_bytes: u64,
    pub(crate) reallocs: u64,
    pub(crate) kept_bytes: u64,
    pub(crate) copied_bytes: u64,
    pub(crate) largest_bytes: u64,
    /// The most that it held by itself, and the blocks then.
    pub(crate) max_blocks: u64,
    pub(crate) max_bytes: u64,
    /// What it held when the whole scope held the most.
    pub(crate) peak_blocks: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) lifetime_ticks: u64,
    /// Where it is measured: bytes that held what they held at first, of blocks that
    /// are gone; and of those that are live, once they were looked at.
    pub(crate) unwritten_bytes: u64,
    /// Live, and not known to be reached.
    pub(crate) leaked_blocks: u64,
    pub(crate) leaked_bytes: u64,
}

impl Usage {
    /// So many live blocks, and their bytes, are reached.
    pub(crate) fn leave_out_reached(&mut self, (blocks, bytes): (u64, u64)) {
        self.leaked_blocks = self.live_blocks.saturating_sub(blocks);
        self.leaked_bytes = match self.leaked_blocks {
            0 => 0,
            _ => self.live_bytes.saturating_sub(bytes),
        };
    }
}

/// What happened to a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Alloc,
    /// A block of the program's that the scope did not know was reallocated in it.
    MovedIn {
        old_bytes: usize,
        moved: bool,
    },
    Resized {
        old_bytes: usize,
        moved: bool,
    },
    Free,
    /// Another scope has reallocated the block, and it is that one's from now on.
    MovedOut,
}

impl Tally {
    /// `bytes` is the block's size: the new one of a block that was reallocated.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn count(&self, event: Event, bytes: usize, now: u64) {
        let bytes = bytes as u64;
        match event {
            Event::Alloc => {
                self.born(bytes, now);
                self.live_bytes.add(bytes);
            }
            Event::MovedIn { old_bytes, moved } => {
                self.born(bytes, now);
                self.live_bytes.add(bytes);
                self.reallocated(bytes.min(old_bytes as u64), moved);
            }
            Event::Resized { old_bytes, moved } => {
                self.allocated(bytes);
                self.left_blocks.add(1);
                self.left_bytes.add(old_bytes as u64);
                self.live_bytes.add(bytes.wrapping_sub(old_bytes as u64));
                self.reallocated(bytes.min(old_bytes as u64), moved);
            }
            Event::Free => self.gone(bytes, now),
            Event::MovedOut => {
                self.left_blocks.add(1);
                self.left_bytes.add(bytes);
                self.gone(bytes, now);
            }
        }
    }

    /// Keeps the maximum. A later equal maximum replaces an earlier one, as in
    /// DHAT. Returns whether there was one.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn keep_max(&self) -> bool {
        let live = self.live_bytes.get();
        let is_max = live >= self.max_bytes.get();
        if is_max {
            self.max_bytes.set(live);
            self.max_blocks.set(self.live_blocks.get());
        }
        is_max
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn allocated(&self, bytes: u64) {
        self.total_blocks.add(1);
        self.total_bytes.add(bytes);
        if bytes > self.largest_bytes.get() {
            self.largest_bytes.set(bytes);
        }
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn born(&self, bytes: u64, now: u64) {
        self.allocated(bytes);
        self.live_blocks.add(1);
        // Without stacks nobody asks.
        if now != 0 {
            self.lifetime_ticks.add(now.wrapping_neg());
        }
    }

    fn reallocated(&self, kept_bytes: u64, moved: bool) {
        self.reallocs.add(1);
        self.kept_bytes.add(kept_bytes);
        self.copied_bytes.add(if moved { kept_bytes } else { 0 });
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn gone(&self, bytes: u64, now: u64) {
        if now != 0 {
            self.lifetime_ticks.add(now);
        }
        self.live_bytes.add(bytes.wrapping_neg());
        self.live_blocks.add(1_u64.wrapping_neg());
    }

    pub(crate) fn add_unwritten(&self, bytes: u64) {
        self.unwritten_bytes.add(bytes);
    }

    pub(crate) fn live(&self) -> (u64, u64) {
        (self.live_blocks.get(), self.live_bytes.get())
    }

    pub(crate) fn reset(&self) {
        for counter in [
            &self.total_blocks,
            &self.total_bytes,
            &self.live_blocks,
            &self.live_bytes,
            &self.left_blocks,
            &self.left_bytes,
            &self.reallocs,
            &self.kept_bytes,
            &self.copied_bytes,
            &self.largest_bytes,
            &self.max_blocks,
            &self.max_bytes,
            &self.lifetime_ticks,
            &self.unwritten_bytes,
        ] {
            counter.set(0);
        }
    }

    pub(crate) fn read(&self, (peak_blocks, peak_bytes): (u64, u64)) -> Usage {
        Usage {
            total_blocks: self.total_blocks.get(),
            total_bytes: self.total_bytes.get(),
            live_blocks: self.live_blocks.get(),
            live_bytes: self.live_bytes.get(),
            freed_blocks: gone(&self.total_blocks, &self.live_blocks, &self.left_blocks),
            freed_bytes: gone(&self.total_bytes, &self.live_bytes, &self.left_bytes),
            reallocs: self.reallocs.get(),
            kept_bytes: self.kept_bytes.get(),
            copied_bytes: self.copied_bytes.get(),
            largest_bytes: self.largest_bytes.get(),
            max_blocks: self.max_blocks.get(),
            max_bytes: self.max_bytes.get(),
            peak_blocks,
            peak_bytes,
            lifetime_ticks: self.lifetime_ticks.get(),
            unwritten_bytes: self.unwritten_bytes.get(),
            leaked_blocks: self.live_blocks.get(),
            leaked_bytes: self.live_bytes.get(),
        }
    }
}

/// What is in `total`, but neither live nor left.
fn gone(total: &Counter64, live: &Counter64, left: &Counter64) -> u64 {
    total
        .get()
        .wrapping_sub(live.get())
        .wrapping_sub(left.get())
}
