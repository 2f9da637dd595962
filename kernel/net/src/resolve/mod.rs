//! The resolver: from a name to its addresses, by literals, static names and DNS.
//!
//! Promises: an answer within ten seconds, whatever servers do; an answer counts only from the server and port that
//! was asked, to the (random) port that was asked from, with the same (random) id and question (RFC 5452), and anything
//! else changes nothing; memory and sockets are bounded, whoever asks for whatever; two that ask for one name share a
//! question; an answer is asked for again when its TTL is over, and not before.
//!
//! Does not: check DNSSEC (it trusts its servers), append search domains, speak mDNS or to servers over TLS, or convert
//! names in other scripts.
//!
//! | file | what |
//! |---|---|
//! | `names` | the resolver with sockets |
//! | `resolver` | which names are asked for, of whom, when: no sockets, no clock |
//! | `message` | questions and answers as bytes |
//! | `name` | what may be asked for |
//! | `cache` | what is known already |
//! | `order` | which address is best |
//! | `lookup` | one asking, as the guest holds it |

mod cache;
mod lookup;
mod message;
mod name;
mod names;
mod order;
mod resolver;
#[cfg(test)]
mod tests;

pub(crate) use names::Names;

/// May one ask for it? Addresses are no names.
pub(crate) fn is_name(text: &str) -> bool {
    name::HostName::parse(text).is_ok()
}
