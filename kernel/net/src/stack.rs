//! The stack as its host and its guests hold it.

use alloc::{sync::Arc, vec::Vec};
use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering},
};

use lunette_hostcalls::{Clock, Errno, Log, Lookup, Nanos, Net, Random, TcpListener, TcpStream, UdpSocket};
use smoltcp::{
    iface::{Config as InterfaceConfig, Interface},
    phy::{Device, Medium},
    time::Instant,
    wire::{HardwareAddress, IpCidr},
};
use spin::Mutex;

use crate::{
    config::{Config, V4, V6},
    dhcp,
    hub::Hub,
    lane::{Inside, NoDevice},
    listener::Acceptor,
    resolve::Names,
    status::Status,
    tcp::Stream,
    udp::Port,
};

/// A network over one device. Whoever owns it calls [`Stack::poll`] when the device has something, when a guest
/// may have written something, and when the time comes that the last call named.
pub struct Stack<D> {
    shared: Arc<Shared>,
    device: Mutex<D>,
    names: Names,
}

/// All but the device: what sockets hold.
pub(crate) struct Shared {
    clock: Arc<dyn Clock>,
    hub: Mutex<Hub>,
    /// How often somebody was woken.
    wakes: AtomicU64,
}

impl Shared {
    /// Does something with the sockets, at the time that it is, and wakes whom that concerns.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut Hub) -> R) -> R {
        self.look(|hub| {
            hub.now = hub.now.max(instant(self.clock.monotonic()));
            f(hub)
        })
    }

    /// As [`Shared::with`], without a look at the clock.
    pub(crate) fn look<R>(&self, f: impl FnOnce(&mut Hub) -> R) -> R {
        let (result, woken) = {
            let mut hub = self.hub.lock();
            let result = f(&mut hub);
            (result, core::mem::take(&mut hub.woken))
        };
        self.wakes.fetch_add(woken.len() as u64, Ordering::Relaxed);
        // A waker may call the stack.
        for waker in woken {
            waker.wake();
        }
        result
    }
}

/// smoltcp counts microseconds.
fn instant(at: Nanos) -> Instant {
    Instant::from_micros(i64::try_from(at / 1000).unwrap_or(i64::MAX))
}

fn nanos(at: Instant) -> Nanos {
    u64::try_from(at.total_micros()).unwrap_or(0).saturating_mul(1000)
}

impl Stack<NoDevice> {
    /// The loopback, for a host that has no device.
    pub fn loopback(clock: Arc<dyn Clock>, random: Arc<dyn Random>, log: Arc<dyn Log>) -> Arc<Self> {
        Self::new(NoDevice, Config::loopback(), clock, random, log)
    }
}

impl<D: Device + Send> Stack<D> {
    /// Brings an interface up. Addresses that are asked for come later: see [`Stack::status`].
    pub fn new(
        mut device: D,
        config: Config,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        log: Arc<dyn Log>,
    ) -> Arc<Self> {
        let now = instant(clock.monotonic());
        let capabilities = device.capabilities();
        let medium = capabilities.medium;
        let mut wire = InterfaceConfig::new(dhcp::hardware(medium, config.mac));
        wire.slaac = config.ipv6 == V6::Auto && medium == Medium::Ethernet;
        let mut wire = Interface::new(wire, &mut device, now);
        dhcp::set_up(&mut wire, medium, &config);
        let mut inside =
            Interface::new(InterfaceConfig::new(HardwareAddress::Ip), &mut Inside::default(), now);
        inside.update_ip_addrs(|addresses| {
            for (ip, bits) in LOOPBACK {
                let _ = addresses.push(IpCidr::new(ip.into(), bits));
            }
        });
        // The device's addresses, and all of 127.0.0.0/8: what is sent there is ours.
        inside.set_any_ip(true);
        let asks = config.ipv4 == V4::Dhcp && medium == Medium::Ethernet;
        let names = Names::new(&config.hosts, &*log);
        let mut hub = Hub::new(config, (wire, inside), capabilities, random, log, now);
        if asks {
            hub.start_dhcp();
        }
        let shared = Arc::new(Shared { clock, hub: Mutex::new(hub), wakes: AtomicU64::new(0) });
        Arc::new(Self { shared, device: Mutex::new(device), names })
    }

