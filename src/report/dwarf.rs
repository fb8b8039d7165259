//! Names and lines from DWARF debug information.
//!
//! One unit is read at a time, once from front to back, and only what lies at a
//! wanted address is kept. An index of a whole program, as debuggers build one,
//! would cost far more memory than its profile.

use std::cell::Cell;
use std::collections::HashMap;

use gimli::{AttributeValue, DebugInfoOffset, EndianSlice, RunTimeEndian};
use object::Object;

use super::unit_places::UnitPlaces;
use super::unit_stream::UnitStream;
use super::unpack::{Contents, unpacked};

type Reader<'data> = EndianSlice<'data, RunTimeEndian>;
type Dwarf<'data> = gimli::Dwarf<Reader<'data>>;
type UnitHeader<'data> = gimli::UnitHeader<Reader<'data>>;
type Unit<'data> = gimli::Unit<Reader<'data>>;
type UnitRef<'a, 'data> = gimli::UnitRef<'a, Reader<'data>>;
type Entry<'data> = gimli::DebuggingInformationEntry<Reader<'data>>;

/// From a function to where its name is: an inlined call, its abstract function, and
/// that one's declaration. More is a loop.
const MAX_ORIGINS: usize = 16;

/// One function at an address: the innermost inlined one first, the one that
/// the code belongs to last.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CodeFrame<'a> {
    /// As it stands in the debug information, mangled or not.
    pub(super) function: Option<&'a [u8]>,
    pub(super) file: Option<&'a str>,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// Calls `found` once for each of `probes` (sorted) that lies in a function or a line
/// of the debug information. Bad debug information finds less, and is no error. Calls
/// `release` each time when a good part of the file was read.
///
/// # Errors
/// It is compressed in a way that nobody here reads.
pub(super) fn resolve(
    file: &object::File<'_>,
    probes: &[u64],
    release: impl Fn(),
    found: impl FnMut(usize, &[CodeFrame<'_>]),
) -> Result<(), Packed> {
    let endian = if file.is_little_endian() {
        RunTimeEndian::Little
    } else {
        RunTimeEndian::Big
    };
    let is_readable = Cell::new(true);
    let load = |id: gimli::SectionId| {
        let section = file.section_by_name(id.name());
        section.map_or_else(Contents::default, |section| {
            let contents = unpacked(&section);
            if !matches!(contents, Some(Contents::Plain(_))) {
                release();
            }
            is_readable.set(is_readable.get() && contents.is_some());
            contents.unwrap_or_default()
        })
    };
    let load_others = |id| -> gimli::Result<Contents<'_>> {
        Ok(match OTHER_SECTIONS.contains(&id) {
            true => load(id),
            false => Contents::default(),
        })
    };
    let Ok(sections) = gimli::DwarfSections::load(load_others) else {
        return Ok(());
    };
    let mut progress = Progress {
        released_at: 0,
        release: &release,
    };
    let mut search = Search {
        probes,
        is_answered: vec![false; probes.len()],
        unanswered: probes.len(),
        found,
    };
    let aranges = with_info(&sections, &[], endian).debug_aranges;
    let places = UnitPlaces::new(&aranges, |range| {
        !probes_between(probes, range.start, range.end).is_empty()
    });
    let info = file.section_by_name(gimli::SectionId::DebugInfo.name());
    let stream = info.and_then(|info| UnitStream::of(&info, endian == RunTimeEndian::Big));
    if let Some(mut stream) = stream {
        let mut leads_elsewhere = false;
        while !search.is_over() {
            let at = stream.reached();
            let Some(unit) = stream.next() else {
                break;
            };
            if places.may_hold(at) {
                let dwarf = with_info(&sections, unit, endian);
                if let Ok(Some(header)) = dwarf.units().next() {
                    leads_elsewhere |= search.read_unit(&dwarf, header, None);
                }
            }
            progress.reach(stream.reached());
        }
        is_readable.set(is_readable.get() && !stream.is_broken());
        if search.is_over() || !leads_elsewhere {
            return packed_unless(is_readable.get());
        }
    }
    let info = load(gimli::SectionId::DebugInfo);
    let dwarf = with_info(&sections, &info, endian);
    let headers = unit_headers(&dwarf, &mut progress);
    for &header in &headers {
        if search.is_over() {
            break;
        }
        if !places.may_hold(offset_of(header)) {
            continue;
        }
        progress.reach_unit(header);
        search.read_unit(&dwarf, header, Some(&headers));
    }
    packed_unless(is_readable.get())
}

fn packed_unless(is_readable: bool) -> Result<(), Packed> {
    match is_readable {
        true => Ok(()),
        false => Err(Packed),
    }
}

fn with_info<'a>(
    sections: &'a gimli::DwarfSections<Contents<'_>>,
    info: &'a [u8],
    endian: RunTimeEndian,
) -> Dwarf<'a> {
    let mut dwarf = sections.borrow(|section| EndianSlice::new(section, endian));
    dwarf.debug_info = gimli::DebugInfo::new(info, endian);
    dwarf
}

