//! Derives the unwind rule of an address from the call frame information
//! (`.eh_frame`) of the object it lies in. This is the cold side of the rule
//! cache: about a microsecond, once an address.
//!
//! Formats: LSB 5.0 "Exception Frames" (`.eh_frame_hdr`, augmentations) and
//! the System V x86-64 psABI's DWARF register numbers; decoded by gimli.

use crate::capture::back_end::{BackEnd, FramePointers, frame_pointers_are_kept};
use crate::capture::loaded_object::{self, LoadedObject};
use crate::capture::module_map::NotedModule;
use crate::capture::module_notes::{ModuleNotes, Noted};
use crate::capture::rules::{Rule, SLOT_AT_FP, Step};
use crate::lock::SpinLock;
use crate::untracked;
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, NativeEndian, Operation,
    RegisterRule, UnwindContext, UnwindContextStorage, UnwindExpression, UnwindSection,
    UnwindTableRow, X86_64,
};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};

/// Storage for gimli's evaluation without an allocation: x86-64 code saves at
/// most its 16 general registers and the return address.
struct SmallStorage;

impl UnwindContextStorage<usize> for SmallStorage {
    type Rules = [(gimli::Register, RegisterRule<usize>); 17];
    type Stack = [UnwindTableRow<usize, Self>; 3];
}

type Context = UnwindContext<usize, SmallStorage>;

/// Derives rules. What gimli works on is kept here and not on the stack,
/// which may be a signal handler's and have no more than 8 KiB in all.
pub(crate) struct RuleDeriver {
    context: SpinLock<Option<ContextMemory>>,
    /// A [`BackEnd`].
    back_end: AtomicU8,
    notes: ModuleNotes,
    /// Where code lies that is never unloaded.
    permanent: [OnceRange; 2],
    /// Where other code was found than before.
    other_code: SpinLock<Option<(u64, u64)>>,
    has_other_code: AtomicBool,
}

/// An address range, empty until it is known.
#[derive(Debug, Default)]
struct OnceRange {
    start: AtomicU64,
    end: AtomicU64,
}

impl OnceRange {
    const fn new() -> Self {
        Self {
            start: AtomicU64::new(0),
            end: AtomicU64::new(0),
        }
    }

    fn set(&self, start: u64, end: u64) {
        self.start.store(start, Relaxed);
        self.end.store(end, Relaxed);
    }

    fn get(&self) -> Range<u64> {
        self.start.load(Relaxed)..self.end.load(Relaxed)
    }
}

struct ContextMemory(NonNull<Context>);

// SAFETY: memory of its own, reached through the lock only.
unsafe impl Send for ContextMemory {}

impl std::fmt::Debug for RuleDeriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RuleDeriver").finish_non_exhaustive()
    }
}

impl RuleDeriver {
    pub(crate) const fn new() -> Self {
        Self {
            context: SpinLock::new(None),
            back_end: AtomicU8::new(BackEnd::Rules as u8),
            notes: ModuleNotes::new(),
            permanent: [const { OnceRange::new() }; 2],
            other_code: SpinLock::new(None),
            has_other_code: AtomicBool::new(false),
        }
    }

    /// Gets memory to work in; before that, nothing can be derived.
    pub(crate) fn prepare(&self) {
        loaded_object::prepare();
        self.notes.prepare();
        let own_code = RuleDeriver::derive as *const () as u64;
        let c_library = libc::malloc as *const () as u64;
        // A library that the profiler is part of may be unloaded, and the profiler
        // with it.
        for (range, pc) in self.permanent.iter().zip([own_code, c_library]) {
            if let Some(object) = LoadedObject::containing(pc) {
                range.set(object.facts.start, object.facts.end);
            }
        }
        let mut memory = self.context.lock();
        if memory.is_none()
            && let Some(block) = untracked::map(size_of::<Context>())
        {
            let context = block.cast::<Context>();
            // SAFETY: just mapped, page-aligned, large enough; never unmapped.
            unsafe { context.write(Context::new_in()) };
            *memory = Some(ContextMemory(context));
        }
    }

