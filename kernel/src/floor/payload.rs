//! The payload's parts as files: `open("/.lunette/payload/OFFSET-LENGTH")`, two decimal numbers of bytes,
//! gives a read-only file that *is* that part of the payload: its pages are the RAM into which the
//! hypervisor put it. So an engine maps precompiled code, and start images of memories, where they lie.
//!
//! Promises: nothing is copied but the pages of private mappings that are written; the payload itself is
//! never written and never freed, whatever is mapped, protected or dropped. (In the kernel's own map of
//! memory its frames are writable, as all RAM is; no guest has a way there.)
//!
//! OFFSET must be a multiple of 4 KiB. LENGTH need not be one, and is the file's size; mapped, the rest of
//! the last page holds what lies there: the bundle's next bytes, not zeros.
//!
//! There are no other files and no directories.

use crate::mm::{self, PhysAddr, paging::PAGE};

use super::memory::{self, EBADF, EINVAL};

const FOLDER: &[u8] = b"/.lunette/payload/";

const ENOENT: isize = 2;
const EROFS: isize = 30;

const O_ACCMODE: u64 = 3;
const O_CREAT: u64 = 0o100;
const O_TRUNC: u64 = 0o1000;

const AT_EMPTY_PATH: u64 = 0x1000;

/// open, 2: a path without its NUL.
pub fn open(path: &[u8], flags: u64, payload: Option<&'static [u8]>) -> isize {
    let Some((offset, length)) = parse(path) else { return -ENOENT };
    if flags & (O_ACCMODE | O_CREAT | O_TRUNC) != 0 {
        return -EROFS;
    }
    let Some(payload) = payload else { return -ENOENT };
    if offset.checked_add(length).is_none_or(|end| end > payload.len() as u64) {
        return -EINVAL;
    }
    let start = PhysAddr(payload.as_ptr().expose_provenance() as u64 + offset);
    // SAFETY: within the payload, which nobody writes and which boot took out of the usable memory, to the end
    // of its last page. (An address that begins no frame is refused.)
    let object = mm::with(|space| unsafe { space.lend_object(start, length) });
    match object {
        Ok(object) => memory::open_lent(object),
        Err(error) => -(error as isize),
    }
}

/// OFFSET and LENGTH of a path; `None` if it names nothing here.
fn parse(path: &[u8]) -> Option<(u64, u64)> {
    let name = path.strip_prefix(FOLDER)?;
    let dash = name.iter().position(|&byte| byte == b'-')?;
    let number = |digits: &[u8]| {
        let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        core::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
    };
    Some((number(&name[..dash])?, number(&name[dash + 1..])?))
}

/// What a file is: Linux's S_IF bits with permissions, and its size.
struct Kind {
    mode: u32,
    size: u64,
}

fn kind(fd: u64) -> Option<Kind> {
    match fd as u32 {
        0..3 => Some(Kind { mode: 0o020_600, size: 0 }),
        _ => {
            let (size, writable) = memory::size(fd)?;
            Some(Kind { mode: 0o100_000 | if writable { 0o777 } else { 0o444 }, size })
        }
    }
}

/// fstat, 5: fills in a `struct stat` (Linux, arch/x86/include/uapi/asm/stat.h).
pub fn fstat(fd: u64, at: u64) -> isize {
    let Some(Kind { mode, size }) = kind(fd) else { return -EBADF };
    let mut stat = [0_u64; 18];
    stat[1] = u64::from(fd as u32) + 1; // inode
    stat[2] = 1; // links
    stat[3] = mode.into(); // and the owner, root, in the upper half
    stat[6] = size;
    stat[7] = PAGE;
    stat[8] = size.div_ceil(512);
    // SAFETY: the caller's own structure.
    unsafe { core::ptr::with_exposed_provenance_mut::<[u64; 18]>(at as usize).write_unaligned(stat) };
    0
}

/// newfstatat, 262: of an open file only. `path` is without its NUL.
pub fn fstatat(fd: u64, path: &[u8], at: u64, flags: u64) -> isize {
    if path.is_empty() && flags & AT_EMPTY_PATH != 0 { fstat(fd, at) } else { -ENOENT }
}

/// statx, 332: of an open file only; fills in a `struct statx` (Linux, include/uapi/linux/stat.h).
pub fn statx(fd: u64, path: &[u8], flags: u64, at: u64) -> isize {
    /// Type, mode, links, owner, inode, size, blocks.
    const KNOWN: u64 = 0x71f;
    if !path.is_empty() || flags & AT_EMPTY_PATH == 0 {
        return -ENOENT;
    }
    let Some(Kind { mode, size }) = kind(fd) else { return -EBADF };
    let mut statx = [0_u64; 32];
    statx[0] = KNOWN | PAGE << 32;
    statx[2] = 1; // links; the owner is root
    statx[3] = u64::from(mode) << 32;
    statx[4] = u64::from(fd as u32) + 1; // inode
    statx[5] = size;
    statx[6] = size.div_ceil(512);
    // SAFETY: the caller's own structure.
    unsafe { core::ptr::with_exposed_provenance_mut::<[u64; 32]>(at as usize).write_unaligned(statx) };
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_plain_numbers_are_a_name() {
        for (path, want) in [
            ("/.lunette/payload/0-0", Some((0, 0))),
            ("/.lunette/payload/4096-123456", Some((4096, 123_456))),
            ("/.lunette/payload/18446744073709551615-1", Some((u64::MAX, 1))),
            ("/.lunette/payload/18446744073709551616-1", None),
            ("/.lunette/payload/0-", None),
            ("/.lunette/payload/-1", None),
            ("/.lunette/payload/0--1", None),
            ("/.lunette/payload/+0-1", None),
            ("/.lunette/payload/0-1/", None),
            ("/.lunette/payload/", None),
            ("/.lunette/payload", None),
            ("/proc/self/cgroup", None),
            (".lunette/payload/0-1", None),
            ("", None),
        ] {
            assert_eq!(parse(path.as_bytes()), want, "{path}");
        }
    }
}
