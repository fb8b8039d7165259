//! The pattern that fresh blocks are filled with, and the search for what is
//! no longer as it was.
//!
//! The pattern belongs to offsets in the block, not to addresses, so it stays in
//! step when a reallocation copies the block elsewhere.

use std::mem::MaybeUninit;

/// Bytes 0xF5 to 0xFD, which never occur in UTF-8 and are rare in numbers.
pub(crate) const PATTERN: u64 = 0xFDF8_F6FA_F7FB_F9F5;

/// What differs from what a block began with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    /// How many bytes.
    pub(crate) bytes: usize,
    /// One past the last of them; 0 if there is none.
    pub(crate) end: usize,
}

/// The pattern as seen from an offset in the block.
#[cfg_attr(not(debug_assertions), inline(always))]
fn pattern_at(offset: usize) -> u64 {
    PATTERN.rotate_right(8 * (offset % 8) as u32)
}

/// Fills a part of a block that begins at `offset` in it.
#[inline]
pub(crate) fn fill(part: &mut [MaybeUninit<u8>], offset: usize) {
    let word = pattern_at(offset);
    let bytes = part.len();
    if bytes < 8 {
        for (byte, pattern) in part.iter_mut().zip(word.to_le_bytes()) {
            byte.write(pattern);
        }
        return;
    }
    let start = part.as_mut_ptr().cast::<u8>();
    if bytes < LANES {
        // SAFETY: the first and the last 8 bytes of the part.
        unsafe {
            start.cast::<u64>().write_unaligned(word.to_le());
            let last = turned(word, bytes).to_le();
            start.add(bytes - 8).cast::<u64>().write_unaligned(last);
        }
        return;
    }
    let last = bytes - LANES;
    let mut at = 0;
    while at + 3 * LANES < last {
        for lane in 0..4 {
            // SAFETY: `at + 4 * LANES <= bytes`.
            unsafe { write_lanes(start.add(at + lane * LANES), word) };
        }
        at += 4 * LANES;
    }
    while at < last {
        // SAFETY: `at + LANES <= bytes`.
        unsafe { write_lanes(start.add(at), word) };
        at += LANES;
    }
    // SAFETY: the last bytes of the part.
    unsafe { write_lanes(start.add(last), turned(word, bytes)) };
}

/// # Safety
/// [`LANES`] bytes can be written to.
#[cfg_attr(not(debug_assertions), inline(always))]
unsafe fn write_lanes(at: *mut u8, word: u64) {
    let word = word.to_le();
    // SAFETY: the caller's promise.
    unsafe { at.cast::<[u64; 2]>().write_unaligned([word, word]) };
}

/// What was written to a part, filled before, that begins at `offset` in its
/// block. The end is relative to the part.
#[inline]
pub(crate) fn changed(part: &[u8], offset: usize) -> Changed {
    differing(part, pattern_at(offset))
}

/// What is not zero.
pub(crate) fn nonzero(part: &[u8]) -> Changed {
    differing(part, 0)
}

/// Bytes in words of 8 of which some byte is not zero; the last may be shorter.
pub(crate) fn nonzero_word_bytes(part: &[u8]) -> usize {
    let words = part.chunks_exact(8);
    let rest = words.remainder();
    let rest = if rest.iter().any(|&b| b != 0) {
        rest.len()
    } else {
        0
    };
    8 * words.filter(|word| word_at(word, 0) != 0).count() + rest
}

/// Bytes that differ from `word`, repeated.
#[cfg_attr(not(debug_assertions), inline(always))]
fn differing(bytes: &[u8], word: u64) -> Changed {
    match bytes.len() {
        0..8 => differing_in_a_word(short_word(bytes) ^ word, bytes.len()),
        8..LANES => differing_in_two_words(bytes, word),
        LANES..=LANES_MAX => differing_in_lanes(bytes, word),
        _ => differing_in_many(bytes, word),
    }
}

/// Up to 7 bytes as the low ones of a word.
#[cfg_attr(not(debug_assertions), inline(always))]
fn short_word(bytes: &[u8]) -> u64 {
    let count = bytes.len();
    let half = |at: usize| {
        let half = bytes[at..at + 4].try_into().expect("4 bytes");
        u64::from(u32::from_le_bytes(half)) << (8 * at)
    };
    match count {
        0 => 0,
        // The middle ones overlap.
        4.. => half(0) | half(count - 4),
        _ => {
            let byte = |at: usize| u64::from(bytes[at]) << (8 * at);
            byte(0) | byte(count / 2) | byte(count - 1)
        }
    }
}

