//! The listeners that a guest came with, by its manifest: who binds a socket to such an address gets that one, once at a time.

use std::{
    net::SocketAddr,
    sync::{Arc, Weak},
};

use lunette_hostcalls::{Ctx, Errno, TcpListener};

/// Which of them are taken.
pub(crate) type Claims = Vec<(SocketAddr, Weak<()>)>;

/// A socket that listens, and the claim on it if it is one that the guest came with.
#[derive(Clone)]
pub(crate) struct Listener {
    pub(crate) socket: Arc<dyn TcpListener>,
    _claim: Option<Arc<()>>,
}

/// A socket that listens at `at`: one that the guest came with, if there is one for that address.
pub(crate) fn listen(
    ctx: &Ctx,
    claims: &mut Claims,
    at: SocketAddr,
    backlog: usize,
) -> Result<Listener, Errno> {
    // One on all addresses takes the connections to this one too, and keeps others from listening there.
    let matching =
        |of: SocketAddr| of.port() == at.port() && (of.ip() == at.ip() || of.ip().is_unspecified());
    let given = &ctx.listeners;
    let exact = given.iter().find(|listening| listening.socket.local() == at);
    let found = exact.or_else(|| given.iter().find(|listening| matching(listening.socket.local())));
    let Some(listening) = found else {
        return Ok(Listener { socket: ctx.network.listen(at, backlog)?, _claim: None });
    };
    let local = listening.socket.local();
    claims.retain(|(_, claim)| claim.strong_count() > 0);
    if claims.iter().any(|(of, _)| *of == local) {
        return Err(Errno::Addrinuse);
    }
    let claim = Arc::new(());
    claims.push((local, Arc::downgrade(&claim)));
    Ok(Listener { socket: listening.socket.clone(), _claim: Some(claim) })
}
