//! What cargo knows of the project.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::failure::{Failure, Result};

/// The part of `cargo metadata` that is used.
#[derive(Debug, Deserialize)]
pub(super) struct Project {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
    pub(super) target_directory: PathBuf,
    pub(super) workspace_root: PathBuf,
}

/// Which package uses which.
#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    dependencies: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    id: String,
    pub(super) manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
    default_run: Option<String>,
    /// What each turns on.
    features: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Target {
    pub(super) name: String,
    kind: Vec<String>,
    pub(super) src_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or none of them.
    kind: Option<String>,
    optional: bool,
    /// Its name in the package's manifest, where that is another.
    rename: Option<String>,
}

/// What is to run, of which kind, by its name if there are several.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    kind: &'static str,
    pub(super) name: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    pub(super) fn bin(name: Option<&'a str>) -> Wanted<'a> {
        Wanted { kind: "bin", name }
    }

    pub(super) fn example(name: &'a str) -> Wanted<'a> {
        let name = Some(name);
        Wanted {
            kind: "example",
            name,
        }
    }

    pub(super) fn test(name: Option<&'a str>) -> Wanted<'a> {
        Wanted { kind: "test", name }
    }

    pub(super) fn is_test(&self) -> bool {
        self.kind == "test"
    }

    pub(super) fn is_example(&self) -> bool {
        self.kind == "example"
    }

    /// As cargo wants to be told.
    pub(super) fn arguments(&self) -> Vec<String> {
        let name = self.name.into_iter();
        name.flat_map(|name| [format!("--{}", self.kind), name.to_owned()])
            .collect()
    }

    /// For a sentence, each with a blank before it.
    pub(super) fn words(&self, package: Option<&str>) -> String {
        let package = package.map(|name| format!(" --package {name}"));
        let words = self.arguments().into_iter().map(|word| format!(" {word}"));
        package.into_iter().chain(words).collect()
    }
}

/// Crates that write DHAT files.
const PROFILERS: [&str; 2] = ["heapledger", "dhat"];

/// Of these crates.
const PROFILER: &[u8] = b"Profiler::";

/// The program that runs cargo subcommands.
pub(super) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

impl Project {
    /// With these features, as arguments for cargo.
    pub(super) fn read(manifest_path: Option<&Path>, features: &[&str]) -> Result<Project> {
        let mut command = cargo();
        command
            .args(["metadata", "--format-version", "1"])
            .args(features);
        if let Some(path) = manifest_path {
            command.arg("--manifest-path").arg(path);
        }
        let output = command.stderr(Stdio::inherit()).output();
        let output = output.map_err(|error| Failure::new(format!("cannot run cargo: {error}")))?;
        if !output.status.success() {
            return Err(Failure::new(
                "cargo does not know this project: see what it said above",
            ));
        }
        serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::new(format!("cargo metadata answers unexpectedly: {error}")))
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The package that was asked for, or that one stands in, or the only one that has what is wanted.
    pub(super) fn package(&self, asked: Option<&str>, wanted: &Wanted<'_>) -> Result<&Package> {
        let members: Vec<&Package> = self.members().collect();
        let names = || {
            members
                .iter()
                .map(|package| package.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        if let Some(name) = asked {
            let found = members.iter().find(|package| package.name == name);
            let none = || {
                Failure::new(format!(
                    "there is no package {name} here; there are {}",
                    names()
                ))
            };
            return found.copied().ok_or_else(none);
        }
        if let [only] = members[..] {
            return Ok(only);
        }
        let here = std::env::current_dir().unwrap_or_default();
        let own = |package: &&&Package| {
            package.folder() != self.workspace_root && here.starts_with(package.folder())
        };
        let root = |package: &&&Package| package.folder() == self.workspace_root;
        let found = members
            .iter()
            .filter(own)
            .max_by_key(|package| package.folder().as_os_str().len());
        if let Some(found) = found.or_else(|| members.iter().find(root)) {
            return Ok(found);
        }
        let mut able = members.iter().filter(|package| package.has(wanted));
        match (able.next(), able.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(Failure::new(format!(
                "there are several packages: choose one by --package: {}",
                names()
            ))),
        }
    }

    /// Whether a profiler that writes DHAT files is among what the package is built of.
    pub(super) fn has_profiler(&self, package: &Package) -> bool {
        let used: HashMap<&str, &[String]> = self
            .resolve
            .nodes
            .iter()
            .map(|node| (node.id.as_str(), &node.dependencies[..]))
            .collect();
        let mut known = HashSet::from([package.id.as_str()]);
        let mut waiting = vec![package.id.as_str()];
        while let Some(id) = waiting.pop() {
            let new = used.get(id).into_iter().copied().flatten();
            waiting.extend(new.map(String::as_str).filter(|&id| known.insert(id)));
        }
        self.packages.iter().any(|package| {
            PROFILERS.contains(&package.name.as_str()) && known.contains(package.id.as_str())
        })
    }

    /// The folder of heapledger's own source.
    pub(super) fn heapledger(&self) -> Option<&Path> {
        let found = self
            .packages
            .iter()
            .find(|package| package.name == "heapledger");
        found.map(Package::folder)
    }
}

impl Package {
    pub(super) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
    }

    /// Programs do not see what is for tests and examples alone.
    pub(super) fn depends_on_heapledger(&self, wanted: &Wanted<'_>) -> bool {
        self.dependencies.iter().any(|dependency| {
            let is_seen = match dependency.kind.as_deref() {
                None => true,
                Some("dev") => wanted.is_example(),
                Some(_) => false,
            };
            dependency.name == "heapledger" && is_seen
        })
    }

    /// The features by which the package gets a profiler, if it is meant to have one only when asked for.
    pub(super) fn profiling_features(&self) -> Vec<&str> {
        let is_gated = |dependency: &&Dependency| {
            dependency.optional && PROFILERS.contains(&dependency.name.as_str())
        };
        let Some(dependency) = self.dependencies.iter().find(is_gated) else {
            return Vec::new();
        };
        let name = dependency.rename.as_ref().unwrap_or(&dependency.name);
        let turns_it_on = |parts: &[String]| {
            let mut parts = parts.iter();
            parts.any(|part| part == name || part.strip_prefix("dep:") == Some(name))
        };
        let features = self.features.iter().filter(|(_, parts)| turns_it_on(parts));
        let mut features: Vec<&str> = features.map(|(feature, _)| feature.as_str()).collect();
        // That of the dependency's own name is there by itself, and does not turn on what the code asks for.
        if features.len() > 1 {
            features.retain(|feature| feature != name);
        }
        features
    }

    fn has(&self, wanted: &Wanted<'_>) -> bool {
        self.of_kind(wanted.kind)
            .any(|target| wanted.name.is_none_or(|name| target.name == name))
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Target> {
        let is_of_kind = move |target: &&Target| target.kind.iter().any(|own| own == kind);
        self.targets.iter().filter(is_of_kind)
    }

    /// Whether some source of what is wanted, or of the package's library, speaks of a profiler, as the line
    /// that starts one does.
    pub(super) fn starts_a_profiler(&self, wanted: &Wanted<'_>) -> bool {
        let src = self.folder().join("src");
        let mut folders = vec![src.clone()];
        let mut files = Vec::new();
        let mut others = HashSet::new();
        let own = self.program(wanted).ok();
        for target in &self.targets {
            // `src/bin/app/main.rs` has a folder to itself.
            let folder = target.src_path.parent().filter(|&folder| {
                folder != src && target.src_path.file_name() == Some("main.rs".as_ref())
            });
            let place = folder.unwrap_or(&target.src_path);
            match own {
                Some(own) if own.src_path != target.src_path => {
                    others.insert(place.to_owned());
                }
                _ if folder.is_some() => folders.push(place.to_owned()),
                _ => files.push(place.to_owned()),
            }
        }
        // The library's root is that of all.
        others.remove(&src.join("lib.rs"));
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type() {
                    _ if others.contains(&entry.path()) => {}
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    Ok(kind) if kind.is_file() => files.push(entry.path()),
                    _ => {}
                }
            }
        }
        let speaks_of_it = |path: &PathBuf| {
            path.extension().is_some_and(|extension| extension == "rs")
                && std::fs::read(path).is_ok_and(|text| {
                    text.windows(PROFILER.len())
                        .any(|window| window == PROFILER)
                })
        };
        files.iter().any(speaks_of_it)
    }

    /// The program that is wanted, or the only one of its kind.
    pub(super) fn program(&self, wanted: &Wanted<'_>) -> Result<&Target> {
        let kind = wanted.kind;
        let all: Vec<&Target> = self.of_kind(kind).collect();
        let names: Vec<&str> = all.iter().map(|target| target.name.as_str()).collect();
        let names = names.join(", ");
        let asked = wanted.name.or(match kind {
            "bin" => self.default_run.as_deref(),
            _ => None,
        });
        match (asked, &all[..]) {
            (_, []) if kind == "bin" => Err(Failure::new(format!(
                "{} has no program, only a library",
                self.name
            ))),
            (None, [only]) => Ok(only),
            (None, _) => Err(Failure::new(format!(
                "there are several programs: choose one by --{kind}: {names}"
            ))),
            (Some(name), _) => {
                let found = all.iter().find(|target| target.name == name).copied();
                let none = || {
                    Failure::new(format!(
                        "{} has no {kind} {name}; it has {names}",
                        self.name
                    ))
                };
                found.ok_or_else(none)
            }
        }
    }
}
