//! The tables against a naive model: a list of live blocks and plain sums,
//! with every peak found by adding everything up after every change.

use super::block_entry::Entry;
use super::book::{Book, MOMENT_BYTES_MIN};
use super::peak::{Mode, SLACK_DIVISOR};
use super::site_counters::{SiteCounters, SiteSum};
use super::timeline::{self, FIRST_SLOT_TICKS};
use super::{Recorder, Sums};
use crate::capture::walk::{Ended, Stack};
use crate::clock::{Moment, Scale};
use crate::record::snapshot::{Counts, Totals};
use crate::untracked;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

/// Fewer where each step is interpreted.
const CASES: u32 = if cfg!(miri) { 2 } else { 128 };
const ACTS: usize = if cfg!(miri) { 30 } else { 300 };

#[derive(Clone, Debug)]
enum Act {
    Alloc {
        book: usize,
        site: u64,
        address: usize,
        bytes: usize,
    },
    Free {
        book: usize,
        which: usize,
    },
    Realloc {
        book: usize,
        which: usize,
        address: usize,
        bytes: usize,
    },
}

fn act(books: usize) -> impl Strategy<Value = Act> {
    let bytes = prop_oneof![1_usize..100, 1000_usize..100_000];
    // Some addresses that the block map holds, some that it does not.
    let address = (1_usize..2000).prop_map(|n| 0x10_0000 + n * 8);
    prop_oneof![
        4 => (0..books, 1_u64..6, address.clone(), bytes.clone())
            .prop_map(|(book, site, address, bytes)| Act::Alloc { book, site, address, bytes }),
        3 => (0..books, any::<usize>()).prop_map(|(book, which)| Act::Free { book, which }),
        2 => (0..books, any::<usize>(), address, bytes).prop_map(
            |(book, which, address, bytes)| Act::Realloc { book, which, address, bytes }
        ),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Block {
    site: u64,
    bytes: u64,
    birth: u64,
}

#[derive(Default)]
struct Model {
    live: BTreeMap<usize, Block>,
    totals: Totals,
    sites: HashMap<u64, Counts>,
    /// Sites in the order of their first use, which is that of their numbers.
    order: Vec<u64>,
    lifetimes: HashMap<u64, u64>,
}

impl Model {
    fn held(&self, site: u64) -> (u64, u64) {
        let blocks = self.live.values().filter(|block| block.site == site);
        blocks.fold((0, 0), |(bytes, count), block| {
            (bytes + block.bytes, count + 1)
        })
    }

    /// What the site holds that holds most.
    fn largest(&self) -> u64 {
        let sites = self.sites.keys().map(|&site| self.held(site).0);
        sites.max().unwrap_or(0)
    }

    /// Adds everything up; later equal peaks replace earlier ones.
    fn after_change(&mut self, changed: u64, allocated: Option<u64>) {
        let totals = &mut self.totals;
        totals.live_bytes = self.live.values().map(|block| block.bytes).sum();
        totals.live_blocks = self.live.len() as u64;
        if let Some(bytes) = allocated {
            totals.total_blocks += 1;
            totals.total_bytes += bytes;
            if !self.order.contains(&changed) {
                self.order.push(changed);
            }
            let site = self.sites.entry(changed).or_default();
            site.total_blocks += 1;
            site.total_bytes += bytes;
            site.largest_bytes = site.largest_bytes.max(bytes);
        }
        if allocated.is_some() && totals.live_bytes >= totals.peak_bytes {
            (totals.peak_bytes, totals.peak_blocks) = (totals.live_bytes, totals.live_blocks);
            let held: Vec<_> = self
                .sites
                .keys()
                .map(|&site| (site, self.held(site)))
                .collect();
            for (site, (bytes, blocks)) in held {
                let site = self.sites.entry(site).or_default();
                (site.peak_bytes, site.peak_blocks) = (bytes, blocks);
            }
        }
        let (bytes, blocks) = self.held(changed);
        let site = self.sites.entry(changed).or_default();
        if bytes >= site.max_bytes {
            (site.max_bytes, site.max_blocks) = (bytes, blocks);
        }
    }

    fn finish(&mut self, now: u64) -> BTreeMap<u64, Counts> {
        let mut sites = std::mem::take(&mut self.sites);
        for (&number, site) in &mut sites {
            (site.end_bytes, site.end_blocks) = self.held(number);
            let ended = self.lifetimes.get(&number).copied().unwrap_or(0);
            let live = self.live.values().filter(|block| block.site == number);
            site.lifetimes_us = ended + live.map(|block| now - block.birth).sum::<u64>();
        }
        sites.into_iter().collect()
    }
}

/// A site's stack: no frames, only its identity.
fn stack(site: u64) -> Stack<'static> {
    Stack {
        key: site,
        check: 1,
        frames: &mut [],
        is_window: false,
        ended: Ended::Whole,
    }
}

fn new_book() -> &'static mut Book {
    // SAFETY: zeroed memory is a valid book, and this one is leaked.
    unsafe { untracked::map_zeroed::<Book>().unwrap().as_mut() }
}

