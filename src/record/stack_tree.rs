//! All stacks ever met, as a tree of frames: stacks that share their outer
//! frames share those nodes. A stack is known by its innermost node.

use crate::capture::memo::extend;
use crate::capture::walk::Stack;
use crate::lock::SpinLock;
use crate::record::chunks::{Chunks, Zeroable, kept};
use crate::record::hashing::spread;
use crate::record::open_table::{Entry, Hint, OpenTable, Place};
use crate::record::snapshot::Node;
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
    const IS_DENSE: bool = true;
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
    stripes: [Stripe; STRIPES],
}

/// Numbers of nodes, found by a hash of their path.
#[derive(Debug)]
#[repr(align(64))]
struct Stripe {
    table: SpinLock<OpenTable<Numbered>>,
    hint: Hint<Numbered>,
}

/// A part of the hash of a node's path, and the node's number, which is not 0.
#[derive(Clone, Copy, Debug)]
struct Numbered {
    tag: u32,
    number: u32,
}

// SAFETY: zero is no number.
unsafe impl Entry for Numbered {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn place(&self) -> Place {
        self.tag
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn is_free(&self) -> bool {
        self.number == 0
    }
}

/// A node's hash, spread over all bits.
#[derive(Clone, Copy, Debug)]
struct PathHash(u64);

impl PathHash {
    #[cfg_attr(not(debug_assertions), inline(always))]
    fn of(prefix_hash: u64) -> Self {
        Self(spread(spread(prefix_hash)))
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn tag(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[cfg_attr(not(debug_assertions), inline(always))]
    fn stripe(self) -> usize {
        (self.0 >> 20) as usize % STRIPES
    }
}

impl StackTree {
    pub(crate) const fn new() -> Self {
        Self {
            nodes: Chunks::new(),
            count: AtomicU32::new(0),
            stripes: [const {
                Stripe {
                    table: SpinLock::new(OpenTable::new()),
                    hint: Hint::new(),
                }
            }; STRIPES],
        }
    }

    /// The node of a stack. None: the tree is full or there is no memory.
    pub(crate) fn intern(&self, stack: &mut Stack<'_>) -> Option<u32> {
        // A window's outermost frame is the child of a frame that is not
        // kept, so what the memo remembers of it belongs to another path.
        let is_window = stack.is_window;
        let known = match is_window {
            true => None,
            false => stack.frames.iter().rposition(|frame| frame.node != 0),
        };
        let mut parent = known.map_or(0, |known| stack.frames[known].node);
        let fresh = &mut stack.frames[known.map_or(0, |known| known + 1)..];
        // All are asked for before the first is looked at: each may be far away.
        let mut hash = 0;
        for frame in &*fresh {
            hash = match is_window {
                true => extend(hash, frame.return_address()),
                false => frame.prefix_hash(),
            };
            let path = PathHash::of(hash);
            self.stripes[path.stripe()].hint.fetch(path.tag());
        }
        hash = 0;
        for frame in fresh {
            hash = match is_window {
                true => extend(hash, frame.return_address()),
                false => frame.prefix_hash(),
            };
            parent = self.child(parent, frame.return_address(), PathHash::of(hash))?;
            if !is_window {
                frame.node = parent;
            }
        }
        Some(parent)
    }

    fn child(&self, parent: u32, address: u64, path: PathHash) -> Option<u32> {
        let (tag, stripe) = (path.tag(), &self.stripes[path.stripe()]);
        let mut table = stripe.table.lock();
        let is_it = |entry: &Numbered| {
            entry.tag == tag && self.node(entry.number) == Node { parent, address }
        };
        if let Some(found) = table.find(tag, is_it) {
            return Some(found.number);
        }
        table.reserve().ok()?;
        stripe.hint.set(&table);
        let number = self.claim_number()?;
        let slot = self.nodes.get_or_map(number as usize)?;
        slot.address.store(address, Relaxed);
        slot.parent.store(parent, Relaxed);
        table.insert(Numbered { tag, number });
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
