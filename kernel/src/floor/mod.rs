//! The floor: the few Linux system calls that Rust's std, musl and the engines stand on, answered at
//! ring 0. All of them are on this page.
//!
//! It is not a POSIX layer, and no app can reach it: apps have host calls only. An unknown call is logged
//! by its number once and answered ENOSYS. Arguments come from code that is linked into the image, so
//! pointers are trusted as those of any function call are.

pub mod memory;
pub mod payload;

// Where there is a C library whose own these stand in for, and where they are tried.
#[cfg(any(all(target_env = "musl", not(test)), all(test, target_arch = "x86_64", not(miri))))]
mod bytes;
#[cfg(any(target_env = "musl", target_os = "none"))]
pub(crate) mod signals;
#[cfg(any(target_env = "musl", target_os = "none"))]
pub(crate) mod start;

#[cfg(any(target_env = "musl", target_os = "none"))]
pub(crate) use dispatch::enter;

#[cfg(any(target_env = "musl", target_os = "none"))]
mod dispatch {
    use core::{
        ffi::CStr,
        slice,
        sync::atomic::{AtomicU64, Ordering::Relaxed},
    };

    use embedded_io::Write;

    use super::{memory, payload, signals};
    use crate::{
        arch::cpu,
        boot,
        console::{Channel, log},
        platform, services, time,
    };

    const EAGAIN: isize = -11;
    const EINVAL: isize = -22;
    const ENOTTY: isize = -25;
    const ENOSYS: isize = -38;

    const IA32_FS_BASE: u32 = 0xc000_0100;
    const ARCH_SET_FS: u64 = 0x1002;
    const SIGABRT: u64 = 6;

    /// The arguments as traps.s pushed them, the first one last.
    #[repr(C)]
    pub(crate) struct Args {
        r10: u64,
        r9: u64,
        r8: u64,
        rdx: u64,
        rsi: u64,
        rdi: u64,
    }

    /// One floor call. Numbers are those of Linux on x86-64.
    pub(crate) extern "C" fn enter(args: &Args, number: u32) -> isize {
        let (a, b, c, d, e, f) = (args.rdi, args.rsi, args.rdx, args.r10, args.r8, args.r9);
        match number {
            1 => write(a, b, c),
            2 => payload::open(path(a), b, boot::info().payload),
            3 => memory::close(a),
            5 => payload::fstat(a, b),
            7 => 0, // poll: std asks at start whether descriptors 0 to 2 are open. They are.
            0 => memory::read(a, b, c),
            8 => memory::lseek(a, b as i64, c),
            9 => memory::mmap(a, b, c, d, e, f),
            10 => memory::mprotect(a, b, c),
            11 => memory::munmap(a, b),
            12 => memory::brk(a),
            13 => signals::action(a, b, c, d),
            14 => signals::mask(a, b, c, d),
            16 => ENOTTY,
            17 => memory::pread(a, b, c, d),
            18 => pwrite(a, b, c, d),
            20 => writev(a, b, c),
            24 => 0, // sched_yield: there is nobody to give way to
            25 => memory::mremap(a, b, c, d, e),
            28 => memory::madvise(a, b, c),
            35 => nanosleep(a, false),
            39 | 186 => 1, // getpid, gettid
            56 => EAGAIN,  // clone: one core, no threads
            60 | 231 => exit(a),
            72 => memory::fcntl(a, b, c),
            77 => memory::ftruncate(a, b as i64),
            131 => signals::alternate_stack(a, b),
            158 => arch_prctl(a, b),
            200 => kill(b),
            202 => futex(a, b, c),
            204 => sched_getaffinity(b, c),
            218 => 1, // set_tid_address
            228 => clock_gettime(a, b),
            230 => nanosleep(c, b & 1 != 0), // clock_nanosleep, TIMER_ABSTIME
            234 => kill(c),
            262 => payload::fstatat(a, path(b), c, d),
            318 => getrandom(a, b, c),
            319 => memory::memfd_create(a, b),
            332 => payload::statx(a, path(b), c, e),
            _ => unknown(number),
        }
    }

    #[cold]
    fn unknown(number: u32) -> isize {
        static SEEN: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
        let (word, bit) = ((number / 64) as usize, number % 64);
        if SEEN.get(word).is_none_or(|seen| seen.fetch_or(1 << bit, Relaxed) & 1 << bit == 0) {
            log!(warn, "floor: no system call {number}: answered ENOSYS");
        }
        ENOSYS
    }

    /// A path, without its NUL; none is the empty one.
    fn path<'a>(at: u64) -> &'a [u8] {
        match at {
            0 => &[],
            // SAFETY: the caller's own C string, which lasts for the call.
            _ => unsafe { CStr::from_ptr(core::ptr::with_exposed_provenance(at as usize)) }.to_bytes(),
        }
    }

