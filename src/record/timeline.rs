//! What was live over time, in a table of fixed size.
//!
//! Time is cut into slots. Of each one the moment when most was live is kept, and the last moment that
//! was *marked*; and the first one, where it is known which sites held most then; whoever counts marks a moment when live bytes have left the neighbourhood of the last
//! one, and at the first peak after a slot is over. So between two moments live bytes were about those
//! of the first, but within a slot. When the table is full, each two slots become one, and the
//! slots to come are twice as long.

use crate::record::counter::{Counter32, Counter64};
use crate::record::peak::Amount;

/// Slots in the table.
const SLOTS: usize = 256;

/// No more moments than this can be read.
pub(crate) const MOMENTS_MAX: usize = 3 * SLOTS;

/// Sites that are kept of a slot's first moment.
pub(crate) const TOP: usize = 3;

/// Looking at a site takes a few dozen ticks at most: so the search for the top ones takes a few per
/// cent of the slot that it is made in.
const SLOT_TICKS_A_SITE: u64 = 1 << 10;

/// Sites that hold most, with their bytes: the largest first, 0 bytes for none.
pub(crate) type Top = [(u32, u64); TOP];

/// The first slots' length: a fraction of a millisecond, whatever the clock.
pub(crate) const FIRST_SLOT_TICKS: u64 = 1 << 19;

/// Live bytes at a time, in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) ticks: u64,
    pub(crate) live: Amount,
    /// Where it is known.
    pub(crate) top: Top,
}

#[derive(Debug)]
struct MomentCell {
    ticks: Counter64,
    bytes: Counter64,
    blocks: Counter64,
}

#[derive(Debug)]
struct Slot {
    first: MomentCell,
    most: MomentCell,
    last: MomentCell,
    /// Of `first`.
    top: [(Counter32, Counter64); TOP],
}

/// Written by whoever may write the [`Peak`](crate::record::peak::Peak) that it belongs to.
#[derive(Debug)]
pub(crate) struct Timeline {
    /// When the slot in use is over.
    end: Counter64,
    slot_ticks: Counter64,
    used: Counter32,
    slots: [Slot; SLOTS],
}

impl MomentCell {
    const fn new() -> Self {
        Self {
            ticks: Counter64::new(),
            bytes: Counter64::new(),
            blocks: Counter64::new(),
        }
    }

    fn get(&self) -> Moment {
        Moment {
            ticks: self.ticks.get(),
            live: Amount {
                bytes: self.bytes.get(),
                blocks: self.blocks.get(),
            },
            top: Top::default(),
        }
    }

    fn set(&self, moment: Moment) {
        self.ticks.set(moment.ticks);
        self.bytes.set(moment.live.bytes);
        self.blocks.set(moment.live.blocks);
    }
}

impl Slot {
    const fn new() -> Self {
        Self {
            first: MomentCell::new(),
            most: MomentCell::new(),
            last: MomentCell::new(),
            top: [const { (Counter32::new(), Counter64::new()) }; TOP],
        }
    }

    fn begin(&self, moment: Moment) {
        self.set_first(moment);
        self.most.set(moment);
        self.last.set(moment);
    }

    fn set_first(&self, moment: Moment) {
        self.first.set(moment);
        for ((site, bytes), (top_site, top_bytes)) in self.top.iter().zip(moment.top) {
            site.set(top_site);
            bytes.set(top_bytes);
        }
    }

    fn first(&self) -> Moment {
        let top = std::array::from_fn(|n| (self.top[n].0.get(), self.top[n].1.get()));
        Moment {
            top,
            ..self.first.get()
        }
    }

    fn go_on(&self, moment: Moment) {
        self.last.set(moment);
        if moment.live.bytes > self.most.bytes.get() {
            self.most.set(moment);
        }
    }
}

impl Timeline {
    pub(crate) const fn new() -> Self {
        Self {
            end: Counter64::new(),
            slot_ticks: Counter64::new(),
            used: Counter32::new(),
            slots: [const { Slot::new() }; SLOTS],
        }
    }

    /// Back to one moment: nothing is live at `now`.
    pub(crate) fn reset(&self, now: u64) {
        self.slot_ticks.set(FIRST_SLOT_TICKS);
        self.end.set(now.saturating_add(FIRST_SLOT_TICKS));
        self.used.set(1);
        self.slots[0].begin(Moment {
            ticks: now,
            ..Moment::default()
        });
    }

    /// Among how many sites the top ones may be looked for at the beginning of a slot.
    pub(crate) fn affordable_sites(&self) -> usize {
        (self.slot_ticks.get() / SLOT_TICKS_A_SITE) as usize
    }

