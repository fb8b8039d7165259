//! A part of the program whose allocations are looked at: on one thread or
//! several, apart from everything else that runs at the time.

use crate::alloc::ENGINE;
use crate::engine::scopes::NoScope;
use crate::profiler::{MISSING_ALLOCATOR, allocator_is_installed};
use crate::record::scope::slot::Keeps;
use crate::record::scope::slots::{MAX_DEPTH, NoSlot};
use crate::record::scope::tag::{MAX_SCOPE_SITES, MAX_SLOTS};
#[cfg(feature = "baselines")]
use crate::testing::last;
use crate::testing::usage::HeapUsage;
use std::future::Future;
use std::marker::PhantomData;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

/// Runs `work` in a [`Scope`] of its own, and returns its result and what it
/// allocated.
///
/// Counted is what `work` allocates on this thread, and on threads that enter
/// the scope; nothing of what other threads do at the same time. Scopes nest:
/// what is allocated in the inner one is part of the outer one's counts too.
/// A profiler may be running, but need not.
///
/// What `work` returns may own blocks: they are live, but not
/// [leaked](HeapUsage::leaked_blocks).
///
/// # Panics
/// If [`Alloc`](struct@crate::Alloc) is not the program's allocator; if too many
/// scopes exist; and with whatever `work` panics.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let (words, heap) = heapledger::measure(|| vec!["a", "b"]);
///     heapledger::assert_heap!(heap.total_blocks == 1, heap.max_bytes <= 32);
///     assert_eq!(heap.live_bytes, 32); // the vector
///     # drop(words);
/// }
/// ```
#[inline(never)]
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, HeapUsage) {
    measure_in(&Scope::new(), work)
}

/// As [`measure`], without stacks: for the least cost. The result has no
/// [`sites`](HeapUsage::sites).
///
/// # Panics
/// As [`measure`] does.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let ((), heap) = heapledger::measure_counts(|| drop(vec![0_u8; 100]));
///     assert_eq!((heap.total_blocks, heap.freed_bytes), (1, 100));
/// }
/// ```
#[inline(never)]
pub fn measure_counts<T>(work: impl FnOnce() -> T) -> (T, HeapUsage) {
    measure_in(&Scope::counts_only(), work)
}

/// As [`measure`]; and it is found out how much of each block is never written to. See
/// [`Scope::measuring_writes`].
///
/// # Panics
/// As [`measure`] does.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let (list, heap) = heapledger::measure_writes(|| {
///         let mut list = Vec::<u32>::with_capacity(1000);
///         list.extend(0..10);
///         list
///     });
///     heapledger::assert_heap!(heap.total_bytes == 4000, heap.unwritten_bytes <= 3960);
///     # drop(list);
/// }
/// ```
#[inline(never)]
pub fn measure_writes<T>(work: impl FnOnce() -> T) -> (T, HeapUsage) {
    measure_in(&Scope::measuring_writes(), work)
}

fn measure_in<T>(scope: &Scope, work: impl FnOnce() -> T) -> (T, HeapUsage) {
    let entered = scope.enter();
    let result = work();
    drop(entered);
    let usage = scope.usage_holding(&result);
    #[cfg(feature = "baselines")]
    last::set(&usage);
    (result, usage)
}

/// A part of the program, as a value: for code that is not a closure, and for
/// threads.
///
/// A scope counts what is allocated by threads while they are in it. Blocks are
/// followed to their end wherever they are freed. Copies made by `clone` are
/// handles of the same scope, to be sent to other threads. A scope that is made
/// while its thread is in another one lies in that one.
///
/// # Examples
/// ```
/// #[global_allocator]
/// static ALLOC: heapledger::Alloc = heapledger::Alloc;
///
/// fn main() {
///     let scope = heapledger::Scope::new();
///     std::thread::scope(|threads| {
///         for _ in 0..4 {
///             threads.spawn(|| {
///                 let _inside = scope.enter();
///                 drop(vec![0_u8; 100]);
///             });
///         }
///     });
///     assert_eq!(scope.usage().total_bytes, 400);
/// }
/// ```
#[derive(Debug)]
pub struct Scope {
    number: u32,
    has_sites: bool,
    has_writes: bool,
}