    /// The rule for the instruction at `pc`. Where the walk does not know the
    /// platform no rule fits, which leaves stacks to the platform's unwinder. Where it
    /// does, what does not fit ends the walk: that unwinder reads wherever the stack's
    /// words lead it, also out of mapped memory.
    /// `since_site` is the first site that can lead through its object.
    #[cold]
    #[inline(never)]
    pub(crate) fn derive(&self, pc: u64, since_site: u32) -> Rule {
        if self.back_end() == BackEnd::Platform {
            return Rule::UNFIT;
        }
        // Before the lock: with an old C library this waits for the loader,
        // whose lock's holder may be about to derive a rule.
        let object = LoadedObject::containing(pc);
        if let Some(object) = &object {
            self.note(object, pc, since_site);
        }
        if self.back_end() == BackEnd::FramePointers {
            return FramePointers::rule();
        }
        let Some(object) = object else {
            return Rule::NO_INFORMATION;
        };
        let mut memory = self.context.lock();
        let Some(ContextMemory(context)) = &mut *memory else {
            return Rule::NO_INFORMATION;
        };
        // SAFETY: written by `prepare`, and this is the lock's holder.
        let context = unsafe { context.as_mut() };
        match derive_in(&object, pc, context) {
            Some(rule) if rule != Rule::UNFIT => rule,
            _ => Rule::NO_INFORMATION,
        }
    }
}

impl RuleDeriver {
    fn note(&self, object: &LoadedObject<'_>, pc: u64, since_site: u32) {
        if !self.permanent().iter().any(|code| code.contains(&pc))
            && self.notes.note(&object.facts, since_site) == Noted::InPlaceOfAnother
        {
            let (start, end) = (object.facts.start, object.facts.end);
            let mut other_code = self.other_code.lock();
            let (low, high) = other_code.unwrap_or((start, end));
            *other_code = Some((low.min(start), high.max(end)));
            self.has_other_code.store(true, Relaxed);
        }
    }

    /// Chooses how stacks are taken. Called while nothing is recorded; what was derived
    /// before holds no longer.
    pub(crate) fn choose(&self, wants_frame_pointers: bool) {
        self.back_end.store(BackEnd::Rules as u8, Relaxed);
        let own_code = RuleDeriver::derive as *const () as u64;
        let has_rules = self.derive(own_code, 0) != Rule::NO_INFORMATION;
        let chosen = BackEnd::choose(wants_frame_pointers, has_rules, frame_pointers_are_kept);
        self.back_end.store(chosen as u8, Relaxed);
    }

    pub(crate) fn back_end(&self) -> BackEnd {
        match self.back_end.load(Relaxed) {
            1 => BackEnd::FramePointers,
            2 => BackEnd::Platform,
            _ => BackEnd::Rules,
        }
    }

    /// Where code lies that is never unloaded.
    #[inline]
    pub(crate) fn permanent(&self) -> [Range<u64>; 2] {
        self.permanent.each_ref().map(OnceRange::get)
    }

    /// Whether code was found where there was other code before.
    pub(crate) fn found_other_code(&self) -> bool {
        self.has_other_code.load(Relaxed)
    }

    /// The range where it was found, once.
    pub(crate) fn take_other_code(&self) -> Option<(u64, u64)> {
        self.has_other_code.store(false, Relaxed);
        self.other_code.lock().take()
    }

    /// All objects but those that are never unloaded. Allocates.
    pub(crate) fn noted_modules(&self) -> Vec<NotedModule> {
        self.notes.read()
    }
}

