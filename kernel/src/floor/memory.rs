//! The Linux system calls about memory, and those on files that can be mapped: memfds, and parts of the
//! payload ([`super::payload`]), which are read-only.
//!
//! Each answers what Linux answers: a result, or a negative errno. Where it is stricter or simpler:
//! - writable and executable at once is EACCES (mmap, mprotect);
//! - there is one process that never forks, so shared anonymous memory is private anonymous memory;
//! - descriptors 0 to 2 can't be mapped: ENODEV, as a terminal answers;
//! - MAP_STACK and MAP_NORESERVE exempt from the commit rule (see [`crate::mm::space`]), and so does
//!   mapping a whole file of the payload: whoever loads it maps it writable (wasmtime does), and then
//!   makes it read-only, written nowhere;
//!   MAP_GROWSDOWN and MAP_HUGETLB are refused (EOPNOTSUPP, ENOMEM); MREMAP_DONTUNMAP is EINVAL;
//! - addresses outside of [`ADDRESSES`](crate::mm::space::ADDRESSES), the image among them, can't be
//!   mapped, protected or unmapped: ENOMEM or EINVAL, as Linux has it for addresses beyond user space;
//! - mprotect with a hole in its range changes nothing (Linux changes what comes before the hole);
//! - the name that memfd_create gets is not read.
//!
//! The callers are Rust's std, musl and the engines: linked in, not guests. Their pointers are checked
//! as far as areas go; what lies at its own address (image, small heap blocks) is taken at their word.

use crate::mm::{
    self, FaultOutcome, ObjectId,
    paging::{PAGE, Prot},
    space::{ADDRESSES, Backing, Error, Place, SEAL_FUTURE_WRITE, SEAL_GROW, SEAL_SEAL, SEAL_WRITE},
};

pub const EBADF: isize = 9;
pub const ENOMEM: isize = 12;
pub const EACCES: isize = 13;
pub const EFAULT: isize = 14;
pub const ENODEV: isize = 19;
pub const EINVAL: isize = 22;
pub const EMFILE: isize = 24;
pub const EFBIG: isize = 27;
pub const EPERM: isize = 1;
pub const EOPNOTSUPP: isize = 95;

const PROT_WRITE: u64 = 2;

const MAP_SHARED: u64 = 0x01;
const MAP_PRIVATE: u64 = 0x02;
const MAP_SHARED_VALIDATE: u64 = 0x03;
const MAP_TYPE: u64 = 0x0f;
const MAP_FIXED: u64 = 0x10;
const MAP_ANONYMOUS: u64 = 0x20;
const MAP_GROWSDOWN: u64 = 0x100;
const MAP_NORESERVE: u64 = 0x4000;
const MAP_POPULATE: u64 = 0x8000;
const MAP_STACK: u64 = 0x20000;
const MAP_HUGETLB: u64 = 0x40000;
const MAP_FIXED_NOREPLACE: u64 = 0x10_0000;

const MREMAP_MAYMOVE: u64 = 1;
const MREMAP_FIXED: u64 = 2;

const MFD_CLOEXEC: u64 = 1;
const MFD_ALLOW_SEALING: u64 = 2;
const MFD_NOEXEC_SEAL: u64 = 8;
const MFD_EXEC: u64 = 16;

const F_GETFD: u64 = 1;
const F_SETFD: u64 = 2;
const F_GETFL: u64 = 3;
const F_ADD_SEALS: u64 = 1033;
const F_GET_SEALS: u64 = 1034;

/// Room for brk to grow in: addresses only.
const BRK_ROOM: u64 = 64 << 30;

/// The first descriptor of a file, and how many there can be.
const FIRST_FD: u64 = 3;
const FDS: usize = 256;

#[derive(Clone, Copy)]
struct File {
    object: ObjectId,
    position: u64,
    /// A memfd; else a part of the payload.
    writable: bool,
}

struct State {
    /// Where brk's room begins (0: not used yet), and where it ends now.
    brk_start: u64,
    brk: u64,
    fds: [Option<File>; FDS],
}

static STATE: spin::Mutex<State> = spin::Mutex::new(State { brk_start: 0, brk: 0, fds: [None; FDS] });

fn answer(result: Result<u64, Error>) -> isize {
    match result {
        Ok(value) => value as isize,
        Err(error) => -(error as isize),
    }
}

