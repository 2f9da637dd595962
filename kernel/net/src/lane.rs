//! The two interfaces' ends: the device, watched; the queue that leads from ourselves to ourselves; one frame at
//! a time on its way in.

use alloc::{collections::VecDeque, vec, vec::Vec};

use smoltcp::{
    phy::{Checksum, ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken},
    time::Instant,
};

/// No device: a stack that has its loopback and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDevice;

impl Device for NoDevice {
    type RxToken<'a> = Never;
    type TxToken<'a> = Never;

    fn receive(&mut self, _: Instant) -> Option<(Never, Never)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Never> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

/// A frame of [`NoDevice`].
#[derive(Debug)]
pub enum Never {}

impl RxToken for Never {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, _: F) -> R {
        match self {}
    }
}

impl TxToken for Never {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, _: F) -> R {
        match self {}
    }
}

/// The device while one socket sends: what became of that?
pub(crate) struct Watched<'d, D> {
    pub(crate) device: &'d mut D,
    /// Somebody wanted to send.
    pub(crate) asked: bool,
    /// The device can take no more for now.
    pub(crate) full: bool,
}

impl<'d, D: Device> Watched<'d, D> {
    pub(crate) fn new(device: &'d mut D) -> Self {
        Self { device, asked: false, full: false }
    }
}

impl<D: Device> Device for Watched<'_, D> {
    type RxToken<'a>
        = D::RxToken<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = D::TxToken<'a>
    where
        Self: 'a;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        self.device.receive(now)
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        self.asked = true;
        let token = self.device.transmit(now);
        self.full |= token.is_none();
        token
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.device.capabilities()
    }
}

/// One frame that came, and the place for its answer.
pub(crate) struct OneFrame<'f, T> {
    pub(crate) frame: &'f [u8],
    pub(crate) answer: Option<T>,
    pub(crate) capabilities: DeviceCapabilities,
}

impl<T: TxToken> Device for OneFrame<'_, T> {
    type RxToken<'a>
        = Frame<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = T
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(Frame<'_>, T)> {
        Some((Frame(self.frame), self.answer.take()?))
    }

    fn transmit(&mut self, _: Instant) -> Option<T> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.capabilities.clone()
    }
}

pub(crate) struct Frame<'a>(&'a [u8]);

impl RxToken for Frame<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// Packets from ourselves to ourselves, the oldest first.
#[derive(Default)]
pub(crate) struct Inside(pub(crate) VecDeque<Vec<u8>>);

/// More wait where they come from.
const INSIDE_MOST: usize = 64;
/// The longest packet there is.
const INSIDE_MTU: usize = 65535;

impl Device for Inside {
    type RxToken<'a> = Frame<'a>;
    type TxToken<'a> = Inward<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Frame<'_>, Inward<'_>)> {
        None
    }

    fn transmit(&mut self, _: Instant) -> Option<Inward<'_>> {
        (self.0.len() < INSIDE_MOST).then_some(Inward(&mut self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = INSIDE_MTU;
        // It does not leave our memory.
        let mut none = ChecksumCapabilities::ignored();
        none.icmpv6 = Checksum::None;
        capabilities.checksum = none;
        capabilities
    }
}

pub(crate) struct Inward<'a>(pub(crate) &'a mut VecDeque<Vec<u8>>);

impl TxToken for Inward<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push_back(packet);
        result
    }
}
