//! Spans, told apart by where they stand in the source and what they stand in: each
//! such place in the tree of spans has a scope, and every span of it counts there.

use crate::alloc::ENGINE;
use crate::testing::scope::Scope;
use std::collections::HashMap;
use tracing_core::{Metadata, callsite::Identifier};

/// Places in the tree of spans beyond which spans count for the place that they
/// stand in.
pub(crate) const MAX_NODES: usize = 1024;

/// A place in the tree of spans.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) metadata: &'static Metadata<'static>,
    pub(crate) parent: Option<NodeId>,
    pub(crate) scope: Scope,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct NodeId(usize);

/// All that were met.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    by_place: HashMap<(Option<NodeId>, Identifier), NodeId>,
    /// Spans for which there was no room.
    pub(crate) left_out: u64,
}

impl Nodes {
    /// The place of a span of `metadata` in `parent`. A span in itself, at whatever
    /// distance, is at the outer one's place. None: there is no room, and nothing around.
    pub(crate) fn place(
        &mut self,
        parent: Option<NodeId>,
        metadata: &'static Metadata<'static>,
    ) -> Option<NodeId> {
        let callsite = metadata.callsite();
        let is_it = |id: &NodeId| self.get(*id).metadata.callsite() == callsite;
        if let Some(around) = self.path(parent).find(is_it) {
            return Some(around);
        }
        if let Some(&known) = self.by_place.get(&(parent, callsite.clone())) {
            return Some(known);
        }
        if self.nodes.len() == MAX_NODES {
            self.left_out += 1;
            return parent;
        }
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node {
            metadata,
            parent,
            scope: apart(Scope::new),
        });
        self.by_place.insert((parent, callsite), id);
        Some(id)
    }

    pub(crate) fn get(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        let ids = (0..self.nodes.len()).map(NodeId);
        std::iter::zip(ids, &self.nodes)
    }

    /// The place and those around it, from the inside out.
    pub(crate) fn path(&self, from: Option<NodeId>) -> impl Iterator<Item = NodeId> {
        std::iter::successors(from, |&id| self.get(id).parent)
    }
}

/// Opens a scope in no other one: it outlives whatever this thread is in.
pub(crate) fn apart(open: impl FnOnce() -> Scope) -> Scope {
    let Ok(before) = ENGINE.enter_scope(0) else {
        return open();
    };
    let scope = open();
    ENGINE.leave_scope(before);
    scope
}
