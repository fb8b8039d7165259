//! The points of a profile, told as people think of them: the function that decided to allocate,
//! through what, in which file and crate.

use heapledger_formats::frame::Frame;
use heapledger_formats::model::{Point, Profile};

use crate::code::{self, Code, Known};
use crate::folder;
use crate::names;

/// The frames of a profile, taken apart once.
#[derive(Debug)]
pub(crate) struct Sites<'a> {
    pub(crate) profile: &'a Profile,
    frames: Vec<Parsed<'a>>,
    known: Known<'a>,
}

#[derive(Debug)]
struct Parsed<'a> {
    frame: Frame<'a>,
    is_standard: bool,
    code: Code,
    container: Option<&'static str>,
}

/// Where the decision was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    /// The innermost frame that is not of the standard library, else the innermost one; `None` for
    /// a point without frames.
    pub(crate) frame: Option<Frame<'a>>,
    /// The function of the standard library that it called.
    pub(crate) through: Option<Frame<'a>>,
    /// The container that was made.
    pub(crate) container: Option<&'static str>,
}

/// All that a group's name depends on: the numbers of a site's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    /// See [`Site`].
    pub(crate) site: Option<u32>,
    through: Option<u32>,
    container: Option<&'static str>,
    /// The innermost frame of the program's own code.
    pub(crate) own: Option<u32>,
}

/// Where in a point's stack the frames of its key are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depths {
    /// Of the frame that a site is called after.
    pub(crate) site: usize,
    /// Of the innermost frame of the program's own code.
    pub(crate) own: Option<usize>,
}

/// What [`Sites::name_of`] puts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Grouping {
    /// Each stack by itself
    Point,
    /// The line that decided to allocate, with what it called
    Site,
    /// The innermost line of the program's own code that led there
    Own,
    /// The function that decided to allocate
    Function,
    /// Its crate, or library
    Crate,
    /// Its source file
    File,
    /// The container: Vec, String, Box, HashMap…
    Type,
}

impl<'a> Sites<'a> {
    pub(crate) fn new(profile: &'a Profile) -> Sites<'a> {
        let frames: Vec<Frame<'a>> = profile
            .frames
            .iter()
            .map(|text| Frame::parse(text))
            .collect();
        let mut known = Known::of(&frames);
        let parsed = |frame: &Frame<'a>| {
            let owner = frame.file.and_then(|file| known.crates_of_files.get(file));
            // What was inlined is named without its crate, and dhat-rs cuts paths off: `push (src/vec/mod.rs:1)`.
            let is_of_standard_file = !known.whole_paths
                && names::crate_of(frame).is_none()
                && owner.is_some_and(|owner| names::is_standard_crate(owner));
            let is_standard = is_of_standard_file || names::is_standard(frame, known.whole_paths);
            Parsed {
                frame: *frame,
                is_standard,
                code: known.code(frame, is_standard),
                container: names::container_of(frame),
            }
        };
        let mut frames: Vec<Parsed<'a>> = frames.iter().map(parsed).collect();
        let of_own = |parsed: &Parsed<'a>| parsed.frame.file.filter(|_| parsed.code == Code::Own);
        let whole = frames
            .iter()
            .filter_map(of_own)
            .filter(|file| folder::is_whole(file));
        let folder = folder::common(whole);
        for parsed in &mut frames {
            let Some(file) = of_own(parsed) else { continue };
            if let Some(inside) = file.strip_prefix(folder).filter(|_| folder::is_whole(file)) {
                parsed.frame.file = Some(inside);
                if let Some(&owner) = known.crates_of_files.get(file) {
                    known.crates_of_files.insert(inside, owner);
                }
            }
        }
        Sites {
            profile,
            frames,
            known,
        }
    }

