//! The resolver against servers that follow a script, on a clock that is pushed by hand.

use alloc::{
    format,
    string::{String, ToString},
    sync::Arc,
    vec,
    vec::Vec,
};
use core::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicUsize, Ordering},
    task::Waker,
};

use domain::{
    base::{
        Message, MessageBuilder, Name, Rtype, Serial, Ttl,
        iana::{Class, Rcode},
        message_builder::AnswerBuilder,
    },
    rdata::{A, Aaaa, Cname, Soa},
};
use lunette_hostcalls::{Errno, Interest, Lookup, Nanos, Source};

use super::{
    cache,
    lookup::Pending,
    message,
    resolver::{
        GRACE, Key, MAX_ACTIVE, MAX_SEARCHES, MAX_TCP, Order, PATIENCE, Query, Resolver, SECOND, Via,
    },
};

type Asked = Arc<Pending>;

const MS: Nanos = 1_000_000;
const V4: &str = "10.0.2.15";
const V6: &str = "2001:db8::15";

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().copied().map(ip).collect()
}

fn server(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 2, number], 53))
}

/// A question as the server reads it.
struct Question {
    id: u16,
    name: String,
    v6: bool,
    edns: bool,
    via: Via,
    server: SocketAddr,
    at: Nanos,
}

impl Question {
    fn read(query: &Query, at: Nanos) -> Self {
        let bytes = match query.via {
            Via::Udp => &query.bytes[..],
            Via::Tcp => {
                let (length, rest) = query.bytes.split_first_chunk().unwrap();
                assert_eq!(usize::from(u16::from_be_bytes(*length)), rest.len());
                rest
            }
        };
        let message = Message::from_slice(bytes).unwrap();
        assert!(!message.header().qr() && message.header().rd());
        let question = message.sole_question().unwrap();
        assert_eq!(question.qclass(), Class::IN);
        Self {
            id: message.header().id(),
            name: question.qname().to_string(),
            v6: match question.qtype() {
                Rtype::A => false,
                Rtype::AAAA => true,
                other => panic!("asked for {other}"),
            },
            edns: message.opt().is_some(),
            via: query.via,
            server: query.server,
            at,
        }
    }

    fn start(&self, rcode: Rcode) -> AnswerBuilder<Vec<u8>> {
        let mut builder = MessageBuilder::from_target(Vec::new()).unwrap();
        let header = builder.header_mut();
        header.set_id(self.id);
        header.set_qr(true);
        header.set_rcode(rcode);
        let mut question = builder.question();
        let rtype = if self.v6 { Rtype::AAAA } else { Rtype::A };
        question.push((&host(&self.name), rtype)).unwrap();
        question.answer()
    }

    /// An answer in the form `a 1.2.3.4`, `cname b`, `soa 60`, each of the name before it; `TTL` in front of it.
    fn say(&self, rcode: Rcode, records: &[(&str, u32, &str)]) -> Vec<u8> {
        let mut answer = self.start(rcode);
        let mut soa = None;
        for (owner, ttl, data) in records {
            let (what, data) = data.split_once(' ').unwrap();
            let (owner, ttl) = (host(owner), Ttl::from_secs(*ttl));
            match (what, data.parse()) {
                ("cname", _) => answer.push((owner, Class::IN, ttl, Cname::new(host(data)))).unwrap(),
                ("soa", _) => soa = Some((owner, ttl, data.parse().unwrap())),
                (_, Ok(IpAddr::V4(ip))) => answer.push((owner, Class::IN, ttl, A::new(ip))).unwrap(),
                (_, Ok(IpAddr::V6(ip))) => answer.push((owner, Class::IN, ttl, Aaaa::new(ip))).unwrap(),
                _ => panic!("{what} {data}"),
            }
        }
        let mut authority = answer.authority();
        if let Some((owner, ttl, minimum)) = soa {
            let t = Ttl::from_secs(7200);
            let soa = Soa::new(owner.clone(), owner.clone(), Serial(1), t, t, t, Ttl::from_secs(minimum));
            authority.push((owner, Class::IN, ttl, soa)).unwrap();
        }
        authority.finish()
    }

    /// One address of the kind that is asked for.
    fn one(&self, v4: &str, v6: &str) -> Vec<u8> {
        let data = if self.v6 { format!("aaaa {v6}") } else { format!("a {v4}") };
        self.say(Rcode::NOERROR, &[(&self.name, 60, &data)])
    }
}

fn host(name: &str) -> Name<Vec<u8>> {
    Name::from_chars(name.chars()).unwrap()
}

/// What a server does with a question: what it sends, and from where.
type Script<'a> = dyn FnMut(&Question) -> Vec<(SocketAddr, Vec<u8>)> + 'a;

struct World {
    resolver: Resolver,
    now: Nanos,
    ours: Vec<IpAddr>,
    /// All questions so far.
    asked: Vec<Question>,
    open: Vec<Key>,
    most_open: usize,
    id: u16,
}

