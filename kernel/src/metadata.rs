//! Asks a cloud's metadata service ([`lunette_config::metadata`]) over the network, which is raised for it.
//!
//! Promises: it takes no longer than [`PATIENCE`] once the network has its address; a service that is not there is told apart
//! from one that does not say what it should. Does not: leave a connection open, or give a guest a way there.

use alloc::string::{String, ToString};
use core::task::Waker;

use lunette_config::{
    Settings,
    metadata::{Cloud, Fault, PLACE, Service},
};
use lunette_hostcalls::{Errno, Interest, Nanos, Net, TcpStream, task::Host};

use crate::{console::log, network, services::KernelHost, time::monotonic};

/// How long all of it may take: answers come within milliseconds, but the service may start when the machine does.
const PATIENCE: Nanos = 10_000_000_000;
/// When it is tried again.
const AGAIN: Nanos = 1_000_000_000;

/// Why there is no answer.
enum Trouble {
    /// On the way to the service.
    Net(Errno),
    Fault(Fault),
    Stopped,
}

/// Takes what it says. That nobody is there is told, and no error.
#[inline(never)]
pub(crate) fn read(cloud: Option<Cloud>, settings: &mut Settings) -> Result<(), String> {
    if settings.get("ip").is_some_and(|ip| ip.value == "none") {
        log!(warn, "configuration: metadata: this machine has no address of IPv4 to ask from");
        return Ok(());
    }
    let net = match network::raise_as(Some(settings)) {
        Ok(net) => net,
        Err(why) => {
            log!(warn, "configuration: metadata: there is no network to ask over: {why}");
            return Ok(());
        }
    };
    let end = monotonic() + PATIENCE;
    let mut service = Service::new(cloud);
    while let Some(request) = service.request() {
        let mut connected = service.cloud().is_some();
        let trouble = exchange(&*net, &request, &mut service, settings, end, &mut connected);
        let late = monotonic() + AGAIN >= end;
        let fault = match trouble {
            Ok(()) => continue,
            Err(Trouble::Fault(fault)) => fault,
            Err(Trouble::Net(why)) if connected => service.fault(&why.to_string(), true),
            Err(Trouble::Net(why)) if late || why == Errno::Netunreach => {
                log!(warn, "configuration: metadata: nobody is at {PLACE}: {why}");
                return Ok(());
            }
            Err(Trouble::Net(_)) => Fault { why: String::new(), passes: true },
            Err(Trouble::Stopped) => {
                return Err(
                    "the VM was asked to stop before it had its settings; help: start it again".into()
                );
            }
        };
        if late || !fault.passes {
            return Err(fault.why);
        }
        let then = monotonic() + AGAIN;
        while wait(then).is_ok() {}
    }
    match service.cloud() {
        Some(name) => log!(info, "configuration: the metadata service is that of {name}"),
        None => log!(warn, "configuration: metadata: who answers at {PLACE} is no cloud that is known"),
    }
    Ok(())
}

/// One request and its answer, on a connection of their own.
fn exchange(
    net: &dyn Net,
    request: &str,
    service: &mut Service,
    settings: &mut Settings,
    end: Nanos,
    connected: &mut bool,
) -> Result<(), Trouble> {
    let stream = net.connect(PLACE).map_err(Trouble::Net)?;
    let stream = &*stream;
    patiently(stream, Interest::Write, end, &mut || stream.connected().map(|()| 0))?;
    *connected = true;
    let mut rest = request.as_bytes();
    while !rest.is_empty() {
        let sent = patiently(stream, Interest::Write, end, &mut || stream.write(rest))?;
        rest = rest.get(sent..).unwrap_or_default();
    }
    let mut piece = [0; 2048];
    loop {
        let came = patiently(stream, Interest::Read, end, &mut || stream.read(&mut piece))?;
        let whole = match came {
            0 => service.end(settings).map(|()| true),
            came => service.feed(&piece[..came], settings),
        };
        if whole.map_err(Trouble::Fault)? {
            return Ok(());
        }
    }
}

/// Does something as soon as it can be done.
#[inline(never)]
fn patiently(
    stream: &dyn TcpStream,
    interest: Interest,
    end: Nanos,
    f: &mut dyn FnMut() -> Result<usize, Errno>,
) -> Result<usize, Trouble> {
    loop {
        match f() {
            // Nobody runs that could be woken, but the host sees that somebody would have been, and does not halt.
            Err(Errno::Again) => stream.register(interest, Waker::noop()),
            done => return done.map_err(Trouble::Net),
        }
        wait(end)?;
    }
}

/// Waits until something happens, or it is late.
#[inline(never)]
fn wait(end: Nanos) -> Result<(), Trouble> {
    match () {
        () if monotonic() >= end => Err(Trouble::Net(Errno::Timedout)),
        () if KernelHost.park(true, Some(end)).is_break() => Err(Trouble::Stopped),
        () => Ok(()),
    }
}
