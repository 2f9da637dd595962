//! The devices of this machine that are in use: set up when they are first needed, and never taken down.

use alloc::{boxed::Box, format, string::String, vec::Vec};

use lunette_net::smoltcp::{
    phy::{Device, DeviceCapabilities, Medium, TxToken},
    time::Instant,
};
use virtio_drivers::{
    queue::VirtQueue,
    transport::{DeviceStatus, DeviceType, Transport},
};

use super::{
    Fault,
    card::Frames,
    console::Console,
    e1000::{self, E1000},
    net::{Frame, Nic, Room},
    pci::{
        self,
        plain::{self, Plain},
    },
    virtio::{self, DmaHal, Interrupt, KernelHal, Wired},
    vmxnet3::{self, Vmxnet3},
    xen::{guest as xen, netfront::Missing},
};
use crate::{
    arch::apic,
    cell::StaticCell,
    console::{self, log},
};

/// A device, and the bit of its interrupt in [`apic::take_fired`]; 0: it has none.
struct InUse<D> {
    device: D,
    bit: u32,
    /// Its interrupt is known to arrive.
    heard: bool,
}

static INPUT: StaticCell<Option<InUse<Console<KernelHal, Wired>>>> = StaticCell::new(None);
static CARD: StaticCell<Option<InUse<AnyNic>>> = StaticCell::new(None);

/// A network card, of those that there are drivers for.
#[expect(clippy::large_enum_variant, reason = "there is one, and it does not move")]
pub(crate) enum AnyNic {
    Virtio(Nic<DmaHal, Wired>),
    Xen(Box<xen::Card>),
    Other(Box<dyn Frames>),
}

/// What every card can be asked.
macro_rules! each {
    ($any:expr, $nic:ident => $what:expr) => {
        match $any {
            AnyNic::Virtio($nic) => $what,
            AnyNic::Xen($nic) => $what,
            AnyNic::Other($nic) => $what,
        }
    };
}

impl AnyNic {
    pub(crate) fn mac(&self) -> [u8; 6] {
        each!(self, nic => nic.mac())
    }

    pub(crate) fn link_is_up(&self) -> bool {
        each!(self, nic => nic.link_is_up())
    }

    pub(crate) fn failure(&self) -> Option<Fault> {
        each!(self, nic => nic.failure())
    }

    pub(crate) fn flush(&mut self, now: Instant) {
        each!(self, nic => nic.flush(now));
    }

    pub(crate) fn flush_at(&self, now: Instant) -> Option<Instant> {
        each!(self, nic => nic.flush_at(now))
    }

    fn listen(&mut self, on: bool) -> bool {
        each!(self, nic => nic.listen(on))
    }

    fn work(&self) -> bool {
        each!(self, nic => nic.work())
    }

    fn acknowledge(&mut self) {
        each!(self, nic => nic.acknowledge());
    }
}

fn input() -> &'static mut Option<InUse<Console<KernelHal, Wired>>> {
    // SAFETY: one core, no interrupt handler comes here, and no function of this module keeps the reference.
    unsafe { &mut *INPUT.get() }
}

fn card() -> &'static mut Option<InUse<AnyNic>> {
    // SAFETY: as above; and `Card`'s frames borrow it, while smoltcp reads or fills them, which calls nobody here.
    unsafe { &mut *CARD.get() }
}

/// Sets up the virtio console that standard input comes from, if that has not been done.
pub(crate) fn open_input() -> Result<(), &'static str> {
    let slot = input();
    if slot.is_none() {
        let mut wired = virtio::find(DeviceType::Console).ok_or("there is none")?;
        let bit = wired.interrupt().vector().map_or(0, apic::bit);
        let device = Console::new(wired).map_err(|fault| {
            log!(error, "virtio-console: {fault}");
            "it can't be used"
        })?;
        *slot = Some(InUse { device, bit, heard: true });
    }
    Ok(())
}

/// Shows `take` the next bytes of standard input. False: there are none now.
pub(crate) fn read_input(take: impl FnOnce(&[u8])) -> Result<bool, Fault> {
    input().as_mut().map_or(Ok(false), |input| input.device.read(take))
}

/// Sets up the first network card. `memory`: what its buffers may take. The error is a reason, with its `help:`.
pub(crate) fn open_card(memory: usize) -> Option<Result<(), String>> {
    if xen::present() {
        return open_netfront(memory);
    }
    let Some(mut wired) = virtio::find(DeviceType::Network) else {
        return open_other(memory).map(|opened| opened.map_err(|fault| format!("{fault}; help: {}", help())));
    };
    let interrupt = wired.interrupt();
    let bit = interrupt.vector().map_or(0, apic::bit);
    let opened = Nic::new(wired, memory).map(|device| {
        log!(debug, "virtio-net: features {:#x}, interrupt {interrupt:?}", device.features());
        *card() = Some(InUse { device: AnyNic::Virtio(device), bit, heard: true });
    });
    Some(opened.map_err(|fault| format!("{fault}; help: {}", help())))
}

