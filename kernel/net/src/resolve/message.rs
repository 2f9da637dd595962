//! Questions and answers as bytes (RFC 1035, section 4), by the `domain` crate.
//!
//! Promises: work that grows with the message's length and no faster (names that point at names are followed 255
//! times at most, by `domain`); what is not an answer to just this question is told from an answer that is broken.

use alloc::vec::Vec;
use core::net::IpAddr;

use domain::{
    base::{
        Message, MessageBuilder, ParsedName, Rtype, ToName,
        iana::{Class, Opcode, Rcode},
        name::FlattenInto,
    },
    rdata::{A, Aaaa, Cname, Soa},
};

use super::name::Wire;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A = 0,
    Aaaa = 1,
}

impl Kind {
    fn rtype(self) -> Rtype {
        match self {
            Self::A => Rtype::A,
            Self::Aaaa => Rtype::AAAA,
        }
    }
}

/// How a question ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Addresses(Vec<IpAddr>),
    /// The name is there, but nothing of this kind.
    NoAddress,
    /// There is no such name (of any kind).
    NoName,
    /// The servers answered that they can't say.
    Failed,
    TimedOut,
}

/// What one answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// And for how many seconds that is so.
    Known(Outcome, u32),
    /// Another name has to be asked for: it is so many aliases away, and that is so for so many seconds.
    Alias(Wire, u8, u32),
    /// Ask again by TCP.
    Truncated,
    /// The server does not understand the question: it may be the EDNS in it.
    Unsupported,
    /// The server can't, or will not, say; or what it says makes no sense.
    Failed,
}

/// What a server may send by UDP without asking for TCP: fits every path (DNS flag day 2020).
pub(super) const UDP_SIZE: u16 = 1232;
/// Aliases that are followed for one question.
pub(super) const MAX_LINKS: u8 = 16;
/// Records of an answer that are looked at.
const MAX_RECORDS: usize = 256;
/// Addresses of an answer that are kept.
pub(super) const MAX_ADDRESSES: usize = 32;

/// `None` if there is no room for it, which a vector always has.
pub(super) fn question(id: u16, name: &Wire, kind: Kind, edns: bool) -> Option<Vec<u8>> {
    let mut builder = MessageBuilder::from_target(Vec::with_capacity(300)).ok()?;
    builder.header_mut().set_id(id);
    builder.header_mut().set_rd(true);
    let mut question = builder.question();
    question.push((name, kind.rtype())).ok()?;
    let mut additional = question.additional();
    if edns {
        let opt = additional.opt(|opt| {
            opt.set_udp_payload_size(UDP_SIZE);
            Ok(())
        });
        opt.ok()?;
    }
    Some(additional.finish())
}

/// Reads what is said to be an answer to this question. `None`: it is not.
pub(super) fn answer(bytes: &[u8], id: u16, name: &Wire, kind: Kind) -> Option<Answer> {
    let message = Message::from_slice(bytes).ok()?;
    let header = message.header();
    if !header.qr() || header.id() != id || header.opcode() != Opcode::QUERY {
        return None;
    }
    match message.sole_question() {
        Ok(question) => {
            let same = question.qtype() == kind.rtype()
                && question.qclass() == Class::IN
                && question.qname().name_eq(name);
            if !same {
                return None;
            }
        }
        // Who can't read a question may be unable to repeat it.
        Err(_) if header.rcode() != Rcode::NOERROR && message.header_counts().qdcount() == 0 => {}
        Err(_) => return None,
    }
    match header.rcode() {
        // Whatever it holds, there is more.
        Rcode::NOERROR | Rcode::NXDOMAIN if header.tc() => Some(Answer::Truncated),
        Rcode::NOERROR | Rcode::NXDOMAIN if message.header_counts().qdcount() == 0 => None,
        Rcode::NOERROR | Rcode::NXDOMAIN => Some(records(message, name, kind).unwrap_or(Answer::Failed)),
        Rcode::FORMERR | Rcode::NOTIMP => Some(Answer::Unsupported),
        _ => Some(Answer::Failed),
    }
}

/// A name where it stands in the message.
type Owner<'a> = ParsedName<&'a [u8]>;

/// Follows the aliases as far as this message knows them, to the addresses at their end. `None`: it can't be read.
fn records(message: &Message<[u8]>, name: &Wire, kind: Kind) -> Option<Answer> {
    let mut aliases: Vec<(Owner<'_>, Owner<'_>, u32)> = Vec::new();
    let mut addresses: Vec<(Owner<'_>, IpAddr, u32)> = Vec::new();
    for record in message.answer().ok()?.take(MAX_RECORDS) {
        let record = record.ok()?;
        if record.class() != Class::IN {
            continue;
        }
        let ttl = seconds(record.ttl().as_secs());
        let owner = record.owner();
        match (record.rtype(), kind) {
            (Rtype::A, Kind::A) => {
                let record = record.to_record::<A>().ok()??;
                addresses.push((owner, IpAddr::V4(record.data().addr()), ttl));
            }
            (Rtype::AAAA, Kind::Aaaa) => {
                let record = record.to_record::<Aaaa>().ok()??;
                addresses.push((owner, IpAddr::V6(record.data().addr()), ttl));
            }
            (Rtype::CNAME, _) => {
                let record = record.into_record::<Cname<_>>().ok()??;
                aliases.push((owner, record.into_data().into_cname(), ttl));
            }
            _ => {}
        }
    }

    let (mut at, mut links, mut least): (Option<Owner<'_>>, u8, u32) = (None, 0, u32::MAX);
    let is_at = |owner: &Owner<'_>, at: &Option<Owner<'_>>| match at {
        Some(at) => owner.name_eq(at),
        None => owner.name_eq(name),
    };
    loop {
        let mut found = Vec::new();
        for (owner, ip, ttl) in &addresses {
            if is_at(owner, &at) && !found.contains(ip) && found.len() < MAX_ADDRESSES {
                least = least.min(*ttl);
                found.push(*ip);
            }
        }
        if !found.is_empty() {
            return Some(Answer::Known(Outcome::Addresses(found), least));
        }
        let Some((_, target, ttl)) = aliases.iter().find(|(owner, _, _)| is_at(owner, &at)) else { break };
        if links == MAX_LINKS {
            return Some(Answer::Failed);
        }
        links += 1;
        least = least.min(*ttl);
        at = Some(*target);
    }

    // How long that holds is for the zone to say; if it says nothing, it is not kept (RFC 2308, section 5).
    let negative = |least: u32| negative_ttl(message).map(|ttl| ttl.min(least));
    if message.header().rcode() == Rcode::NXDOMAIN {
        return Some(Answer::Known(Outcome::NoName, negative(least).unwrap_or(0)));
    }
    match (at, negative(least)) {
        // A server that does not follow aliases itself.
        (Some(at), None) => Some(Answer::Alias(at.try_flatten_into().ok()?, links, least)),
        (_, ttl) => Some(Answer::Known(Outcome::NoAddress, ttl.unwrap_or(0))),
    }
}

/// RFC 2308, section 5: the lesser of the SOA record's own TTL and its last field. `None`: there is no such record.
fn negative_ttl(message: &Message<[u8]>) -> Option<u32> {
    let authority = message.authority().ok()?;
    let record = authority.limit_to_in::<Soa<_>>().take(MAX_RECORDS).find_map(Result::ok)?;
    Some(seconds(record.ttl().as_secs()).min(seconds(record.data().minimum().as_secs())))
}

/// RFC 2181, section 8: a TTL with the highest bit set is none.
fn seconds(ttl: u32) -> u32 {
    if ttl > i32::MAX as u32 { 0 } else { ttl }
}
