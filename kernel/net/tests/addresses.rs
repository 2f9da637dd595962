//! Where addresses come from and where they go: the configuration, DHCP, routers; and who answers a ping.

mod pair;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use lunette_hostcalls::{Clock, Errno, Interest, Nanos, Net};
use lunette_net::{
    Config, V4, V6,
    smoltcp::{
        phy::ChecksumCapabilities,
        time::Duration,
        wire::{
            DHCP_CLIENT_PORT, DHCP_SERVER_PORT, DhcpMessageType, DhcpPacket, DhcpRepr, EthernetAddress,
            EthernetProtocol, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv6Packet,
            NdiscPrefixInfoFlags, NdiscPrefixInformation, NdiscRepr, NdiscRouterFlags, UdpPacket,
        },
    },
};
use pair::{Hand, Host, MILLI, SECOND, World, config, host, raw::Raw, wire};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const ROUTER_6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// One host, and a router that does what a test says.
struct Home {
    clock: Arc<Hand>,
    host: Host,
    router: Raw,
    lease: u32,
    offered: Option<Ipv4Addr>,
    heard: Vec<(DhcpMessageType, Vec<u8>)>,
}

impl Home {
    fn new(config: Config) -> Self {
        let clock = Arc::<Hand>::default();
        let (left, right) = wire();
        let router = Raw::new(left, [2, 0, 0, 0, 0, 1]);
        let lent = Ipv4Addr::new(10, 1, 0, 77);
        Self {
            host: host(right, config, &clock),
            clock,
            router,
            lease: 600,
            offered: Some(lent),
            heard: Vec::new(),
        }
    }

    /// Answers as a DHCP server: with the offered address, or not at all; to who asks for another: no.
    fn serve(&mut self) {
        let asked = self.router.take(|protocol, bytes| {
            let ip = (protocol == EthernetProtocol::Ipv4).then(|| Ipv4Packet::new_checked(bytes).unwrap())?;
            let udp = (ip.next_header() == IpProtocol::Udp)
                .then(|| UdpPacket::new_checked(ip.payload()).unwrap())?;
            (udp.dst_port() == DHCP_SERVER_PORT).then(|| udp.payload().to_vec())
        });
        for bytes in asked {
            let packet = DhcpPacket::new_checked(&bytes[..]).unwrap();
            let question = DhcpRepr::parse(&packet).unwrap();
            let name = packet.options().find(|option| option.kind == 12).map(|option| option.data.to_vec());
            self.heard.push((question.message_type, name.unwrap_or_default()));
            let Some(offered) = self.offered else { continue };
            let wanted = question.requested_ip.unwrap_or(question.client_ip);
            let kind = match question.message_type {
                DhcpMessageType::Discover => DhcpMessageType::Offer,
                _ if wanted == offered => DhcpMessageType::Ack,
                _ => DhcpMessageType::Nak,
            };
            let answer = DhcpRepr {
                message_type: kind,
                your_ip: offered,
                client_ip: Ipv4Addr::UNSPECIFIED,
                server_ip: ROUTER,
                router: Some(ROUTER),
                subnet_mask: Some([255, 255, 255, 0].into()),
                server_identifier: Some(ROUTER),
                requested_ip: None,
                client_identifier: None,
                parameter_request_list: None,
                max_size: None,
                dns_servers: Some([Ipv4Addr::new(10, 1, 0, 3)].into_iter().collect()),
                lease_duration: Some(self.lease),
                renew_duration: None,
                rebind_duration: None,
                additional_options: &[],
                ..question
            };
            let mut bytes = vec![0; answer.buffer_len()];
            answer.emit(&mut DhcpPacket::new_unchecked(&mut bytes[..])).unwrap();
            let from = SocketAddr::new(ROUTER.into(), DHCP_SERVER_PORT);
            let to = SocketAddr::new(offered.into(), DHCP_CLIENT_PORT);
            self.router.udp(MAC, to, from, &bytes);
        }
    }

