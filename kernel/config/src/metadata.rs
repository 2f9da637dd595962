//! The metadata service of a cloud, at 169.254.169.254: what is asked of it, in which order, and what its answers say.
//!
//! | cloud | known to firmware as | asked |
//! |---|---|---|
//! | OpenStack | product `OpenStack…`, or so the chassis' tag | `/openstack/latest/` `meta_data.json`, `user_data` |
//! | EC2 | vendor `Amazon EC2` | a token (IMDSv2; without one where there are none), `/latest/` `meta-data/instance-id`, `meta-data/local-hostname`, `user-data` |
//! | Google | vendor `Google`, product `Google…` | `/computeMetadata/v1/instance/` `hostname`, `attributes/user-data` |
//! | Azure | the chassis' tag | `/metadata/instance/compute/` `vmId`, `osProfile/computerName`, `userData` (base64) |
//! | Hetzner | vendor `Hetzner` | `/hetzner/v1/` `metadata/hostname`, `userdata` |
//! | DigitalOcean | vendor `DigitalOcean` | `/metadata/v1/` `hostname`, `user-data` |
//!
//! Where firmware names none, all are tried in this order; the first whose first answer has a cloud's shape is it. Values are
//! the host's name and user-data, as of a disk. What the network is like is not asked: who asks has one.
//!
//! Promises: no answer counts before it is whole and measured; what is wrong names the service and the path. Does not: open
//! connections or wait (the kernel does), follow redirects, ask for credentials.

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};
use core::{
    fmt::Write as _,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    LONGEST, Settings, Source,
    http::{Answer, Reader},
    yaml,
};

/// Where it is, in every cloud.
pub const PLACE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(169, 254, 169, 254), 80));

/// Whose machine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cloud {
    OpenStack,
    Ec2,
    Google,
    Azure,
    Hetzner,
    DigitalOcean,
}

/// Which name of firmware's begins so: the system's vendor, its product, its chassis' tag. As in cloud-init's ds-identify.
static NAMES: [(usize, &str, Cloud); 9] = [
    (2, "7783-7084-3265-9085-8269-3286-77", Cloud::Azure),
    (2, "OpenStack Nova", Cloud::OpenStack),
    (2, "OpenStack Compute", Cloud::OpenStack),
    (1, "OpenStack", Cloud::OpenStack),
    (1, "Google", Cloud::Google),
    (0, "Google", Cloud::Google),
    (0, "Amazon EC2", Cloud::Ec2),
    (0, "Hetzner", Cloud::Hetzner),
    (0, "DigitalOcean", Cloud::DigitalOcean),
];

impl Cloud {
    /// By those three names.
    pub(crate) fn of(names: [&[u8]; 3]) -> Option<Self> {
        let found = NAMES.iter().find(|(which, begin, _)| names[*which].starts_with(begin.as_bytes()));
        found.map(|(.., cloud)| *cloud)
    }
}

/// What is asked for in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Goes with each request that follows.
    Token,
    /// Something that is always there.
    Id,
    /// OpenStack's JSON, and in it the host's name.
    Meta,
    Hostname,
    UserData,
    Base64,
}

struct Layout {
    cloud: Cloud,
    name: &'static str,
    /// What each request has to say.
    field: &'static str,
    /// All are below it.
    folder: &'static str,
    asked: &'static [(What, &'static str)],
}

static LAYOUTS: [Layout; 6] = [
    Layout {
        cloud: Cloud::OpenStack,
        name: "OpenStack",
        field: "",
        folder: "/openstack/latest/",
        asked: &[(What::Meta, "meta_data.json"), (What::UserData, "user_data")],
    },
    Layout {
        cloud: Cloud::Ec2,
        name: "EC2",
        field: "",
        folder: "/latest/",
        asked: &[
            (What::Token, "api/token"),
            (What::Id, "meta-data/instance-id"),
            (What::Hostname, "meta-data/local-hostname"),
            (What::UserData, "user-data"),
        ],
    },
    Layout {
        cloud: Cloud::Google,
        name: "Google Compute Engine",
        field: "Metadata-Flavor: Google\r\n",
        folder: "/computeMetadata/v1/instance/",
        asked: &[(What::Hostname, "hostname"), (What::UserData, "attributes/user-data")],
    },
    Layout {
        cloud: Cloud::Azure,
        name: "Azure",
        field: "Metadata: true\r\n",
        folder: "/metadata/instance/compute/",
        asked: &[
            (What::Id, "vmId?api-version=2021-01-01&format=text"),
            (What::Hostname, "osProfile/computerName?api-version=2021-01-01&format=text"),
            (What::Base64, "userData?api-version=2021-01-01&format=text"),
        ],
    },
    Layout {
        cloud: Cloud::Hetzner,
        name: "Hetzner",
        field: "",
        folder: "/hetzner/v1/",
        asked: &[(What::Hostname, "metadata/hostname"), (What::UserData, "userdata")],
    },
    Layout {
        cloud: Cloud::DigitalOcean,
        name: "DigitalOcean",
        field: "",
        folder: "/metadata/v1/",
        asked: &[(What::Hostname, "hostname"), (What::UserData, "user-data")],
    },
];

