//! Blocks straight from the global allocator, which the compiler can neither
//! leave out nor merge, so that a test knows exactly what was asked for.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, realloc};
use std::hint::black_box;

/// A block, and what it must be given back with. Not freed when dropped.
#[derive(Debug)]
pub(crate) struct Block {
    address: *mut u8,
    layout: Layout,
}

// SAFETY: an owned block of bytes.
unsafe impl Send for Block {}

impl Block {
    #[inline(always)]
    pub(crate) fn new(bytes: usize) -> Self {
        Self::aligned(bytes, 1)
    }

    #[inline(always)]
    pub(crate) fn aligned(bytes: usize, align: usize) -> Self {
        let layout = layout(bytes, align);
        // SAFETY: the size is not 0.
        Self::checked(unsafe { alloc(layout) }, layout)
    }

    #[inline(always)]
    pub(crate) fn zeroed(bytes: usize, align: usize) -> Self {
        let layout = layout(bytes, align);
        // SAFETY: the size is not 0.
        Self::checked(unsafe { alloc_zeroed(layout) }, layout)
    }

    #[inline(always)]
    fn checked(address: *mut u8, layout: Layout) -> Self {
        let address = black_box(address);
        assert!(!address.is_null() && address.addr().is_multiple_of(layout.align()));
        Self { address, layout }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.layout.size()
    }

    pub(crate) fn address(&self) -> usize {
        self.address.addr()
    }

    /// The first and the last byte hold what they are given.
    pub(crate) fn fill(&mut self, value: u8) {
        // SAFETY: both bytes are in the block.
        unsafe {
            self.address.write(value);
            self.address.add(self.layout.size() - 1).write(value);
        }
    }

    /// As many bytes get a value that they did not have.
    pub(crate) fn write(&mut self, at: usize, bytes: usize) {
        assert!(at + bytes <= self.layout.size());
        // SAFETY: in the block.
        unsafe { black_box(self.address.add(at)).write_bytes(7, bytes) };
    }

    #[inline(always)]
    pub(crate) fn resize(&mut self, bytes: usize) {
        assert!(self.try_resize(bytes), "realloc");
    }

    /// False: the allocator has refused, and the block is what it was.
    #[inline(always)]
    pub(crate) fn try_resize(&mut self, bytes: usize) -> bool {
        // SAFETY: our block and its layout; the size is not 0.
        let address = black_box(unsafe { realloc(self.address, self.layout, bytes) });
        if address.is_null() {
            return false;
        }
        self.address = address;
        self.layout = layout(bytes, self.layout.align());
        true
    }

    /// It stays live.
    pub(crate) fn keep(self) {}

    #[inline(always)]
    pub(crate) fn free(self) {
        // SAFETY: our block and its layout, given back once: `self` is gone.
        unsafe { dealloc(black_box(self.address), self.layout) }
        #[cfg(heapledger_planted_defect = "use after free")]
        // SAFETY: none: this is what AddressSanitizer has to find.
        black_box(unsafe { self.address.read_volatile() });
    }
}

fn layout(bytes: usize, align: usize) -> Layout {
    assert!(bytes > 0);
    Layout::from_size_align(bytes, align).expect("a power of two")
}

/// Pseudo-random numbers, the same in every run.
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        high as usize % limit
    }

    /// Mostly small, sometimes large.
    pub(crate) fn size(&mut self) -> usize {
        match self.below(20) {
            0 => 1 + self.below(20_000),
            1..=4 => 1 + self.below(1_000),
            _ => 1 + self.below(100),
        }
    }

    /// Mostly small, sometimes more than `malloc` gives by itself.
    pub(crate) fn align(&mut self) -> usize {
        match self.below(10) {
            0 => 64 << self.below(4),
            _ => 1 << self.below(5),
        }
    }
}
