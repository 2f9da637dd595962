//! The virtual-memory layer, through the very calls that engines make.

use std::{ptr, slice};

use lunette_kernel::mm;

use crate::Check;

pub(crate) const CHECKS: &[Check] = &[
    ("no page is both writable and executable, and page 0 is not there", write_xor_execute),
    ("anonymous memory is demand-zero and comes back", anonymous),
    ("terabytes can be reserved", reserve),
    ("mremap keeps the contents, in place and elsewhere", remap),
    ("a memfd is mapped copy-on-write", copy_on_write),
    ("dropped pages read as zeros, or as the memfd", dont_need),
    ("writable and executable at once is refused", no_wx),
    ("address ranges, frames and page tables are reused", reuse),
    ("what can't be had is refused cleanly, and all of it comes back", exhaustion),
    ("the heap keeps its contents under random load", heap),
];

const PAGE: usize = 4096;

pub(crate) fn map(len: usize, prot: i32, flags: i32, fd: i32) -> *mut u8 {
    // SAFETY: a fresh mapping where the kernel likes it touches nobody's memory.
    let at = unsafe { libc::mmap(ptr::null_mut(), len, prot, flags, fd, 0) };
    assert_ne!(at, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
    at.cast()
}

pub(crate) fn anonymous_memory(len: usize) -> *mut u8 {
    map(len, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)
}

pub(crate) fn unmap(at: *mut u8, len: usize) {
    // SAFETY: the callers' own mapping, no longer used.
    assert_eq!(unsafe { libc::munmap(at.cast(), len) }, 0);
}

fn bytes<'a>(at: *mut u8, len: usize) -> &'a mut [u8] {
    // SAFETY: the callers' own mapping of that length, readable and writable, and looked at by nobody else.
    unsafe { slice::from_raw_parts_mut(at, len) }
}

/// Walks the live page tables.
fn write_xor_execute() {
    const NX: u64 = 1 << 63;
    fn walk(table: u64, level: u32, writable: bool, executable: bool, base: u64, seen: &mut u64) {
        // SAFETY: page tables lie in RAM, which is mapped at virtual = physical, and this only reads.
        let entries =
            unsafe { slice::from_raw_parts(ptr::with_exposed_provenance::<u64>(table as usize), 512) };
        for (i, &entry) in entries.iter().enumerate().filter(|(_, e)| *e & 1 != 0) {
            let at = base | (i as u64) << (12 + 9 * level);
            let (w, x) = (writable && entry & 2 != 0, executable && entry & NX == 0);
            if level == 0 || entry & 0x80 != 0 {
                assert!(!(w && x), "{at:#x} is writable and executable");
                assert_ne!(at, 0, "page 0 is mapped");
                *seen += 1;
            } else {
                walk(entry & 0x000f_ffff_ffff_f000, level - 1, w, x, at, seen);
            }
        }
    }
    let root: u64;
    // SAFETY: reading CR3 has no effect.
    unsafe { std::arch::asm!("mov {}, cr3", out(reg) root, options(nomem, nostack)) };
    let mut seen = 0;
    walk(root & !0xfff, 3, true, true, 0, &mut seen);
    assert!(seen > 1000, "{seen} pages");
}

fn anonymous() {
    let memory = bytes(anonymous_memory(64 * PAGE), 64 * PAGE);
    assert!(memory.iter().all(|&b| b == 0));
    memory.fill(0xaa);
    unmap(memory.as_mut_ptr(), 64 * PAGE);
    let again = bytes(anonymous_memory(64 * PAGE), 64 * PAGE);
    assert!(again.iter().all(|&b| b == 0), "somebody's old data");
    unmap(again.as_mut_ptr(), 64 * PAGE);
}

fn reserve() {
    let len = 6 << 40;
    let at = map(len, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1);
    let middle = at.wrapping_add(len / 2);
    // SAFETY: a page of our own reservation.
    assert_eq!(unsafe { libc::mprotect(middle.cast(), PAGE, libc::PROT_READ | libc::PROT_WRITE) }, 0);
    bytes(middle, PAGE).fill(1);
    unmap(at, len);
}

fn remap() {
    let old = anonymous_memory(8 * PAGE);
    for (i, page) in bytes(old, 8 * PAGE).chunks_mut(PAGE).enumerate() {
        page.fill(i as u8 + 1);
    }
    // SAFETY: our own mapping; what it was is not used afterwards.
    let new = unsafe { libc::mremap(old.cast(), 8 * PAGE, 500 * PAGE, libc::MREMAP_MAYMOVE) };
    assert_ne!(new, libc::MAP_FAILED);
    let memory = bytes(new.cast(), 500 * PAGE);
    for (i, page) in memory.chunks(PAGE).enumerate() {
        let expected = if i < 8 { i as u8 + 1 } else { 0 };
        assert!(page.iter().all(|&b| b == expected), "page {i}");
    }
    unmap(new.cast(), 500 * PAGE);
}

fn memfd(contents: &[u8]) -> i32 {
    // SAFETY: plain calls with our own buffers.
    unsafe {
        let fd = libc::memfd_create(c"image".as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        assert!(fd >= 0, "memfd_create: {}", std::io::Error::last_os_error());
        assert_eq!(libc::write(fd, contents.as_ptr().cast(), contents.len()), contents.len() as isize);
        let seals = libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_WRITE | libc::F_SEAL_SEAL;
        assert_eq!(libc::fcntl(fd, libc::F_ADD_SEALS, seals), 0);
        assert_eq!(libc::write(fd, contents.as_ptr().cast(), 1), -1, "sealed");
        fd
    }
}

fn copy_on_write() {
    let image: Vec<u8> = (0..5 * PAGE + 100).map(|i| (i / 7) as u8).collect();
    let fd = memfd(&image);
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    let one = bytes(map(6 * PAGE, prot, libc::MAP_PRIVATE, fd), 6 * PAGE);
    let two = bytes(map(6 * PAGE, prot, libc::MAP_PRIVATE, fd), 6 * PAGE);
    // SAFETY: our own descriptor; its mappings outlive it.
    assert_eq!(unsafe { libc::close(fd) }, 0);
    assert_eq!(one[..image.len()], image);
    assert!(one[image.len()..].iter().all(|&b| b == 0));
    one[PAGE] = !one[PAGE];
    one[3 * PAGE + 5] = 1;
    assert_eq!(two[..image.len()], image, "the other mapping sees nothing of it");
    two.fill(9);
    assert_eq!(one[..PAGE], image[..PAGE]);
    unmap(one.as_mut_ptr(), 6 * PAGE);
    unmap(two.as_mut_ptr(), 6 * PAGE);
}

fn dont_need() {
    let memory = bytes(anonymous_memory(4 * PAGE), 4 * PAGE);
    memory.fill(5);
    // SAFETY: our own mapping.
    let dropped =
        unsafe { libc::madvise(memory.as_mut_ptr().add(PAGE).cast(), 2 * PAGE, libc::MADV_DONTNEED) };
    assert_eq!(dropped, 0);
    assert!(memory[PAGE..3 * PAGE].iter().all(|&b| b == 0) && memory[0] == 5 && memory[3 * PAGE] == 5);
    unmap(memory.as_mut_ptr(), 4 * PAGE);

    let fd = memfd(&[7; PAGE]);
    let mapped = bytes(map(PAGE, libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE, fd), PAGE);
    mapped.fill(1);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::madvise(mapped.as_mut_ptr().cast(), PAGE, libc::MADV_DONTNEED) }, 0);
    assert!(mapped.iter().all(|&b| b == 7), "back to the image, as wasmtime resets an instance");
    unmap(mapped.as_mut_ptr(), PAGE);
    // SAFETY: our own descriptor.
    assert_eq!(unsafe { libc::close(fd) }, 0);
}

