//! Names and lines from DWARF debug information.

use std::borrow::Cow;

use gimli::{EndianSlice, RunTimeEndian};
use object::{Object, ObjectSection};

/// One function at an address: the innermost inlined one first, the one that
/// the code belongs to last.
#[derive(Clone, Copy, Debug)]
pub(super) struct CodeFrame<'a> {
    /// As it stands in the debug information, mangled or not.
    pub(super) function: Option<&'a [u8]>,
    pub(super) file: Option<&'a str>,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// Calls `found` for each of `probes` (sorted) that lies in a function or a line
/// of the debug information. Bad debug information finds nothing.
pub(super) fn resolve<'data>(
    file: &object::File<'data>,
    probes: &[u64],
    mut found: impl FnMut(usize, &[CodeFrame<'_>]),
) {
    let endian = if file.is_little_endian() {
        RunTimeEndian::Little
    } else {
        RunTimeEndian::Big
    };
    let load = |id: gimli::SectionId| -> Result<Cow<'data, [u8]>, gimli::Error> {
        let data = file
            .section_by_name(id.name())
            .and_then(|s| s.uncompressed_data().ok());
        Ok(data.unwrap_or_default())
    };
    let Ok(sections) = gimli::DwarfSections::load(load) else {
        return;
    };
    let dwarf = sections.borrow(|section| EndianSlice::new(section, endian));
    let Ok(context) = addr2line::Context::from_dwarf(dwarf) else {
        return;
    };
    let mut frames = Vec::new();
    for (index, &probe) in probes.iter().enumerate() {
        let Ok(mut iter) = context.find_frames(probe).skip_all_loads() else {
            continue;
        };
        frames.clear();
        while let Ok(Some(frame)) = iter.next() {
            let (file, line, column) = frame.location.map_or((None, 0, 0), |l| {
                (l.file, l.line.unwrap_or(0), l.column.unwrap_or(0))
            });
            let function = frame.function.map(|f| f.name.slice());
            frames.push(CodeFrame {
                function,
                file,
                line,
                column,
            });
        }
        if !frames.is_empty() {
            found(index, &frames);
        }
    }
}