struct Search<'a, F> {
    probes: &'a [u64],
    is_answered: Vec<bool>,
    unanswered: usize,
    found: F,
}

impl<F: FnMut(usize, &[CodeFrame<'_>])> Search<'_, F> {
    /// Whether nothing is left to be looked for.
    fn is_over(&self) -> bool {
        self.unanswered == 0
    }

    /// Answers what lies in the unit. `headers`: of all units; None: there is only this one. True:
    /// something is told by another, and was left unanswered.
    fn read_unit<'data>(
        &mut self,
        dwarf: &Dwarf<'data>,
        header: UnitHeader<'data>,
        headers: Option<&[UnitHeader<'data>]>,
    ) -> bool {
        let Ok(unit) = dwarf.unit(header) else {
            return false;
        };
        let unit = unit.unit_ref(dwarf);
        let mut wanted = probes_of_unit(unit, self.probes).unwrap_or_default();
        wanted.retain(|&index| !self.is_answered[index]);
        if wanted.is_empty() {
            return false;
        }
        let addresses: Vec<u64> = wanted.iter().map(|&index| self.probes[index]).collect();
        resolve_in_unit(unit, headers, &addresses, |nth, frames| {
            self.is_answered[wanted[nth]] = true;
            self.unanswered -= 1;
            (self.found)(wanted[nth], frames);
        })
    }
}

/// Some of the debug information is compressed in a way that is not read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed;

/// What is read beside `.debug_info`. To unpack the rest would take memory for nothing.
const OTHER_SECTIONS: [gimli::SectionId; 9] = [
    gimli::SectionId::DebugAbbrev,
    gimli::SectionId::DebugAddr,
    gimli::SectionId::DebugAranges,
    gimli::SectionId::DebugLine,
    gimli::SectionId::DebugLineStr,
    gimli::SectionId::DebugStr,
    gimli::SectionId::DebugStrOffsets,
    gimli::SectionId::DebugRanges,
    gimli::SectionId::DebugRngLists,
];

fn resolve_in_unit<'data>(
    unit: UnitRef<'_, 'data>,
    headers: Option<&[UnitHeader<'data>]>,
    addresses: &[u64],
    mut found: impl FnMut(usize, &[CodeFrame<'_>]),
) -> bool {
    let mut finds = UnitFinds::new(addresses);
    let mut names = FunctionNames::new(unit, headers);
    // Each may fail half way, and leaves what it found.
    let _ = finds.read_lines(unit);
    let _ = finds.read_functions(unit, &mut names);
    if names.leads_elsewhere {
        return true;
    }
    let mut files = FileNames::default();
    for (nth, find) in finds.finds.iter().enumerate() {
        let frames = find.frames(unit, &mut files);
        let frames = frames.iter().map(|frame| CodeFrame {
            function: frame.function.map(|name| name.slice()),
            file: frame.at.file.and_then(|file| files.get(file)),
            line: frame.at.line,
            column: frame.at.column,
        });
        let frames: Vec<CodeFrame<'_>> = frames.collect();
        if !frames.is_empty() {
            found(nth, &frames);
        }
    }
    false
}

fn offset_of(header: UnitHeader<'_>) -> usize {
    header.debug_info_offset().map_or(0, |offset| offset.0)
}

/// Bytes of `.debug_info` between two calls of [`Progress::release`].
const RELEASE_EVERY: usize = 256 << 10;

/// How far `.debug_info` was read.
struct Progress<F> {
    released_at: usize,
    release: F,
}

impl<F: Fn()> Progress<F> {
    fn reach_unit(&mut self, header: UnitHeader<'_>) {
        self.reach(offset_of(header));
    }

    fn reach(&mut self, offset: usize) {
        if offset.abs_diff(self.released_at) >= RELEASE_EVERY {
            (self.release)();
            self.released_at = offset;
        }
    }
}

/// All of them, up to the first broken one.
fn unit_headers<'data>(
    dwarf: &Dwarf<'data>,
    progress: &mut Progress<impl Fn()>,
) -> Vec<UnitHeader<'data>> {
    let mut units = dwarf.units();
    let headers = std::iter::from_fn(|| units.next().ok().flatten());
    headers
        .inspect(|header| progress.reach_unit(*header))
        .collect()
}

/// Which of `probes` lie in the unit, as indices in order.
fn probes_of_unit(unit: UnitRef<'_, '_>, probes: &[u64]) -> gimli::Result<Vec<usize>> {
    let mut indices = Vec::new();
    let mut add = |begin, end| indices.extend(probes_between(probes, begin, end));
    let mut entries = unit.entries_raw(None)?;
    let mut entry = Entry::null();
    entries.read_entry(&mut entry)?;
    if !for_each_range(unit, &entry, &mut add)? {
        // Old producers leave the ranges to the line table.
        for_each_line_range(unit, |begin, end, _| add(begin, end))?;
    }
    indices.sort_unstable();
    indices.dedup();
    Ok(indices)
}

fn probes_between(probes: &[u64], begin: u64, end: u64) -> std::ops::Range<usize> {
    let first = probes.partition_point(|&probe| probe < begin);
    let count = probes[first..].partition_point(|&probe| probe < end);
    first..first + count
}

/// Calls `add` with each address range of an entry; tells whether there was one.
fn for_each_range<'data>(
    unit: UnitRef<'_, 'data>,
    entry: &Entry<'data>,
    mut add: impl FnMut(u64, u64),
) -> gimli::Result<bool> {
    let mut any = false;
    let mut add = |begin: u64, end: u64| {
        any = true;
        // Linkers leave functions that they dropped at address 0.
        if begin != 0 && begin < end {
            add(begin, end);
        }
    };
    if let Some(value) = entry.attr_value(gimli::DW_AT_ranges)
        && let Some(mut list) = unit.attr_ranges(value)?
    {
        while let Some(range) = list.next()? {
            add(range.begin, range.end);
        }
    } else if let Some(value) = entry.attr_value(gimli::DW_AT_low_pc)
        && let Some(begin) = unit.attr_address(value)?
    {
        match entry.attr_value(gimli::DW_AT_high_pc) {
            Some(AttributeValue::Udata(size)) => add(begin, begin.saturating_add(size)),
            Some(value) => {
                if let Some(end) = unit.attr_address(value)? {
                    add(begin, end);
                }
            }
            None => {}
        }
    }
    Ok(any)
}

/// A place in the source. `file` is a number of the unit's line table.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    file: Option<u64>,
    line: u32,
    column: u32,
}

