//! Return addresses to frames, each address once.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use memmap2::{Mmap, UncheckedAdvice};
use object::{Object, ObjectSymbol};

use super::dwarf::{self, CodeFrame};
use super::frames::{Frame, FrameId, Frames, Place, TextId};
use super::paths;
use crate::record::snapshot::{Module, Node};

/// The frames of every address of a snapshot.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    pub(crate) frames: Frames,
    /// Return addresses of this process, sorted, each once.
    addresses: Vec<u64>,
    /// Where in `lists` the frames of each of `addresses` are, innermost first.
    ranges: Vec<Range<u32>>,
    lists: Vec<FrameId>,
    /// The files that addresses lie in, for whoever looks names up later.
    pub(crate) builds: Vec<Build>,
    /// Modules whose debug information is compressed in a way that is not read.
    pub(crate) compressed: Vec<PathBuf>,
}

/// Which build of a file some frames are of.
#[derive(Debug)]
pub(crate) struct Build {
    pub(crate) path: TextId,
    /// The GNU build id, in hexadecimal.
    pub(crate) id: String,
    /// The least and the greatest link-time address of the frames.
    pub(crate) addresses: (u64, u64),
}

/// Index of an address in [`Symbols`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddressId(u32);

impl Symbols {
    /// Resolves the address of every node but node 0, which is the empty stack.
    pub(crate) fn resolve(nodes: &[Node], modules: &[Module]) -> Symbols {
        let addresses = distinct_addresses(nodes);
        let mut symbols = Symbols {
            ranges: vec![0..0; addresses.len()],
            addresses,
            ..Symbols::default()
        };
        for (file, group) in group_by_file(&symbols.addresses, modules) {
            symbols.resolve_group(file, &group);
        }
        symbols
    }

    /// `address` must be one of those that were resolved.
    pub(crate) fn id_of(&self, address: u64) -> AddressId {
        let index = self.addresses.partition_point(|&known| known < address);
        debug_assert_eq!(self.addresses.get(index), Some(&address));
        AddressId(index as u32)
    }

    /// At least one frame, the innermost of the inlined ones first.
    pub(crate) fn frames_of(&self, id: AddressId) -> &[FrameId] {
        let range = self.ranges[id.0 as usize].clone();
        &self.lists[range.start as usize..range.end as usize]
    }

    /// The frames of each address.
    pub(crate) fn lists(&self) -> impl Iterator<Item = &[FrameId]> + '_ {
        (0..self.ranges.len() as u32).map(|index| self.frames_of(AddressId(index)))
    }

    fn resolve_group(&mut self, file: Option<ModuleFile<'_>>, group: &[Located]) {
        let module = match file {
            Some(file) => self.frames.intern_text(&file.path.to_string_lossy()),
            None => self.frames.intern_text("???"),
        };
        let mut link_addresses: Vec<u64> = group.iter().map(|at| at.link_address).collect();
        link_addresses.dedup();
        let mut lists = vec![0..0; link_addresses.len()];
        if let Some(file) = file {
            FileResolver {
                symbols: self,
                link_addresses: &link_addresses,
                lists: &mut lists,
                module,
            }
            .resolve(file);
        }
        for (list, &link_address) in lists.iter_mut().zip(&link_addresses) {
            if list.start == list.end {
                let place = Place::Module(module);
                *list = self.push_list([Frame::Code {
                    link_address,
                    function: None,
                    place,
                }]);
            }
        }
        let mut at = 0;
        for located in group {
            at += usize::from(link_addresses[at] != located.link_address);
            self.ranges[located.index] = lists[at].clone();
        }
    }

    fn push_list(&mut self, list: impl IntoIterator<Item = Frame>) -> Range<u32> {
        let start = self.lists.len() as u32;
        for frame in list {
            let id = self.frames.intern(frame);
            self.lists.push(id);
        }
        start..self.lists.len() as u32
    }
}

/// The addresses of a stack tree, sorted. A big tree has many times more nodes than
/// addresses, so that doubles are dropped on the way.
fn distinct_addresses(nodes: &[Node]) -> Vec<u64> {
    let mut addresses = Vec::new();
    let mut dedup_at = 1 << 16;
    for node in nodes.iter().skip(1) {
        addresses.push(node.address);
        if addresses.len() == dedup_at {
            addresses.sort_unstable();
            addresses.dedup();
            dedup_at = dedup_at.max(2 * addresses.len());
        }
    }
    addresses.sort_unstable();
    addresses.dedup();
    addresses.shrink_to_fit();
    addresses
}

