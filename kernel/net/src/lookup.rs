//! Names that need no server: literal addresses and static names.

use alloc::{sync::Arc, vec::Vec};
use core::{net::IpAddr, task::Waker};

use lunette_hostcalls::{Errno, Interest, Lookup, Ready, Source};

use crate::stack::Shared;

impl Shared {
    /// The seam: what is asked of servers belongs in the place of [`Errno::Netdown`].
    pub(crate) fn resolve(&self, name: &str) -> Result<Arc<dyn Lookup>, Errno> {
        if name.is_empty() || name.len() > 254 {
            return Err(Errno::Inval);
        }
        let known = self.look(|hub| {
            let bare = name.strip_suffix('.').unwrap_or(name);
            let fixed = hub.config.hosts.iter().filter(|(host, _)| host.eq_ignore_ascii_case(bare));
            match name.parse::<IpAddr>() {
                Ok(ip) => alloc::vec![ip],
                Err(_) => fixed.map(|(_, ip)| *ip).collect::<Vec<_>>(),
            }
        });
        let answer = if known.is_empty() { Err(Errno::Netdown) } else { Ok(known) };
        Ok(Arc::new(Answered(answer)))
    }
}

struct Answered(Result<Vec<IpAddr>, Errno>);

impl Source for Answered {
    fn ready(&self, _: Interest) -> Ready {
        Ready { bytes: 1, hangup: false }
    }

    fn register(&self, _: Interest, waker: &Waker) {
        waker.wake_by_ref();
    }
}

impl Lookup for Answered {
    fn addresses(&self) -> Result<Vec<IpAddr>, Errno> {
        self.0.clone()
    }
}