impl World {
    fn new(servers: u8) -> Self {
        Self::with_hosts(servers, &[])
    }

    fn with_hosts(servers: u8, hosts: &[(String, IpAddr)]) -> Self {
        let mut resolver = Resolver::new(hosts);
        resolver.set_servers((3..3 + servers).map(server));
        let (open, asked) = (Vec::new(), Vec::new());
        Self {
            resolver,
            now: 5 * SECOND,
            ours: ips(&[V4, V6, "127.0.0.1", "::1"]),
            asked,
            open,
            most_open: 0,
            id: 7,
        }
    }

    fn ask(&mut self, name: &str) -> Asked {
        self.resolver.ask(name, &self.ours, self.now).unwrap()
    }

    /// Does all that is to be done now. The answers come 1 ms later.
    fn step(&mut self, script: &mut Script<'_>) {
        let mut answers = Vec::new();
        let (id, now) = (&mut self.id, self.now);
        while let Some(order) = self.resolver.poll(now, &mut || {
            *id = id.wrapping_mul(25173).wrapping_add(13849);
            *id
        }) {
            match order {
                Order::Send(query) => {
                    let question = Question::read(&query, now);
                    let said = script(&question).into_iter();
                    answers.extend(said.map(|(from, bytes)| (query.key, query.via, from, bytes)));
                    self.asked.push(question);
                    self.open.push(query.key);
                }
                Order::Close(key) => {
                    let at = self.open.iter().position(|open| *open == key).expect("closed twice");
                    self.open.remove(at);
                }
            }
        }
        self.most_open = self.most_open.max(self.open.len());
        if answers.is_empty() {
            return;
        }
        self.now += MS;
        for (key, via, from, bytes) in answers {
            match via {
                Via::Udp => self.resolver.received(key, from, &bytes, self.now),
                // In pieces, as a stream may come.
                Via::Tcp if bytes.is_empty() => self.resolver.failed(key, self.now),
                Via::Tcp => {
                    let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
                    framed.chunks(5).for_each(|bytes| self.resolver.received(key, from, bytes, self.now));
                }
            }
        }
    }

    /// Lets time go on until it is answered.
    fn run(
        &mut self,
        asked: &Asked,
        mut script: impl FnMut(&Question) -> Vec<(SocketAddr, Vec<u8>)>,
    ) -> Vec<IpAddr> {
        self.end(asked, &mut script).unwrap()
    }

    fn end(&mut self, asked: &Asked, script: &mut Script<'_>) -> Result<Vec<IpAddr>, Errno> {
        let began = self.now;
        for _ in 0..1000 {
            self.step(script);
            match asked.addresses() {
                Err(Errno::Again) => {}
                answer => {
                    self.step(script);
                    assert!(self.now - began <= PATIENCE);
                    assert_eq!(answer, asked.addresses(), "the same again");
                    assert!(asked.ready(Interest::Read).any());
                    return answer;
                }
            }
            let next = self.resolver.poll_at().expect("a deadline while something is asked");
            self.now = self.now.max(next);
        }
        panic!("a thousand steps and no answer");
    }

    fn resolve(
        &mut self,
        name: &str,
        mut script: impl FnMut(&Question) -> Vec<(SocketAddr, Vec<u8>)>,
    ) -> Result<Vec<IpAddr>, Errno> {
        let asked = self.ask(name);
        let answer = self.end(&asked, &mut script);
        drop(asked);
        self.step(&mut script);
        assert_eq!((self.open.len(), self.resolver.searches.len()), (0, 0), "nothing is left over");
        assert_eq!(self.resolver.poll_at(), None);
        answer
    }
}

fn silent(_: &Question) -> Vec<(SocketAddr, Vec<u8>)> {
    vec![]
}

fn nobody_is_asked(question: &Question) -> Vec<(SocketAddr, Vec<u8>)> {
    panic!("{} was asked for", question.name)
}

#[test]
fn literals_and_static_names_are_asked_of_nobody() {
    let hosts = [("DB.internal.".into(), ip("10.0.0.5")), ("db.internal".into(), ip("fd00::5"))];
    let mut world = World::with_hosts(1, &hosts);
    assert_eq!(world.resolve("192.0.2.1", nobody_is_asked), Ok(ips(&["192.0.2.1"])));
    assert_eq!(world.resolve("2001:db8::1", nobody_is_asked), Ok(ips(&["2001:db8::1"])));
    assert_eq!(world.resolve("db.INTERNAL", nobody_is_asked), Ok(ips(&["10.0.0.5", "fd00::5"])));
    for local in ["localhost", "LocalHost.", "a.b.localhost"] {
        assert_eq!(world.resolve(local, nobody_is_asked), Ok(ips(&["127.0.0.1", "::1"])), "{local}");
    }
    world.ours = ips(&[V4, "127.0.0.1"]);
    assert_eq!(world.resolve("localhost", nobody_is_asked), Ok(ips(&["127.0.0.1"])));
    assert_eq!(world.resolve("some.invalid", nobody_is_asked), Err(Errno::Noent));
    // Below a static name, and beside the special ones, there are others.
    assert_eq!(
        world.resolve("x.db.internal", |q| vec![(q.server, q.say(Rcode::NXDOMAIN, &[]))]),
        Err(Errno::Noent)
    );
    assert_eq!(
        world.resolve("notlocalhost", |q| vec![(q.server, q.one("1.2.3.4", "::"))]),
        Ok(ips(&["1.2.3.4"]))
    );
}

