//! `wasi:sockets/ip-name-lookup`.

use std::net::IpAddr;

use lunette_hostcalls::{Errno, Interest, task::until};
use wasmtime::component::{Accessor, HasSelf};

use super::ip_of;
use crate::{
    State,
    p3::bindings::wasi::sockets::{
        ip_name_lookup::{ErrorCode, Host, HostWithStore},
        types::IpAddress,
    },
};

impl Host for State {}

impl HostWithStore<State> for HasSelf<State> {
    /// An address that is written out is nobody's to grant: nothing is asked for it.
    async fn resolve_addresses(
        store: &Accessor<State, Self>,
        name: String,
    ) -> wasmtime::Result<Result<Vec<IpAddress>, ErrorCode>> {
        if let Ok(address) = name.parse::<IpAddr>() {
            return Ok(Ok(vec![ip_of(address.to_canonical())]));
        }
        let network = store.with(|mut access| access.get().ctx.network.clone());
        let found = match network.resolve(&name) {
            Ok(lookup) => until(&*lookup, Interest::Read, || lookup.addresses()).await,
            Err(errno) => Err(errno),
        };
        Ok(match found {
            Ok(addresses) => Ok(addresses.into_iter().map(|address| ip_of(address.to_canonical())).collect()),
            Err(errno) => Err(errno.into()),
        })
    }
}

impl From<Errno> for ErrorCode {
    fn from(errno: Errno) -> Self {
        match errno {
            // Without a network, nothing is granted.
            Errno::Acces | Errno::Perm | Errno::Netdown => Self::AccessDenied,
            Errno::Inval | Errno::Nametoolong => Self::InvalidArgument,
            Errno::Noent => Self::NameUnresolvable,
            Errno::Timedout | Errno::Io => Self::TemporaryResolverFailure,
            other => Self::Other(Some(other.to_string())),
        }
    }
}
