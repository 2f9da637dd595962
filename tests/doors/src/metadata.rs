//! A cloud's metadata service, as QEMU can pretend to have one: behind its router, whose network is the link-local one here, each
//! connection to 169.254.169.254 is one to a program, which is this one ([`serve`]). No cloud was ever asked.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    Doors,
    machine::{Files, GOOD_END, Machine, bundle, cannot_boot},
};

/// As which it is started, before the kind of service and the file where it notes what it is asked.
pub(crate) const SERVE: &str = "--serve-metadata";

const DATA: &str = "#lunette\nargs = [\"from-cloud\"]\n[env]\nSECRET = \"hunter2\"\n";
/// The same in base64, as Azure gives it.
const BASE64: &str = "I2x1bmV0dGUKYXJncyA9IFsiZnJvbS1jbG91ZCJdCltlbnZdClNFQ1JFVCA9ICJodW50ZXIyIgo=";

/// Answers one request, from standard input to standard output.
pub(crate) fn serve(kind: &str, log: &Path) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && io::stdin().read(&mut byte).is_ok_and(|read| read == 1) {
        request.extend(byte);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let line = request.lines().next().and_then(|line| line.strip_suffix(" HTTP/1.0")).unwrap_or("?");
    let asked = fs::OpenOptions::new().create(true).append(true).open(log);
    asked.and_then(|mut file| writeln!(file, "{line}")).expect("it is noted");
    let answer = answer(kind, line, &request);
    let mut out = io::stdout();
    if kind == "slow" {
        for byte in answer {
            let _ = out.write_all(&[byte]).and_then(|()| out.flush());
            thread::sleep(Duration::from_millis(300));
        }
        return;
    }
    // Nobody may listen any more.
    let _ = out.write_all(&answer).and_then(|()| out.flush());
    if answer.is_empty() && kind == "silent" {
        let _ = io::stdin().read_to_end(&mut Vec::new());
    }
}

fn answer(kind: &str, line: &str, request: &str) -> Vec<u8> {
    let says = |field: &str| request.contains(&format!("\r\n{field}\r\n"));
    let body = match (kind, line) {
        ("openstack", "GET /openstack/latest/meta_data.json") => {
            "{\"uuid\": \"0\", \"hostname\": \"sun.novalocal\", \"name\": \"sun\"}"
        }
        ("openstack", "GET /openstack/latest/user_data") => DATA,
        ("ec2" | "chunked" | "unmeasured" | "huge" | "largest" | "cut" | "busy" | "moved", _) => {
            return ec2(kind, line, request);
        }
        ("google", _) if !says("Metadata-Flavor: Google") => return plain(403, "<html>no</html>"),
        ("google", "GET /computeMetadata/v1/instance/hostname") => "sun.c.p.internal",
        ("google", "GET /computeMetadata/v1/instance/attributes/user-data") => DATA,
        ("azure", _) if !says("Metadata: true") => return plain(400, "{}"),
        ("azure", _) => {
            match line.split_once("GET /metadata/instance/compute").map_or("", |(_, rest)| rest) {
                "/vmId?api-version=2021-01-01&format=text" => "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
                "/osProfile/computerName?api-version=2021-01-01&format=text" => "sun",
                "/userData?api-version=2021-01-01&format=text" => BASE64,
                _ => return plain(404, ""),
            }
        }
        ("rubbish", _) => return b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(),
        ("silent" | "closed", _) => return Vec::new(),
        _ => return plain(404, "<html>no</html>"),
    };
    plain(200, body)
}

/// EC2's, with tokens; and with its last answer as it should not be.
fn ec2(kind: &str, line: &str, request: &str) -> Vec<u8> {
    let body = match line {
        "PUT /latest/api/token" => "AQAEAGx1bmV0dGU==",
        _ if !request.contains("\r\nX-aws-ec2-metadata-token: AQAEAGx1bmV0dGU==\r\n") => {
            return plain(401, "");
        }
        "GET /latest/meta-data/instance-id" => "i-0123456789abcdef0",
        "GET /latest/meta-data/local-hostname" => "sun.ec2.internal",
        "GET /latest/user-data" => match kind {
            "chunked" => {
                return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n#\r\n0\r\n\r\n".to_vec();
            }
            // A body to the connection's end.
            "unmeasured" => return format!("HTTP/1.0 200 OK\r\n\r\n{DATA}").into_bytes(),
            "huge" => return plain(200, &"#".repeat((64 << 10) + 1)),
            "largest" => return plain(200, &format!("{DATA}{}", "#".repeat((64 << 10) - DATA.len()))),
            "cut" => return b"HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n#lunette\n".to_vec(),
            "busy" => return plain(503, ""),
            "moved" => {
                return b"HTTP/1.1 302 Found\r\nLocation: http://example.org/\r\nContent-Length: 0\r\n\r\n"
                    .to_vec();
            }
            _ => DATA,
        },
        _ => return plain(404, ""),
    };
    plain(200, body)
}

