//! Devices. What a device says is a claim: indices and lengths are checked by `virtio-drivers`' queues, and
//! a device that does not answer in time is given up, with a line in the log.

pub(crate) mod virtio;

use virtio_drivers::{
    device::console::VirtIOConsole,
    queue::VirtQueue,
    transport::{DeviceType, SomeTransport, Transport},
};

use self::virtio::KernelHal;
use crate::{cell::StaticCell, console::log};

type InputConsole = VirtIOConsole<KernelHal, SomeTransport<'static>>;

/// The virtio console that standard input comes from, set up when it is first asked.
static INPUT: StaticCell<Option<InputConsole>> = StaticCell::new(None);

/// The next byte of standard input; `None`: not yet.
pub(crate) fn virtio_input() -> Result<Option<u8>, virtio_drivers::Error> {
    // SAFETY: one core, no interrupt handler reads input, and nothing below comes back here.
    let input = unsafe { &mut *INPUT.get() };
    if input.is_none() {
        let transport = virtio::find(DeviceType::Console).ok_or(virtio_drivers::Error::NotReady)?;
        *input = Some(VirtIOConsole::new(transport)?);
    }
    match input {
        Some(console) => console.recv(true),
        None => Ok(None),
    }
}

/// Fills `buf` from the first virtio-rng, if there is one. Looks for it at each call: it is called once.
pub(crate) fn virtio_entropy(buf: &mut [u8]) -> usize {
    let Some(transport) = virtio::find(DeviceType::EntropySource) else { return 0 };
    match entropy_from(transport, buf) {
        Ok(n) => n.min(buf.len()),
        Err(why) => {
            log!(warn, "virtio-rng: {why}; not used");
            0
        }
    }
}

/// One request to an entropy device (virtio 1.3, 5.4): one queue, one buffer that the device writes.
fn entropy_from(
    mut transport: SomeTransport<'static>,
    buf: &mut [u8],
) -> Result<usize, virtio_drivers::Error> {
    transport.begin_init(virtio::VERSION_1);
    let mut queue = VirtQueue::<KernelHal, 2>::new(&mut transport, 0, false, false)?;
    transport.finish_init();
    // SAFETY: the buffer is neither read nor moved until `pop_used` has taken it back, or the device has been
    // reset below.
    let token = unsafe { queue.add(&[], &mut [&mut *buf])? };
    transport.notify(0);
    let done = (0..10_000_000).any(|_| {
        core::hint::spin_loop();
        queue.can_pop()
    });
    let result = if done {
        // SAFETY: the very buffer that was added under this token.
        unsafe { queue.pop_used(token, &[], &mut [&mut *buf]) }.map(|n| n as usize)
    } else {
        Err(virtio_drivers::Error::NotReady)
    };
    transport.set_status(virtio_drivers::transport::DeviceStatus::empty());
    result
}
