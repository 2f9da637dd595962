//! ACPI's tables, as far as they are needed: the power button, where its status is and how it interrupts; the way to switch
//! the machine off; virtio devices that are nowhere else ([`virtio`]), and where PCI is configured that has no ports
//! ([`host_bridge`]) (ACPI 6.5, 5.2: RSDP, RSDT and XSDT, FADT, MADT, MCFG; DSDT and SSDT).
//!
//! The tables are the firmware's word, and are read as such: every table is measured and summed before it is used, and
//! what does not fit is as if it were not there. No AML is run: a button that is a device of the namespace
//! (`PNP0C0C`) is not found, and the sleep type of `_S5_` is, which every firmware writes as a plain package; of devices there
//! is what [`aml`] can read.

mod aml;

use core::ops::Range;

use aml::Resource;

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
        // Nearly everywhere it is not: memory is asked for by the piece, and each place costs one comparison.
        let search = |piece: u64| {
            let places = memory.bytes(piece, PIECE)?.chunks(16).zip((piece..).step_by(16));
            places.filter(|(bytes, _)| bytes.starts_with(SIGNATURE)).find_map(|(_, address)| at(address))
        };
        match self {
            Self::At(address) => at(*address),
            Self::Copy(bytes) => root(bytes),
            Self::Search { ebda } => {
                search(*ebda).or_else(|| (0xe_0000..0x10_0000).step_by(PIECE).find_map(search))
            }
        }
    }
}

const SIGNATURE: &[u8; 8] = b"RSD PTR ";
/// As large as the first area of a BIOS.
const PIECE: usize = 1024;

/// How the machine is switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    /// PM1 control registers (ACPI 6.5, 4.8.3.2): each port, and what to write there beside what is there.
    Control { ports: [Option<(u16, u16)>; 2], enable: Option<(u16, u8)> },
    /// The sleep control register of hardware-reduced ACPI (4.8.3.7).
    Sleep { register: Register, value: u8 },
}

/// A register of a byte (5.2.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    Port(u16),
    Memory(u64),
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
    let (a, b) = soft_off(dsdt(memory, fadt)?)?;
    if long(fadt, 112)? & HW_REDUCED != 0 {
        const SLEEP_ENABLE: u8 = 1 << 5;
        // A generic address: its space, then the address.
        let at = wide(fadt, 248).filter(|at| *at != 0)?;
        let register = match fadt.get(244)? {
            0 => Register::Memory(at),
            1 => Register::Port(u16::try_from(at).ok()?),
            _ => return None,
        };
        return Some(Off::Sleep { register, value: a << 2 | SLEEP_ENABLE });
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

/// A line that interrupts, counted over all I/O APICs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub number: u8,
    pub edge: bool,
    pub low: bool,
}

/// A virtio device's registers in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mmio {
    pub registers: Range<u64>,
    pub line: Option<Line>,
}

/// Calls `visit` with every virtio device on MMIO (`LNRO0005`, which is what Linux knows).
pub fn virtio(memory: &impl Physical, rsdp: &Rsdp, visit: &mut dyn FnMut(Mmio)) {
    let Some(list) = rsdp.list(memory) else { return };
    devices(memory, list, &mut |device| {
        if !device.is(b"LNRO0005") {
            return;
        }
        let (mut registers, mut line) = (None, None);
        device.resources(&mut |resource| match resource {
            Resource::Memory(range) => registers = registers.take().or(Some(range)),
            Resource::Line { number, edge, low } => {
                line = line.or(u8::try_from(number).ok().map(|number| Line { number, edge, low }));
            }
        });
        if let Some(registers) = registers {
            visit(Mmio { registers, line });
        }
    });
}

/// The I/O APIC that has this line (5.2.12.3): where its registers are, and its first line.
pub fn io_apic(memory: &impl Physical, rsdp: &Rsdp, line: u8) -> Option<(u64, u8)> {
    let madt = table(memory, rsdp.list(memory)?, b"APIC")?;
    let all = entries(madt).filter(|entry| entry[0] == 1);
    all.filter_map(|entry| Some((long(entry, 4)?.into(), u8::try_from(long(entry, 8)?).ok()?)))
        .filter(|(_, first)| *first <= line)
        .max_by_key(|(_, first)| *first)
}

/// A PCI host bridge without ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostBridge {
    /// Where bus 0 is configured: 4 KiB a function (PCI Express Base, 7.2.2).
    pub configuration: u64,
    /// Where its devices' memory may be, as far as that is said, of which what lies in the first 4 GiB.
    pub window: Range<u64>,
}

