//! The PIT (Intel 8254) as a reference of known frequency: channel 0, one shot, started at entry and left
//! alone (its interrupt is masked). Its output says whether the 55 ms that it can measure are over. Not
//! channel 2, whose gate and output are at port 0x61: QEMU's microvm has no such port.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use x86_64::instructions::port::Port;

use crate::arch::cpu::tsc;

const HERTZ: u64 = 1_193_182;
const CHANNEL_0: u16 = 0x40;
const COMMAND: u16 = 0x43;
/// Counts after which a comparison is the last one: 10 ms.
const EXACT: u64 = HERTZ / 100;
/// Counts that a first comparison needs: 0.2 ms. Shorter, and we wait for the rest.
const LEAST: u64 = HERTZ / 5000;
/// A reading of the PIT and of the time stamp are one instant if no more than this passes between them. The
/// hypervisor may take the processor away in between: such a pair is thrown away.
const INSTANT: u64 = 40_000;
const TRIES: usize = 50;
/// Ticks after which it stands still, or is none: twice what is needed at 10 GHz. (Attempts can't be counted: an emulator that
/// counts instructions reads the ports in no time at all.)
const PATIENCE: u64 = 200_000_000;

/// The time stamp at the start of the count.
static STARTED: AtomicU64 = AtomicU64::new(0);

/// Does something of the PIT's with a time stamp as close to it as can be had: the answer, the time stamp
/// behind it, and how far apart they may be.
fn at_an_instant<T>(mut what: impl FnMut() -> T) -> (T, u64, u64) {
    let mut once = || {
        let before = tsc();
        let answer = what();
        let after = tsc();
        (answer, after, after.wrapping_sub(before))
    };
    let mut best = once();
    for _ in 0..TRIES {
        if best.2 <= INSTANT {
            break;
        }
        best = once();
    }
    best
}

/// Starts the count down from 65535 and notes the time stamp.
pub(super) fn start() {
    let ((), started, _) = at_an_instant(|| {
        // SAFETY: the PIT's own ports; nobody else uses channel 0. Without a PIT they lead nowhere.
        unsafe {
            Port::<u8>::new(COMMAND).write(0x30); // channel 0, low then high byte, mode 0
            Port::<u8>::new(CHANNEL_0).write(0xff);
            Port::<u8>::new(CHANNEL_0).write(0xff);
        }
    });
    STARTED.store(started, Relaxed);
}

/// Counts since [`start`] (`None` once they ran out), the time stamp, and how far apart the two may be.
fn elapsed() -> (Option<u64>, u64, u64) {
    at_an_instant(|| {
        // SAFETY: as above; the read-back command latches status and count of channel 0, to be read in this order.
        unsafe {
            Port::<u8>::new(COMMAND).write(0xc2);
            let status = Port::<u8>::new(CHANNEL_0).read();
            let low = Port::<u8>::new(CHANNEL_0).read();
            let high = Port::<u8>::new(CHANNEL_0).read();
            let over = status & 0x80 != 0;
            (!over).then(|| 0xffff - u64::from(u16::from_le_bytes([low, high])))
        }
    })
}

/// Has so much time passed that a new comparison would settle it? Cheap: no port is read.
pub(super) fn due() -> bool {
    // 10 ms at 5 GHz; sooner at less, and then it is an estimate once more.
    tsc().wrapping_sub(STARTED.load(Relaxed)) > 50_000_000
}

/// Hertz of the time stamp counter, and whether this is the last word. Waits 0.2 ms at most if the count was
/// only just started, 10 ms if it had run out.
pub(super) fn tsc_frequency() -> (u64, bool) {
    let mut least = LEAST;
    if elapsed().0.is_none() {
        start();
        least = EXACT;
    }
    let begun = tsc();
    while tsc().wrapping_sub(begun) < PATIENCE {
        let (counts, now, apart) = elapsed();
        match counts {
            Some(counts) if counts >= least => {
                let passed = now.wrapping_sub(STARTED.load(Relaxed));
                let hz = (u128::from(passed) * u128::from(HERTZ) / u128::from(counts)) as u64;
                return (hz, counts >= EXACT && apart <= INSTANT);
            }
            Some(_) => {}
            // It ran out while we looked away: once more.
            None => start(),
        }
    }
    // No PIT, or one that stands still: a guess that errs by being slow, better than hanging.
    (3_000_000_000, true)
}
