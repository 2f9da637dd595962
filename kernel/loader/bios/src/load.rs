//! From the disk's record to the kernel's first instruction.

use core::ops::Range;

use lunette_config::Wanted;
use lunette_loader::{
    REACH, elf, highest,
    params::{self, Params},
    record::{BYTES, LONGEST_CMDLINE, Part, Record, Sum},
    without, words,
};

use crate::{
    disks,
    firmware::{CMDLINE, Disk, MOST_REGIONS, PARAMS, RECORD, Region, low, memory, refuse},
};

/// Below this the BIOS has its own, and we.
const LOW: u64 = 1 << 20;

pub(crate) extern "C" fn main(drive: u32) -> ! {
    // SAFETY: the master boot record has read the record to here; nobody else borrows it.
    let record =
        Record::parse(unsafe { low(RECORD, BYTES) }).unwrap_or_else(|why| refuse(format_args!("{why}")));
    if record.bundle.length == 0 {
        refuse(format_args!("this disk holds no bundle; help: lunette image export APP"));
    }
    if !a20_is_open() {
        refuse(format_args!("this firmware does not open the A20 gate"));
    }
    let mut regions = [Region::default(); MOST_REGIONS];
    let count = memory(&mut regions);
    let regions = &regions[..count];
    if count == 0 {
        refuse(format_args!("this firmware has no memory map (INT 15h, E820)"));
    }
    let disk = Disk::new(drive);
    let kernel = load_kernel(&disk, &record.kernel, regions);
    let bundle = load_bundle(&disk, &record.bundle, regions, &kernel.extent());
    let cmdline = load_cmdline(&disk, &record.cmdline);
    let copies = settings(cmdline, regions, &kernel.extent(), &(bundle..bundle + record.bundle.length));

    // SAFETY: free by layout.ld; borrowed only here.
    let page: &mut [u8; params::BYTES] =
        unsafe { low(PARAMS, params::BYTES) }.first_chunk_mut().unwrap_or_else(|| refuse(format_args!("")));
    let mut params = Params::new(page);
    for region in regions {
        for range in without(&region.range(), &copies).into_iter().filter(|range| !range.is_empty()) {
            params.region(range, region.usable);
        }
    }
    params.cmdline(CMDLINE as u64, words::end(cmdline) as u64);
    params.bundle(bundle, record.bundle.length);
    // SAFETY: the kernel's 64-bit entry wants just this: long mode, all below 4 GiB mapped at its own address, RSI.
    unsafe {
        core::arch::asm!("cli", "jmp {entry}", entry = in(reg) kernel.entry, in("rsi") PARAMS, options(noreturn))
    }
}

/// Are odd megabytes what they are, and not the even ones again?
fn a20_is_open() -> bool {
    let (low, high) = (RECORD, RECORD + (1 << 20));
    (0..100_000).any(|value: u32| {
        // SAFETY: the record's sum, which is not needed any more, and RAM that is not used yet; should it be none, then writing
        // has no effect.
        unsafe {
            let low = core::ptr::with_exposed_provenance_mut::<u32>(low + 12);
            let high = core::ptr::with_exposed_provenance_mut::<u32>(high + 12);
            high.write_volatile(value);
            low.write_volatile(!value);
            high.read_volatile() == value
        }
    })
}

/// Tells the kernel where the settings are that it asks for and can't find by itself, and gives back what it must not use for that.
fn settings(cmdline: &mut [u8], regions: &[Region], kernel: &Range<u64>, bundle: &Range<u64>) -> Range<u64> {
    if !Wanted::of(cmdline).disk {
        return 0..0;
    }
    let Some(copies) = disks::copy(regions, kernel, bundle) else { return 0..0 };
    const WORD: &str = "lunette.disks";
    if !words::has(cmdline, WORD) && !words::append(cmdline, WORD, copies.start) {
        refuse(format_args!("the command line is too long for {WORD}; help: shorten it by 40 bytes"));
    }
    copies
}

pub(crate) fn is_usable(regions: &[Region], range: &Range<u64>) -> bool {
    // Maps may have one range of memory in pieces.
    let mut at = range.start;
    while at < range.end {
        let Some(region) = regions.iter().find(|region| region.usable && region.range().contains(&at)) else {
            return false;
        };
        at = region.end;
    }
    let reserved = |region: &&Region| !region.usable && region.start < range.end && range.start < region.end;
    range.start >= LOW && range.end <= REACH && !regions.iter().any(|region| reserved(&region))
}

/// Memory at an address that was found to be usable.
///
/// # Safety
/// It is RAM that nobody else has borrowed.
pub(crate) unsafe fn ram(at: u64, length: usize) -> &'static mut [u8] {
    // SAFETY: the caller's; the first 4 GiB are mapped.
    unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(at as usize), length) }
}

fn load_kernel(disk: &Disk, part: &Part, regions: &[Region]) -> elf::Kernel {
    let mut kernel = None;
    let mut sum = Sum::default();
    disk.read("the kernel", part.offset, part.length, |at, bytes| {
        // The first piece has the headers.
        let kernel = kernel.get_or_insert_with(|| {
            let kernel =
                elf::Kernel::parse(bytes, part.length).unwrap_or_else(|why| refuse(format_args!("{why}")));
            let extent = kernel.extent();
            if !is_usable(regions, &extent) {
                refuse(format_args!(
                    "not enough memory: the kernel takes what is from {:#x} to {:#x}; help: give the VM more",
                    extent.start, extent.end
                ));
            }
            kernel
        });
        sum.add(bytes);
        for (to, which) in kernel.places(at, bytes.len()) {
            // SAFETY: within the kernel's extent, which is usable memory.
            unsafe { ram(to, which.len()) }.copy_from_slice(&bytes[which]);
        }
    });
    let Some(kernel) = kernel.filter(|_| sum.fits(part)) else {
        refuse(format_args!("this disk is damaged: the kernel does not sum up"))
    };
    for range in kernel.zeros() {
        // SAFETY: as above.
        unsafe { ram(range.start, (range.end - range.start) as usize) }.fill(0);
    }
    kernel
}

fn load_bundle(disk: &Disk, part: &Part, regions: &[Region], kernel: &Range<u64>) -> u64 {
    let usable = regions.iter().filter(|region| region.usable).map(Region::range);
    let place =
        highest(usable, part.length, kernel).filter(|at| is_usable(regions, &(*at..at + part.length)));
    let Some(place) = place else {
        refuse(format_args!(
            "not enough memory for the bundle's {} bytes; help: give the VM more",
            part.length
        ))
    };
    let mut sum = Sum::default();
    disk.read("the bundle", part.offset, part.length, |at, bytes| {
        sum.add(bytes);
        // SAFETY: usable memory that is not the kernel's.
        unsafe { ram(place + at, bytes.len()) }.copy_from_slice(bytes);
    });
    if !sum.fits(part) {
        refuse(format_args!("this disk is damaged: the bundle does not sum up"));
    }
    place
}

/// The command line, with room behind it.
fn load_cmdline(disk: &Disk, part: &Part) -> &'static mut [u8] {
    // SAFETY: free by layout.ld; borrowed only here.
    let to = unsafe { low(CMDLINE, LONGEST_CMDLINE as usize + 1) };
    to.fill(0);
    let mut sum = Sum::default();
    disk.read("the command line", part.offset, part.length, |at, bytes| {
        sum.add(bytes);
        to[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    });
    if !sum.fits(part) {
        refuse(format_args!("this disk is damaged: the command line does not sum up"));
    }
    to
}
