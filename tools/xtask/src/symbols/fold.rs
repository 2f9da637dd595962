//! Tables for unwinding and the table of names in the form that compresses well: kernel/src/cold/folded.rs says how, and
//! brings them back in the kernel. Each is brought back here too, and has to be what it was.

use crate::sh::Result;

#[path = "../../../../kernel/src/cold/folded.rs"]
mod folded;

pub(super) use folded::unfold_names;
use folded::{PAIRS, SEARCH, Section, after, has_pads, put, signed, unfold_frames, word};

/// A section of what is cold: its place there, and its address.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) begin: usize,
    pub(super) end: usize,
    pub(super) at: u64,
}

/// Folds `.eh_frame_hdr` and `.eh_frame`, which come in this order.
pub(super) fn frames(cold: &mut [u8], header: Place, frames: Place) -> Result<()> {
    let before = cold.to_vec();
    fold_frames(cold, header, frames).ok_or(".eh_frame is not what a linker makes of Rust")?;
    let mut back = cold.to_vec();
    let (front, rest) = back.split_at_mut(frames.begin);
    unfold_frames(
        Section { bytes: &mut front[header.begin..header.end], at: header.at },
        Section { bytes: &mut rest[..frames.end - frames.begin], at: frames.at },
    )
    .ok_or("folded tables for unwinding can't be unfolded")?;
    // A linker sorts the search table by distances without a sign, the kernel by address.
    let search = header.begin + SEARCH..header.end;
    let sorted = |bytes: &[u8]| {
        let mut pairs = bytes[search.clone()].as_chunks::<8>().0.to_vec();
        pairs.sort_unstable();
        pairs
    };
    let same = sorted(&back) == sorted(&before)
        && back[..search.start] == before[..search.start]
        && back[search.end..] == before[search.end..];
    if same { Ok(()) } else { Err("folded tables for unwinding do not come back as they were".into()) }
}

fn fold_frames(cold: &mut [u8], header: Place, frames: Place) -> Option<()> {
    cold.get_mut(header.begin + SEARCH..header.end)?.fill(0);
    let bytes = cold.get_mut(frames.begin..frames.end)?;
    let (mut end, mut pads) = (0_u64, 0_u64);
    let mut at = 0;
    while let Some(next) = after(bytes, at)? {
        if let back @ 1.. = word(bytes, at + 4)? {
            let place = |into: usize| frames.at.wrapping_add((at + into) as u64);
            put(bytes, at + 4, (at as u32 + 4).checked_sub(back)? + 1)?;
            let function = place(8).wrapping_add(signed(bytes, at + 8)?);
            put(bytes, at + 8, function.wrapping_sub(end) as u32)?;
            end = function.wrapping_add(word(bytes, at + 12)?.into());
            if has_pads(bytes, at)? {
                let table = place(17).wrapping_add(signed(bytes, at + 17)?);
                put(bytes, at + 17, table.wrapping_sub(pads) as u32)?;
                pads = table;
            }
        }
        at = next;
    }
    Some(())
}