fn derive_in(object: &LoadedObject<'_>, pc: u64, context: &mut Context) -> Option<Rule> {
    let bases = BaseAddresses::default().set_eh_frame_hdr(object.eh_frame_hdr_address);
    let header = EhFrameHdr::new(object.eh_frame_hdr, NativeEndian)
        .parse(&bases, 8)
        .ok()?;
    let gimli::Pointer::Direct(eh_frame_address) = header.eh_frame_ptr() else {
        return None;
    };
    let bases = bases.set_eh_frame(eh_frame_address);
    let eh_frame = EhFrame::new(object.bytes_from(eh_frame_address)?, NativeEndian);
    let table = header.table()?;
    let entry = table.lookup(pc, &bases).ok()?;
    let offset = table.pointer_to_offset(entry).ok()?;
    let fde = eh_frame
        .fde_from_offset(&bases, offset, EhFrame::cie_from_offset)
        .ok()?;
    if !fde.contains(pc) {
        return None;
    }
    if fde.is_signal_trampoline() {
        return Some(Rule::SIGNAL_FRAME);
    }
    let row = match fde.unwind_info_for_address(&eh_frame, &bases, context, pc) {
        Ok(row) => row,
        Err(_) => return Some(Rule::UNFIT),
    };
    Some(rule_of(row, &eh_frame))
}

type Section<'a> = EhFrame<EndianSlice<'a, NativeEndian>>;

fn rule_of(row: &UnwindTableRow<usize, SmallStorage>, section: &Section<'_>) -> Rule {
    match row.register(X86_64::RA).unwrap_or(RegisterRule::Undefined) {
        RegisterRule::Offset(-8) => {}
        RegisterRule::Undefined => return Rule::END,
        _ => return Rule::UNFIT,
    }
    let rbp_slot = match row.register(X86_64::RBP).unwrap_or(RegisterRule::Undefined) {
        // The ABI makes rbp callee-saved: not mentioned means unchanged.
        RegisterRule::Undefined | RegisterRule::SameValue => 0,
        RegisterRule::Offset(offset) if offset < 0 && offset % 8 == 0 => {
            match u32::try_from(-offset / 8) {
                Ok(slot) if slot < SLOT_AT_FP => slot,
                _ => return Rule::UNFIT,
            }
        }
        RegisterRule::Expression(expression)
            if word_at_fp(&expression, section, Tail::None) == Some(0) =>
        {
            SLOT_AT_FP
        }
        _ => return Rule::UNFIT,
    };
    let step = match row.cfa() {
        CfaRule::RegisterAndOffset { register, offset } if *register == X86_64::RSP => {
            Step::FromSp {
                offset: *offset,
                rbp_slot,
            }
        }
        CfaRule::RegisterAndOffset { register, offset } if *register == X86_64::RBP => {
            Step::FromFp {
                offset: *offset,
                rbp_slot,
            }
        }
        CfaRule::RegisterAndOffset { .. } => Step::Unfit,
        CfaRule::Expression(expression) => match word_at_fp(expression, section, Tail::Deref) {
            Some(offset) => Step::FromFpWord { offset, rbp_slot },
            None => Step::Unfit,
        },
    };
    if rbp_slot == SLOT_AT_FP && !matches!(step, Step::FromFpWord { .. }) {
        return Rule::UNFIT;
    }
    Rule::pack(step)
}

/// How an expression goes on after its first operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tail {
    None,
    Deref,
}

/// `DW_OP_breg6 offset`, and `DW_OP_deref` for the CFA: what gcc writes for functions
/// that realign their stack.
fn word_at_fp(
    expression: &UnwindExpression<usize>,
    section: &Section<'_>,
    tail: Tail,
) -> Option<i64> {
    let encoding = gimli::Encoding {
        address_size: 8,
        format: gimli::Format::Dwarf32,
        version: 4,
    };
    let mut operations = expression.get(section).ok()?.operations(encoding);
    let Operation::RegisterOffset {
        register, offset, ..
    } = operations.next().ok()??
    else {
        return None;
    };
    let (second, third) = (operations.next().ok()?, operations.next().ok()?);
    let is_deref = matches!(
        second,
        Some(Operation::Deref {
            size: 8,
            space: false,
            ..
        })
    );
    let fits = match tail {
        Tail::None => second.is_none(),
        Tail::Deref => is_deref && third.is_none(),
    };
    (fits && register == X86_64::RBP).then_some(offset)
}
