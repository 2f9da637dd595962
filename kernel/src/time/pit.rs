//! The PIT (Intel 8254) as a reference of known frequency: channel 2, one shot, started at entry and left
//! alone. Its output says whether the 55 ms that it can measure are over.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use x86_64::instructions::port::Port;

use crate::arch::cpu::tsc;

const HERTZ: u64 = 1_193_182;
const CHANNEL_2: u16 = 0x42;
const COMMAND: u16 = 0x43;
/// Bit 0 opens channel 2's gate, bit 1 lets it sound, bit 5 shows its output.
const GATE: u16 = 0x61;

/// Counts after which a comparison is exact enough to be the last one: 10 ms, at 1 count in 10^4.
const EXACT: u64 = HERTZ / 100;
/// Counts that a first comparison needs: 0.2 ms. Shorter, and we wait for the rest.
const LEAST: u64 = HERTZ / 5000;

static STARTED: AtomicU64 = AtomicU64::new(0);

/// Starts the count down from 65535 and notes the time stamp.
pub(super) fn start() {
    // SAFETY: the PIT's own ports; nobody else uses channel 2. Without a PIT they lead nowhere.
    unsafe {
        let gate = Port::<u8>::new(GATE).read();
        Port::<u8>::new(GATE).write(gate & !2 | 1);
        Port::<u8>::new(COMMAND).write(0xb0); // channel 2, low then high byte, mode 0
        Port::<u8>::new(CHANNEL_2).write(0xff);
        Port::<u8>::new(CHANNEL_2).write(0xff);
    }
    STARTED.store(tsc(), Relaxed);
}

/// Counts since [`start`], or `None` once they ran out.
fn elapsed() -> Option<u64> {
    // SAFETY: as above; reading the gate changes nothing, and the latch command only freezes the reading.
    unsafe {
        Port::<u8>::new(COMMAND).write(0x80);
        let low = Port::<u8>::new(CHANNEL_2).read();
        let high = Port::<u8>::new(CHANNEL_2).read();
        let over = Port::<u8>::new(GATE).read() & 0x20 != 0;
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
            _ if tries > 200_000 => return (3_000_000_000, true),
            _ => tries += 1,
        }
    }
}