/// mmap, 9.
pub fn mmap(addr: u64, len: u64, prot: u64, flags: u64, fd: u64, offset: u64) -> isize {
    if !offset.is_multiple_of(PAGE) {
        return -EINVAL;
    }
    let kind = flags & MAP_TYPE;
    let anonymous = flags & MAP_ANONYMOUS != 0;
    let mut no_reserve = flags & (MAP_NORESERVE | MAP_STACK) != 0;
    let backing = if anonymous {
        Backing::Anonymous
    } else {
        match file(fd) {
            Some(file) => {
                let shared = kind != MAP_PRIVATE;
                if !file.writable {
                    if shared && prot & PROT_WRITE != 0 {
                        return -EACCES;
                    }
                    let size = mm::with(|space| space.object_size(file.object));
                    no_reserve |= offset == 0 && len >= size;
                }
                Backing::Object { id: file.object, offset, shared }
            }
            None if (fd as i32 as u64) < FIRST_FD => return -ENODEV,
            None => return -EBADF,
        }
    };
    if len == 0 || !matches!(kind, MAP_SHARED | MAP_PRIVATE | MAP_SHARED_VALIDATE) {
        return -EINVAL;
    }
    if flags & MAP_GROWSDOWN != 0 {
        return -EOPNOTSUPP;
    }
    if flags & MAP_HUGETLB != 0 {
        return -ENOMEM;
    }
    let Some(prot) = Prot::new(prot as u8) else { return -EACCES };
    let place = if flags & MAP_FIXED_NOREPLACE != 0 {
        Place::FixedNoReplace(addr)
    } else if flags & MAP_FIXED != 0 {
        Place::Fixed(addr)
    } else if addr == 0 {
        Place::Any
    } else {
        Place::Hint(addr & !(PAGE - 1))
    };
    let mapped = mm::with(|space| space.map(place, len, prot, no_reserve, backing));
    if let Ok(at) = mapped
        && flags & MAP_POPULATE != 0
        && prot.readable()
    {
        // As on Linux, what can't be had now is had, or not, at the first touch.
        let _ = mm::populate(at, len, prot.writable());
    }
    answer(mapped)
}

/// mprotect, 10.
pub fn mprotect(addr: u64, len: u64, prot: u64) -> isize {
    // PROT_SEM (8) is allowed and means nothing; PROT_GROWSDOWN and PROT_GROWSUP need such areas.
    if prot & !0xf != 0 {
        return -EINVAL;
    }
    let Some(prot) = Prot::new(prot as u8) else { return -EACCES };
    answer(mm::with(|space| space.protect(addr, len, prot)).map(|()| 0))
}

/// munmap, 11.
pub fn munmap(addr: u64, len: u64) -> isize {
    answer(mm::with(|space| space.unmap(addr, len)).map(|()| 0))
}

/// brk, 12: answers where the break is now, moved or not.
pub fn brk(addr: u64) -> isize {
    let mut state = STATE.lock();
    if state.brk_start == 0 {
        let room = mm::with(|space| space.map(Place::Any, BRK_ROOM, Prot::NONE, true, Backing::Anonymous));
        let Ok(start) = room else { return 0 };
        (state.brk_start, state.brk) = (start, start);
    }
    if addr < state.brk_start || addr > state.brk_start + BRK_ROOM {
        return state.brk as isize;
    }
    let page_up = |at: u64| at.next_multiple_of(PAGE);
    let (old, new) = (page_up(state.brk), page_up(addr));
    let (from, to) = (old.min(new), old.max(new));
    let moved = mm::with(|space| match (from == to, new > old) {
        (true, _) => Ok(from),
        (_, true) => space.map(Place::Fixed(from), to - from, Prot::READ_WRITE, false, Backing::Anonymous),
        (_, false) => space.map(Place::Fixed(from), to - from, Prot::NONE, true, Backing::Anonymous),
    });
    if moved.is_ok() {
        state.brk = addr;
    }
    state.brk as isize
}

/// mremap, 25.
pub fn mremap(old: u64, old_len: u64, new_len: u64, flags: u64, new: u64) -> isize {
    if flags & !(MREMAP_MAYMOVE | MREMAP_FIXED) != 0 {
        return -EINVAL;
    }
    let fixed = (flags & MREMAP_FIXED != 0).then_some(new);
    let may_move = flags & MREMAP_MAYMOVE != 0;
    answer(mm::with(|space| space.remap(old, old_len, new_len, may_move, fixed)))
}

/// madvise, 28.
pub fn madvise(addr: u64, len: u64, advice: u64) -> isize {
    const DONTNEED: u64 = 4;
    const FREE: u64 = 8;
    const POPULATE_READ: u64 = 22;
    const POPULATE_WRITE: u64 = 23;
    if !addr.is_multiple_of(PAGE) {
        return -EINVAL;
    }
    let Some(len) = len.checked_next_multiple_of(PAGE) else { return -EINVAL };
    let Some(end) = addr.checked_add(len) else { return -EINVAL };
    match advice {
        DONTNEED | FREE => answer(mm::with(|space| space.dont_need(addr, len)).map(|()| 0)),
        POPULATE_READ | POPULATE_WRITE => {
            if len > 0 && (addr < ADDRESSES.start || end > ADDRESSES.end) {
                return -ENOMEM;
            }
            match mm::populate(addr, len, advice == POPULATE_WRITE) {
                FaultOutcome::Resolved => 0,
                FaultOutcome::Segv { mapped: true } => -EFAULT,
                FaultOutcome::Segv { mapped: false } | FaultOutcome::OutOfMemory => -ENOMEM,
            }
        }
        // Normal, random, sequential, will need; about fork, merging, huge pages, dumps, going cold:
        // there is nothing to do, but the range must be mapped.
        0..=3 | 10..=21 => {
            if mm::with(|space| space.is_mapped(addr, len)) {
                0
            } else {
                -ENOMEM
            }
        }
        _ => -EINVAL,
    }
}