/// Of the first `bytes` of a word, up to 8.
#[cfg_attr(not(debug_assertions), inline(always))]
fn differing_in_a_word(found: u64, bytes: usize) -> Changed {
    let found = match bytes {
        0..8 => found & ((1 << (8 * bytes)) - 1),
        _ => found,
    };
    Changed {
        bytes: nonzero_bytes(found),
        end: 8 - found.leading_zeros() as usize / 8,
    }
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn differing_in_two_words(bytes: &[u8], word: u64) -> Changed {
    let last = bytes.len() - 8;
    let first = word_at(bytes, 0) ^ word;
    // Those of the last word that are not in the first.
    let rest = (word_at(bytes, last) ^ turned(word, last)) >> 8 >> (8 * (7 - last));
    let (first, rest) = (differing_in_a_word(first, 8), differing_in_a_word(rest, 8));
    Changed {
        bytes: first.bytes + rest.bytes,
        end: if rest.end > 0 {
            8 + rest.end
        } else {
            first.end
        },
    }
}

/// Any number of bytes.
#[inline(never)]
fn differing_in_many(bytes: &[u8], word: u64) -> Changed {
    let end = end_of_differing(bytes, word);
    Changed {
        bytes: count_differing(&bytes[..end], word),
        end,
    }
}

/// A byte's count of equal lanes overflows beyond.
const LANES_MAX: usize = 255 * LANES;

/// The usual case, of a block that is written up to its end, in one piece.
#[cfg(target_arch = "x86_64")]
#[cfg_attr(not(debug_assertions), inline(always))]
fn differing_in_lanes(bytes: &[u8], word: u64) -> Changed {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_set1_epi64x};
    let count = bytes.len();
    // SAFETY: SSE2 is part of the architecture; the last 16 bytes.
    let differs = unsafe {
        let found = _mm_loadu_si128(bytes.as_ptr().add(count - LANES).cast());
        let expected = _mm_set1_epi64x(turned(word, count) as i64);
        !_mm_movemask_epi8(_mm_cmpeq_epi8(found, expected)) as u16
    };
    if differs == 0 {
        return differing_in_many(bytes, word);
    }
    let (whole, rest) = (count / LANES * LANES, count % LANES);
    // SAFETY: as many bytes there are.
    let equal = equal_in_lanes(unsafe { bytes.get_unchecked(..whole) }, word);
    let in_rest = (u32::from(differs) << rest >> LANES).count_ones() as usize;
    Changed {
        bytes: whole - equal + in_rest,
        end: count - differs.leading_zeros() as usize,
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[cfg_attr(not(debug_assertions), inline(always))]
fn differing_in_lanes(bytes: &[u8], word: u64) -> Changed {
    differing_in_many(bytes, word)
}

/// One past the last byte that differs, or 0. Goes from the end: most blocks
/// are written up to there.
#[inline]
fn end_of_differing(bytes: &[u8], word: u64) -> usize {
    let mut end = bytes.len();
    // As seen from the end, less a multiple of 8.
    let seen = turned(word, end);
    while end >= 4 * LANES && are_equal(&bytes[end - 4 * LANES..end], seen) {
        end -= 4 * LANES;
    }
    while end >= 8 {
        let at = end - 8;
        let found = word_at(bytes, at) ^ seen;
        if found != 0 {
            return end - found.leading_zeros() as usize / 8;
        }
        end = at;
    }
    let expected = word.to_le_bytes();
    while end > 0 && bytes[end - 1] == expected[end - 1] {
        end -= 1;
    }
    end
}

/// `word`, repeated, as seen from `offset`.
#[cfg_attr(not(debug_assertions), inline(always))]
pub(super) fn turned(word: u64, offset: usize) -> u64 {
    word.rotate_right(8 * (offset % 8) as u32)
}

#[cfg_attr(not(debug_assertions), inline(always))]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 8) {
        Some(word) => u64::from_le_bytes(word.try_into().expect("8 bytes")),
        None => 0,
    }
}

