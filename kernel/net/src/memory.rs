//! What sockets may take: one budget for all of them.
//!
//! Promises: no more is given out than there is; the last quarter goes to small buffers only, so that a few
//! connections that carry much cannot keep the others from carrying a little; the last eighth goes to no new
//! sockets, so that newcomers cannot keep those that are there from carrying anything.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use smoltcp::storage::Memory;

#[derive(Debug)]
pub(crate) struct Budget {
    total: usize,
    used: AtomicUsize,
    refused: AtomicBool,
}

/// A buffer up to this size may come from the last quarter.
const SMALL: usize = 16 * 1024;

impl Budget {
    pub(crate) fn new(total: usize) -> Arc<Self> {
        Arc::new(Self { total, used: AtomicUsize::new(0), refused: AtomicBool::new(false) })
    }

    pub(crate) fn total(&self) -> usize {
        self.total
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Was anything refused since this was asked last?
    pub(crate) fn take_refused(&self) -> bool {
        self.refused.swap(false, Ordering::Relaxed)
    }

    /// Takes so much for as long as the answer lives; `None`: there is not so much.
    pub(crate) fn charge(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        self.take_up_to(self.total, bytes).then(|| Charge { budget: self.clone(), bytes })
    }

    /// As [`Budget::charge`], for a new socket.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Option<Charge> {
        self.take_up_to(self.total - self.total / 8, bytes).then(|| Charge { budget: self.clone(), bytes })
    }

    fn take_up_to(&self, limit: usize, more: usize) -> bool {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(more).filter(|used| *used <= limit)
        });
        if taken.is_err() {
            self.refused.store(true, Ordering::Relaxed);
        }
        taken.is_ok()
    }
}

impl Memory for Budget {
    fn take(&self, from: usize, to: usize) -> bool {
        let limit = if to > SMALL { self.total - self.total / 4 } else { self.total };
        self.take_up_to(limit, to.saturating_sub(from))
    }

    fn give(&self, octets: usize) {
        self.used.fetch_sub(octets, Ordering::Relaxed);
    }
}

/// Some of the budget, taken.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}
