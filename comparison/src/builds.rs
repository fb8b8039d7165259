//! The children's programs: built here, so that each has the flags it needs.

use crate::cases::PeerUse;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Sources for the `syn` workload: dependencies of this workspace.
const PARSED_PACKAGES: [&str; 3] = ["serde_core", "serde_json", "syn"];

pub(crate) struct Builds {
    target: PathBuf,
    /// The file that lists the sources for the `syn` workload.
    pub(crate) sources: PathBuf,
}

impl Builds {
    /// Builds what is needed for the given peers.
    pub(crate) fn make<'a>(peers: impl Iterator<Item = &'a PeerUse>) -> Result<Self, String> {
        let metadata = cargo(&["metadata", "--format-version", "1"], "")?;
        let metadata: Value =
            serde_json::from_slice(&metadata).map_err(|error| error.to_string())?;
        let target = metadata["target_directory"]
            .as_str()
            .ok_or("no target directory")?;
        let builds = Self {
            target: Path::new(target).join("comparison"),
            sources: Path::new(target).join("comparison/sources"),
        };
        for peer in peers {
            let folder = builds.folder(peer);
            let folder = folder.to_string_lossy();
            let program = [
                "build",
                "--release",
                "-p",
                "comparison",
                "--bin",
                peer.program,
            ];
            let mut arguments = [&program[..], &["--target-dir", &folder]].concat();
            let mut flags = "";
            if peer.frame_pointers {
                arguments.push("--ignore-rust-version");
                flags = "--cfg heapscope -C force-frame-pointers=yes";
            }
            if peer.striped_tables {
                arguments.extend(["--features", "striped-tables"]);
            }
            cargo(&arguments, flags)?;
        }
        builds.list_sources(&metadata)?;
        Ok(builds)
    }

    pub(crate) fn program(&self, peer: &PeerUse) -> PathBuf {
        self.folder(peer).join("release").join(peer.program)
    }

    /// Where children may write.
    pub(crate) fn output(&self, peer: &PeerUse) -> PathBuf {
        self.target.join(format!("{}.json", peer.name))
    }

    fn folder(&self, peer: &PeerUse) -> PathBuf {
        self.target
            .join(match (peer.frame_pointers, peer.striped_tables) {
                (true, _) => "frame-pointers",
                (false, true) => "striped-tables",
                (false, false) => "plain",
            })
    }

    fn list_sources(&self, metadata: &Value) -> Result<(), String> {
        let mut sources = Vec::new();
        for package in metadata["packages"].as_array().into_iter().flatten() {
            let name = package["name"].as_str().unwrap_or_default();
            let version = package["version"].as_str().unwrap_or_default();
            // Of the two versions of syn that are there, one is enough.
            if PARSED_PACKAGES.contains(&name) && (name != "syn" || version.starts_with("2.")) {
                let manifest = Path::new(package["manifest_path"].as_str().unwrap_or_default());
                add_sources(&manifest.with_file_name("src"), &mut sources);
            }
        }
        sources.sort();
        std::fs::write(&self.sources, sources.join("\n")).map_err(|error| error.to_string())
    }
}

fn add_sources(folder: &Path, sources: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            add_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path.to_string_lossy().into_owned());
        }
    }
}

/// Runs cargo as this program was run by it. Returns what it wrote.
fn cargo(arguments: &[&str], flags: &str) -> Result<Vec<u8>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("RUSTFLAGS", flags)
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("cargo {} failed", arguments.join(" "))),
    }
}
