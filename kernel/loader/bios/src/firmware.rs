//! What the BIOS does for us: the screen, the memory map, the disk. And COM1, which it does not know.

use core::{
    fmt::{self, Write},
    ops::Range,
};

use lunette_loader::FAREWELL;

core::arch::global_asm!(include_str!("mbr.s"));
core::arch::global_asm!(include_str!("start.s"), main = sym super::load::main);

#[repr(C)]
#[derive(Default)]
struct Registers {
    eax: u32,
    ebx: u32,
    ecx: u32,
    edx: u32,
    esi: u32,
    edi: u32,
    flags: u32,
    es: u32,
}

unsafe extern "C" {
    fn bios_call(registers: *mut Registers, interrupt: u8);
}

const CARRY: u32 = 1;

impl Registers {
    /// True: the BIOS says that it worked.
    fn call(&mut self, interrupt: u8) -> bool {
        // SAFETY: the stack, on which this lies, is below 64 KiB; the services that are called here write where they are told
        // to, which is memory of this loader's that nobody borrows.
        unsafe { bios_call(self, interrupt) };
        self.flags & CARRY == 0
    }
}

/// Where things are (layout.ld). The page tables take 24 KiB.
pub(crate) const RECORD: usize = 0x8000;
pub(crate) const PARAMS: usize = 0x1_e000;
pub(crate) const CMDLINE: usize = 0x1_f000;
const BUFFER: usize = 0x2_0000;
const BUFFER_BYTES: usize = 32 * 1024;
/// Small structures for calls, where DS:SI and ES:DI can point with a segment of 0: between the BIOS's data and the stack.
const SCRATCH: usize = 0x600;

/// Memory of this loader's own, outside of what Rust knows.
///
/// # Safety
/// The range is free RAM below 1 MiB by layout.ld, and nobody else has borrowed it.
pub(crate) unsafe fn low(at: usize, length: usize) -> &'static mut [u8] {
    // SAFETY: the caller's; boot mapped it.
    unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(at), length) }
}

struct Screen;

impl Write for Screen {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            let mut registers = Registers { eax: 0xe00 | u32::from(byte), ebx: 7, ..Registers::default() };
            registers.call(0x10);
            serial(byte);
        }
        Ok(())
    }
}

const COM1: u16 = 0x3f8;

fn write_port(port: u16, value: u8) {
    // SAFETY: a register of COM1, or nothing at all.
    unsafe { core::arch::asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) };
}

fn serial(byte: u8) {
    for _ in 0..100_000 {
        let status: u8;
        // SAFETY: reading COM1's line status has no effect that matters.
        unsafe {
            core::arch::asm!("in al, dx", in("dx") COM1 + 5, out("al") status, options(nomem, nostack))
        };
        if status & 0x20 != 0 {
            break;
        }
    }
    write_port(COM1, byte);
}

/// Says why nothing is booted, and stops.
pub(crate) fn refuse(why: fmt::Arguments<'_>) -> ! {
    // 115200 8N1, as the kernel has it.
    for (register, value) in [(1, 0), (3, 0x80), (0, 1), (1, 0), (3, 3), (2, 7), (4, 0xb)] {
        write_port(COM1 + register, value);
    }
    let _ = write!(Screen, "{FAREWELL}{why}\r\n");
    loop {
        // SAFETY: nothing is left to be done.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    refuse(format_args!("the loader is broken: {}", info.message()))
}

/// A region of the firmware's memory map.
#[derive(Clone, Copy, Default)]
pub(crate) struct Region {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) usable: bool,
}

impl Region {
    pub(crate) fn range(&self) -> Range<u64> {
        self.start..self.end
    }
}

pub(crate) const MOST_REGIONS: usize = 100;

/// The memory map; how much of it there is.
pub(crate) fn memory(regions: &mut [Region; MOST_REGIONS]) -> usize {
    const SMAP: u32 = 0x534d_4150;
    let mut count = 0;
    let mut next = 0;
    while count < regions.len() {
        // SAFETY: free by layout.ld; borrowed only here, and not while the BIOS writes it.
        let entry: &[u8] = unsafe {
            low(SCRATCH, 24).fill(0);
            let mut registers = Registers {
                eax: 0xe820,
                ebx: next,
                ecx: 24,
                edx: SMAP,
                edi: SCRATCH as u32,
                ..Registers::default()
            };
            if !registers.call(0x15) || registers.eax != SMAP {
                break;
            }
            next = registers.ebx;
            low(SCRATCH, 24)
        };
        let word = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap_or_default());
        let (start, length) = (word(0), word(8));
        regions[count] = Region { start, end: start.saturating_add(length), usable: entry[16] == 1 };
        count += usize::from(length > 0);
        if next == 0 {
            break;
        }
    }
    count
}

