//! From the hypervisor's entry point to `main`: what was found, made once ([`BootInfo`]), and the order in
//! which the rest is set up. One file an entry protocol, each of which ends in the same [`start`].

mod linux64;
mod multiboot2;
mod pvh;
pub(crate) mod tables;

use core::{ops::Range, slice};

use crate::{
    acpi::{Physical, Rsdp},
    arch,
    cell::StaticCell,
    cmdline::Cmdline,
    cold,
    console::{self, log},
    drivers::xen::guest as xen,
    floor,
    handover::{Claims, Handed, LONGEST_CMDLINE, Regions, Wrong},
    mm::{self, PhysAddr},
    platform, time,
};

/// Below this not even std starts: tables, the heap's first pages, the stack's.
const LEAST_MEMORY: u64 = 512 * 1024;

/// What the boot protocol told us.
pub struct BootInfo {
    /// The time stamp counter at the first instruction.
    pub entry_tsc: u64,
    pub cmdline: Cmdline<'static>,
    /// The bundle: the module (initrd) that the loader put into memory.
    pub payload: Option<&'static [u8]>,
    /// Usable RAM, by physical address, without what the image and the payload occupy.
    pub memory: Regions,
    /// Where ACPI's tables begin.
    pub rsdp: Rsdp,
}

static BOOT_INFO: StaticCell<Option<BootInfo>> = StaticCell::new(None);

/// What boot found. Valid from `main` on.
pub fn info() -> &'static BootInfo {
    found().expect("boot came first")
}

/// What boot found, if it has come so far.
pub(crate) fn found() -> Option<&'static BootInfo> {
    // SAFETY: written once by `start`, before anything that could keep this.
    unsafe { (*BOOT_INFO.get()).as_ref() }
}

/// All that boot maps, where nothing is set up yet.
struct Mapped;

impl Physical for Mapped {
    fn bytes(&self, at: u64, length: usize) -> Option<&[u8]> {
        let end = at.checked_add(length as u64)?;
        let image = image();
        if at == 0 || end > tables::MAPPED || at < image.end && image.start < end {
            return None;
        }
        // SAFETY: mapped by boot (enter.s), and not the kernel's own, which alone anybody writes by now.
        Some(unsafe { slice::from_raw_parts(core::ptr::with_exposed_provenance(at as usize), length) })
    }
}

/// From what a loader handed over, as `read` understands it, to [`start`].
fn enter(read: fn(&Claims<'static>, u64) -> Result<Handed<'static>, Wrong>, at: u64, entry_tsc: u64) -> ! {
    let claims = Claims { memory: &Mapped, image: image(), end: tables::MAPPED };
    let handed = read(&claims, at).and_then(|handed| {
        // Before the bundle may have to be moved: to where this is.
        let cmdline = keep_cmdline(handed.cmdline);
        let rsdp = match handed.rsdp {
            Some(rsdp) => rsdp,
            None => search_for_rsdp(&claims)?,
        };
        let payload = match handed.payload {
            Some(place) if place.start == 0 => Some(moved_from_page_0(place.end, &handed.memory)),
            place => place,
        };
        let payload = payload.map(|place| claims.bytes("the bundle", place.start, place.end - place.start));
        Ok(BootInfo { entry_tsc, cmdline, payload: payload.transpose()?, memory: handed.memory, rsdp })
    });
    match handed {
        Ok(info) => start(info),
        Err(why) => platform::refuse(format_args!("what the loader handed over makes no sense: {why}")),
    }
}

/// A copy of the command line, for it may lie in page 0, which is about to go, or in memory that is ours to use.
fn keep_cmdline(line: &[u8]) -> Cmdline<'static> {
    static COPY: StaticCell<[u8; LONGEST_CMDLINE as usize]> = StaticCell::new([0; LONGEST_CMDLINE as usize]);
    // SAFETY: this runs once, and nothing else knows the buffer.
    let copy = unsafe { &mut *COPY.get() };
    let copy = &mut copy[..line.len()];
    copy.copy_from_slice(line);
    Cmdline::new(copy)
}