    fn write(fd: u64, buf: u64, len: u64) -> isize {
        match fd {
            // What std itself prints (a panic before our hook is there) goes to the log.
            1 | 2 => {
                // SAFETY: the caller's own buffer, as for any function.
                let bytes = unsafe {
                    slice::from_raw_parts(core::ptr::with_exposed_provenance(buf as usize), len as usize)
                };
                let Ok(()) = Channel::Stderr.write_all(bytes);
                len as isize
            }
            _ => memory::write(fd, buf, len),
        }
    }

    fn pwrite(fd: u64, buf: u64, len: u64, offset: u64) -> isize {
        memory::pwrite(fd, buf, len, offset)
    }

    fn writev(fd: u64, vectors: u64, count: u64) -> isize {
        // SAFETY: the caller's own array of `struct iovec`.
        let vectors = unsafe {
            slice::from_raw_parts(
                core::ptr::with_exposed_provenance::<[u64; 2]>(vectors as usize),
                count.min(1024) as usize,
            )
        };
        let mut total = 0;
        for &[base, len] in vectors {
            match write(fd, base, len) {
                n if n < 0 => return if total > 0 { total } else { n },
                n => total += n,
            }
        }
        total
    }

    fn exit(code: u64) -> ! {
        // The image ends a run by its farewell; std's own exit is nobody's plan.
        platform::panicked(format_args!("the image's main returned with {code}"))
    }

    fn kill(signal: u64) -> isize {
        if signal == SIGABRT {
            platform::aborted()
        }
        EINVAL
    }

    fn arch_prctl(what: u64, value: u64) -> isize {
        if what != ARCH_SET_FS {
            return EINVAL;
        }
        // SAFETY: musl sets its thread pointer; nothing in the kernel uses FS.
        unsafe { cpu::write_msr(IA32_FS_BASE, value) };
        0
    }

    /// Wake-ups have nobody to wake. A wait can only be a deadlock on one core, so it ends with words.
    fn futex(word: u64, operation: u64, expected: u64) -> isize {
        const WAIT: u64 = 0;
        const WAIT_BITSET: u64 = 9;
        match operation & 0x7f {
            WAIT | WAIT_BITSET => {
                // SAFETY: the caller's own futex word.
                let now = unsafe { core::ptr::with_exposed_provenance::<u32>(word as usize).read_volatile() };
                if u64::from(now) != expected {
                    return EAGAIN;
                }
                platform::panicked(format_args!("a lock is waited for that nobody can release"))
            }
            _ => 0,
        }
    }

    fn sched_getaffinity(len: u64, mask: u64) -> isize {
        if len < 8 {
            return EINVAL;
        }
        // SAFETY: the caller's own mask of at least 8 bytes.
        unsafe { core::ptr::with_exposed_provenance_mut::<u64>(mask as usize).write_unaligned(1) };
        8
    }

    fn clock_gettime(clock: u64, at: u64) -> isize {
        let nanos = match clock {
            0 | 5 => time::wall().unwrap_or(0), // realtime, and its coarse sister
            1 | 4 | 6 | 7 => time::monotonic(),
            2 | 3 => time::monotonic(), // CPU time: there is one process and it has the CPU
            _ => return EINVAL,
        };
        // SAFETY: the caller's own `struct timespec`.
        unsafe {
            core::ptr::with_exposed_provenance_mut::<[u64; 2]>(at as usize)
                .write_unaligned([nanos / 1_000_000_000, nanos % 1_000_000_000]);
        }
        0
    }

    /// Sleeps by the monotonic clock, whichever was named.
    fn nanosleep(at: u64, absolute: bool) -> isize {
        // SAFETY: the caller's own `struct timespec`.
        let [seconds, nanos] =
            unsafe { core::ptr::with_exposed_provenance::<[u64; 2]>(at as usize).read_unaligned() };
        if nanos >= 1_000_000_000 {
            return EINVAL;
        }
        let base = if absolute { 0 } else { time::monotonic() };
        let until = seconds.saturating_mul(1_000_000_000).saturating_add(nanos).saturating_add(base);
        while time::monotonic() < until {
            time::sleep(Some(until));
        }
        0
    }

    fn getrandom(buf: u64, len: u64, flags: u64) -> isize {
        const GRND_INSECURE: u64 = 4;
        // SAFETY: the caller's own buffer.
        let buf = unsafe {
            slice::from_raw_parts_mut(
                core::ptr::with_exposed_provenance_mut::<u8>(buf as usize),
                len as usize,
            )
        };
        if flags & GRND_INSECURE != 0 {
            services::insecure_random(buf);
            return len as isize;
        }
        if services::random(buf) { len as isize } else { EAGAIN }
    }
}