#[test]
fn names_that_are_none() {
    let mut world = World::new(1);
    let long = format!("{}.com", ["abcdefghijklmno"; 16].join("."));
    let label = format!("{}.com", "a".repeat(64));
    let bad = [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a b",
        "a/b",
        "ä.de",
        "a\0",
        "[::1]",
        "fe80::1%eth0",
        "1.2.3",
        "256.1.1.1",
    ];
    for name in
        bad.iter().copied().chain(["-a", "b.a-.c", "127.1", "0x7f.1", "a.0x7f", &long, &label, "*.a", "a:80"])
    {
        assert_eq!(world.resolver.ask(name, &[], 0).err(), Some(Errno::Inval), "{name:?}");
    }
    let label = format!("{}.com", "a".repeat(63));
    for name in
        ["a", "a-b.c_d", "1.2.3.x", "xn--bcher-kva.example", "_dmarc.example.org.", &label, &long[7..]]
    {
        assert!(world.resolver.ask(name, &[], 0).is_ok(), "{name:?}");
    }
}

#[test]
fn both_families_are_asked_for_at_once_and_the_best_comes_first() {
    let mut world = World::new(1);
    let answer = world.resolve("a.example", |q| vec![(q.server, q.one("192.0.2.1", "2001:db8::1"))]);
    assert_eq!(answer, Ok(ips(&["2001:db8::1", "192.0.2.1"])));
    assert_eq!(world.asked.iter().map(|q| q.v6).collect::<Vec<_>>(), [false, true]);
    assert_eq!(world.asked[0].at, world.asked[1].at);
    assert_ne!(world.asked[0].id, world.asked[1].id);

    // With no address of IPv6 that reaches anybody, nobody is asked for one.
    for ours in [&[V4][..], &[V4, "127.0.0.1", "::1", "fe80::15"]] {
        let mut world = World::new(1);
        world.ours = ips(ours);
        let answer = world.resolve("a.example", |q| vec![(q.server, q.one("192.0.2.1", "2001:db8::1"))]);
        assert_eq!((answer, world.asked.len()), (Ok(ips(&["192.0.2.1"])), 1));
    }
    let mut world = World::new(1);
    world.ours = ips(&[V6]);
    let answer = world.resolve("a.example", |q| vec![(q.server, q.one("192.0.2.1", "2001:db8::1"))]);
    assert_eq!((answer, world.asked.len()), (Ok(ips(&["2001:db8::1"])), 1));
}

#[test]
fn order_is_that_of_rfc_6724() {
    let sorted = |ours: &[&str], addresses: &[&str]| {
        let mut addresses = ips(addresses);
        super::order::best_first(&mut addresses, &ips(ours));
        addresses
    };
    // Native IPv6 before IPv4, IPv4 before what only a private address could reach, or none.
    assert_eq!(sorted(&[V4, V6], &["192.0.2.1", "2001:db8::1"]), ips(&["2001:db8::1", "192.0.2.1"]));
    assert_eq!(sorted(&[V4, "fd00::1"], &["2001:db8::1", "192.0.2.1"]), ips(&["192.0.2.1", "2001:db8::1"]));
    assert_eq!(sorted(&[V4], &["2001:db8::1", "192.0.2.1"]), ips(&["192.0.2.1", "2001:db8::1"]));
    assert_eq!(sorted(&[V4, V6], &["2002::1", "192.0.2.1"]), ips(&["192.0.2.1", "2002::1"]));
    // Among equals the server's order counts, but for networks of IPv6 that are nearer.
    assert_eq!(sorted(&[V4], &["9.9.9.9", "10.0.2.1"]), ips(&["9.9.9.9", "10.0.2.1"]));
    assert_eq!(sorted(&[V6], &["2a00::1", "2001:db8::2"]), ips(&["2001:db8::2", "2a00::1"]));
}

