//! Calls to Xen (public/xen.h), by the processor's own instruction for that: what a hypercall page would hold, and a
//! page less of the image.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::arch::cpu;

const MEMORY_OP: u64 = 12;
const SCHED_OP: u64 = 29;
const EVENT_CHANNEL_OP: u64 = 32;
const HVM_OP: u64 = 34;

pub(super) const DOMID_SELF: u16 = 0x7ff0;

/// VMMCALL or VMCALL?
static AMD: AtomicBool = AtomicBool::new(false);

/// # Safety
/// Once, before any call.
pub(super) unsafe fn init() {
    // "AuthenticAMD", "HygonGenuine": the first four letters, in EBX.
    let vendor = cpu::cpuid(0).map_or(0, |[_, ebx, ..]| ebx);
    AMD.store([u32::from_le_bytes(*b"Auth"), u32::from_le_bytes(*b"Hygo")].contains(&vendor), Relaxed);
}

/// # Safety
/// This is a guest of Xen, and the call does what the caller says that it does: it can do anything to the memory of this
/// domain.
unsafe fn call(number: u64, operation: u64, argument: *mut u8) -> i64 {
    let result;
    // SAFETY: the caller's. The registers are those of Xen's convention for 64-bit guests.
    unsafe {
        if AMD.load(Relaxed) {
            core::arch::asm!("vmmcall", inout("rax") number => result, inout("rdi") operation => _,
                inout("rsi") argument => _, out("rdx") _, out("r10") _, out("r8") _, out("r9") _, options(nostack));
        } else {
            core::arch::asm!("vmcall", inout("rax") number => result, inout("rdi") operation => _,
                inout("rsi") argument => _, out("rdx") _, out("r10") _, out("r8") _, out("r9") _, options(nostack));
        }
    }
    result
}

/// With an argument that the call reads and writes. True: it was done.
///
/// # Safety
/// As [`call`]; `A` is the operation's own structure.
unsafe fn with<A>(number: u64, operation: u64, argument: &mut A) -> bool {
    // SAFETY: the caller's.
    unsafe { call(number, operation, (&raw mut *argument).cast()) >= 0 }
}

#[repr(C)]
struct Parameter {
    domain: u16,
    pad: u16,
    index: u32,
    value: u64,
}

/// `HVMOP_get_param`.
///
/// # Safety
/// This is a guest of Xen.
pub(super) unsafe fn parameter(index: u32) -> Option<u64> {
    let mut argument = Parameter { domain: DOMID_SELF, pad: 0, index, value: 0 };
    // SAFETY: it only reads.
    unsafe { with(HVM_OP, 1, &mut argument) }.then_some(argument.value)
}

/// `HVMOP_set_param`.
///
/// # Safety
/// The parameter may have this value.
pub(super) unsafe fn set_parameter(index: u32, value: u64) -> bool {
    let mut argument = Parameter { domain: DOMID_SELF, pad: 0, index, value };
    // SAFETY: the caller's.
    unsafe { with(HVM_OP, 0, &mut argument) }
}

/// `HVMOP_set_evtchn_upcall_vector`: events interrupt the first processor through its local APIC, which heeds priorities.
///
/// # Safety
/// There is a handler for the vector.
pub(super) unsafe fn set_event_vector(vector: u8) -> bool {
    #[repr(C)]
    struct Argument {
        processor: u32,
        vector: u8,
        pad: [u8; 3],
    }
    // SAFETY: the caller's.
    unsafe { with(HVM_OP, 23, &mut Argument { processor: 0, vector, pad: [0; 3] }) }
}

/// What can be had in place of a page of RAM.
#[derive(Clone, Copy)]
pub(super) enum Space {
    SharedInfo = 0,
    GrantTable = 1,
}

/// `XENMEM_add_to_physmap`: a page of Xen's own, in place of a page of RAM.
///
/// # Safety
/// The page is nobody's, and holds nothing.
pub(super) unsafe fn place(space: Space, frame: u64) -> bool {
    #[repr(C)]
    struct Argument {
        domain: u16,
        size: u16,
        space: u32,
        index: u64,
        frame: u64,
    }
    let mut argument = Argument { domain: DOMID_SELF, size: 0, space: space as u32, index: 0, frame };
    // SAFETY: the caller's.
    unsafe { with(MEMORY_OP, 7, &mut argument) }
}

/// `EVTCHNOP_alloc_unbound`.
pub(super) fn offer_port(peer: u16) -> Option<u32> {
    #[repr(C)]
    struct Argument {
        domain: u16,
        peer: u16,
        port: u32,
    }
    let mut argument = Argument { domain: DOMID_SELF, peer, port: 0 };
    // SAFETY: it makes a port of ours, and touches nothing else; whoever comes here has found Xen (`guest::detect`).
    unsafe { with(EVENT_CHANNEL_OP, 6, &mut argument) }.then_some(argument.port)
}

/// `EVTCHNOP_send`.
pub(super) fn notify(mut port: u32) {
    // SAFETY: it wakes who is at the other end.
    unsafe { with(EVENT_CHANNEL_OP, 4, &mut port) };
}

/// `EVTCHNOP_unmask`.
pub(super) fn unmask(mut port: u32) {
    // SAFETY: it lets a port of ours interrupt.
    unsafe { with(EVENT_CHANNEL_OP, 9, &mut port) };
}

/// `SCHEDOP_yield`.
pub(super) fn pause() {
    // SAFETY: it only takes time.
    unsafe { call(SCHED_OP, 0, core::ptr::null_mut()) };
}

/// Why a domain is shut down (public/sched.h): what `on_poweroff` and `on_crash` of its configuration are about.
#[derive(Clone, Copy)]
pub(super) enum Reason {
    PowerOff = 0,
    Crash = 3,
}

/// `SCHEDOP_shutdown`.
pub(super) fn shut_down(reason: Reason) {
    // SAFETY: this run is over.
    unsafe { with(SCHED_OP, 2, &mut (reason as u32)) };
}
