//! Backtraces of the kernel, with names: by the unwind tables that panics need anyway, through LLVM's
//! libunwind, which comes with std. It can start from the registers of a fault, so a trap's backtrace is
//! that of the code that trapped.

use core::ffi::c_int;

use crate::{arch::traps::Frame, boot, cold, console::log, symbols::Symbols};

const MAX_FRAMES: usize = 48;
const REGISTER_IP: c_int = -1;

/// libunwind's `Registers_x86_64` (src/Registers.hpp), with room for what else a context holds.
#[repr(C, align(16))]
struct Context {
    rax: u64,
    rbx: u64,
    rcx: u64,
    rdx: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rsp: u64,
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rip: u64,
    rflags: u64,
    rest: [u64; 14],
}

/// `unw_cursor_t`: its size is libunwind's business; this is more than it takes (27 words).
#[repr(C, align(16))]
struct Cursor([u64; 64]);

unsafe extern "C" {
    fn unw_getcontext(context: *mut Context) -> c_int;
    fn unw_init_local(cursor: *mut Cursor, context: *mut Context) -> c_int;
    fn unw_step(cursor: *mut Cursor) -> c_int;
    fn unw_get_reg(cursor: *mut Cursor, register: c_int, value: *mut u64) -> c_int;
}

/// Prints the backtrace of interrupted code.
pub(crate) fn print_from(frame: &Frame) {
    let mut context = Context {
        rax: frame.rax,
        rbx: frame.rbx,
        rcx: frame.rcx,
        rdx: frame.rdx,
        rdi: frame.rdi,
        rsi: frame.rsi,
        rbp: frame.rbp,
        rsp: frame.rsp,
        r8: frame.r8,
        r9: frame.r9,
        r10: frame.r10,
        r11: frame.r11,
        r12: frame.r12,
        r13: frame.r13,
        r14: frame.r14,
        r15: frame.r15,
        rip: frame.rip,
        rflags: frame.rflags,
        rest: [0; 14],
    };
    print_context(&mut context);
}

/// Prints the backtrace of whoever calls.
pub(crate) fn print_here() {
    // SAFETY: all zeros is a value of this type; libunwind then fills in the caller's registers.
    let mut context: Context = unsafe { core::mem::zeroed() };
    // SAFETY: the context has room for all of them.
    unsafe { unw_getcontext(&mut context) };
    print_context(&mut context);
}

fn print_context(context: &mut Context) {
    let mut cursor = Cursor([0; 64]);
    // SAFETY: cursor and context have the room that libunwind wants. A damaged stack can make it read
    // anywhere: the second fault that gives is caught by `traps::die`.
    unsafe {
        if unw_init_local(&mut cursor, context) != 0 {
            return;
        }
        for i in 0..MAX_FRAMES {
            let mut ip = 0;
            if unw_get_reg(&mut cursor, REGISTER_IP, &mut ip) != 0 || ip == 0 {
                return;
            }
            print_frame(i, ip);
            if unw_step(&mut cursor) <= 0 {
                return;
            }
        }
    }
    log!(error, "  … and more");
}

fn print_frame(i: usize, ip: u64) {
    let image = boot::image();
    let name = cold::names()
        .and_then(Symbols::parse)
        .filter(|_| image.contains(&ip))
        .and_then(|symbols| symbols.find((ip - image.start) as u32));
    match name {
        Some((name, into)) => log!(error, "  {i:2}: {ip:#x} {name}+{into:#x}"),
        None => log!(error, "  {i:2}: {ip:#x}"),
    }
}