/// The host bridge of bus 0. Where it is configured the MCFG says (PCI Firmware 3.3, 4.1.2), or else the device itself.
pub fn host_bridge(memory: &impl Physical, rsdp: &Rsdp) -> Option<HostBridge> {
    let list = rsdp.list(memory)?;
    let mcfg = table(memory, list, b"MCFG").and_then(|mcfg| mcfg.get(HEADER + 8..)).unwrap_or_default();
    // Address, segment, first and last bus.
    let first = mcfg.chunks_exact(16).find(|entry| entry[8..11] == [0, 0, 0]);
    let mut configuration = first.and_then(|entry| wide(entry, 0));
    let mut window = 0..0;
    devices(memory, list, &mut |device| {
        // As texts, and as numbers.
        let named = device.is(b"PNP0A08") || device.is(b"PNP0A03");
        if !named && !device.is_eisa(0x080a_d041) && !device.is_eisa(0x030a_d041) {
            return;
        }
        configuration = configuration.or(device.configuration);
        device.resources(&mut |resource| {
            if let Resource::Memory(range) = resource
                && range.end <= 4 << 30
                && range.end.saturating_sub(range.start) > window.end - window.start
            {
                window = range;
            }
        });
    });
    Some(HostBridge { configuration: configuration?, window })
}

/// An RSDP: where the list of tables is, and how wide its entries are.
fn root(rsdp: &[u8]) -> Option<(u64, usize)> {
    let first = rsdp.get(..20)?;
    if !first.starts_with(SIGNATURE) || !sums_up(first) {
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

fn table<'m>(memory: &'m impl Physical, list: (u64, usize), name: &[u8; 4]) -> Option<&'m [u8]> {
    let mut found = None;
    tables(memory, list, name, &mut |table| found = found.or(Some(table)));
    found
}

/// Calls `visit` with every table of this name.
fn tables<'m>(
    memory: &'m impl Physical,
    (list, width): (u64, usize),
    name: &[u8; 4],
    visit: &mut dyn FnMut(&'m [u8]),
) {
    let entries = whole(memory, list).unwrap_or_default().get(HEADER..).unwrap_or_default();
    for entry in entries.chunks_exact(width) {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(entry);
        let at = u64::from_le_bytes(wide);
        if memory.bytes(at, 4).is_some_and(|bytes| bytes == name) {
            whole(memory, at).into_iter().for_each(&mut *visit);
        }
    }
}

fn dsdt<'m>(memory: &'m impl Physical, fadt: &[u8]) -> Option<&'m [u8]> {
    let at = [wide(fadt, 140), long(fadt, 40).map(u64::from)].into_iter().flatten().find(|at| *at != 0)?;
    whole(memory, at)
}

