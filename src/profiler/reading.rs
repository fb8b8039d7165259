//! Readings of the run in progress and of the one that ends.

use super::{PHASE, ProfilerBuilder, Run, command, exact, fork, print_line, while_running};
use crate::alloc::ENGINE;
use crate::capture::module_map;
use crate::capture::modules_of_stacks::modules_of;
use crate::clock::{Moment, Scale};
use crate::engine::timing::MEAN_GAP;
use crate::record::snapshot::{AllocatorTime, Kind, MomentInTime, SiteList, Snapshot};
use crate::record::{Sums, timeline};
use crate::report::output::Formats;
use crate::report::profile::{Options, Profile};
use crate::report::trim::Trim;
use crate::report::unloaded;
use std::collections::{HashMap, HashSet};

/// Everything recorded so far in this run, at one moment; and for how many
/// nanoseconds reading it kept others from recording.
fn read(run: &Run) -> (Snapshot, u64) {
    let (sums, end, pause_ns) = ENGINE.read();
    let mut sites = Sites::new(run, end);
    sites.add(&sums);
    (snapshot(run, &sums, sites), pause_ns)
}

/// Everything recorded in this run, which is over. Afterwards its counts are forgotten.
pub(super) fn take(run: &Run) -> Snapshot {
    if run.settings.measures_touch() {
        ENGINE.measure_live();
    }
    let mut sites = Sites::new(run, Moment::now());
    let sums = ENGINE.take(|part| sites.add(part));
    snapshot(run, &sums, sites)
}

/// What is known by site.
struct Sites {
    end: Moment,
    scale: Scale,
    list: SiteList,
    /// Of each site, if calls are timed.
    times: Option<Vec<AllocatorTime>>,
}

impl Sites {
    fn new(run: &Run, end: Moment) -> Self {
        Self {
            end,
            scale: Scale::between(run.start, end),
            list: SiteList::default(),
            times: run.settings.times_calls().then(Vec::new),
        }
    }

    fn add(&mut self, sums: &Sums) {
        let recorder = ENGINE.recorder();
        let resolved = recorder.resolve(sums, self.scale, self.end.ticks);
        self.list.extend(resolved);
        if let Some(times) = &mut self.times {
            let ns = self.scale.ns_per_tick() * f64::from(MEAN_GAP);
            times.extend(recorder.resolve_times(sums, ns));
        }
    }

    /// The index of each site that is among the top of a moment, by its number.
    fn top(&self, moments: &[timeline::Moment]) -> HashMap<u32, u32> {
        let top = moments.iter().flat_map(|moment| moment.top);
        let wanted: HashSet<u32> = top.map(|(site, _)| site).collect();
        let numbers = self.list.places().iter().map(|place| place.number);
        numbers
            .zip(0..)
            .filter(|(number, _)| wanted.contains(number))
            .collect()
    }
}

fn snapshot(run: &Run, sums: &Sums, sites: Sites) -> Snapshot {
    let recorder = ENGINE.recorder();
    let (end, scale) = (sites.end, sites.scale);
    let exact = run.settings.is_exact();
    let mut refusals = ENGINE.refusals(exact, sums.totals.peak_bytes);
    refusals.bounded_max_sites = if exact { 0 } else { sums.shared_sites };
    let since_start = |ticks: u64| scale.to_us(ticks.saturating_sub(run.start.ticks));
    let peak_at_us = since_start(recorder.peak.at_ticks());
    let duration_us = since_start(end.ticks);
    let mut timeline = Vec::new();
    if run.settings.kind() == Kind::Heap {
        let top_sites = sites.top(&sums.timeline);
        let marked = sums.timeline.iter().map(|moment| MomentInTime {
            at_us: since_start(moment.ticks),
            live_bytes: moment.live.bytes,
            live_blocks: moment.live.blocks,
            is_peak: false,
            top: moment.top.map(|(site, bytes)| match top_sites.get(&site) {
                Some(&index) => (index, bytes),
                None => (0, 0),
            }),
        });
        timeline = sums.totals.framing(marked, peak_at_us, duration_us);
    }
    Snapshot {
        kind: run.settings.kind(),
        duration_us,
        peak_at_us,
        timeline,
        totals: sums.totals,
        accesses: exact::read(run.accesses, &sites.list),
        sites: sites.list,
        time: sites
            .times
            .is_some()
            .then(|| ENGINE.timing.process_time(&sums.time, scale.ns_per_tick())),
        site_times: sites.times.unwrap_or_default(),
        nodes: recorder.nodes(),
        modules: Vec::new(),
        sample_bytes: run.settings.sampling(),
        refusals,
        capture: ENGINE.back_end().name(),
    }
}

/// The objects that frames are of, loaded and unloaded ones. With no lock held by this thread.
pub(crate) fn add_modules(snapshot: &mut Snapshot) {
    snapshot.modules = match fork::is_copy() {
        true => modules_of(snapshot.nodes.iter().map(|node| node.address)),
        false => module_map::loaded_modules(),
    };
    // Under the phase's lock, which a fork takes first: no copy has the notes locked.
    let noted = ENGINE.ignoring(|| {
        let _phase = PHASE.lock();
        ENGINE.noted_modules()
    });
    unloaded::tell_apart(snapshot, &noted);
}

/// What a snapshot of the run in progress is written from: everything
/// recorded so far, how it is to be shown, and for how many nanoseconds
/// reading it kept others from recording.
///
/// # Errors
/// Why there is nothing to be read.
pub(crate) fn read_running() -> Result<(Snapshot, Options, u64), &'static str> {
    let read = while_running(|run| {
        if !run.installed {
            return Err(run.settings.missing());
        }
        let (snapshot, pause_ns) = read(run);
        Ok((snapshot, options(&run.settings), pause_ns))
    });
    let (mut snapshot, options, pause_ns) = read.ok_or(NOT_RUNNING)??;
    add_modules(&mut snapshot);
    Ok((snapshot, options, pause_ns))
}

/// Writes a profile of the run in progress, beside the files of its end.
///
/// # Errors
/// Why not, in a sentence.
pub(super) fn save_running(number: u32) -> Result<(), String> {
    let settings = while_running(|run| (run.settings.clone(), run.pid)).ok_or(NOT_RUNNING)?;
    let (settings, pid) = settings;
    let (snapshot, options, _) = read_running()?;
    let profile = Profile::from_snapshot(&snapshot, &options);
    let mut formats = Formats::of(&profile);
    let own = std::process::id();
    for output in settings.files((own != pid).then_some(own)) {
        let saved = formats.save(&output.of_copy(number));
        let saved = saved.map_err(|error| error.to_string())?;
        if !settings.quiet {
            print_line(&saved.to_string());
        }
    }
    Ok(())
}

pub(super) fn options(settings: &ProfilerBuilder) -> Options {
    Options {
        trim: settings.trim_backtraces.map_or(Trim::Off, Trim::To),
        command: command(),
        pid: std::process::id(),
        touch_as_accesses: settings.touch_in_dhat && settings.measures_touch(),
    }
}

const NOT_RUNNING: &str = "no profiler is running; create one with Profiler::new_heap";