#[inline]
fn count_differing(bytes: &[u8], word: u64) -> usize {
    let (whole, rest) = bytes.split_at(bytes.len() / LANES * LANES);
    let mut count = 0;
    for chunks in whole.chunks(LANES * 255) {
        count += chunks.len() - equal_in_lanes(chunks, word);
    }
    let mut words = rest.chunks_exact(8);
    for chunk in &mut words {
        count += nonzero_bytes(word_at(chunk, 0) ^ word);
    }
    let rest = words.remainder();
    if rest.is_empty() {
        return count;
    }
    if bytes.len() < 8 {
        let expected = word.to_le_bytes();
        let pairs = rest.iter().zip(expected);
        return pairs.filter(|&(&byte, expected)| byte != expected).count();
    }
    // The last word again, without the bytes of it that were counted.
    let at = bytes.len() - 8;
    let found = word_at(bytes, at) ^ turned(word, at);
    count + nonzero_bytes(found >> (8 * (8 - rest.len())))
}

/// How many bytes of the word are not zero.
#[cfg_attr(not(debug_assertions), inline(always))]
fn nonzero_bytes(word: u64) -> usize {
    const LOW_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    const ONES: u64 = 0x0101_0101_0101_0101;
    let high_bits = ((word & LOW_BITS) + LOW_BITS) | word;
    (((high_bits >> 7) & ONES).wrapping_mul(ONES) >> 56) as usize
}

const LANES: usize = 16;

/// Bytes equal to the word, repeated, in at most 255 times [`LANES`].
#[cfg(target_arch = "x86_64")]
#[cfg_attr(not(debug_assertions), inline(always))]
fn equal_in_lanes(bytes: &[u8], word: u64) -> usize {
    use std::arch::x86_64::{
        _mm_add_epi8, _mm_cvtsi128_si64, _mm_sad_epu8, _mm_setzero_si128, _mm_sub_epi8,
        _mm_unpackhi_epi64,
    };
    // SAFETY: SSE2 is part of the architecture; each chunk has as many bytes.
    unsafe {
        let mut equal = _mm_setzero_si128();
        let mut four = bytes.chunks_exact(4 * LANES);
        for chunk in &mut four {
            let lane = |number: usize| same(chunk.as_ptr().add(number * LANES), word);
            let (a, b) = (
                _mm_add_epi8(lane(0), lane(1)),
                _mm_add_epi8(lane(2), lane(3)),
            );
            // Equal lanes are -1.
            equal = _mm_sub_epi8(equal, _mm_add_epi8(a, b));
        }
        for chunk in four.remainder().chunks_exact(LANES) {
            equal = _mm_sub_epi8(equal, same(chunk.as_ptr(), word));
        }
        let sums = _mm_sad_epu8(equal, _mm_setzero_si128());
        let high = _mm_unpackhi_epi64(sums, sums);
        (_mm_cvtsi128_si64(sums) + _mm_cvtsi128_si64(high)) as usize
    }
}

/// In which lanes 16 bytes are equal to the word, repeated.
///
/// # Safety
/// They can be read.
#[cfg(target_arch = "x86_64")]
#[cfg_attr(not(debug_assertions), inline(always))]
unsafe fn same(at: *const u8, word: u64) -> std::arch::x86_64::__m128i {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_loadu_si128, _mm_set1_epi64x};
    // SAFETY: SSE2 is part of the architecture; the caller's promise.
    unsafe { _mm_cmpeq_epi8(_mm_loadu_si128(at.cast()), _mm_set1_epi64x(word as i64)) }
}

