//! A ring of requests and responses in one shared page, from the side that asks (public/io/ring.h): what the macros
//! there do, with the other side's index checked.

use core::{
    ptr::NonNull,
    sync::atomic::{AtomicU32, Ordering, fence},
};

use super::PAGE;
use crate::drivers::Fault;

/// Requests and responses share their slots, so there are as many of both.
pub(super) const SLOTS: u32 = 256;
/// The four indices, and what is left free behind them.
const HEADER: usize = 64;

mod offset {
    pub(super) const REQUEST_PRODUCED: usize = 0;
    pub(super) const REQUEST_EVENT: usize = 4;
    pub(super) const RESPONSE_PRODUCED: usize = 8;
    pub(super) const RESPONSE_EVENT: usize = 12;
}

/// `SLOT`: bytes in a slot, that is in the larger of a request and a response.
pub(super) struct Ring<const SLOT: usize> {
    page: NonNull<u8>,
    /// Requests written, and those that the other side knows of.
    written: u32,
    shown: u32,
    /// Responses read.
    consumed: u32,
}

impl<const SLOT: usize> Ring<SLOT> {
    /// # Safety
    /// `page` is a zeroed page that stays mapped, and that nobody but this ring uses on this side.
    pub(super) unsafe fn new(page: NonNull<u8>) -> Self {
        const { assert!(HEADER + SLOT * SLOTS as usize <= PAGE) };
        let ring = Self { page, written: 0, shown: 0, consumed: 0 };
        ring.index(offset::REQUEST_EVENT).store(1, Ordering::Relaxed);
        ring.index(offset::RESPONSE_EVENT).store(1, Ordering::Relaxed);
        ring
    }

    fn index(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: one of the four words that a page begins with, which both sides use as atomics.
        unsafe { self.page.add(offset).cast::<AtomicU32>().as_ref() }
    }

    fn slot(&self, index: u32) -> NonNull<[u8; SLOT]> {
        // SAFETY: within the page, as `new` asserts.
        unsafe { self.page.add(HEADER + (index % SLOTS) as usize * SLOT).cast() }
    }

    /// Requests without a response.
    pub(super) fn outstanding(&self) -> u32 {
        self.written.wrapping_sub(self.consumed)
    }

    /// Writes a request, if there is a slot. The other side does not know of it before [`Ring::show`].
    pub(super) fn ask(&mut self, request: [u8; SLOT]) -> bool {
        if self.outstanding() >= SLOTS {
            return false;
        }
        // SAFETY: a slot of ours, for its last response was consumed.
        unsafe { self.slot(self.written).write_volatile(request) };
        self.written = self.written.wrapping_add(1);
        true
    }

    /// How many requests the other side was not shown.
    pub(super) fn fresh(&self) -> u32 {
        self.written.wrapping_sub(self.shown)
    }

    /// Shows the other side what was asked. True: it wants to be notified.
    pub(super) fn show(&mut self) -> bool {
        let fresh = self.fresh();
        if fresh == 0 {
            return false;
        }
        self.index(offset::REQUEST_PRODUCED).store(self.written, Ordering::Release);
        self.shown = self.written;
        // The index must be out before the other side's wish is read.
        fence(Ordering::SeqCst);
        let event = self.index(offset::REQUEST_EVENT).load(Ordering::Acquire);
        self.written.wrapping_sub(event) < fresh
    }

    /// Is there a response, or something that passes for one?
    pub(super) fn has_answer(&self) -> bool {
        self.index(offset::RESPONSE_PRODUCED).load(Ordering::Acquire) != self.consumed
    }

    /// The next response, copied: what the other side changes afterwards changes nothing.
    pub(super) fn answer(&mut self) -> Result<Option<[u8; SLOT]>, Fault> {
        let produced = self.index(offset::RESPONSE_PRODUCED).load(Ordering::Acquire);
        let count = produced.wrapping_sub(self.consumed);
        if count == 0 {
            return Ok(None);
        }
        // Only what it was shown can have been answered.
        if count > self.shown.wrapping_sub(self.consumed) {
            return Err(Fault::WildIndex(count as u16));
        }
        // SAFETY: a slot of this ring; any bytes will do.
        let response = unsafe { self.slot(self.consumed).read_volatile() };
        self.consumed = self.consumed.wrapping_add(1);
        Ok(Some(response))
    }

    /// Has the other side notify us with the next response, or not before it has run all the way around.
    pub(super) fn listen(&self, on: bool) {
        let next = if on { self.consumed.wrapping_add(1) } else { self.consumed };
        self.index(offset::RESPONSE_EVENT).store(next, Ordering::Release);
        if on {
            fence(Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::xen::fake::{Backend, page};

    #[test]
    fn what_is_asked_is_answered_and_wishes_are_kept() {
        let page = page();
        // SAFETY: a zeroed page of the test's own.
        let mut ring = unsafe { Ring::<8>::new(page) };
        let mut backend = Backend::<8>::new(page);
        for round in 0..1000_u64 {
            assert!(ring.ask(round.to_le_bytes()));
            assert!(backend.next().is_none(), "not shown yet");
            assert!(ring.show(), "it waits, so it wants to know");
            assert!(!ring.show(), "nothing is new");
            ring.listen(round % 2 == 0);
            assert_eq!(backend.next(), Some(round.to_le_bytes()));
            assert_eq!(
                backend.answer((!round).to_le_bytes()),
                round % 2 == 0,
                "it is told if it asked for that"
            );
            assert!(ring.has_answer());
            assert_eq!(ring.answer(), Ok(Some((!round).to_le_bytes())));
            assert_eq!(ring.answer(), Ok(None));
        }
    }

    #[test]
    fn a_full_ring_takes_no_more() {
        let page = page();
        // SAFETY: as above.
        let mut ring = unsafe { Ring::<12>::new(page) };
        let mut backend = Backend::<12>::new(page);
        assert!((0..256).all(|i| ring.ask([i as u8; 12])));
        assert!(!ring.ask([0; 12]));
        ring.show();
        assert_eq!(backend.next(), Some([0; 12]));
        backend.answer([9; 12]);
        assert_eq!(ring.answer(), Ok(Some([9; 12])));
        assert!(ring.ask([1; 12]) && !ring.ask([1; 12]));
    }

    #[test]
    fn answers_to_nothing_are_noticed() {
        let page = page();
        // SAFETY: as above.
        let mut ring = unsafe { Ring::<8>::new(page) };
        let mut backend = Backend::<8>::new(page);
        ring.ask([0; 8]);
        backend.answer([0; 8]);
        assert_eq!(ring.answer(), Err(Fault::WildIndex(1)), "of what it was not shown");
        let mut ring = {
            let page = crate::drivers::xen::fake::page();
            backend = Backend::<8>::new(page);
            // SAFETY: as above.
            unsafe { Ring::<8>::new(page) }
        };
        ring.ask([0; 8]);
        ring.show();
        backend.claim(u32::MAX);
        assert!(ring.has_answer() && ring.answer().is_err());
        backend.claim(257);
        assert!(ring.answer().is_err());
    }
}
