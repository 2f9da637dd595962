//! A guest of Xen: a PVH machine has no PCI, no I/O APIC, no UART, no PIT and no clock chip. What there is instead are
//! pages shared with other domains, and event channels that say when to look at them.
//!
//! Promises: what another domain writes is a claim. Indices are compared with what was asked, a response with what is
//! outstanding; a backend that lies is told nothing any more ([`super::Fault`]), and a store that does not keep the
//! protocol is not asked again. Every wait ends. What a device was granted stays granted until power-off, so nothing
//! that a backend may still write to is ever used for anything else.
//!
//! `guest` is this machine: the hypercalls, the console, events, the clock, power; the other files stand on no machine
//! and are tested on a laptop against a backend that can say what it likes. Not here: disks, suspending, more than one
//! card, several queues.
//!
//! Xen's public headers (xen/include/public) are the reference; the names are theirs.

mod bytes;
mod grant;
pub(crate) mod netfront;
mod ring;
mod store;

#[cfg(any(target_env = "musl", target_os = "none"))]
pub(crate) mod guest;
#[cfg(any(target_env = "musl", target_os = "none"))]
mod hypercall;

#[cfg(test)]
mod fake;

/// Xen's pages, whatever ours are.
const PAGE: usize = 4096;

/// What drivers ask of the hypervisor.
pub(crate) trait Hypervisor {
    /// Tells who is at the other end of an event channel to look.
    fn notify(&self, port: u32);
    /// An event channel that this domain may bind itself to.
    fn offer(&self, peer: u16) -> Option<u32>;
    /// Lets others have the processor: what is waited for is theirs to do.
    fn pause(&self);
    /// Nanoseconds, from whenever.
    fn now(&self) -> u64;
}

/// Waits until `done`, for so many nanoseconds at the most; false: it has not come.
fn wait_for(hypervisor: &impl Hypervisor, nanos: u64, mut done: impl FnMut() -> bool) -> bool {
    let begun = hypervisor.now();
    loop {
        if done() {
            return true;
        }
        if hypervisor.now().saturating_sub(begun) >= nanos {
            return false;
        }
        hypervisor.pause();
    }
}
