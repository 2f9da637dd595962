//! QEMU's fw_cfg by its ports (docs/specs/fw_cfg.rst): a selector of 16 bits, and bytes that come one after the other. Where
//! there is none, what is read is anything.

use lunette_config::fw_cfg::Items;
use x86_64::instructions::port::Port;

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;

/// The device, of which there is one.
pub(crate) struct FwCfg;

impl Items for FwCfg {
    fn select(&mut self, item: u16) {
        // SAFETY: it says what is read next, and does nothing else; other machines have nothing there.
        unsafe { Port::<u16>::new(SELECTOR).write(item) };
    }

    fn read(&mut self, into: &mut [u8]) {
        // SAFETY: the port gives bytes and does nothing else; `into` has room for as many.
        unsafe {
            core::arch::asm!("rep insb", inout("rdi") into.as_mut_ptr() => _, inout("rcx") into.len() => _,
                in("dx") DATA, options(nostack));
        }
    }
}