#[test]
fn aliases_are_followed_within_bounds() {
    let mut world = World::new(1);
    world.ours = ips(&[V4]);
    // In any order within one answer; the least TTL on the way is that of the whole.
    let chain = [("c.x", 300, "a 192.0.2.7"), ("b.x", 20, "cname C.x"), ("a.x", 90, "cname b.X")];
    assert_eq!(
        world.resolve("a.x", |q| vec![(q.server, q.say(Rcode::NOERROR, &chain))]),
        Ok(ips(&["192.0.2.7"]))
    );
    world.now += 19 * SECOND;
    assert_eq!(world.resolve("A.x", nobody_is_asked), Ok(ips(&["192.0.2.7"])));
    world.now += 2 * SECOND;
    assert_eq!(world.resolve("a.x", |q| vec![(q.server, q.one("192.0.2.8", ""))]), Ok(ips(&["192.0.2.8"])));

    // Over several answers, from a server that leaves it to us.
    let mut world = World::new(1);
    let mut hop = |q: &Question| {
        let records: &[_] = match &q.name[..] {
            "a.x" => &[("a.x", 60, "cname b.x")],
            "b.x" => &[("b.x", 10, "cname c.x")],
            _ => return vec![(q.server, q.one("192.0.2.9", "2001:db8::9"))],
        };
        vec![(q.server, q.say(Rcode::NOERROR, records))]
    };
    assert_eq!(world.resolve("a.x", &mut hop), Ok(ips(&["2001:db8::9", "192.0.2.9"])));
    assert_eq!(world.asked.len(), 6);
    world.now += 11 * SECOND;
    assert_eq!(world.resolve("a.x", &mut hop).map(|found| found.len()), Ok(2));
    assert_eq!(world.asked.len(), 12);

    // A loop in one answer, a loop over answers, a chain without an end.
    let mut world = World::new(1);
    let around = [("a.x", 60, "cname b.x"), ("b.x", 60, "cname a.x")];
    assert_eq!(world.resolve("a.x", |q| vec![(q.server, q.say(Rcode::NOERROR, &around))]), Err(Errno::Io));
    let mut world = World::new(1);
    let next = |q: &Question| {
        let next = if q.name == "a.x" { "b.x" } else { "a.x" };
        vec![(q.server, q.say(Rcode::NOERROR, &[(&q.name, 60, &format!("cname {next}"))]))]
    };
    assert_eq!(world.resolve("a.x", next), Err(Errno::Io));
    assert!(world.asked.len() <= 2 * (usize::from(message::MAX_LINKS) + 1));
    let mut world = World::new(1);
    let longer = |q: &Question| {
        vec![(q.server, q.say(Rcode::NOERROR, &[(&q.name, 60, &format!("cname x{}", q.name))]))]
    };
    assert_eq!(world.resolve("a.x", longer), Err(Errno::Io));
    assert!(world.asked.len() <= 2 * (usize::from(message::MAX_LINKS) + 1));
}

#[test]
fn answers_are_kept_for_their_ttl_and_no_longer_than_we_like() {
    let mut world = World::new(1);
    world.ours = ips(&[V4]);
    let say = |ttl: u32| {
        move |q: &Question| vec![(q.server, q.say(Rcode::NOERROR, &[(&q.name, ttl, "a 192.0.2.1")]))]
    };
    for (ttl, kept) in
        [(30, 30), (0, 0), (u32::MAX, 0), (i32::MAX as u32, cache::MAX_TTL), (604_800, cache::MAX_TTL)]
    {
        let name = format!("t{ttl}.x");
        world.resolve(&name, say(ttl)).unwrap();
        let stored = world.now;
        if kept > 0 {
            world.now = stored + (u64::from(kept) * SECOND) - MS;
            assert!(world.resolve(&name, nobody_is_asked).is_ok());
        }
        world.now = stored + (u64::from(kept) * SECOND) + MS;
        let before = world.asked.len();
        assert!(world.resolve(&name, say(ttl)).is_ok());
        assert_eq!(world.asked.len(), before + 1, "{ttl}");
    }
}

#[test]
fn what_is_not_there_is_remembered_as_its_zone_says() {
    // RFC 2308: the lesser of the SOA's own TTL and its minimum.
    for (soa, minimum, kept) in [(600, "20", 20), (15, "900", 15), (90_000, "90000", cache::MAX_TTL_NEGATIVE)]
    {
        for rcode in [Rcode::NXDOMAIN, Rcode::NOERROR] {
            let mut world = World::new(1);
            let minimum = format!("soa {minimum}");
            let say = |q: &Question| vec![(q.server, q.say(rcode, &[("x", soa, &minimum)]))];
            assert_eq!(world.resolve("no.x", say), Err(Errno::Noent));
            let stored = world.now;
            world.now = stored + u64::from(kept) * SECOND - MS;
            assert_eq!(world.resolve("NO.x.", nobody_is_asked), Err(Errno::Noent));
            world.now = stored + u64::from(kept) * SECOND + MS;
            let before = world.asked.len();
            assert_eq!(world.resolve("no.x", say), Err(Errno::Noent));
            assert!(world.asked.len() > before);
        }
    }
    // Without an SOA it is not kept at all.
    let mut world = World::new(1);
    for asked in [2, 4] {
        let nothing = |q: &Question| vec![(q.server, q.say(Rcode::NXDOMAIN, &[]))];
        assert_eq!(world.resolve("no.x", nothing), Err(Errno::Noent));
        assert_eq!(world.asked.len(), asked);
    }
    // An alias to nowhere. And: what has no address of one family may have one of the other.
    let dangling = [("a.x", 60, "cname b.x"), ("x", 60, "soa 60")];
    assert_eq!(
        world.resolve("a.x", |q| vec![(q.server, q.say(Rcode::NXDOMAIN, &dangling))]),
        Err(Errno::Noent)
    );
    let only_v4 = |q: &Question| {
        let records: &[_] = if q.v6 { &[("x", 60, "soa 60")] } else { &[("four.x", 60, "a 192.0.2.4")] };
        vec![(q.server, q.say(Rcode::NOERROR, records))]
    };
    assert_eq!(world.resolve("four.x", only_v4), Ok(ips(&["192.0.2.4"])));
    assert_eq!(world.resolve("four.x", nobody_is_asked), Ok(ips(&["192.0.2.4"])));
}

