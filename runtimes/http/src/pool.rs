//! Connections that are kept for the next request.
//!
//! Promises: what is taken out was asked nothing that is not answered, and nothing came on it since; nothing is kept
//! longer, and no more is kept, than the limits say. Whoever is the last to have the client closes them all.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::poll_fn,
    pin::Pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use http::Uri;
use hyper::client::conn::{http1, http2};
use lunette_hostcalls::{
    Interest, Nanos, TcpStream,
    task::{Spawner, Time},
};

use crate::Body;

/// Of the connections that a client keeps.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long one is kept that nobody uses.
    pub idle: Duration,
    /// How many to one host and port.
    pub each: usize,
    /// How many in all.
    pub all: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle: Duration::from_secs(60), each: 16, all: 64 }
    }
}

/// Who is asked, and how.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) tls: bool,
    /// In lower case; an address of IPv6 without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Key {
    pub(crate) fn of(uri: &Uri) -> Option<Self> {
        let tls = uri.scheme_str() == Some("https");
        let host = uri.host().filter(|host| !host.is_empty())?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Self { tls, host: bare.to_ascii_lowercase(), port })
    }

    /// As a `host` field says it.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// One connection.
pub(crate) enum Pooled {
    /// HTTP/1.1: for one request at a time.
    One(http1::SendRequest<Body>, Arc<dyn TcpStream>),
    /// HTTP/2: for many.
    Many(http2::SendRequest<Body>),
}

impl Pooled {
    fn is_closed(&self) -> bool {
        match self {
            Self::One(sender, _) => sender.is_closed(),
            Self::Many(sender) => sender.is_closed(),
        }
    }

    /// Could it be asked now? Not one whose answer is still being read.
    fn is_ready(&self) -> bool {
        match self {
            Self::One(sender, _) => sender.is_ready(),
            Self::Many(sender) => sender.is_ready(),
        }
    }

    /// Something came that nobody asked for, or its end, and its task had no go since.
    fn is_dirty(&self) -> bool {
        matches!(self, Self::One(_, socket) if socket.ready(Interest::Read).any())
    }
}

struct Kept {
    connection: Pooled,
    /// When it was last seen in use.
    since: Nanos,
}

pub(crate) struct Pool {
    kept: BTreeMap<Key, Vec<Kept>>,
    limits: Limits,
    /// The task that looks after it, if there is one.
    watcher: Option<Waker>,
}

impl Pool {
    pub(crate) fn new(limits: Limits) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self { kept: BTreeMap::new(), limits, watcher: None }))
    }

    pub(crate) fn clear(&mut self) {
        self.kept.clear();
        // It has nothing to look after any more, and need not outstay a guest that has ended.
        if let Some(watcher) = &self.watcher {
            watcher.wake_by_ref();
        }
    }

    /// One that can be asked at once. Others of its host that can't any more are let go.
    pub(crate) fn take(&mut self, key: &Key, now: Nanos) -> Option<Pooled> {
        let idle = nanos(self.limits.idle);
        let kept = self.kept.get_mut(key)?;
        kept.retain(|one| {
            let ready = one.connection.is_ready();
            !(one.connection.is_closed() || ready && (one.connection.is_dirty() || one.since + idle <= now))
        });
        // The one that was used last: the others may go, if there is less to do.
        let at = kept.iter().rposition(|one| one.connection.is_ready())?;
        if let Pooled::Many(sender) = &kept[at].connection {
            let sender = sender.clone();
            kept[at].since = now;
            return Some(Pooled::Many(sender));
        }
        let taken = kept.remove(at);
        if kept.is_empty() {
            self.kept.remove(key);
        }
        Some(taken.connection)
    }

    /// Keeps one whose answer is still to be read: it can be had once it is.
    pub(crate) fn put(
        pool: &Rc<RefCell<Self>>,
        key: Key,
        connection: Pooled,
        time: &Time,
        spawner: &Spawner,
    ) {
        let this = &mut *pool.borrow_mut();
        let now = time.now();
        let kept = this.kept.entry(key).or_default();
        if matches!(connection, Pooled::Many(_)) {
            // All of it is in the one that is kept already.
            kept.retain(|one| matches!(one.connection, Pooled::One(..)));
        }
        kept.push(Kept { connection, since: now });
        if kept.len() > this.limits.each {
            kept.remove(0);
        }
        if this.kept.values().map(Vec::len).sum::<usize>() > this.limits.all {
            this.drop_oldest();
        }
        if this.watcher.is_none() && !this.kept.is_empty() {
            // Until it had its first go.
            this.watcher = Some(Waker::noop().clone());
            spawner.spawn(watch(Rc::downgrade(pool), time.clone(), this.limits.idle));
        }
    }

    fn drop_oldest(&mut self) {
        let oldest =
            self.kept.iter().filter_map(|(key, kept)| Some((kept.first()?.since, key.clone()))).min();
        if let Some((_, key)) = oldest
            && let Some(kept) = self.kept.get_mut(&key)
        {
            kept.remove(0);
            if kept.is_empty() {
                self.kept.remove(&key);
            }
        }
    }

    /// Lets go of what is due, and says when to look again; `None`: nothing is left.
    fn sweep(&mut self, now: Nanos) -> Option<Nanos> {
        let idle = nanos(self.limits.idle);
        let mut next = None::<Nanos>;
        self.kept.retain(|_, kept| {
            kept.retain_mut(|one| {
                if !one.connection.is_ready() {
                    one.since = now;
                }
                let due = one.since.saturating_add(idle);
                if one.connection.is_closed() || due <= now {
                    return false;
                }
                next = Some(next.map_or(due, |next| next.min(due)));
                true
            });
            !kept.is_empty()
        });
        next
    }
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX / 2)
}

/// Closes what nobody wants any more, as long as there is something.
async fn watch(pool: Weak<RefCell<Pool>>, time: Time, idle: Duration) {
    let mut sleep = time.sleep(idle);
    poll_fn(|cx| {
        loop {
            // The last client is gone, and all of its connections.
            let Some(pool) = pool.upgrade() else { return Poll::Ready(()) };
            let pool = &mut *pool.borrow_mut();
            if pool.kept.is_empty() {
                pool.watcher = None;
                return Poll::Ready(());
            }
            if Pin::new(&mut sleep).poll(cx).is_pending() {
                pool.watcher = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if let Some(next) = pool.sweep(time.now()) {
                sleep.reset(next);
            }
        }
    })
    .await;
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.clear();
    }
}
