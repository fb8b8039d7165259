//! How a package gets a profiler: by which dependency, behind which feature, under which name.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::project::{Package, Project, Wanted};

/// Crates that write DHAT files, the one that is looked for first.
const PROFILERS: [&str; 2] = [HEAPLEDGER, "dhat"];

pub(super) const HEAPLEDGER: &str = "heapledger";

/// A dependency of a package, as its manifest has it.
#[derive(Debug, Deserialize)]
pub(super) struct Dependency {
    name: String,
    /// `dev`, `build`, or none of them.
    kind: Option<String>,
    pub(super) optional: bool,
    /// Its name in the manifest, where that is another.
    rename: Option<String>,
}

impl Dependency {
    fn name(&self) -> &str {
        self.rename.as_ref().unwrap_or(&self.name)
    }

    /// As the package's sources call it.
    pub(super) fn crate_name(&self) -> String {
        self.name().replace('-', "_")
    }
}

/// Which package was built of which.
#[derive(Debug, Deserialize)]
pub(super) struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    kind: Option<String>,
}

/// Programs do not see what is for tests and examples alone, and nobody sees what is for build scripts.
fn is_seen(kind: Option<&str>, wanted: &Wanted<'_>) -> bool {
    match kind {
        None => true,
        Some(kind) => kind == "dev" && (wanted.is_example() || wanted.is_test()),
    }
}

impl Project {
    /// Whether a profiler that writes DHAT files is among what is wanted of the package is built of.
    pub(super) fn has_profiler(&self, package: &Package, wanted: &Wanted<'_>) -> bool {
        let edges: HashMap<&str, &[Edge]> = self
            .resolve
            .nodes
            .iter()
            .map(|node| (node.id.as_str(), &node.deps[..]))
            .collect();
        let mut known = HashSet::from([package.id.as_str()]);
        let mut waiting = vec![package.id.as_str()];
        while let Some(id) = waiting.pop() {
            let is_used = |edge: &&Edge| {
                let mut kinds = edge.dep_kinds.iter().map(|kind| kind.kind.as_deref());
                kinds.any(|kind| kind.is_none() || id == package.id && is_seen(kind, wanted))
            };
            let used = edges.get(id).into_iter().copied().flatten().filter(is_used);
            waiting.extend(
                used.map(|edge| edge.pkg.as_str())
                    .filter(|&id| known.insert(id)),
            );
        }
        self.packages.iter().any(|package| {
            PROFILERS.contains(&package.name.as_str()) && known.contains(package.id.as_str())
        })
    }
}

impl Package {
    /// By which what is wanted has heapledger, perhaps only with a feature.
    pub(super) fn heapledger(&self, wanted: &Wanted<'_>) -> Option<&Dependency> {
        self.dependencies.iter().find(|dependency| {
            dependency.name == HEAPLEDGER && is_seen(dependency.kind.as_deref(), wanted)
        })
    }

    /// The features by which the package gets a profiler, if it is meant to have one only when asked for.
    pub(super) fn profiling_features(&self) -> Vec<&str> {
        let of = |profiler: &&str| {
            let optional =
                |dependency: &&Dependency| dependency.optional && dependency.name == *profiler;
            let dependency = self.dependencies.iter().find(optional);
            dependency.map_or(Vec::new(), |dependency| self.features_for(dependency))
        };
        let found = PROFILERS
            .iter()
            .map(of)
            .find(|features| !features.is_empty());
        found.unwrap_or_default()
    }

    /// The features that turn an optional dependency on.
    pub(super) fn features_for(&self, dependency: &Dependency) -> Vec<&str> {
        let name = dependency.name();
        let turns_it_on = |parts: &[String]| {
            parts.iter().any(|part| {
                part.strip_prefix("dep:").unwrap_or(part) == name
                    || part.split_once('/').is_some_and(|(of, _)| of == name)
            })
        };
        let features = self.features.iter().filter(|(_, parts)| turns_it_on(parts));
        let mut features: Vec<&str> = features.map(|(feature, _)| feature.as_str()).collect();
        // That of the dependency's own name is there by itself, and does not turn on what the code asks for.
        if features.len() > 1 {
            features.retain(|feature| *feature != name);
        }
        features
    }
}