    /// Takes what the device brought, sends what is to be sent, and wakes whom that concerns. Answers when it has to
    /// be called again at the latest; a time that is past: at once. The work of one call is bounded.
    pub fn poll(&self) -> Option<Nanos> {
        let next = self.turn();
        if self.names.is_idle() {
            return next;
        }
        // What is asked, or asked again, goes out at once.
        let next = if self.poll_names() { self.turn() } else { next };
        [next, self.names.poll_at()].into_iter().flatten().min()
    }

    fn turn(&self) -> Option<Nanos> {
        let mut device = self.device.lock();
        self.shared.with(|hub| {
            let more = hub.turn(&mut *device);
            if more { Some(nanos(hub.now)) } else { hub.next().map(nanos) }
        })
    }

    /// How often somebody was woken until now: a host that halts when nobody was looks at it before and after.
    pub fn wakes(&self) -> u64 {
        self.shared.wakes.load(Ordering::Relaxed)
    }

    /// How things stand.
    pub fn status(&self) -> Status {
        self.shared.look(|hub| hub.status())
    }

    /// Is something still on its way that a guest wrote before it let go of its connection? Whoever switches the
    /// machine off lets that arrive first, for a while.
    pub fn unfinished(&self) -> bool {
        self.shared.look(Hub::unfinished)
    }

    /// How many bytes sockets have taken of [`Config::memory`].
    pub fn memory_used(&self) -> usize {
        self.shared.look(|hub| hub.budget.used())
    }

    /// Does something with the device. Not from within one of its own methods.
    pub fn with_device<R>(&self, f: impl FnOnce(&mut D) -> R) -> R {
        f(&mut self.device.lock())
    }
}

impl<D: Send> Stack<D> {
    fn poll_names(&self) -> bool {
        let mut random = || self.shared.look(|hub| hub.random()) as u16;
        self.names.poll(self, self.shared.clock.monotonic(), &mut random)
    }
}

const LOOPBACK: [(IpAddr, u8); 2] =
    [(IpAddr::V4(Ipv4Addr::LOCALHOST), 8), (IpAddr::V6(Ipv6Addr::LOCALHOST), 128)];

impl<D: Send> Net for Stack<D> {
    fn listen(&self, at: SocketAddr, backlog: usize) -> Result<Arc<dyn TcpListener>, Errno> {
        let (id, local) = self.shared.with(|hub| hub.listen(at, backlog))?;
        Ok(Arc::new(Acceptor::new(self.shared.clone(), id, local)))
    }

    fn connect(&self, to: SocketAddr) -> Result<Arc<dyn TcpStream>, Errno> {
        let (id, flow) = self.shared.with(|hub| hub.connect(to))?;
        Ok(Arc::new(Stream::new(self.shared.clone(), id, flow)))
    }

    fn bind(&self, at: SocketAddr) -> Result<Arc<dyn UdpSocket>, Errno> {
        let (id, local) = self.shared.with(|hub| hub.bind(at))?;
        Ok(Arc::new(Port::new(self.shared.clone(), id, local)))
    }

    fn resolve(&self, name: &str) -> Result<Arc<dyn Lookup>, Errno> {
        let (ours, servers) = self.shared.look(|hub| {
            let status = hub.status();
            (status.addresses.into_iter().chain(LOOPBACK).map(|(ip, _)| ip).collect::<Vec<_>>(), status.dns)
        });
        self.names.set_servers(&servers);
        let lookup = self.names.ask(name, &ours, self.shared.clock.monotonic())?;
        self.poll_names();
        Ok(lookup)
    }

    fn addresses(&self) -> Vec<(IpAddr, u8)> {
        self.shared.look(|hub| LOOPBACK.into_iter().chain(hub.status().addresses).collect())
    }

    fn close_listeners(&self) {
        self.shared.with(Hub::close_listeners);
    }
}