/// Calls `visit` with the address range and the position of each row of the line table.
fn for_each_line_range(
    unit: UnitRef<'_, '_>,
    mut visit: impl FnMut(u64, u64, Position),
) -> gimli::Result<()> {
    let Some(program) = unit.line_program.clone() else {
        return Ok(());
    };
    let mut rows = program.rows();
    let mut previous: Option<(u64, Position)> = None;
    // A sequence that begins at address 0 is of a function that the linker dropped.
    let mut is_dropped = false;
    while let Some((_, row)) = rows.next_row()? {
        match previous {
            Some((begin, at)) if !is_dropped => visit(begin, row.address(), at),
            Some(_) => {}
            None => is_dropped = row.address() == 0,
        }
        let line = row.line().map_or(0, |line| line.get() as u32);
        let column = match row.column() {
            // No line, as of code that the compiler made: no column either.
            gimli::ColumnType::Column(column) if line != 0 => column.get() as u32,
            _ => 0,
        };
        let at = Position {
            file: Some(row.file_index()),
            line,
            column,
        };
        previous = (!row.end_sequence()).then_some((row.address(), at));
    }
    Ok(())
}

/// What one unit tells of the addresses wanted of it.
struct UnitFinds<'a, 'data> {
    addresses: &'a [u64],
    finds: Vec<Find<'data>>,
}