    fn advertise(&self, prefix: Ipv6Addr, lifetime: u64) {
        let advert = Icmpv6Repr::Ndisc(NdiscRepr::RouterAdvert {
            hop_limit: 64,
            flags: NdiscRouterFlags::empty(),
            router_lifetime: Duration::from_secs(lifetime),
            reachable_time: Duration::ZERO,
            retrans_time: Duration::ZERO,
            lladdr: Some(EthernetAddress(self.router.mac).into()),
            mtu: None,
            prefix_info: Some(NdiscPrefixInformation {
                prefix_len: 64,
                flags: NdiscPrefixInfoFlags::ADDRCONF | NdiscPrefixInfoFlags::ON_LINK,
                valid_lifetime: Duration::from_secs(lifetime),
                preferred_lifetime: Duration::from_secs(lifetime),
                prefix,
            }),
        });
        self.router.icmp6([0x33, 0x33, 0, 0, 0, 1], [0xff02, 0, 0, 0, 0, 0, 0, 1].into(), ROUTER_6, &advert);
    }

    fn run(&mut self, time: Nanos) {
        let end = self.clock.monotonic() + time;
        let mut turns = 0;
        loop {
            let next = self.host.stack.poll();
            self.serve();
            turns += 1;
            let now = self.clock.monotonic();
            if now >= end {
                break;
            }
            if self.router.goes.lock().unwrap().is_empty() {
                self.clock.push_to(next.unwrap_or(end).clamp(now + 1000, end));
            }
        }
        assert!(turns < 200 + time / SECOND, "{turns} turns in {} s", time / SECOND);
    }

    fn addresses(&self) -> Vec<IpAddr> {
        self.host.stack.status().addresses.iter().map(|(ip, _)| *ip).collect()
    }
}

fn dhcp() -> Config {
    Config { mac: MAC, hostname: Some("owl".into()), ipv4: V4::Dhcp, ipv6: V6::None, ..Config::default() }
}

#[test]
fn an_address_is_lent_renewed_lost_and_lent_anew() {
    let mut home = Home::new(dhcp());
    assert_eq!(home.host.stack.status().missing, Some("an answer from a DHCP server"));
    home.run(10 * MILLI);
    let status = home.host.stack.status();
    assert_eq!(status.addresses, [(IpAddr::from([10, 1, 0, 77]), 24)]);
    assert_eq!((status.gateway, &status.dns[..]), (Some(ROUTER), &[IpAddr::from([10, 1, 0, 3])][..]));
    assert_eq!((status.missing, status.v4, status.lease.unwrap().server), (None, true, ROUTER));
    assert!(home.host.log.has("10.1.0.77/24 via 10.1.0.1 dns 10.1.0.3 lent by 10.1.0.1"));
    use DhcpMessageType::{Discover, Request};
    assert_eq!(home.heard, [(Discover, b"owl".to_vec()), (Request, b"owl".to_vec())]);

    // Renewed in time (by broadcast, for the server answers no ARP), again and again, with nothing else going on.
    let listener = home.host.stack.listen("10.1.0.77:80".parse().unwrap(), 1).unwrap();
    home.run(3600 * SECOND);
    assert!((6..16).contains(&(home.heard.len() - 2)), "{:?}", home.heard.len());
    assert_eq!(home.addresses(), [IpAddr::from([10, 1, 0, 77])]);
    let stream = home.host.stack.connect("192.0.2.1:9".parse().unwrap()).unwrap();

    // The server is gone: at the end of the lease, so is the address, and what stood on it.
    home.offered = None;
    home.run(601 * SECOND);
    assert!(home.addresses().is_empty());
    assert!(home.host.log.has("the lease of 10.1.0.77 is lost"));
    assert_eq!(home.host.stack.status().missing, Some("an answer from a DHCP server"));
    assert!(stream.connected().is_err());
    assert_eq!(home.host.stack.connect("192.0.2.1:9".parse().unwrap()).err(), Some(Errno::Netunreach));

    home.offered = Some([10, 1, 0, 78].into());
    home.run(60 * SECOND);
    assert_eq!(home.addresses(), [IpAddr::from([10, 1, 0, 78])]);
    // Nobody can reach the old place, and nobody else took it.
    assert!(!listener.ready(Interest::Read).any());

    // A server that says no while it is renewed: at once another.
    home.offered = Some([10, 1, 0, 79].into());
    home.run(560 * SECOND);
    assert_eq!(home.addresses(), [IpAddr::from([10, 1, 0, 79])]);
}

