//! One network card's settings, as clouds describe it, to words of the command line: cloud-init's network-config, versions 1
//! and 2, and OpenStack's network_data.json.
//!
//! Of several cards the first counts, as it does for the kernel, and of several addresses of a family the first; both are
//! noted. What would change how frames travel (VLANs, bonds, bridges) is an error.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::IpAddr;

use crate::{Settings, Source, yaml::Node};

/// What is known of one card.
#[derive(Default)]
struct Card {
    /// Addresses with the length of their network.
    addresses: Vec<(IpAddr, u8)>,
    gateways: Vec<IpAddr>,
    dns: Vec<IpAddr>,
    /// Does DHCP, or do routers, say more?
    dhcp4: bool,
    auto6: bool,
    notes: Vec<String>,
}

type Fault = String;

/// cloud-init's: version 1 or 2, with or without `network:` around it.
pub(crate) fn cloud_init(document: &Node, source: Source, settings: &mut Settings) -> Result<(), Fault> {
    let network = document.get("network").unwrap_or(document);
    if network.text("config") == Some("disabled") || *network == Node::Null {
        return Ok(());
    }
    let card = match network.text("version") {
        Some("1") => version_1(network)?,
        Some("2") => version_2(network)?,
        _ => return Err("it is neither of version 1 nor of 2".into()),
    };
    card.map_or(Ok(()), |card| card.offer(source, settings))
}

fn version_1(network: &Node) -> Result<Option<Card>, Fault> {
    let mut found: Option<Card> = None;
    let mut dns = Vec::new();
    let mut more = 0;
    for entry in network.list("config") {
        match entry.text("type") {
            Some("physical") if found.is_some() => more += 1,
            Some("physical") => found = Some(subnets(entry)?),
            Some("nameserver") => servers(entry.list("address"), &mut dns)?,
            Some("loopback") => {}
            kind => {
                return Err(format!("`type: {}` is not understood", kind.unwrap_or_default().escape_debug()));
            }
        }
    }
    if let Some(card) = &mut found {
        card.dns.extend(dns);
        card.note_others(more);
    }
    Ok(found)
}

fn subnets(entry: &Node) -> Result<Card, Fault> {
    let mut card = Card::default();
    for subnet in entry.list("subnets") {
        match subnet.text("type").unwrap_or_default() {
            "dhcp" | "dhcp4" => card.dhcp4 = true,
            "dhcp6" | "ipv6_slaac" | "ipv6_dhcpv6-stateful" | "ipv6_dhcpv6-stateless" => card.auto6 = true,
            "manual" => {}
            "static" | "static6" => {
                let text = subnet.text("address").ok_or("a static subnet has no address")?;
                fixed(text, subnet, &mut card)?;
            }
            kind => return Err(format!("a subnet of `type: {}` is not understood", kind.escape_debug())),
        }
        servers(subnet.list("dns_nameservers"), &mut card.dns)?;
    }
    Ok(card)
}

fn version_2(network: &Node) -> Result<Option<Card>, Fault> {
    for kind in ["bonds", "bridges", "vlans", "wifis", "tunnels"] {
        if network.get(kind).is_some_and(|kind| *kind != Node::Null) {
            return Err(format!("`{kind}` are not understood"));
        }
    }
    let Some(Node::Map(cards)) = network.get("ethernets") else { return Ok(None) };
    let Some((_, first)) = cards.first() else { return Ok(None) };
    let mut card = Card { dhcp4: first.is_true("dhcp4"), auto6: first.is_true("dhcp6"), ..Card::default() };
    for text in first.list("addresses") {
        let text = text.scalar().ok_or("an address with more than itself is not understood")?;
        card.addresses.push(address(text, None)?);
    }
    for key in ["gateway4", "gateway6"] {
        if let Some(gateway) = first.text(key) {
            card.gateways.push(ip(gateway)?);
        }
    }
    routes(first, "via", &mut card)?;
    servers(first.get("nameservers").map_or(&[], |servers| servers.list("addresses")), &mut card.dns)?;
    card.note_others(cards.len() - 1);
    Ok(Some(card))
}

