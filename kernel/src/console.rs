//! The ways in and out of the machine: the console (COM1, or Xen's), and, where the command line names them, one
//! write-only port for standard error and the log (`lunette.stderr=PORT`) and one for marks, a profile and the
//! farewell (`lunette.report=PORT`). Without those everything goes to the console, as on a bare machine.
//!
//! Nothing is buffered: what was written has left the machine.

use alloc::vec::Vec;
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU8, AtomicU16, Ordering::Relaxed},
};

use embedded_io::Write;
use x86_64::instructions::port::Port;

use crate::{
    arch::apic::{self, Trigger},
    cell::StaticCell,
    cmdline::Cmdline,
    drivers::{machine, xen::guest as xen},
    platform::stop,
    stdin::{Coding, Decoder},
};

const COM1: u16 = 0x3f8;
/// COM1's line on every PC.
const COM1_LINE: u8 = 4;

static STDERR_PORT: AtomicU16 = AtomicU16::new(0);
static REPORT_PORT: AtomicU16 = AtomicU16::new(0);
static LOG_LEVEL: AtomicU8 = AtomicU8::new(Level::Warn as u8);
/// A bare console wants `\r\n`; a pipe wants what the guest wrote.
static RAW: AtomicU8 = AtomicU8::new(0);
/// Input comes from a virtio console instead of COM1: 4 KiB at a time instead of 16 bytes.
static INPUT_BY_VIRTIO: AtomicBool = AtomicBool::new(false);
static DECODER: StaticCell<Decoder> = StaticCell::new(Decoder::new(Coding::Terminal));

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
}

/// # Safety
/// Once, at boot.
pub(crate) unsafe fn init(cmdline: &Cmdline<'_>) {
    let port = |key| cmdline.number(key).and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
    STDERR_PORT.store(port("stderr"), Relaxed);
    REPORT_PORT.store(port("report"), Relaxed);
    set_level(cmdline.get("log").unwrap_or_default());
    if cmdline.get("stdin") == Some("virtio") {
        RAW.store(1, Relaxed);
        INPUT_BY_VIRTIO.store(true, Relaxed);
        // SAFETY: nobody reads input before boot is over.
        unsafe { *DECODER.get() = Decoder::new(Coding::Dle) };
    }
    // 16550: 115200 8N1, FIFOs on (which clears them), DTR RTS OUT2, no interrupts yet.
    for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 0xb)] {
        // SAFETY: COM1's registers, or nothing at all where there is no COM1.
        unsafe { Port::<u8>::new(COM1 + register).write(value) };
    }
}

/// How much is said from now on: `error`, `info`, `debug`, else warnings.
pub(crate) fn set_level(name: &str) {
    let level = match name {
        "error" => Level::Error,
        "info" => Level::Info,
        "debug" => Level::Debug,
        _ => Level::Warn,
    };
    LOG_LEVEL.store(level as u8, Relaxed);
}

/// Is a person on the other side? On a bare console we take it so; `lunette run` says `lunette.tty`.
pub(crate) fn is_terminal() -> bool {
    RAW.load(Relaxed) == 0 || crate::boot::info().cmdline.has("tty")
}

/// Where words can go.
#[derive(Clone, Copy)]
pub enum Channel {
    Console,
    Stderr,
    Report,
}

impl Channel {
    fn port(self) -> u16 {
        match self {
            Self::Console => 0,
            Self::Stderr => STDERR_PORT.load(Relaxed),
            Self::Report => REPORT_PORT.load(Relaxed),
        }
    }
}

impl embedded_io::ErrorType for Channel {
    type Error = core::convert::Infallible;
}

