//! Devices. What a device says is a claim: each driver keeps its own account of what the device was given, and one
//! that says otherwise, or does not answer in time, is reset and given up, with a line in the log that says why
//! ([`Fault`]). Never a panic, never an endless loop.
//!
//! The drivers are generic over `virtio-drivers`' transports and are tested on a laptop against devices that lie;
//! `virtio` finds them on this machine and wires their interrupts, `machine` holds those in use.

pub mod block;
pub mod console;
#[cfg(test)]
mod fake;
mod memory;
pub mod net;

// What only `machine` uses, and tests.
#[cfg(any(test, target_env = "musl", target_os = "none"))]
#[cfg_attr(test, allow(dead_code, reason = "a test does not call all that the machine does"))]
pub(crate) mod card;
#[cfg(any(test, target_env = "musl", target_os = "none"))]
#[cfg_attr(test, allow(dead_code, reason = "as above"))]
mod e1000;
#[cfg(any(test, target_env = "musl", target_os = "none"))]
mod registers;
#[cfg(any(test, target_env = "musl", target_os = "none"))]
mod slots;
#[cfg(any(test, target_env = "musl", target_os = "none"))]
#[cfg_attr(test, allow(dead_code, reason = "as above"))]
mod vmxnet3;
#[cfg(any(test, target_env = "musl", target_os = "none"))]
#[cfg_attr(test, allow(dead_code, reason = "as above"))]
pub(crate) mod xen;

#[cfg(any(target_env = "musl", target_os = "none"))]
pub(crate) mod fw_cfg;
#[cfg(any(target_env = "musl", target_os = "none"))]
pub(crate) mod machine;
#[cfg(any(target_env = "musl", target_os = "none"))]
mod pci;
#[cfg(any(target_env = "musl", target_os = "none"))]
pub(crate) mod virtio;

use core::fmt;

use virtio_drivers::transport::{DeviceStatus, Transport};

/// Why a device is not used (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not accept what it offered, or has no such configuration.
    Refused,
    /// Neither VERSION_1 nor, as a legacy device, ANY_LAYOUT.
    TooOld,
    /// Its queues are too small.
    Queues,
    /// There is no memory for it.
    NoMemory,
    /// It gives back what it does not have.
    WildIndex(u16),
    /// It says that it wrote so much: more than the buffer, or less than a header.
    WildLength(u32),
    /// A frame in so many buffers, which it has not given back.
    WildPieces(u16),
    /// It takes nothing of what is to be sent.
    Stuck,
    /// Its other half, in another domain, has closed it, or is not there.
    Closed,
    /// Its other half has not become ready.
    NotReady,
    /// It says that it could not read what it has.
    Unreadable(u8),
    /// It has not answered.
    Silent,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("it refuses the features that it offered"),
            Self::TooOld => f.write_str("it is a legacy device without ANY_LAYOUT"),
            Self::Queues => f.write_str("its queues are too small, or not there"),
            Self::NoMemory => f.write_str("there is no memory for its buffers"),
            Self::WildIndex(index) => write!(f, "it gave back buffer {index}, which it does not have"),
            Self::WildLength(length) => write!(f, "it says that it wrote {length} bytes into a buffer"),
            Self::WildPieces(pieces) => write!(f, "it announced a frame in {pieces} buffers"),
            Self::Stuck => f.write_str("it has taken nothing of what is to be sent for 5 s"),
            Self::Closed => f.write_str("its backend has closed it, or is gone"),
            Self::NotReady => f.write_str("its backend has not become ready within 10 s"),
            Self::Unreadable(status) => write!(f, "it could not read (status {status})"),
            Self::Silent => f.write_str("it does not answer"),
        }
    }
}

/// Feature bits (virtio 1.3, 5.1.3 and 6).
pub(crate) mod feature {
    pub(crate) const CSUM: u64 = 1;
    pub(crate) const GUEST_CSUM: u64 = 1 << 1;
    pub(crate) const MTU: u64 = 1 << 3;
    pub(crate) const MAC: u64 = 1 << 5;
    pub(crate) const GUEST_TSO4: u64 = 1 << 7;
    pub(crate) const GUEST_TSO6: u64 = 1 << 8;
    pub(crate) const MRG_RXBUF: u64 = 1 << 15;
    pub(crate) const STATUS: u64 = 1 << 16;
    pub(crate) const ANY_LAYOUT: u64 = 1 << 27;
    pub(crate) const VERSION_1: u64 = 1 << 32;
}

/// Begins the set-up (virtio 1.3, 3.1.1) and agrees on `choose` of what the device offers, and on what every driver
/// here needs. Ends with `finish_init`.
pub(crate) fn negotiate<T: Transport>(
    transport: &mut T,
    choose: impl FnOnce(u64) -> u64,
) -> Result<u64, Fault> {
    negotiate_with(transport, feature::ANY_LAYOUT, choose)
}

/// The same, where a driver's requests are laid out as legacy devices want them: then `legacy` is 0.
pub(crate) fn negotiate_with<T: Transport>(
    transport: &mut T,
    legacy: u64,
    choose: impl FnOnce(u64) -> u64,
) -> Result<u64, Fault> {
    transport.set_status(DeviceStatus::empty());
    transport.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
    let offered = transport.read_device_features();
    let needed = if transport.requires_legacy_layout() { legacy } else { feature::VERSION_1 };
    if offered & needed != needed {
        return Err(Fault::TooOld);
    }
    let features = choose(offered) & offered | needed;
    transport.write_driver_features(features);
    if !transport.requires_legacy_layout() {
        let accepted = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK;
        transport.set_status(accepted);
        if !transport.get_status().contains(DeviceStatus::FEATURES_OK) {
            return Err(Fault::Refused);
        }
    }
    transport.set_guest_page_size(virtio_drivers::PAGE_SIZE as u32);
    Ok(features)
}