/// memfd_create, 319.
pub fn memfd_create(_name: u64, flags: u64) -> isize {
    // MFD_HUGETLB is no valid flag where there are no huge pages.
    if flags & !(MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC) != 0
        || flags & (MFD_NOEXEC_SEAL | MFD_EXEC) == MFD_NOEXEC_SEAL | MFD_EXEC
    {
        return -EINVAL;
    }
    // MFD_NOEXEC_SEAL implies MFD_ALLOW_SEALING.
    let sealable = flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) != 0;
    match mm::with(|space| space.make_object(if sealable { 0 } else { SEAL_SEAL })) {
        Ok(object) => open(File { object, position: 0, writable: true }),
        Err(error) => -(error as isize),
    }
}

/// A descriptor for a part of the payload, whose object is handed over.
pub(super) fn open_lent(object: ObjectId) -> isize {
    open(File { object, position: 0, writable: false })
}

/// The descriptor that this file has from now on; without one it is let go.
fn open(file: File) -> isize {
    let mut state = STATE.lock();
    let Some(index) = state.fds.iter().position(Option::is_none) else {
        mm::with(|space| space.release(file.object));
        return -EMFILE;
    };
    state.fds[index] = Some(file);
    (index as u64 + FIRST_FD) as isize
}

/// How long a file is, and whether it can be written.
pub(super) fn size(fd: u64) -> Option<(u64, bool)> {
    let file = file(fd)?;
    Some((mm::with(|space| space.object_size(file.object)), file.writable))
}

/// write, 1, on a file.
pub fn write(fd: u64, buf: u64, len: u64) -> isize {
    let Some(File { object, position, writable: true }) = file(fd) else { return -EBADF };
    let written = write_at(object, buf, len, position);
    advance(fd, written)
}

/// pwrite64, 18, on a file.
pub fn pwrite(fd: u64, buf: u64, len: u64, offset: u64) -> isize {
    let Some(File { object, writable: true, .. }) = file(fd) else { return -EBADF };
    if offset > i64::MAX as u64 {
        return -EINVAL;
    }
    write_at(object, buf, len, offset)
}

/// read, 0, on a file.
pub fn read(fd: u64, buf: u64, len: u64) -> isize {
    let Some(File { object, position, .. }) = file(fd) else { return -EBADF };
    let count = read_at(object, buf, len, position);
    advance(fd, count)
}

/// pread64, 17, on a file.
pub fn pread(fd: u64, buf: u64, len: u64, offset: u64) -> isize {
    let Some(File { object, .. }) = file(fd) else { return -EBADF };
    if offset > i64::MAX as u64 {
        return -EINVAL;
    }
    read_at(object, buf, len, offset)
}

/// lseek, 8, on a file: from the start, the position or the end; not to data or holes.
pub fn lseek(fd: u64, offset: i64, whence: u64) -> isize {
    let Some(File { object, position, .. }) = file(fd) else { return -EBADF };
    let base = match whence {
        0 => 0,
        1 => position,
        2 => mm::with(|space| space.object_size(object)),
        _ => return -EINVAL,
    };
    match base.checked_add_signed(offset).filter(|&to| to <= i64::MAX as u64) {
        Some(to) => {
            set_position(fd, to);
            to as isize
        }
        None => -EINVAL,
    }
}

/// ftruncate, 77, on a file.
pub fn ftruncate(fd: u64, size: i64) -> isize {
    let Some(File { object, writable, .. }) = file(fd) else { return -EBADF };
    if !writable {
        return -EINVAL;
    }
    let Ok(size) = u64::try_from(size) else { return -EINVAL };
    answer(mm::with(|space| space.set_object_size(object, size)).map(|()| 0))
}

/// fcntl, 72, on a file: seals and flags.
pub fn fcntl(fd: u64, command: u64, argument: u64) -> isize {
    const O_RDONLY: isize = 0;
    const O_RDWR: isize = 2;
    const O_LARGEFILE: isize = 0o100000;
    let Some(File { object, writable, .. }) = file(fd) else { return -EBADF };
    match command {
        F_ADD_SEALS | F_GET_SEALS if !writable => -EINVAL,
        F_ADD_SEALS => answer(mm::with(|space| space.add_seals(object, argument as u32)).map(|()| 0)),
        F_GET_SEALS => mm::with(|space| space.object_seals(object)) as isize,
        // There is no exec, so close-on-exec is as good as any answer.
        F_GETFD => 1,
        F_SETFD => 0,
        F_GETFL => O_LARGEFILE | if writable { O_RDWR } else { O_RDONLY },
        _ => -EINVAL,
    }
}

