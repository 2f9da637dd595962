//! This machine's network: the stack over the first network card, raised when a guest is granted any of it.
//!
//! What the command line, or another source of settings ([`configuration`]), says of it: see [`lunette_net::Config`]. Without a card there is still the loopback, if that
//! is what was asked for (`lunette.ip=none`).

use alloc::{format, string::String, sync::Arc, vec::Vec};
use core::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

use lunette_config::Settings;
use lunette_hostcalls::{Log, Nanos, Net, task::Host};
use lunette_net::{
    Config, NoDevice, Stack, V4,
    smoltcp::{phy::Device, time::Instant},
};

use crate::{
    boot,
    cell::StaticCell,
    configuration,
    console::log,
    drivers::machine::{self, Card},
    mm,
    services::{KernelClock, KernelHost, KernelRandom},
    time,
};

/// What the stack says (addresses that come and go) is news, not a warning.
struct Notes;

impl Log for Notes {
    fn warn(&self, line: fmt::Arguments<'_>) {
        log!(info, "{line}");
    }
}

/// How long an address is waited for.
const PATIENCE: Nanos = 15_000_000_000;
/// What of the free memory sockets may take, and the buffers of the card; and the most of it.
const SOCKETS: (u64, u64) = (4, 64 << 20);
const BUFFERS: (u64, u64) = (32, 1 << 20);

enum Raised {
    Wire { stack: Arc<Stack<Card>>, wants_ipv4: bool },
    Loopback(Arc<Stack<NoDevice>>),
}

static RAISED: StaticCell<Option<Raised>> = StaticCell::new(None);

fn raised() -> &'static mut Option<Raised> {
    // SAFETY: one core, no interrupt handler comes here, and the only one who writes is `raise`, before there is anything
    // to poll.
    unsafe { &mut *RAISED.get() }
}

/// What the network may take of so much memory, if the command line lets us expect that there is one, or other sources of
/// settings may say so: whoever shares out the rest leaves it.
pub fn share(free: u64) -> u64 {
    let configured =
        configuration::found().map(|settings| settings.get("ip").is_none_or(|ip| ip.value != "none"));
    let told = || boot::info().cmdline.get("ip").is_some_and(|ip| ip != "none");
    if !configured.unwrap_or_else(told) {
        return 0;
    }
    [SOCKETS, BUFFERS].map(|(part, most)| (free / part).min(most)).iter().sum()
}

/// Raises the network and waits for its address. The error is one line, with its `help:`. Raised already, it is the same one,
/// and what is said of its address as well.
pub fn raise() -> Result<Arc<dyn Net>, String> {
    raise_as(configuration::found())
}

/// As these settings say, or the command line alone.
pub(crate) fn raise_as(settings: Option<&Settings>) -> Result<Arc<dyn Net>, String> {
    match raised() {
        Some(Raised::Wire { stack, wants_ipv4 }) => {
            wait_for_address(stack, *wants_ipv4, 0)?;
            return Ok(stack.clone());
        }
        Some(Raised::Loopback(stack)) => return Ok(stack.clone()),
        None => {}
    }
    let share = |(part, most): (u64, u64)| (mm::free_bytes() / part).min(most) as usize;
    let mut config = match settings {
        None => read(&mut boot::info().cmdline.words())?,
        Some(settings) => configured(settings)?,
    };
    config.memory = share(SOCKETS);
    match machine::open_card(share(BUFFERS)) {
        Some(Ok(())) => {}
        Some(Err(why)) => return Err(format!("the network card can't be used: {why}")),
        None if config.ipv4 == V4::None => {
            let stack = Stack::loopback(Arc::new(KernelClock), Arc::new(KernelRandom), Arc::new(Notes));
            log!(info, "network: the loopback only");
            *raised() = Some(Raised::Loopback(stack.clone()));
            return Ok(stack);
        }
        None => {
            return Err(
                "there is no network card; help: give the VM one (`lunette run --net user`, or QEMU's \
                        -device virtio-net-device or virtio-net-pci)"
                    .into(),
            );
        }
    }
    let (Some(card), Some(nic)) = (Card::new(), machine::nic()) else {
        return Err("the network card is gone".into());
    };
    config.mac = nic.mac();
    if !nic.link_is_up() {
        log!(warn, "network: the card says that its link is down");
    }
    let wants_ipv4 = config.ipv4 != V4::None;
    let stack = Stack::new(card, config, Arc::new(KernelClock), Arc::new(KernelRandom), Arc::new(Notes));
    *raised() = Some(Raised::Wire { stack: stack.clone(), wants_ipv4 });
    wait_for_address(&stack, wants_ipv4, PATIENCE)?;
    Ok(stack)
}

