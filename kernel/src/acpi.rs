//! ACPI's tables, as far as the power button needs them, where its status is and how it interrupts, and the way to switch
//! the machine off (ACPI 6.5, 5.2: RSDP, RSDT and XSDT, FADT, MADT, and of the DSDT one object).
//!
//! The tables are the firmware's word, and are read as such: every table is measured and summed before it is used, and
//! what does not fit is as if it were not there. No AML is run: a button that is a device of the namespace
//! (`PNP0C0C`) is not found, and the sleep type of `_S5_` is, which every firmware writes as a plain package.

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

/// The RSDP, where all tables begin: what the boot protocol says of it.
#[derive(Clone, Copy, Debug)]
pub enum Rsdp {
    /// Its address.
    At(u64),
    /// A copy.
    Copy([u8; Rsdp::BYTES]),
    /// Nothing: it is where a BIOS leaves it (ACPI 6.5, 5.2.5.1), of whose areas one has this address.
    Search { ebda: u64 },
}

impl Rsdp {
    pub const BYTES: usize = 36;

    /// Where the list of tables is, and how wide its entries are.
    fn list(&self, memory: &impl Physical) -> Option<(u64, usize)> {
        let at = |at| {
            // One of version 1 may end where memory that can be read ends.
            let bytes = memory.bytes(at, Self::BYTES).or_else(|| memory.bytes(at, 20))?;
            root(bytes)
        };
        match self {
            Self::At(address) => at(*address),
            Self::Copy(bytes) => root(bytes),
            Self::Search { ebda } => {
                let first = (*ebda..*ebda + 1024).step_by(16);
                first.chain((0xe_0000..0x10_0000).step_by(16)).find_map(at)
            }
        }
    }
}

/// How the machine is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// PM1 control registers (ACPI 6.5, 4.8.3.2): each port, and what to write there beside what is there.
    Control { ports: [Option<(u16, u16)>; 2], enable: Option<(u16, u8)> },
    /// The sleep control register of hardware-reduced ACPI (4.8.3.7).
    Sleep { port: u16, value: u8 },
}

/// Of a PM1 control register: sleep now; and what the sleep type does not touch.
pub const SLP_EN: u16 = 1 << 13;
pub const SLP_TYP: u16 = 7 << 10;

const HEADER: usize = 36;
/// No table that is read here is larger.
const LARGEST: usize = 1 << 20;

const HW_REDUCED: u32 = 1 << 20;

/// How to enter S5, "soft off".
pub fn power_off(memory: &impl Physical, rsdp: &Rsdp) -> Option<Off> {
    let list = rsdp.list(memory)?;
    let fadt = table(memory, list, b"FACP")?;
    let dsdt = [wide(fadt, 140), long(fadt, 40).map(u64::from)].into_iter().flatten().find(|at| *at != 0)?;
    let (a, b) = soft_off(whole(memory, dsdt)?)?;
    if long(fadt, 112)? & HW_REDUCED != 0 {
        // A generic address: its space (1: ports), then the address (5.2.3.2).
        let port = u16::try_from(wide(fadt, 248)?).ok().filter(|port| *port != 0)?;
        const SLEEP_ENABLE: u8 = 1 << 5;
        return (fadt.get(244) == Some(&1)).then_some(Off::Sleep { port, value: a << 2 | SLEEP_ENABLE });
    }
    let control = |at, extended, kind: u8| {
        let extended = (fadt.get(extended) == Some(&1)).then(|| wide(fadt, extended + 4)).flatten();
        let port = [long(fadt, at).map(u64::from), extended].into_iter().flatten().find(|port| *port != 0)?;
        Some((u16::try_from(port).ok()?, u16::from(kind) << 10 | SLP_EN))
    };
    let ports = [control(64, 172, a), control(68, 184, b)];
    ports[0].is_some().then_some(Off::Control { ports, enable: enable(fadt) })
}