/// Resolves the addresses of one file.
struct FileResolver<'a> {
    symbols: &'a mut Symbols,
    /// Sorted, each once.
    link_addresses: &'a [u64],
    /// Into [`Symbols::lists`], one for each of `link_addresses`; empty while not found.
    lists: &'a mut [Range<u32>],
    module: TextId,
}

impl FileResolver<'_> {
    /// A file that cannot be read, or holds no names, leaves `lists` as they are.
    fn resolve(mut self, module: ModuleFile<'_>) {
        let path = module.path;
        let Some(map) = map_module(path) else { return };
        let Ok(file) = object::File::parse(&*map) else {
            return;
        };
        if !module.is_of(&file) {
            return;
        }
        if let Some(id) = file.build_id().ok().flatten()
            && let (Some(&first), Some(&last)) =
                (self.link_addresses.first(), self.link_addresses.last())
        {
            self.symbols.builds.push(Build {
                path: self.module,
                id: hexadecimal(id),
                addresses: (first, last),
            });
        }
        let debug_map = if has_dwarf(&file) {
            None
        } else {
            map_separate_debug_file(Path::new(INSTALLED_DEBUG_FILES), path, &file)
        };
        let debug_file = debug_map
            .as_deref()
            .and_then(|map| object::File::parse(map).ok());

        // The call lies before its return address, and may be the last
        // instruction of a function that never returns.
        let probes: Vec<u64> = self
            .link_addresses
            .iter()
            .map(|at| at.saturating_sub(1))
            .collect();
        let mut elf_names = vec![None; probes.len()];
        let mut functions = FunctionNames::default();
        for file in [Some(&file), debug_file.as_ref()].into_iter().flatten() {
            find_elf_names(file, &probes, &mut elf_names);
        }
        let release = || release_pages(debug_map.as_ref().unwrap_or(&map));
        let dwarf_file = debug_file.as_ref().unwrap_or(&file);
        release();
        let resolved = dwarf::resolve(dwarf_file, &probes, release, |index, frames| {
            self.push(index, frames, elf_names[index], &mut functions);
        });
        if resolved.is_err() {
            self.symbols.compressed.push(path.to_owned());
        }
        for (index, &name) in elf_names.iter().enumerate() {
            if name.is_some() && self.lists[index].start == self.lists[index].end {
                self.push(index, &[CodeFrame::default()], name, &mut functions);
            }
        }
    }

    fn push(
        &mut self,
        index: usize,
        frames: &[CodeFrame<'_>],
        elf_name: Option<&[u8]>,
        functions: &mut FunctionNames,
    ) {
        let link_address = self.link_addresses[index];
        let texts = &mut self.symbols.frames;
        let last = frames.len() - 1;
        let frames: Vec<Frame> = frames
            .iter()
            .enumerate()
            .map(|(depth, frame)| {
                // A plain DW_AT_name has neither path nor type; the linker's name has both.
                let raw = match (frame.function, elf_name) {
                    (Some(name), Some(elf_name)) if depth == last && !is_mangled(name) => {
                        Some(elf_name)
                    }
                    (None, Some(elf_name)) if depth == last => Some(elf_name),
                    (name, _) => name,
                };
                let function = raw.map(|raw| functions.intern(raw, texts));
                let place = match frame.file {
                    Some(file) => Place::Source {
                        file: texts.intern_text(paths::shorten(file)),
                        line: frame.line,
                        column: frame.column,
                    },
                    None => Place::Module(self.module),
                };
                Frame::Code {
                    link_address,
                    function,
                    place,
                }
            })
            .collect();
        self.lists[index] = self.symbols.push_list(frames);
    }
}

/// Demangles each function's name once.
#[derive(Default)]
struct FunctionNames {
    by_raw_name: HashMap<Box<[u8]>, TextId>,
}

impl FunctionNames {
    fn intern(&mut self, raw: &[u8], texts: &mut Frames) -> TextId {
        if let Some(&name) = self.by_raw_name.get(raw) {
            return name;
        }
        let name = texts.intern_text(&demangled(&String::from_utf8_lossy(raw)));
        self.by_raw_name.insert(raw.into(), name);
        name
    }
}

fn demangled(raw: &str) -> String {
    // GCC's second name of an exported function, for calls in its own file.
    let raw = raw.strip_suffix(".localalias").unwrap_or(raw);
    let demangled = rustc_demangle::try_demangle(raw);
    #[cfg(feature = "interpose")]
    if demangled.is_err()
        && raw.starts_with("_Z")
        && let Ok(symbol) = cpp_demangle::Symbol::new(raw)
        && let Ok(name) = symbol.demangle()
    {
        return name;
    }
    // `{:#}` leaves out the hash.
    demangled.map_or_else(|_| raw.to_owned(), |name| format!("{name:#}"))
}

