//! The receiving half of a virtio console (virtio 1.3, 5.3): bytes that come, a buffer at a time.
//!
//! Not: sending (COM1 and the debug ports do that), more ports than the first, its size.

use alloc::{boxed::Box, vec::Vec};

use virtio_drivers::{
    Hal,
    queue::VirtQueue,
    transport::{DeviceStatus, Transport},
};

use super::Fault;

/// Buffers, of a page each.
const BUFFERS: usize = 4;
const BUFFER: usize = 4096;
const RECEIVE: u16 = 0;

pub struct Console<H: Hal, T: Transport> {
    transport: T,
    queue: VirtQueue<H, BUFFERS>,
    /// By index in the queue: each buffer is one descriptor, so they are the same.
    buffers: Vec<Box<[u8; BUFFER]>>,
    posted: [Option<u8>; BUFFERS],
    failed: bool,
}

impl<H: Hal, T: Transport> Console<H, T> {
    pub fn new(mut transport: T) -> Result<Self, Fault> {
        let set_up = super::negotiate(&mut transport, |_| 0)
            .and_then(|_| VirtQueue::new(&mut transport, RECEIVE, false, false).map_err(|_| Fault::Queues));
        let queue = set_up.inspect_err(|_| transport.set_status(DeviceStatus::FAILED))?;
        transport.finish_init();
        let buffers = (0..BUFFERS).map(|_| Box::new([0; BUFFER])).collect();
        let mut console = Self { transport, queue, buffers, posted: [None; BUFFERS], failed: false };
        for buffer in 0..BUFFERS {
            console.post(buffer)?;
        }
        console.transport.notify(RECEIVE);
        Ok(console)
    }

    fn post(&mut self, buffer: usize) -> Result<(), Fault> {
        // SAFETY: the buffer is a heap block of its own that lives as long as the queue, and is not looked at before
        // `read` has taken it back.
        let token = unsafe { self.queue.add(&[], &mut [&mut self.buffers[buffer][..]]) };
        let token = token.map_err(|_| Fault::Queues)?;
        self.posted[usize::from(token)] = Some(buffer as u8);
        Ok(())
    }

    /// Is there something to read? Reads memory only.
    pub fn work(&self) -> bool {
        !self.failed && self.queue.can_pop()
    }

    /// Shows `take` the next bytes that came. False: there are none now.
    pub fn read(&mut self, take: impl FnOnce(&[u8])) -> Result<bool, Fault> {
        if self.failed {
            return Ok(false);
        }
        let done = self.try_read(take);
        if done.is_err() {
            self.failed = true;
            self.transport.set_status(DeviceStatus::empty());
        }
        done
    }

    fn try_read(&mut self, take: impl FnOnce(&[u8])) -> Result<bool, Fault> {
        let Some(token) = self.queue.peek_used() else { return Ok(false) };
        let buffer = self.posted.get_mut(usize::from(token)).and_then(Option::take);
        let buffer = usize::from(buffer.ok_or(Fault::WildIndex(token))?);
        // SAFETY: the very buffer that was added under this token.
        let length = unsafe { self.queue.pop_used(token, &[], &mut [&mut self.buffers[buffer][..]]) };
        let length = length.map_err(|_| Fault::WildIndex(token))?;
        take(self.buffers[buffer].get(..length as usize).ok_or(Fault::WildLength(length))?);
        self.post(buffer)?;
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
        if self.queue.should_notify() {
            self.transport.notify(RECEIVE);
        }
        Ok(true)
    }

    /// Acknowledges an interrupt.
    pub fn acknowledge(&mut self) {
        let _ = self.transport.ack_interrupt();
    }
}

impl<H: Hal, T: Transport> Drop for Console<H, T> {
    fn drop(&mut self) {
        // The buffers are freed after this: not under a device that may still write to them.
        self.transport.set_status(DeviceStatus::empty());
        if !(0..1_000_000).any(|_| self.transport.get_status() == DeviceStatus::empty()) {
            core::mem::forget(core::mem::take(&mut self.buffers));
        }
    }
}