/// The sleep types of S5: `Name (_S5_, Package () { A, B, … })`, as bytes (20.2.2, 20.2.5).
fn soft_off(dsdt: &[u8]) -> Option<(u8, u8)> {
    const NAME: u8 = 8;
    const PACKAGE: u8 = 0x12;
    let at = dsdt.windows(4).position(|bytes| bytes == b"_S5_")?;
    let named = [1, 2].iter().any(|back| at.checked_sub(*back).and_then(|at| dsdt.get(at)) == Some(&NAME));
    let rest = dsdt.get(at + 4..)?.strip_prefix(&[PACKAGE]).filter(|_| named)?;
    // The length's own length is in its first byte; then how many elements.
    let mut elements = rest.get(usize::from(rest.first()? >> 6) + 2..)?;
    let mut number = || {
        let (value, length) = match *elements {
            [small @ (0 | 1), ..] => (small, 1),
            [0x0a, value, ..] => (value, 2),
            [0x0b, value, 0, ..] => (value, 3),
            [0x0c, value, 0, 0, 0, ..] => (value, 5),
            _ => return None,
        };
        elements = &elements[length..];
        Some(value).filter(|value| *value < 8)
    };
    let a = number()?;
    Some((a, number().unwrap_or(a)))
}

/// What to write where to switch ACPI on, where the firmware has to be asked.
fn enable(fadt: &[u8]) -> Option<(u16, u8)> {
    let port = u16::try_from(long(fadt, 48)?).ok().filter(|port| *port != 0)?;
    Some((port, fadt.get(52).copied().filter(|value| *value != 0)?))
}

/// Looks for the power button.
pub fn power_button(memory: &impl Physical, rsdp: &Rsdp) -> Option<PowerButton> {
    let list = rsdp.list(memory)?;
    let (fadt, madt) = (table(memory, list, b"FACP")?, table(memory, list, b"APIC"));
    const PWR_BUTTON: u32 = 1 << 4;
    if long(fadt, 112)? & (PWR_BUTTON | HW_REDUCED) != 0 || *fadt.get(88)? < 4 || *fadt.get(89)? < 2 {
        return None;
    }
    let port = |at| u16::try_from(long(fadt, at)?).ok().filter(|port| *port != 0);
    let line = u8::try_from(short(fadt, 46)?).ok()?;
    let enable = enable(fadt);
    let (event, control) = (port(56)?, port(64)?);
    // By itself the interrupt is active low and level-triggered (ACPI 6.5, 5.2.15).
    let (line, edge, low) = madt.and_then(|madt| overridden(madt, line)).unwrap_or((line, false, true));
    Some(PowerButton { event, control, enable, line, edge, low })
}

/// An RSDP: where the list of tables is, and how wide its entries are.
fn root(rsdp: &[u8]) -> Option<(u64, usize)> {
    let first = rsdp.get(..20)?;
    if !first.starts_with(b"RSD PTR ") || !sums_up(first) {
        return None;
    }
    if first[15] >= 2
        && rsdp.len() >= Rsdp::BYTES
        && sums_up(&rsdp[..Rsdp::BYTES])
        && let Some(xsdt) = wide(rsdp, 24)
        && xsdt != 0
    {
        return Some((xsdt, 8));
    }
    Some((long(first, 16)?.into(), 4))
}

