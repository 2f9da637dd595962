//! The tables of `cold` in the form that compresses well, and back. `cargo xtask image` has the other direction
//! (`tools/xtask/src/symbols/fold.rs`), and takes this file to see that all comes back as it was.
//!
//! What is folded: in each FDE of `.eh_frame` (Linux Standard Base, 10.6.1.1.2) the pointer to its CIE is that one's offset
//! in the section and one, its function counts from the end of the function before, its table of landing pads (there is one
//! where its augmentation data has four bytes) from that before: small numbers in place of distances through half the image.
//! The search table of `.eh_frame_hdr` is left out, for all of it is in the FDEs. In the table of names, addresses and
//! offsets count from those before.
//!
//! Needs no heap. Bytes that are no such tables are `None`, and are half done then.

/// A section, and the address where it lies.
pub(crate) struct Section<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) at: u64,
}

/// Where the search table begins in `.eh_frame_hdr`.
pub(crate) const SEARCH: usize = 12;
/// Where the pairs begin in the table of names.
pub(crate) const PAIRS: usize = 12;

/// Unfolds `.eh_frame`, and fills in the search table of `.eh_frame_hdr`.
pub(crate) fn unfold_frames(header: Section<'_>, frames: Section<'_>) -> Option<()> {
    let Section { bytes, at: base } = frames;
    let (search, rest) = header.bytes.get_mut(SEARCH..)?.as_chunks_mut::<8>();
    let mut entries = search.iter_mut();
    let (mut end, mut pads) = (0_u64, 0_u64);
    let mut at = 0;
    while let Some(next) = after(bytes, at)? {
        if let cie @ 1.. = word(bytes, at + 4)? {
            let place = |into: usize| base.wrapping_add((at + into) as u64);
            put(bytes, at + 4, (at as u32 + 4).checked_sub(cie - 1)?)?;
            let function = end.wrapping_add(signed(bytes, at + 8)?);
            put(bytes, at + 8, function.wrapping_sub(place(8)) as u32)?;
            end = function.wrapping_add(word(bytes, at + 12)?.into());
            if has_pads(bytes, at)? {
                pads = pads.wrapping_add(signed(bytes, at + 17)?);
                put(bytes, at + 17, pads.wrapping_sub(place(17)) as u32)?;
            }
            let relative = |address: u64| (address.wrapping_sub(header.at) as u32).to_le_bytes();
            let (pair, _) = entries.next()?.as_chunks_mut::<4>();
            pair.copy_from_slice(&[relative(function), relative(place(0))]);
        }
        at = next;
    }
    if entries.next().is_some() || !rest.is_empty() {
        return None;
    }
    search.sort_unstable_by_key(|&[a, b, c, d, ..]| i32::from_le_bytes([a, b, c, d]));
    Some(())
}

/// Unfolds the table of names.
pub(crate) fn unfold_names(table: &mut [u8]) -> Option<()> {
    let count = word(table, 4)? as usize;
    let pairs = table.get_mut(PAIRS..)?.get_mut(..count.checked_mul(8)?)?;
    let mut sums = [0_u32; 2];
    for (at, number) in pairs.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let sum = &mut sums[at % 2];
        *sum = sum.wrapping_add(u32::from_le_bytes(*number));
        *number = sum.to_le_bytes();
    }
    Some(())
}

/// Where the entry after that at `at` begins; `Some(None)` at the end.
pub(crate) fn after(frames: &[u8], at: usize) -> Option<Option<usize>> {
    if at == frames.len() {
        return Some(None);
    }
    match word(frames, at)? as usize {
        0 => Some(None),
        length => at.checked_add(4)?.checked_add(length).filter(|&next| next <= frames.len()).map(Some),
    }
}

/// Has the FDE at `at` a table of landing pads?
pub(crate) fn has_pads(frames: &[u8], at: usize) -> Option<bool> {
    Some(*frames.get(at + 16)? == 4 && word(frames, at + 17)? != 0)
}

pub(crate) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

/// The same as a distance, in two's complement.
pub(crate) fn signed(bytes: &[u8], at: usize) -> Option<u64> {
    word(bytes, at).map(|word| i64::from(word.cast_signed()).cast_unsigned())
}

pub(crate) fn put(bytes: &mut [u8], at: usize, word: u32) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = word.to_le_bytes();
    Some(())
}