/// A card on PCI that is not virtio's.
fn open_other(memory: usize) -> Option<Result<(), Fault>> {
    if !pci::is_there() {
        return None;
    }
    let intel = plain::find(e1000::VENDOR, &e1000::DEVICES);
    let is_intel = intel.is_some();
    let found = intel.or_else(|| plain::find(vmxnet3::VENDOR, &vmxnet3::DEVICES))?;
    let interrupt = found.interrupt();
    let device = if is_intel { open_e1000(&found, memory) } else { open_vmxnet3(&found, memory) };
    Some(device.map(|device| {
        log!(debug, "network card {:#x}: interrupt {interrupt:?}", found.device);
        let bit = interrupt.vector().map_or(0, apic::bit);
        // Which line of the I/O APIC a PCI line is, is the firmware's word.
        let heard = !matches!(interrupt, Interrupt::Line(_));
        *card() = Some(InUse { device: AnyNic::Other(device), bit, heard });
    }))
}

fn open_e1000(found: &Plain, memory: usize) -> Result<Box<dyn Frames>, Fault> {
    let registers = found.region(0, e1000::REGISTERS).ok_or(Fault::Refused)?;
    Ok(Box::new(E1000::<DmaHal, _>::new(registers, memory)?))
}

fn open_vmxnet3(found: &Plain, memory: usize) -> Result<Box<dyn Frames>, Fault> {
    let region = |bar| found.region(bar, vmxnet3::REGISTERS).ok_or(Fault::Refused);
    Ok(Box::new(Vmxnet3::<DmaHal, _>::new(region(0)?, region(1)?, memory)?))
}

fn open_netfront(memory: usize) -> Option<Result<(), String>> {
    Some(match xen::open_card(memory) {
        Ok(device) => {
            log!(debug, "netfront: connected");
            let bit = xen::events();
            *card() = Some(InUse { device: AnyNic::Xen(Box::new(device)), bit, heard: true });
            Ok(())
        }
        Err(Missing::NotThere) => return None,
        Err(Missing::Device(fault)) => Err(format!("{fault}; help: {}", help())),
        Err(Missing::Store(problem)) => {
            Err(format!("{problem}; help: look at xenstored in the first domain"))
        }
    })
}

/// What may be done about a card that can't be used.
pub(crate) fn help() -> &'static str {
    if xen::present() {
        "see that the domain's `vif` has a backend and its script works (xl network-list, and the toolstack's log)"
    } else {
        "give the VM a virtio-net device"
    }
}

/// Sees to what Xen's store tells of; elsewhere there is none.
pub(crate) fn look_at_store() {
    if xen::present() {
        xen::look(match nic() {
            Some(AnyNic::Xen(card)) => Some(card),
            _ => None,
        });
    }
}

/// The network card, once it is there.
pub(crate) fn nic() -> Option<&'static mut AnyNic> {
    card().as_mut().map(|card| &mut card.device)
}

/// Does every device that is in use interrupt? Else whoever waits has to look again now and then.
pub(crate) fn all_interrupt() -> bool {
    input().as_ref().is_none_or(|input| input.bit != 0)
        && card().as_ref().is_none_or(|card| card.bit != 0 && card.heard)
}

/// Sees to the devices whose interrupts were recorded.
pub(crate) fn acknowledge(fired: u32) {
    if let Some(input) = input()
        && input.bit & fired != 0
    {
        input.device.acknowledge();
    }
    if let Some(card) = card()
        && card.bit & fired != 0
    {
        card.heard = true;
        card.device.acknowledge();
    }
}

/// Has a device something for us? What the console has counts if it can be taken. Reads memory only.
pub(crate) fn work(with_input: bool) -> bool {
    with_input && input().as_ref().is_some_and(|input| input.device.work())
        || card().as_ref().is_some_and(|card| card.device.work())
        || xen::present() && xen_work(with_input)
}

fn xen_work(with_input: bool) -> bool {
    xen::work() || with_input && console::input_is_open() && xen::console_work()
}

/// Lets devices interrupt from now on, or not. True: one has something for us already, so don't wait.
pub(crate) fn listen(on: bool, with_input: bool) -> bool {
    if on && xen::present() {
        xen::arm();
        if xen_work(with_input) {
            return true;
        }
    }
    // The console interrupts whenever it has something: that is rare, and kept out while we run.
    let card = card().as_mut().is_some_and(|card| card.device.listen(on));
    card || with_input && input().as_ref().is_some_and(|input| input.device.work())
}