impl Scope {
    /// A scope that keeps the stack of every allocation.
    ///
    /// # Panics
    /// If [`Alloc`](struct@crate::Alloc) is not the program's allocator, if
    /// 4,095 scopes exist, and in 64 scopes one in the other.
    #[expect(
        clippy::new_without_default,
        reason = "it can fail, and a scope in a derived default is a mistake"
    )]
    pub fn new() -> Self {
        Self::open(Keeps {
            stacks: true,
            writes: false,
        })
    }

    /// As [`Scope::new`]; and it is found out how much of each block is never written to:
    /// [`HeapUsage::unwritten_bytes`]. Every block of the scope is filled with a pattern for
    /// that, however large it is, so that all of it becomes resident; zeroed blocks are not.
    ///
    /// # Panics
    /// As [`Scope::new`] does.
    ///
    /// # Examples
    /// ```
    /// # #[global_allocator]
    /// # static ALLOC: heapledger::Alloc = heapledger::Alloc;
    /// let scope = heapledger::Scope::measuring_writes();
    /// let inside = scope.enter();
    /// let mut text = String::with_capacity(100);
    /// text.push_str("ten bytes.");
    /// drop(inside);
    /// assert_eq!(scope.usage().unwritten_bytes, Some(90));
    /// ```
    pub fn measuring_writes() -> Self {
        Self::open(Keeps {
            stacks: true,
            writes: true,
        })
    }

    /// A scope that keeps counts only, for the least cost.
    ///
    /// # Panics
    /// As [`Scope::new`] does.
    ///
    /// # Examples
    /// ```
    /// # #[global_allocator]
    /// # static ALLOC: heapledger::Alloc = heapledger::Alloc;
    /// let scope = heapledger::Scope::counts_only();
    /// let inside = scope.enter();
    /// let text = String::from("text");
    /// drop(inside);
    /// assert_eq!(scope.usage().live_bytes, 4);
    /// # drop(text);
    /// ```
    pub fn counts_only() -> Self {
        Self::open(Keeps::default())
    }

    fn open(keeps: Keeps) -> Self {
        static INSTALLED: AtomicBool = AtomicBool::new(false);
        ENGINE.ignoring(|| {
            let number = match ENGINE.open_scope(keeps) {
                Ok(number) => number,
                Err(refusal) => panic!("heapledger: {}", sentence(refusal)),
            };
            let scope = Self {
                number,
                has_sites: keeps.stacks,
                has_writes: keeps.writes,
            };
            if !INSTALLED.load(Relaxed) {
                // A thread outside of all scopes is not looked at.
                let inside = scope.enter();
                let is_installed = allocator_is_installed();
                drop(inside);
                if !is_installed {
                    drop(scope);
                    panic!("heapledger: {MISSING_ALLOCATOR}");
                }
                INSTALLED.store(true, Relaxed);
            }
            scope
        })
    }

    /// Puts this thread into the scope, until the result is dropped.
    ///
    /// # Panics
    /// If there is no memory for what the profiler keeps of a thread.
    ///
    /// # Examples
    /// ```
    /// # #[global_allocator]
    /// # static ALLOC: heapledger::Alloc = heapledger::Alloc;
    /// let scope = heapledger::Scope::new();
    /// {
    ///     let _inside = scope.enter();
    ///     drop(Box::new(1_u64));
    /// }
    /// drop(Box::new(2_u64)); // outside
    /// assert_eq!(scope.usage().total_blocks, 1);
    /// ```
    pub fn enter(&self) -> Entered {
        let handle = self.clone();
        match ENGINE.enter_scope(self.number) {
            Ok(before) => Entered {
                before,
                _scope: handle,
                _of_this_thread: PhantomData,
            },
            Err(refusal) => ENGINE.ignoring(|| panic!("heapledger: {}", sentence(refusal))),
        }
    }

    /// The innermost scope that this thread is in.
    #[cfg(feature = "baselines")]
    pub(crate) fn of_this_thread() -> Option<Self> {
        let (number, keeps) = ENGINE.scope_of_this_thread()?;
        ENGINE.clone_scope(number);
        Some(Self {
            number,
            has_sites: keeps.stacks,
            has_writes: keeps.writes,
        })
    }

    /// Puts this thread into the scope, until [`ENGINE`]'s `leave_scope` is given the
    /// result. None: it cannot be.
    #[cfg(feature = "tracing")]
    pub(crate) fn put_thread_in(&self) -> Option<u32> {
        ENGINE.enter_scope(self.number).ok()
    }

    /// A future whose polls, and whose end, take place in the scope, on whatever
    /// threads they do. The future itself is moved to the heap, uncounted.
    ///
    /// # Examples
    /// ```
    /// # #[global_allocator]
    /// # static ALLOC: heapledger::Alloc = heapledger::Alloc;
    /// # use std::{future::Future, pin::pin, task::{Context, Waker}};
    /// let scope = heapledger::Scope::new();
    /// let future = scope.instrument(async { vec![0_u8; 10].len() });
    /// let mut context = Context::from_waker(Waker::noop());
    /// assert!(pin!(future).poll(&mut context).is_ready());
    /// assert_eq!(scope.usage().total_bytes, 10);
    /// ```
    pub fn instrument<F: Future>(&self, future: F) -> Instrumented<F> {
        ENGINE.ignoring(|| Instrumented {
            future: Some(Box::pin(future)),
            scope: self.clone(),
        })
    }

    /// What the scope adds up to now. Threads may be in it, and blocks of it
    /// may be freed later.
    ///
    /// # Panics
    /// If operations are missing from the counts: because there was no memory
    /// for the profiler's tables, because a signal handler allocated or freed
    /// while it interrupted the profiler, or because there are more than 262,143
    /// different stacks in the scope.
    pub fn usage(&self) -> HeapUsage {
        self.usage_from(None)
    }

    /// As [`Scope::usage`], where `result` is what the work in the scope was for: live blocks
    /// that it leads to are not [leaked](HeapUsage::leaked_blocks).
    ///
    /// # Panics
    /// As [`Scope::usage`] does.
    ///
    /// # Examples
    /// ```
    /// # #[global_allocator]
    /// # static ALLOC: heapledger::Alloc = heapledger::Alloc;
    /// let scope = heapledger::Scope::new();
    /// let inside = scope.enter();
    /// let text = String::from("text");
    /// std::mem::forget(Box::new(1_u64));
    /// drop(inside);
    /// let heap = scope.usage_holding(&text);
    /// assert_eq!((heap.live_bytes, heap.leaked_bytes), (12, 8));
    /// ```
    pub fn usage_holding<T: ?Sized>(&self, result: &T) -> HeapUsage {
        let start = std::ptr::from_ref(result).cast::<u8>().expose_provenance();
        self.usage_from(Some(start..start + size_of_val(result)))
    }

    fn usage_from(&self, root: Option<Range<usize>>) -> HeapUsage {
        ENGINE.ignoring(|| {
            let reading = match ENGINE.read_scope(self.number, root) {
                Ok(reading) => reading,
                Err(refusal) => panic!("heapledger: {}", sentence(refusal)),
            };
            if reading.refused > 0 {
                panic!(
                    "heapledger: {} operations are missing from this scope: there was no memory \
                     for them, a signal handler made them, or there are more than {} stacks in it; \
                     measure less at a time, or with Scope::counts_only",
                    reading.refused,
                    MAX_SCOPE_SITES - 1
                );
            }
            HeapUsage::of(reading, self.has_sites, self.has_writes)
        })
    }
}