#[test]
fn no_such_name_of_one_family_is_none_of_the_other() {
    let mut world = World::new(1);
    let began = world.now;
    let say = |q: &Question| if q.v6 { vec![] } else { vec![(q.server, q.say(Rcode::NXDOMAIN, &[]))] };
    assert_eq!(world.resolve("no.x", say), Err(Errno::Noent));
    assert!(world.now - began < 10 * MS);
}

#[test]
fn the_cache_is_bounded() {
    let mut world = World::new(1);
    for count in 0..2 * cache::MAX_NAMES {
        let name = format!("n{count}.x");
        world.resolve(&name, |q| vec![(q.server, q.one("192.0.2.1", "2001:db8::1"))]).unwrap();
        assert!(world.resolver.cache.len() <= cache::MAX_NAMES);
    }
    assert_eq!(world.resolve("n511.x", nobody_is_asked).map(|found| found.len()), Ok(2));
}

#[test]
fn truncated_answers_are_asked_for_by_tcp() {
    let mut world = World::new(2);
    world.ours = ips(&[V4]);
    let many: Vec<_> = (0..100).map(|n| ("big.x", 60, format!("a 192.0.2.{n}"))).collect();
    let many: Vec<_> = many.iter().map(|(owner, ttl, data)| (*owner, *ttl, &data[..])).collect();
    let say = |q: &Question| {
        let mut bytes = q.say(Rcode::NOERROR, if q.via == Via::Tcp { &many } else { &many[..1] });
        bytes[2] |= if q.via == Via::Udp { 2 } else { 0 };
        vec![(q.server, bytes)]
    };
    let found = world.resolve("big.x", say).unwrap();
    assert_eq!(found.len(), message::MAX_ADDRESSES);
    assert_eq!(found[1], ip("192.0.2.1"));
    let via: Vec<_> = world.asked.iter().map(|q| (q.via, q.server)).collect();
    assert_eq!(via, [(Via::Udp, server(3)), (Via::Tcp, server(3))], "the same server by TCP");

    // A server that truncates and has no TCP, or truncates that too, has failed: the next one is asked.
    for also_by_tcp in [false, true] {
        let mut world = World::new(2);
        world.ours = ips(&[V4]);
        let say = |q: &Question| {
            if q.server == server(4) {
                return vec![(q.server, q.one("192.0.2.1", ""))];
            }
            if q.via == Via::Tcp && !also_by_tcp {
                return vec![(q.server, vec![])];
            }
            let mut bytes = q.say(Rcode::NOERROR, &[]);
            bytes[2] |= 2;
            vec![(q.server, bytes)]
        };
        let began = world.now;
        assert_eq!(world.resolve("big.x", say), Ok(ips(&["192.0.2.1"])));
        assert!(world.now - began < 100 * MS);
    }
}

#[test]
fn a_tcp_answer_of_any_length_is_bounded() {
    let mut world = World::new(1);
    world.ours = ips(&[V4]);
    let say = |q: &Question| {
        let mut bytes = q.say(Rcode::NOERROR, &[]);
        bytes[2] |= if q.via == Via::Udp { 2 } else { 0 };
        bytes.resize(if q.via == Via::Udp { 40 } else { 0xffff }, 0);
        vec![(q.server, bytes)]
    };
    assert_eq!(world.resolve("long.x", say), Err(Errno::Io));
}

#[test]
fn silence_is_asked_again_and_ends() {
    for servers in 1..=4 {
        let mut world = World::new(servers);
        let began = world.now;
        assert_eq!(world.resolve("a.x", silent), Err(Errno::Timedout));
        assert_eq!(world.now - began, PATIENCE);
        let each: Vec<_> = (3..3 + servers)
            .map(|n| world.asked.iter().filter(|q| q.server == server(n) && !q.v6).count())
            .collect();
        assert!(each.iter().all(|count| (1..=4).contains(count)), "{each:?}");
        assert!(world.most_open <= 4, "late answers are waited for, but not all");
        let ids: Vec<_> = world.asked.iter().map(|q| q.id).collect();
        assert!((1..ids.len()).all(|n| !ids[..n].contains(&ids[n])), "a new id each time");
    }
}

