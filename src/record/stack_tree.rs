//! All stacks ever met, as a tree of frames: stacks that share their outer
//! frames share those nodes. A stack is known by its innermost node.

use crate::capture::walk::Stack;
use crate::lock::SpinLock;
use crate::record::chunks::{Chunks, Zeroable, kept};
use crate::record::hashing::{spread, stripe_of};
use crate::record::snapshot::Node;
use crate::untracked::Untracked;
use hashbrown::HashTable;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

const STRIPES: usize = 64;
const CHUNK: usize = 1 << 14;

/// Frames that the tree can hold; later stacks are kept without their frames.
pub(crate) const MAX_NODES: usize = 1 << 26;

#[repr(C)]
pub(crate) struct Slot {
    address: AtomicU64,
    parent: AtomicU32,
}

// SAFETY: atomics, for which zero is valid.
unsafe impl Zeroable for Slot {
    const KEPT_AS: u32 = kept::NODES;
}

impl Slot {
    pub(crate) fn node(&self) -> Node {
        Node {
            parent: self.parent.load(Relaxed),
            address: self.address.load(Relaxed),
        }
    }
}

/// Node 0 is the empty stack, the parent of every outermost frame.
#[derive(Debug)]
pub(crate) struct StackTree {
    nodes: Chunks<Slot, { MAX_NODES / CHUNK }, CHUNK>,
    /// Nodes in use, less the empty stack.
    count: AtomicU32,
    /// Numbers of the nodes, found by what is in the nodes.
    stripes: [SpinLock<HashTable<u32, Untracked>>; STRIPES],
}

fn hash(parent: u32, address: u64) -> u64 {
    spread(address ^ u64::from(parent).rotate_left(40))
}

impl StackTree {
    pub(crate) const fn new() -> Self {
        Self {
            nodes: Chunks::new(),
            count: AtomicU32::new(0),
            stripes: [const { SpinLock::new(HashTable::new_in(Untracked)) }; STRIPES],
        }
    }

    /// The node of a stack. None: the tree is full or there is no memory.
    pub(crate) fn intern(&self, stack: &mut Stack<'_>) -> Option<u32> {
        let mut parent = 0;
        for frame in stack.frames.iter_mut() {
            // A window's outermost frame is the child of a frame that is not
            // kept, so what the memo remembers of it belongs to another path.
            if stack.is_window || frame.node == 0 {
                let node = self.child(parent, frame.return_address())?;
                if !stack.is_window {
                    frame.node = node;
                }
                parent = node;
            } else {
                parent = frame.node;
            }
        }
        Some(parent)
    }

    fn child(&self, parent: u32, address: u64) -> Option<u32> {
        let hash = hash(parent, address);
        let mut stripe = self.stripes[stripe_of(hash, STRIPES)].lock();
        let is_it = |&node: &u32| self.node(node) == Node { parent, address };
        if let Some(&node) = stripe.find(hash, is_it) {
            return Some(node);
        }
        let rehash = |&node: &u32| {
            let Node { parent, address } = self.node(node);
            self::hash(parent, address)
        };
        stripe.try_reserve(1, rehash).ok()?;
        let number = self.claim_number()?;
        let slot = self.nodes.get_or_map(number as usize)?;
        slot.address.store(address, Relaxed);
        slot.parent.store(parent, Relaxed);
        stripe.insert_unique(hash, number, rehash);
        Some(number)
    }

    fn claim_number(&self) -> Option<u32> {
        let next = |count: u32| (count + 1 < MAX_NODES as u32).then_some(count + 1);
        // AcqRel: a reader that sees the count sees the chunks below it, once
        // the writers of the last nodes have left their sections.
        let before = self.count.fetch_update(AcqRel, Acquire, next).ok()?;
        Some(before + 1)
    }

    pub(crate) fn node(&self, number: u32) -> Node {
        match self.nodes.get(number as usize) {
            Some(slot) => slot.node(),
            None => Node {
                parent: 0,
                address: 0,
            },
        }
    }

    /// Moves the tree into the crash file, if there is one.
    ///
    /// # Safety
    /// No other thread uses the tree meanwhile.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn keep(&self) {
        // SAFETY: the caller's promise.
        unsafe { self.nodes.keep(true) };
    }

    /// How many nodes there are, the empty stack included.
    pub(crate) fn len(&self) -> u32 {
        self.count.load(Acquire) + 1
    }
}
