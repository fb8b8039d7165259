//! What cargo knows of the project.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::failure::{Failure, Result};

/// The part of `cargo metadata` that is used.
#[derive(Debug, Deserialize)]
pub(super) struct Project {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    pub(super) target_directory: PathBuf,
    pub(super) workspace_root: PathBuf,
}

#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: String,
    id: String,
    pub(super) manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
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
}

/// Of heapledger, and of what has its interface.
const PROFILER: &[u8] = b"Profiler::";

/// The program that runs cargo subcommands.
pub(super) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

impl Project {
    pub(super) fn read(manifest_path: Option<&Path>) -> Result<Project> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1"]);
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

    /// The package that was asked for, or that one stands in, or the only one.
    pub(super) fn package(&self, asked: Option<&str>) -> Result<&Package> {
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
        let found = found.or_else(|| members.iter().find(root));
        found.copied().ok_or_else(|| {
            Failure::new(format!(
                "there are several packages: choose one by --package: {}",
                names()
            ))
        })
    }

    /// Whether a profiler that writes DHAT files is among all that is built here.
    pub(super) fn has_profiler(&self) -> bool {
        self.packages
            .iter()
            .any(|package| ["heapledger", "dhat"].contains(&package.name.as_str()))
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

    pub(super) fn depends_on_heapledger(&self) -> bool {
        self.dependencies
            .iter()
            .any(|dependency| dependency.name == "heapledger")
    }

    /// Whether some source of the package speaks of a profiler, as the line that starts one does.
    pub(super) fn starts_a_profiler(&self) -> bool {
        let mut folders = vec![self.folder().join("src"), self.folder().join("examples")];
        let mut files: Vec<PathBuf> = self
            .targets
            .iter()
            .map(|target| target.src_path.clone())
            .collect();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type() {
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

    /// The program that was asked for, or the only one.
    pub(super) fn program(&self, bin: Option<&str>) -> Result<&Target> {
        let bins = self
            .targets
            .iter()
            .filter(|target| target.kind.iter().any(|kind| kind == "bin"));
        let bins: Vec<&Target> = bins.collect();
        let names = || {
            bins.iter()
                .map(|target| target.name.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        };
        match (bin, &bins[..]) {
            (_, []) => Err(Failure::new(format!(
                "{} has no program, only a library",
                self.name
            ))),
            (None, [only]) => Ok(only),
            (None, _) => Err(Failure::new(format!(
                "there are several programs: choose one by --bin: {}",
                names()
            ))),
            (Some(name), _) => {
                let none = || {
                    Failure::new(format!(
                        "{} has no program {name}; it has {}",
                        self.name,
                        names()
                    ))
                };
                bins.iter()
                    .find(|target| target.name == name)
                    .copied()
                    .ok_or_else(none)
            }
        }
    }
}
