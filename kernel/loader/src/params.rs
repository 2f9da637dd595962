//! Linux's boot_params (Documentation/arch/x86/zero-page.rst): the memory map, the command line, the bundle as the initrd, the
//! RSDP. Loaders write them here; the kernel's 64-bit entry reads them by the same [`field`]s.

use core::ops::Range;

pub const BYTES: usize = 4096;
/// As many as the page holds.
pub const MOST_REGIONS: usize = 128;

/// Start, length, kind.
pub const E820_ENTRY: usize = 20;
pub const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;
pub const MAGIC: &[u8] = b"HdrS";

/// Where each is in the page.
pub mod field {
    pub const RSDP: usize = 0x70;
    pub const RAMDISK_HIGH: usize = 0xc0;
    pub const RAMDISK_SIZE_HIGH: usize = 0xc4;
    pub const CMDLINE_HIGH: usize = 0xc8;
    pub const E820_ENTRIES: usize = 0x1e8;
    pub(super) const BOOT_FLAG: usize = 0x1fe;
    pub const MAGIC: usize = 0x202;
    pub(super) const LOADER: usize = 0x210;
    pub const RAMDISK: usize = 0x218;
    pub const RAMDISK_SIZE: usize = 0x21c;
    pub const CMDLINE: usize = 0x228;
    pub(super) const CMDLINE_BYTES: usize = 0x238;
    pub const E820: usize = 0x2d0;
}

/// The page, while it is made.
pub struct Params<'a>(&'a mut [u8; BYTES]);

impl<'a> Params<'a> {
    pub fn new(page: &'a mut [u8; BYTES]) -> Self {
        page.fill(0);
        let mut params = Self(page);
        params.put(field::BOOT_FLAG, &0xaa55_u16.to_le_bytes());
        params.put(field::MAGIC, MAGIC);
        // A loader without a number.
        params.put(field::LOADER, &[0xff]);
        params
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn long(&mut self, at: usize, value: u64) {
        // All that is handed over lies below 4 GiB.
        self.put(at, &(value as u32).to_le_bytes());
    }

    /// Adds to the memory map. False: it is full.
    pub fn region(&mut self, range: Range<u64>, usable: bool) -> bool {
        let count = usize::from(self.0[field::E820_ENTRIES]);
        if count >= MOST_REGIONS {
            return false;
        }
        let at = field::E820 + count * E820_ENTRY;
        self.put(at, &range.start.to_le_bytes());
        self.put(at + 8, &(range.end.saturating_sub(range.start)).to_le_bytes());
        self.put(at + 16, &(if usable { E820_RAM } else { E820_RESERVED }).to_le_bytes());
        self.0[field::E820_ENTRIES] += 1;
        true
    }

    /// Where the command line is, and how long it is without its NUL.
    pub fn cmdline(&mut self, at: u64, length: u64) {
        self.long(field::CMDLINE, at);
        self.long(field::CMDLINE_BYTES, length);
    }

    pub fn bundle(&mut self, at: u64, length: u64) {
        self.long(field::RAMDISK, at);
        self.long(field::RAMDISK_SIZE, length);
    }

    pub fn rsdp(&mut self, at: u64) {
        self.put(field::RSDP, &at.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_as_linux_has_it() {
        let mut page = [7; BYTES];
        let mut params = Params::new(&mut page);
        params.cmdline(0x2_0000, 5);
        params.bundle(0x3000_0000, 0x1000);
        params.rsdp(0xf_1234);
        assert!(params.region(0..0x9_f000, true));
        assert!(params.region(0xa_0000..0x10_0000, false));
        assert_eq!(page[0x1fe..0x206], *b"\x55\xaa\0\0HdrS");
        assert_eq!(page[0x218..0x220], *b"\0\0\0\x30\0\x10\0\0");
        assert_eq!(page[0x228..0x22c], *b"\0\0\x02\0");
        assert_eq!(page[0x70..0x78], 0xf_1234_u64.to_le_bytes());
        assert_eq!(page[0x1e8], 2);
        assert_eq!(page[0x2d0 + 20..][..20], *b"\0\0\x0a\0\0\0\0\0\0\0\x06\0\0\0\0\0\x02\0\0\0");
        let mut params = Params::new(&mut page);
        assert_eq!((0..200).filter(|at| params.region(*at..at + 1, true)).count(), MOST_REGIONS);
    }
}
