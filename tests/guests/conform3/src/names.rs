//! wasi:sockets/ip-name-lookup.

use wasip3::sockets::ip_name_lookup::{ErrorCode, resolve_addresses};
use wasip3::sockets::types::IpAddress;

use crate::refused;

pub(crate) async fn names() {
    let found = resolve_addresses("localhost".into()).await.expect("localhost");
    let local = |address: &IpAddress| {
        matches!(address, IpAddress::Ipv4((127, ..)) | IpAddress::Ipv6((0, 0, 0, 0, 0, 0, 0, 1)))
    };
    assert!(!found.is_empty() && found.iter().all(local), "{found:?}");
    // An address is its own answer.
    let found = resolve_addresses("192.0.2.1".into()).await.expect("an address");
    assert!(matches!(found[..], [IpAddress::Ipv4((192, 0, 2, 1))]), "{found:?}");
    let found = resolve_addresses("2001:db8::1".into()).await.expect("an address");
    assert!(matches!(found[..], [IpAddress::Ipv6((0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))]), "{found:?}");
    for name in ["", "a b", "http://localhost", "localhost:80", "a..b"] {
        refused!(resolve_addresses(name.into()).await, InvalidArgument | NameUnresolvable);
    }
}
