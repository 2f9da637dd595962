//! Faults as signals, the way wasmtime uses them: a handler that changes where execution goes on.

use std::{
    mem, ptr,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use lunette_kernel::arch::{apic, traps};

use crate::{
    Check,
    memory::{anonymous_memory, map, unmap},
};

pub(crate) const CHECKS: &[Check] = &[
    ("a load from a guard page is a SIGSEGV with its address", guard_page),
    ("a null pointer faults", null_pointer),
    ("an illegal instruction is a SIGILL", illegal_instruction),
    ("a division by zero is a SIGFPE", division),
    ("the SSE registers survive faults and floor calls", sse),
    ("the AVX registers survive faults, floor calls and ticks", avx),
    ("ten thousand faults leave no trace", many),
];

/// Where the handler sends execution on, what it saw.
static RESUME: AtomicUsize = AtomicUsize::new(0);
static SEEN: AtomicU64 = AtomicU64::new(0);
static ADDRESS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handler(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands over a siginfo and a ucontext; changing RIP is what this test is about.
    unsafe {
        ADDRESS.store((*info).si_addr().addr(), Relaxed);
        let context = &mut *context.cast::<libc::ucontext_t>();
        context.uc_mcontext.gregs[libc::REG_RIP as usize] = RESUME.load(Relaxed) as i64;
    }
    SEEN.store(signal as u64, Relaxed);
}

/// Installs the handler for the time of `body`; std's own comes back afterwards.
fn with_handler(signal: i32, body: impl FnOnce()) {
    // SAFETY: a handler that is async-signal-safe, and a structure that is zero where it may be.
    unsafe {
        let mut new: libc::sigaction = mem::zeroed();
        let mut old: libc::sigaction = mem::zeroed();
        new.sa_sigaction = handler as *const () as usize;
        new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
        assert_eq!(libc::sigaction(signal, &new, &mut old), 0);
        SEEN.store(0, Relaxed);
        body();
        assert_eq!(libc::sigaction(signal, &old, ptr::null_mut()), 0);
    }
    assert_eq!(SEEN.load(Relaxed), signal as u64, "the handler ran");
}

/// Loads from `address`, with the handler sending execution to just behind the load.
fn load(address: usize) -> u64 {
    let mut value: u64 = 0x5eed;
    // SAFETY: either the load succeeds, or the handler goes on at label 2 with the registers as they are.
    unsafe {
        std::arch::asm!(
            "lea {resume}, [rip + 2f]",
            "mov [{slot}], {resume}",
            "mov {value}, [{address}]",
            "2:",
            resume = out(reg) _,
            slot = in(reg) RESUME.as_ptr(),
            value = inout(reg) value,
            address = in(reg) address,
        );
    }
    value
}

fn guard_page() {
    let at = map(3 * 4096, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1);
    with_handler(libc::SIGSEGV, || assert_eq!(load(at.addr() + 5000), 0x5eed));
    assert_eq!(ADDRESS.load(Relaxed), at.addr() + 5000);
    unmap(at, 3 * 4096);
    with_handler(libc::SIGSEGV, || assert_eq!(load(at.addr()), 0x5eed));
}

fn null_pointer() {
    with_handler(libc::SIGSEGV, || assert_eq!(load(0), 0x5eed));
    with_handler(libc::SIGSEGV, || assert_eq!(load(0xff8), 0x5eed));
}

fn illegal_instruction() {
    with_handler(libc::SIGILL, || {
        // SAFETY: the handler goes on at label 2.
        unsafe {
            std::arch::asm!("lea {r}, [rip + 2f]", "mov [{slot}], {r}", "ud2", "2:", r = out(reg) _,
                slot = in(reg) RESUME.as_ptr());
        }
    });
}

fn division() {
    with_handler(libc::SIGFPE, || {
        // SAFETY: as above; RAX and RDX are given up.
        unsafe {
            std::arch::asm!("lea {r}, [rip + 2f]", "mov [{slot}], {r}", "xor edx, edx", "div {zero}", "2:",
                r = out(reg) _, slot = in(reg) RESUME.as_ptr(), zero = in(reg) 0_u64, out("rax") _, out("rdx") _);
        }
    });
}

fn sse() {
    let fresh = anonymous_memory(4096);
    let (low, high): (u64, u64);
    // SAFETY: touches our own fresh page (a page fault) and makes a floor call that has no effect (gettid);
    // all that either may change is declared.
    unsafe {
        std::arch::asm!(
            "mov rax, 0x1122334455667788",
            "movq xmm0, rax",
            "movq xmm15, rax",
            "mov byte ptr [{fresh}], 1",
            "mov eax, 186",
            "syscall",
            "movq {low}, xmm0",
            "movq {high}, xmm15",
            fresh = in(reg) fresh,
            low = out(reg) low,
            high = out(reg) high,
            out("rax") _, out("rcx") _, out("r11") _, out("xmm0") _, out("xmm15") _,
        );
    }
    assert_eq!((low, high), (0x1122_3344_5566_7788, 0x1122_3344_5566_7788));
    unmap(fresh, 4096);
}

/// Booted with `lunette.avx`; the machines that xtask boots have AVX.
fn avx() {
    assert!(is_x86_feature_detected!("avx"), "not switched on");
    let fresh = anonymous_memory(4096);
    let pattern: [u64; 4] = [1, 2, 3, 0x1122_3344_5566_7788];
    let mut found = [[0_u64; 4]; 2];
    let before = traps::ticks();
    apic::start_tick(100_000);
    // SAFETY: AVX is there; touches our own fresh page (a page fault), makes a floor call that has no effect (gettid),
    // and counts long enough for ticks to come; all that any of it may change is declared.
    unsafe {
        std::arch::asm!(
            "vmovdqu ymm0, [{pattern}]",
            "vmovdqu ymm15, [{pattern}]",
            "mov byte ptr [{fresh}], 1",
            "mov eax, 186",
            "syscall",
            "mov ecx, 20000000",
            "2: dec ecx",
            "jnz 2b",
            "vmovdqu [{found}], ymm0",
            "vmovdqu [{found} + 32], ymm15",
            "vzeroupper",
            pattern = in(reg) pattern.as_ptr(),
            fresh = in(reg) fresh,
            found = in(reg) found.as_mut_ptr(),
            out("rax") _, out("rcx") _, out("r11") _, out("xmm0") _, out("xmm15") _,
        );
    }
    apic::stop_tick();
    assert!(traps::ticks() > before, "no tick came");
    assert_eq!(found, [pattern; 2]);
    unmap(fresh, 4096);
}

fn many() {
    for i in 0..10_000 {
        with_handler(libc::SIGSEGV, || assert_eq!(load(i % 4096), 0x5eed));
    }
}