#[test]
fn a_connection_whose_address_is_lost_is_told_so() {
    let mut home = Home::new(dhcp());
    home.run(10 * MILLI);
    let listener = home.host.stack.listen("0.0.0.0:80".parse().unwrap(), 1).unwrap();
    let (from, to) = (SocketAddr::new(ROUTER.into(), 5000), "10.1.0.77:80".parse::<SocketAddr>().unwrap());
    use lunette_net::smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetFrame, TcpControl};
    let arp = ArpRepr::EthernetIpv4 {
        operation: ArpOperation::Reply,
        source_hardware_addr: EthernetAddress(home.router.mac),
        source_protocol_addr: ROUTER,
        target_hardware_addr: EthernetAddress(MAC),
        target_protocol_addr: [10, 1, 0, 77].into(),
    };
    let mut bytes = vec![0; 14 + arp.buffer_len()];
    let mut frame = EthernetFrame::new_unchecked(&mut bytes);
    frame.set_src_addr(EthernetAddress(home.router.mac));
    frame.set_dst_addr(EthernetAddress(MAC));
    frame.set_ethertype(EthernetProtocol::Arp);
    arp.emit(&mut ArpPacket::new_unchecked(frame.payload_mut()));
    home.router.goes.lock().unwrap().push_back(bytes);
    home.router.tcp(MAC, to.ip(), from.ip(), &pair::raw::tcp(to, from, TcpControl::Syn, 1, None));
    home.host.stack.poll();
    let (_, seq, ..) = home.router.take_tcp()[0];
    home.router.tcp(MAC, to.ip(), from.ip(), &pair::raw::tcp(to, from, TcpControl::None, 2, Some(seq + 1)));
    home.host.stack.poll();
    let (stream, _) = listener.accept().unwrap();
    home.offered = None;
    home.run(700 * SECOND);
    assert_eq!(stream.read(&mut [0; 8]), Err(Errno::Connaborted));
    assert_eq!(stream.read(&mut [0; 8]), Ok(0));
}

#[test]
fn what_a_dhcp_server_claims_is_not_believed_blindly() {
    for bad in [Ipv4Addr::BROADCAST, Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST, Ipv4Addr::new(224, 0, 0, 1)]
    {
        let mut home = Home::new(dhcp());
        home.offered = Some(bad);
        home.run(30 * SECOND);
        assert!(home.addresses().is_empty(), "{bad}");
    }
}

#[test]
fn routers_give_addresses_of_ipv6_and_take_them_away() {
    let mut home = Home::new(Config { mac: MAC, ipv4: V4::None, ipv6: V6::Auto, ..Config::default() });
    assert_eq!(home.host.stack.status().missing, Some("an advertisement from a router"));
    home.host.stack.poll();
    let solicits = home.router.take(|protocol, bytes| {
        let ip = (protocol == EthernetProtocol::Ipv6).then(|| Ipv6Packet::new_checked(bytes).unwrap())?;
        let icmp = (ip.next_header() == IpProtocol::Icmpv6)
            .then(|| Icmpv6Packet::new_checked(ip.payload()).unwrap())?;
        let caps = ChecksumCapabilities::default();
        match Icmpv6Repr::parse(&ip.src_addr(), &ip.dst_addr(), &icmp, &caps) {
            Ok(Icmpv6Repr::Ndisc(NdiscRepr::RouterSolicit { .. })) => Some(()),
            _ => None,
        }
    });
    assert_eq!(solicits.len(), 1);
    let prefix = [0x2001, 0xdb8, 0, 7, 0, 0, 0, 0].into();
    home.advertise(prefix, 600);
    home.run(MILLI);
    let own: IpAddr = "2001:db8:0:7::ff:fe00:2".parse().unwrap();
    let status = home.host.stack.status();
    assert_eq!((status.v6, status.missing, status.gateway6), (true, None, Some(ROUTER_6)));
    assert_eq!(status.addresses, [("fe80::ff:fe00:2".parse().unwrap(), 64), (own, 64)]);
    let stream = home.host.stack.connect("[2001:db8::1]:80".parse().unwrap()).unwrap();
    assert_eq!(stream.local().ip(), own);
    drop(stream);
    // It holds as long as it is advertised.
    for _ in 0..5 {
        home.run(400 * SECOND);
        home.advertise(prefix, 600);
    }
    home.run(SECOND);
    assert!(home.addresses().contains(&own));
    home.run(601 * SECOND);
    let status = home.host.stack.status();
    assert_eq!((status.v6, status.gateway6), (false, None));
}

