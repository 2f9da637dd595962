//! The grant table, version 1 (public/grant_table.h): which of our pages another domain may use.
//!
//! What was granted is not taken back: devices here live until power-off, and a page that a backend may have mapped
//! could not be used for anything else anyway.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU16, AtomicU32, Ordering},
};

/// Entries in a page.
const ENTRIES: u32 = 512;
/// The first ones are the toolstack's: the console's page, the store's.
const RESERVED: u32 = 8;
/// `GTF_permit_access`, `GTF_readonly`.
const PERMIT: u16 = 1;
const READ_ONLY: u16 = 4;

pub(super) struct Grants {
    table: NonNull<u8>,
    next: u32,
}

impl Grants {
    /// # Safety
    /// `table` is the first page of this domain's grant table, and stays mapped.
    pub(super) unsafe fn new(table: NonNull<u8>) -> Self {
        Self { table, next: RESERVED }
    }

    /// Lets a domain use a page of ours, named by its frame number; by which reference. `None`: the table is full, or
    /// such a frame can't be named.
    pub(super) fn grant(&mut self, to: u16, frame: u64, writable: bool) -> Option<u32> {
        let reference = self.next;
        let frame = u32::try_from(frame).ok()?;
        if reference >= ENTRIES {
            return None;
        }
        self.next += 1;
        // SAFETY: an entry of the table: flags, domain, frame, in 8 bytes. Nobody looks at it before its flags are set.
        unsafe {
            let entry = self.table.add(8 * reference as usize);
            entry.add(2).cast::<AtomicU16>().as_ref().store(to, Ordering::Relaxed);
            entry.add(4).cast::<AtomicU32>().as_ref().store(frame, Ordering::Relaxed);
            let flags = if writable { PERMIT } else { PERMIT | READ_ONLY };
            entry.cast::<AtomicU16>().as_ref().store(flags, Ordering::Release);
        }
        Some(reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::xen::fake::{bytes, page};

    #[test]
    fn entries_are_as_xen_reads_them_and_end() {
        let page = page();
        // SAFETY: a page of the test's own.
        let mut grants = unsafe { Grants::new(page) };
        assert_eq!(grants.grant(0, 0x1234_5678, true), Some(8));
        assert_eq!(grants.grant(7, 0x10, false), Some(9));
        assert_eq!(bytes(page, 64, 8), [1, 0, 0, 0, 0x78, 0x56, 0x34, 0x12]);
        assert_eq!(bytes(page, 72, 8), [5, 0, 7, 0, 0x10, 0, 0, 0]);
        assert_eq!(grants.grant(0, 1 << 32, true), None);
        assert_eq!((0..).take_while(|_| grants.grant(0, 1, true).is_some()).count(), 502);
        assert_eq!(bytes(page, 0, 64), [0; 64], "what is the toolstack's stays");
    }
}
