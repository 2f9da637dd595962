//! The kernel's file: which bytes of it go where. A kernel is linked at its physical address, with a handful of segments, and
//! its headers are within its first page.

use core::ops::Range;

use crate::{REACH, long, wide};

/// So much of the file says all that this needs.
pub const HEAD: usize = 4096;
/// The image has four.
const MOST: usize = 16;
const LOWEST: u64 = 1 << 20;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const LOAD: u32 = 1;
const X86_64: u32 = 62;

/// A part of the kernel, in the file and in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Segment {
    file: Range<u64>,
    memory: Range<u64>,
}

#[derive(Debug)]
pub struct Kernel {
    /// Linux's 64-bit entry.
    pub entry: u64,
    segments: [Segment; MOST],
    count: usize,
}

impl Kernel {
    /// Reads the head of a file of so many bytes.
    pub fn parse(head: &[u8], length: u64) -> Result<Self, &'static str> {
        const WRONG: &str = "the kernel's segments make no sense";
        if !head.starts_with(b"\x7fELF\x02\x01\x01")
            || long(head, 18).map(|word| word & 0xffff) != Some(X86_64)
        {
            return Err("the kernel is no ELF file for x86-64");
        }
        let entry = wide(head, 24).ok_or(WRONG)?;
        let table =
            wide(head, 32).and_then(|at| usize::try_from(at).ok()).filter(|at| *at >= HEADER).ok_or(WRONG)?;
        let sizes = long(head, 54).ok_or(WRONG)?;
        let (size, number) = (sizes & 0xffff, (sizes >> 16) as usize);
        let headers = head.get(table..).and_then(|rest| rest.get(..number * PROGRAM_HEADER)).ok_or(WRONG)?;
        if size as usize != PROGRAM_HEADER {
            return Err(WRONG);
        }
        let mut kernel = Self { entry, segments: Default::default(), count: 0 };
        for header in headers.chunks_exact(PROGRAM_HEADER).filter(|header| long(header, 0) == Some(LOAD)) {
            let segment = segment(header, length).ok_or(WRONG)?;
            let overlaps = |other: &Segment| {
                other.memory.start < segment.memory.end && segment.memory.start < other.memory.end
            };
            if kernel.segments().iter().any(overlaps) {
                return Err(WRONG);
            }
            *kernel.segments.get_mut(kernel.count).ok_or(WRONG)? = segment;
            kernel.count += 1;
        }
        if !kernel.segments().iter().any(|segment| segment.memory.contains(&entry)) {
            return Err(WRONG);
        }
        Ok(kernel)
    }

    fn segments(&self) -> &[Segment] {
        &self.segments[..self.count]
    }

    /// All memory that it takes.
    pub fn extent(&self) -> Range<u64> {
        let starts = self.segments().iter().map(|segment| segment.memory.start);
        let ends = self.segments().iter().map(|segment| segment.memory.end);
        starts.min().unwrap_or(0)..ends.max().unwrap_or(0)
    }

    /// Where parts of a piece of the file go: for each, its address and which bytes of the piece they are.
    pub fn places(&self, offset: u64, length: usize) -> impl Iterator<Item = (u64, Range<usize>)> {
        self.segments().iter().filter_map(move |segment| {
            let start = segment.file.start.max(offset);
            let end = segment.file.end.min(offset + length as u64);
            let range = (start.checked_sub(offset)? as usize)..(end.checked_sub(offset)? as usize);
            (range.start < range.end).then(|| (segment.memory.start + (start - segment.file.start), range))
        })
    }

    /// What is zeros.
    pub fn zeros(&self) -> impl Iterator<Item = Range<u64>> {
        let zeros = |segment: &Segment| {
            segment.memory.start + (segment.file.end - segment.file.start)..segment.memory.end
        };
        self.segments().iter().map(zeros).filter(|range| !range.is_empty())
    }
}

fn segment(header: &[u8], length: u64) -> Option<Segment> {
    let (offset, address) = (wide(header, 8)?, wide(header, 24)?);
    let (in_file, in_memory) = (wide(header, 32)?, wide(header, 40)?);
    let file = offset..offset.checked_add(in_file)?;
    let memory = address..address.checked_add(in_memory)?;
    let fits = file.end <= length && in_file <= in_memory && address >= LOWEST && memory.end <= REACH;
    fits.then_some(Segment { file, memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each: kind, offset, address, bytes in the file, bytes in memory.
    fn file(entry: u64, headers: &[[u64; 5]]) -> Vec<u8> {
        let mut out = b"\x7fELF\x02\x01\x01".to_vec();
        out.resize(16, 0);
        out.extend([2, 0, 62, 0, 1, 0, 0, 0]);
        for word in [entry, 64, 0] {
            out.extend(word.to_le_bytes());
        }
        out.extend([0; 6]);
        out.extend([56, 0, headers.len() as u8, 0, 0, 0, 0, 0, 0, 0]);
        out.resize(64, 0);
        for [kind, offset, address, in_file, in_memory] in headers {
            out.extend((*kind as u32).to_le_bytes());
            out.extend([0; 4]);
            for word in [offset, address, address, in_file, in_memory, &4096] {
                out.extend(word.to_le_bytes());
            }
        }
        out
    }

    const GOOD: [[u64; 5]; 3] =
        [[1, 4096, 0x10_0000, 5000, 5000], [4, 0, 0, 9, 9], [1, 12288, 0x10_2000, 100, 4096]];

    #[test]
    fn pieces_of_the_file_find_their_place() {
        let kernel = Kernel::parse(&file(0x10_0010, &GOOD), 20000).unwrap();
        assert_eq!(kernel.extent(), 0x10_0000..0x10_3000);
        let all = |offset, length| kernel.places(offset, length).collect::<Vec<_>>();
        assert_eq!(all(0, 4096), []);
        assert_eq!(all(0, 20000), [(0x10_0000, 4096..9096), (0x10_2000, 12288..12388)]);
        assert_eq!(all(5000, 100), [(0x10_0388, 0..100)]);
        assert_eq!(all(9000, 4000), [(0x10_1328, 0..96), (0x10_2000, 3288..3388)]);
        assert!(kernel.zeros().eq(std::iter::once(0x10_2064..0x10_3000)));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |headers: &[[u64; 5]]| Kernel::parse(&file(0x10_0010, headers), 20000).is_err();
        assert!(!refused(&GOOD));
        assert!(refused(&[]), "no segment holds the entry");
        for bad in [
            [1, 4096, 0x10_0000, 20000, 20000],
            [1, u64::MAX, 0x10_0000, 20, 20],
            [1, 4096, 0x10_0000, 30, 20],
            [1, 4096, 0xf_f000, 20, 20000],
            [1, 4096, 0x10_0000, 20, u64::MAX],
            [1, 4096, 0x10_0000, 20, 4 << 30],
        ] {
            assert!(refused(&[bad]), "{bad:?}");
        }
        assert!(refused(&[GOOD[0], [1, 4096, 0x10_1000, 20, 20]]), "an overlap");
        assert!(refused(&[GOOD[0]; 17]));
        // Never a panic, whatever a byte is.
        let good = file(0x10_0010, &GOOD);
        for cut in 0..good.len() {
            assert!(Kernel::parse(&good[..cut], 20000).is_err());
        }
        for at in 0..good.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = value;
                if let Ok(kernel) = Kernel::parse(&bad, 20000) {
                    let _ = (kernel.extent(), kernel.places(0, 20000).count(), kernel.zeros().count());
                }
            }
        }
    }
}