/// A disk, as INT 13h's extensions give it (Enhanced Disk Drive Specification).
pub(crate) struct Disk {
    drive: u32,
    sector: u64,
    /// As far as the BIOS knows; SeaBIOS knows it of no CD, and says that there is no end.
    pub(crate) length: u64,
}

impl Disk {
    /// The one that was booted, which is there.
    pub(crate) fn new(drive: u32) -> Self {
        Self::described(drive).unwrap_or(Self { drive, sector: 512, length: u64::MAX })
    }

    /// Another one, if the extensions have it.
    pub(crate) fn known(drive: u32) -> Option<Self> {
        const PACKETS: u32 = 1;
        let mut registers = Registers { eax: 0x4100, ebx: 0x55aa, edx: drive, ..Registers::default() };
        let known = registers.call(0x13);
        (known && registers.ebx & 0xffff == 0xaa55 && registers.ecx & PACKETS != 0)
            .then(|| Self::described(drive))?
    }

    fn described(drive: u32) -> Option<Self> {
        const PARAMETERS: usize = 30;
        // SAFETY: free by layout.ld; borrowed only here, and not while the BIOS writes it.
        let parameters = unsafe {
            low(SCRATCH, PARAMETERS).fill(0);
            low(SCRATCH, 1)[0] = PARAMETERS as u8;
            let esi = SCRATCH as u32;
            let mut registers = Registers { eax: 0x4800, edx: drive, esi, ..Registers::default() };
            let known = registers.call(0x13);
            known.then(|| &*low(SCRATCH, PARAMETERS))?
        };
        let sectors = u64::from_le_bytes(*parameters[16..].first_chunk()?);
        let sector = u64::from(u16::from_le_bytes(*parameters[24..].first_chunk()?));
        let length = sectors.saturating_mul(sector);
        matches!(sector, 512 | 1024 | 2048 | 4096).then_some(Self { drive, sector, length })
    }

    /// Reads so many bytes from an offset on, or says why nothing is booted.
    pub(crate) fn read(&self, what: &str, offset: u64, length: u64, take: impl FnMut(u64, &[u8])) {
        if let Err(at) = self.pieces(offset, length, take) {
            refuse(format_args!("this disk can't be read: {what}, at byte {at}"));
        }
    }

    /// Reads so many bytes from an offset on, whatever the sectors are, and shows them piece by piece with their distance from the
    /// first. The error is where it ended.
    pub(crate) fn pieces(
        &self,
        offset: u64,
        length: u64,
        mut take: impl FnMut(u64, &[u8]),
    ) -> Result<(), u64> {
        let mut done = 0;
        while done < length {
            let at = offset.saturating_add(done);
            let skip = at % self.sector;
            let wanted = (skip + (length - done)).min(BUFFER_BYTES as u64);
            let sectors = wanted.div_ceil(self.sector);
            if !self.sectors(at / self.sector, sectors as u16) {
                return Err(at);
            }
            // SAFETY: free by layout.ld; the BIOS has written it, and is done.
            let read = unsafe { &low(BUFFER, BUFFER_BYTES)[skip as usize..wanted as usize] };
            take(done, read);
            done += wanted - skip;
        }
        Ok(())
    }

    /// Reads whole sectors into the buffer; three times, for that is what floppies wanted and some controllers do.
    fn sectors(&self, first: u64, count: u16) -> bool {
        (0..3).any(|_| {
            // SAFETY: free by layout.ld, below 64 KiB; borrowed only here.
            let packet = unsafe { low(SCRATCH, 16) };
            packet[0..2].copy_from_slice(&16_u16.to_le_bytes());
            packet[2..4].copy_from_slice(&count.to_le_bytes());
            packet[4..6].copy_from_slice(&0_u16.to_le_bytes());
            packet[6..8].copy_from_slice(&((BUFFER >> 4) as u16).to_le_bytes());
            packet[8..16].copy_from_slice(&first.to_le_bytes());
            let mut registers =
                Registers { eax: 0x4200, edx: self.drive, esi: SCRATCH as u32, ..Registers::default() };
            registers.call(0x13)
        })
    }
}
