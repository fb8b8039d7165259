//! The layer that a `tracing` subscriber is given.

use crate::alloc::ENGINE;
use crate::spans::entered;
use crate::spans::nodes::{NodeId, Nodes, apart};
use crate::spans::usage::Spans;
use crate::testing::scope::Scope;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tracing_core::Subscriber;
use tracing_core::span::{Attributes, Id};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Attributes allocations to `tracing` spans: each counts for the innermost span that
/// its thread is in, with its stack, on whatever threads and as often as the span is
/// entered. With [`Instrument`](https://docs.rs/tracing/latest/tracing/trait.Instrument.html)
/// that is wherever a future is polled. Frees count for the span that allocated the
/// block; a reallocation inside of another span moves the block to that span.
///
/// Works with and without a [`Profiler`](crate::Profiler), and on all threads. While a
/// thread is in a span, what it allocates counts for that span and for
/// [`Scope`](crate::Scope)s that it enters inside of it, not for scopes around it.
///
/// Spans are told apart by their place in the source and by the spans they are in; a
/// span in itself is one with the outer. Up to 1,024 such places are kept.
///
/// # Examples
/// ```
/// use tracing_subscriber::prelude::*;
///
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let layer = heapledger::SpanLayer::new();
///     let spans = layer.spans();
///     let subscriber = tracing_subscriber::registry().with(layer);
///     tracing::subscriber::with_default(subscriber, || {
///         tracing::info_span!("load", file = "a.txt").in_scope(|| drop(vec![0_u8; 500]));
///     });
///     let [load] = &spans.usages()[..] else { panic!("one span") };
///     assert_eq!(load.path(), "load");
///     assert_eq!(load.heap.total_bytes, 500);
/// }
/// ```
#[derive(Debug)]
pub struct SpanLayer {
    shared: Arc<Shared>,
}

/// What the layer and the handles to its counts share.
#[derive(Debug, Default)]
pub(crate) struct Shared(Mutex<Nodes>);

impl Shared {
    pub(crate) fn nodes(&self) -> MutexGuard<'_, Nodes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In a span's extensions.
struct Place {
    id: NodeId,
    scope: Scope,
}

impl SpanLayer {
    /// A layer that has seen no span. A subscriber is given one.
    ///
    /// # Panics
    /// If [`Alloc`](struct@crate::Alloc) is not the program's allocator, and if
    /// there is no room for another [`Scope`](crate::Scope).
    #[expect(
        clippy::new_without_default,
        reason = "it can fail, and a subscriber is given it by name"
    )]
    pub fn new() -> Self {
        // What would fail at the first span fails here.
        drop(apart(Scope::new));
        ENGINE.ignoring(|| Self {
            shared: Arc::default(),
        })
    }

    /// A handle to the counts, for when the subscriber has the layer.
    pub fn spans(&self) -> Spans {
        Spans::of(Arc::clone(&self.shared))
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for SpanLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        ENGINE.ignoring(|| {
            let Some(span) = context.span(id) else {
                return;
            };
            let parent = span.parent().and_then(|parent| {
                let extensions = parent.extensions();
                extensions.get::<Place>().map(|place| place.id)
            });
            let mut nodes = self.shared.nodes();
            let Some(id) = nodes.place(parent, attributes.metadata()) else {
                return;
            };
            let scope = nodes.get(id).scope.clone();
            drop(nodes);
            span.extensions_mut().replace(Place { id, scope });
        });
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        ENGINE.ignoring(|| {
            if let Some(span) = context.span(id)
                && let Some(place) = span.extensions().get::<Place>()
            {
                entered::enter(id.into_u64(), &place.scope);
            }
        });
    }

    fn on_exit(&self, id: &Id, _context: Context<'_, S>) {
        ENGINE.ignoring(|| entered::exit(id.into_u64()));
    }
}
