//! Physical memory for tests: a block of the host's memory, whose own addresses play the physical ones.

use core::ops::Range;
use std::alloc::{Layout, alloc, dealloc};

use super::frames::{FRAME, Frames};

pub(crate) struct Arena {
    start: *mut u8,
    layout: Layout,
}

impl Arena {
    pub(crate) fn new(frames: u64) -> Self {
        let layout = Layout::from_size_align((frames * FRAME) as usize, 1 << 21).unwrap();
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(layout) };
        assert!(!start.is_null());
        // Not zero, so that forgetting to clear shows.
        // SAFETY: just allocated with this size.
        unsafe { start.write_bytes(0xa5, layout.size()) };
        Self { start, layout }
    }

    pub(crate) fn range(&self) -> Range<u64> {
        let start = self.start.expose_provenance() as u64;
        start..start + self.layout.size() as u64
    }

    /// All of it, as fresh frames. One at a time, please.
    pub(crate) fn frames(&self) -> Frames {
        let mut frames = Frames::new();
        // SAFETY: the arena is the test's own memory.
        unsafe { frames.add(self.range()) };
        frames
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}