/// Folds the table of names.
pub(super) fn names(table: &mut [u8]) -> Result<()> {
    let before = table.to_vec();
    let mut last = [0_u32; 2];
    let pairs = word(table, 4).map(|count| PAIRS..PAIRS + count as usize * 8);
    let pairs = pairs.and_then(|pairs| table.get_mut(pairs)).ok_or("the table of names is cut short")?;
    for (at, number) in pairs.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let value = u32::from_le_bytes(*number);
        *number = value.wrapping_sub(std::mem::replace(&mut last[at % 2], value)).to_le_bytes();
    }
    let mut back = table.to_vec();
    if unfold_names(&mut back).is_none() || back != before {
        return Err("the folded table of names does not come back as it was".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header, a CIE, and FDEs of these functions: address, length, landing pads. Lies at 0x5000.
    fn tables(functions: &[(u32, u32, Option<u32>)]) -> (Vec<u8>, Place, Place) {
        const AT: u64 = 0x5000;
        let header = SEARCH + functions.len() * 8;
        let mut cold = vec![1, 0x1b, 3, 0x3b, 0, 0, 0, 0];
        cold.extend((functions.len() as u32).to_le_bytes());
        cold.resize(header, 0);
        let base = AT + header as u64;
        cold.extend([12, 0, 0, 0, 0, 0, 0, 0, 1, b'z', b'R', 0, 1, 0x78, 0x10, 0]);
        let mut pairs = Vec::new();
        for (function, length, pads) in functions {
            let at = cold.len() - header;
            let place = |into: usize| (base + (at + into) as u64) as u32;
            cold.extend(24_u32.to_le_bytes());
            cold.extend((at as u32 + 4).to_le_bytes());
            cold.extend(function.wrapping_sub(place(8)).to_le_bytes());
            cold.extend(length.to_le_bytes());
            cold.push(if pads.is_some() { 4 } else { 0 });
            cold.extend(pads.map_or(0, |pads| pads.wrapping_sub(place(17))).to_le_bytes());
            cold.resize(header + at + 28, 0);
            pairs.push((function.wrapping_sub(AT as u32), place(0) - AT as u32));
        }
        pairs.sort_unstable();
        for (at, (function, frame)) in pairs.into_iter().enumerate() {
            put(&mut cold, SEARCH + at * 8, function).unwrap();
            put(&mut cold, SEARCH + at * 8 + 4, frame).unwrap();
        }
        cold.extend([0; 4]);
        let end = cold.len();
        (cold, Place { begin: 0, end: header, at: AT }, Place { begin: header, end, at: base })
    }

    #[test]
    fn tables_are_folded_into_small_numbers_and_come_back() {
        let functions = [
            (0x1000, 0x20, None),
            (0x1020, 0x30, Some(0x9000)),
            (0x1050, 0x10, Some(0x9010)),
            (0x7000_0000, 8, None),
            (0x1060, 4, Some(0x9008)),
        ];
        let (mut cold, header, of_frames) = tables(&functions);
        let before = cold.clone();
        frames(&mut cold, header, of_frames).unwrap();
        assert_ne!(cold, before);
        let third = of_frames.begin + 16 + 2 * 28;
        assert_eq!([4, 8, 17].map(|into| word(&cold, third + into)), [Some(1), Some(0), Some(0x10)]);

        let (front, rest) = cold.split_at_mut(of_frames.begin);
        let back =
            unfold_frames(Section { bytes: front, at: header.at }, Section { bytes: rest, at: of_frames.at });
        assert_eq!(back, Some(()));
        assert_eq!(cold[of_frames.begin..], before[of_frames.begin..]);
        // By address, the one that lies before the header first.
        let function = |entry: usize| signed(&cold, SEARCH + entry * 8).map(|n| n.wrapping_add(header.at));
        assert_eq!([0, 4].map(function), [Some(0x1000), Some(0x7000_0000)]);
    }

    #[test]
    fn what_is_no_table_is_told() {
        let (good, header, of_frames) = tables(&[(0x1000, 0x20, None), (0x1020, 0x30, Some(0x9000))]);
        for (at, word) in [(0, 0x7fff_ffff), (16, 0x7fff_ffff), (16, 1), (16 + 28, 0), (20, 0x1000)] {
            let mut cold = good.clone();
            put(&mut cold, of_frames.begin + at, word).unwrap();
            assert!(frames(&mut cold, header, of_frames).is_err(), "{at} {word:#x}");
        }
        assert!(frames(&mut good.clone(), header, Place { end: of_frames.end + 1, ..of_frames }).is_err());
    }

    #[test]
    fn names_come_back() {
        let mut table = b"LSYM\x03\0\0\0\x02\0\0\0".to_vec();
        for number in [0x10_u32, 0, 0x30, 5, 0x31, 2] {
            table.extend(number.to_le_bytes());
        }
        table.extend(b"a\0");
        names(&mut table).unwrap();
        assert_eq!(word(&table, PAIRS + 16), Some(1));
        assert_eq!(word(&table, PAIRS + 20), Some(0xffff_fffd));
        assert!(names(&mut table[..20]).is_err());
    }
}