#[derive(Clone, Default)]
struct Find<'data> {
    line: Option<Position>,
    /// The function that the code belongs to, then the functions inlined into it,
    /// each into the one before it.
    functions: Vec<Function<'data>>,
}

#[derive(Clone, Copy)]
struct Function<'data> {
    name: Option<Reader<'data>>,
    /// Where the function before this one calls it.
    call: Position,
}

struct Frame<'data> {
    function: Option<Reader<'data>>,
    at: Position,
}

impl<'a, 'data> UnitFinds<'a, 'data> {
    fn new(addresses: &'a [u64]) -> Self {
        UnitFinds {
            addresses,
            finds: vec![Find::default(); addresses.len()],
        }
    }

    fn read_lines(&mut self, unit: UnitRef<'_, 'data>) -> gimli::Result<()> {
        for_each_line_range(unit, |begin, end, at| {
            for index in probes_between(self.addresses, begin, end) {
                self.finds[index].line.get_or_insert(at);
            }
        })
    }

    fn read_functions(
        &mut self,
        unit: UnitRef<'_, 'data>,
        names: &mut FunctionNames<'_, 'data>,
    ) -> gimli::Result<()> {
        let mut entries = unit.entries_raw(None)?;
        let mut entry = Entry::null();
        // The functions that the walk is in, which may nest: their depths, and the wanted
        // addresses in them.
        let mut functions: Vec<(isize, Vec<usize>)> = Vec::new();
        let mut missing = self.addresses.len();
        while !entries.is_empty() {
            let depth = entries.next_depth();
            while functions
                .pop_if(|(function_depth, _)| depth <= *function_depth)
                .is_some()
            {}
            if functions.is_empty() && missing == 0 {
                break;
            }
            let Some(abbreviation) = entries.read_abbreviation()? else {
                continue;
            };
            let is_function = match abbreviation.tag() {
                gimli::DW_TAG_subprogram => true,
                gimli::DW_TAG_inlined_subroutine if !functions.is_empty() => false,
                _ => {
                    entries.skip_attributes(abbreviation.attributes())?;
                    continue;
                }
            };
            entries.read_attributes(abbreviation.attributes(), &mut entry.attrs)?;
            let mut inside = Vec::new();
            for_each_range(unit, &entry, |begin, end| {
                inside.extend(probes_between(self.addresses, begin, end));
            })?;
            match functions.last() {
                // Identical functions that the linker folded into one share their
                // addresses: the first one's name is as good as the others'.
                _ if is_function => inside.retain(|&index| self.finds[index].functions.is_empty()),
                Some((_, wanted)) => inside.retain(|index| wanted.binary_search(index).is_ok()),
                None => {}
            }
            if inside.is_empty() {
                continue;
            }
            let found = Function {
                name: names.of(&entry),
                call: call_position(&entry, unit),
            };
            for &index in &inside {
                self.finds[index].functions.push(found);
            }
            if is_function {
                missing -= inside.len();
                inside.sort_unstable();
                functions.push((depth, inside));
            }
        }
        Ok(())
    }
}