/// close, 3, on a file. What is mapped stays until it is unmapped.
pub fn close(fd: u64) -> isize {
    let taken = slot(fd).and_then(|index| STATE.lock().fds[index].take());
    match taken {
        Some(file) => {
            mm::with(|space| space.release(file.object));
            0
        }
        None => -EBADF,
    }
}

fn slot(fd: u64) -> Option<usize> {
    // A descriptor is an int: the upper half of the register means nothing.
    let index = u64::from(fd as u32).checked_sub(FIRST_FD)? as usize;
    (index < FDS).then_some(index)
}

fn file(fd: u64) -> Option<File> {
    STATE.lock().fds[slot(fd)?]
}

fn set_position(fd: u64, position: u64) {
    if let Some(index) = slot(fd)
        && let Some(file) = &mut STATE.lock().fds[index]
    {
        file.position = position;
    }
}

fn advance(fd: u64, count: isize) -> isize {
    if count > 0
        && let Some(file) = file(fd)
    {
        set_position(fd, file.position + count as u64);
    }
    count
}

/// Copies page by page, with nothing held while `buf` is touched: it may fault.
fn write_at(object: ObjectId, buf: u64, len: u64, offset: u64) -> isize {
    if len == 0 {
        return 0;
    }
    if !accessible(buf, len, false) {
        return -EFAULT;
    }
    let (seals, size) = mm::with(|space| (space.object_seals(object), space.object_size(object)));
    let Some(end) = offset.checked_add(len).filter(|&end| end <= mm::space::MAX_SIZE) else { return -EFBIG };
    if seals & (SEAL_WRITE | SEAL_FUTURE_WRITE) != 0 || (seals & SEAL_GROW != 0 && end > size) {
        return -EPERM;
    }
    let mut at = offset;
    while at < end {
        let Ok(frame) = mm::with(|space| space.object_page_or_make(object, at / PAGE)) else { break };
        let within = at % PAGE;
        let part = (PAGE - within).min(end - at);
        // SAFETY: `part` bytes from `within` stay in the object's frame, which stays while the caller's
        // descriptor holds the object (one core: nobody closes or cuts it meanwhile); the source was
        // checked above, and is the caller's to answer for where that can't see.
        unsafe {
            let source: *const u8 = core::ptr::with_exposed_provenance((buf + (at - offset)) as usize);
            frame.ptr::<u8>().add(within as usize).copy_from(source, part as usize);
        }
        at += part;
    }
    if at == offset {
        return -ENOMEM;
    }
    if at > size {
        // Only refused by a seal or a limit, both looked at above.
        let grown = mm::with(|space| space.set_object_size(object, at));
        if grown.is_err() {
            return answer(grown.map(|()| 0));
        }
    }
    (at - offset) as isize
}

fn read_at(object: ObjectId, buf: u64, len: u64, offset: u64) -> isize {
    let size = mm::with(|space| space.object_size(object));
    let len = len.min(size.saturating_sub(offset));
    if len == 0 {
        return 0;
    }
    if !accessible(buf, len, true) {
        return -EFAULT;
    }
    let end = offset + len;
    let mut at = offset;
    while at < end {
        let within = at % PAGE;
        let part = (PAGE - within).min(end - at);
        let frame = mm::with(|space| space.object_page(object, at / PAGE));
        // SAFETY: as in `write_at`, the other way round.
        unsafe {
            let target: *mut u8 = core::ptr::with_exposed_provenance_mut((buf + (at - offset)) as usize);
            match frame {
                Some(frame) => target.copy_from(frame.ptr::<u8>().add(within as usize), part as usize),
                None => target.write_bytes(0, part as usize),
            }
        }
        at += part;
    }
    len as isize
}