#[test]
fn the_next_server_is_asked_and_who_answers_is_asked_first() {
    let mut world = World::new(3);
    world.ours = ips(&[V4]);
    let began = world.now;
    let second = |q: &Question| match q.server == server(4) {
        true => vec![(q.server, q.one("192.0.2.1", ""))],
        false => vec![],
    };
    assert_eq!(world.resolve("a.x", second), Ok(ips(&["192.0.2.1"])));
    assert_eq!(world.now - began, SECOND + MS);
    let began = world.now;
    assert_eq!(world.resolve("b.x", second), Ok(ips(&["192.0.2.1"])));
    assert_eq!(world.now - began, MS);

    // A server that refuses costs no time.
    let mut world = World::new(3);
    world.ours = ips(&[V4]);
    let began = world.now;
    let third = |q: &Question| match q.server == server(5) {
        true => vec![(q.server, q.one("192.0.2.1", ""))],
        false => {
            vec![(q.server, q.say(if q.server == server(3) { Rcode::REFUSED } else { Rcode::SERVFAIL }, &[]))]
        }
    };
    assert_eq!(world.resolve("a.x", third), Ok(ips(&["192.0.2.1"])));
    assert_eq!(world.now - began, 3 * MS);
}

#[test]
fn a_late_answer_to_the_first_question_still_counts() {
    let mut world = World::new(1);
    world.ours = ips(&[V4]);
    let asked = world.ask("a.x");
    let mut first = None;
    let mut keep = |q: &Question| {
        first.get_or_insert_with(|| q.one("192.0.2.1", ""));
        vec![]
    };
    world.step(&mut keep);
    world.now += SECOND + 10 * MS;
    world.step(&mut keep);
    assert_eq!(world.asked.len(), 2);
    let (key, bytes) = (world.open[0], first.unwrap());
    world.resolver.received(key, server(3), &bytes, world.now);
    assert_eq!(world.run(&asked, silent), ips(&["192.0.2.1"]));
    assert!(world.open.is_empty());
}

#[test]
fn failures_are_told_apart() {
    let mut world = World::new(2);
    assert_eq!(world.resolve("a.x", |q| vec![(q.server, q.say(Rcode::SERVFAIL, &[]))]), Err(Errno::Io));
    assert_eq!(world.asked.len(), 4, "each server once for each family");
    let mut world = World::new(2);
    let one = |q: &Question| match q.server == server(3) {
        true => vec![(q.server, q.say(Rcode::REFUSED, &[]))],
        false => vec![],
    };
    assert_eq!(world.resolve("a.x", one), Err(Errno::Io), "somebody answered");
    let mut world = World::new(0);
    assert_eq!(world.resolve("a.x", nobody_is_asked), Err(Errno::Netdown));
    assert_eq!(world.resolve("127.0.0.1", nobody_is_asked), Ok(ips(&["127.0.0.1"])));
    // The servers go away while they are asked.
    let mut world = World::new(1);
    let asked = world.ask("a.x");
    world.step(&mut silent);
    world.resolver.set_servers([]);
    assert_eq!(world.end(&asked, &mut silent), Err(Errno::Io));
}

#[test]
fn a_server_without_edns_is_asked_without() {
    for rcode in [Rcode::FORMERR, Rcode::NOTIMP] {
        let mut world = World::new(1);
        world.ours = ips(&[V4]);
        let say = |q: &Question| match q.edns {
            // With the question, or without.
            true if rcode == Rcode::FORMERR => {
                let mut bytes = q.say(rcode, &[])[..12].to_vec();
                bytes[5] = 0;
                vec![(q.server, bytes)]
            }
            true => vec![(q.server, q.say(rcode, &[]))],
            false => vec![(q.server, q.one("192.0.2.1", ""))],
        };
        assert_eq!(world.resolve("a.x", say), Ok(ips(&["192.0.2.1"])));
        assert_eq!(world.resolve("b.x", say), Ok(ips(&["192.0.2.1"])));
        assert_eq!(world.asked.iter().map(|q| q.edns).collect::<Vec<_>>(), [true, false, false]);
        // Without EDNS it understands no more: it has failed.
        assert_eq!(world.resolve("c.x", |q| vec![(q.server, q.say(rcode, &[]))]), Err(Errno::Io));
    }
}

#[test]
fn a_family_that_is_not_answered_for_is_not_waited_for() {
    let mut world = World::new(1);
    let began = world.now;
    let only_v4 = |q: &Question| if q.v6 { vec![] } else { vec![(q.server, q.one("192.0.2.1", ""))] };
    assert_eq!(world.resolve("a.x", only_v4), Ok(ips(&["192.0.2.1"])));
    assert!(world.now - began <= GRACE + 2 * MS);
    assert!(world.asked.iter().filter(|q| q.v6).count() >= 2, "it was asked for again");
    // And not every time.
    let began = world.now;
    assert_eq!(world.resolve("a.x", nobody_is_asked), Ok(ips(&["192.0.2.1"])));
    assert_eq!(world.now, began);
}

