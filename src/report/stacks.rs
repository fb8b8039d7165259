//! The frames of single sites, as text, for those who look at a few.

use super::frames::{Frame, FrameId, Frames, Place};
use super::names::Owner;
use super::profile::{Options, Profile};
use super::trim;
use crate::record::snapshot::Snapshot;

/// A frame of a site's stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StackFrame {
    /// Empty if no name is known.
    pub(crate) function: String,
    /// The source file; the module where no line is known.
    pub(crate) file: String,
    pub(crate) line: Option<u32>,
    /// Somebody wrote it who does not work on the standard library.
    pub(crate) is_user: bool,
    pub(crate) is_profiler: bool,
}

/// The trimmed stack of each site of `snapshot`, in their order, innermost
/// frame first.
pub(crate) fn of_sites(snapshot: &Snapshot, options: &Options) -> Vec<Vec<StackFrame>> {
    let profile = Profile::of_each_site(snapshot, options);
    let frames = profile.frames();
    let stack = |point| {
        let ids = profile.frames_of(point);
        ids.map(|id| frame(frames, id)).collect()
    };
    profile.points.iter().map(stack).collect()
}

fn frame(frames: &Frames, id: FrameId) -> StackFrame {
    let owner = trim::owner_of(frames, frames.get(id));
    let (function, file, line) = match frames.get(id) {
        Frame::Note(text) => (frames.text(text), "", None),
        Frame::Code {
            function, place, ..
        } => {
            let function = function.map_or("", |text| frames.text(text));
            match place {
                Place::Source { file, line, .. } => (function, frames.text(file), Some(line)),
                Place::Module(path) => (function, frames.text(path), None),
            }
        }
    };
    StackFrame {
        function: function.to_owned(),
        file: file.to_owned(),
        line,
        is_user: owner.is_user(),
        is_profiler: owner == Owner::Profiler,
    }
}