    /// Whether the slot in use is over.
    #[cfg_attr(not(debug_assertions), inline(always))]
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now >= self.end.get()
    }

    /// When a moment was marked last.
    pub(crate) fn last_ticks(&self) -> u64 {
        self.slots[self.current()].last.ticks.get()
    }

    /// Marks a moment that is not before the last one.
    pub(crate) fn mark(&self, moment: Moment) {
        // Bytes that went from one thread to another can make the sum negative for a moment.
        if (moment.live.bytes as i64) < 0 || (moment.live.blocks as i64) < 0 {
            return;
        }
        if !self.is_due(moment.ticks) {
            self.slots[self.current()].go_on(moment);
            return;
        }
        if self.used.get() as usize == SLOTS {
            self.halve();
        }
        let next = self.used.get();
        self.slots[next as usize].begin(moment);
        self.used.set(next + 1);
        let end = moment.ticks.saturating_add(self.slot_ticks.get());
        self.end.set(end);
    }

    fn current(&self) -> usize {
        (self.used.get() as usize).clamp(1, SLOTS) - 1
    }

    /// Makes one slot of each two.
    fn halve(&self) {
        for slot in 0..SLOTS / 2 {
            let (first, second) = (&self.slots[2 * slot], &self.slots[2 * slot + 1]);
            let (most, other) = (first.most.get(), second.most.get());
            let last = second.last.get();
            let of_both = &self.slots[slot];
            of_both.set_first(first.first());
            of_both.most.set(if other.live.bytes > most.live.bytes {
                other
            } else {
                most
            });
            of_both.last.set(last);
        }
        self.used.set(SLOTS as u32 / 2);
        self.slot_ticks.set(self.slot_ticks.get().saturating_mul(2));
    }

    /// All moments, in order of time. Nobody marks meanwhile.
    pub(crate) fn moments(&self) -> impl Iterator<Item = Moment> + '_ {
        let used = &self.slots[..(self.used.get() as usize).min(SLOTS)];
        used.iter().flat_map(|slot| {
            let (first, most, last) = (slot.first(), slot.most.get(), slot.last.get());
            let is_told = first.top[0].1 > 0;
            let is_new = |moment: &Moment| !is_told || moment.ticks > first.ticks;
            let most = Some(most).filter(|most| most.ticks < last.ticks && is_new(most));
            let last = Some(last).filter(is_new);
            is_told.then_some(first).into_iter().chain(most).chain(last)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(ticks: u64, bytes: u64) -> Moment {
        let live = Amount { bytes, blocks: 1 };
        Moment {
            ticks,
            live,
            ..Moment::default()
        }
    }

    fn seen(timeline: &Timeline) -> Vec<(u64, u64)> {
        timeline
            .moments()
            .map(|moment| (moment.ticks, moment.live.bytes))
            .collect()
    }

    #[test]
    fn of_a_slot_the_most_and_the_last_are_kept() {
        let timeline = Timeline::new();
        timeline.reset(100);
        for (ticks, bytes) in [(110, 5), (120, 9), (130, 2), (140, 3)] {
            timeline.mark(moment(ticks, bytes));
        }
        assert_eq!(seen(&timeline), [(120, 9), (140, 3)]);
        let later = 100 + FIRST_SLOT_TICKS;
        assert!(!timeline.is_due(later - 1) && timeline.is_due(later));
        timeline.mark(moment(later, 7));
        assert_eq!(seen(&timeline), [(120, 9), (140, 3), (later, 7)]);
        timeline.mark(Moment {
            ticks: later + 1,
            live: Amount::default().minus(Amount {
                bytes: 1,
                blocks: 0,
            }),
            ..Moment::default()
        });
        assert_eq!(seen(&timeline).len(), 3, "no negative sum");
        timeline.reset(7);
        assert_eq!(seen(&timeline), [(7, 0)]);
    }

    #[test]
    fn the_first_moment_is_kept_with_its_top() {
        let timeline = Timeline::new();
        timeline.reset(0);
        let told = |slot: u64| Moment {
            top: [(7, slot), (9, 1), (0, 0)],
            ..moment(slot * FIRST_SLOT_TICKS, slot)
        };
        timeline.mark(told(1));
        timeline.mark(moment(FIRST_SLOT_TICKS + 1, 80));
        timeline.mark(moment(FIRST_SLOT_TICKS + 2, 70));
        let levels: Vec<u64> = timeline.moments().map(|moment| moment.live.bytes).collect();
        assert_eq!(levels, [0, 1, 80, 70]);
        assert_eq!(timeline.moments().nth(1), Some(told(1)));
        for slot in 2..=SLOTS as u64 {
            timeline.mark(told(slot));
        }
        // Of each two slots the first one's is kept: that of the start has none.
        let kept = timeline.moments().filter(|moment| moment.top[0].1 > 0);
        assert_eq!(kept.take(2).collect::<Vec<_>>(), [told(2), told(4)]);
    }

    #[test]
    fn a_full_table_halves_and_the_slots_get_longer() {
        let timeline = Timeline::new();
        timeline.reset(0);
        // A moment a slot of the first length, a thousand tables long; one of them is the largest.
        let largest = 77_777;
        for slot in 1..1000 * SLOTS as u64 {
            let bytes = if slot == largest { 1 << 40 } else { slot };
            timeline.mark(moment(slot * FIRST_SLOT_TICKS, bytes));
        }
        let moments = seen(&timeline);
        assert!(
            (SLOTS / 2..=2 * SLOTS).contains(&moments.len()),
            "{}",
            moments.len()
        );
        assert!(moments.is_sorted_by_key(|&(ticks, _)| ticks));
        assert!(moments.contains(&(largest * FIRST_SLOT_TICKS, 1 << 40)));
        assert_eq!(timeline.slot_ticks.get(), FIRST_SLOT_TICKS << 10);
        let gaps = moments.windows(2).map(|two| two[1].0 - two[0].0);
        assert!(gaps.max().unwrap() <= 2 * timeline.slot_ticks.get());
    }
}
