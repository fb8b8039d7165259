//! The frames of a profile, each kept once, and their text.
//!
//! A frame holds numbers and text ids only; its text is made when it is written,
//! so that a big profile never holds the text of its frame table.

use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

use hashbrown::HashTable;

/// Index of a text in [`Frames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TextId(u32);

/// Index of a frame in [`Frames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FrameId(u32);

impl FrameId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Source {
        file: TextId,
        line: u32,
        column: u32,
    },
    /// No line is known: the module's path.
    Module(TextId),
}

/// Two frames are equal exactly if their texts are, which is why neither holds
/// a runtime address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Frame {
    Code {
        /// The return address, as the linker numbered it.
        link_address: u64,
        function: Option<TextId>,
        place: Place,
    },
    /// Not a place in the program, such as `[other]`.
    Note(TextId),
}

#[derive(Debug, Default)]
pub(crate) struct Frames {
    texts: Distinct<Box<str>>,
    frames: Distinct<Frame>,
}

impl Frames {
    pub(crate) fn intern_text(&mut self, text: &str) -> TextId {
        TextId(
            self.texts
                .intern(text, |known| **known == *text, || text.into()),
        )
    }

    pub(crate) fn intern(&mut self, frame: Frame) -> FrameId {
        FrameId(
            self.frames
                .intern(&frame, |known| *known == frame, || frame),
        )
    }

    pub(crate) fn intern_note(&mut self, text: &str) -> FrameId {
        let text = self.intern_text(text);
        self.intern(Frame::Note(text))
    }

    pub(crate) fn frame_count(&self) -> usize {
        self.frames.values.len()
    }

    /// By index.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Frame> + '_ {
        self.frames.values.iter().copied()
    }

    pub(crate) fn text(&self, id: TextId) -> &str {
        &self.texts.values[id.0 as usize]
    }

    pub(crate) fn get(&self, id: FrameId) -> Frame {
        self.frames.values[id.index()]
    }

    /// The function's text id, where the frame has a name.
    pub(crate) fn function(&self, id: FrameId) -> Option<TextId> {
        match self.get(id) {
            Frame::Code { function, .. } => function,
            Frame::Note(_) => None,
        }
    }

    /// The text as it stands in a DHAT file's frame table.
    pub(crate) fn display(&self, id: FrameId) -> impl fmt::Display + '_ {
        FrameText { frames: self, id }
    }
}

struct FrameText<'a> {
    frames: &'a Frames,
    id: FrameId,
}

impl fmt::Display for FrameText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.frames.get(self.id) {
            Frame::Note(text) => f.write_str(self.frames.text(text)),
            Frame::Code {
                link_address,
                function,
                place,
            } => {
                let function = function.map_or("???", |id| self.frames.text(id));
                write!(f, "{link_address:#x}: {function} ")?;
                match place {
                    Place::Source { file, line, column } => {
                        write!(f, "({}:{line}:{column})", self.frames.text(file))
                    }
                    Place::Module(path) => write!(f, "(in {})", self.frames.text(path)),
                }
            }
        }
    }
}

/// Values in the order in which they first came, each once.
#[derive(Debug)]
struct Distinct<T> {
    values: Vec<T>,
    ids: HashTable<u32>,
    hasher: BuildHasherDefault<DefaultHasher>,
}

impl<T> Default for Distinct<T> {
    fn default() -> Self {
        Distinct {
            values: Vec::new(),
            ids: HashTable::new(),
            hasher: BuildHasherDefault::default(),
        }
    }
}

impl<T: Hash> Distinct<T> {
    /// `key` must hash as the value that `make` yields does.
    fn intern<K: Hash + ?Sized>(
        &mut self,
        key: &K,
        same: impl Fn(&T) -> bool,
        make: impl FnOnce() -> T,
    ) -> u32 {
        let hash = self.hasher.hash_one(key);
        if let Some(&id) = self.ids.find(hash, |&id| same(&self.values[id as usize])) {
            return id;
        }
        let id = u32::try_from(self.values.len()).expect("fewer than 2^32 frames and texts");
        self.values.push(make());
        let rehash = |&id: &u32| self.hasher.hash_one(&self.values[id as usize]);
        self.ids.insert_unique(hash, id, rehash);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_form_that_viewers_parse() {
        let mut frames = Frames::default();
        let name = frames.intern_text("app::f<\"ü\">");
        let file = frames.intern_text("src/main.rs");
        let module = frames.intern_text("/usr/lib/libc.so.6");
        let mut text = |function, place| {
            let id = frames.intern(Frame::Code {
                link_address: 0x1f0,
                function,
                place,
            });
            frames.display(id).to_string()
        };
        let source = Place::Source {
            file,
            line: 7,
            column: 0,
        };
        assert_eq!(
            text(Some(name), source),
            "0x1f0: app::f<\"ü\"> (src/main.rs:7:0)"
        );
        assert_eq!(
            text(Some(name), Place::Module(module)),
            "0x1f0: app::f<\"ü\"> (in /usr/lib/libc.so.6)"
        );
        assert_eq!(
            text(None, Place::Module(module)),
            "0x1f0: ??? (in /usr/lib/libc.so.6)"
        );
        let note = frames.intern_note("[other]");
        assert_eq!(frames.display(note).to_string(), "[other]");
    }

    #[test]
    fn equal_frames_and_texts_share_an_id() {
        let mut frames = Frames::default();
        assert_eq!(frames.intern_text("a"), frames.intern_text("a"));
        assert_ne!(frames.intern_text("a"), frames.intern_text("b"));
        assert_eq!(frames.intern_note("x"), frames.intern_note("x"));
        assert_eq!(frames.frame_count(), 1);
    }
}
