//! Derives the unwind rule of an address from the call frame information
//! (`.eh_frame`) of the object it lies in. This is the cold side of the rule
//! cache: about a microsecond, once an address.
//!
//! Formats: LSB 5.0 "Exception Frames" (`.eh_frame_hdr`, augmentations) and
//! the System V x86-64 psABI's DWARF register numbers; decoded by gimli.

use crate::capture::loaded_object::LoadedObject;
use crate::capture::rules::{Rule, Step};
use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, EndianSlice, NativeEndian, Operation,
    RegisterRule, UnwindContext, UnwindContextStorage, UnwindExpression, UnwindSection,
    UnwindTableRow, X86_64,
};

/// Storage for gimli's evaluation on our own stack: x86-64 code saves at most
/// its 16 general registers and the return address.
struct SmallStorage;

impl UnwindContextStorage<usize> for SmallStorage {
    type Rules = [(gimli::Register, RegisterRule<usize>); 24];
    type Stack = [UnwindTableRow<usize, Self>; 3];
}

/// The rule for the instruction at `pc`. Where the walk does not know the
/// platform no rule fits, which leaves stacks to the platform's unwinder.
#[cold]
#[inline(never)]
pub(crate) fn derive(pc: u64) -> Rule {
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Rule::UNFIT;
    }
    match LoadedObject::containing(pc) {
        Some(object) => derive_in(&object, pc).unwrap_or(Rule::NO_INFORMATION),
        None => Rule::NO_INFORMATION,
    }
}

fn derive_in(object: &LoadedObject<'_>, pc: u64) -> Option<Rule> {
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
    let mut context = UnwindContext::<usize, SmallStorage>::new_in();
    let row = match fde.unwind_info_for_address(&eh_frame, &bases, &mut context, pc) {
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
                Ok(slot) => slot,
                Err(_) => return Rule::UNFIT,
            }
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
        CfaRule::Expression(expression) => match word_at_fp(expression, section) {
            Some(offset) => Step::FromFpWord { offset, rbp_slot },
            None => Step::Unfit,
        },
    };
    Rule::pack(step)
}

/// `DW_OP_breg6 offset; DW_OP_deref`: what gcc writes for functions that
/// realign their stack.
fn word_at_fp(expression: &UnwindExpression<usize>, section: &Section<'_>) -> Option<i64> {
    let encoding = gimli::Encoding {
        address_size: 8,
        format: gimli::Format::Dwarf32,
        version: 4,
    };
    let mut operations = expression.get(section).ok()?.operations(encoding);
    let first = operations.next().ok()??;
    let second = operations.next().ok()??;
    let end = operations.next().ok()?;
    match (first, second, end) {
        (
            Operation::RegisterOffset {
                register, offset, ..
            },
            Operation::Deref {
                size: 8,
                space: false,
                ..
            },
            None,
        ) if register == X86_64::RBP => Some(offset),
        _ => None,
    }
}
