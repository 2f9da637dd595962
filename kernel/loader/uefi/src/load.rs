//! From the disk's record to what is to be done when the firmware is gone.

use core::ops::Range;

use lunette_config::Wanted;
use lunette_loader::{
    elf::{self, Kernel},
    params::{self, Params},
    record::{self, LONGEST_CMDLINE, Part, Record, Sum},
    words,
};
use uefi::{Status, boot, mem::memory_map::MemoryMap};

use crate::{
    disks,
    firmware::{Volume, allocate, can_be_taken, is_given_up, map, range, read, refuse, rsdp, smbios},
    leave::{Leave, Move},
};

#[uefi::entry]
fn main() -> Status {
    let mut volume = Volume::ours();
    let mut record = [0; record::BYTES];
    read(&mut volume.open("the record of what it holds", record::FILE), "its record", &mut record);
    let record = Record::parse(&record).unwrap_or_else(|why| refuse(format_args!("{why}")));
    if record.bundle.length == 0 {
        refuse(format_args!("this disk holds no bundle; help: lunette image export APP"));
    }

    let mut file = volume.open("the kernel", record::KERNEL_FILE);
    let mut head = [0; elf::HEAD];
    let known = head.len().min(record.kernel.length as usize);
    read(&mut file, "the kernel", &mut head[..known]);
    let kernel = Kernel::parse(&head[..known], record.kernel.length)
        .unwrap_or_else(|why| refuse(format_args!("{why}")));
    let extent = kernel.extent();
    let cmdline = cmdline(&mut volume, &record.cmdline, &extent);
    settings(cmdline, &extent);
    // Not before: drivers that have just begun may have taken memory.
    can_lie_there(&extent);
    let _ = file.set_position(0);
    let image = whole(&mut file, "the kernel", &record.kernel, &extent);
    let mut file = volume.open("the bundle", record::BUNDLE_FILE);
    let bundle = whole(&mut file, "the bundle", &record.bundle, &extent);

    let leave = Leave::new(&extent);
    let page = allocate("boot_params", params::BYTES as u64, &extent);
    let Some(page) = page.first_chunk_mut() else { unreachable!("it is that long") };
    let at = page.as_ptr().addr() as u64;
    let mut params = Params::new(page);
    params.cmdline(cmdline.as_ptr().addr() as u64, cmdline.len() as u64);
    params.bundle(bundle.as_ptr().addr() as u64, record.bundle.length);
    params.rsdp(rsdp());
    let mut moves = leave;
    for (to, which) in kernel.places(0, image.len()) {
        let from = image[which.clone()].as_ptr().addr() as u64;
        moves.push(Move { to, from, length: which.len() as u64 });
    }
    for zeros in kernel.zeros() {
        moves.push(Move { to: zeros.start, from: 0, length: zeros.end - zeros.start });
    }

    drop(volume);
    drop(file);
    mark(cmdline);
    // SAFETY: from here on nothing of the firmware's is used: no console, no file, no allocation.
    let map = unsafe { boot::exit_boot_services(None) };
    let mut last: Range<u64> = 0..0;
    let mut add = |range: Range<u64>| {
        if !range.is_empty() {
            params.region(range, true);
        }
    };
    for entry in map.entries().filter(|entry| is_given_up(entry.ty)) {
        let range = range(entry);
        if range.start == last.end {
            last.end = range.end;
        } else {
            add(core::mem::replace(&mut last, range));
        }
    }
    add(last);
    // The map's memory is not given back: there is nobody to give it to.
    core::mem::forget(map);
    // SAFETY: the firmware is gone; `moves` go to the kernel's own place, which was looked at, and from memory that is not
    // there; the entry is the kernel's.
    unsafe { moves.go(kernel.entry, at) }
}

/// Will the memory be free where the kernel has to be?
fn can_lie_there(extent: &Range<u64>) {
    let map = map();
    let mut at = extent.start;
    while at < extent.end {
        match map.entries().find(|entry| range(entry).contains(&at)) {
            Some(entry) if can_be_taken(entry.ty) => at = range(entry).end,
            Some(entry) => refuse(format_args!(
                "this firmware keeps memory where the kernel has to be: {at:#x}, of type {:?}",
                entry.ty
            )),
            None => refuse(format_args!(
                "not enough memory: the kernel takes what is from {:#x} to {:#x}; help: give the VM more",
                extent.start, extent.end
            )),
        }
    }
}

/// A file, in memory, if it sums up.
fn whole(
    file: &mut uefi::proto::media::file::RegularFile,
    what: &str,
    part: &Part,
    extent: &Range<u64>,
) -> &'static mut [u8] {
    let bytes = allocate(what, part.length, extent);
    read(file, what, bytes);
    let mut sum = Sum::default();
    sum.add(bytes);
    if !sum.fits(part) {
        refuse(format_args!("this disk is damaged: {what} does not sum up"));
    }
    bytes
}

/// The command line, with room behind it.
fn cmdline(volume: &mut Volume, part: &Part, extent: &Range<u64>) -> &'static mut [u8] {
    let what = "the command line";
    let bytes = allocate(what, LONGEST_CMDLINE + 1, extent);
    let line = &mut bytes[..part.length as usize];
    read(&mut volume.open(what, record::CMDLINE_FILE), what, line);
    let mut sum = Sum::default();
    sum.add(line);
    if !sum.fits(part) {
        refuse(format_args!("this disk is damaged: {what} does not sum up"));
    }
    bytes
}

/// Tells the kernel where the settings are that it asks for and can't find by itself.
fn settings(cmdline: &mut [u8], kernel: &Range<u64>) {
    let wanted = Wanted::of(cmdline);
    let mut tell = |word, at| {
        if !words::has(cmdline, word) && !words::append(cmdline, word, at) {
            refuse(format_args!("the command line is too long for {word}; help: shorten it by 40 bytes"));
        }
    };
    if wanted.smbios
        && let Some(at) = smbios()
    {
        tell("lunette.smbios", at);
    }
    if wanted.disk
        && let Some(at) = disks::copy(kernel)
    {
        tell("lunette.disks", at);
    }
}

/// Tells who measures boot (`lunette.marks`) when the firmware was left.
fn mark(cmdline: &mut [u8]) {
    let line = &cmdline[..words::end(cmdline)];
    if line.split(u8::is_ascii_whitespace).any(|word| word == b"lunette.marks") {
        // SAFETY: reading the time stamp counter has no effect.
        let now = unsafe { core::arch::x86_64::_rdtsc() };
        // Without room there is no mark.
        words::append(cmdline, "lunette.left", now);
    }
}
