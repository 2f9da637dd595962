//! Signals for faults: SIGSEGV, SIGILL, SIGFPE and SIGBUS, delivered as Linux on x86-64 does, so that
//! wasmtime's traps and std's stack-overflow words work as upstream wrote them.
//!
//! Frame, downwards from the alternate stack's top (or below the red zone): FXSAVE area, siginfo, ucontext,
//! return address. The handler may change the registers in the ucontext; `rt_sigreturn` (traps.s) loads
//! them. No other signals, no queues, no nesting of the same one.

use crate::{
    arch::traps::{Frame, FxState},
    cell::StaticCell,
    mm::{self, Access, FaultOutcome},
};

pub(crate) const SIGILL: u32 = 4;
pub(crate) const SIGFPE: u32 = 8;
pub(crate) const SIGSEGV: u32 = 11;
const SIGNALS: usize = 65;

const SIG_IGN: usize = 1;
const SA_ONSTACK: u64 = 0x0800_0000;
const SS_DISABLE: i32 = 2;
const EINVAL: isize = -22;
const ENOMEM: isize = -12;
const MIN_STACK: usize = 2048;

/// The alternate stack that there is from the start: as large as wasmtime wants it, so that neither std nor wasmtime maps one of
/// its own at each boot. Only what is used of it takes memory.
pub(super) const STACK: u64 = 256 << 10;

/// `struct kernel_sigaction`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

/// `stack_t`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Stack {
    base: usize,
    flags: i32,
    size: usize,
}

struct State {
    actions: [Action; SIGNALS],
    stack: Stack,
    mask: u64,
}

static STATE: StaticCell<State> = StaticCell::new(State {
    actions: [Action { handler: 0, flags: 0, restorer: 0, mask: 0 }; SIGNALS],
    stack: Stack { base: 0, flags: SS_DISABLE, size: 0 },
    mask: 0,
});

fn state() -> &'static mut State {
    // SAFETY: one core. A fault handler reads it while no floor call is changing it, for floor calls raise
    // no signals of their own; the borrow ends within each function here.
    unsafe { &mut *STATE.get() }
}

/// Handlers run on the `STACK` bytes from `base` on, until somebody says otherwise.
pub(super) fn set_stack(base: u64) {
    state().stack = Stack { base: base as usize, flags: 0, size: STACK as usize };
}

fn pointer<T>(address: u64) -> Option<*mut T> {
    (address != 0).then(|| core::ptr::with_exposed_provenance_mut(address as usize))
}

/// rt_sigaction(signal, new, old, sigset size).
pub(super) fn action(signal: u64, new: u64, old: u64, set_size: u64) -> isize {
    if set_size != 8 || signal == 0 || signal >= SIGNALS as u64 || signal == 9 || signal == 19 {
        return EINVAL;
    }
    let slot = &mut state().actions[signal as usize];
    // SAFETY: the caller's own structures.
    unsafe {
        if let Some(old) = pointer::<Action>(old) {
            old.write_unaligned(*slot);
        }
        if let Some(new) = pointer::<Action>(new) {
            *slot = new.read_unaligned();
        }
    }
    0
}

/// rt_sigprocmask(how, new, old, sigset size). Kept and answered; faults are delivered all the same.
pub(super) fn mask(how: u64, new: u64, old: u64, set_size: u64) -> isize {
    if set_size != 8 {
        return EINVAL;
    }
    let state = state();
    // SAFETY: the caller's own sets.
    unsafe {
        if let Some(old) = pointer::<u64>(old) {
            old.write_unaligned(state.mask);
        }
        if let Some(new) = pointer::<u64>(new) {
            let new = new.read_unaligned();
            state.mask = match how {
                0 => state.mask | new,
                1 => state.mask & !new,
                2 => new,
                _ => return EINVAL,
            };
        }
    }
    0
}