#[test]
fn without_anybody_who_answers_the_stack_comes_to_rest() {
    let mut home = Home::new(Config { mac: MAC, ipv4: V4::None, ipv6: V6::Auto, ..Config::default() });
    home.run(3600 * SECOND);
    assert_eq!(home.host.stack.poll(), None);
    let mut home = Home::new(Config { ipv6: V6::Auto, ..dhcp() });
    home.offered = None;
    home.run(100 * SECOND);
    assert!((20..60).contains(&home.heard.len()), "{}", home.heard.len());
    home.offered = Some([10, 1, 0, 5].into());
    home.run(3 * SECOND);
    assert_eq!(home.host.stack.status().missing, None);
}

#[test]
fn pings_are_answered() {
    let home = Home::new(Config { mac: MAC, ..config(2) });
    let (ours, theirs) = ([10, 0, 0, 2].into(), Ipv4Addr::new(10, 0, 0, 9));
    let ping = Icmpv4Repr::EchoRequest { ident: 7, seq_no: 8, data: b"are you there" };
    // The answer has to find its way first.
    let (ours_6, theirs_6) = ("fd00::2".parse().unwrap(), "fd00::9".parse().unwrap());
    let ping_6 = Icmpv6Repr::EchoRequest { ident: 7, seq_no: 8, data: b"are you there" };
    let solicit = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit {
        target_addr: ours_6,
        lladdr: Some(EthernetAddress(home.router.mac).into()),
    });
    home.router.icmp6(MAC, ours_6, theirs_6, &solicit);
    home.router.icmp6(MAC, ours_6, theirs_6, &ping_6);
    home.host.stack.poll();
    let answers = home.router.take(|protocol, bytes| {
        let ip = (protocol == EthernetProtocol::Ipv6).then(|| Ipv6Packet::new_checked(bytes).unwrap())?;
        let icmp = Icmpv6Packet::new_checked(ip.payload()).ok()?;
        let caps = ChecksumCapabilities::default();
        match Icmpv6Repr::parse(&ip.src_addr(), &ip.dst_addr(), &icmp, &caps) {
            Ok(Icmpv6Repr::EchoReply { ident: 7, seq_no: 8, data: b"are you there" }) => Some("pong"),
            Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { .. })) => Some("here"),
            _ => None,
        }
    });
    assert_eq!(answers, ["here", "pong"]);
    home.router.icmp4(MAC, ours, theirs, &ping);
    home.host.stack.poll();
    let asked = home.router.take(|protocol, _| (protocol == EthernetProtocol::Arp).then_some(()));
    assert_eq!(asked.len(), 1, "whom to answer is asked for");
}

#[test]
fn datagrams_cross_the_wire_both_ways() {
    let world = World::new();
    for (ours, theirs) in
        [("0.0.0.0:53", "10.0.0.2:53"), ("[::]:54", "[fd00::2]:54"), ("[::]:55", "10.0.0.2:55")]
    {
        let server = world.b.stack.bind(ours.parse().unwrap()).unwrap();
        let client = world.a.stack.bind(SocketAddr::new(server.local().ip(), 0)).unwrap();
        assert_eq!(server.recv_from(&mut [0; 8]).err(), Some(Errno::Again));
        assert!(!server.ready(Interest::Read).any() && server.ready(Interest::Write).any());
        client.send_to(b"question", theirs.parse().unwrap()).unwrap();
        client.send_to(b"", theirs.parse().unwrap()).unwrap();
        world.wait(&*server, Interest::Read);
        let mut buf = [0; 4];
        assert_eq!(server.ready(Interest::Read).bytes, 8);
        let (took, length, from) = server.recv_from(&mut buf).unwrap();
        assert_eq!((took, length, &buf), (4, 8, b"ques"));
        world.settle();
        assert_eq!(server.ready(Interest::Read).bytes, 1, "an empty one is there");
        assert_eq!(server.recv_from(&mut buf).unwrap(), (0, 0, from));
        server.send_to(b"answer", from).unwrap();
        world.wait(&*client, Interest::Read);
        let mut buf = [0; 16];
        assert_eq!(client.recv_from(&mut buf).unwrap(), (6, 6, theirs.parse().unwrap()));
        assert_eq!(client.send_to(&[0; 1473], "10.0.0.2:53".parse().unwrap()), Err(Errno::Msgsize));
    }
    assert_eq!((world.a.stack.memory_used(), world.b.stack.memory_used()), (0, 0));
}

