//! The end of a run: last words, then power off, on whatever machine this is.
//!
//! Written so that it can be reached from anywhere, a fault handler included: no allocation, no locks.

pub(crate) mod stop;

pub(crate) use stop::LowMemory;

use core::{
    convert::Infallible,
    fmt::{self, Arguments, Write as _},
};

use embedded_io::Write;
use lunette_hostcalls::farewell::Farewell;
use x86_64::{
    VirtAddr,
    instructions::{port::Port, tables::lidt},
    structures::DescriptorTablePointer,
};

use crate::{
    console::{Channel, log},
    drivers::xen::guest as xen,
    mm,
};

/// QEMU's `isa-debug-exit`: the process ends with `value << 1 | 1`.
const DEBUG_EXIT: u16 = 0xf4;
/// What we write there: QEMU then ends with 33 after a guest's exit 0, with 35 after anything else.
const WELL: u32 = 0x10;
const ILL: u32 = 0x11;

/// Where machines have their PM1a control register, by convention, should ACPI's tables not be found:
/// QEMU pc and q35 (0x604), Cloud Hypervisor's sleep register (0x600).
const PM1A_CONTROL: u16 = 0x604;
const CLOUD_HYPERVISOR_SLEEP: u16 = 0x600;
/// SLP_EN with QEMU's S5 type, 0.
const S5: u16 = 0x2000;

/// # Safety
/// Once, at boot.
pub(crate) unsafe fn init() {
    // The legacy interrupt controllers: masked for good, the APICs do their work.
    // SAFETY: the two PICs' mask registers.
    unsafe {
        Port::<u8>::new(0x21).write(0xff);
        Port::<u8>::new(0xa1).write(0xff);
    }
}

/// Says a line on the report channel.
pub fn report(line: Arguments<'_>) {
    let Ok(()) = Channel::Report.write_fmt(format_args!("{line}\n")).or(Ok::<_, Infallible>(()));
}

/// Says the farewell and switches the machine off.
pub fn end(farewell: &Farewell) -> ! {
    report(format_args!("{farewell}"));
    // What was stopped did not fail.
    if xen::present() {
        xen::shut_down(matches!(farewell, Farewell::Exit(0) | Farewell::Stopped));
    }
    power_off(matches!(farewell, Farewell::Exit(0)))
}

fn power_off(well: bool) -> ! {
    x86_64::instructions::interrupts::disable();
    // Each is tried in turn; what isn't there does nothing.
    // SAFETY: the ports of the machines' power switches; this run is over.
    unsafe { Port::<u32>::new(DEBUG_EXIT).write(if well { WELL } else { ILL }) };
    // ACPI's S5, as the tables say: QEMU, Cloud Hypervisor, and most that is no microVM.
    stop::switch_off();
    // SAFETY: as above.
    unsafe {
        Port::<u16>::new(PM1A_CONTROL).write(S5);
        Port::<u8>::new(CLOUD_HYPERVISOR_SLEEP).write(0x34);
        // The keyboard controller's reset line: Firecracker ends, a little later; QEMU's pc and q35 with -no-reboot.
        Port::<u8>::new(0x64).write(0xfe);
    }
    for _ in 0..1_000_000 {
        core::hint::spin_loop();
    }
    // Nothing of that is there (QEMU's microvm without ACPI): a processor that can't go on is a reset as well.
    let nowhere = DescriptorTablePointer { limit: 0, base: VirtAddr::zero() };
    // SAFETY: the breakpoint finds no handler, nor does what follows from that; nothing is executed after it.
    unsafe {
        lidt(&nowhere);
        core::arch::asm!("int3", options(nomem, nostack));
    }
    halt_for_ever()
}

pub(crate) fn halt_for_ever() -> ! {
    loop {
        x86_64::instructions::interrupts::disable();
        x86_64::instructions::hlt();
    }
}

/// A line of text of bounded length: last words are put together without the heap.
struct Line {
    bytes: [u8; 400],
    len: usize,
}

impl fmt::Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for c in s.chars() {
            let c = if c == '\n' || c == '\r' { ' ' } else { c };
            let mut utf8 = [0; 4];
            let bytes = c.encode_utf8(&mut utf8).as_bytes();
            let Some(room) = self.bytes.get_mut(self.len..self.len + bytes.len()) else { break };
            room.copy_from_slice(bytes);
            self.len += bytes.len();
        }
        Ok(())
    }
}

/// As [`end`], for the two farewells with words, from where the heap can't be trusted.
fn end_with(word: &str, why: Arguments<'_>) -> ! {
    let mut line = Line { bytes: [0; 400], len: 0 };
    let _ = write!(line, "{}{word} {why}", lunette_hostcalls::farewell::PREFIX);
    let Ok(()) = Channel::Report.write_all(&line.bytes[..line.len]);
    let Ok(()) = Channel::Report.write_all(b"\n");
    if xen::present() {
        xen::shut_down(false);
    }
    power_off(false)
}

/// Nothing is started, and this is why.
pub fn refuse(why: Arguments<'_>) -> ! {
    end_with("refused", why)
}

/// The kernel broke an invariant of its own.
pub fn panicked(why: Arguments<'_>) -> ! {
    end_with("panic", why)
}

/// Memory ran out where nobody can be told: the guest ends, with words.
pub fn out_of_memory(what: &str) -> ! {
    log!(error, "out of memory: {what}");
    end(&Farewell::OutOfMemory)
}

/// std or musl aborted: for want of memory, or because it found itself broken.
pub(crate) fn aborted() -> ! {
    if mm::heap::failed() {
        out_of_memory("an allocation that could not be refused");
    }
    crate::backtrace::print_here();
    panicked(format_args!("abort: see the lines above"))
}

/// The hypervisor asked for attention (NMI): `lunette run` does so on Ctrl-C.
pub(crate) fn stop_requested() -> ! {
    end(&Farewell::Stopped)
}
