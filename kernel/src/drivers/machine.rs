//! The devices of this machine that are in use: set up when they are first needed, and never taken down.

use lunette_net::smoltcp::{
    phy::{Device, DeviceCapabilities},
    time::Instant,
};
use virtio_drivers::{
    queue::VirtQueue,
    transport::{DeviceStatus, DeviceType, Transport},
};

use super::{
    Fault,
    console::Console,
    net::{Frame, Nic, Room},
    virtio::{self, DmaHal, KernelHal, Wired},
};
use crate::{arch::apic, cell::StaticCell, console::log};

/// A device, and the bit of its interrupt in [`apic::take_fired`]; 0: it has none.
struct InUse<D> {
    device: D,
    bit: u32,
}

static INPUT: StaticCell<Option<InUse<Console<KernelHal, Wired>>>> = StaticCell::new(None);
static CARD: StaticCell<Option<InUse<Nic<DmaHal, Wired>>>> = StaticCell::new(None);

fn input() -> &'static mut Option<InUse<Console<KernelHal, Wired>>> {
    // SAFETY: one core, no interrupt handler comes here, and no function of this module keeps the reference.
    unsafe { &mut *INPUT.get() }
}

fn card() -> &'static mut Option<InUse<Nic<DmaHal, Wired>>> {
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
        *slot = Some(InUse { device, bit });
    }
    Ok(())
}

/// Shows `take` the next bytes of standard input. False: there are none now.
pub(crate) fn read_input(take: impl FnOnce(&[u8])) -> Result<bool, Fault> {
    input().as_mut().map_or(Ok(false), |input| input.device.read(take))
}

/// Sets up the first network card. `memory`: what its buffers may take.
pub(crate) fn open_card(memory: usize) -> Option<Result<(), Fault>> {
    let mut wired = virtio::find(DeviceType::Network)?;
    let interrupt = wired.interrupt();
    let bit = interrupt.vector().map_or(0, apic::bit);
    Some(Nic::new(wired, memory).map(|device| {
        log!(debug, "virtio-net: features {:#x}, interrupt {interrupt:?}", device.features());
        *card() = Some(InUse { device, bit });
    }))
}

/// The network card, once it is there.
pub(crate) fn nic() -> Option<&'static mut Nic<DmaHal, Wired>> {
    card().as_mut().map(|card| &mut card.device)
}

/// Does every device that is in use interrupt? Else whoever waits has to look again now and then.
pub(crate) fn all_interrupt() -> bool {
    input().as_ref().is_none_or(|input| input.bit != 0) && card().as_ref().is_none_or(|card| card.bit != 0)
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
        card.device.acknowledge();
    }
}

/// Has a device something for us? What the console has counts if it can be taken. Reads memory only.
pub(crate) fn work(with_input: bool) -> bool {
    with_input && input().as_ref().is_some_and(|input| input.device.work())
        || card().as_ref().is_some_and(|card| card.device.work())
}

/// Lets devices interrupt from now on, or not. True: one has something for us already, so don't wait.
pub(crate) fn listen(on: bool, with_input: bool) -> bool {
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
    type TxToken<'a> = Room<'a, DmaHal, Wired>;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        nic()?.receive(now)
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        nic()?.transmit(now)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        nic().map(|nic| nic.capabilities()).unwrap_or_default()
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
