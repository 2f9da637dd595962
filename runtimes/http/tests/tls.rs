//! Handshakes, good and bad, by a clock that is ours.

use std::rc::Rc;

use crate::stage::{AT, Issued, Issuer, SECOND, Stage, accept, connect, send};
use lunette_http::{
    Plain, Stream,
    tls::{Agreed, Client, Clients, Identity, Server, Trust},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// One handshake: what the client makes of it, and what the server does.
fn shake(
    stage: &Stage,
    server: Server,
    client: Client,
    name: &str,
) -> (Result<Agreed, String>, Result<Agreed, String>) {
    let (listener, peers, name) = (stage.listen(AT), stage.peers.clone(), name.to_owned());
    let time = stage.time.clone();
    stage.run(async move |spawner| {
        let answer = Rc::new(std::cell::RefCell::new(None));
        let place = answer.clone();
        spawner.spawn(async move {
            let plain = Plain(accept(&listener).await);
            let result = match server.accept(plain).await {
                Ok(mut stream) => {
                    let agreed = stream.agreed().unwrap();
                    let mut buf = [0; 5];
                    match stream.read_exact(&mut buf).await {
                        Ok(_) => {
                            stream.write_all(&buf).await.unwrap();
                            stream.shutdown().await.unwrap();
                            Ok(agreed)
                        }
                        Err(error) => Err(error.to_string()),
                    }
                }
                Err(error) => Err(error.to_string()),
            };
            *place.borrow_mut() = Some(result);
        });
        let plain = Plain(connect(&peers, AT).await);
        let asked = match client.connect(plain, &name).await {
            Ok(stream) => echo(stream).await,
            Err(error) => Err(error.to_string()),
        };
        while answer.borrow().is_none() {
            time.sleep(SECOND).await;
        }
        (asked, answer.take().unwrap())
    })
}

async fn echo(mut stream: Stream) -> Result<Agreed, String> {
    stream.write_all(b"hello").await.map_err(|error| error.to_string())?;
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.map_err(|error| error.to_string())?;
    assert_eq!(back, b"hello");
    Ok(stream.agreed().unwrap())
}

fn server(stage: &Stage, issued: &Issued, alpn: &[&str]) -> Server {
    Server::new(issued.chain.as_bytes(), issued.key.as_bytes(), alpn, &stage.time).unwrap()
}

fn client(stage: &Stage, issuer: &Issuer, alpn: &[&str]) -> Client {
    Client::new(Trust::Only(issuer.pem.clone().into()), alpn, &stage.time).unwrap()
}

#[test]
fn a_good_handshake_agrees_on_the_newest_of_everything() {
    let (stage, issuer) = (Stage::new(), Issuer::new());
    let issued = issuer.issue(&["host.example"]);
    let server = server(&stage, &issued, &["h2", "http/1.1"]);
    let (asked, served) = shake(&stage, server, client(&stage, &issuer, &["http/1.1", "h2"]), "host.example");
    let (asked, served) = (asked.unwrap(), served.unwrap());
    assert_eq!((asked.version, asked.alpn.as_deref()), ("TLSv1.3", Some(&b"h2"[..])));
    assert_eq!(asked.cipher, served.cipher);
    assert_eq!(served.name.as_deref(), Some("host.example"));
    assert_eq!((asked.certificates.len(), asked.resumed), (1, false));
}

#[test]
fn a_second_handshake_resumes_the_first() {
    let (stage, issuer) = (Stage::new(), Issuer::new());
    let issued = issuer.issue(&["host.example"]);
    let (server, client) = (server(&stage, &issued, &[]), client(&stage, &issuer, &[]));
    let (first, _) = shake(&stage, server.clone(), client.clone(), "host.example");
    assert!(!first.unwrap().resumed);
    let (second, _) = shake(&stage, server, client, "host.example");
    assert!(second.unwrap().resumed);
}

#[test]
fn a_client_says_what_is_wrong_with_a_certificate() {
    let (stage, issuer) = (Stage::new(), Issuer::new());
    let try_with = |issued: &Issued, name: &str| {
        let (asked, served) = shake(&stage, server(&stage, issued, &[]), client(&stage, &issuer, &[]), name);
        (asked.unwrap_err(), served.unwrap_err())
    };
    let past = issuer.issue_until(&["host.example"], 2020, 2025);
    assert_eq!(
        try_with(&past, "host.example"),
        ("certificate has expired".into(), "the other side refused: our certificate has expired".into())
    );
    let future = issuer.issue_until(&["host.example"], 2030, 2040);
    assert_eq!(try_with(&future, "host.example").0, "certificate is not valid yet");
    let other = issuer.issue(&["other.example", "*.more.example"]);
    assert_eq!(
        try_with(&other, "host.example").0,
        "certificate is for other.example, *.more.example, not for host.example"
    );
    let stranger = Issuer::new().issue(&["host.example"]);
    assert_eq!(
        try_with(&stranger, "host.example"),
        ("unknown issuer".into(), "the other side refused: unknown issuer of our certificate".into())
    );
}

#[test]
fn anybody_is_believed_only_where_that_is_said() {
    let (stage, issuer) = (Stage::new(), Issuer::new());
    let issued = issuer.issue_until(&["other.example"], 2020, 2025);
    let anybody = Client::new(Trust::Anybody, &[], &stage.time).unwrap();
    let (asked, _) = shake(&stage, server(&stage, &issued, &[]), anybody, "host.example");
    asked.unwrap();
    let web = Client::new(Trust::Web, &[], &stage.time).unwrap();
    let issued = issuer.issue(&["host.example"]);
    let (asked, _) = shake(&stage, server(&stage, &issued, &[]), web, "host.example");
    assert_eq!(asked.unwrap_err(), "unknown issuer");
}

#[test]
fn addresses_are_names_too_and_nonsense_is_none() {
    let (stage, issuer) = (Stage::new(), Issuer::new());
    let issued = issuer.issue(&["10.0.2.15"]);
    let (asked, _) = shake(&stage, server(&stage, &issued, &[]), client(&stage, &issuer, &[]), "10.0.2.15");
    asked.unwrap();
    let (asked, _) = shake(&stage, server(&stage, &issued, &[]), client(&stage, &issuer, &[]), "no name");
    assert_eq!(asked.unwrap_err(), "\"no name\" is no name that a certificate could be for");
}

#[test]
fn without_a_date_there_is_no_tls() {
    let (stage, issuer) = (Stage::new(), Issuer::new());
    let issued = issuer.issue(&["host.example"]);
    for wall in [None, Some(0), Some(1_600_000_000_000_000_000)] {
        stage.world.clock.set_wall(wall);
        let (asked, served) =
            shake(&stage, server(&stage, &issued, &[]), client(&stage, &issuer, &[]), "host.example");
        assert_eq!(asked.unwrap_err(), "TLS needs the date: the clock is not set");
        assert_eq!(served.unwrap_err(), "TLS needs the date: the clock is not set");
    }
}

#[test]
fn names_choose_certificates_and_a_reload_swaps_them() {
    let (stage, issuer) = (Stage::new(), Issuer::new());
    let (one, two) = (issuer.issue(&["one.example"]), issuer.issue(&["*.two.example"]));
    let server =
        Server::with(&[one.identity(), two.identity()], &[], &Clients::Anonymous, &stage.time).unwrap();
    for name in ["one.example", "a.two.example"] {
        shake(&stage, server.clone(), client(&stage, &issuer, &[]), name).0.unwrap();
    }
    let (asked, _) = shake(&stage, server.clone(), client(&stage, &issuer, &[]), "three.example");
    assert_eq!(asked.unwrap_err(), "certificate is for one.example, not for three.example");
    let bad = server.reload(&[Identity { key: b"", ..one.identity() }]).unwrap_err();
    assert_eq!(bad.0, "the certificate for one.example is without its key");
    shake(&stage, server.clone(), client(&stage, &issuer, &[]), "one.example").0.unwrap();
    let three = issuer.issue(&["three.example"]);
    server.reload(&[three.identity()]).unwrap();
    shake(&stage, server, client(&stage, &issuer, &[]), "three.example").0.unwrap();
}

#[test]
fn what_is_wrong_with_a_pair_is_said_when_it_is_given() {
    let (stage, issuer) = (Stage::new(), Issuer::new());
    let (one, two) = (issuer.issue(&["one.example"]), issuer.issue(&["two.example"]));
    let fault = |chain: &str, key: &str| {
        Server::new(chain.as_bytes(), key.as_bytes(), &[], &stage.time).err().map(|error| error.0)
    };
    assert_eq!(fault(&one.chain, &one.key), None);
    assert_eq!(
        fault(&one.chain, &two.key).unwrap(),
        "the key is another one's, not that of the certificate for one.example"
    );
    assert_eq!(
        fault("", &one.key).unwrap(),
        "no certificate: there is no \"-----BEGIN CERTIFICATE-----\" in the certificate"
    );
    assert_eq!(
        fault(&one.chain, &one.chain).unwrap(),
        "the key of the certificate for one.example is not PEM: there is no \"-----BEGIN PRIVATE KEY-----\" in it"
    );
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(fault(&one.chain, encrypted).unwrap().contains("is encrypted"));
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(fault(broken, &one.key).unwrap().contains("is not one that can be read"));
    let cut = &one.chain[..one.chain.len() / 2];
    assert!(fault(cut, &one.key).unwrap().starts_with("the certificate is not PEM"));
    let nonsense = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert!(fault(&one.chain, nonsense).unwrap().contains("can't be used"));
    assert!(Client::new(Trust::Only(b"".to_vec()), &[], &stage.time).is_err());
}

#[test]
fn clients_show_certificates_where_that_is_asked() {
    let (stage, issuer) = (Stage::new(), Issuer::new());
    let (one, me) = (issuer.issue(&["one.example"]), issuer.issue(&["me.example"]));
    let trust = Trust::Only(issuer.pem.clone().into());
    let server = |clients: Clients| Server::with(&[one.identity()], &[], &clients, &stage.time).unwrap();
    let ca = issuer.pem.clone().into_bytes();
    let named = Client::with(&trust, &[], Some(me.identity()), &stage.time).unwrap();
    let (_, served) = shake(&stage, server(Clients::Only(ca.clone())), named, "one.example");
    assert_eq!(served.unwrap().certificates.len(), 1);
    let nobody = || Client::new(trust.clone(), &[], &stage.time).unwrap();
    let (asked, served) = shake(&stage, server(Clients::Only(ca.clone())), nobody(), "one.example");
    assert_eq!(served.unwrap_err(), "no certificate");
    assert!(asked.unwrap_err().contains("CertificateRequired"), "TLS 1.3: the client hears it when it reads");
    let (_, served) = shake(&stage, server(Clients::OnlyOrAnonymous(ca)), nobody(), "one.example");
    assert_eq!(served.unwrap().certificates.len(), 0);
}

#[test]
fn who_does_not_speak_tls_is_told_from_who_says_nothing() {
    let (stage, issuer) = (Stage::new(), Issuer::new());
    let issued = issuer.issue(&["host.example"]);
    for (says, words) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], "the other side does not speak TLS"),
        (b"", "timeout in the TLS handshake"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01", "timeout in the TLS handshake"),
    ] {
        let server = server(&stage, &issued, &[]).handshake_time(5 * SECOND);
        let (listener, peers) = (stage.listen(AT), stage.peers.clone());
        let before = stage.now();
        let error = stage.run(async move |_| {
            let peer = connect(&peers, AT).await;
            send(&peer, says).await.unwrap();
            server.accept(Plain(accept(&listener).await)).await.err().unwrap()
        });
        assert_eq!(error.0, words);
        assert!(stage.now() - before < 6_000_000_000);
    }
}
