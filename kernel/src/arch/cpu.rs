//! The processor: time stamp, identification, model-specific registers, random numbers.

use core::arch::x86_64::{__cpuid, __cpuid_count, _rdtsc};

use x86_64::registers::{
    control::{Cr4, Cr4Flags},
    model_specific::Msr,
};

/// The time stamp counter.
#[inline(always)]
pub fn tsc() -> u64 {
    // SAFETY: every x86-64 processor has it, and CR4.TSD is clear.
    unsafe { _rdtsc() }
}

/// Registers EAX, EBX, ECX, EDX of a CPUID leaf, or `None` if the processor has no such leaf.
pub(crate) fn cpuid(leaf: u32) -> Option<[u32; 4]> {
    let base = leaf & 0xffff_0000;
    let highest = __cpuid(base).eax;
    (leaf <= highest && highest.wrapping_sub(base) < 0x1_0000).then(|| {
        let r = __cpuid_count(leaf, 0);
        [r.eax, r.ebx, r.ecx, r.edx]
    })
}

/// Are we in a virtual machine that says so? Then leaf 0x40000000 exists.
pub(crate) fn hypervisor_signature() -> Option<[u8; 12]> {
    if cpuid(1)?[2] & (1 << 31) == 0 {
        return None;
    }
    let r = __cpuid(0x4000_0000);
    let mut name = [0; 12];
    for (part, word) in name.chunks_exact_mut(4).zip([r.ebx, r.ecx, r.edx]) {
        part.copy_from_slice(&word.to_le_bytes());
    }
    Some(name)
}

/// Lets code use AVX, where the processor has it; false where it does not.
///
/// Traps, ticks and floor calls save the SSE state only. That is enough: the kernel is compiled without AVX, and
/// neither SSE instructions nor FXRSTOR touch the upper halves of the registers. (Who detects AVX at run time and
/// could be called in there, the generator of random numbers, is built without that.)
///
/// # Safety
/// Once, at boot, before anybody asks what the processor can do.
pub(crate) unsafe fn enable_avx() -> bool {
    const XSAVE: u32 = 1 << 26;
    const AVX: u32 = 1 << 28;
    const X87_SSE_AVX: u64 = 7;
    if cpuid(1).is_none_or(|[_, _, features, _]| features & (XSAVE | AVX) != XSAVE | AVX) {
        return false;
    }
    // SAFETY: the processor has XSAVE, so CR4 has this bit and XCR0 is there; it has AVX, so XCR0 has these.
    unsafe {
        Cr4::update(|flags| flags.insert(Cr4Flags::OSXSAVE));
        core::arch::asm!("xsetbv", in("ecx") 0, in("eax") X87_SSE_AVX as u32, in("edx") 0, options(nomem, nostack));
    }
    true
}

/// # Safety
/// The register exists, and writing `value` to it breaks nobody's assumption.
pub(crate) unsafe fn write_msr(register: u32, value: u64) {
    // SAFETY: the caller's.
    unsafe { Msr::new(register).write(value) }
}

/// 64 bits from RDRAND, or `None` if there is no such instruction or it did not deliver.
pub(crate) fn rdrand() -> Option<u64> {
    if cpuid(1)?[2] & (1 << 30) == 0 {
        return None;
    }
    // Intel SDM vol. 1, 7.3.17.1: ten tries in a tight loop.
    (0..10).find_map(|_| {
        let (value, ok): (u64, u8);
        // SAFETY: the instruction is there (above) and touches only the two registers.
        unsafe { core::arch::asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) ok, options(nomem, nostack)) };
        (ok == 1).then_some(value)
    })
}

/// 64 bits from RDSEED, likewise.
pub(crate) fn rdseed() -> Option<u64> {
    if cpuid(7)?[1] & (1 << 18) == 0 {
        return None;
    }
    (0..10).find_map(|_| {
        let (value, ok): (u64, u8);
        // SAFETY: as above.
        unsafe { core::arch::asm!("rdseed {}", "setc {}", out(reg) value, out(reg_byte) ok, options(nomem, nostack)) };
        (ok == 1).then_some(value)
    })
}
