//! A guest's linear memory, as its host sees it. A guest's pointer is an allegation: holding a `u32` says
//! nothing, and nothing but [`GuestMemory`] turns one into bytes.
//!
//! Promises: every access is checked against the size that the memory has now and, for values wider than a
//! byte, against their alignment; what fails is a [`BadPointer`], never a panic. Nothing is allocated.
//! Values are little-endian, as WebAssembly has them.
//!
//! Does not: know what the bytes mean, or whether they are text: that is for the decoder of a call.

use core::{fmt, ops::Range};

use lunette_hostcalls::{Trap, TrapKind};

/// The linear memory of a guest for the time of one host call.
pub struct GuestMemory<'a> {
    function: &'static str,
    bytes: &'a mut [u8],
}

/// Where something begins in a guest's memory, and how much of it there is: the bytes of a path or a buffer, the
/// entries of a list. As much an allegation as a single pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub length: u32,
}

/// A pointer that leads outside of the guest's memory or is misaligned. It ends the guest (WASI,
/// witx-docs.md, "Pointers").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPointer {
    /// The host call that was given it.
    pub function: &'static str,
    pub pointer: u32,
    /// How many bytes were to be reached from there.
    pub length: u64,
    /// What `pointer` has to be a multiple of.
    pub align: u32,
    /// The size of the guest's memory in bytes.
    pub memory: u64,
}

impl<'a> GuestMemory<'a> {
    /// `function` is the name of the host call, for messages.
    pub fn new(function: &'static str, bytes: &'a mut [u8]) -> Self {
        Self { function, bytes }
    }

    /// The one door: where `length` bytes from `pointer` on are, if they are all there. No bytes at all are
    /// there too, up to the very end of the memory.
    #[inline]
    pub fn check(&self, pointer: u32, length: u64, align: u32) -> Result<Range<usize>, BadPointer> {
        let range = || {
            let start = usize::try_from(pointer).ok()?;
            let end = start.checked_add(usize::try_from(length).ok()?)?;
            (end <= self.bytes.len() && pointer.is_multiple_of(align)).then_some(start..end)
        };
        range().ok_or_else(|| self.bad(pointer, length, align))
    }

    #[cold]
    fn bad(&self, pointer: u32, length: u64, align: u32) -> BadPointer {
        BadPointer { function: self.function, pointer, length, align, memory: self.bytes.len() as u64 }
    }

    #[inline]
    pub fn bytes(&self, Span { start, length }: Span) -> Result<&[u8], BadPointer> {
        let range = self.check(start, length.into(), 1)?;
        Ok(&self.bytes[range])
    }

    #[inline]
    pub fn bytes_mut(&mut self, Span { start, length }: Span) -> Result<&mut [u8], BadPointer> {
        let range = self.check(start, length.into(), 1)?;
        Ok(&mut self.bytes[range])
    }

    pub fn read_u8(&self, pointer: u32) -> Result<u8, BadPointer> {
        self.read(pointer).map(u8::from_le_bytes)
    }

    pub fn read_u16(&self, pointer: u32) -> Result<u16, BadPointer> {
        self.read(pointer).map(u16::from_le_bytes)
    }

    pub fn read_u32(&self, pointer: u32) -> Result<u32, BadPointer> {
        self.read(pointer).map(u32::from_le_bytes)
    }

    pub fn read_u64(&self, pointer: u32) -> Result<u64, BadPointer> {
        self.read(pointer).map(u64::from_le_bytes)
    }

    pub fn write_u8(&mut self, pointer: u32, value: u8) -> Result<(), BadPointer> {
        self.write(pointer, value.to_le_bytes())
    }

    pub fn write_u16(&mut self, pointer: u32, value: u16) -> Result<(), BadPointer> {
        self.write(pointer, value.to_le_bytes())
    }

    pub fn write_u32(&mut self, pointer: u32, value: u32) -> Result<(), BadPointer> {
        self.write(pointer, value.to_le_bytes())
    }

    pub fn write_u64(&mut self, pointer: u32, value: u64) -> Result<(), BadPointer> {
        self.write(pointer, value.to_le_bytes())
    }

