//! `resolve`: names for a profile whose program was stripped, from a debug file or an unstripped twin.

mod debug_file;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use heapledger_formats::dhat;
use heapledger_formats::frame::Frame;
use heapledger_formats::model::Profile;

use crate::convert;
use crate::failure::{Failure, Result};
use crate::load;
use crate::names::{self, file_name};
use crate::output;
use crate::terminal::thousands;
use debug_file::DebugFile;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// A program, library or separate debug file with names; it belongs to the frames of the file of
    /// its name, or of its build id, or to those of MODULE
    #[arg(long, required = true, value_name = "[MODULE=]FILE")]
    exe: Vec<OsString>,
    /// Take a file of another build, or where the profile does not tell the build
    #[arg(long)]
    force: bool,
    /// The file to write, `-` for standard output; by default FILE with `.resolved.json`
    #[arg(long, short)]
    output: Option<PathBuf>,
}

/// An address in a file, as a frame tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Unnamed<'a> {
    module: &'a str,
    address: u64,
}

/// Frames without a line, of profilers whose addresses are those that the linker gave: heapledger's
/// `0x1f: ??? (in app)` and heapscope's `0x7f…: ??? (app+0x1f)`.
fn unnamed<'a>(text: &'a str, is_ours: bool) -> Option<Unnamed<'a>> {
    let frame = Frame::parse(text);
    if let (true, Some(module), Some(address)) = (is_ours, frame.module, frame.address) {
        return Some(Unnamed { module, address });
    }
    let inner = frame.name.strip_prefix("??? (")?.strip_suffix(')')?;
    let (module, offset) = inner.rsplit_once("+0x")?;
    let address = u64::from_str_radix(offset, 16).ok()?;
    Some(Unnamed { module, address })
}

pub(crate) fn run(path: &Path, options: &Options, out: &mut dyn Write) -> Result<()> {
    let target = convert::target(path, options.output.as_deref(), "resolved.json")?;
    let mut profile = load::profile(path)?;
    let files: Vec<DebugFile> = options
        .exe
        .iter()
        .map(|exe| DebugFile::open(exe))
        .collect::<Result<_>>()?;
    let is_ours = profile.extension.is_some();
    let frames: Vec<Option<Unnamed<'_>>> = profile
        .frames
        .iter()
        .map(|text| unnamed(text, is_ours))
        .collect();
    let mut builds: HashMap<&str, &str> = HashMap::new();
    for module in profile
        .extension
        .iter()
        .flat_map(|extension| &extension.modules)
    {
        if !module.build_id.is_empty() {
            builds.entry(&module.path).or_insert(&module.build_id);
        }
    }
    let mut file_of_module: HashMap<&str, Option<&DebugFile>> = HashMap::new();
    for at in frames.iter().flatten() {
        if !file_of_module.contains_key(at.module) {
            let build = builds.get(at.module).copied();
            let file = file_for(at.module, build, &files, options.force)
                .map_err(|what| Failure::of_path(path, what))?;
            file_of_module.insert(at.module, file);
        }
    }
    if file_of_module.values().all(Option::is_none) {
        return Err(Failure::of_path(
            path,
            nothing_to_name(&file_of_module, is_ours),
        ));
    }

    let mut named = 0;
    let names: Vec<Option<Vec<Box<str>>>> = frames
        .iter()
        .map(|at| {
            let at = (*at)?;
            let texts = file_of_module[at.module]?.frames(at.address)?;
            named += 1;
            Some(texts)
        })
        .collect();
    let count = frames.iter().flatten().count();
    if named == 0 {
        let what =
            "the files that were given have no names for its addresses: were they stripped too?";
        return Err(Failure::of_path(path, what));
    }
    replace(&mut profile, names);
    let whole = dhat::Options::default();
    output::write(&target, |sink| dhat::write(&profile, &whole, sink))?;
    // Standard output may be the file.
    if !output::is_stdout(&target) {
        let (named, count) = (thousands(named as u128), thousands(count as u128));
        writeln!(out, "{named} of {count} frames without a line have one now")?;
    }
    output::announce(&target, out)
}

/// How many frames have no name, and what can be done about it.
pub(crate) fn note(profile: &Profile) -> Option<String> {
    let is_ours = profile.extension.is_some();
    let is_nameless = |text: &str| Frame::parse(text).name.starts_with("???");
    let nameless = profile.frames.iter().filter(|text| is_nameless(text));
    let mut count = 0;
    let mut modules: BTreeMap<&str, usize> = BTreeMap::new();
    for text in nameless {
        count += 1;
        if let Some(at) = unnamed(text, is_ours) {
            *modules.entry(at.module).or_default() += 1;
        }
    }
    if count == 0 {
        return None;
    }
    let mut note = format!(
        "Frames without a name: {} of {}",
        thousands(count as u128),
        // `[root]` is none.
        thousands(profile.frames.len() as u128 - 1)
    );
    if let Some((module, of_module)) = modules.iter().max_by_key(|(_, count)| **count) {
        let module = file_name(module);
        note += &format!(
            ", {} of them in {module}; `heapledger resolve FILE --exe {module}` adds those that a copy of it with symbols has",
            thousands(*of_module as u128)
        );
    }
    Some(note + ".")
}

