//! The way into `main`: the stack that the System V ABI wants a process to find (AMD64 supplement,
//! figure 3.9), then musl's own `_start`.

use core::{
    arch::asm,
    ffi::c_void,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::signals;
use crate::{arch::cpu, mm};

/// The main stack: demand-zero, with a hole below it.
const STACK: u64 = 8 << 20;
/// Its lowest address, once it is there.
static STACK_BOTTOM: AtomicU64 = AtomicU64::new(0);

/// Does a fault at this address mean that a stack overflowed? (musl gives std no guard for the main one.)
pub(crate) fn in_guard(address: u64) -> bool {
    let bottom = STACK_BOTTOM.load(Relaxed);
    (bottom.saturating_sub(4096)..bottom).contains(&address)
}

/// Where the program headers are that musl and libunwind read, once `main` runs.
static HEADERS: AtomicU64 = AtomicU64::new(0);
const HEADER_COUNT: u16 = 3;

/// The image's program headers, as a process finds them.
pub(crate) fn program_headers() -> Option<(*const c_void, u16)> {
    let at = HEADERS.load(Relaxed);
    (at != 0).then(|| (core::ptr::with_exposed_provenance(at as usize), HEADER_COUNT))
}

const AT_NULL: u64 = 0;
const AT_PHDR: u64 = 3;
const AT_PHENT: u64 = 4;
const AT_PHNUM: u64 = 5;
const AT_PAGESZ: u64 = 6;
const AT_SECURE: u64 = 23;
const AT_RANDOM: u64 = 25;

const PT_LOAD: u32 = 1;
const PT_TLS: u32 = 7;
const PT_GNU_EH_FRAME: u32 = 0x6474_e550;

/// `Elf64_Phdr`. Linked at virtual = physical, so there is no bias for musl to find.
#[repr(C)]
#[derive(Clone, Copy)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    virtual_address: u64,
    physical_address: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

unsafe extern "C" {
    static image_start: u8;
    static data_end: u8;
    static tls_start: u8;
    static tls_file_end: u8;
    static tls_end: u8;
    static eh_frame_header: u8;
    static eh_frame_header_end: u8;
    fn _start() -> !;
}

/// Leaves the boot stack for good.
///
/// # Safety
/// Once, when everything that a floor call needs is set up.
pub(crate) unsafe fn enter_main() -> ! {
    let at = |symbol: *const u8| symbol.addr() as u64;
    let header = |kind, start: *const u8, file_end: *const u8, end: *const u8, align| ProgramHeader {
        kind,
        flags: 4,
        offset: 0,
        virtual_address: at(start),
        physical_address: at(start),
        file_size: at(file_end) - at(start),
        memory_size: at(end) - at(start),
        align,
    };
    let headers: [_; HEADER_COUNT as usize] = [
        header(PT_LOAD, &raw const image_start, &raw const data_end, &raw const data_end, 4096),
        header(PT_TLS, &raw const tls_start, &raw const tls_file_end, &raw const tls_end, 64),
        header(
            PT_GNU_EH_FRAME,
            &raw const eh_frame_header,
            &raw const eh_frame_header_end,
            &raw const eh_frame_header_end,
            4,
        ),
    ];
    let stacks = mm::map_stack(signals::STACK).and_then(|signals| Ok((signals, mm::map_stack(STACK)?)));
    let Ok((signals, top)) = stacks else {
        crate::platform::refuse(format_args!(
            "not enough memory for the kernel's stack; help: give the VM more (-m)"
        ))
    };
    signals::set_stack(signals - signals::STACK);
    STACK_BOTTOM.store(top - STACK, Relaxed);
    // musl's stack protector value: not a secret in ring 0, only different each time.
    let random = [cpu::tsc(), cpu::rdrand().unwrap_or_else(|| cpu::tsc().rotate_left(32))];

    // From the top down: program name, random bytes, program headers; then what RSP points at.
    let headers_at = top - 64 - size_of_val(&headers) as u64;
    HEADERS.store(headers_at, Relaxed);
    let random_at = top - 32;
    let name_at = top - 64;
    let vector: [u64; 19] = [
        1,
        name_at,
        0, // argc, argv
        0, // environment
        AT_PHDR,
        headers_at,
        AT_PHENT,
        size_of::<ProgramHeader>() as u64,
        AT_PHNUM,
        headers.len() as u64,
        AT_PAGESZ,
        4096,
        AT_SECURE,
        0,
        AT_RANDOM,
        random_at,
        AT_NULL,
        0,
        0,
    ];
    let stack = (headers_at - size_of_val(&vector) as u64) & !15;
    // SAFETY: all of it lies in the stack that was mapped just now; `_start` is musl's and finds what it wants.
    unsafe {
        let to = |address: u64| core::ptr::with_exposed_provenance_mut::<u8>(address as usize);
        to(name_at).cast::<[u8; 8]>().write(*b"lunette\0");
        to(random_at).cast::<[u64; 2]>().write(random);
        to(headers_at).cast::<[ProgramHeader; 3]>().write_unaligned(headers);
        to(stack).cast::<[u64; 19]>().write(vector);
        asm!("mov rsp, {}", "xor ebp, ebp", "xor edx, edx", "jmp {}", in(reg) stack, sym _start, options(noreturn))
    }
}
