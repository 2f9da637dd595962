//! The PIT (Intel 8254) as a reference of known frequency: channel 0, one shot, started at entry and left
//! alone (its interrupt is masked). Its output says whether the 55 ms that it can measure are over. Not
//! channel 2, whose gate and output are at port 0x61: QEMU's microvm has no such port.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use x86_64::instructions::port::Port;

use crate::arch::cpu::tsc;

const HERTZ: u64 = 1_193_182;
const CHANNEL_0: u16 = 0x40;
const COMMAND: u16 = 0x43;
/// Counts after which a comparison is exact enough to be the last one: 10 ms, at 1 count in 10^4.
const EXACT: u64 = HERTZ / 100;
/// Counts that a first comparison needs: 0.2 ms. Shorter, and we wait for the rest.
const LEAST: u64 = HERTZ / 5000;

static STARTED: AtomicU64 = AtomicU64::new(0);

/// Starts the count down from 65535 and notes the time stamp.
pub(super) fn start() {
    // SAFETY: the PIT's own ports; nobody else uses channel 0. Without a PIT they lead nowhere.
    unsafe {
        Port::<u8>::new(COMMAND).write(0x30); // channel 0, low then high byte, mode 0
        Port::<u8>::new(CHANNEL_0).write(0xff);
        Port::<u8>::new(CHANNEL_0).write(0xff);
    }
    STARTED.store(tsc(), Relaxed);
}

/// Counts since [`start`], or `None` once they ran out.
fn elapsed() -> Option<u64> {
    // SAFETY: as above; the read-back command latches status and count of channel 0, to be read in this order.
    unsafe {
        Port::<u8>::new(COMMAND).write(0xc2);
        let status = Port::<u8>::new(CHANNEL_0).read();
        let low = Port::<u8>::new(CHANNEL_0).read();
        let high = Port::<u8>::new(CHANNEL_0).read();
        let over = status & 0x80 != 0;
        (!over).then(|| 0xffff - u64::from(u16::from_le_bytes([low, high])))
    }
}

/// Has so much time passed that a new comparison would settle it? Cheap: no port is read.
pub(super) fn due() -> bool {
    // At 1 GHz or more, 10 ms are at least ten million counts.
    tsc().wrapping_sub(STARTED.load(Relaxed)) > 10_000_000
}

/// Hertz of the time stamp counter, and whether this is the last word. Waits 0.2 ms at most if the count was
/// only just started, 2 ms if it had run out.
pub(super) fn tsc_frequency() -> (u64, bool) {
    let mut least = LEAST;
    if elapsed().is_none() {
        start();
        least = 10 * LEAST;
    }
    let mut tries = 0u32;
    loop {
        let counts = elapsed();
        let now = tsc();
        let passed = now.wrapping_sub(STARTED.load(Relaxed));
        match counts {
            Some(counts) if counts >= least => {
                let hz = (u128::from(passed) * u128::from(HERTZ) / u128::from(counts)) as u64;
                return (hz, counts >= EXACT || least > LEAST);
            }
            // No PIT, or one that stands still: a guess that errs by being slow, better than hanging.
            _ if tries > 20_000 => return (3_000_000_000, true),
            _ => tries += 1,
        }
    }
}