/// GRUB for EFI puts a bundle at address 0 if there is room, where no pointer of Rust's can point and no page will be. Gives
/// back where it is now. What else the loader left has to have been read.
fn moved_from_page_0(length: u64, memory: &Regions) -> Range<u64> {
    let image = image();
    let place = |range: Range<u64>| {
        let at = range.end.min(tables::MAPPED).checked_sub(length)? & !0xfff;
        (at >= range.start.max(image.end).max(length)).then_some(at)
    };
    let Some(to) = memory.iter().filter_map(place).max().filter(|_| length <= image.start) else {
        platform::refuse(format_args!(
            "what the loader handed over makes no sense: the bundle at 0x0, {length} bytes: and there is no room for it elsewhere"
        ))
    };
    // SAFETY: from memory that was looked at, below the image, to memory behind the image and behind the source; nothing is in
    // use yet but the image. Page 0 is still mapped.
    unsafe {
        core::arch::asm!("rep movsb", inout("rsi") 0_u64 => _, inout("rdi") to => _, inout("rcx") length => _,
            options(nostack, preserves_flags));
    }
    to..to + length
}

/// Where nobody says where ACPI's tables begin, they are searched for, when somebody asks. The BIOS data area, where that
/// search begins, is in page 0: it is read now.
fn search_for_rsdp(claims: &Claims<'_>) -> Result<Rsdp, Wrong> {
    const EBDA_SEGMENT: u64 = 0x40e;
    let segment = claims.bytes("the BIOS data area", EBDA_SEGMENT, 2)?;
    Ok(Rsdp::Search { ebda: u64::from(u16::from_le_bytes([segment[0], segment[1]])) << 4 })
}

unsafe extern "C" {
    static image_start: u8;
}

/// Where the image lies, bss and what is packed included; whole pages.
pub(crate) fn image() -> Range<u64> {
    (&raw const image_start).addr() as u64..cold::end().next_multiple_of(4096)
}

/// Boot, as a list. Ends in the image's `main`.
fn start(mut info: BootInfo) -> ! {
    // SAFETY: each is called once, here, in the order in which one needs the other.
    unsafe {
        arch::init(); //                      from here on a fault has words
        tables::unmap_image_page(0); //       and a null pointer faults
        xen::detect(&info.rsdp); //           which has no UART
        console::init(&info.cmdline); //      and a place to put them
        if info.cmdline.has("avx") && !arch::cpu::enable_avx() {
            log!(warn, "lunette.avx: this processor has no AVX");
        }
        time::init(info.entry_tsc, &info.cmdline); // the reference pair: costs nothing, read later
        arch::apic::init();
        platform::init();
        info.memory.remove(0..0x10_0000); //  firmware's own, and the start info
        info.memory.remove(image());
        if let Some(payload) = info.payload {
            let start = payload.as_ptr().addr() as u64;
            info.memory.remove(start & !0xfff..(start + payload.len() as u64).next_multiple_of(4096));
        }
        if info.memory.total() < LEAST_MEMORY {
            platform::refuse(format_args!(
                "not enough memory: {} KiB are left after the image and the bundle; help: give the VM more (-m)",
                info.memory.total() / 1024
            ));
        }
        let mut low = info.memory.clone();
        low.remove(tables::MAPPED..u64::MAX);
        mm::init(low.as_slice(), PhysAddr(tables::root()));
        for high in info.memory.iter().filter(|range| range.start >= tables::MAPPED) {
            mm::identity_map(high);
        }
        if info.cmdline.has("marks")
            && let Some(left) = info.cmdline.number("left")
        {
            time::mark_at("left", left, &info.cmdline); // our loader for UEFI says so
        }
        time::mark_at("entry", info.entry_tsc, &info.cmdline);
        (*BOOT_INFO.get()).replace(info);
        time::mark("mm");
        floor::start::enter_main()
    }
}