/// May this memory be read (`write`: written), as far as areas tell?
fn accessible(addr: u64, len: u64, write: bool) -> bool {
    let Some(end) = addr.checked_add(len) else { return false };
    if addr < PAGE {
        return false;
    }
    // A test's buffers are the host's memory.
    end <= ADDRESSES.start || cfg!(test) || mm::with(|space| space.allows(addr, len, write))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::floor::payload;
    use crate::mm::{Access, PhysAddr, arena::Arena, frames::Floor, paging::Tables};

    const RW: u64 = 3;
    const ANON: u64 = MAP_PRIVATE | MAP_ANONYMOUS;
    const NO_FD: u64 = u64::MAX;

    /// The machine's own memory layer, started once; tests take turns.
    fn machine() -> std::sync::MutexGuard<'static, ()> {
        static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
        static START: std::sync::Once = std::sync::Once::new();
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        START.call_once(|| {
            let arena = Box::leak(Box::new(Arena::new(4096)));
            mm::with(|space| {
                // SAFETY: the arena is never freed, the root is a fresh table.
                unsafe {
                    space.frames.add(arena.range());
                    let root = Tables::make(&mut space.frames).unwrap().root();
                    space.init(root);
                }
            });
        });
        turn
    }

    /// Reads a byte as the CPU would: fault, then translate.
    fn peek(addr: u64) -> u8 {
        assert_eq!(mm::fault(addr, Access::Read), FaultOutcome::Resolved);
        // SAFETY: present, so in a frame of the arena.
        unsafe { mm::translate(addr).unwrap().ptr::<u8>().read() }
    }

    fn poke(addr: u64, value: u8) {
        assert_eq!(mm::fault(addr, Access::Write), FaultOutcome::Resolved);
        // SAFETY: as in `peek`; `fault` gave a page that may be written.
        unsafe { mm::translate(addr).unwrap().ptr::<u8>().write(value) };
    }

    fn at(pointer: &[u8]) -> u64 {
        pointer.as_ptr().expose_provenance() as u64
    }

    fn at_mut(pointer: &mut [u8]) -> u64 {
        pointer.as_mut_ptr().expose_provenance() as u64
    }

    #[test]
    fn bad_arguments_get_linux_errnos() {
        let _turn = machine();
        let free = mm::statistics();
        // Far from what other tests have mapped for good (brk's room).
        let base = ADDRESSES.end - (1 << 20);
        for (got, want) in [
            (mmap(0, 0, RW, ANON, NO_FD, 0), -EINVAL),
            (mmap(0, PAGE, RW, ANON, NO_FD, 1), -EINVAL),
            (mmap(0, PAGE, RW, MAP_ANONYMOUS, NO_FD, 0), -EINVAL),
            (mmap(0, PAGE, 7, ANON, NO_FD, 0), -EACCES),
            (mmap(0, PAGE, 6, ANON, NO_FD, 0), -EACCES),
            (mmap(0, PAGE, RW, MAP_PRIVATE, NO_FD, 0), -EBADF),
            (mmap(0, PAGE, RW, MAP_PRIVATE, 77, 0), -EBADF),
            (mmap(0, PAGE, RW, MAP_PRIVATE, 1, 0), -ENODEV),
            (mmap(0, u64::MAX, RW, ANON, NO_FD, 0), -ENOMEM),
            (mmap(0, 1 << 40, RW, ANON, NO_FD, 0), -ENOMEM),
            (mmap(base + 1, PAGE, RW, ANON | MAP_FIXED, NO_FD, 0), -EINVAL),
            (mmap(0x1000, PAGE, RW, ANON | MAP_FIXED, NO_FD, 0), -ENOMEM),
            (mmap(ADDRESSES.end, PAGE, RW, ANON | MAP_FIXED, NO_FD, 0), -ENOMEM),
            (mmap(0, PAGE, RW, ANON | MAP_HUGETLB, NO_FD, 0), -ENOMEM),
            (mmap(0, PAGE, RW, ANON | MAP_GROWSDOWN, NO_FD, 0), -EOPNOTSUPP),
            (mprotect(base, PAGE, 1), -ENOMEM),
            (mprotect(base + 1, PAGE, 1), -EINVAL),
            (mprotect(base, PAGE, 7), -EACCES),
            (mprotect(base, PAGE, 0x100), -EINVAL),
            (mprotect(base, 0, 1), 0),
            (munmap(base, 0), -EINVAL),
            (munmap(base + 1, PAGE), -EINVAL),
            (munmap(0x1000, PAGE), -EINVAL),
            (munmap(base, u64::MAX), -EINVAL),
            (munmap(base, PAGE), 0),
            (mremap(base + 1, PAGE, PAGE, 0, 0), -EINVAL),
            (mremap(base, PAGE, 0, 0, 0), -EINVAL),
            (mremap(base, PAGE, PAGE, 4, 0), -EINVAL),
            (mremap(base, PAGE, PAGE, MREMAP_FIXED, base + PAGE), -EINVAL),
            (mremap(base, PAGE, PAGE, 0, 0), -EFAULT),
            (madvise(base + 1, PAGE, 4), -EINVAL),
            (madvise(base, PAGE, 4), -ENOMEM),
            (madvise(base, PAGE, 99), -EINVAL),
            (madvise(base, PAGE, 3), -ENOMEM),
            (memfd_create(0, 0x100), -EINVAL),
            (memfd_create(0, MFD_EXEC | MFD_NOEXEC_SEAL), -EINVAL),
            (close(3), -EBADF),
            (close(2), -EBADF),
            (close(u64::MAX), -EBADF),
            (write(3, 0, 0), -EBADF),
            (ftruncate(3, 0), -EBADF),
            (fcntl(3, F_GETFD, 0), -EBADF),
            (lseek(3, 0, 0), -EBADF),
        ] {
            assert_eq!(got, want);
        }
        assert_eq!(mm::statistics(), free);
    }

    #[test]
    fn anonymous_memory_lives_through_protect_and_remap() {
        let _turn = machine();
        let before = mm::statistics().free;
        let a = mmap(0, 3 * PAGE, RW, ANON, NO_FD, 0) as u64;
        poke(a + PAGE, 42);
        assert_eq!(mmap(a, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, NO_FD, 0), -17);
        assert_eq!(mprotect(a, 3 * PAGE, 0), 0);
        assert_eq!(mm::fault(a + PAGE, Access::Read), FaultOutcome::Segv { mapped: true });
        assert_eq!(mprotect(a, 3 * PAGE, 1), 0);
        assert_eq!(mm::fault(a + PAGE, Access::Write), FaultOutcome::Segv { mapped: true });
        assert_eq!(peek(a + PAGE), 42);
        assert_eq!(mprotect(a, 3 * PAGE, RW), 0);
        let blocker = mmap(a + 3 * PAGE, PAGE, 0, ANON, NO_FD, 0) as u64;
        assert_eq!(blocker, a + 3 * PAGE, "a hint that is free is taken");
        assert_eq!(mremap(a, 3 * PAGE, 4 * PAGE, 0, 0), -ENOMEM);
        let b = mremap(a, 3 * PAGE, 4 * PAGE, MREMAP_MAYMOVE, 0) as u64;
        assert_eq!((peek(b + PAGE), peek(b + 3 * PAGE)), (42, 0));
        assert_eq!(mm::fault(a, Access::Read), FaultOutcome::Segv { mapped: false });
        assert_eq!(madvise(b, 4 * PAGE, 4), 0);
        assert_eq!(peek(b + PAGE), 0);
        assert_eq!(munmap(b, 4 * PAGE), 0);
        assert_eq!(munmap(blocker, PAGE), 0);
        assert_eq!(mm::statistics().free, before);
    }

    #[test]
    fn an_image_is_mapped_copy_on_write_as_wasmtime_does() {
        let _turn = machine();
        let before = mm::statistics().free;
        let fd = memfd_create(0, MFD_CLOEXEC | MFD_ALLOW_SEALING) as u64;
        let image: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        assert_eq!(write(fd, at(&image), 10_000), 10_000);
        assert_eq!(lseek(fd, 0, 1), 10_000);
        assert_eq!(lseek(fd, -1, 0), -EINVAL);
        assert_eq!(lseek(fd, 4, 2), 10_004);
        assert_eq!(write(fd, 8, 1), -EFAULT);
        assert_eq!(fcntl(fd, F_ADD_SEALS, 0x100), -EINVAL);
        assert_eq!(fcntl(fd, F_ADD_SEALS, 15), 0);
        assert_eq!(fcntl(fd, F_GET_SEALS, 0), 15);
        assert_eq!(fcntl(fd, F_ADD_SEALS, 1), -EPERM);
        assert_eq!(write(fd, at(&image), 1), -EPERM);
        assert_eq!(pwrite(fd, at(&image), 1, 0), -EPERM);
        assert_eq!(ftruncate(fd, 1), -EPERM);
        assert_eq!(ftruncate(fd, 20_000), -EPERM);
        assert_eq!(ftruncate(fd, -1), -EINVAL);
        assert_eq!(mmap(0, PAGE, RW, MAP_SHARED, fd, 0), -EPERM);
        let room = mmap(0, 16 * PAGE, 0, ANON, NO_FD, 0) as u64;
        let maps: Vec<u64> = (0..2)
            .map(|i| mmap(room + i * 4 * PAGE, 3 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) as u64)
            .collect();
        assert_eq!(close(fd), 0);
        poke(maps[0] + 5000, 1);
        assert_eq!(peek(maps[0] + 5001), image[5001], "the rest of the page is copied");
        assert_eq!(peek(maps[1] + 5000), image[5000], "the other does not see it");
        assert_eq!(peek(maps[1] + 10_000), 0, "past the end, within the page");
        assert_eq!(madvise(maps[0], 3 * PAGE, 4), 0);
        assert_eq!(peek(maps[0] + 5000), image[5000], "forgotten: the image again");
        assert_eq!(munmap(room, 16 * PAGE), 0);
        assert_eq!(mm::statistics().free, before);
    }

    /// 40 pages of RAM that are nobody else's; of the last one half is used.
    fn payload() -> &'static [u8] {
        let arena = Box::leak(Box::new(Arena::new(40)));
        let bytes = PhysAddr(arena.range().start).ptr::<u8>();
        // SAFETY: the arena is never freed; its pages are looked at through this and read-only mappings.
        unsafe {
            for i in 0..40 * PAGE as usize {
                bytes.add(i).write((i / 4096) as u8 ^ i as u8);
            }
            core::slice::from_raw_parts(bytes, (40 * PAGE - 2048) as usize)
        }
    }

    #[test]
    fn a_part_of_the_payload_is_mapped_where_it_lies() {
        let _turn = machine();
        let payload = payload();
        let before = mm::statistics();
        let open = |path: &str, flags| payload::open(path.as_bytes(), flags, Some(payload));
        for (path, flags, want) in [
            ("/proc/self/cgroup", 0, -2),
            ("/.lunette/payload/4096", 0, -2),
            ("/.lunette/payload/4095-1", 0, -EINVAL),
            ("/.lunette/payload/4096-157697", 0, -EINVAL),
            ("/.lunette/payload/18446744073709547520-8192", 0, -EINVAL),
            ("/.lunette/payload/4096-157696", 1, -30),
            ("/.lunette/payload/4096-157696", 2, -30),
            ("/.lunette/payload/4096-157696", 0o1000, -30),
        ] {
            assert_eq!(open(path, flags), want, "{path}");
        }
        assert_eq!(payload::open(b"/.lunette/payload/0-1", 0, None), -2);
        assert_eq!(mm::statistics(), before, "what fails holds nothing");

        let fd = open("/.lunette/payload/4096-157696", 0o2_000_000) as u64;
        let mut buf = [0; 10];
        assert_eq!(read(fd, at_mut(&mut buf), 10), 10);
        assert_eq!(buf, payload[4096..4106]);
        assert_eq!(pread(fd, at_mut(&mut buf), 10, 157_690), 6);
        assert_eq!(buf[..6], payload[payload.len() - 6..]);
        assert_eq!((lseek(fd, 0, 2), fcntl(fd, F_GETFL, 0)), (157_696, 0o100_000));
        for (got, want) in [
            (write(fd, at(&buf), 1), -EBADF),
            (pwrite(fd, at(&buf), 1, 0), -EBADF),
            (ftruncate(fd, 0), -EINVAL),
            (fcntl(fd, F_ADD_SEALS, 1), -EINVAL),
            (mmap(0, PAGE, RW, MAP_SHARED, fd, 0), -EACCES),
            (mmap(0, PAGE, 7, MAP_PRIVATE, fd, 0), -EACCES),
            (mmap(0, PAGE, 1, MAP_PRIVATE, fd, 1), -EINVAL),
        ] {
            assert_eq!(got, want);
        }
        let shared = mmap(0, PAGE, 1, MAP_SHARED, fd, 0) as u64;
        assert_eq!(mprotect(shared, PAGE, RW), -EACCES);
        assert_eq!(munmap(shared, PAGE), 0);

        // As wasmtime loads code: all of it writable, then read-only, then the text executable.
        let committed = mm::statistics().committed;
        let code = mmap(0, 157_696, RW, MAP_PRIVATE, fd, 0) as u64;
        assert_eq!(mm::statistics().committed, committed, "looking at a whole file promises no memory");
        assert_eq!(mprotect(code, 157_696, 1), 0);
        assert_eq!(mprotect(code + 8 * PAGE, 4 * PAGE, 5), 0);
        assert_eq!(mprotect(code + 8 * PAGE, 4 * PAGE, 7), -EACCES);
        let lies_at = |offset: u64| Some(PhysAddr(at(payload) + PAGE + offset));
        let free = mm::statistics().free;
        assert_eq!(mm::fault(code + 20 * PAGE, Access::Read), FaultOutcome::Resolved);
        for page in 0..39 {
            let near = (12..32).contains(&page)
                && (code + page * PAGE) / (16 * PAGE) == (code + 20 * PAGE) / (16 * PAGE);
            let found = mm::translate(code + page * PAGE);
            assert_eq!(found, near.then_some(()).and(lies_at(page * PAGE)), "page {page}");
        }
        for page in 0..39 {
            let access = if (8..12).contains(&page) { Access::Execute } else { Access::Read };
            assert_eq!(mm::fault(code + page * PAGE, access), FaultOutcome::Resolved);
            assert_eq!(mm::translate(code + page * PAGE), lies_at(page * PAGE));
        }
        assert!(free - mm::statistics().free <= 3, "tables only");
        assert_eq!(mm::fault(code, Access::Write), FaultOutcome::Segv { mapped: true });
        assert_eq!(mm::fault(code, Access::Execute), FaultOutcome::Segv { mapped: true });
        assert_eq!(peek(code + 39 * PAGE - 1), 39 ^ 0xff, "behind the file: what lies there");
        assert_eq!(mm::fault(code + 39 * PAGE, Access::Read), FaultOutcome::Segv { mapped: false });

        // And as it maps a start image over a part of a memory. That is a promise.
        let memory = mmap(0, 1 << 32, 0, ANON | MAP_NORESERVE, NO_FD, 0) as u64;
        assert_eq!(mprotect(memory, 32 * PAGE, RW), 0);
        let committed = mm::statistics().committed;
        let image = memory + 40 * PAGE;
        assert_eq!(mmap(image, 3 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 10 * PAGE) as u64, image);
        assert_eq!(close(fd), 0);
        assert_eq!(mm::statistics().committed, committed + 3);
        assert_eq!(peek(image + PAGE), payload[12 * 4096]);
        poke(image + PAGE, 77);
        assert_eq!((peek(image + PAGE), payload[12 * 4096]), (77, 12), "the payload is not written");
        assert_eq!(peek(image + PAGE + 1), payload[12 * 4096 + 1], "the rest of the page is copied");
        assert_eq!(madvise(memory, 1 << 32, 4), 0);
        assert_eq!(peek(image + PAGE), 12, "the file's page again");
        assert_eq!(munmap(memory, 1 << 32), 0);
        assert_eq!(munmap(code, 157_696), 0);
        assert_eq!(mm::statistics(), before);
    }

    #[test]
    fn shared_mappings_and_the_file_are_one() {
        let _turn = machine();
        let before = mm::statistics().free;
        let fd = memfd_create(0, 0) as u64;
        assert_eq!(fcntl(fd, F_ADD_SEALS, 1), -EPERM, "not made for sealing");
        assert_eq!(ftruncate(fd, 2 * PAGE as i64 + 100), 0);
        let a = mmap(0, 4 * PAGE, RW, MAP_SHARED, fd, 0) as u64;
        poke(a + PAGE, 9);
        let mut buf = [1u8; 3];
        assert_eq!(pread(fd, at(&buf), 3, PAGE - 1), 3);
        assert_eq!(buf, [0, 9, 0]);
        buf = [5; 3];
        assert_eq!(pwrite(fd, at(&buf), 3, PAGE - 1), 3);
        assert_eq!((peek(a + PAGE - 1), peek(a + PAGE + 1)), (5, 5));
        assert_eq!(mm::fault(a + 3 * PAGE, Access::Read), FaultOutcome::Segv { mapped: true });
        assert_eq!(ftruncate(fd, PAGE as i64), 0);
        assert_eq!(mm::fault(a + PAGE, Access::Read), FaultOutcome::Segv { mapped: true });
        assert_eq!(ftruncate(fd, 2 * PAGE as i64), 0);
        assert_eq!(peek(a + PAGE), 0);
        assert_eq!(close(fd), 0);
        assert_eq!(peek(a + PAGE - 1), 5, "lives while mapped");
        assert_eq!(munmap(a, 4 * PAGE), 0);
        assert_eq!(mm::statistics().free, before);
    }

    #[test]
    fn brk_moves_and_stays_put_when_it_cannot() {
        let _turn = machine();
        let start = brk(0) as u64;
        let before = mm::statistics();
        assert_eq!(brk(start + 5000) as u64, start + 5000);
        poke(start + 4999, 3);
        assert_eq!(mm::fault(start + 8192, Access::Read), FaultOutcome::Segv { mapped: true });
        assert_eq!(brk(start + (1 << 35)) as u64, start + 5000, "more than there is");
        assert_eq!(brk(u64::MAX) as u64, start + 5000);
        assert_eq!(brk(start) as u64, start);
        let after = mm::statistics();
        assert_eq!((after.free, after.committed), (before.free, before.committed));
    }

    #[test]
    fn descriptors_run_out_with_emfile_and_come_back() {
        let _turn = machine();
        let before = mm::statistics().free;
        let all: Vec<isize> = (0..=FDS).map(|_| memfd_create(0, 0)).collect();
        assert_eq!(all[FDS], -EMFILE);
        for (i, &fd) in all[..FDS].iter().enumerate() {
            assert_eq!(fd, i as isize + 3);
            assert_eq!(close(fd as u64), 0);
        }
        assert_eq!(mm::statistics().free, before);
    }

    #[test]
    fn the_machines_helpers_hold() {
        let _turn = machine();
        let before = mm::statistics().free;
        let top = mm::map_stack(10_000).unwrap();
        poke(top - 1, 1);
        poke(top - 3 * PAGE, 1);
        assert_eq!(mm::fault(top - 3 * PAGE - 1, Access::Write), FaultOutcome::Segv { mapped: true });
        mm::unmap_stack(top, 10_000).unwrap();
        assert_eq!(mm::statistics().free, before);
        let a = mmap(0, 8 * PAGE, RW, ANON | MAP_POPULATE, NO_FD, 0) as u64;
        assert!((0..8).all(|i| mm::translate(a + i * PAGE).is_some()));
        assert_eq!(munmap(a, 8 * PAGE), 0);
        let huge = mm::with(|space| space.frames.take_contiguous(1 << 40, PAGE, Floor::Nothing));
        assert_eq!(huge, None);
    }
}
