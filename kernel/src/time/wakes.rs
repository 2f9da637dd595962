//! With `lunette.wakes` on the command line the report channel is told when the processor woke: `lunette: woke NANOS`, on the
//! monotonic clock. It is told when the processor halts the next time, so that the telling is no part of what was done in
//! between, which is what a bench counts.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use embedded_io::Write;

use crate::{cmdline::Cmdline, console::Channel};

static WANTED: AtomicBool = AtomicBool::new(false);
/// The last time; 0: there is nothing to tell.
static WOKE: AtomicU64 = AtomicU64::new(0);

pub(super) fn init(cmdline: &Cmdline<'_>) {
    WANTED.store(cmdline.has("wakes"), Relaxed);
}

/// The processor woke.
pub(super) fn note() {
    if WANTED.load(Relaxed) {
        WOKE.store(super::monotonic(), Relaxed);
    }
}

/// It is about to halt.
pub(super) fn tell() {
    let woke = WOKE.load(Relaxed);
    if woke != 0 {
        // Whoever does not listen misses it.
        let _ = Channel::Report.write_fmt(format_args!("lunette: woke {woke}\n"));
    }
}