/// OpenStack's network_data.json.
pub(crate) fn openstack(document: &Node, source: Source, settings: &mut Settings) -> Result<(), Fault> {
    let links = document.list("links");
    if let Some(kind) =
        links.iter().filter_map(|link| link.text("type")).find(|kind| matches!(*kind, "bond" | "vlan"))
    {
        return Err(format!("a link of type `{kind}` is not understood"));
    }
    let Some(first) = links.first() else { return Ok(()) };
    let mut card = Card::default();
    for network in document.list("networks").iter().filter(|network| network.text("link") == first.text("id"))
    {
        match network.text("type").unwrap_or_default() {
            "ipv4_dhcp" => card.dhcp4 = true,
            "ipv6_dhcp" | "ipv6_slaac" | "ipv6_dhcpv6-stateless" | "ipv6_dhcpv6-stateful" => {
                card.auto6 = true
            }
            "ipv4" | "ipv6" => {
                let text = network.text("ip_address").ok_or("a network has no ip_address")?;
                fixed(text, network, &mut card)?;
            }
            kind => return Err(format!("a network of type `{}` is not understood", kind.escape_debug())),
        }
        for services in [network.list("services"), network.list("dns_nameservers")] {
            name_services(services, &mut card)?;
        }
    }
    name_services(document.list("services"), &mut card)?;
    card.note_others(links.len() - 1);
    card.offer(source, settings)
}

fn name_services(services: &[Node], card: &mut Card) -> Result<(), Fault> {
    for service in services {
        if service.text("type") == Some("dns") {
            servers(service.list("address"), &mut card.dns)?;
        } else if service.scalar().is_some() {
            servers(core::slice::from_ref(service), &mut card.dns)?;
        }
    }
    Ok(())
}

/// An address that was given, with the netmask, the gateway and the routes that stand beside it.
fn fixed(text: &str, beside: &Node, card: &mut Card) -> Result<(), Fault> {
    card.addresses.push(address(text, beside.text("netmask"))?);
    if let Some(gateway) = beside.text("gateway") {
        card.gateways.push(ip(gateway)?);
    }
    routes(beside, "gateway", card)
}

/// Of routes the default ones, whose gateway stands under `via`; others are noted.
fn routes(whose: &Node, via: &str, card: &mut Card) -> Result<(), Fault> {
    for route in whose.list("routes") {
        let to = ["to", "network", "destination"].iter().find_map(|key| route.text(key)).unwrap_or_default();
        let is_default = match to {
            "default" | "0.0.0.0/0" | "::/0" => true,
            "0.0.0.0" | "::" => route
                .text("netmask")
                .or(route.text("prefix"))
                .is_none_or(|mask| matches!(mask, "0.0.0.0" | "::" | "0")),
            _ => false,
        };
        match route.text(via) {
            Some(gateway) if is_default => card.gateways.push(ip(gateway)?),
            _ => card.notes.push(format!("the route to `{}` is left out", to.escape_debug())),
        }
    }
    Ok(())
}

fn servers(list: &[Node], dns: &mut Vec<IpAddr>) -> Result<(), Fault> {
    for text in list
        .iter()
        .filter_map(Node::scalar)
        .flat_map(|text| text.split([' ', ',']))
        .filter(|text| !text.is_empty())
    {
        let server = ip(text)?;
        if !dns.contains(&server) {
            dns.push(server);
        }
    }
    Ok(())
}

fn ip(text: &str) -> Result<IpAddr, Fault> {
    text.parse().map_err(|_| format!("`{}` is not an address", text.escape_debug()))
}