impl<'data> Find<'data> {
    /// Innermost first. Calls were noted with the callee, and are shown with the caller.
    fn frames(&self, unit: UnitRef<'_, 'data>, files: &mut FileNames) -> Vec<Frame<'data>> {
        let mut at = self.line.unwrap_or_default();
        let mut frames = Vec::with_capacity(self.functions.len().max(1));
        for function in self.functions.iter().rev() {
            frames.push(Frame {
                function: function.name,
                at,
            });
            at = function.call;
        }
        if frames.is_empty() && self.line.is_some() {
            frames.push(Frame { function: None, at });
        }
        for frame in &frames {
            files.load(frame.at.file, unit);
        }
        frames
    }
}

fn call_position(entry: &Entry<'_>, unit: UnitRef<'_, '_>) -> Position {
    let number = |name| entry.attr_value(name).and_then(|value| value.udata_value());
    let file = match entry.attr_value(gimli::DW_AT_call_file) {
        // Before DWARF 5, file 0 is no file.
        Some(AttributeValue::FileIndex(0)) if unit.header.version() < 5 => None,
        Some(AttributeValue::FileIndex(file)) => Some(file),
        _ => None,
    };
    Position {
        file,
        line: number(gimli::DW_AT_call_line).unwrap_or(0) as u32,
        column: number(gimli::DW_AT_call_column).unwrap_or(0) as u32,
    }
}

/// Function names of one unit, which may be told by entries of other units.
struct FunctionNames<'a, 'data> {
    unit: UnitRef<'a, 'data>,
    /// Of all units, in order of their offsets; None: the others are not at hand.
    headers: Option<&'a [UnitHeader<'data>]>,
    /// A name is told by a unit that is not at hand.
    leads_elsewhere: bool,
    /// The other units that names came from, by their place in `headers`.
    others: HashMap<usize, Option<Unit<'data>>>,
}

impl<'a, 'data> FunctionNames<'a, 'data> {
    fn new(unit: UnitRef<'a, 'data>, headers: Option<&'a [UnitHeader<'data>]>) -> Self {
        FunctionNames {
            unit,
            headers,
            leads_elsewhere: false,
            others: HashMap::new(),
        }
    }

    fn of(&mut self, entry: &Entry<'data>) -> Option<Reader<'data>> {
        let mut name = name_or_origin(self.unit, entry)?;
        for _ in 0..MAX_ORIGINS {
            name = match name {
                NameOrOrigin::Name(name) => return Some(name),
                NameOrOrigin::Elsewhere(_) if self.headers.is_none() => {
                    self.leads_elsewhere = true;
                    return None;
                }
                NameOrOrigin::Origin(offset) | NameOrOrigin::Elsewhere(offset) => {
                    let unit = self.unit_of(offset)?;
                    let in_unit = offset.to_unit_offset(&unit.unit.header)?;
                    let mut entry = Entry::null();
                    unit.entries_raw(Some(in_unit))
                        .ok()?
                        .read_entry(&mut entry)
                        .ok()?;
                    name_or_origin(unit, &entry)?
                }
            };
        }
        None
    }

    /// The unit that holds an entry: this one, or, where the linker optimizes across
    /// units, any other.
    fn unit_of(&mut self, offset: DebugInfoOffset) -> Option<UnitRef<'_, 'data>> {
        if offset.to_unit_offset(&self.unit.unit.header).is_some() {
            return Some(self.unit);
        }
        let dwarf = self.unit.dwarf;
        let headers = self.headers?;
        let after = headers.partition_point(|header| header.debug_info_offset() <= Some(offset));
        let number = after.checked_sub(1)?;
        let other = || dwarf.unit(headers[number]).ok();
        let unit = self.others.entry(number).or_insert_with(other);
        Some(unit.as_ref()?.unit_ref(dwarf))
    }
}

