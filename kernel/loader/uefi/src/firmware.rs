//! What the firmware does for us: its console, its memory, the files of the volume that we come from. And COM1, which it may
//! not know.

use core::{
    fmt::{self, Write as _},
    ops::Range,
};

use lunette_loader::{FAREWELL, highest};
use uefi::{
    CStr16, Guid,
    boot::{self, AllocateType, MemoryType, PAGE_SIZE, ScopedProtocol},
    mem::memory_map::{MemoryMap, MemoryMapOwned},
    proto::media::{
        file::{File, FileAttribute, FileMode, RegularFile},
        fs::SimpleFileSystem,
    },
    system,
    table::cfg::ConfigTableEntry,
};

const COM1: u16 = 0x3f8;

struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            for _ in 0..100_000 {
                let status: u8;
                // SAFETY: reading COM1's line status has no effect that matters.
                unsafe {
                    core::arch::asm!("in al, dx", in("dx") COM1 + 5, out("al") status, options(nomem, nostack));
                }
                if status & 0x20 != 0 {
                    break;
                }
            }
            // SAFETY: COM1's transmit register, or nothing at all.
            unsafe { core::arch::asm!("out dx, al", in("dx") COM1, in("al") byte, options(nomem, nostack)) };
        }
        Ok(())
    }
}

/// Says why nothing is booted, and stops. Only while the firmware is there.
pub(crate) fn refuse(why: fmt::Arguments<'_>) -> ! {
    let _ = system::with_stdout(|out| write!(out, "{FAREWELL}{why}\r\n"));
    let _ = write!(Serial, "{FAREWELL}{why}\r\n");
    loop {
        boot::stall(core::time::Duration::from_secs(1));
    }
}

#[panic_handler]
fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    let _ = write!(Serial, "{FAREWELL}the loader is broken: {}\r\n", info.message());
    loop {
        // SAFETY: nothing is left to be done.
        unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
    }
}

/// Memory whose use the firmware gives up when we leave it.
pub(crate) fn is_given_up(kind: MemoryType) -> bool {
    [
        MemoryType::CONVENTIONAL,
        MemoryType::LOADER_CODE,
        MemoryType::LOADER_DATA,
        MemoryType::BOOT_SERVICES_CODE,
        MemoryType::BOOT_SERVICES_DATA,
    ]
    .contains(&kind)
}

/// Memory that is there, and that a kernel without run-time services and without sleep states may lie in. Not where ACPI's
/// tables are, nor what nobody explains.
pub(crate) fn can_be_taken(kind: MemoryType) -> bool {
    const NO_USE: [MemoryType; 3] =
        [MemoryType::RUNTIME_SERVICES_CODE, MemoryType::RUNTIME_SERVICES_DATA, MemoryType::ACPI_NON_VOLATILE];
    is_given_up(kind) || NO_USE.contains(&kind)
}

pub(crate) fn map() -> MemoryMapOwned {
    boot::memory_map(MemoryType::LOADER_DATA)
        .unwrap_or_else(|error| refuse(format_args!("this firmware has no memory map: {}", error.status())))
}

/// A range of the map.
pub(crate) fn range(entry: &boot::MemoryDescriptor) -> Range<u64> {
    entry.phys_start..entry.phys_start.saturating_add(entry.page_count.saturating_mul(PAGE_SIZE as u64))
}

/// Whole pages, as high as can be reached, that are not where the kernel is to be.
pub(crate) fn allocate(what: &str, length: u64, kernel: &Range<u64>) -> &'static mut [u8] {
    allocate_as(MemoryType::LOADER_DATA, what, length, kernel)
}

/// The same, and the kernel is not told that it may use them: of a type that is not given up, as Linux' own stub has what has to
/// outlive it.
pub(crate) fn allocate_kept(what: &str, length: u64, kernel: &Range<u64>) -> &'static mut [u8] {
    allocate_as(MemoryType::ACPI_RECLAIM, what, length, kernel)
}

fn allocate_as(kind: MemoryType, what: &str, length: u64, kernel: &Range<u64>) -> &'static mut [u8] {
    let map = map();
    let free = map.entries().filter(|entry| entry.ty == MemoryType::CONVENTIONAL).map(range);
    let at = highest(free, length, kernel).filter(|at| {
        let pages = length.div_ceil(PAGE_SIZE as u64) as usize;
        boot::allocate_pages(AllocateType::Address(*at), kind, pages).is_ok()
    });
    let Some(at) = at else {
        refuse(format_args!("not enough memory for {what}, {length} bytes; help: give the VM more"))
    };
    // SAFETY: just allocated, and never freed; the firmware maps memory at its own address.
    unsafe {
        let memory = core::ptr::with_exposed_provenance_mut::<u8>(at as usize);
        memory.write_bytes(0, length as usize);
        core::slice::from_raw_parts_mut(memory, length as usize)
    }
}

/// Where ACPI's tables begin, 0 if the firmware has none.
pub(crate) fn rsdp() -> u64 {
    table([ConfigTableEntry::ACPI2_GUID, ConfigTableEntry::ACPI_GUID]).unwrap_or(0)
}

/// Where SMBIOS' entry point is, that of version 3 before that of 2.
pub(crate) fn smbios() -> Option<u64> {
    table([ConfigTableEntry::SMBIOS3_GUID, ConfigTableEntry::SMBIOS_GUID])
}

/// The first of these tables that the firmware has.
fn table(guids: [Guid; 2]) -> Option<u64> {
    system::with_config_table(|all| {
        let entry = guids.iter().find_map(|guid| all.iter().find(|entry| entry.guid == *guid));
        entry.map(|entry| entry.address.addr() as u64)
    })
}

/// The volume that we come from.
pub(crate) struct Volume(ScopedProtocol<SimpleFileSystem>);

impl Volume {
    pub(crate) fn ours() -> Self {
        match boot::get_image_file_system(boot::image_handle()) {
            Ok(system) => Self(system),
            Err(error) => {
                refuse(format_args!("this firmware does not give the loader its volume: {}", error.status()))
            }
        }
    }

    pub(crate) fn open(&mut self, what: &str, path: &str) -> RegularFile {
        let mut room = [0; 64];
        let opened = CStr16::from_str_with_buf(path, &mut room).ok().and_then(|path| {
            let file = self.0.open_volume().ok()?.open(path, FileMode::Read, FileAttribute::empty()).ok()?;
            file.into_regular_file()
        });
        opened.unwrap_or_else(|| refuse(format_args!("this disk holds no {path}: {what} is missing")))
    }
}

/// Fills the buffer from where the file is.
pub(crate) fn read(file: &mut RegularFile, what: &str, buffer: &mut [u8]) {
    let mut rest = buffer;
    while !rest.is_empty() {
        // Some firmwares do not like to be asked for much at once.
        let piece = rest.len().min(1 << 20);
        match file.read(&mut rest[..piece]) {
            Ok(0) => refuse(format_args!("this disk is damaged: {what} is cut short")),
            Ok(count) => rest = &mut rest[count.min(piece)..],
            Err(error) => refuse(format_args!("this disk can't be read: {what}: {}", error.status())),
        }
    }
}
