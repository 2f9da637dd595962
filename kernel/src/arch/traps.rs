//! Exceptions and interrupts: what each does. The entry points are in traps.s.
//!
//! A page fault is first offered to the memory manager; what it will not mend, and the other exceptions
//! that compiled guest code can raise, become signals of the floor. What nobody handles is the kernel's
//! end: registers, a backtrace with names, and a farewell.

use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use x86_64::{
    VirtAddr,
    registers::{
        control::{Cr2, Efer, EferFlags},
        model_specific::{LStar, SFMask, Star},
        rflags::RFlags,
    },
    structures::DescriptorTablePointer,
};

use super::{Ist, apic};
use crate::{
    cell::StaticCell,
    console::log,
    floor::{self, signals},
    mm::{self, Access, FaultOutcome},
    platform,
};

core::arch::global_asm!(
    include_str!("traps.s"),
    trap = sym trap,
    floor = sym floor::enter,
    ticks = sym TICKS,
    hook = sym HOOK,
);

unsafe extern "C" {
    static trap_entries: u8;
    fn tick_entry();
    fn floor_entry();
}

static TICKS: AtomicU64 = AtomicU64::new(0);
/// What each tick calls: an `extern "C" fn()`, or 0. traps.s reads it.
static HOOK: AtomicUsize = AtomicUsize::new(0);

/// Timer ticks so far.
pub fn ticks() -> u64 {
    TICKS.load(Relaxed)
}

/// Has each tick call `hook`, on the tick's stack, with interrupts off: see [`crate::time::on_tick`].
pub(crate) fn set_tick_hook(hook: Option<extern "C" fn()>) {
    HOOK.store(hook.map_or(0, |hook| hook as usize), Relaxed);
}

/// What a tick does beside being counted. With interrupts off.
pub(crate) fn call_tick_hook() {
    let hook = HOOK.load(Relaxed);
    if hook != 0 {
        // SAFETY: `set_tick_hook` stored a function of this type.
        let hook = unsafe { core::mem::transmute::<usize, extern "C" fn()>(hook) };
        hook();
    }
}

/// The interrupted registers, in the order of Linux' `gregset_t` as far as `rcx`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) r8: u64,
    pub(crate) r9: u64,
    pub(crate) r10: u64,
    pub(crate) r11: u64,
    pub(crate) r12: u64,
    pub(crate) r13: u64,
    pub(crate) r14: u64,
    pub(crate) r15: u64,
    pub(crate) rdi: u64,
    pub(crate) rsi: u64,
    pub(crate) rbp: u64,
    pub(crate) rbx: u64,
    pub(crate) rdx: u64,
    pub(crate) rax: u64,
    pub(crate) rcx: u64,
    pub(crate) vector: u64,
    pub(crate) error: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

/// The x87 and SSE state as FXSAVE lays it out.
#[repr(C, align(16))]
pub(crate) struct FxState(pub(crate) [u8; 512]);

mod vector {
    pub(super) const DIVIDE: u64 = 0;
    pub(super) const NMI: u64 = 2;
    pub(super) const INVALID_OPCODE: u64 = 6;
    pub(super) const DOUBLE_FAULT: u64 = 8;
    pub(super) const GENERAL_PROTECTION: u64 = 13;
    pub(super) const PAGE_FAULT: u64 = 14;
}

static IDT: StaticCell<[u128; 256]> = StaticCell::new([0; 256]);

/// A 64-bit interrupt gate (Intel SDM vol. 3, figure 7-8).
const fn gate(handler: u64, ist: Ist) -> u128 {
    let low = (handler & 0xffff)
        | (8 << 16)
        | ((ist as u64 + 1) << 32)
        | (0x8e << 40)
        | ((handler >> 16 & 0xffff) << 48);
    low as u128 | ((handler >> 32) as u128) << 64
}