enum NameOrOrigin<'data> {
    Name(Reader<'data>),
    /// The entry that has the name, in the same unit.
    Origin(DebugInfoOffset),
    /// One that may be in another unit.
    Elsewhere(DebugInfoOffset),
}

/// The linkage name, which tells most, else the origin, else the plain name.
fn name_or_origin<'data>(
    unit: UnitRef<'_, 'data>,
    entry: &Entry<'data>,
) -> Option<NameOrOrigin<'data>> {
    let text = |name| {
        unit.attr_string(entry.attr_value(name)?)
            .ok()
            .map(NameOrOrigin::Name)
    };
    let origin = |name| match entry.attr_value(name)? {
        AttributeValue::UnitRef(offset) => offset
            .to_debug_info_offset(&unit.unit.header)
            .map(NameOrOrigin::Origin),
        AttributeValue::DebugInfoRef(offset) => Some(NameOrOrigin::Elsewhere(offset)),
        _ => None,
    };
    text(gimli::DW_AT_linkage_name)
        .or_else(|| text(gimli::DW_AT_MIPS_linkage_name))
        .or_else(|| origin(gimli::DW_AT_abstract_origin))
        .or_else(|| origin(gimli::DW_AT_specification))
        .or_else(|| text(gimli::DW_AT_name))
}

/// Paths of the files of one unit, each joined with its directories once.
#[derive(Default)]
struct FileNames {
    by_number: HashMap<u64, Option<String>>,
}

impl FileNames {
    fn load(&mut self, file: Option<u64>, unit: UnitRef<'_, '_>) {
        if let Some(file) = file {
            self.by_number
                .entry(file)
                .or_insert_with(|| path_of_file(unit, file).ok().flatten());
        }
    }

    /// Finds what was loaded before.
    fn get(&self, file: u64) -> Option<&str> {
        self.by_number.get(&file)?.as_deref()
    }
}

fn path_of_file(unit: UnitRef<'_, '_>, file: u64) -> gimli::Result<Option<String>> {
    let header = unit.line_program.as_ref().map(|program| program.header());
    let Some((header, file)) = header.and_then(|header| Some((header, header.file(file)?))) else {
        return Ok(None);
    };
    let mut path = String::new();
    if let Some(folder) = unit.comp_dir {
        path.push_str(&folder.to_string_lossy());
    }
    // Directory 0 is the one that the unit was compiled in.
    if file.directory_index() != 0
        && let Some(folder) = file.directory(header)
    {
        join(&mut path, &unit.attr_string(folder)?.to_string_lossy());
    }
    join(
        &mut path,
        &unit.attr_string(file.path_name())?.to_string_lossy(),
    );
    Ok(Some(path))
}

