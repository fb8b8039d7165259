//! Code that is no longer loaded: its addresses may be other code's by now. They
//! are told apart by their highest bits, which no address of a process uses.

use crate::record::snapshot::{Node, NotedModule, Snapshot};
use std::collections::HashMap;

/// Above the bits of user-space addresses.
const TAG_SHIFT: u32 = 48;

/// Gives frames of modules that are not among `snapshot.modules`, the loaded ones,
/// addresses of their own, and adds these modules with the same addresses.
pub(crate) fn tell_apart(snapshot: &mut Snapshot, noted: &[NotedModule]) {
    let unloaded: Vec<bool> = noted
        .iter()
        .map(|noted| !snapshot.modules.contains(&noted.module))
        .collect();
    if !unloaded.contains(&true) {
        return;
    }
    let Snapshot {
        nodes,
        sites,
        modules,
        ..
    } = snapshot;
    // A node's parent comes before it.
    let mut leads_through = vec![false; nodes.len()];
    for index in 1..nodes.len() {
        let Node { parent, address } = nodes[index];
        let is_of = |(noted, &unloaded): (&NotedModule, &bool)| unloaded && holds(noted, address);
        leads_through[index] =
            leads_through[parent as usize] || noted.iter().zip(&unloaded).any(is_of);
    }
    let mut moved = HashMap::new();
    let mut used = vec![false; noted.len()];
    for site in sites
        .places_mut()
        .iter_mut()
        .filter(|site| leads_through[site.leaf as usize])
    {
        let mut path = Vec::new();
        let mut at = site.leaf;
        while at != 0 {
            path.push(at);
            at = nodes[at as usize].parent;
        }
        let mut parent = 0;
        for node in path.into_iter().rev() {
            let address = nodes[node as usize].address;
            // What was noted last before the site was made was loaded then.
            let of = noted
                .iter()
                .rposition(|noted| noted.since_site <= site.number && holds(noted, address))
                .filter(|&of| unloaded[of]);
            if let Some(of) = of {
                used[of] = true;
            }
            if of.is_none() && nodes[node as usize].parent == parent {
                parent = node;
                continue;
            }
            parent = *moved.entry((parent, address, of)).or_insert_with(|| {
                let address = of.map_or(address, |of| tagged(address, of));
                nodes.push(Node { parent, address });
                nodes.len() as u32 - 1
            });
        }
        site.leaf = parent;
    }
    for of in (0..noted.len()).filter(|&of| used[of]) {
        let mut module = noted[of].module.clone();
        for address in [&mut module.bias, &mut module.start, &mut module.end] {
            *address = tagged(*address, of);
        }
        module.is_loaded = false;
        modules.push(module);
    }
}

/// `address` is one to return to, so that the call lies before it.
fn holds(noted: &NotedModule, address: u64) -> bool {
    (noted.module.start..noted.module.end).contains(&address.wrapping_sub(1))
}

fn tagged(address: u64, of: usize) -> u64 {
    address.wrapping_add((of as u64 + 1) << TAG_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::snapshot::{BuildId, Kind, Module};
    use crate::report::sample;

    fn noted(path: &str, start: u64, since_site: u32) -> NotedModule {
        NotedModule {
            module: Module {
                path: path.into(),
                bias: start,
                start,
                end: start + 0x1000,
                build_id: BuildId::from_bytes(path.as_bytes()),
                is_loaded: true,
            },
            since_site,
        }
    }

    /// Where each frame of each site lies: module and offset, innermost first.
    fn places(snapshot: &Snapshot) -> Vec<Vec<(&str, u64)>> {
        let place = |address: u64| {
            let is_of = |module: &&Module| (module.start..module.end).contains(&(address - 1));
            let module = snapshot.modules.iter().find(is_of).unwrap();
            (module.path.to_str().unwrap(), address - module.bias)
        };
        let stack = |leaf: u32| {
            let next = |&at: &u32| Some(snapshot.nodes[at as usize].parent);
            let nodes = std::iter::successors(Some(leaf), next).take_while(|&at| at != 0);
            nodes
                .map(|at| place(snapshot.nodes[at as usize].address))
                .collect()
        };
        let places = snapshot.sites.places().iter();
        places.map(|site| stack(site.leaf)).collect()
    }

    #[test]
    fn each_site_is_of_what_was_loaded_when_it_was_made() {
        let counts = sample::counts(12);
        let (main, lib): (u64, u64) = (0x400010, 0x7f00_0000_0010);
        let sites: &[(&[u64], _)] = &[
            (&[main], counts),
            (&[lib, main], counts),
            (&[main + 1, lib, main], counts),
            (&[lib, main], counts),
            (&[lib + 1, lib, main], counts),
        ];
        let mut snapshot = sample::snapshot(Kind::Heap, sites);
        for (site, number) in snapshot.sites.places_mut().iter_mut().zip([2, 3, 4, 7, 9]) {
            site.number = number;
        }
        let base = lib - 0x10;
        let notes = [
            noted("main", 0x400000, 0),
            noted("a", base, 3),
            noted("b", base, 5),
            noted("a", base, 9),
        ];
        snapshot.modules = vec![notes[0].module.clone(), notes[1].module.clone()];
        tell_apart(&mut snapshot, &notes);
        let (m, a, b) = (("main", 0x10), ("a", 0x10), ("b", 0x10));
        let expected = [
            vec![m],
            // Unloaded and loaded again: it is the same one.
            vec![a, m],
            vec![("main", 0x11), a, m],
            vec![b, m],
            vec![("a", 0x11), a, m],
        ];
        assert_eq!(places(&snapshot), expected);
        // Gone for good.
        snapshot = sample::snapshot(Kind::Heap, &sites[1..2]);
        snapshot.sites.places_mut()[0].number = 3;
        snapshot.modules = vec![notes[0].module.clone(), notes[2].module.clone()];
        tell_apart(&mut snapshot, &notes);
        assert_eq!(places(&snapshot), [[a, m]]);
        assert!(snapshot.modules.iter().any(|module| !module.is_loaded));
    }
}