#[test]
fn two_that_ask_for_one_name_share_the_question() {
    let mut world = World::new(1);
    let (one, two) = (world.ask("a.x"), world.ask("A.X."));
    world.step(&mut silent);
    let three = world.ask("a.x");
    let answer = |q: &Question| vec![(q.server, q.one("192.0.2.1", "2001:db8::1"))];
    world.now += SECOND;
    let found = world.run(&one, answer);
    assert_eq!(world.asked.len(), 4);
    assert_eq!((two.addresses(), three.addresses()), (Ok(found.clone()), Ok(found)));
}

#[test]
fn what_nobody_waits_for_is_asked_no_more() {
    let mut world = World::new(1);
    let (one, two) = (world.ask("a.x"), world.ask("a.x"));
    world.step(&mut silent);
    assert_eq!(world.open.len(), 2);
    drop(one);
    world.step(&mut silent);
    assert_eq!(world.open.len(), 2);
    drop(two);
    world.step(&mut silent);
    assert_eq!((world.open.len(), world.resolver.poll_at()), (0, None));
}

#[test]
fn many_names_wait_for_their_turn_and_too_many_are_refused() {
    let mut world = World::new(1);
    let mut asked: Vec<_> = (0..MAX_SEARCHES).map(|n| world.ask(&format!("n{n}.x"))).collect();
    assert_eq!(world.resolver.ask("one.more", &world.ours, world.now).err(), Some(Errno::Nobufs));
    assert!(world.resolver.ask("n255.x", &world.ours, world.now).is_ok(), "it is asked for already");
    world.step(&mut silent);
    assert_eq!(world.open.len(), 2 * MAX_ACTIVE);
    for asked in &asked {
        let found = world.run(asked, |q| vec![(q.server, q.one("192.0.2.1", "2001:db8::1"))]);
        assert_eq!(found.len(), 2);
    }
    assert!(world.most_open <= 4 * MAX_ACTIVE);
    // And if nobody answers, all come to their end in time.
    asked.clear();
    asked.extend((0..MAX_SEARCHES).map(|n| world.ask(&format!("m{n}.x"))));
    let began = world.now;
    for asked in &asked {
        assert_eq!(world.end(asked, &mut silent), Err(Errno::Timedout));
    }
    assert_eq!(world.now - began, PATIENCE);
    assert!(world.resolver.searches.is_empty());
}

#[test]
fn forged_answers_change_nothing() {
    let mut world = World::new(1);
    world.ours = ips(&[V4]);
    let say = |q: &Question| {
        let right = q.one("192.0.2.1", "");
        let wrong = |change: &dyn Fn(&mut Question)| {
            let mut other = Question { name: q.name.clone(), ..*q };
            change(&mut other);
            other.one("6.6.6.6", "::6")
        };
        let question = {
            let mut bytes = q.one("6.6.6.6", "");
            bytes[2] &= 0x7f;
            bytes
        };
        let two_questions = {
            let mut bytes = q.one("6.6.6.6", "");
            bytes[5] = 2;
            bytes
        };
        let no_question = {
            let mut bytes = q.one("6.6.6.6", "");
            bytes[5] = 0;
            bytes
        };
        let elsewhere = SocketAddr::from(([10, 0, 2, 66], 53));
        let other_port = SocketAddr::new(q.server.ip(), 5353);
        vec![
            (elsewhere, q.one("6.6.6.6", "")),
            (other_port, q.one("6.6.6.6", "")),
            (q.server, wrong(&|q| q.id = q.id.wrapping_add(1))),
            (q.server, wrong(&|q| q.name = "b.x".into())),
            (q.server, wrong(&|q| q.v6 = true)),
            (q.server, question),
            (q.server, two_questions),
            (q.server, no_question),
            (q.server, vec![]),
            (q.server, right[..11].to_vec()),
            (q.server, right),
        ]
    };
    assert_eq!(world.resolve("a.x", say), Ok(ips(&["192.0.2.1"])));
    assert_eq!(world.asked.len(), 1);
}

#[test]
fn addresses_of_other_names_are_not_taken() {
    let mut world = World::new(1);
    world.ours = ips(&[V4]);
    let records = [("b.x", 60, "a 6.6.6.6"), ("a.x", 60, "a 192.0.2.1"), ("b.x", 60, "cname a.x")];
    assert_eq!(
        world.resolve("a.x", |q| vec![(q.server, q.say(Rcode::NOERROR, &records))]),
        Ok(ips(&["192.0.2.1"]))
    );
    assert_eq!(world.resolve("b.x", silent), Err(Errno::Timedout), "nothing was learnt about others");
}