/// sigaltstack(new, old).
pub(super) fn alternate_stack(new: u64, old: u64) -> isize {
    let state = state();
    // SAFETY: the caller's own structures.
    unsafe {
        if let Some(old) = pointer::<Stack>(old) {
            old.write_unaligned(state.stack);
        }
        if let Some(new) = pointer::<Stack>(new) {
            let new = new.read_unaligned();
            if new.flags & !SS_DISABLE != 0 {
                return EINVAL;
            }
            if new.flags & SS_DISABLE == 0 && new.size < MIN_STACK {
                return ENOMEM;
            }
            state.stack = new;
        }
    }
    0
}

/// Sizes and offsets of what a handler is handed (Linux, arch/x86/include/uapi/asm/{ucontext,sigcontext}.h).
mod layout {
    pub(super) const UCONTEXT: usize = 304 + 128;
    pub(super) const SIGINFO: usize = 128;
    pub(super) const GREGS: usize = 40;
    pub(super) const FPREGS: usize = 224;
    pub(super) const SIGMASK: usize = 296;
}

/// Arranges for `frame` to return into the handler of signal `number`. False if there is none.
pub(crate) fn deliver(frame: &mut Frame, fx: &FxState, number: u32, code: i32, address: u64) -> bool {
    let state = state();
    let action = state.actions[number as usize];
    if action.handler <= SIG_IGN || action.restorer == 0 {
        return false;
    }
    let stack = state.stack;
    let on_it = (frame.rsp as usize).wrapping_sub(stack.base) < stack.size;
    let top = if action.flags & SA_ONSTACK != 0 && stack.flags & SS_DISABLE == 0 && !on_it {
        stack.base + stack.size
    } else {
        frame.rsp as usize - 128
    };
    let fpregs = (top - size_of::<FxState>()) & !63;
    let siginfo = fpregs - layout::SIGINFO;
    let ucontext = (siginfo - layout::UCONTEXT) & !15;
    let bottom = ucontext - 8; // so that RSP is 8 off a multiple of 16, as after a call
    // A page fault while writing the frame would come in on the very stack we stand on: have the pages now.
    for page in ((bottom & !0xfff)..top).step_by(4096) {
        if !matches!(mm::fault(page as u64, Access::Write), FaultOutcome::Resolved) {
            return false;
        }
    }
    let gregs: [u64; 23] = [
        frame.r8,
        frame.r9,
        frame.r10,
        frame.r11,
        frame.r12,
        frame.r13,
        frame.r14,
        frame.r15,
        frame.rdi,
        frame.rsi,
        frame.rbp,
        frame.rbx,
        frame.rdx,
        frame.rax,
        frame.rcx,
        frame.rsp,
        frame.rip,
        frame.rflags,
        frame.cs | frame.ss << 48,
        frame.error,
        frame.vector,
        state.mask,
        address,
    ];
    // SAFETY: from `bottom` to `top` is memory below the interrupted code's stack pointer and red zone, or the
    // alternate stack that was set aside for this; its pages are there (above).
    unsafe {
        let at = |address: usize| core::ptr::with_exposed_provenance_mut::<u8>(address);
        core::ptr::write_bytes(at(ucontext), 0, siginfo + layout::SIGINFO - ucontext);
        core::ptr::copy_nonoverlapping(fx.0.as_ptr(), at(fpregs), fx.0.len());
        at(siginfo).cast::<[i32; 3]>().write([number as i32, 0, code]);
        at(siginfo + 16).cast::<u64>().write(address);
        at(ucontext + 16).cast::<Stack>().write(stack);
        at(ucontext + layout::GREGS).cast::<[u64; 23]>().write(gregs);
        at(ucontext + layout::FPREGS).cast::<u64>().write(fpregs as u64);
        at(ucontext + layout::SIGMASK).cast::<u64>().write(state.mask);
        at(bottom).cast::<u64>().write(action.restorer as u64);
    }
    frame.rip = action.handler as u64;
    frame.rsp = bottom as u64;
    frame.rdi = u64::from(number);
    frame.rsi = siginfo as u64;
    frame.rdx = ucontext as u64;
    frame.rax = 0;
    frame.rflags &= !0x500; // trap and direction
    true
}