fn plain(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nServer: fake\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// A machine with a card, and a service of this kind where clouds have it.
fn machine(files: &Files, kind: &str, cmdline: &str) -> (Machine, PathBuf) {
    let log = files.dir.path().join("asked");
    let us = std::env::current_exe().expect("we are a program");
    // QEMU parts its options by commas, and what it starts by a shell's rules.
    let program = format!("'{}' {SERVE} {kind} '{}'", us.display(), log.display()).replace(',', ",,");
    let net = format!(
        "user,id=net,restrict=on,net=169.254.0.0/16,dhcpstart=169.254.0.15,guestfwd=tcp:169.254.169.254:80-cmd:{program}"
    );
    let told = bundle(include_str!("../guests/told.wat"), "[network]\nlisten = [\"80\"]\n");
    let machine = Machine::new(files, "pc", "128M", false).kernel(files, cmdline, &told);
    (machine.with(&["-netdev", &net, "-device", "virtio-net-pci,netdev=net"]), log)
}

/// The log's lines and the app's words are there, and the app's secret is not in the log.
fn says_all(said: &str, all: &[&str]) {
    for words in all {
        assert!(said.contains(words), "`{words}` is not in:\n{said}");
    }
    let log = said.lines().filter(|line| line.starts_with("lunette:"));
    assert!(!log.into_iter().any(|line| line.contains("hunter2")), "a secret is told:\n{said}");
}

const NAMED: &str = "lunette.log=info lunette.config=metadata";
const AUTO: &str = "lunette.log=info lunette.config=auto";
const APP: [&str; 3] = [
    "user-data (metadata service): arguments: 1; variables: SECRET",
    "app.wasm\0from-cloud\0",
    "SECRET=hunter2\0",
];

pub(crate) fn doors(doors: &mut Doors) {
    for (kind, words) in [
        (
            "openstack",
            &[
                "is that of OpenStack",
                "hostname=sun.novalocal (metadata service), user-data of 56 bytes (metadata service)",
            ][..],
        ),
        ("ec2", &["is that of EC2", "hostname=sun.ec2.internal (metadata service)"]),
        ("google", &["is that of Google Compute Engine", "hostname=sun.c.p.internal (metadata service)"]),
        ("azure", &["is that of Azure", "hostname=sun (metadata service)"]),
        ("unmeasured", &["is that of EC2"]),
        ("largest", &["is that of EC2", "user-data of 65536 bytes"]),
    ] {
        doors.opens(format!("settings_metadata_{kind}"), cannot_boot(), move || {
            let files = Files::new();
            let said = machine(&files, kind, NAMED).0.says(GOOD_END);
            says_all(&said, words);
            says_all(&said, &APP);
            says_all(&said, &[" 169.254.0.15/16 "]);
        });
    }
    // Whose machine it is, firmware says: no other service is asked, and the others' settings count before it.
    doors.opens("settings_metadata_by_firmware", cannot_boot(), || {
        let files = Files::new();
        let (machine, log) = machine(&files, "ec2", &format!("{AUTO} lunette.ip=169.254.3.4/16"));
        let said = machine
            .with(&["-smbios", "type=1,manufacturer=Amazon EC2,product=t3.micro"])
            .with(&["-smbios", "type=11,value=lunette.hostname=first,value=lunette.env.SECRET=second"])
            .says(GOOD_END);
        says_all(
            &said,
            &["hostname=first (SMBIOS), ", "network: 169.254.3.4/16", "from-cloud\0", "SECRET=second\0"],
        );
        assert_eq!(
            fs::read_to_string(log).expect("it was asked"),
            "PUT /latest/api/token\nGET /latest/meta-data/instance-id\nGET /latest/meta-data/local-hostname\n\
             GET /latest/user-data\n"
        );
    });
    doors.opens("settings_metadata_is_not_asked_unasked", cannot_boot(), || {
        for cmdline in [AUTO, "lunette.log=info", "lunette.log=info lunette.config=fw_cfg,smbios,disk"] {
            let files = Files::new();
            let (machine, log) = machine(&files, "ec2", cmdline);
            let said = machine.says(GOOD_END);
            assert!(!said.contains("metadata") && !log.exists(), "{cmdline}: {said}");
        }
    });
    // It is not there, or speaks no cloud's language: that is told, and the app starts.
    doors.opens("settings_metadata_of_no_cloud_is_told", cannot_boot(), || {
        let files = Files::new();
        let words =
            "warning: configuration: metadata: who answers at 169.254.169.254:80 is no cloud that is known";
        says_all(&machine(&files, "nothing", NAMED).0.says(GOOD_END), &[words]);
    });
    doors.opens("settings_metadata_no_service_is_told_soon", cannot_boot(), || {
        let files = Files::new();
        let told = bundle(include_str!("../guests/told.wat"), "");
        let machine = Machine::new(&files, "pc", "128M", false).kernel(&files, NAMED, &told).with(&[
            "-netdev",
            "user,id=net,restrict=on",
            "-device",
            "virtio-net-pci,netdev=net",
        ]);
        let begun = Instant::now();
        says_all(
            &machine.says(GOOD_END),
            &["warning: configuration: metadata: nobody is at 169.254.169.254:80: "],
        );
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    });
    doors.opens("settings_metadata_no_card_is_told", cannot_boot(), || {
        let files = Files::new();
        let told = bundle(include_str!("../guests/told.wat"), "");
        let machine = Machine::new(&files, "pc", "128M", false).kernel(&files, NAMED, &told);
        let words = "warning: configuration: metadata: there is no network to ask over: there is no network card; help: ";
        says_all(&machine.says(GOOD_END), &[words]);
    });
    doors.opens("settings_metadata_without_an_address_is_told", cannot_boot(), || {
        let files = Files::new();
        // A wire on which nobody else is: what is sent goes to a port that throws it away, or does not even exist.
        let lonely =
            ["-netdev", "socket,id=net,udp=127.0.0.1:9,localaddr=127.0.0.1:0", "-device", "virtio-net-pci,netdev=net"];
        for (grants, end) in [
            ("", GOOD_END),
            ("[network]\nlisten = [\"80\"]\n", "farewell refused there is no network: the network has no address: "),
        ] {
            let told = bundle(include_str!("../guests/told.wat"), grants);
            let machine = Machine::new(&files, "pc", "128M", false).kernel(&files, NAMED, &told).with(&lonely);
            let words = "warning: configuration: metadata: there is no network to ask over: the network has no address";
            says_all(&machine.says(end), &[words]);
        }
    });
    // It is there, and does not say what it should: nothing is started without it.
    for (kind, words) in [
        ("silent", "/openstack/latest/meta_data.json: timed out; help: "),
        ("slow", "/openstack/latest/meta_data.json: timed out; help: "),
        ("closed", "/openstack/latest/meta_data.json: the connection was closed without an answer; help: "),
        ("rubbish", "/openstack/latest/meta_data.json: the answer is no HTTP; help: "),
        ("huge", "/latest/user-data: the answer is too long: there may be 64 KiB; help: "),
        ("chunked", "/latest/user-data: the answer has a transfer coding that is not understood; help: "),
        ("cut", "/latest/user-data: the answer is cut short; help: "),
        ("busy", "/latest/user-data: the answer has the status 503; help: "),
        ("moved", "/latest/user-data: the answer has the status 302; help: "),
    ] {
        doors.opens(format!("settings_refused_metadata_{kind}"), cannot_boot(), move || {
            let files = Files::new();
            let said = machine(&files, kind, NAMED).0.says(words);
            says_all(
                &said,
                &[
                    "farewell refused metadata service: ",
                    "or leave that source out of lunette.config=metadata",
                ],
            );
        });
    }
}