impl Write for Channel {
    fn write(&mut self, buf: &[u8]) -> Result<usize, Self::Error> {
        match self.port() {
            0 if xen::present() => xen_write(buf),
            0 => serial_write(buf),
            port => {
                // SAFETY: a debug console's port takes bytes and does nothing else; `buf` is readable.
                unsafe {
                    core::arch::asm!("rep outsb", inout("rsi") buf.as_ptr() => _, inout("rcx") buf.len() => _,
                        in("dx") port, options(nostack, readonly));
                }
            }
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

/// Xen's console, as a terminal or raw.
fn xen_write(buf: &[u8]) {
    for line in buf.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(words) if RAW.load(Relaxed) == 0 => {
                xen::console_write(words);
                xen::console_write(b"\r\n");
            }
            _ => xen::console_write(line),
        }
    }
}

/// The FIFO takes 16 bytes once it is empty, so the line status is read once for that many.
fn serial_write(buf: &[u8]) {
    let raw = RAW.load(Relaxed) != 0;
    let mut room = 0;
    let mut put = |byte: u8| {
        if room == 0 {
            // A UART that never empties must not hang the machine: after a while, write anyway.
            for _ in 0..100_000 {
                // SAFETY: reading COM1's line status has no effect that matters.
                if unsafe { Port::<u8>::new(COM1 + 5).read() } & 0x20 != 0 {
                    break;
                }
            }
            room = 16;
        }
        room -= 1;
        // SAFETY: COM1's transmit register.
        unsafe { Port::<u8>::new(COM1).write(byte) };
    };
    for &byte in buf {
        if byte == b'\n' && !raw {
            put(b'\r');
        }
        put(byte);
    }
}

static INPUT_IS_OPEN: AtomicBool = AtomicBool::new(false);

/// Can input come?
pub(crate) fn input_is_open() -> bool {
    INPUT_IS_OPEN.load(Relaxed)
}

/// Is there room for more? Else it waits where it is until a guest has read some.
pub(crate) fn takes_input() -> bool {
    decoder().has_room()
}

/// Listens for a request to stop, which comes the way of the input where a program is at the other end.
pub(crate) fn listen_for_stop() {
    if INPUT_BY_VIRTIO.load(Relaxed) {
        open_input();
    }
}

/// Lets input wake a halted processor: COM1's, or the virtio console's.
pub(crate) fn open_input() {
    if INPUT_IS_OPEN.swap(true, Relaxed) {
        return;
    }
    if xen::present() {
        xen::open_console();
    } else if !INPUT_BY_VIRTIO.load(Relaxed) {
        apic::enable_line(COM1_LINE, Trigger::Edge);
        // SAFETY: interrupt enable: received data.
        unsafe { Port::<u8>::new(COM1 + 1).write(1) };
    } else if let Err(why) = machine::open_input() {
        log!(error, "standard input: the virtio console: {why}; there is none");
        decoder().end();
    }
}

fn decoder() -> &'static mut Decoder {
    // SAFETY: one core, and no interrupt handler touches it; the borrow ends within each function here.
    unsafe { &mut *DECODER.get() }
}

/// Takes what the UART, or the virtio console, holds into the decoder.
fn fill() {
    let decoder = decoder();
    if INPUT_BY_VIRTIO.load(Relaxed) {
        // What comes after the end needs no room: so there is one to the rounds.
        for _ in 0..16 {
            if !decoder.has_room() {
                break;
            }
            let take = |bytes: &[u8]| {
                for byte in bytes {
                    decoder.push(*byte);
                }
            };
            match machine::read_input(take) {
                Ok(true) => (0..decoder.take_stops()).for_each(|_| stop::request()),
                Ok(false) => break,
                Err(fault) => {
                    log!(error, "standard input: the virtio console: {fault}; it ends here");
                    decoder.end();
                }
            }
        }
        return;
    }
    if xen::present() && decoder.has_room() {
        return xen::console_read(|byte| {
            if let Some(echo) = decoder.push(byte) {
                xen::console_write(echo);
            }
            decoder.has_room()
        });
    }
    while decoder.has_room() {
        // SAFETY: COM1's line status and receive register.
        let byte = unsafe {
            if Port::<u8>::new(COM1 + 5).read() & 1 == 0 {
                break;
            }
            Port::<u8>::new(COM1).read()
        };
        if let Some(echo) = decoder.push(byte) {
            serial_write(echo);
        }
    }
}

/// How much standard input could be read now, and whether it has ended. Also arms the wake-up.
pub(crate) fn input_ready() -> (usize, bool) {
    open_input();
    fill();
    (decoder().available(), decoder().ended())
}

/// Takes decoded input.
pub(crate) fn read_input(buf: &mut [u8]) -> usize {
    decoder().take(buf)
}

/// Takes the new version of the app that came last.
pub(crate) fn take_version() -> Option<Vec<u8>> {
    decoder().take_version()
}

/// Did one come?
pub(crate) fn has_version() -> bool {
    decoder().has_version()
}

/// For [`log!`]: one line to the log.
pub fn log_line(level: Level, words: fmt::Arguments<'_>) {
    if level as u8 > LOG_LEVEL.load(Relaxed) {
        return;
    }
    let name = match level {
        Level::Error => "error",
        Level::Warn => "warning",
        Level::Info => "info",
        Level::Debug => "debug",
    };
    let Ok(()) = Channel::Stderr.write_fmt(format_args!("lunette: {name}: {words}\n")).or(Ok::<_, ()>(()))
    else {
        return;
    };
}

/// `log!(warn, "…")`: a line of the kernel's own.
macro_rules! log {
    (error, $($words:tt)*) => { $crate::console::log_line($crate::console::Level::Error, format_args!($($words)*)) };
    (warn, $($words:tt)*) => { $crate::console::log_line($crate::console::Level::Warn, format_args!($($words)*)) };
    (info, $($words:tt)*) => { $crate::console::log_line($crate::console::Level::Info, format_args!($($words)*)) };
    (debug, $($words:tt)*) => { $crate::console::log_line($crate::console::Level::Debug, format_args!($($words)*)) };
}
pub(crate) use log;
