//! From the hypervisor's entry point to `main`: what was found, made once ([`BootInfo`]), and the order in
//! which the rest is set up. One file an entry protocol, each of which ends in the same [`start`].

mod claims;
mod linux64;
mod multiboot2;
mod pvh;
pub(crate) mod tables;

use core::ops::Range;

use crate::{
    acpi::Rsdp,
    arch,
    cell::StaticCell,
    cmdline::Cmdline,
    cold,
    console::{self, log},
    drivers::xen::guest as xen,
    floor,
    mm::{self, PhysAddr},
    platform, time,
};

/// The most regions of usable memory that are kept: the largest (a hypervisor reports one to four, EFI's map is in pieces).
const MAX_REGIONS: usize = 16;
/// The longest command line; the rest of a longer one is cut off.
const LONGEST_CMDLINE: usize = 4096;

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

/// A short list of address ranges.
#[derive(Clone, Default)]
pub struct Regions {
    list: [Range<u64>; MAX_REGIONS],
    len: usize,
}

impl Regions {
    fn push(&mut self, range: Range<u64>) {
        if range.start >= range.end {
            return;
        }
        let (known, free) = self.list.split_at_mut(self.len);
        if let Some(before) = known.last_mut().filter(|before| before.end == range.start) {
            before.end = range.end;
        } else if let Some(slot) = free.first_mut() {
            *slot = range;
            self.len += 1;
        } else if let Some(least) = known.iter_mut().min_by_key(|known| known.end - known.start)
            && least.end - least.start < range.end - range.start
        {
            *least = range;
        }
    }

    /// Takes `hole` out of every range.
    fn remove(&mut self, hole: Range<u64>) {
        let old = core::mem::take(self);
        for range in old.iter() {
            self.push(range.start..range.end.min(hole.start));
            self.push(range.start.max(hole.end)..range.end);
        }
    }

    fn as_slice(&self) -> &[Range<u64>] {
        &self.list[..self.len]
    }

    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.list[..self.len].iter().cloned()
    }

    pub fn total(&self) -> u64 {
        self.iter().map(|r| r.end - r.start).sum()
    }
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

/// A copy of the command line at this address, for it may lie in page 0, which is about to go, or in memory that is ours to
/// use.
fn keep_cmdline(at: u64) -> Cmdline<'static> {
    static COPY: StaticCell<[u8; LONGEST_CMDLINE]> = StaticCell::new([0; LONGEST_CMDLINE]);
    let line = claims::text("the command line", at, LONGEST_CMDLINE as u64);
    // SAFETY: this runs once, and nothing else knows the buffer.
    let copy = unsafe { &mut *COPY.get() };
    let copy = &mut copy[..line.len()];
    copy.copy_from_slice(line);
    Cmdline::new(copy)
}

/// Where nobody says where ACPI's tables begin, they are searched for, when somebody asks. The BIOS data area, where that
/// search begins, is in page 0: it is read now.
fn search_for_rsdp() -> Rsdp {
    const EBDA_SEGMENT: u64 = 0x40e;
    let segment = claims::bytes("the BIOS data area", EBDA_SEGMENT, 2);
    Rsdp::Search { ebda: u64::from(u16::from_le_bytes([segment[0], segment[1]])) << 4 }
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