    /// Its file, where that is one of the program's own, is told from the folder that has them all.
    pub(crate) fn frame(&self, number: u32) -> &Frame<'a> {
        &self.frames[number as usize].frame
    }

    pub(crate) fn is_standard(&self, number: u32) -> bool {
        self.frames[number as usize].is_standard
    }

    pub(crate) fn code(&self, number: u32) -> Code {
        self.frames[number as usize].code
    }

    pub(crate) fn key(&self, point: &Point) -> Key {
        self.key_and_depths(point).0
    }

    pub(crate) fn key_and_depths(&self, point: &Point) -> (Key, Depths) {
        let stack = self.profile.stack(point);
        let is_own = |&number: &u32| self.code(number) == Code::Own;
        let depths = Depths {
            site: self.depth(point),
            own: stack.iter().position(is_own),
        };
        let inside = &stack[..depths.site];
        let key = Key {
            site: stack.get(depths.site).copied(),
            through: inside.last().copied(),
            container: self.container(inside),
            own: depths.own.map(|depth| stack[depth]),
        };
        (key, depths)
    }

    /// The place in a point's stack of the frame that its site is called after.
    pub(crate) fn depth(&self, point: &Point) -> usize {
        let mut stack = self.profile.stack(point).iter();
        let decided = stack.position(|&number| !self.is_standard(number));
        decided.unwrap_or(0)
    }

    fn container(&self, inside: &[u32]) -> Option<&'static str> {
        let mut containers = inside
            .iter()
            .rev()
            .map(|&number| self.frames[number as usize].container);
        containers.find_map(|container| container)
    }

    pub(crate) fn site(&self, point: &Point) -> Site<'a> {
        self.site_of(self.key(point))
    }

    fn site_of(&self, key: Key) -> Site<'a> {
        Site {
            frame: key.site.map(|number| *self.frame(number)),
            through: key.through.map(|number| *self.frame(number)),
            container: key.container,
        }
    }

    fn crate_of(&self, frame: &Frame<'a>) -> &'a str {
        let of_file = || {
            frame
                .file
                .and_then(|file| self.known.crates_of_files.get(file).copied())
        };
        // An implementation is of its file's crate; its name tells that of its type, too.
        let first = if code::is_impl(frame.name) {
            of_file()
        } else {
            None
        };
        first
            .or_else(|| names::crate_of(frame))
            .or_else(of_file)
            .unwrap_or("(unknown)")
    }

    /// The name of the group that a point belongs to.
    pub(crate) fn group_of(&self, point: &Point, grouping: Grouping) -> String {
        self.name_of(self.key(point), grouping)
    }

    pub(crate) fn name_of(&self, key: Key, grouping: Grouping) -> String {
        let site = self.site_of(key);
        let Some(frame) = site.frame else {
            return "[root]".into();
        };
        match grouping {
            Grouping::Point | Grouping::Site => site.label(),
            Grouping::Own => match key.own {
                Some(own) => self.frame(own).label_with_place(),
                None => site.label(),
            },
            // A closure that was inlined does not tell of which function it is.
            Grouping::Function if frame.name.starts_with("{closure") => frame.label_with_place(),
            Grouping::Function => match frame.file {
                Some(file) => format!("{} ({file})", frame.label()),
                None => frame.label(),
            },
            Grouping::Crate => self.crate_of(&frame).into(),
            Grouping::File => frame.file.or(frame.module).unwrap_or("(unknown)").into(),
            Grouping::Type => site.container.unwrap_or("(other)").into(),
        }
    }
}

impl Site<'_> {
    /// `process_logs (src/main.rs:15) through to_string`.
    pub(crate) fn label(&self) -> String {
        let Some(frame) = self.frame else {
            return "[root]".into();
        };
        let mut label = frame.label_with_place();
        if let Some(through) = self.through {
            label.push_str(" through ");
            label.push_str(&names::base_name(through.name));
        }
        if let Some(container) = self.container {
            label.push_str(&format!(" [{container}]"));
        }
        label
    }
}