/// Calls `visit` with every device that the tables describe.
fn devices(memory: &impl Physical, list: (u64, usize), visit: &mut dyn FnMut(&aml::Device<'_>)) {
    let dsdt = table(memory, list, b"FACP").and_then(|fadt| dsdt(memory, fadt));
    let mut read = |table: &[u8]| aml::devices(&table[HEADER..], visit);
    dsdt.into_iter().for_each(&mut read);
    tables(memory, list, b"SSDT", &mut |table| read(table));
}

/// A table with its header, if it is what it says.
fn whole(memory: &impl Physical, at: u64) -> Option<&[u8]> {
    let length = long(memory.bytes(at, HEADER)?, 4)? as usize;
    let table = (HEADER..=LARGEST).contains(&length).then(|| memory.bytes(at, length)).flatten()?;
    sums_up(table).then_some(table)
}

/// The interrupt source override of an ISA line (ACPI 6.5, 5.2.12.5): line, edge, low.
fn overridden(madt: &[u8], isa: u8) -> Option<(u8, bool, bool)> {
    let entry = entries(madt).find(|entry| entry[0] == 2 && entry.get(3) == Some(&isa))?;
    let flags = short(entry, 8)?;
    Some((u8::try_from(long(entry, 4)?).ok()?, flags >> 2 & 3 == 1, flags & 3 == 3))
}

/// The entries of a MADT, each of two bytes at least.
fn entries(madt: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = madt.get(44..).unwrap_or_default();
    core::iter::from_fn(move || {
        let length = *rest.get(1)?;
        let (entry, after) = (length >= 2).then(|| rest.split_at_checked(length.into())).flatten()?;
        rest = after;
        Some(entry)
    })
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

    /// As QEMU 7.2 lays them out on `-M microvm,acpi=on`, and with `pcie=on`: the guest's memory, saved; but for the places.
    fn microvm(pcie: bool) -> Ram {
        let mut ram = Ram::new();
        let dsdt = match pcie {
            false => &include_bytes!("acpi/tables/qemu-microvm.dsdt")[..],
            true => include_bytes!("acpi/tables/qemu-microvm-pcie.dsdt"),
        };
        ram.put(0xa00, dsdt);
        let fadt = include_bytes!("acpi/tables/qemu-microvm.facp");
        ram.put(0x400, fadt);
        ram.put(0x400 + 40, &(BASE as u32 + 0xa00).to_le_bytes());
        ram.put(0x400 + 140, &(BASE + 0xa00).to_le_bytes());
        ram.sum(0x400, fadt.len(), 9);
        ram.put(0x600, include_bytes!("acpi/tables/qemu-microvm.apic"));
        ram
    }

    fn virtio_of(ram: &Ram) -> Vec<Mmio> {
        let mut all = Vec::new();
        virtio(ram, &Rsdp::At(RSDP), &mut |device| all.push(device));
        all
    }

    #[test]
    fn virtio_on_a_microvm() {
        let device = |at: u64, number| Mmio {
            registers: at..at + 0x200,
            line: Some(Line { number, edge: false, low: false }),
        };
        let mut ram = microvm(false);
        assert_eq!(virtio_of(&ram), [device(0xfeb0_2e00, 47), device(0xfeb0_2c00, 46)]);
        let io_apic = |ram: &Ram, line| io_apic(ram, &Rsdp::At(RSDP), line);
        assert_eq!(io_apic(&ram, 5), Some((0xfec0_0000, 0)));
        assert_eq!(io_apic(&ram, 23), Some((0xfec0_0000, 0)));
        assert_eq!(io_apic(&ram, 24), Some((0xfec1_0000, 24)));
        assert_eq!(io_apic(&ram, 255), Some((0xfec1_0000, 24)));
        assert_eq!(power_button(&ram, &Rsdp::At(RSDP)), None, "it is a device of AML's");
        assert_eq!(host_bridge(&ram, &Rsdp::At(RSDP)), None);

        // The first device's line: more than there can be.
        let line = ram.0[0xa00..].windows(4).position(|bytes| bytes == [47, 0, 0, 0]).unwrap();
        ram.put(0xa00 + line, &256_u32.to_le_bytes());
        ram.sum(0xa00, 472, 9);
        assert_eq!(virtio_of(&ram)[0].line, None);

        // In tables that come besides; and without the first.
        let mut ram = microvm(false);
        let ssdt = include_bytes!("acpi/tables/qemu-microvm.dsdt");
        for at in [0x1700, 0x1a00] {
            ram.table(at, b"SSDT", &ssdt[HEADER..]);
        }
        let list = [0x1700, 0x400, 0x600, 0x1a00].map(|at| (BASE as u32 + at).to_le_bytes()).concat();
        ram.table(0x800, b"RSDT", &list);
        assert_eq!(virtio_of(&ram).len(), 6);
        ram.0[0xa00 + 40] ^= 1;
        assert_eq!(virtio_of(&ram).len(), 4, "a table that does not sum up is not read");
        ram.0[0x400] = b'X';
        assert_eq!(virtio_of(&ram).len(), 4, "which need no FADT");
        assert!(virtio_of(&Ram(Vec::new())).is_empty());
    }

    #[test]
    fn the_host_bridge_of_a_microvm() {
        let bridge = |ram: &Ram| host_bridge(ram, &Rsdp::At(RSDP));
        let found = HostBridge { configuration: 0xe000_0000, window: 0xc000_0000..0xe000_0000 };
        let mut ram = microvm(true);
        assert_eq!(bridge(&ram), Some(found.clone()));
        // An MCFG counts before what the device says: of segment 0, and from bus 0 on.
        let entry = |at: u64, segment: u16, bus| {
            [&at.to_le_bytes()[..], &segment.to_le_bytes(), &[bus, 255, 0, 0, 0, 0]].concat()
        };
        let entries = [vec![0; 8], entry(1, 1, 0), entry(2, 0, 1), entry(0xb000_0000, 0, 0)].concat();
        ram.table(0x1700, b"MCFG", &entries);
        ram.table(0x800, b"RSDT", &[0x400, 0x1700].map(|at| (BASE as u32 + at).to_le_bytes()).concat());
        assert_eq!(bridge(&ram), Some(HostBridge { configuration: 0xb000_0000, ..found.clone() }));
        for short in 0..entries.len() - 16 {
            ram.table(0x1700, b"MCFG", &entries[..short]);
            assert_eq!(bridge(&ram), Some(found.clone()), "{short} bytes of it");
        }
        // Without the namespace there is no window.
        ram.table(0x1700, b"MCFG", &entries);
        ram.0[0xa00] = 0;
        assert_eq!(bridge(&ram), Some(HostBridge { configuration: 0xb000_0000, window: 0..0 }));
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
        assert_eq!(off(&ram), Some(Off::Sleep { register: Register::Port(0x600), value: 0x34 }));
        ram.put(0x400 + 248, &0x1_0000_u64.to_le_bytes());
        ram.sum(0x400, 276, 9);
        assert_eq!(off(&ram), None, "no port");
        ram.put(0x400 + 244, &[2]);
        ram.sum(0x400, 276, 9);
        assert_eq!(off(&ram), None, "PCI's configuration space");

        let memory = Register::Memory(0xfea0_0200);
        assert_eq!(off(&microvm(false)), Some(Off::Sleep { register: memory, value: 0x34 }));
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