#[test]
fn malformed_answers_are_failures() {
    // Behind the question: a name that points at itself, ahead, in a circle; a record cut off; a length that lies.
    let tails: [&[u8]; 7] = [
        b"\xc0\x15\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04",
        b"\xff\xff\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04",
        b"\x01a\xc0\x15\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03\x04",
        b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\x01\x02\x03",
        b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x03\x01\x02\x03",
        b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\xff\xff\x01\x02\x03\x04",
        b"\x80",
    ];
    for tail in tails {
        let mut world = World::new(1);
        world.ours = ips(&[V4]);
        let say = |q: &Question| {
            let mut bytes = q.say(Rcode::NOERROR, &[]);
            bytes[7] = 1;
            bytes.extend_from_slice(tail);
            vec![(q.server, bytes)]
        };
        assert_eq!(world.resolve("a.x", say), Err(Errno::Io), "{tail:?}");
    }
}

/// The bytes of answers, changed at random: no panic, no hang, and an end in time.
#[test]
fn mutated_answers_never_hang() {
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed >> 16) as usize % below
    };
    let chain =
        [("a.x", 60, "cname b.x"), ("b.x", 60, "cname c.x"), ("c.x", 9, "a 192.0.2.7"), ("x", 9, "soa 6")];
    for round in 0..3000_u32 {
        let mut world = World::new((round % 3) as u8 + 1);
        let mut answers = 0;
        let result = world.resolve("a.x", |q| {
            let mut bytes = q.say(Rcode::NOERROR, &chain);
            for _ in 0..=random(4) {
                // Not its id, which would only make it no answer.
                let at = 2 + random(bytes.len() - 2);
                match random(4) {
                    0 => bytes[at] = random(256) as u8,
                    1 => bytes[at] ^= 1 << random(8),
                    2 => bytes.truncate(at.max(3)),
                    _ => bytes[at] = 0xc0,
                }
            }
            answers += 1;
            assert!(answers < 500, "asked for ever");
            vec![(q.server, bytes)]
        });
        assert_ne!(result, Err(Errno::Again));
    }
}

/// The longest answer that is read, made of nothing but pointers, over and over.
#[test]
fn compression_bombs_cost_little() {
    let mut world = World::new(1);
    world.ours = ips(&[V4]);
    let mut cost = 0;
    for _ in 0..20 {
        let asked = world.ask("a.x");
        let answer = world.end(&asked, &mut |q: &Question| {
            let mut bytes = q.say(Rcode::NOERROR, &[]);
            if q.via == Via::Udp {
                bytes[2] |= 2;
                return vec![(q.server, bytes)];
            }
            // One record that holds a chain of pointers, then records that are called by its end.
            (bytes[6], bytes[7]) = (1, 1);
            bytes.extend_from_slice(b"\0\0\x10\0\x01\0\0\0\0");
            let length = bytes.len();
            bytes.extend_from_slice(&[0, 0]);
            let mut last = 12_u16;
            while bytes.len() < 12_000 {
                let at = bytes.len() as u16;
                bytes.extend_from_slice(&(0xc000 | last).to_be_bytes());
                last = at;
            }
            let data = (bytes.len() - length - 2) as u16;
            bytes[length..length + 2].copy_from_slice(&data.to_be_bytes());
            while bytes.len() < MAX_TCP - 16 {
                bytes.extend_from_slice(&(0xc000_u16 | (12 + 2 * 255)).to_be_bytes());
                bytes.extend_from_slice(b"\0\x01\0\x01\0\0\0\0\0\x04\x01\x01\x01\x01");
            }
            cost += bytes.len();
            vec![(q.server, bytes)]
        });
        // Each of its names is at the end of some two hundred pointers, and is right.
        assert_eq!(answer, Ok(ips(&["1.1.1.1"])));
    }
    assert!(cost > 0);
}

#[test]
fn whoever_waits_is_woken_once_it_is_answered() {
    struct Count(AtomicUsize);
    impl alloc::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let count = Arc::new(Count(AtomicUsize::new(0)));
    let woken = || count.0.load(Ordering::Relaxed);
    let waker: Waker = count.clone().into();
    let mut world = World::new(1);
    let asked = world.ask("a.x");
    assert_eq!(asked.addresses(), Err(Errno::Again));
    asked.register(Interest::Read, &waker);
    world.step(&mut silent);
    assert!(world.resolver.take_woken().is_empty() && !asked.ready(Interest::Read).any());
    world.now += SECOND;
    world.run(&asked, |q| vec![(q.server, q.one("192.0.2.1", "2001:db8::1"))]);
    assert_eq!(woken(), 0);
    world.resolver.take_woken().into_iter().for_each(Waker::wake);
    assert_eq!(woken(), 1);
    // Answered already: at once. The old one gives way to the new one, awake.
    asked.register(Interest::Read, &waker);
    assert_eq!(woken(), 2);
    let asked = world.ask("b.x");
    asked.register(Interest::Read, &waker);
    asked.register(Interest::Read, &waker);
    assert_eq!(woken(), 2, "it is itself");
    asked.register(Interest::Read, Waker::noop());
    assert_eq!(woken(), 3);
    assert!(asked.ready(Interest::Write).hangup);
    asked.register(Interest::Write, &waker);
    assert_eq!(woken(), 4);
}