/// `ADDRESS/BITS`, or an address and a mask.
fn address(text: &str, mask: Option<&str>) -> Result<(IpAddr, u8), Fault> {
    let (own, bits) = match text.split_once('/') {
        Some((own, bits)) => (own, Some(bits)),
        None => (text, mask),
    };
    let own = ip(own)?;
    let wrong = || format!("`{}` has no length of its network", text.escape_debug());
    let bits = bits.ok_or_else(wrong)?;
    let (width, ones) = match (own, bits.parse::<IpAddr>()) {
        (IpAddr::V4(_), Ok(IpAddr::V4(mask))) => (32, length(u128::from(mask.to_bits()) << 96)),
        (IpAddr::V6(_), Ok(IpAddr::V6(mask))) => (128, length(mask.to_bits())),
        (IpAddr::V4(_), _) => (32, bits.parse().ok()),
        (IpAddr::V6(_), _) => (128, bits.parse().ok()),
    };
    Ok((own, ones.filter(|ones| *ones <= width).ok_or_else(wrong)?))
}

/// How many ones a mask begins with, if there are no others.
fn length(mask: u128) -> Option<u8> {
    let ones = mask.leading_ones();
    (mask.checked_shl(ones).unwrap_or(0) == 0).then_some(ones as u8)
}

impl Card {
    fn note_others(&mut self, more: usize) {
        if more > 0 {
            self.notes.push(format!("{more} more network cards are described; the first counts"));
        }
    }