/// A line of error stays one that is read.
const MODULES_TOLD: usize = 10;

fn nothing_to_name(modules: &HashMap<&str, Option<&DebugFile>>, is_ours: bool) -> String {
    let mut names: Vec<&str> = modules.keys().copied().collect();
    names.sort_unstable();
    if !names.is_empty() {
        let more = match names.len().saturating_sub(MODULES_TOLD) {
            0 => String::new(),
            more => format!(" and {} more", thousands(more as u128)),
        };
        names.truncate(MODULES_TOLD);
        let names = names.join(", ");
        return format!(
            "no file was given for its modules: {names}{more}; name one as `--exe MODULE=FILE`"
        );
    }
    if is_ours {
        return "every frame has its line already".into();
    }
    "its addresses are those of a process that is gone: only heapledger's and heapscope's files can be resolved".into()
}

/// The file for a module: of its name, or of its build id. A file of another build is refused.
fn file_for<'a>(
    module: &str,
    build: Option<&str>,
    files: &'a [DebugFile],
    force: bool,
) -> std::result::Result<Option<&'a DebugFile>, String> {
    let same_build = files
        .iter()
        .find(|file| build.is_some_and(|build| file.build_id == build));
    if same_build.is_some() {
        return Ok(same_build);
    }
    let Some(file) = files.iter().find(|file| file.is_for(module)) else {
        return Ok(None);
    };
    match build {
        _ if force => Ok(Some(file)),
        Some(build) => Err(format!(
            "{} is another build of {}: its build id is {}, and the profile's {}; --force takes it all the same",
            file.path.display(),
            file_name(module),
            if file.build_id.is_empty() {
                "not told"
            } else {
                &file.build_id
            },
            build
        )),
        None => Err(format!(
            "it does not tell the build of {}, so that {} may be another one; --force takes it",
            file_name(module),
            file.path.display()
        )),
    }
}

/// One frame may become several, of functions that were inlined.
fn replace(profile: &mut Profile, names: Vec<Option<Vec<Box<str>>>>) {
    let mut numbers: HashMap<Box<str>, u32> = HashMap::new();
    let mut frames: Vec<Box<str>> = Vec::new();
    let old = std::mem::take(&mut profile.frames);
    let lists: Vec<Vec<u32>> = old
        .into_iter()
        .zip(names)
        .map(|(text, names)| {
            let texts = names.unwrap_or_else(|| vec![text]);
            let number = |text: Box<str>| {
                *numbers.entry(text).or_insert_with_key(|text| {
                    frames.push(text.clone());
                    u32::try_from(frames.len() - 1).expect("fewer than 2^32 frames")
                })
            };
            texts.into_iter().map(number).collect()
        })
        .collect();
    let is_inner: Vec<bool> = frames
        .iter()
        .map(|text| names::is_way_to_allocator(&Frame::parse(text)))
        .collect();
    let mut stacks = Vec::with_capacity(profile.stacks.len());
    for point in &mut profile.points {
        let old = &profile.stacks[point.stack.0 as usize..point.stack.1 as usize];
        let end =
            |stacks: &Vec<u32>| u32::try_from(stacks.len()).expect("fewer than 2^32 frames in all");
        let start = end(&stacks);
        let stack: Vec<u32> = old
            .iter()
            .flat_map(|&frame| &lists[frame as usize])
            .copied()
            .collect();
        let cut = inner_frames(
            old.iter().map(|&frame| lists[frame as usize].as_slice()),
            &is_inner,
        );
        stacks.extend(if cut == stack.len() {
            &stack
        } else {
            &stack[cut..]
        });
        point.stack = (start, end(&stacks));
    }
    (profile.frames, profile.stacks) = (frames, stacks);
}

/// How many innermost frames are the profiler's and the allocator's, which the recorder leaves out where
/// it knows them. Each list is a function and, before it, what was inlined into it.
fn inner_frames<'a>(lists: impl Iterator<Item = &'a [u32]>, is_inner: &[bool]) -> usize {
    let mut count = 0;
    for list in lists {
        let inner = list.iter().rposition(|&frame| is_inner[frame as usize]);
        count += inner.map_or(0, |last| last + 1);
        if inner.is_none_or(|last| last + 1 < list.len()) {
            break;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_without_a_line() {
        let at = |module, address| Some(Unnamed { module, address });
        assert_eq!(unnamed("0x1f: ??? (in /a/app)", true), at("/a/app", 0x1f));
        assert_eq!(unnamed("0x1f: f (in /a/app)", true), at("/a/app", 0x1f));
        // Of whatever process that was.
        assert_eq!(unnamed("0x1f: ??? (in /a/app)", false), None);
        assert_eq!(
            unnamed("0x7f01: ??? (/a/app+0x1f)", false),
            at("/a/app", 0x1f)
        );
        assert_eq!(unnamed("0x1f: f (a.rs:1:1)", true), None);
        assert_eq!(unnamed("[root]", true), None);
    }
}