fn no_wx() {
    let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    // SAFETY: refused, so nothing is mapped.
    let at =
        unsafe { libc::mmap(ptr::null_mut(), PAGE, all, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0) };
    assert_eq!(at, libc::MAP_FAILED);
    assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EACCES));
    let page = anonymous_memory(PAGE);
    // SAFETY: our own page; refused, so nothing changes.
    assert_eq!(unsafe { libc::mprotect(page.cast(), PAGE, all) }, -1);
    // Code can be made: written first, executable then.
    bytes(page, PAGE)[..6].copy_from_slice(&[0xb8, 42, 0, 0, 0, 0xc3]); // mov eax, 42; ret
    // SAFETY: the six bytes above are a function of this type, and the page may be executed from here on.
    let answer = unsafe {
        assert_eq!(libc::mprotect(page.cast(), PAGE, libc::PROT_READ | libc::PROT_EXEC), 0);
        std::mem::transmute::<*mut u8, extern "C" fn() -> u32>(page)()
    };
    assert_eq!(answer, 42);
    unmap(page, PAGE);
}

fn reuse() {
    let round = || {
        let maps: Vec<_> = (1..200).map(|i| (anonymous_memory(i * PAGE), i * PAGE)).collect();
        for &(at, len) in &maps {
            bytes(at, len).fill(1);
        }
        let top = maps.iter().map(|(at, len)| at.addr() + len).max().expect("some");
        for (at, len) in maps {
            unmap(at, len);
        }
        top
    };
    let first = round();
    let free = mm::free_bytes();
    let mut last = 0;
    for _ in 0..50 {
        last = round();
    }
    assert!(last <= first + (1 << 30), "addresses creep from {first:#x} to {last:#x}");
    let now = mm::free_bytes();
    assert!(now + (64 << 10) >= free, "{} KiB leaked", (free - now) / 1024);
}

fn exhaustion() {
    let free = mm::free_bytes();
    assert!(Vec::<u8>::new().try_reserve_exact(1 << 40).is_err());
    assert!(Vec::<u8>::new().try_reserve_exact(free as usize * 2).is_err(), "more than there is");
    for _ in 0..3 {
        let mut hoard: Vec<Vec<u8>> = Vec::with_capacity(4096);
        while hoard.len() < 4096 {
            let mut block = Vec::new();
            if block.try_reserve_exact(1 << 20).is_err() {
                break;
            }
            block.resize(1 << 20, 0x55);
            hoard.push(block);
        }
        let got = (hoard.len() as u64) << 20;
        assert!(got >= free / 2, "{got} of {free} bytes could be had");
    }
    let now = mm::free_bytes();
    assert!(now + (256 << 10) >= free, "{} KiB did not come back", (free - now) / 1024);
}

fn heap() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    for i in 0..50_000 {
        if blocks.len() > 300 || (random() % 3 == 0 && !blocks.is_empty()) {
            let block = blocks.swap_remove(random() as usize % blocks.len());
            assert!(block.iter().all(|&b| b == block.len() as u8), "damaged at step {i}");
        } else {
            let len = match random() % 20 {
                0 => random() % 300_000,
                1..4 => random() % 20_000,
                _ => random() % 300,
            } as usize;
            let mut block = vec![0; len / 2];
            block.resize(len, 0); // now and then in place, now and then elsewhere
            block.fill(len as u8);
            blocks.push(block);
        }
    }
}