    fn offer(mut self, source: Source, settings: &mut Settings) -> Result<(), Fault> {
        let dns: Vec<_> = self.dns.iter().map(ToString::to_string).collect();
        let word = |is: fn(&IpAddr) -> bool| {
            let (own, bits) = self.addresses.iter().find(|(own, _)| is(own))?;
            let gateway = self.gateways.iter().find(|gateway| is(gateway));
            Some(format!("{own}/{bits}{}", gateway.map_or_else(String::new, |gateway| format!(",{gateway}"))))
        };
        let v4 = match word(IpAddr::is_ipv4) {
            Some(word) => word,
            None if self.dhcp4 => "dhcp".to_owned(),
            None => "none".to_owned(),
        };
        let v6 = word(IpAddr::is_ipv6).or_else(|| self.auto6.then(|| "auto".to_owned()));
        let families = [IpAddr::is_ipv4 as fn(&IpAddr) -> bool, IpAddr::is_ipv6];
        if families.iter().any(|is| self.addresses.iter().filter(|(own, _)| is(own)).count() > 1) {
            self.notes.push("there are more addresses; the first of a family counts".into());
        }
        settings.notes.extend(self.notes.iter().map(|note| format!("{source}: {note}")));
        settings.offer(source, "ip", v4.as_bytes())?;
        if let Some(v6) = v6 {
            settings.offer(source, "ip6", v6.as_bytes())?;
        }
        if !dns.is_empty() {
            settings.offer(source, "dns", dns.join(",").as_bytes())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{By, yaml};

    fn told(
        text: &str,
        read: fn(&Node, Source, &mut Settings) -> Result<(), Fault>,
    ) -> Result<String, Fault> {
        let mut settings = Settings::default();
        read(&yaml::parse(text)?, Source::NoCloud(By::Us), &mut settings)?;
        let words: Vec<_> = settings.words().map(|(word, _)| word.replace("lunette.", "")).collect();
        Ok(format!(
            "{}{}",
            words.join(" "),
            settings.notes.iter().map(|note| format!("; {note}")).collect::<String>()
        ))
    }

    #[test]
    fn version_1_is_read() {
        // As Proxmox VE writes it.
        let text = "version: 1\nconfig:\n    - type: physical\n      name: eth0\n      mac_address: 'bc:24:11:00:00:01'\n      \
                    subnets:\n      - type: static\n        address: '192.168.7.20'\n        netmask: '255.255.255.0'\n        \
                    gateway: '192.168.7.1'\n      - type: static6\n        address: 'fd00::20/64'\n        gateway: 'fd00::1'\n    \
                    - type: nameserver\n      address:\n      - '192.168.7.1'\n      - '9.9.9.9'\n      search:\n      - 'x.org'\n";
        assert_eq!(
            told(text, cloud_init).unwrap(),
            "ip=192.168.7.20/24,192.168.7.1 ip6=fd00::20/64,fd00::1 dns=192.168.7.1,9.9.9.9"
        );
        let text = "network: {version: 1, config: [{type: physical, name: a, subnets: [{type: dhcp4}, {type: ipv6_slaac}]}, \
                    {type: physical, name: b}]}";
        assert_eq!(
            told(text, cloud_init).unwrap(),
            "ip=dhcp ip6=auto; NoCloud disk: 1 more network cards are described; the first counts"
        );
        assert_eq!(told("network: {config: disabled}", cloud_init).unwrap(), "");
    }

    #[test]
    fn version_2_is_read() {
        let text = "network:\n  version: 2\n  ethernets:\n    id0:\n      match: {macaddress: '52:54:00:12:34:56'}\n      \
                    addresses: [10.1.2.3/16, 10.1.2.4/16, 'fd00::2/64']\n      routes:\n        - to: default\n          via: 10.1.0.1\n        \
                    - {to: 10.9.0.0/16, via: 10.1.0.2}\n      nameservers:\n        addresses: [10.1.0.1]\n";
        assert_eq!(
            told(text, cloud_init).unwrap(),
            "ip=10.1.2.3/16,10.1.0.1 ip6=fd00::2/64 dns=10.1.0.1; NoCloud disk: the route to `10.9.0.0/16` is left out; NoCloud \
             disk: there are more addresses; the first of a family counts"
        );
        assert_eq!(told("version: 2\nethernets: {a: {dhcp4: true}}", cloud_init).unwrap(), "ip=dhcp");
        assert_eq!(told("version: 2\nethernets: {a: {dhcp6: yes}}", cloud_init).unwrap(), "ip=none ip6=auto");
        assert_eq!(told("version: 2\nethernets: {}", cloud_init).unwrap(), "");
    }

    #[test]
    fn openstack_is_read() {
        let text = r#"{"links": [{"id": "tap1", "type": "ovs", "ethernet_mac_address": "fa:16:3e:00:00:01", "mtu": 1450}],
            "networks": [{"id": "network0", "type": "ipv4", "link": "tap1", "ip_address": "10.20.0.5", "netmask": "255.255.240.0",
              "routes": [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.20.0.1"}], "network_id": "x"},
              {"id": "network1", "type": "ipv6_slaac", "link": "tap1"}],
            "services": [{"type": "dns", "address": "8.8.8.8"}]}"#;
        assert_eq!(told(text, openstack).unwrap(), "ip=10.20.0.5/20,10.20.0.1 ip6=auto dns=8.8.8.8");
        assert_eq!(told("{}", openstack).unwrap(), "");
    }

    #[test]
    fn what_is_not_understood_is_said() {
        for (text, words) in [
            ("version: 3", "neither of version 1 nor of 2"),
            ("version: 2\nvlans: {v: {}}", "`vlans` are not understood"),
            ("version: 1\nconfig: [{type: bond}]", "`type: bond` is not understood"),
            ("version: 2\nethernets: {a: {addresses: [10.0.0.1]}}", "has no length of its network"),
            ("version: 2\nethernets: {a: {addresses: [10.0.0.1/33]}}", "has no length of its network"),
            ("version: 2\nethernets: {a: {addresses: [ten/8]}}", "`ten` is not an address"),
            ("version: 2\nethernets: {a: {addresses: [{10.0.0.1/8: {label: x}}]}}", "more than itself"),
            (
                "version: 1\nconfig: [{type: physical, subnets: [{type: static, address: 10.0.0.1, netmask: 255.0.255.0}]}]",
                "has no length of its network",
            ),
            ("version: 1\nconfig: [{type: physical, subnets: [{type: static}]}]", "has no address"),
        ] {
            let fault = told(text, cloud_init).unwrap_err();
            assert!(fault.contains(words), "{fault} for {text}");
        }
        let vlan = "{\"links\": [{\"id\": \"a\", \"type\": \"vlan\"}]}";
        assert!(told(vlan, openstack).unwrap_err().contains("`vlan` is not understood"));
    }
}