/// Whether 4 times [`LANES`] bytes all equal the word, repeated.
#[cfg(target_arch = "x86_64")]
#[cfg_attr(not(debug_assertions), inline(always))]
fn are_equal(bytes: &[u8], word: u64) -> bool {
    use std::arch::x86_64::{_mm_and_si128, _mm_movemask_epi8};
    assert!(bytes.len() == 4 * LANES);
    // SAFETY: SSE2 is part of the architecture; there are as many bytes.
    unsafe {
        let lane = |number: usize| same(bytes.as_ptr().add(number * LANES), word);
        let (a, b) = (
            _mm_and_si128(lane(0), lane(1)),
            _mm_and_si128(lane(2), lane(3)),
        );
        _mm_movemask_epi8(_mm_and_si128(a, b)) == 0xFFFF
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[cfg_attr(not(debug_assertions), inline(always))]
fn equal_in_lanes(bytes: &[u8], word: u64) -> usize {
    let words = bytes.chunks_exact(8);
    words
        .map(|chunk| 8 - nonzero_bytes(word_at(chunk, 0) ^ word))
        .sum()
}

#[cfg(not(target_arch = "x86_64"))]
#[cfg_attr(not(debug_assertions), inline(always))]
fn are_equal(bytes: &[u8], word: u64) -> bool {
    bytes.chunks_exact(8).all(|chunk| word_at(chunk, 0) == word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(bytes: usize, offset: usize) -> Vec<u8> {
        let mut part = vec![MaybeUninit::uninit(); bytes];
        fill(&mut part, offset);
        // SAFETY: filled.
        part.iter()
            .map(|byte| unsafe { byte.assume_init() })
            .collect()
    }

    fn naive(part: &[u8], expected: impl Fn(usize) -> u8) -> Changed {
        let differs = |&at: &usize| part[at] != expected(at);
        Changed {
            bytes: (0..part.len()).filter(differs).count(),
            end: (0..part.len()).rev().find(differs).map_or(0, |at| at + 1),
        }
    }

    #[test]
    fn a_fill_is_the_pattern_by_offset_and_stays_in_its_part() {
        for bytes in (0..70).chain([255, 4096, 4097]) {
            for offset in 0..9 {
                let part = filled(bytes, offset);
                let expected = (offset..offset + bytes).map(|at| PATTERN.to_le_bytes()[at % 8]);
                assert!(part.iter().copied().eq(expected), "{bytes} at {offset}");
                assert_eq!(changed(&part, offset), Changed::default());
            }
        }
        let mut whole = [MaybeUninit::new(1_u8); 64];
        fill(&mut whole[10..31], 3);
        for at in (0..10).chain(31..64) {
            // SAFETY: made with a value.
            assert_eq!(unsafe { whole[at].assume_init() }, 1);
        }
    }

    #[test]
    fn no_byte_of_the_pattern_is_text() {
        for byte in PATTERN.to_le_bytes() {
            assert!(std::str::from_utf8(&[byte]).is_err() && byte >= 0xF5);
        }
    }

    #[test]
    fn long_parts_do_not_overflow_their_lanes() {
        for bytes in [4079, 4080, 4081, 8160, 100_000] {
            let untouched = filled(bytes, 0);
            assert_eq!(changed(&untouched, 0), Changed::default());
            let ones = vec![1; bytes];
            let all = Changed { bytes, end: bytes };
            assert_eq!((changed(&ones, 0), nonzero(&ones)), (all, all));
            assert_eq!(nonzero(&vec![0; bytes]), Changed::default());
        }
    }

    proptest! {
        #[test]
        fn finds_what_a_naive_search_finds(
            bytes in 0_usize..700,
            offset in 0_usize..16,
            writes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..60),
        ) {
            let mut part = filled(bytes, offset);
            let mut zeroed = vec![0; bytes];
            for (at, value) in &writes {
                if bytes > 0 {
                    part[at.index(bytes)] = *value;
                    zeroed[at.index(bytes)] = *value;
                }
            }
            let pattern = PATTERN.to_le_bytes();
            prop_assert_eq!(
                changed(&part, offset),
                naive(&part, |at| pattern[(at + offset) % 8])
            );
            prop_assert_eq!(nonzero(&zeroed), naive(&zeroed, |_| 0));
            let in_words = (0..bytes).filter(|at| {
                let word = at / 8 * 8;
                zeroed[word..bytes.min(word + 8)].iter().any(|&b| b != 0)
            });
            prop_assert_eq!(nonzero_word_bytes(&zeroed), in_words.count());
        }

        /// As a reallocation carries it over.
        #[test]
        fn a_part_measured_in_pieces_is_the_whole(
            bytes in 1_usize..300,
            cut in any::<prop::sample::Index>(),
            writes in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let mut part = filled(bytes, 0);
            for at in &writes {
                part[at.index(bytes)] = 7;
            }
            let cut = cut.index(bytes);
            let (head, tail) = part.split_at(cut);
            let (head, tail) = (changed(head, 0), changed(tail, cut));
            let whole = changed(&part, 0);
            prop_assert_eq!(head.bytes + tail.bytes, whole.bytes);
            let end = if tail.end > 0 { cut + tail.end } else { head.end };
            prop_assert_eq!(end, whole.end);
        }
    }
}