fn table<'m>(memory: &'m impl Physical, (list, width): (u64, usize), name: &[u8; 4]) -> Option<&'m [u8]> {
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
    const SEARCH: Rsdp = Rsdp::Search { ebda: 0x9_fc00 };

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
                (40, &(BASE as u32 + 0xa00).to_le_bytes()[..]),
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
            ram.table(0xa00, b"DSDT", b"\x10\x40\x08_S5_\x12\x08\x04\x0a\x05\x01\x00\x00\x10");
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
        assert_eq!(power_button(&Ram::new(), &Rsdp::At(RSDP)), Some(BUTTON));
        assert_eq!(power_button(&Ram::new(), &SEARCH), Some(BUTTON), "found by its signature");
    }

    #[test]
    fn without_an_override_it_is_as_the_specification_says() {
        let mut ram = Ram::new();
        ram.0[0x600] = b'X';
        assert_eq!(power_button(&ram, &Rsdp::At(RSDP)), Some(PowerButton { low: true, ..BUTTON }));
    }

    #[test]
    fn it_is_found_by_its_address_by_its_signature_and_as_a_copy() {
        let mut ram = Ram::new();
        let copy = ram.0[0x100..0x124].try_into().unwrap();
        // The first area of a BIOS counts before the second.
        let area = Rsdp::Search { ebda: RSDP - 0x100 };
        for rsdp in [Rsdp::At(RSDP), Rsdp::Copy(copy), SEARCH, area] {
            assert_eq!(power_button(&ram, &rsdp), Some(BUTTON), "{rsdp:?}");
        }
        ram.0[0x100] = 0;
        assert_eq!(power_button(&ram, &SEARCH), None);
        assert_eq!(power_button(&ram, &Rsdp::Copy(copy)), Some(BUTTON));
    }

    #[test]
    fn the_way_off_is_the_packages_sleep_type() {
        let off = |ram: &Ram| power_off(ram, &Rsdp::At(RSDP));
        let control = |a: u16| Off::Control {
            ports: [Some((0x604, a << 10 | SLP_EN)), None],
            enable: Some((0xb2, 0xf1)),
        };
        let mut ram = Ram::new();
        assert_eq!(off(&ram), Some(control(5)));
        ram.put(0x400 + 68, &0x704_u32.to_le_bytes());
        ram.sum(0x400, 116, 9);
        let both = [Some((0x604, 5 << 10 | SLP_EN)), Some((0x704, 1 << 10 | SLP_EN))];
        assert_eq!(off(&ram), Some(Off::Control { ports: both, enable: Some((0xb2, 0xf1)) }));
        for (body, found) in [
            (&b"\x08\\_S5_\x12\x06\x04\x00\x00\x00\x00"[..], Some(control(0))),
            (b"\x08_S5_\x12\x40\x01\x02\x01\x0b\x07\x00", Some(control(1))),
            (b"\x00\x00_S5_\x12\x06\x04\x00\x00\x00\x00", None),
            (b"\x08_S5_\x12\x06\x04\x0a\x08\x00\x00", None),
            (b"\x08_S5_\x11\x06\x04\x00", None),
            (b"\x08_S5_\x12\xff", None),
            (b"\x08_S5_", None),
            (b"_S5_\x12", None),
            (b"", None),
        ] {
            let mut ram = Ram::new();
            ram.table(0xa00, b"DSDT", body);
            assert_eq!(off(&ram), found, "{body:?}");
        }

        // Hardware-reduced: Cloud Hypervisor's.
        let mut fadt = [0; 276 - HEADER];
        for (at, bytes) in [
            (112, &HW_REDUCED.to_le_bytes()[..]),
            (140, &(BASE + 0xa00).to_le_bytes()),
            (244, &[1, 8, 0, 1]),
            (248, &0x600_u64.to_le_bytes()),
        ] {
            fadt[at - HEADER..][..bytes.len()].copy_from_slice(bytes);
        }
        ram.table(0x400, b"FACP", &fadt);
        assert_eq!(off(&ram), Some(Off::Sleep { port: 0x600, value: 0x34 }));
    }

    #[test]
    fn nonsense_is_no_button() {
        let good = Ram::new();
        // Every byte of every table, wrong: it may be another button, but never a panic.
        let mut none = 0;
        for at in
            (0x100..0x124).chain(0x400..0x474).chain(0x600..0x640).chain(0x800..0x82c).chain(0xa00..0xa34)
        {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut ram = Ram(good.0.clone());
                ram.0[at] = value;
                none += u32::from(power_button(&ram, &Rsdp::At(RSDP)).is_none());
                // Behind a sum that is right.
                ram.sum(0x400, 116, 9);
                let _ = power_button(&ram, &Rsdp::At(RSDP));
                ram.sum(0xa00, 0x34, 9);
                let _ = power_off(&ram, &Rsdp::At(RSDP));
            }
        }
        assert!(none > 500, "a table that does not sum up is not used: {none}");
        let mut ram = Ram::new();
        ram.put(0x804, &u32::MAX.to_le_bytes());
        assert_eq!(power_button(&ram, &Rsdp::At(RSDP)), None, "a table beyond memory");
        ram = Ram::new();
        ram.put(0x600 + 44, &[2, 0]);
        ram.sum(0x600, 62, 9);
        assert_eq!(power_button(&ram, &Rsdp::At(RSDP)).map(|b| b.line), Some(9), "an entry of no length");
        assert_eq!(power_button(&Ram(Vec::new()), &SEARCH), None);
        assert_eq!(power_button(&good, &Rsdp::At(u64::MAX)), None);
    }
}