struct Outcome {
    totals: Totals,
    sites: BTreeMap<u64, Counts>,
    /// How far below the truth the peak may be.
    slack_bytes: u64,
    model_totals: Totals,
    model_sites: BTreeMap<u64, Counts>,
    timeline: Vec<timeline::Moment>,
    peak_ticks: u64,
    /// What was live after each act: time, bytes, blocks; and what the largest site held.
    history: Vec<(u64, u64, u64, u64)>,
}

/// Ticks from one act to the next: a few of them make a slot of the timeline.
const STEP: u64 = FIRST_SLOT_TICKS / 5;

fn run(books: usize, mode: Mode, acts: &[Act]) -> Outcome {
    let recorder: &'static Recorder = Box::leak(Box::new(Recorder::new()));
    recorder.peak.reset(0);
    recorder.peak.set_threads(books as u32);
    let mut books: Vec<_> = (0..books).map(|_| new_book()).collect();
    for book in &mut books {
        book.set_mode(mode, mode == Mode::ManyExact, &recorder.peak, 0);
    }
    let mut model = Model::default();
    let mut history = vec![(0, 0, 0, 0)];
    let mut now = 0;
    for act in acts {
        let totals = model.totals;
        history.push((now, totals.live_bytes, totals.live_blocks, model.largest()));
        now += STEP;
        match *act {
            Act::Alloc {
                book,
                site,
                address,
                bytes,
            } => {
                if model.live.contains_key(&address) {
                    continue;
                }
                let id = recorder.site_of(books[book], &mut stack(site)).unwrap();
                recorder
                    .alloc(books[book], Entry::of(id), address, bytes, now)
                    .unwrap();
                let bytes = bytes as u64;
                model.live.insert(
                    address,
                    Block {
                        site,
                        bytes,
                        birth: now,
                    },
                );
                model.after_change(site, Some(bytes));
            }
            Act::Free { book, which } => {
                let Some((&address, &block)) =
                    model.live.iter().nth(which % model.live.len().max(1))
                else {
                    // Unknown blocks are ignored.
                    recorder.free(books[book], 0xdead_0000, 10, now);
                    continue;
                };
                recorder.free(books[book], address, block.bytes as usize, now);
                model.live.remove(&address);
                *model.lifetimes.entry(block.site).or_default() += now - block.birth;
                model.after_change(block.site, None);
            }
            Act::Realloc {
                book,
                which,
                address: to,
                bytes,
            } => {
                let Some((&from, &block)) = model.live.iter().nth(which % model.live.len().max(1))
                else {
                    assert_eq!(recorder.take(to), None);
                    continue;
                };
                if to != from && model.live.contains_key(&to) {
                    let site = recorder.take(from).unwrap();
                    recorder.put_back(from, site).unwrap();
                    continue;
                }
                let site = recorder.take(from).unwrap();
                let sizes = (block.bytes as usize, bytes);
                let places = (from, to);
                recorder
                    .resized(books[book], site, places, sizes, now)
                    .unwrap();
                model.live.remove(&from);
                let bytes = bytes as u64;
                model.live.insert(to, Block { bytes, ..block });
                model.after_change(block.site, Some(bytes));
                let kept = block.bytes.min(bytes);
                let counts = model.sites.entry(block.site).or_default();
                counts.reallocs += 1;
                counts.kept_bytes += kept;
                counts.copied_bytes += if to == from { 0 } else { kept };
            }
        }
    }
    let totals = model.totals;
    history.push((now, totals.live_bytes, totals.live_blocks, model.largest()));
    now += STEP;
    let mut sums = Sums::default();
    sums.by_site
        .resize(recorder.site_numbers(), SiteSum::default());
    recorder.read(books.iter().map(|book| &**book), &mut sums);
    // A tick is a microsecond here.
    let scale = Scale::between(
        Moment::default(),
        Moment {
            ticks: 1000,
            ns: 1_000_000,
        },
    );
    let sites = recorder.resolve(&sums, scale, now);
    let sites: BTreeMap<u64, Counts> = model
        .order
        .iter()
        .copied()
        .zip(sites.map(|site| site.counts))
        .collect();
    Outcome {
        totals: sums.totals,
        sites,
        slack_bytes: recorder.peak.slack_above(sums.totals.peak_bytes),
        model_sites: model.finish(now),
        model_totals: model.totals,
        timeline: recorder.peak.timeline.moments().collect(),
        peak_ticks: recorder.peak.at_ticks(),
        history,
    }
}

