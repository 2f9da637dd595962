//! kvmclock: the TSC's frequency and the date of boot, as KVM tells them
//! (Linux, Documentation/virt/kvm/x86/msr.rst and cpuid.rst).

use core::sync::atomic::{Ordering::SeqCst, compiler_fence};

use super::scale;
use crate::{arch::cpu, cell::StaticCell};

const FEATURES_LEAF: u32 = 0x4000_0001;
/// `KVM_FEATURE_CLOCKSOURCE2`.
const CLOCKSOURCE2: u32 = 1 << 3;
const MSR_WALL_CLOCK: u32 = 0x4b56_4d00;
const MSR_SYSTEM_TIME: u32 = 0x4b56_4d01;

/// `struct pvclock_vcpu_time_info`.
#[repr(C, align(32))]
struct VcpuTime {
    version: u32,
    pad: u32,
    tsc_timestamp: u64,
    system_time: u64,
    tsc_to_system_mul: u32,
    tsc_shift: i8,
    flags: u8,
    pad2: [u8; 2],
}

/// `struct pvclock_wall_clock`, made large enough not to share a page boundary.
#[repr(C, align(16))]
struct WallClock {
    version: u32,
    seconds: u32,
    nanos: u32,
}

static TIME: StaticCell<VcpuTime> = StaticCell::new(VcpuTime {
    version: 0,
    pad: 0,
    tsc_timestamp: 0,
    system_time: 0,
    tsc_to_system_mul: 0,
    tsc_shift: 0,
    flags: 0,
    pad2: [0; 2],
});
static WALL: StaticCell<WallClock> = StaticCell::new(WallClock { version: 0, seconds: 0, nanos: 0 });

fn present() -> bool {
    cpu::hypervisor_signature().is_some_and(|name| &name == b"KVMKVMKVM\0\0\0")
        && cpu::cpuid(FEATURES_LEAF).is_some_and(|[features, ..]| features & CLOCKSOURCE2 != 0)
}

/// Hertz of the TSC, from the factor that KVM wants us to multiply with.
pub(super) fn tsc_frequency() -> Option<u64> {
    if !present() {
        return None;
    }
    // SAFETY: KVM fills the structure, which is static, aligned and at its physical address, on this write;
    // a second write with the enable bit clear ends its interest before anything reads it again.
    let (multiplier, shift) = unsafe {
        cpu::write_msr(MSR_SYSTEM_TIME, TIME.get().addr() as u64 | 1);
        compiler_fence(SeqCst);
        let time = TIME.get().read_volatile();
        cpu::write_msr(MSR_SYSTEM_TIME, 0);
        (time.tsc_to_system_mul, time.tsc_shift)
    };
    scale::frequency(multiplier, shift)
}

/// Nanoseconds since 1970 now. KVM tells the date at which its system time was 0, and the system time.
pub(super) fn wall_at_boot() -> Option<u64> {
    if !present() {
        return None;
    }
    // SAFETY: as above.
    let (wall, time) = unsafe {
        cpu::write_msr(MSR_WALL_CLOCK, WALL.get().addr() as u64);
        cpu::write_msr(MSR_SYSTEM_TIME, TIME.get().addr() as u64 | 1);
        compiler_fence(SeqCst);
        let both = (WALL.get().read_volatile(), TIME.get().read_volatile());
        cpu::write_msr(MSR_SYSTEM_TIME, 0);
        both
    };
    let boot = u64::from(wall.seconds).checked_mul(1_000_000_000)?.checked_add(u64::from(wall.nanos))?;
    if wall.seconds == 0 {
        return None;
    }
    // What passed between that system time and now is microseconds.
    boot.checked_add(time.system_time)
}
