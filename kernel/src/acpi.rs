//! ACPI's tables, as far as the power button needs them: where its status is, and how it interrupts (ACPI 6.5, 5.2:
//! RSDP, RSDT and XSDT, FADT, MADT).
//!
//! The tables are the firmware's word, and are read as such: every table is measured and summed before it is used, and
//! what does not fit is as if it were not there. No AML is run: a button that is a device of the namespace
//! (`PNP0C0C`) is not found.

/// Physical memory, read where a table says that something is. `None`: there is no memory that may be read.
pub trait Physical {
    fn bytes(&self, at: u64, length: usize) -> Option<&[u8]>;
}

/// The fixed-hardware power button (ACPI 6.5, 4.8.2.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerButton {
    /// Port of the PM1a status register; the enable register is 2 above it.
    pub event: u16,
    /// Port of the PM1a control register.
    pub control: u16,
    /// What to write where to switch ACPI on, where the firmware has to be asked.
    pub enable: Option<(u16, u8)>,
    /// The line of the I/O APIC.
    pub line: u8,
    pub edge: bool,
    pub low: bool,
}

const HEADER: usize = 36;
/// No table that is read here is larger.
const LARGEST: usize = 64 * 1024;

/// Looks for the power button, from the RSDP that the boot protocol named, or else where a BIOS leaves it.
pub fn power_button(memory: &impl Physical, rsdp: Option<u64>) -> Option<PowerButton> {
    let rsdp = rsdp.or_else(|| scan(memory))?;
    let (fadt, madt) = (table(memory, rsdp, b"FACP")?, table(memory, rsdp, b"APIC"));
    const PWR_BUTTON: u32 = 1 << 4;
    const HW_REDUCED: u32 = 1 << 20;
    if long(fadt, 112)? & (PWR_BUTTON | HW_REDUCED) != 0 || *fadt.get(88)? < 4 || *fadt.get(89)? < 2 {
        return None;
    }
    let port = |at| u16::try_from(long(fadt, at)?).ok().filter(|port| *port != 0);
    let line = u8::try_from(short(fadt, 46)?).ok()?;
    let enable = port(48).zip(fadt.get(52).copied().filter(|value| *value != 0));
    let (event, control) = (port(56)?, port(64)?);
    // By itself the interrupt is active low and level-triggered (ACPI 6.5, 5.2.15).
    let (line, edge, low) = madt.and_then(|madt| overridden(madt, line)).unwrap_or((line, false, true));
    Some(PowerButton { event, control, enable, line, edge, low })
}

/// The RSDP in the BIOS area (ACPI 6.5, 5.2.5.1).
fn scan(memory: &impl Physical) -> Option<u64> {
    (0xe_0000..0x10_0000).step_by(16).find(|at| root(memory, *at).is_some())
}

/// Where the list of tables is, and how wide its entries are.
fn root(memory: &impl Physical, rsdp: u64) -> Option<(u64, usize)> {
    let first = memory.bytes(rsdp, 20)?;
    if !first.starts_with(b"RSD PTR ") || !sums_up(first) {
        return None;
    }
    if first[15] >= 2
        && let Some(all) = memory.bytes(rsdp, 36)
        && sums_up(all)
        && let Some(xsdt) = wide(all, 24)
        && xsdt != 0
    {
        return Some((xsdt, 8));
    }
    Some((long(first, 16)?.into(), 4))
}

fn table<'m>(memory: &'m impl Physical, rsdp: u64, name: &[u8; 4]) -> Option<&'m [u8]> {
    let (list, width) = root(memory, rsdp)?;
    let list = whole(memory, list)?;
    list[HEADER..].chunks_exact(width).find_map(|entry| {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(entry);
        let at = u64::from_le_bytes(wide);
        (memory.bytes(at, 4)? == name).then(|| whole(memory, at)).flatten()
    })
}

/// A table with its header, if it is what it says.
fn whole(memory: &impl Physical, at: u64) -> Option<&[u8]> {
    let length = long(memory.bytes(at, HEADER)?, 4)? as usize;
    let table = (HEADER..=LARGEST).contains(&length).then(|| memory.bytes(at, length)).flatten()?;
    sums_up(table).then_some(table)
}

/// The interrupt source override of an ISA line (ACPI 6.5, 5.2.12.5): line, edge, low.
fn overridden(madt: &[u8], isa: u8) -> Option<(u8, bool, bool)> {
    let mut rest = madt.get(44..)?;
    while let [kind, length, ..] = *rest {
        let (entry, after) = (length >= 2).then(|| rest.split_at_checked(length.into())).flatten()?;
        if kind == 2 && entry.get(3) == Some(&isa) {
            let line = u8::try_from(long(entry, 4)?).ok()?;
            let flags = short(entry, 8)?;
            return Some((line, flags >> 2 & 3 == 1, flags & 3 == 3));
        }
        rest = after;
    }
    None
}

