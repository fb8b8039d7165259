//! What cargo knows of the project.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::profilers::{Dependency, HEAPLEDGER, Resolve};
use crate::failure::{Failure, Result};

/// The part of `cargo metadata` that is used.
#[derive(Debug, Deserialize)]
pub(super) struct Project {
    pub(super) packages: Vec<Package>,
    workspace_members: Vec<String>,
    /// Those that cargo takes where none is named.
    #[serde(default)]
    workspace_default_members: Vec<String>,
    pub(super) resolve: Resolve,
    pub(super) target_directory: PathBuf,
    pub(super) workspace_root: PathBuf,
    /// The folder that one stands in, or whose manifest was named.
    #[serde(skip)]
    here: PathBuf,
}

#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) id: String,
    pub(super) manifest_path: PathBuf,
    targets: Vec<Target>,
    pub(super) dependencies: Vec<Dependency>,
    default_run: Option<String>,
    /// What each turns on.
    pub(super) features: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Target {
    pub(super) name: String,
    kind: Vec<String>,
    pub(super) src_path: PathBuf,
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

/// What sources have that start one.
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
        let mut project: Project = serde_json::from_slice(&output.stdout).map_err(|error| {
            Failure::new(format!("cargo metadata answers unexpectedly: {error}"))
        })?;
        let here = manifest_path
            .and_then(Path::parent)
            .unwrap_or(Path::new(""));
        project.here = Path::new(".").join(here).canonicalize().unwrap_or_default();
        Ok(project)
    }

    fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The package that was asked for, or that one stands in, or the only one that has what is wanted, of
    /// those that cargo would take or of all.
    pub(super) fn package(&self, asked: Option<&str>, wanted: &Wanted<'_>) -> Result<&Package> {
        let members: Vec<&Package> = self.members().collect();
        let names: Vec<&str> = members
            .iter()
            .map(|package| package.name.as_str())
            .collect();
        let names = names.join(", ");
        if let Some(name) = asked {
            let found = members.iter().find(|package| package.name == name);
            let none = || {
                Failure::new(format!(
                    "there is no package {name} here; there are {names}"
                ))
            };
            return found.copied().ok_or_else(none);
        }
        if let [only] = members[..] {
            return Ok(only);
        }
        let own = |package: &&&Package| {
            package.folder() != self.workspace_root && self.here.starts_with(package.folder())
        };
        let innermost = members
            .iter()
            .filter(own)
            .max_by_key(|package| package.folder().as_os_str().len());
        let is_default = |package: &&&Package| self.workspace_default_members.contains(&package.id);
        let able = || members.iter().filter(|package| package.has(wanted));
        let root = members
            .iter()
            .find(|package| package.folder() == self.workspace_root);
        let found = innermost
            .or_else(|| only(able().filter(is_default)))
            .or_else(|| only(able()))
            .or(root);
        let none = || {
            Failure::new(format!(
                "there are several packages: choose one by --package: {names}"
            ))
        };
        found.copied().ok_or_else(none)
    }

    /// The folder of heapledger's own source.
    pub(super) fn heapledger(&self) -> Option<&Path> {
        let found = self
            .packages
            .iter()
            .find(|package| package.name == HEAPLEDGER);
        found.map(Package::folder)
    }
}

/// The first, if there is no second.
fn only<T>(mut found: impl Iterator<Item = T>) -> Option<T> {
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

impl Package {
    pub(super) fn folder(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(Path::new("."))
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
                folder != src
                    && folder != self.folder()
                    && target.src_path.file_name() == Some("main.rs".as_ref())
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
