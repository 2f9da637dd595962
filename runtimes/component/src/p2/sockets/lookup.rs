//! `wasi:sockets/ip-name-lookup`: from names to addresses. Names are ASCII (`xn--…`).

use std::{future::poll_fn, net::IpAddr, sync::Arc, task::Poll, vec};

use async_trait::async_trait;
use lunette_hostcalls::{Errno, Interest, Lookup};
use wasmtime::{Result as Answer, component::Resource};
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};

use super::{
    super::bindings::wasi::sockets::ip_name_lookup::{Host, HostResolveAddressStream},
    ErrorCode, Network, Result, code,
    network::IpAddress,
};
use crate::State;

pub struct Addresses {
    lookup: Arc<dyn Lookup>,
    /// Those that were not told yet, once there is an answer.
    answer: Option<vec::IntoIter<IpAddr>>,
}

#[async_trait]
impl Pollable for Addresses {
    async fn ready(&mut self) {
        poll_fn(|cx| {
            if self.answer.is_some() || self.lookup.ready(Interest::Read).any() {
                return Poll::Ready(());
            }
            self.lookup.register(Interest::Read, cx.waker());
            Poll::Pending
        })
        .await;
    }
}

impl Host for State {
    fn resolve_addresses(&mut self, network: Resource<Network>, name: String) -> Result<Resource<Addresses>> {
        self.table.get(&network)?;
        let lookup = self.ctx.network.resolve(&name).map_err(failure)?;
        Ok(self.table.push(Addresses { lookup, answer: None })?)
    }
}

impl HostResolveAddressStream for State {
    fn resolve_next_address(&mut self, this: Resource<Addresses>) -> Result<Option<IpAddress>> {
        let stream = self.table.get_mut(&this)?;
        let answer = match &mut stream.answer {
            Some(answer) => answer,
            none => none.insert(stream.lookup.addresses().map_err(failure)?.into_iter()),
        };
        Ok(answer.next().map(|ip| ip.to_canonical().into()))
    }

    fn subscribe(&mut self, this: Resource<Addresses>) -> Answer<Resource<DynPollable>> {
        subscribe(&mut self.table, this)
    }

    fn drop(&mut self, this: Resource<Addresses>) -> Answer<()> {
        self.table.delete(this)?;
        Ok(())
    }
}

fn failure(errno: Errno) -> ErrorCode {
    match errno {
        Errno::Noent => ErrorCode::NameUnresolvable,
        Errno::Timedout => ErrorCode::TemporaryResolverFailure,
        Errno::Io | Errno::Netdown => ErrorCode::PermanentResolverFailure,
        errno => code(errno),
    }
}