/// # Safety
/// Once, at boot, after the IST stacks are there.
pub(super) unsafe fn init() {
    // SAFETY: nothing else looks at the table before it is loaded.
    let idt = unsafe { &mut *IDT.get() };
    let entries = (&raw const trap_entries).addr() as u64;
    for (i, entry) in idt.iter_mut().take(64).enumerate() {
        let ist = match i as u64 {
            vector::PAGE_FAULT => Ist::PageFault,
            vector::DOUBLE_FAULT => Ist::DoubleFault,
            vector::NMI => Ist::Nmi,
            v if v < 32 => Ist::Exception,
            _ => Ist::Device,
        };
        *entry = gate(entries + 16 * i as u64, ist);
    }
    idt[usize::from(apic::TICK_VECTOR)] = gate(tick_entry as *const () as u64, Ist::Tick);
    // A spurious interrupt asks for nothing, not even an acknowledgement: the wake vector's path will do.
    idt[usize::from(apic::SPURIOUS_VECTOR)] = gate(entries + 16 * 0x3f, Ist::Device);
    let pointer =
        DescriptorTablePointer { limit: (size_of_val(idt) - 1) as u16, base: VirtAddr::from_ptr(idt) };
    // SAFETY: the table is static and its gates lead to traps.s; the floor's entry likewise. Both selectors
    // in STAR are ours; SYSRET, which alone uses the upper one, is never executed.
    unsafe {
        x86_64::instructions::tables::lidt(&pointer);
        Efer::update(|flags| flags.insert(EferFlags::SYSTEM_CALL_EXTENSIONS));
        Star::write_raw(16, 8);
        LStar::write(VirtAddr::new(floor_entry as *const () as u64));
        SFMask::write(RFlags::DIRECTION_FLAG | RFlags::TRAP_FLAG);
    }
}

/// Every trap but the tick comes here, on its IST stack, with interrupts off.
extern "C" fn trap(frame: &mut Frame, fx: &mut FxState) {
    match frame.vector {
        vector::PAGE_FAULT => page_fault(frame, fx),
        vector::NMI => platform::stop_requested(),
        vector::DIVIDE => signal(frame, fx, signals::SIGFPE, 1, frame.rip),
        vector::INVALID_OPCODE => signal(frame, fx, signals::SIGILL, 2, frame.rip),
        vector::GENERAL_PROTECTION => signal(frame, fx, signals::SIGSEGV, 128, 0),
        v if v < 32 => die(frame, "exception"),
        0x3f => {}
        vector => apic::interrupted(vector as u8),
    }
}

fn page_fault(frame: &mut Frame, fx: &mut FxState) {
    let address = Cr2::read_raw();
    let access = match frame.error {
        e if e & 0x10 != 0 => Access::Execute,
        e if e & 2 != 0 => Access::Write,
        _ => Access::Read,
    };
    match mm::fault(address, access) {
        FaultOutcome::Resolved => {}
        FaultOutcome::OutOfMemory => platform::out_of_memory("a page was needed and none is left"),
        FaultOutcome::Segv { .. } if floor::start::in_guard(address) => die(frame, "kernel stack overflow"),
        FaultOutcome::Segv { mapped } => {
            signal(frame, fx, signals::SIGSEGV, if mapped { 2 } else { 1 }, address);
        }
    }
}

fn signal(frame: &mut Frame, fx: &mut FxState, number: u32, code: i32, address: u64) {
    if !signals::deliver(frame, fx, number, code, address) {
        die(frame, "exception that nothing handles");
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15, .. } = self;
        writeln!(
            f,
            "  rip {:016x}  rflags {:x}  vector {}  error {:x}",
            self.rip, self.rflags, self.vector, self.error
        )?;
        writeln!(f, "  rax {rax:016x}  rbx {rbx:016x}  rcx {rcx:016x}  rdx {rdx:016x}")?;
        writeln!(f, "  rsi {rsi:016x}  rdi {rdi:016x}  rbp {rbp:016x}  rsp {rsp:016x}")?;
        writeln!(f, "  r8  {r8:016x}  r9  {r9:016x}  r10 {r10:016x}  r11 {r11:016x}")?;
        write!(f, "  r12 {r12:016x}  r13 {r13:016x}  r14 {r14:016x}  r15 {r15:016x}")
    }
}

fn name(vector: u64) -> &'static str {
    match vector {
        vector::DIVIDE => "divide error",
        vector::INVALID_OPCODE => "invalid opcode",
        vector::DOUBLE_FAULT => "double fault",
        vector::GENERAL_PROTECTION => "general protection fault",
        vector::PAGE_FAULT => "page fault",
        _ => "trap",
    }
}

/// The kernel's end: says what is known, and switches the machine off.
pub(crate) fn die(frame: &Frame, what: &str) -> ! {
    static DYING: AtomicBool = AtomicBool::new(false);
    if DYING.swap(true, Relaxed) {
        // The words themselves failed. Be short.
        platform::end(&lunette_hostcalls::farewell::Farewell::Panic(
            "a second fault while reporting the first".into(),
        ));
    }
    let address = Cr2::read_raw();
    log!(error, "kernel: {what}: {} at {:#x}, address {address:#x}\n{frame}", name(frame.vector), frame.rip);
    crate::backtrace::print_from(frame);
    platform::panicked(format_args!("{what}: {} at {:#x}", name(frame.vector), frame.rip))
}
