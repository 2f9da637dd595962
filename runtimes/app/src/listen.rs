//! The sockets that listen when a guest starts: one for each `network.listen` of TCP that names a port.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use lunette_bundle::{GuestPlan, HELP};
use lunette_hostcalls::{
    Errno, Listening, Net, TcpListener,
    grants::{Listen, Protocol},
};

use crate::Refusal;

/// How many connections may wait to be accepted. Preview 1 has no way to ask for another number.
const BACKLOG: usize = 128;

/// Who listens where, so that whoever comes second is told.
#[derive(Default)]
pub(crate) struct Ports(Vec<(SocketAddr, String)>);

impl Ports {
    /// Makes a guest's listeners, in the order of its grants.
    pub(crate) fn listen(&mut self, guest: &GuestPlan, net: &dyn Net) -> Result<Vec<Listening>, Refusal> {
        let mut listeners = Vec::new();
        for grant in &guest.grants.listen {
            let (Protocol::Tcp, Some(1..)) = (grant.protocol, grant.port) else { continue };
            let free = !self.0.iter().any(|(at, _)| overlap(*at, grant.address()));
            let socket = if free { listen(grant, net) } else { Err(Errno::Addrinuse) };
            let socket =
                socket.map_err(|errno| Refusal(self.refusal(guest, grant, errno, &net.addresses())))?;
            self.0.push((grant.address(), guest.name.clone()));
            listeners.push(Listening { name: grant.to_string(), socket });
        }
        Ok(listeners)
    }

    #[cold]
    fn refusal(&self, guest: &GuestPlan, grant: &Listen, errno: Errno, ours: &[(IpAddr, u8)]) -> String {
        let name = &guest.name;
        let other = self.0.iter().find(|(at, _)| overlap(*at, grant.address()));
        match (errno, other) {
            (Errno::Addrinuse, Some((_, other))) if other == name => {
                format!("{name} listens on {grant} twice{HELP}give each port once in its `network.listen`")
            }
            (Errno::Addrinuse, Some((_, other))) => format!(
                "{name} can't listen on {grant}: {other} does already{HELP}give each guest a port of its own in its \
                 `network.listen`"
            ),
            (Errno::Addrinuse, None) => format!(
                "{name} can't listen on {grant}: the port is in use{HELP}give it another port in its `network.listen`, or end \
                 what listens there"
            ),
            (Errno::Addrnotavail, _) => {
                let ours: Vec<_> = ours.iter().map(|(ip, _)| ip.to_string()).collect();
                format!(
                    "{name} can't listen on {grant}: that is none of the addresses here, which are {}{HELP}leave the \
                     address out, to listen on all",
                    ours.join(", ")
                )
            }
            (errno, _) => format!(
                "{name} can't listen on {grant}: {errno}{HELP}give it another port in its `network.listen`"
            ),
        }
    }
}

/// Would a connection find both? Networks differ in whether they allow it; nobody means it.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let takes = |a: IpAddr, b: IpAddr| a.is_unspecified() && (a.is_ipv6() || b.is_ipv4());
    a.port() == b.port() && (a.ip() == b.ip() || takes(a.ip(), b.ip()) || takes(b.ip(), a.ip()))
}

/// All addresses are those of IPv4 where there is no IPv6.
fn listen(grant: &Listen, net: &dyn Net) -> Result<Arc<dyn TcpListener>, Errno> {
    let at = grant.address();
    match net.listen(at, BACKLOG) {
        Err(Errno::Afnosupport | Errno::Addrnotavail) if at.is_ipv6() && at.ip().is_unspecified() => {
            net.listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port()), BACKLOG)
        }
        result => result,
    }
}

/// Tells the guest in its environment, as systemd does (sd_listen_fds(3)), unless somebody has set these. A name
/// may not have a colon there, so it has an underscore.
pub(crate) fn tell(env: &mut Vec<(String, String)>, listeners: &[Listening]) {
    if listeners.is_empty() {
        return;
    }
    let names: Vec<_> = listeners.iter().map(|listening| listening.name.replace(':', "_")).collect();
    for (name, value) in [("LISTEN_FDS", listeners.len().to_string()), ("LISTEN_FDNAMES", names.join(":"))] {
        if !env.iter().any(|(known, _)| known == name) {
            env.push((name.to_owned(), value));
        }
    }
}
