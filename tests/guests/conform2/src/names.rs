//! wasi:sockets/ip-name-lookup.

use wasip2::sockets::{
    instance_network::instance_network,
    ip_name_lookup::resolve_addresses,
    network::{ErrorCode, IpAddress},
};

use crate::{finish, refused};

pub(crate) fn resolve(name: &str) -> Result<Vec<IpAddress>, ErrorCode> {
    let stream = resolve_addresses(&instance_network(), name)?;
    let ready = stream.subscribe();
    let mut found = Vec::new();
    while let Some(address) = finish(&ready, ErrorCode::WouldBlock, || stream.resolve_next_address())? {
        found.push(address);
    }
    Ok(found)
}

pub(crate) fn names() {
    let found = resolve("localhost").expect("localhost");
    let local = |address: &IpAddress| {
        matches!(address, IpAddress::Ipv4((127, ..)) | IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0, 1)))
    };
    assert!(!found.is_empty() && found.iter().all(local), "{found:?}");
    // An address is its own answer.
    let found = resolve("192.0.2.1").expect("an address");
    assert!(matches!(found[..], [IpAddress::Ipv4((192, 0, 2, 1))]), "{found:?}");
    let found = resolve("2001:db8::1").expect("an address");
    assert!(matches!(found[..], [IpAddress::Ipv6((0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))]), "{found:?}");
    for name in ["", "a b", "http://localhost", "localhost:80", "a..b"] {
        refused!(resolve(name), InvalidArgument | NameUnresolvable);
    }
}