/// The network card as the stack has it: there is one, and it is in here.
pub(crate) struct Card(());

impl Card {
    /// The card, once it is open. There must be one stack.
    pub(crate) fn new() -> Option<Self> {
        nic().map(|_| Self(()))
    }
}

impl Device for Card {
    type RxToken<'a> = Frame<'a>;
    type TxToken<'a> = AnyRoom<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        match nic()? {
            AnyNic::Virtio(nic) => {
                let (frame, room) = nic.receive(now)?;
                Some((frame, AnyRoom::Virtio(room)))
            }
            AnyNic::Xen(nic) => receive(&mut **nic),
            AnyNic::Other(nic) => receive(&mut **nic),
        }
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        match nic()? {
            AnyNic::Virtio(nic) => nic.transmit(now).map(AnyRoom::Virtio),
            AnyNic::Xen(nic) => nic.has_room().then_some(AnyRoom::Frames(&mut **nic)),
            AnyNic::Other(nic) => nic.has_room().then_some(AnyRoom::Frames(&mut **nic)),
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        match nic() {
            Some(AnyNic::Virtio(nic)) => nic.capabilities(),
            _ => {
                let mut capabilities = DeviceCapabilities::default();
                capabilities.medium = Medium::Ethernet;
                capabilities.max_transmission_unit = super::card::FRAME;
                capabilities
            }
        }
    }
}

/// A frame may ask for an answer, so it is not looked at before there is room for one.
fn receive(nic: &mut dyn Frames) -> Option<(Frame<'_>, AnyRoom<'_>)> {
    if !nic.has_room() {
        return None;
    }
    let frame = nic.receive()?;
    // SAFETY: it stays where it is until `receive` or `flush` is called again; for both the card is needed, which is
    // borrowed as long as the frame. Room is elsewhere.
    Some((Frame(unsafe { frame.as_ref() }), AnyRoom::Frames(nic)))
}

/// Room for a frame that is to go.
pub(crate) enum AnyRoom<'a> {
    Virtio(Room<'a, DmaHal, Wired>),
    Frames(&'a mut dyn Frames),
}

impl TxToken for AnyRoom<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, length: usize, fill: F) -> R {
        let room = match &mut self {
            Self::Virtio(room) => room.open(length),
            Self::Frames(nic) => nic.buffer(length),
        };
        let goes = room.is_some();
        let mut nowhere = Vec::new();
        let bytes = room.unwrap_or_else(|| {
            nowhere.resize(length, 0);
            &mut nowhere
        });
        // In one place, for each call is a copy of it.
        let result = fill(bytes);
        match self {
            _ if !goes => {}
            Self::Virtio(room) => room.send(length),
            Self::Frames(nic) => nic.send(length),
        }
        result
    }
}

/// Fills `buf` from the first virtio-rng, if there is one. Looks for it at each call: it is called once.
pub(crate) fn virtio_entropy(buf: &mut [u8]) -> usize {
    let Some(transport) = virtio::find(DeviceType::EntropySource) else { return 0 };
    match entropy_from(transport, buf) {
        Ok(n) => n.min(buf.len()),
        Err(fault) => {
            log!(warn, "virtio-rng: {fault}; not used");
            0
        }
    }
}

/// One request to an entropy device (virtio 1.3, 5.4): one queue, one buffer that the device writes.
fn entropy_from(mut transport: Wired, buf: &mut [u8]) -> Result<usize, Fault> {
    super::negotiate(&mut transport, |_| 0)?;
    let queue = VirtQueue::<KernelHal, 2>::new(&mut transport, 0, false, false);
    let mut queue = queue.map_err(|_| Fault::Queues)?;
    transport.finish_init();
    // SAFETY: the buffer is neither read nor moved until `pop_used` has taken it back, or the device has been
    // reset below.
    let token = unsafe { queue.add(&[], &mut [&mut *buf]) }.map_err(|_| Fault::Queues)?;
    transport.notify(0);
    let done = (0..10_000_000).any(|_| {
        core::hint::spin_loop();
        queue.can_pop()
    });
    let result = if done {
        // SAFETY: the very buffer that was added under this token.
        unsafe { queue.pop_used(token, &[], &mut [&mut *buf]) }
            .map(|n| n as usize)
            .map_err(|_| Fault::WildIndex(token))
    } else {
        Err(Fault::Stuck)
    };
    transport.set_status(DeviceStatus::empty());
    result
}