/// Every moment is as it was, and none is missing for longer than a slot, but where what was live
/// had changed by less than the slack.
fn check_timeline(outcome: &Outcome) -> Result<(), TestCaseError> {
    let truth: HashMap<u64, (u64, u64, u64)> = outcome
        .history
        .iter()
        .map(|&(ticks, bytes, blocks, largest)| (ticks, (bytes, blocks, largest)))
        .collect();
    // Nothing is live at the start.
    let mut levels = BTreeMap::from([(0, 0)]);
    for moment in &outcome.timeline {
        let (bytes, blocks, largest) = truth[&moment.ticks];
        let live = (moment.live.bytes, moment.live.blocks);
        prop_assert_eq!(live, (bytes, blocks), "at {}", moment.ticks);
        let (_, top) = moment.top[0];
        prop_assert!(top == 0 || top == largest, "{} at {}", top, moment.ticks);
        levels.insert(moment.ticks, live.0);
    }
    levels.insert(outcome.peak_ticks, outcome.totals.peak_bytes);
    let slack = (outcome.totals.peak_bytes / SLACK_DIVISOR).max(MOMENT_BYTES_MIN);
    for &(ticks, bytes, ..) in &outcome.history {
        let (&since, &level) = levels.range(..=ticks).next_back().unwrap();
        let next = levels.range(ticks..).next().map(|(&next, _)| next);
        let is_near = bytes.abs_diff(level) <= slack
            || ticks < since + FIRST_SLOT_TICKS
            || next.is_some_and(|next| next < ticks + FIRST_SLOT_TICKS);
        prop_assert!(
            is_near,
            "{} at {}, shown as {} since {}",
            bytes,
            ticks,
            level,
            since
        );
    }
    Ok(())
}

fn without_peaks(mut counts: Counts) -> Counts {
    (
        counts.peak_bytes,
        counts.peak_blocks,
        counts.max_bytes,
        counts.max_blocks,
    ) = (0, 0, 0, 0);
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn one_thread_is_exact(acts in prop::collection::vec(act(1), 1..ACTS)) {
        let outcome = run(1, Mode::Single, &acts);
        prop_assert_eq!(outcome.totals, outcome.model_totals);
        prop_assert_eq!(&outcome.sites, &outcome.model_sites);
        prop_assert_eq!(outcome.slack_bytes, 0);
        check_timeline(&outcome)?;
    }

    #[test]
    fn many_threads_are_exact_on_request(acts in prop::collection::vec(act(4), 1..ACTS)) {
        let outcome = run(4, Mode::ManyExact, &acts);
        prop_assert_eq!(outcome.totals, outcome.model_totals);
        prop_assert_eq!(outcome.sites, outcome.model_sites);
    }

    #[test]
    fn many_threads_are_exact_but_for_bounded_peaks(
        acts in prop::collection::vec(act(4), 1..ACTS),
    ) {
        let Outcome { totals, sites, slack_bytes, model_totals, model_sites, .. } =
            run(4, Mode::Many, &acts);
        let unpeaked = |totals: Totals| Totals { peak_bytes: 0, peak_blocks: 0, ..totals };
        prop_assert_eq!(unpeaked(totals), unpeaked(model_totals));
        prop_assert!(totals.peak_bytes <= model_totals.peak_bytes);
        prop_assert!(model_totals.peak_bytes <= totals.peak_bytes + slack_bytes);
        let sum: u64 = sites.values().map(|site| site.peak_bytes).sum();
        prop_assert_eq!(sum, totals.peak_bytes);
        let sum: u64 = sites.values().map(|site| site.peak_blocks).sum();
        prop_assert_eq!(sum, totals.peak_blocks);
        prop_assert_eq!(sites.len(), model_sites.len());
        for (number, site) in &sites {
            let model = model_sites[number];
            prop_assert_eq!(without_peaks(*site), without_peaks(model));
            prop_assert!(site.max_bytes >= site.end_bytes.max(site.peak_bytes));
            let slack = 4 * (site.max_bytes / 64).max(1024);
            prop_assert!(site.max_bytes.abs_diff(model.max_bytes) <= slack);
        }
    }
}

#[test]
fn an_equal_maximum_of_several_threads_replaces_the_first_threads() {
    let alloc = |address, bytes| Act::Alloc {
        book: 0,
        site: 1,
        address,
        bytes,
    };
    let acts = [
        alloc(0x10_0000, 40),
        alloc(0x10_0040, 51),
        Act::Free { book: 1, which: 0 },
        Act::Realloc {
            book: 2,
            which: 0,
            address: 0x10_0080,
            bytes: 91,
        },
        // The first thread learns that it is not alone.
        alloc(0x10_0100, 1),
        Act::Free { book: 0, which: 1 },
    ];
    let counts = run(3, Mode::ManyExact, &acts[..4]).sites[&1];
    assert_eq!((counts.max_bytes, counts.max_blocks), (91, 1));
    let counts = run(3, Mode::ManyExact, &acts).sites[&1];
    assert_eq!((counts.max_bytes, counts.max_blocks), (92, 2));
    let free_first = [&acts[..4], &[Act::Free { book: 0, which: 0 }]].concat();
    let counts = run(3, Mode::ManyExact, &free_first).sites[&1];
    assert_eq!((counts.max_bytes, counts.max_blocks), (91, 1));
}

#[test]
fn counters_fill_a_cache_line() {
    assert_eq!(size_of::<SiteCounters>(), 64);
}