impl Clone for Scope {
    fn clone(&self) -> Self {
        ENGINE.clone_scope(self.number);
        Self { ..*self }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        ENGINE.release_scope(self.number);
    }
}

fn sentence(refusal: NoScope) -> String {
    match refusal {
        NoScope::NoSlot(NoSlot::AllInUse) => {
            format!("{} scopes exist; drop some first", MAX_SLOTS - 1)
        }
        NoScope::NoSlot(NoSlot::TooDeep) => {
            format!("{MAX_DEPTH} scopes lie one in the other; leave some first")
        }
        NoScope::NoSlot(NoSlot::NoMemory) | NoScope::NoThread => {
            "no memory for a scope, or the thread is ending".to_owned()
        }
        NoScope::Sampled => {
            "scopes count every block, and the run in progress samples; end it first".to_owned()
        }
        NoScope::Busy => "a scope is used in a signal handler".to_owned(),
    }
}

/// That this thread is in a [`Scope`]. Dropped in the reverse of the order in
/// which they were made, as local variables are.
#[derive(Debug)]
#[must_use = "the thread leaves the scope when this is dropped"]
pub struct Entered {
    before: u32,
    _scope: Scope,
    /// Not to be sent to another thread.
    _of_this_thread: PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        ENGINE.leave_scope(self.before);
        #[cfg(feature = "baselines")]
        last::forget();
    }
}

/// A future in a [`Scope`]; made by [`Scope::instrument`].
#[derive(Debug)]
pub struct Instrumented<F> {
    /// None once it was dropped.
    future: Option<Pin<Box<F>>>,
    scope: Scope,
}

impl<F: Future> Future for Instrumented<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let _inside = self.scope.enter();
        match &mut self.future {
            Some(future) => future.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for Instrumented<F> {
    fn drop(&mut self) {
        let _inside = self.scope.enter();
        self.future = None;
    }
}