fn is_mangled(name: &[u8]) -> bool {
    name.starts_with(b"_R") || name.starts_with(b"_Z")
}

/// The symbol of `.symtab`, else of `.dynsym`, that spans each of `probes` (sorted)
/// which has no name yet. Walks the table instead of indexing it: the table of a big
/// program is many times larger than what is asked of it.
fn find_elf_names<'data>(
    file: &object::File<'data>,
    probes: &[u64],
    names: &mut [Option<&'data [u8]>],
) {
    let mut note = |symbol: object::Symbol<'data, '_>| {
        if symbol.size() == 0 || symbol.is_undefined() || symbol.kind() != object::SymbolKind::Text
        {
            return;
        }
        let (start, end) = (
            symbol.address(),
            symbol.address().saturating_add(symbol.size()),
        );
        let first = probes.partition_point(|&probe| probe < start);
        for index in (first..probes.len()).take_while(|&index| probes[index] < end) {
            if names[index].is_none() {
                names[index] = symbol.name_bytes().ok().filter(|name| !name.is_empty());
            }
        }
    };
    file.symbols().for_each(&mut note);
    file.dynamic_symbols().for_each(&mut note);
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn has_dwarf(file: &object::File<'_>) -> bool {
    file.section_by_name(".debug_info").is_some()
}

/// Where distributions put debug files.
const INSTALLED_DEBUG_FILES: &str = "/usr/lib/debug";

const EXECUTABLE: &str = "/proc/self/exe";

/// Maps a module's file. The running executable is opened by its handle in `/proc`,
/// which still works, and is the right file, after it was deleted or rebuilt.
fn map_module(path: &Path) -> Option<Mmap> {
    if is_running_executable(path)
        && let Some(map) = map_file(Path::new(EXECUTABLE))
    {
        return Some(map);
    }
    map_file(path)
}

fn is_running_executable(path: &Path) -> bool {
    let Ok(executable) = std::fs::read_link(EXECUTABLE) else {
        return false;
    };
    let executable = executable.as_os_str().as_bytes();
    let executable = executable.strip_suffix(b" (deleted)").unwrap_or(executable);
    let is_executable = |path: &Path| path.as_os_str().as_bytes() == executable;
    is_executable(path) || path.canonicalize().is_ok_and(|path| is_executable(&path))
}

/// The debug information of a stripped file, as distributions install it: found by
/// build id, else by the name in `.gnu_debuglink`.
fn map_separate_debug_file(installed: &Path, path: &Path, file: &object::File<'_>) -> Option<Mmap> {
    let build_id = file.build_id().ok().flatten();
    let by_build_id = build_id.filter(|id| id.len() > 1).map(|id| {
        let hex = hexadecimal(id);
        installed.join(format!(".build-id/{}/{}.debug", &hex[..2], &hex[2..]))
    });
    let by_link = file
        .gnu_debuglink()
        .ok()
        .flatten()
        .and_then(|(name, _crc)| {
            let name = OsStr::from_bytes(name);
            let folder = path.parent()?;
            let global = installed.join(folder.strip_prefix("/").ok()?);
            Some([
                folder.join(name),
                folder.join(".debug").join(name),
                global.join(name),
            ])
        });
    let candidates = by_build_id.into_iter().chain(by_link.into_iter().flatten());
    candidates
        .filter(|candidate| candidate != path)
        .find_map(|candidate| {
            let map = map_file(&candidate)?;
            let is_same_build = {
                let debug_file = object::File::parse(&*map).ok()?;
                debug_file.build_id().ok().flatten() == build_id && has_dwarf(&debug_file)
            };
            is_same_build.then_some(map)
        })
}

#[allow(unsafe_code)]
fn map_file(path: &Path) -> Option<Mmap> {
    let file = File::open(path).ok()?;
    // SAFETY: `Mmap::map` requires that nobody changes the file while it is mapped. It is
    // a program or library that this process runs, or the debug file made with it: the loader
    // maps it under the same condition, and builds replace such files instead of writing into them.
    unsafe { Mmap::map(&file) }.ok()
}

/// Takes what was read of a file out of this process's memory: debug information is many
/// times larger than what is found in it, and each part is read once or twice.
#[allow(unsafe_code)]
fn release_pages(map: &Mmap) {
    // SAFETY: `DontNeed` loses what was written to the pages. This mapping is of a file and
    // read-only: the next read finds the same bytes, from the file.
    let result = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
    // Refused advice costs memory only.
    drop(result);
}
/// Where the names of a module are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ModuleFile<'a> {
    path: &'a Path,
    build_id: &'a [u8],
    is_loaded: bool,
}