#[test]
fn datagrams_to_a_silent_neighbour_do_not_hold_up_the_others() {
    let world = World::new();
    let server = world.b.stack.bind("0.0.0.0:53".parse().unwrap()).unwrap();
    let client = world.a.stack.bind("0.0.0.0:0".parse().unwrap()).unwrap();
    let mut sent = 0;
    while client.send_to(&[0; 1000], "10.0.0.99:53".parse().unwrap()).is_ok() {
        sent += 1;
    }
    assert!(sent >= 8 && !client.ready(Interest::Write).any());
    world.run(5 * SECOND);
    assert!(client.ready(Interest::Write).any());
    client.send_to(b"x", "10.0.0.2:53".parse().unwrap()).unwrap();
    world.wait(&*server, Interest::Read);
    // What nobody reads is lost, and bounded.
    for _ in 0..1000 {
        let _ = client.send_to(&[0; 1400], "10.0.0.2:53".parse().unwrap());
        world.settle();
    }
    assert!(world.b.stack.memory_used() < 512 * 1024);
    let mut held = 0;
    while server.recv_from(&mut [0; 8]).is_ok() {
        held += 1;
    }
    assert!((150..200).contains(&held), "{held}");
}

#[test]
fn the_words_of_the_command_line_are_read() {
    let read = |words: &str| Config::from_words(MAC, words.split(' '));
    assert_eq!(read(""), Ok(Config { mac: MAC, ..Config::default() }));
    let config = read(
        "quiet lunette.tty lunette.ip=10.0.2.15/24,10.0.2.2 lunette.ip6=fd00::5/64 lunette.dns=10.0.2.3,fd00::3 \
         lunette.hostname=owl.example lunette.hosts=db=10.0.2.20,Cache=fd00::7 lunette.log=info",
    )
    .unwrap();
    assert_eq!(
        config.ipv4,
        V4::Static { address: ([10, 0, 2, 15].into(), 24), gateway: Some([10, 0, 2, 2].into()) }
    );
    assert_eq!(config.ipv6, V6::Static { address: ("fd00::5".parse().unwrap(), 64), gateway: None });
    assert_eq!(config.dns, ["10.0.2.3".parse::<IpAddr>().unwrap(), "fd00::3".parse().unwrap()]);
    assert_eq!((config.hostname.as_deref(), config.hosts.len()), (Some("owl.example"), 2));
    assert_eq!(read("lunette.ip=none lunette.ip6=none"), Ok(Config { mac: MAC, ..Config::loopback() }));
    for (word, wrong) in [
        ("lunette.ip=10.0.2.15", "has no length"),
        ("lunette.ip=10.0.2.15/33", "between /1 and /32"),
        ("lunette.ip=10.0.2.15/0", "between /1 and /32"),
        ("lunette.ip=10.0.2/24", "not an address"),
        ("lunette.ip=224.0.0.1/24", "not the address of a host"),
        ("lunette.ip=10.0.2.15/24,10.0.3.2", "not on the network"),
        ("lunette.ip6=10.0.2.15/24", "not an address"),
        ("lunette.ip6=::/64", "not the address of a host"),
        ("lunette.dns=one.one.one.one", "not an address"),
        ("lunette.dns=", "not an address"),
        ("lunette.hostname=-owl", "not a name of a host"),
        ("lunette.hosts=db", "has no address"),
        ("lunette.hosts=db=here", "not an address"),
    ] {
        let error = read(word).unwrap_err();
        assert!(error.contains(word) && error.contains(wrong) && error.contains("help: "), "{error}");
    }
}
