//! The grammar, read and written; and what a grant is good for.

use alloc::{
    format,
    string::{String, ToString},
};

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn grants(listen: &[&str], connect: &[&str], resolve: &[&str]) -> Grants {
    Grants {
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        connect: connect.iter().map(|text| text.parse().unwrap()).collect(),
        resolve: resolve.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

/// Reads `text`, and holds that what is written reads the same.
fn canonical<T>(text: &str) -> String
where
    T: FromStr<Err = Fault> + fmt::Display + fmt::Debug + PartialEq,
{
    let value: T = text.parse().unwrap_or_else(|fault| panic!("{fault}"));
    let written = value.to_string();
    assert_eq!(written.parse::<T>().as_ref(), Ok(&value), "{text}");
    written
}

#[test]
fn listens_have_one_form() {
    for (text, want) in [
        ("80", "80"),
        ("0080", "80"),
        ("80/tcp", "80"),
        ("53/udp", "53/udp"),
        ("0", "*"),
        ("*", "*"),
        ("*/udp", "*/udp"),
        ("65535", "65535"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("127.0.0.1:*/udp", "127.0.0.1:*/udp"),
        ("[0:0:0:0:0:0:0:1]:80", "[::1]:80"),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1:80"),
        ("0.0.0.0:80", "0.0.0.0:80"),
        ("[::]:0", "[::]:*"),
    ] {
        assert_eq!(canonical::<Listen>(text), want);
    }
}

#[test]
fn peers_have_one_form() {
    for (text, want) in [
        ("db:5432", "db:5432"),
        ("DB.Internal.:5432", "db.internal:5432"),
        ("10.0.0.0/8:*", "10.0.0.0/8:*"),
        ("10.1.2.3/32:0", "10.1.2.3:*"),
        ("10.1.2.3:1/udp", "10.1.2.3:1/udp"),
        ("0.0.0.0/0:1", "0.0.0.0/0:1"),
        ("[2001:DB8::]/32:443", "[2001:db8::]/32:443"),
        ("[::1]/128:443", "[::1]:443"),
        ("[::]/0:443", "[::]/0:443"),
        ("[::ffff:10.0.0.0]/104:1", "10.0.0.0/8:1"),
        ("[::ffff:0:0]/96:1", "0.0.0.0/0:1"),
        ("[::ffff:10.0.0.1]:1", "10.0.0.1:1"),
        ("*:443", "*:443"),
        ("*.Example.org:443", "*.example.org:443"),
        ("_ntp._udp.example.org:123/udp", "_ntp._udp.example.org:123/udp"),
    ] {
        assert_eq!(canonical::<Peer>(text), want);
    }
}

#[test]
fn names_have_one_form() {
    for (text, want) in [
        ("*", "*"),
        ("A.b.", "a.b"),
        ("*.EXAMPLE.org.", "*.example.org"),
        ("xn--bcher-kva.de", "xn--bcher-kva.de"),
    ] {
        assert_eq!(canonical::<Name>(text), want);
    }
}

#[test]
fn what_is_no_grant_is_told_why() {
    fn why<T: FromStr<Err = Fault> + fmt::Debug>(text: &str) -> String {
        let fault = text.parse::<T>().expect_err(text);
        assert!(fault.help.contains("write a "), "{fault}");
        fault.what
    }
    for (text, why_not) in [
        ("", "has no port"),
        ("http", "has no port from 1 to 65535 (0 or *: any)"),
        ("65536", "has no port from 1 to 65535 (0 or *: any)"),
        ("+80", "has no port from 1 to 65535 (0 or *: any)"),
        ("-1", "has no port from 1 to 65535 (0 or *: any)"),
        (" 80", "has no port from 1 to 65535 (0 or *: any)"),
        ("80/sctp", "has no port from 1 to 65535 (0 or *: any)"),
        ("٨٠", "has no port from 1 to 65535 (0 or *: any)"),
        ("127.0.0.1:", "has no port"),
        (":80", "has no address where one must be"),
        ("localhost:80", "has no address where one must be"),
        ("127.0.0.01:80", "has no address where one must be"),
        ("127.0.0.0/8:80", "has no address where one must be"),
        ("::1:80", "needs brackets around an address of IPv6"),
        ("[::1]", "has no port"),
        ("[::1]80", "has no port"),
        ("[::1", "needs brackets around an address of IPv6"),
        ("[127.0.0.1]:80", "has no address of IPv6 in its brackets"),
        ("[fe80::1%eth0]:80", "has no address of IPv6 in its brackets"),
    ] {
        assert_eq!(why::<Listen>(text), format!("{text:?} {why_not}"));
    }
    for (text, why_not) in [
        ("", "has no port"),
        ("db", "has no port"),
        ("5432", "has no port"),
        ("db:", "has no port"),
        ("db:pg", "has no port from 1 to 65535 (0 or *: any)"),
        (":80", "is empty"),
        (".:80", "is empty"),
        ("a..b:80", "has an empty part"),
        ("-a.b:80", "has a part that begins or ends with \"-\""),
        ("bücher.de:80", "is not ASCII: its form for DNS begins with xn--"),
        ("a b:80", "has a character that no name has"),
        ("10.0.0:80", "is neither a name nor an address"),
        ("10.0.0.256:80", "is neither a name nor an address"),
        ("a*:80", "has a character that no name has"),
        ("*a:80", "has a \"*\" that is not followed by a dot"),
        ("*.:80", "is empty"),
        ("*.*.b:80", "has a character that no name has"),
        ("10.0.0.0/33:80", "has no number from 0 to 32 after its \"/\""),
        ("10.0.0.0/:80", "has no number from 0 to 32 after its \"/\""),
        ("10.0.0.0/+8:80", "has no number from 0 to 32 after its \"/\""),
        ("10.0.0.0/8/8:80", "has no number from 0 to 32 after its \"/\""),
        ("[::]/129:80", "has no number from 0 to 128 after its \"/\""),
        ("10.0.0.1/8:80", "does not begin with the first address of its block"),
        ("[2001:db8::1]/32:80", "does not begin with the first address of its block"),
        ("[::ffff:10.0.0.0]/90:80", "does not begin with the first address of its block"),
        ("db/8:80", "has no address where one must be"),
        ("[db]:80", "has no address of IPv6 in its brackets"),
        ("2001:db8::1:80", "needs brackets around an address of IPv6"),
    ] {
        assert_eq!(why::<Peer>(text), format!("{text:?} {why_not}"));
    }
    let (label, name) = ("a".repeat(64), "a.".repeat(127));
    for (text, why_not) in [
        ("127.0.0.1", "is an address, and those need no grant to be resolved"),
        ("::1", "is an address, and those need no grant to be resolved"),
        ("a.b:80", "has a character that no name has"),
        (label.as_str(), "has a part of more than 63 bytes"),
        (&format!("{name}a"), "is longer than 253 bytes"),
        ("**", "has a \"*\" that is not followed by a dot"),
    ] {
        assert_eq!(why::<Name>(text), format!("{text:?} {why_not}"));
    }
    assert!(name.parse::<Name>().is_ok(), "253 bytes and a final dot");
}

/// Whatever is written, in every shape that the characters of the grammar can take: an answer, and the same one again.
#[test]
fn no_text_panics() {
    let pieces =
        ["", "1", "80", "*", ".", ":", "/", "[", "]", "::", "a", "-", "10.0.0.0", "/udp", "ü", "\0", "99999"];
    for a in pieces {
        for b in pieces {
            for c in pieces {
                for d in pieces {
                    let text = [a, b, c, d].concat();
                    let _ = text.parse::<Listen>().map(|_| canonical::<Listen>(&text));
                    let _ = text.parse::<Peer>().map(|_| canonical::<Peer>(&text));
                    let _ = text.parse::<Name>().map(|_| canonical::<Name>(&text));
                }
            }
        }
    }
}

#[test]
fn blocks_at_their_edges() {
    let may = |peer: &str, to: &str| grants(&[], &[peer], &[]).may_connect(at(to), None, Protocol::Tcp);
    for (peer, to, want) in [
        ("0.0.0.0/0:1", "255.255.255.255:1", true),
        ("0.0.0.0/0:1", "[::1]:1", false),
        ("0.0.0.0/0:1", "[::ffff:1.2.3.4]:1", true),
        ("[::]/0:1", "[ffff::1]:1", true),
        ("[::]/0:1", "1.2.3.4:1", false),
        ("[::]/0:1", "[::ffff:1.2.3.4]:1", false),
        ("10.0.0.0/8:1", "10.255.255.255:1", true),
        ("10.0.0.0/8:1", "11.0.0.0:1", false),
        ("10.0.0.0/8:1", "9.255.255.255:1", false),
        ("10.0.0.0/31:1", "10.0.0.1:1", true),
        ("10.0.0.0/31:1", "10.0.0.2:1", false),
        ("10.0.0.7/32:1", "10.0.0.7:1", true),
        ("10.0.0.7:1", "10.0.0.6:1", false),
        ("10.0.0.7:1", "10.0.0.7:2", false),
        ("10.0.0.7:*", "10.0.0.7:2", true),
        ("[::ffff:10.0.0.0]/104:1", "10.9.9.9:1", true),
        ("[2001:db8::]/33:1", "[2001:db8:7fff::1]:1", true),
        ("[2001:db8::]/33:1", "[2001:db8:8000::]:1", false),
        ("[2001:db8::1]/128:1", "[2001:db8::1]:1", true),
        ("[2001:db8::1]:1", "[2001:db8::2]:1", false),
        ("*:1", "[2001:db8::2]:1", true),
        ("*:1", "10.0.0.7:2", false),
        ("db:1", "10.0.0.7:1", false),
    ] {
        assert_eq!(may(peer, to), want, "{to} by {peer}");
    }
    assert!(!grants(&[], &["10.0.0.7:1/udp"], &[]).may_connect(at("10.0.0.7:1"), None, Protocol::Tcp));
    assert!(grants(&[], &["10.0.0.7:1/udp"], &[]).may_connect(at("10.0.0.7:1"), None, Protocol::Udp));
    // By hand, more bits than there are: as good as all of them.
    assert!(within(at("10.0.0.7:1").ip(), at("10.0.0.7:1").ip(), 255));
    assert!(!within(at("10.0.0.7:1").ip(), at("10.0.0.6:1").ip(), 255));
    assert!(!within(at("[::1]:1").ip(), at("[::2]:1").ip(), 255));
}

#[test]
fn names_are_compared_as_dns_does() {
    let name = |pattern: &str| pattern.parse::<Name>().unwrap();
    for (pattern, asked, want) in [
        ("db.internal", "DB.internal.", true),
        ("db.internal", "db.internal..", false),
        ("db.internal", "xdb.internal", false),
        ("*.example.org", "a.example.org", true),
        ("*.example.org", "a.b.Example.ORG.", true),
        ("*.example.org", "example.org", false),
        ("*.example.org", ".example.org", false),
        ("*.example.org", "aexample.org", false),
        ("*.example.org", "", false),
        ("*.example.org", "üexample.org", false),
        ("*.example.org", "ü.example.org", true),
        ("*", "anything", true),
        ("*", "", true),
    ] {
        assert_eq!(name(pattern).matches(asked), want, "{asked} by {pattern}");
    }
    // The same, for a name that was answered.
    let peer = grants(&[], &["*.example.org:443"], &[]);
    assert!(peer.may_connect(at("10.0.0.7:443"), Some("a.example.org"), Protocol::Tcp));
    assert!(!peer.may_connect(at("10.0.0.7:443"), Some("example.org"), Protocol::Tcp));
    assert!(!peer.may_connect(at("10.0.0.7:80"), Some("a.example.org"), Protocol::Tcp));
    assert!(peer.may_resolve("a.example.org") && !peer.may_resolve("example.org"));
    assert!(peer.may_resolve("10.0.0.7") && Grants::default().may_resolve("::1"));
    assert!(grants(&[], &[], &["*.example.org"]).may_resolve("b.example.org"));
    assert!(!grants(&[], &[], &["*.example.org"]).names_peer("b.example.org"));
    assert!(grants(&[], &["*:443"], &[]).may_resolve("whoever"));
    assert!(!grants(&[], &["10.0.0.0/8:443"], &[]).may_resolve("whoever"));
}

#[test]
fn one_listens_where_it_is_granted() {
    let may = |listen: &str, to: &str| grants(&[listen], &[], &[]).may_listen(at(to), Protocol::Tcp);
    for (listen, to, want) in [
        ("80", "0.0.0.0:80", true),
        ("80", "[::]:80", true),
        ("80", "127.0.0.1:80", true),
        ("80", "127.0.0.1:81", false),
        ("80", "127.0.0.1:0", false),
        ("80/udp", "127.0.0.1:80", false),
        ("*", "127.0.0.1:0", true),
        ("127.0.0.1:80", "127.0.0.1:80", true),
        ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true),
        ("127.0.0.1:80", "127.0.0.2:80", false),
        ("127.0.0.1:80", "0.0.0.0:80", false),
        ("127.0.0.1:80", "[::]:80", false),
        ("0.0.0.0:80", "127.0.0.1:80", true),
        ("0.0.0.0:80", "0.0.0.0:80", true),
        ("0.0.0.0:80", "[::1]:80", false),
        ("0.0.0.0:80", "[::]:80", false),
        ("[::]:80", "127.0.0.1:80", true),
        ("[::]:80", "[::1]:80", true),
        ("[::1]:80", "[::]:80", false),
    ] {
        assert_eq!(may(listen, to), want, "{to} by {listen}");
    }
    let address = |text: &str| text.parse::<Listen>().unwrap().address();
    assert_eq!(address("80"), at("[::]:80"));
    assert_eq!(address("127.0.0.1:*"), at("127.0.0.1:0"));
    assert_eq!(address("[::1]:80/udp"), at("[::1]:80"));
    assert!(Grants::default().is_empty());
    for some in [grants(&["1"], &[], &[]), grants(&[], &["a:1"], &[]), grants(&[], &[], &["a"])] {
        assert!(!some.is_empty());
    }
}