fn sums_up(bytes: &[u8]) -> bool {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn wide(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory with tables as QEMU's pc lays them out.
    struct Ram(Vec<u8>);

    const BASE: u64 = 0xe_0000;
    const RSDP: u64 = BASE + 0x100;

    impl Physical for Ram {
        fn bytes(&self, at: u64, length: usize) -> Option<&[u8]> {
            self.0.get(usize::try_from(at.checked_sub(BASE)?).ok()?..)?.get(..length)
        }
    }

    impl Ram {
        fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }

        fn sum(&mut self, at: usize, length: usize, field: usize) {
            self.0[at + field] = 0;
            let sum = self.0[at..at + length].iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
            self.0[at + field] = 0_u8.wrapping_sub(sum);
        }

        fn table(&mut self, at: usize, name: &[u8; 4], body: &[u8]) {
            let length = HEADER + body.len();
            self.put(at, name);
            self.put(at + 4, &(length as u32).to_le_bytes());
            self.put(at + HEADER, body);
            self.sum(at, length, 9);
        }

        fn new() -> Self {
            let mut ram = Self(vec![0; 0x2000]);
            let mut fadt = [0; 116 - HEADER];
            for (at, bytes) in [
                (46, &[9, 0][..]),
                (48, &0xb2_u32.to_le_bytes()),
                (52, &[0xf1]),
                (56, &0x600_u32.to_le_bytes()),
                (64, &0x604_u32.to_le_bytes()),
                (88, &[4, 2]),
            ] {
                fadt[at - HEADER..][..bytes.len()].copy_from_slice(bytes);
            }
            ram.table(0x400, b"FACP", &fadt);
            let mut madt = vec![0; 8];
            madt.extend([0, 8, 0, 0, 1, 0, 0, 0]);
            madt.extend([2, 10, 0, 9, 9, 0, 0, 0, 0xd, 0]);
            ram.table(0x600, b"APIC", &madt);
            let list: Vec<u8> =
                [0x600, 0x400].iter().flat_map(|at| (BASE as u32 + at).to_le_bytes()).collect();
            ram.table(0x800, b"RSDT", &list);
            ram.put(0x100, b"RSD PTR ");
            ram.put(0x110, &(BASE as u32 + 0x800).to_le_bytes());
            ram.sum(0x100, 20, 8);
            ram
        }
    }

    const BUTTON: PowerButton = PowerButton {
        event: 0x600,
        control: 0x604,
        enable: Some((0xb2, 0xf1)),
        line: 9,
        edge: false,
        low: false,
    };

    #[test]
    fn the_button_of_a_pc() {
        assert_eq!(power_button(&Ram::new(), Some(RSDP)), Some(BUTTON));
        assert_eq!(power_button(&Ram::new(), None), Some(BUTTON), "found by its signature");
    }

    #[test]
    fn without_an_override_it_is_as_the_specification_says() {
        let mut ram = Ram::new();
        ram.0[0x600] = b'X';
        assert_eq!(power_button(&ram, Some(RSDP)), Some(PowerButton { low: true, ..BUTTON }));
    }

    #[test]
    fn nonsense_is_no_button() {
        let good = Ram::new();
        // Every byte of every table, wrong: it may be another button, but never a panic.
        let mut none = 0;
        for at in (0x100..0x124).chain(0x400..0x474).chain(0x600..0x640).chain(0x800..0x82c) {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut ram = Ram(good.0.clone());
                ram.0[at] = value;
                none += u32::from(power_button(&ram, Some(RSDP)).is_none());
                // Behind a sum that is right.
                ram.sum(0x400, 116, 9);
                let _ = power_button(&ram, Some(RSDP));
            }
        }
        assert!(none > 500, "a table that does not sum up is not used: {none}");
        let mut ram = Ram::new();
        ram.put(0x804, &u32::MAX.to_le_bytes());
        assert_eq!(power_button(&ram, Some(RSDP)), None, "a table beyond memory");
        ram = Ram::new();
        ram.put(0x600 + 44, &[2, 0]);
        ram.sum(0x600, 62, 9);
        assert_eq!(power_button(&ram, Some(RSDP)).map(|b| b.line), Some(9), "an entry of no length");
        assert_eq!(power_button(&Ram(Vec::new()), None), None);
        assert_eq!(power_button(&good, Some(u64::MAX)), None);
    }
}
