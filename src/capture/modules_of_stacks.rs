//! The loaded objects that the code on stacks is of, for a copy of the process: its
//! only thread may not wait for the loader's lock, whose holder was not copied.

use crate::capture::loaded_object::LoadedObject;
use crate::capture::module_map::Module;

/// `addresses` are those to return to. With a C library that answers only under the
/// loader's lock (`loaded_object.rs`) this waits for it none the less.
pub(crate) fn modules_of(addresses: impl Iterator<Item = u64>) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    for address in addresses {
        // The call lies before it.
        let pc = address.wrapping_sub(1);
        if modules
            .iter()
            .any(|module| (module.start..module.end).contains(&pc))
        {
            continue;
        }
        if let Some(object) = LoadedObject::containing(pc) {
            let module = Module::of(&object.facts);
            if !modules.contains(&module) {
                modules.push(module);
            }
        }
    }
    modules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::loaded_object;
    use crate::capture::module_map::loaded_modules;

    #[test]
    fn they_are_among_the_loaded_ones() {
        loaded_object::prepare();
        let own = they_are_among_the_loaded_ones as *const () as u64;
        let found = modules_of([own, libc::malloc as *const () as u64, own, 16].into_iter());
        assert_eq!(found.len(), 2, "{found:?}");
        let loaded = loaded_modules();
        assert!(found.iter().all(|module| loaded.contains(module)));
    }
}
