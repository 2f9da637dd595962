//! What a loader says of memory, looked at before it is believed.
//!
//! Promises: nothing is read outside of what boot maps, nor from where the kernel itself lies; a claim that can't be true
//! is refused with its words and numbers. Does not: know whether somebody else wrote there since.

use core::{fmt::Arguments, ops::Range, slice};

use super::{Regions, tables};
use crate::platform;

/// Says that the loader is wrong, and ends.
pub(super) fn refuse(why: Arguments<'_>) -> ! {
    platform::refuse(format_args!("what the loader handed over makes no sense: {why}"))
}

/// The bytes that are said to be at an address.
pub(super) fn bytes(what: &str, at: u64, length: u64) -> &'static [u8] {
    let end = at.saturating_add(length);
    let image = super::image();
    if at == 0 || end > tables::MAPPED {
        refuse(format_args!("{what} at {at:#x}, {length} bytes: only the first 4 GiB can be read"));
    }
    if at < image.end && image.start < end {
        refuse(format_args!(
            "{what} at {at:#x}, {length} bytes: there is the kernel ({:#x} to {:#x})",
            image.start, image.end
        ));
    }
    // SAFETY: mapped by boot (enter.s), and not the kernel's own, which alone anybody writes by now.
    unsafe { slice::from_raw_parts(core::ptr::with_exposed_provenance(at as usize), length as usize) }
}

/// A text that ends with NUL, after `most` bytes at the latest: what is beyond that may matter (a demand for signatures), so it is not
/// cut. None is the empty one.
pub(super) fn text(what: &str, at: u64, most: u64) -> &'static [u8] {
    if at == 0 {
        return &[];
    }
    let image = super::image().start;
    let end = if at < image { image } else { tables::MAPPED };
    let bytes = bytes(what, at, most.min(end.saturating_sub(at)));
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => &bytes[..end],
        None => refuse(format_args!("{what} at {at:#x}: it has more than {} bytes", bytes.len())),
    }
}

/// The bundle, which has to lie in memory. Nothing is none.
pub(super) fn payload(at: u64, length: u64, memory: &Regions) -> Option<&'static [u8]> {
    if length == 0 {
        return None;
    }
    if !memory.iter().any(|range| range.start <= at && at.saturating_add(length) <= range.end) {
        refuse(format_args!("the bundle at {at:#x}, {length} bytes: there is no memory"));
    }
    if !at.is_multiple_of(4096) {
        refuse(format_args!("the bundle at {at:#x}: it has to begin with a page (4 KiB)"));
    }
    let at = if at == 0 { moved_from_page_0(length, memory) } else { at };
    Some(bytes("the bundle", at, length))
}

/// GRUB for EFI puts a bundle at address 0 if there is room, where no pointer of Rust's can point and no page will be. Gives
/// back where it is now. What else the loader left has to have been read.
fn moved_from_page_0(length: u64, memory: &Regions) -> u64 {
    let image = super::image();
    let place = |range: Range<u64>| {
        let at = range.end.min(tables::MAPPED).checked_sub(length)? & !0xfff;
        (at >= range.start.max(image.end).max(length)).then_some(at)
    };
    let Some(to) = memory.iter().filter_map(place).max() else {
        refuse(format_args!("the bundle at 0x0, {length} bytes: and there is no room for it elsewhere"))
    };
    // SAFETY: from memory that was looked at to memory behind the image and behind the source; nothing is in use yet but the
    // image. Page 0 is still mapped.
    unsafe {
        core::arch::asm!("rep movsb", inout("rsi") 0_u64 => _, inout("rdi") to => _, inout("rcx") length => _,
            options(nostack, preserves_flags));
    }
    to
}

/// Usable memory as it is told: whole pages only.
pub(super) fn region(memory: &mut Regions, at: u64, length: u64) {
    let Range { start, end } = at..at.saturating_add(length);
    if let Some(start) = start.checked_next_multiple_of(4096) {
        memory.push(start..end & !0xfff);
    }
}

/// A number at an offset; 0 where the bytes end before it.
pub(super) fn long(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

pub(super) fn wide(bytes: &[u8], at: usize) -> u64 {
    u64::from(long(bytes, at)) | u64::from(long(bytes, at + 4)) << 32
}