impl<'a> ModuleFile<'a> {
    fn of(module: &'a Module) -> Self {
        Self {
            path: &module.path,
            build_id: module.build_id.as_bytes(),
            is_loaded: module.is_loaded,
        }
    }

    /// Whether `file`, which lies at the module's path, is the one that was loaded from
    /// there: it may have been built anew. Where nothing tells them apart, the file of
    /// a module that is still loaded is taken for the right one.
    fn is_of(&self, file: &object::File<'_>) -> bool {
        match self.build_id {
            [] => self.is_loaded,
            build_id => file.build_id().ok().flatten() == Some(build_id),
        }
    }
}

/// An address in its file.
struct Located {
    link_address: u64,
    /// Into [`Symbols::addresses`].
    index: usize,
}

/// The addresses of each file, sorted by link-time address. In order of the paths,
/// so that the same program gives the same frame table wherever it is loaded.
fn group_by_file<'a>(
    addresses: &[u64],
    modules: &'a [Module],
) -> BTreeMap<Option<ModuleFile<'a>>, Vec<Located>> {
    let mut by_start: Vec<&Module> = modules.iter().collect();
    by_start.sort_unstable_by_key(|module| module.start);
    let mut groups: BTreeMap<Option<ModuleFile<'_>>, Vec<Located>> = BTreeMap::new();
    for (index, &address) in addresses.iter().enumerate() {
        let call = address.saturating_sub(1);
        let candidate = by_start
            .partition_point(|module| module.start <= call)
            .checked_sub(1);
        let owner = candidate
            .map(|at| by_start[at])
            .filter(|module| call < module.end);
        let link_address = owner.map_or(address, |module| address.wrapping_sub(module.bias));
        let file = owner.map(ModuleFile::of);
        groups.entry(file).or_default().push(Located {
            link_address,
            index,
        });
    }
    for group in groups.values_mut() {
        group.sort_unstable_by_key(|at| (at.link_address, at.index));
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::ObjectSection;
    use std::process::Command;

    /// A folder that is removed with all that is in it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let name = format!("heapledger-symbols-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn run(&self, program: &str, arguments: &[&str]) {
            let mut command = Command::new(program);
            command.args(arguments).current_dir(&self.0);
            assert!(command.status().expect(program).success(), "{command:?}");
        }

        /// A library with one function.
        fn build(&self, name: &str, flag: &str, factor: u32) {
            // Behind it, enough to be worth compressing.
            let others: String = (0..200)
                .map(|number| format!("int other_{number}(int x) {{ return x + {number}; }}\n"))
                .collect();
            let text = format!("int the_function(int x) {{ return x * {factor}; }}\n{others}");
            let source = format!("{name}.c");
            std::fs::write(self.0.join(&source), text).unwrap();
            let flags = ["-g", "-shared", "-fPIC", "-Wl,--build-id", flag, &source];
            self.run("cc", &[&flags[..], &["-o", &format!("{name}.so")]].concat());
        }

        /// A frame in that function.
        fn frame(&self, name: &str) -> (Symbols, String) {
            let (symbols, addresses) = self.frames(name);
            let frames = symbols.frames_of(symbols.id_of(addresses.start + 5));
            let text = symbols.frames.display(frames[0]).to_string();
            (symbols, text)
        }

        /// All frames in that function, and where it is.
        fn frames(&self, name: &str) -> (Symbols, Range<u64>) {
            let path = self.0.join(format!("{name}.so"));
            let bytes = std::fs::read(&path).unwrap();
            let file = object::File::parse(&*bytes).unwrap();
            let function = file
                .symbols()
                .find(|symbol| symbol.name() == Ok("the_function"));
            let start = function.as_ref().unwrap().address();
            let addresses = start..start + function.unwrap().size();
            let nodes = [0].into_iter().chain(addresses.clone());
            let nodes: Vec<Node> = nodes.map(|address| Node { parent: 0, address }).collect();
            let module = Module {
                path,
                bias: 0,
                start: 0,
                end: u64::MAX,
                build_id: Default::default(),
                is_loaded: true,
            };
            (Symbols::resolve(&nodes, &[module]), addresses)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn compressed_debug_information_is_unpacked() {
        let folder = Folder::new("compressed");
        for (name, format) in [("plain", "none"), ("packed", "zlib")] {
            folder.build(name, &format!("-Wl,--compress-debug-sections={format}"), 3);
            let bytes = std::fs::read(folder.0.join(format!("{name}.so"))).unwrap();
            let file = object::File::parse(&*bytes).unwrap();
            let is_zlib = |section: object::Section<'_, '_>| {
                let stored = section.compressed_data();
                stored.is_ok_and(|stored| stored.format == object::CompressionFormat::Zlib)
            };
            assert_eq!(file.sections().any(is_zlib), name == "packed");
            let (symbols, text) = folder.frame(name);
            assert!(
                text.contains("the_function (") && text.contains(&format!("{name}.c:1")),
                "{text}"
            );
            assert!(symbols.compressed.is_empty());
        }
    }

    /// Of compressed information one unit is read at a time. What the linker optimizes across
    /// units has names that others tell.
    #[test]
    fn names_that_other_units_tell_are_found_in_compressed_information() {
        let folder = Folder::new("units");
        let texts = [
            (
                "one.c",
                "int inner(int x); int the_function(int x) { return inner(x) + 1; }",
            ),
            (
                "two.c",
                "#include <stdlib.h>\n__attribute__((visibility(\"hidden\")))\nint inner(int x) { return rand() * x; }",
            ),
        ];
        for (name, text) in texts {
            std::fs::write(folder.0.join(name), text).unwrap();
        }
        let flags = "-g -O2 -flto -shared -fPIC -Wl,--compress-debug-sections=none one.c two.c";
        let flags: Vec<&str> = flags.split(' ').chain(["-o", "plain.so"]).collect();
        folder.run("cc", &flags);
        let flag = "--compress-debug-sections=zlib";
        folder.run("objcopy", &[flag, "plain.so", "packed.so"]);
        let shown = |name| -> Vec<Vec<String>> {
            let (symbols, addresses) = folder.frames(name);
            // The call lies before its return address.
            let texts = addresses.skip(1).map(|address| {
                let frames = symbols.frames_of(symbols.id_of(address)).iter();
                let texts = frames.map(|&frame| symbols.frames.display(frame).to_string());
                texts.collect()
            });
            texts.collect()
        };
        let plain = shown("plain");
        let is_inlined = |frames: &Vec<String>| {
            frames.len() == 2 && frames[0].contains(": inner (") && frames[0].contains("two.c:3:")
        };
        assert!(plain.iter().any(is_inlined), "{plain:?}");
        assert_eq!(shown("packed"), plain);
    }

    #[test]
    fn an_installed_debug_file_is_found_by_its_build() {
        let folder = Folder::new("installed");
        folder.build("one", "-Wl,--compress-debug-sections=none", 3);
        let (library, debug) = (folder.0.join("one.so"), folder.0.join("one.debug"));
        folder.run("objcopy", &["--only-keep-debug", "one.so", "one.debug"]);
        folder.run("objcopy", &["--strip-debug", "one.so"]);
        let bytes = std::fs::read(&library).unwrap();
        let file = object::File::parse(&*bytes).unwrap();
        let find = || map_separate_debug_file(&folder.0, &library, &file);
        assert!(find().is_none());
        let id = hexadecimal(file.build_id().unwrap().unwrap());
        let place = folder.0.join(".build-id").join(&id[..2]);
        std::fs::create_dir_all(&place).unwrap();
        let place = place.join(format!("{}.debug", &id[2..]));
        std::fs::rename(debug, &place).unwrap();
        let found = find().expect("found");
        assert_eq!(&found[..], &std::fs::read(&place).unwrap()[..]);
        // One that is of another build is not taken.
        folder.build("other", "-Wl,--compress-debug-sections=none", 5);
        std::fs::rename(folder.0.join("other.so"), &place).unwrap();
        assert!(find().is_none());
    }

    #[test]
    fn a_separate_debug_file_is_read_if_it_is_of_the_same_build() {
        let folder = Folder::new("separate");
        for (name, factor) in [("one", 3), ("other", 5)] {
            folder.build(name, "-Wl,--compress-debug-sections=none", factor);
            let (library, debug) = (format!("{name}.so"), format!("{name}.debug"));
            folder.run("objcopy", &["--only-keep-debug", &library, &debug]);
            let link = format!("--add-gnu-debuglink={debug}");
            folder.run("objcopy", &["--strip-debug", &link, &library]);
        }
        let text = folder.frame("one").1;
        assert!(text.contains("one.c:1"), "{text}");
        std::fs::rename(folder.0.join("other.debug"), folder.0.join("one.debug")).unwrap();
        let text = folder.frame("one").1;
        assert!(text.contains("the_function (in "), "{text}");
    }
}