/// What all sources say; a wrong word's error says whose it is.
#[cold]
fn configured(settings: &Settings) -> Result<Config, String> {
    let words: Vec<_> = settings.words().collect();
    for (word, source) in &words {
        read(&mut core::iter::once(&**word)).map_err(|wrong| format!("{source}: {wrong}"))?;
    }
    read(&mut words.iter().map(|(word, _)| &**word))
}

/// In one copy for all.
fn read(words: &mut dyn Iterator<Item = &str>) -> Result<Config, String> {
    Config::from_words([0; 6], words)
}

fn wait_for_address(stack: &Stack<Card>, wants_ipv4: bool, patience: Nanos) -> Result<(), String> {
    let end = time::monotonic() + patience;
    loop {
        poll(time::monotonic());
        let status = stack.status();
        let Some(missing) = status.missing else { return Ok(()) };
        if let Some(fault) = machine::nic().and_then(|nic| nic.failure()) {
            return Err(format!("the network card can't be used: {fault}; help: {}", machine::help()));
        }
        if time::monotonic() >= end {
            if status.v6 || !wants_ipv4 {
                log!(warn, "network: {missing} has not come within 15 s; it goes on without");
                return Ok(());
            }
            return Err(format!(
                "the network has no address: {missing} has not come within 15 s; help: see that there is a DHCP server \
                 on the VM's network, or give an address (lunette run --ip ADDRESS/BITS,GATEWAY)"
            ));
        }
        if KernelHost.park(true, Some(end)).is_break() {
            return Err(
                "the VM was asked to stop while it waited for its address; help: start it again".into()
            );
        }
    }
}

/// How long the last words of guests may take to arrive.
const LINGER: Nanos = 5_000_000_000;

/// Lets arrive what guests wrote before they ended, for a while: nobody sends it once the machine is off.
pub fn linger() {
    let end = time::monotonic() + LINGER;
    let unfinished = || match raised() {
        None => false,
        Some(Raised::Loopback(stack)) => stack.unfinished(),
        Some(Raised::Wire { stack, .. }) => stack.unfinished(),
    };
    while unfinished() && time::monotonic() < end {
        if KernelHost.park(true, Some(end)).is_break() {
            return;
        }
    }
}

/// Takes what came, sends what is to be sent; true if somebody was woken. Costs nothing before there is a network.
pub(crate) fn poll(now: Nanos) -> bool {
    let (woken, next) = match raised() {
        None => return false,
        Some(Raised::Loopback(stack)) => turn(stack),
        Some(Raised::Wire { stack, .. }) => {
            let done = turn(stack);
            tend_card(now);
            done
        }
    };
    NEXT.store(next.unwrap_or(Nanos::MAX), Relaxed);
    woken
}

fn turn<D: Device + Send>(stack: &Stack<D>) -> (bool, Option<Nanos>) {
    let before = stack.wakes();
    let next = stack.poll();
    (stack.wakes() != before, next)
}

/// Has the card send, and says so once if it had to be given up.
fn tend_card(now: Nanos) {
    let Some(nic) = machine::nic() else { return };
    nic.flush(instant(now));
    static SAID: AtomicBool = AtomicBool::new(false);
    if let Some(fault) = nic.failure()
        && !SAID.swap(true, Relaxed)
    {
        log!(
            error,
            "network: the card breaks its contract: {fault}; it is shut down, and the VM goes on without"
        );
    }
}

fn instant(at: Nanos) -> Instant {
    Instant::from_micros((at / 1000) as i64)
}

/// When the stack wants to be polled again; `MAX`: when something happens.
static NEXT: AtomicU64 = AtomicU64::new(Nanos::MAX);

/// When [`poll`] is due again at the latest.
pub(crate) fn next(now: Nanos) -> Option<Nanos> {
    raised().as_ref()?;
    let card = machine::nic().and_then(|nic| nic.flush_at(instant(now)));
    let card = card.map_or(Nanos::MAX, |at| at.total_micros() as Nanos * 1000);
    Some(NEXT.load(Relaxed).min(card)).filter(|at| *at < Nanos::MAX)
}