    /// A record of `N` bytes, its fields in place already.
    pub fn write_record<const N: usize>(
        &mut self,
        pointer: u32,
        align: u32,
        record: &[u8; N],
    ) -> Result<(), BadPointer> {
        let range = self.check(pointer, N as u64, align)?;
        self.bytes[range].copy_from_slice(record);
        Ok(())
    }

    /// A record of `N` bytes, copied: the guest can't change it while it is being decoded.
    pub fn read_record<const N: usize>(&self, pointer: u32, align: u32) -> Result<[u8; N], BadPointer> {
        let range = self.check(pointer, N as u64, align)?;
        let mut record = [0; N];
        record.copy_from_slice(&self.bytes[range]);
        Ok(record)
    }

    /// Values are as wide as they are aligned.
    #[inline]
    fn read<const N: usize>(&self, pointer: u32) -> Result<[u8; N], BadPointer> {
        self.read_record(pointer, N as u32)
    }

    #[inline]
    fn write<const N: usize>(&mut self, pointer: u32, bytes: [u8; N]) -> Result<(), BadPointer> {
        self.write_record(pointer, N as u32, &bytes)
    }
}

impl fmt::Display for BadPointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { function, pointer, length, align, memory } = self;
        if pointer.is_multiple_of(*align) {
            write!(
                f,
                "{function}: {length} bytes at {pointer:#x} are outside of the guest's memory of {memory} bytes"
            )
        } else {
            write!(
                f,
                "{function}: the pointer {pointer:#x} to {length} bytes is not a multiple of {align} \
                 (the guest's memory has {memory} bytes)"
            )
        }
    }
}

impl From<BadPointer> for Trap {
    fn from(bad: BadPointer) -> Self {
        Self { kind: TrapKind::BadPointer, message: bad.to_string(), backtrace: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u32, length: u32) -> Span {
        Span { start, length }
    }

    #[test]
    fn only_what_is_there_can_be_reached() {
        let mut bytes = [7; 16];
        let memory = GuestMemory::new("test", &mut bytes);
        assert_eq!(memory.bytes(span(0, 16)).unwrap().len(), 16);
        assert_eq!(memory.bytes(span(16, 0)).unwrap().len(), 0);
        for (pointer, length) in [(0, 17), (16, 1), (17, 0), (1, 16), (u32::MAX, 1), (1, u32::MAX)] {
            let bad = memory.bytes(span(pointer, length)).unwrap_err();
            assert_eq!((bad.pointer, bad.length, bad.memory), (pointer, length.into(), 16));
        }
        assert_eq!(memory.check(8, u64::MAX, 1).unwrap_err().length, u64::MAX);
    }

    #[test]
    fn wide_values_are_little_endian_and_aligned() {
        let mut bytes = [0; 16];
        let mut memory = GuestMemory::new("test", &mut bytes);
        memory.write_u64(8, 0x0807_0605_0403_0201).unwrap();
        assert_eq!(memory.bytes(span(8, 8)).unwrap(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(memory.read_u32(12).unwrap(), 0x0807_0605);
        assert_eq!(memory.read_u16(10).unwrap(), 0x0403);
        assert_eq!(memory.read_u8(15).unwrap(), 8);
        assert!(
            memory.read_u16(1).is_err() && memory.read_u32(2).is_err() && memory.write_u64(4, 0).is_err()
        );
        assert!(memory.write_u32(16, 1).is_err());
    }

    #[test]
    fn a_bad_pointer_says_which_call_and_where() {
        let mut bytes = [0; 8];
        let memory = GuestMemory::new("fd_read", &mut bytes);
        let trap = Trap::from(memory.bytes(span(4, 8)).unwrap_err());
        assert_eq!(trap.kind, TrapKind::BadPointer);
        assert_eq!(trap.message, "fd_read: 8 bytes at 0x4 are outside of the guest's memory of 8 bytes");
        assert!(memory.read_u32(2).unwrap_err().to_string().contains("not a multiple of 4"));
    }
}
