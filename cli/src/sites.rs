//! The points of a profile, told as people think of them: the function that decided to allocate,
//! through what, in which file and crate.

use std::collections::HashMap;

use heapledger_formats::frame::Frame;
use heapledger_formats::model::{Point, Profile};

use crate::names;

/// The frames of a profile, taken apart once.
#[derive(Debug)]
pub(crate) struct Sites<'a> {
    pub(crate) profile: &'a Profile,
    frames: Vec<Parsed<'a>>,
    /// Inlined functions are named without their crate; others of the same file have it.
    crates_of_files: HashMap<&'a str, &'a str>,
}

#[derive(Debug)]
struct Parsed<'a> {
    frame: Frame<'a>,
    is_standard: bool,
}

/// Where the decision was taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site<'a> {
    /// The innermost frame that is not of the standard library, else the innermost one; `None` for
    /// a point without frames.
    pub(crate) frame: Option<Frame<'a>>,
    /// Its place in the point's stack.
    pub(crate) depth: usize,
    /// The function of the standard library that it called.
    pub(crate) through: Option<Frame<'a>>,
    /// The container that was made.
    pub(crate) container: Option<&'static str>,
}

/// What [`Sites::group_of`] puts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Grouping {
    /// Each stack by itself
    Point,
    /// The line that decided to allocate, with what it called
    Site,
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
        let mut frames: Vec<Parsed<'a>> = profile
            .frames
            .iter()
            .map(|text| {
                let frame = Frame::parse(text);
                let is_standard = names::is_standard(&frame);
                Parsed { frame, is_standard }
            })
            .collect();
        let mut crates_of_files = HashMap::new();
        for parsed in &frames {
            if let (Some(file), Some(owner)) = (parsed.frame.file, names::crate_of(&parsed.frame)) {
                crates_of_files.entry(file).or_insert(owner);
            }
        }
        // What was inlined is named without its crate, and dhat-rs cuts paths off: `push (src/vec/mod.rs:1)`.
        for parsed in &mut frames {
            let owner = parsed.frame.file.and_then(|file| crates_of_files.get(file));
            parsed.is_standard |= names::crate_of(&parsed.frame).is_none()
                && owner.is_some_and(|owner| names::is_standard_crate(owner));
        }
        Sites {
            profile,
            frames,
            crates_of_files,
        }
    }

    pub(crate) fn frame(&self, number: u32) -> &Frame<'a> {
        &self.frames[number as usize].frame
    }

    pub(crate) fn is_standard(&self, number: u32) -> bool {
        self.frames[number as usize].is_standard
    }

    pub(crate) fn site(&self, point: &Point) -> Site<'a> {
        let stack = self.profile.stack(point);
        let own = stack.iter().position(|&number| !self.is_standard(number));
        let depth = own.unwrap_or(0);
        let inside = &stack[..depth];
        Site {
            frame: stack.get(depth).map(|&number| *self.frame(number)),
            depth,
            through: inside.last().map(|&number| *self.frame(number)),
            container: inside
                .iter()
                .rev()
                .find_map(|&number| names::container_of(self.frame(number))),
        }
    }

    pub(crate) fn crate_of(&self, frame: &Frame<'a>) -> &'a str {
        names::crate_of(frame)
            .or_else(|| {
                frame
                    .file
                    .and_then(|file| self.crates_of_files.get(file).copied())
            })
            .unwrap_or("(unknown)")
    }

    /// The name of the group that a point belongs to.
    pub(crate) fn group_of(&self, point: &Point, grouping: Grouping) -> String {
        let site = self.site(point);
        let Some(frame) = site.frame else {
            return "[root]".into();
        };
        match grouping {
            Grouping::Point | Grouping::Site => site.label(),
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
