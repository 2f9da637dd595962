//! What a network card is to the rest of the kernel, whichever it is: frames that lie in buffers of the driver's own.
//!
//! virtio-net has its own way to the stack (`net`), without a call through a table on each frame; the others are this.
//! They sum no checksums and merge no segments.

use core::ptr::NonNull;

use lunette_net::smoltcp::time::{Duration, Instant};

use super::Fault;

/// A frame without VLAN tag and checksum, at the most.
pub(crate) const FRAME: usize = 1514;

/// A card. After a fault it is silent: it receives nothing, what is sent goes nowhere.
pub(crate) trait Frames {
    fn mac(&self) -> [u8; 6];
    /// Is there a cable? Yes, if the device does not say.
    fn link_is_up(&self) -> bool;
    /// Why it was given up, if it was.
    fn failure(&self) -> Option<Fault>;
    /// The next frame that came. It stays where it is until the next call of this or of [`Frames::flush`].
    fn receive(&mut self) -> Option<NonNull<[u8]>>;
    /// May [`Frames::buffer`] be asked for room?
    fn has_room(&mut self) -> bool;
    /// Room for a frame of this length; `None`: it goes nowhere.
    fn buffer(&mut self, length: usize) -> Option<&mut [u8]>;
    /// Sends what was written where [`Frames::buffer`] said.
    fn send(&mut self, length: usize);
    /// After a batch: gives buffers back, tells the device what is new, and sees that it goes on with its work.
    fn flush(&mut self, now: Instant);
    /// When [`Frames::flush`] should be called again, if nothing happens before.
    fn flush_at(&self, now: Instant) -> Option<Instant>;
    /// Lets the device interrupt from now on, or not. True: there is something to do already, so don't wait.
    fn listen(&mut self, on: bool) -> bool;
    /// Has the device brought something, or made the room that was missing?
    fn work(&self) -> bool;
    /// Acknowledges an interrupt.
    fn acknowledge(&mut self);
}

/// How long a device may take nothing of what is to be sent, as far as somebody looked: a VM that was paused blames
/// nobody.
const PATIENCE: Duration = Duration::from_secs(5);
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// Has the device done nothing of its work for too long?
pub(crate) struct Watch {
    looked: Instant,
    stuck: Duration,
}

impl Watch {
    pub(crate) const fn new() -> Self {
        Self { looked: Instant::ZERO, stuck: Duration::ZERO }
    }

    /// It has done something.
    pub(crate) fn alive(&mut self) {
        self.stuck = Duration::ZERO;
    }

    /// `waiting`: something that it was told of before the last look is not done.
    pub(crate) fn look(&mut self, now: Instant, waiting: bool) -> Result<(), Fault> {
        let since = if now > self.looked { now - self.looked } else { Duration::ZERO };
        self.looked = now;
        if waiting {
            self.stuck += since.min(LOOK);
        } else {
            self.stuck = Duration::ZERO;
        }
        if self.stuck < PATIENCE { Ok(()) } else { Err(Fault::Stuck) }
    }
}
