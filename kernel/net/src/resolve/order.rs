//! The best address first: RFC 6724, section 6, as far as it concerns a machine with one interface.

use alloc::vec::Vec;
use core::{
    cmp::Reverse,
    net::{IpAddr, Ipv6Addr},
};

/// Sorts; what is equally good keeps its order, which is the server's. `ours` are our own addresses.
pub(super) fn best_first(addresses: &mut [IpAddr], ours: &[IpAddr]) {
    addresses.sort_by_cached_key(|to| {
        let source = ours
            .iter()
            .filter(|from| from.is_ipv4() == to.is_ipv4())
            .map(|from| (scope(*from) == scope(*to), policy(*from).1 == policy(*to).1, common(*from, *to)))
            .max();
        // Rule 1, 2, 5, 6, 8, 9. Among addresses of IPv4 a longer common prefix means nothing, so it does not count.
        let (same_scope, same_label, common) = source.unwrap_or_default();
        let common = if to.is_ipv6() { common } else { 0 };
        let best = (source.is_some(), same_scope, same_label, policy(*to).0, Reverse(scope(*to)), common);
        Reverse(best)
    });
}

/// Which families are worth asking for: A, AAAA. An address that reaches no further than the link, or ourselves, is
/// none to reach others with. Without any, A is asked for: that fails in the way one knows.
pub(super) fn families(ours: &[IpAddr]) -> (bool, bool) {
    let far: Vec<_> = ours.iter().filter(|ip| scope(**ip) == GLOBAL).collect();
    let v6 = far.iter().any(|ip| ip.is_ipv6());
    (!v6 || far.iter().any(|ip| ip.is_ipv4()), v6)
}

const LINK: u8 = 2;
const GLOBAL: u8 = 14;

/// RFC 6724, section 3.1 and 3.2.
fn scope(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(ip) if ip.is_loopback() || ip.is_link_local() => LINK,
        IpAddr::V6(ip) if ip.is_loopback() || ip.is_unicast_link_local() => LINK,
        _ => GLOBAL,
    }
}

/// Precedence and label: the default policy table (section 2.1) without its obsolete rows.
fn policy(ip: IpAddr) -> (u8, u8) {
    let IpAddr::V6(ip) = ip else { return (35, 4) };
    match ip.segments() {
        _ if ip == Ipv6Addr::LOCALHOST => (50, 0),
        _ if ip.to_ipv4_mapped().is_some() => (35, 4),
        [0x2002, ..] => (30, 2),
        [0x2001, 0, ..] => (5, 5),
        [first, ..] if first & 0xfe00 == 0xfc00 => (3, 13),
        _ => (40, 1),
    }
}

/// How many leading bits are the same; of IPv6 at most the 64 of a network.
fn common(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros().min(64),
        _ => 0,
    }
}
