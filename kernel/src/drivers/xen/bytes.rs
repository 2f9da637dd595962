//! One direction of a page that carries bytes: the console's (public/io/console.h) and the store's (public/io/xs_wire.h)
//! differ only in where what lies.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering},
};

/// Bytes from one side to the other, and how far each has come. Both indices run freely; they are taken modulo `size`.
pub(super) struct Bytes {
    data: NonNull<u8>,
    size: u32,
    consumed: NonNull<AtomicU32>,
    produced: NonNull<AtomicU32>,
}

/// Where a direction lies within its page: the bytes, how many (a power of two), and the two indices.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) data: usize,
    pub(super) size: u32,
    pub(super) consumed: usize,
    pub(super) produced: usize,
}

impl Bytes {
    /// # Safety
    /// `page` is a page that stays mapped and that nobody here has a reference into; `place` is inside.
    pub(super) unsafe fn new(page: NonNull<u8>, place: Place) -> Self {
        // SAFETY: inside of the page, says the caller, and aligned, for pages and the offsets are.
        unsafe {
            Self {
                data: page.add(place.data),
                size: place.size,
                consumed: page.add(place.consumed).cast(),
                produced: page.add(place.produced).cast(),
            }
        }
    }

    fn indices(&self) -> (u32, u32) {
        // SAFETY: words of a page that stays mapped (`new`), written by both sides as atomics.
        unsafe {
            (self.consumed.as_ref().load(Ordering::Acquire), self.produced.as_ref().load(Ordering::Acquire))
        }
    }

    /// How many bytes are under way; `None`: more than there is room for, so somebody lies.
    pub(super) fn used(&self) -> Option<u32> {
        let (consumed, produced) = self.indices();
        Some(produced.wrapping_sub(consumed)).filter(|used| *used <= self.size)
    }

    /// How far the reader has come.
    pub(super) fn consumed(&self) -> u32 {
        self.indices().0
    }

    /// Writes what there is room for, and says how much that was.
    pub(super) fn put(&self, bytes: &[u8]) -> usize {
        let Some(used) = self.used() else { return 0 };
        let count = bytes.len().min((self.size - used) as usize);
        let start = self.indices().1;
        for (i, byte) in bytes[..count].iter().enumerate() {
            let at = start.wrapping_add(i as u32) & (self.size - 1);
            // SAFETY: within the data, by the mask.
            unsafe { self.data.add(at as usize).write_volatile(*byte) };
        }
        // SAFETY: as in `indices`.
        unsafe { self.produced.as_ref() }.store(start.wrapping_add(count as u32), Ordering::Release);
        count
    }

    /// Takes what there is, as far as it fits, and says how much that was; `None`: somebody lies.
    pub(super) fn take(&self, into: &mut [u8]) -> Option<usize> {
        let count = into.len().min(self.used()? as usize);
        let start = self.indices().0;
        for (i, byte) in into[..count].iter_mut().enumerate() {
            let at = start.wrapping_add(i as u32) & (self.size - 1);
            // SAFETY: within the data, by the mask.
            *byte = unsafe { self.data.add(at as usize).read_volatile() };
        }
        // SAFETY: as in `indices`.
        unsafe { self.consumed.as_ref() }.store(start.wrapping_add(count as u32), Ordering::Release);
        Some(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::xen::fake::page;

    const PLACE: Place = Place { data: 0, size: 16, consumed: 64, produced: 68 };

    #[test]
    fn bytes_go_through_in_order_and_no_more_than_fit() {
        let page = page();
        // SAFETY: a page of the test's own, and the place is inside.
        let (ours, theirs) = unsafe { (Bytes::new(page, PLACE), Bytes::new(page, PLACE)) };
        let (mut sent, mut got) = (0_u8, Vec::new());
        for round in 0..100 {
            let bytes: Vec<u8> = (0..round % 23).map(|i| sent.wrapping_add(i)).collect();
            let count = ours.put(&bytes);
            assert!(count <= 16);
            sent = sent.wrapping_add(count as u8);
            let mut some = vec![0; usize::from(round % 7)];
            let count = theirs.take(&mut some).unwrap();
            got.extend_from_slice(&some[..count]);
        }
        assert!(got.len() > 100);
        assert!(got.iter().enumerate().all(|(i, byte)| *byte == i as u8));
    }

    #[test]
    fn indices_that_run_over_are_as_good_as_others() {
        let page = page();
        // SAFETY: as above.
        let bytes = unsafe {
            page.add(64).cast::<u32>().write(u32::MAX - 3);
            page.add(68).cast::<u32>().write(u32::MAX - 3);
            Bytes::new(page, PLACE)
        };
        assert_eq!(bytes.put(b"0123456789"), 10);
        let mut back = [0; 16];
        assert_eq!(bytes.take(&mut back), Some(10));
        assert_eq!(&back[..10], b"0123456789");
    }

    #[test]
    fn impossible_indices_are_noticed() {
        let page = page();
        // SAFETY: as above.
        let bytes = unsafe {
            page.add(68).cast::<u32>().write(17);
            Bytes::new(page, PLACE)
        };
        assert_eq!((bytes.used(), bytes.take(&mut [0; 4]), bytes.put(b"x")), (None, None, 0));
    }
}