/// Why a request has no answer that is of use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One line, with its `help:`.
    pub why: String,
    /// Asked again, it may have one.
    pub passes: bool,
}

/// One talk with the service: a request, its answer, and so on.
pub struct Service {
    /// Which it may be. The first is asked.
    layouts: &'static [Layout],
    /// It is the first.
    known: bool,
    /// Which of its requests it is.
    at: usize,
    token: Option<String>,
    reader: Reader,
}

impl Service {
    /// `cloud`: whose it is, if that is known.
    #[inline(never)]
    pub fn new(cloud: Option<Cloud>) -> Self {
        let one = LAYOUTS.iter().position(|layout| Some(layout.cloud) == cloud);
        let layouts = one.map_or(&LAYOUTS[..], |one| &LAYOUTS[one..=one]);
        Self { layouts, known: false, at: 0, token: None, reader: Reader::new(0) }
    }

    /// Whose it is, once it has said something that only that one says.
    pub fn cloud(&self) -> Option<&'static str> {
        self.layouts.first().filter(|_| self.known).map(|layout| layout.name)
    }

    fn asked(&self) -> Option<(&'static Layout, What, &'static str)> {
        let layout = self.layouts.first()?;
        let (what, path) = layout.asked.get(self.at)?;
        Some((layout, *what, path))
    }

    /// What to send, on a connection of its own: the same again until it is answered. None: all is said, or nobody is there.
    #[inline(never)]
    pub fn request(&mut self) -> Option<String> {
        let (Layout { folder, field, .. }, what, path) = self.asked()?;
        // Four letters of base64 are three bytes.
        let most = if what == What::Base64 { LONGEST.div_ceil(3) * 4 } else { LONGEST };
        self.reader = Reader::new(most);
        let (method, field) = match what {
            What::Token => ("PUT", "X-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n"),
            _ => ("GET", *field),
        };
        let mut request = format!("{method} {folder}{path} HTTP/1.0\r\nHost: {}\r\n{field}", PLACE.ip());
        if let Some(token) = &self.token {
            let _ = write!(request, "X-aws-ec2-metadata-token: {token}\r\n");
        }
        request.push_str("\r\n");
        Some(request)
    }

    /// Takes what came. True: the answer is whole, and its connection is not needed any more.
    #[inline(never)]
    pub fn feed(&mut self, bytes: &[u8], settings: &mut Settings) -> Result<bool, Fault> {
        match self.reader.feed(bytes) {
            Ok(None) => Ok(false),
            Ok(Some(answer)) => self.take(answer, settings).map(|()| true),
            Err(why) => Err(self.fault(why, false)),
        }
    }

    /// The connection has ended.
    #[inline(never)]
    pub fn end(&mut self, settings: &mut Settings) -> Result<(), Fault> {
        match self.reader.end() {
            Ok(answer) => self.take(answer, settings),
            Err(why) => Err(self.fault(why, true)),
        }
    }

    /// What is wrong, with the path.
    #[cold]
    #[inline(never)]
    pub fn fault(&self, why: &str, passes: bool) -> Fault {
        let (folder, path) = self.asked().map_or(("", ""), |(layout, _, path)| (layout.folder, path));
        Fault {
            why: format!("{}: {folder}{path}: {why}; help: see what the service has there", Source::Metadata),
            passes,
        }
    }

    fn take(&mut self, Answer { status, body }: Answer, settings: &mut Settings) -> Result<(), Fault> {
        let Some((_, what, _)) = self.asked() else { return Ok(()) };
        let busy = matches!(status, 408 | 429 | 500 | 502..=504);
        if busy || (self.known && !matches!(status, 200 | 204 | 404)) {
            return Err(self.fault(&format!("the answer has the status {status}"), busy));
        }
        // Of what is not there nothing is said.
        let (key, value, fits) = if status == 200 { self.said(what, body)? } else { ("", Vec::new(), false) };
        if !self.known && what != What::Token {
            if !fits {
                self.layouts = self.layouts.get(1..).unwrap_or_default();
                (self.at, self.token) = (0, None);
                return Ok(());
            }
            self.known = true;
        }
        if !value.is_empty() {
            settings.offer(Source::Metadata, key, &value).map_err(|why| Fault { why, passes: false })?;
        }
        self.at += 1;
        Ok(())
    }

    /// Of which setting one answer says what; and does it look as if it came from this cloud?
    fn said(&mut self, what: What, body: Vec<u8>) -> Result<(&'static str, Vec<u8>, bool), Fault> {
        Ok(match what {
            What::Token => {
                // Without one it goes on: not everybody who speaks as EC2 does has tokens.
                self.token = word(&body).map(ToOwned::to_owned);
                ("", Vec::new(), true)
            }
            What::Id => ("", Vec::new(), word(&body).is_some()),
            What::Meta => {
                let meta = json(&body).unwrap_or_default();
                let name = meta.text("hostname").unwrap_or_default();
                ("hostname", name.into(), meta.get("uuid").is_some())
            }
            // EC2 says it once for each of the network's domains.
            What::Hostname => {
                let name = body.trim_ascii().split(u8::is_ascii_whitespace).next().unwrap_or_default();
                ("hostname", name.into(), word(&body).is_some())
            }
            What::UserData => ("user-data", body, true),
            What::Base64 => {
                let data = STANDARD.decode(body.trim_ascii());
                let data = data.map_err(|_| self.fault("it is no base64", false))?;
                ("user-data", data, true)
            }
        })
    }
}

