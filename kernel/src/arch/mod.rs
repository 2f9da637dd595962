//! x86-64: the processor's own features, traps, the local APIC. No policy, no devices.

pub mod apic;
pub mod cpu;
pub mod traps;

use x86_64::{
    VirtAddr,
    registers::segmentation::{CS, DS, ES, SS, Segment},
    structures::{
        gdt::{Descriptor, GlobalDescriptorTable},
        tss::TaskStateSegment,
    },
};

use crate::cell::StaticCell;

/// A stack of its own for each kind of trap that could meet another: IST number, and what uses it.
#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum Ist {
    PageFault = 0,
    DoubleFault = 1,
    Nmi = 2,
    Tick = 3,
    Exception = 4,
    Device = 5,
}

const IST_COUNT: usize = 6;
const IST_BYTES: usize = 16 * 1024;

/// A guard page, then the stack above it: boot unmaps the first.
#[repr(C, align(4096))]
struct GuardedStack {
    guard: [u8; 4096],
    stack: [u8; IST_BYTES],
}

#[unsafe(link_section = ".bss.pages.ist")]
static IST_STACKS: StaticCell<[GuardedStack; IST_COUNT]> =
    StaticCell::new([const { GuardedStack { guard: [0; 4096], stack: [0; IST_BYTES] } }; IST_COUNT]);
static TSS: StaticCell<TaskStateSegment> = StaticCell::new(TaskStateSegment::new());
static GDT: StaticCell<GlobalDescriptorTable> = StaticCell::new(GlobalDescriptorTable::new());

unsafe extern "C" {
    static boot_stack_guard: u8;
}

/// Makes the processor ready: stacks for traps with their guards, descriptor tables, the floor's entry.
///
/// # Safety
/// Once, at boot, with interrupts off.
pub(crate) unsafe fn init() {
    // SAFETY: called once at boot; nothing else looks at these statics yet, and the processor only reads
    // the descriptor tables from here on.
    unsafe {
        let stacks = &raw mut *IST_STACKS.get();
        let tss = &mut *TSS.get();
        for i in 0..IST_COUNT {
            let stack = &raw mut (*stacks)[i];
            crate::boot::tables::unmap_image_page((&raw const (*stack).guard).addr() as u64);
            let top = (&raw const (*stack).stack).addr() + IST_BYTES;
            tss.interrupt_stack_table[i] = VirtAddr::new(top as u64);
        }
        crate::boot::tables::unmap_image_page((&raw const boot_stack_guard).addr() as u64);

        let gdt = &mut *GDT.get();
        let code = gdt.append(Descriptor::kernel_code_segment());
        let data = gdt.append(Descriptor::kernel_data_segment());
        let task = gdt.append(Descriptor::tss_segment(&*TSS.get()));
        (*GDT.get()).load_unsafe();
        CS::set_reg(code);
        SS::set_reg(data);
        DS::set_reg(data);
        ES::set_reg(data);
        x86_64::instructions::tables::load_tss(task);
        traps::init();
    }
}
