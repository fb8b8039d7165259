//! Which parts of a range of addresses are in use: one bit a slot.

use std::ops::Range;

#[derive(Debug)]
pub(crate) struct Slots<const WORDS: usize> {
    used: [u64; WORDS],
    /// Where the next search begins.
    cursor: usize,
}

impl<const WORDS: usize> Slots<WORDS> {
    pub(crate) const COUNT: usize = WORDS * 64;

    pub(crate) const fn new() -> Self {
        Self {
            used: [0; WORDS],
            cursor: 0,
        }
    }

    /// Takes `count` slots in a row, and leaves as many as `room` free behind
    /// them as long as there are others. None: there is no such row.
    pub(crate) fn take(&mut self, count: usize, room: usize) -> Option<usize> {
        let found = self
            .find(self.cursor..Self::COUNT, count)
            .or_else(|| self.find(0..Self::COUNT, count))?;
        self.mark(found..found + count, true);
        self.cursor = (found + count).saturating_add(room);
        if self.cursor >= Self::COUNT {
            self.cursor = 0;
        }
        Some(found)
    }

    /// Takes exactly these, if all are free.
    pub(crate) fn take_these(&mut self, slots: Range<usize>) -> bool {
        let is_free = slots.end <= Self::COUNT && slots.clone().all(|slot| !self.is_used(slot));
        if is_free {
            self.mark(slots, true);
        }
        is_free
    }

    pub(crate) fn give_back(&mut self, slots: Range<usize>) {
        self.mark(slots, false);
    }

    fn find(&self, within: Range<usize>, count: usize) -> Option<usize> {
        let mut start = within.start;
        let mut at = start;
        while at < within.end {
            if at.is_multiple_of(64) && self.used[at / 64] == u64::MAX {
                at += 64;
                start = at;
                continue;
            }
            at += 1;
            if self.is_used(at - 1) {
                start = at;
            } else if at - start == count {
                return Some(start);
            }
        }
        None
    }

    fn is_used(&self, slot: usize) -> bool {
        self.used[slot / 64] >> (slot % 64) & 1 != 0
    }

    fn mark(&mut self, slots: Range<usize>, used: bool) {
        for slot in slots {
            let bit = 1 << (slot % 64);
            if used {
                self.used[slot / 64] |= bit;
            } else {
                self.used[slot / 64] &= !bit;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_slot_is_given_twice(
            steps in prop::collection::vec((0_usize..3, 1_usize..40, 0_usize..80), 1..200),
        ) {
            const WORDS: usize = 4;
            let mut slots = Slots::<WORDS>::new();
            let mut model = [false; WORDS * 64];
            let mut held: Vec<Range<usize>> = Vec::new();
            for (what, count, number) in steps {
                match what {
                    0 => match slots.take(count, number) {
                        Some(first) => held.push(first..first + count),
                        None => {
                            let has_row = model.windows(count).any(|row| !row.contains(&true));
                            prop_assert!(!has_row, "{count} in {model:?}");
                        }
                    },
                    1 if !held.is_empty() => {
                        let row = held.swap_remove(number % held.len());
                        slots.give_back(row.clone());
                        model[row].fill(false);
                        continue;
                    }
                    _ if !held.is_empty() => {
                        let which = number % held.len();
                        let more = held[which].end..held[which].end + count;
                        let is_free = more.end <= model.len()
                            && !model[more.clone()].contains(&true);
                        prop_assert_eq!(slots.take_these(more.clone()), is_free);
                        if is_free {
                            held[which].end = more.end;
                            model[more].fill(true);
                        }
                        continue;
                    }
                    _ => continue,
                }
                if let Some(row) = held.last() {
                    if what == 0 && model[row.clone()].contains(&true) {
                        prop_assert!(held.iter().filter(|other| *other == row).count() == 1);
                    }
                    model[row.clone()].fill(true);
                }
            }
            let sum: usize = held.iter().map(Range::len).sum();
            prop_assert_eq!(sum, model.iter().filter(|&&used| used).count());
        }
    }
}