/// One word, as names and tokens are; no page of a server that answers everything.
fn word(body: &[u8]) -> Option<&str> {
    let word = core::str::from_utf8(body).ok()?.trim_end();
    let fits =
        (1..=255).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'<');
    fits.then_some(word)
}

fn json(body: &[u8]) -> Result<yaml::Node, String> {
    yaml::parse(core::str::from_utf8(body).map_err(|_| "it is no UTF-8")?)
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString as _, vec};

    use super::*;
    use crate::By;

    /// Talks to a service that answers so, until all is said: what was asked, what came of it, and whose it is.
    fn talk(
        cloud: Option<Cloud>,
        settings: &mut Settings,
        mut answers: impl FnMut(&str, &str) -> Vec<u8>,
    ) -> (Vec<String>, Result<Option<&'static str>, Fault>) {
        let mut service = Service::new(cloud);
        let mut asked = Vec::new();
        while let Some(request) = service.request() {
            assert_eq!(service.request().as_ref(), Some(&request), "asked again, it is the same");
            assert!(request.contains("\r\nHost: 169.254.169.254\r\n"), "{request}");
            let (line, _) = request.split_once(" HTTP/1.0\r\n").unwrap();
            asked.push(line.to_owned());
            assert!(asked.len() < 20, "{asked:?}");
            let said = match service.feed(&answers(line, &request), settings) {
                Ok(false) => service.end(settings),
                said => said.map(|_| ()),
            };
            if let Err(fault) = said {
                return (asked, Err(fault));
            }
        }
        (asked, Ok(service.cloud()))
    }

    fn answer(status: u16, body: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
    }

    const DATA: &str = "#lunette\nargs = [\"a\"]\n";
    const META: &str = r#"{"uuid": "d8e02d56", "availability_zone": "nova", "hostname": "moon.novalocal", "launch_index": 0,
        "keys": [{"data": "ssh-ed25519 A", "type": "ssh", "name": "k"}], "meta": {}, "random_seed": "yu5ZnkqF2Q==", "devices": []}"#;
    /// A cloud's service, as it should be.
    fn good(cloud: Cloud, line: &str, request: &str) -> Vec<u8> {
        let needs = |field: &str| request.contains(&format!("\r\n{field}\r\n"));
        let body = match (cloud, line) {
            (Cloud::OpenStack, "GET /openstack/latest/meta_data.json") => META,
            (Cloud::OpenStack, "GET /openstack/latest/user_data") => DATA,
            (Cloud::Ec2, "PUT /latest/api/token")
                if needs("X-aws-ec2-metadata-token-ttl-seconds: 60") && needs("Content-Length: 0") =>
            {
                "AQAEA=="
            }
            (Cloud::Ec2, _) if !needs("X-aws-ec2-metadata-token: AQAEA==") => return answer(401, b""),
            (Cloud::Ec2, "GET /latest/meta-data/instance-id") => "i-0123",
            (Cloud::Ec2, "GET /latest/meta-data/local-hostname") => "moon.ec2.internal moon.example.org",
            (Cloud::Ec2, "GET /latest/user-data") => DATA,
            (Cloud::Google, _) if !needs("Metadata-Flavor: Google") => return answer(403, b"<html>"),
            (Cloud::Google, "GET /computeMetadata/v1/instance/hostname") => "moon.c.p.internal",
            (Cloud::Google, "GET /computeMetadata/v1/instance/attributes/user-data") => DATA,
            (Cloud::Azure, _) if !needs("Metadata: true") => return answer(400, b"{}"),
            (Cloud::Azure, "GET /metadata/instance/compute/vmId?api-version=2021-01-01&format=text") => {
                "02aa"
            }
            (
                Cloud::Azure,
                "GET /metadata/instance/compute/osProfile/computerName?api-version=2021-01-01&format=text",
            ) => "moon",
            (Cloud::Azure, "GET /metadata/instance/compute/userData?api-version=2021-01-01&format=text") => {
                return answer(200, STANDARD.encode(DATA).as_bytes());
            }
            (Cloud::Hetzner, "GET /hetzner/v1/metadata/hostname") => "moon",
            (Cloud::Hetzner, "GET /hetzner/v1/userdata") => DATA,
            (Cloud::DigitalOcean, "GET /metadata/v1/hostname") => "moon",
            (Cloud::DigitalOcean, "GET /metadata/v1/user-data") => DATA,
            _ => return answer(404, b"<html>no</html>"),
        };
        answer(200, body.as_bytes())
    }

    #[test]
    fn every_cloud_is_found_and_says_its_values() {
        for (layout, tried) in LAYOUTS.iter().zip([0, 1, 3, 4, 5, 6]) {
            let (cloud, mut known, mut sought) = (layout.cloud, Settings::default(), Settings::default());
            let (asked, said) = talk(Some(cloud), &mut known, |line, all| good(cloud, line, all));
            assert_eq!((asked.len(), said), (layout.asked.len(), Ok(Some(layout.name))), "{asked:?}");
            let (asked, said) = talk(None, &mut sought, |line, all| good(cloud, line, all));
            assert_eq!(asked.len(), tried + layout.asked.len(), "{asked:?}");
            assert_eq!((said, &sought), (Ok(Some(layout.name)), &known));
            let text = known.to_string();
            assert!(
                text.starts_with("hostname=moon")
                    && text.contains("user-data of 22 bytes (metadata service)"),
                "{text}"
            );
            assert!(!text.contains("ip=") && known.notes.is_empty(), "{text}");
        }
    }

    #[test]
    fn what_others_said_counts_and_is_not_asked_for() {
        let mut settings = Settings::default();
        settings.offer(Source::CommandLine, "dns", b"9.9.9.9").unwrap();
        settings.offer(Source::NoCloud(By::Us), "user-data", b"#lunette").unwrap();
        let (asked, said) = talk(None, &mut settings, |line, all| good(Cloud::OpenStack, line, all));
        assert_eq!(asked, ["GET /openstack/latest/meta_data.json", "GET /openstack/latest/user_data"]);
        assert_eq!(said, Ok(Some("OpenStack")));
        assert_eq!(
            settings.to_string(),
            "dns=9.9.9.9 (command line), user-data of 8 bytes (NoCloud disk), hostname=moon.novalocal (metadata service)"
        );
    }

    #[test]
    fn who_has_no_tokens_is_asked_without() {
        let mut settings = Settings::default();
        let (asked, said) = talk(Some(Cloud::Ec2), &mut settings, |line, request| {
            assert!(!request.contains("X-aws-ec2-metadata-token: "), "{request}");
            answer(if line.ends_with("instance-id") { 200 } else { 404 }, b"i-1")
        });
        assert_eq!((asked.len(), said), (4, Ok(Some("EC2"))));
        assert_eq!(settings.to_string(), "nothing");
    }

    #[test]
    fn who_is_no_cloud_is_nobody() {
        for body in [&b"<html>hello</html>"[..], b"", b"two words", b"\xff", b"a\r\nb: c"] {
            for status in [200, 204, 301, 400, 401, 403, 404] {
                let mut settings = Settings::default();
                let (asked, said) = talk(None, &mut settings, |_, _| answer(status, body));
                assert_eq!((asked.len(), said), (7, Ok(None)));
                assert_eq!(settings, Settings::default());
            }
        }
    }

    #[test]
    fn what_is_wrong_names_service_and_path() {
        let big = vec![b'x'; LONGEST + 1];
        for (cloud, at, said, words, passes) in [
            (
                Cloud::OpenStack,
                "meta_data.json",
                answer(500, b""),
                "latest/meta_data.json: the answer has the status 500",
                true,
            ),
            (
                Cloud::Ec2,
                "user-data",
                answer(503, b""),
                "/latest/user-data: the answer has the status 503",
                true,
            ),
            (Cloud::Ec2, "user-data", answer(302, b""), "the answer has the status 302", false),
            (Cloud::Ec2, "user-data", answer(403, b""), "the answer has the status 403", false),
            (Cloud::Ec2, "user-data", answer(200, &big), "/latest/user-data: the answer is too long", false),
            (Cloud::Google, "user-data", vec![], "closed without an answer", true),
            (
                Cloud::Google,
                "hostname",
                b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nmoon".to_vec(),
                "cut short",
                true,
            ),
            (Cloud::Google, "hostname", b"\x16\x03\x01".to_vec(), "the answer is no HTTP", false),
            (Cloud::Google, "hostname", answer(200, b"\xff\xfe"), "", false),
            (
                Cloud::Azure,
                "userData?",
                answer(200, b"#lunette"),
                "userData?api-version=2021-01-01&format=text: it is no base64",
                false,
            ),
            (
                Cloud::Azure,
                "computerName?",
                answer(200, b"m\xff"),
                "the setting `hostname` is no text",
                false,
            ),
        ] {
            let mut settings = Settings::default();
            let (asked, fault) = talk(Some(cloud), &mut settings, |line, all| {
                if line.contains(at) { said.clone() } else { good(cloud, line, all) }
            });
            match fault {
                // Not in the shape of that cloud: it is nobody.
                Ok(None) => assert_eq!(words, "", "{asked:?}"),
                Ok(found) => panic!("{found:?} for {words}"),
                Err(fault) => {
                    assert!(!words.is_empty() && fault.why.contains(words), "{fault:?} for {words}");
                    assert!(
                        fault.why.starts_with("metadata service: ") && fault.why.contains("; help: "),
                        "{fault:?}"
                    );
                    assert_eq!(fault.passes, passes, "{fault:?}");
                }
            }
        }
    }

    #[test]
    fn as_much_as_a_disk_may_have_is_taken() {
        let data = vec![b'#'; LONGEST];
        for cloud in [Cloud::Ec2, Cloud::Azure] {
            let mut settings = Settings::default();
            let (_, said) = talk(Some(cloud), &mut settings, |line, all| match cloud {
                Cloud::Ec2 if line.ends_with("user-data") => answer(200, &data),
                Cloud::Azure if line.contains("userData") => answer(200, STANDARD.encode(&data).as_bytes()),
                _ => good(cloud, line, all),
            });
            assert!(said.is_ok(), "{said:?}");
            assert_eq!(settings.user_data().map(|(text, _)| text.len()), Some(LONGEST));
        }
    }

    /// Whatever is flipped in an answer, it ends in settings or an error.
    #[test]
    fn damage_is_survived() {
        for cloud in LAYOUTS.iter().map(|layout| layout.cloud) {
            for at in 0..400 {
                let (_, said) = talk(Some(cloud), &mut Settings::default(), |line, all| {
                    let mut bytes = good(cloud, line, all);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << (at % 8);
                    }
                    bytes
                });
                drop(said);
            }
        }
    }
}