fn join(path: &mut String, part: &str) {
    if part.starts_with('/') {
        path.clear();
    } else if !path.is_empty() && !path.ends_with('/') {
        path.push('/');
    }
    path.push_str(part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::ObjectSection;

    /// A frame of its own strings, to compare.
    type OwnFrame = (Option<Vec<u8>>, Option<String>, u32, u32);

    fn test_program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    fn resolve_all(file: &object::File<'_>, probes: &[u64]) -> Vec<Vec<OwnFrame>> {
        let mut all = vec![Vec::new(); probes.len()];
        resolve(
            file,
            probes,
            || {},
            |index, frames| {
                assert!(all[index].is_empty(), "an address is answered once");
                all[index] = frames
                    .iter()
                    .map(|frame| {
                        let function = frame.function.map(<[u8]>::to_vec);
                        (
                            function,
                            frame.file.map(str::to_owned),
                            frame.line,
                            frame.column,
                        )
                    })
                    .collect();
            },
        )
        .unwrap();
        all
    }

    /// The same by an independent reader of the same debug information.
    fn resolve_by_addr2line(file: &object::File<'_>, probes: &[u64]) -> Vec<Vec<OwnFrame>> {
        let load = |id: gimli::SectionId| -> gimli::Result<Reader<'_>> {
            let data = file.section_by_name(id.name()).and_then(|s| s.data().ok());
            Ok(EndianSlice::new(
                data.unwrap_or_default(),
                RunTimeEndian::Little,
            ))
        };
        let context = addr2line::Context::from_dwarf(gimli::Dwarf::load(load).unwrap()).unwrap();
        let frames_at = |&probe: &u64| {
            let mut frames = context.find_frames(probe).skip_all_loads().unwrap();
            let mut own = Vec::new();
            while let Some(frame) = frames.next().unwrap() {
                let function = frame
                    .function
                    .map(|function| function.name.slice().to_vec());
                let (file, line, column) = frame.location.map_or((None, None, None), |at| {
                    (at.file.map(str::to_owned), at.line, at.column)
                });
                own.push((function, file, line.unwrap_or(0), column.unwrap_or(0)));
            }
            own
        };
        probes.iter().map(frames_at).collect()
    }

    #[test]
    fn agrees_with_addr2line() {
        const PROBES: u64 = 5_000;
        let program = test_program();
        let file = object::File::parse(&*program).unwrap();
        let text = file.section_by_name(".text").unwrap();
        let step = text.size() / PROBES;
        let probes: Vec<u64> = (0..PROBES).map(|nth| text.address() + nth * step).collect();
        let ours = resolve_all(&file, &probes);
        let theirs = resolve_by_addr2line(&file, &probes);
        for (index, probe) in probes.iter().enumerate() {
            assert_eq!(ours[index], theirs[index], "{probe:#x}");
        }
        assert!(
            ours.iter().any(|frames| frames.len() > 1),
            "there are inlined frames"
        );
    }

    #[test]
    fn compressed_information_tells_the_same() {
        let name = format!("heapledger-dwarf-{}", std::process::id());
        let packed = std::env::temp_dir().join(name);
        let status = std::process::Command::new("objcopy")
            .arg("--compress-debug-sections=zlib")
            .arg(std::env::current_exe().unwrap())
            .arg(&packed)
            .status();
        assert!(status.expect("objcopy").success());
        let packed = std::fs::read(&packed).and_then(|bytes| {
            std::fs::remove_file(&packed)?;
            Ok(bytes)
        });
        let (program, packed) = (test_program(), packed.unwrap());
        let file = object::File::parse(&*program).unwrap();
        let text = file.section_by_name(".text").unwrap();
        let step = text.size() / 1_000;
        let probes: Vec<u64> = (0..1_000).map(|nth| text.address() + nth * step).collect();
        let packed = object::File::parse(&*packed).unwrap();
        assert_eq!(resolve_all(&packed, &probes), resolve_all(&file, &probes));
    }

    #[test]
    fn broken_debug_information_is_no_error() {
        let mut program = test_program();
        let (text, broken) = {
            let file = object::File::parse(&*program).unwrap();
            let is_debug = |name: &str| name.starts_with(".debug_");
            let sections = file
                .sections()
                .filter(|section| section.name().is_ok_and(is_debug));
            let broken: Vec<(u64, u64)> = sections.filter_map(|at| at.file_range()).collect();
            let text = file.section_by_name(".text").unwrap();
            ((text.address(), text.size()), broken)
        };
        for (start, size) in broken {
            for at in (start..start + size).step_by(1_009) {
                program[at as usize] ^= 0x55;
            }
        }
        let file = object::File::parse(&*program).unwrap();
        let probes: Vec<u64> = (0..100).map(|nth| text.0 + nth * (text.1 / 100)).collect();
        resolve_all(&file, &probes);
    }
}
