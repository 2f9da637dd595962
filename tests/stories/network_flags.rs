//! The network's flags: what can't be is refused before anything boots, and what was chosen is told.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    thread,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Stories,
    ends::{sleep, spin},
    guests::{folder, guest},
    vm::{Place, Ran, lunette, vm},
};

pub(crate) fn stories(s: &mut Stories) {
    s.boots("network: a port that is in use on the host", || {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = taken.local_addr().expect("a port").port();
        let flag = format!("127.0.0.1:{port}:80");
        let refused = flags(&["-p", &flag]).refuses(&format!("port {port} of this machine is in use"));
        assert!(
            String::from_utf8_lossy(&refused.stderr).contains("or publish another: -p 127.0.0.1:"),
            "{refused}"
        );
        let taken = UdpSocket::bind("0.0.0.0:0").expect("a port");
        let port = taken.local_addr().expect("a port").port();
        flags(&["-p", &format!("{port}:53/udp")]).refuses(&format!("port {port} of this machine is in use"));
    });
    s.boots("network: a port that another VM has published is blamed on it", || {
        let state = folder("state");
        let begin = |flag: &str| vm(sleep()).flags(["-d", "-p", flag]).env("LUNETTE_STATE", &state).run();
        let first = begin("127.0.0.1::80").exits(0).says("lunette: published 127.0.0.1:");
        let words = String::from_utf8_lossy(&first.stderr).into_owned();
        let port = words.split("127.0.0.1:").nth(1).and_then(|rest| rest.split("->").next()).expect("a port");
        let listed = lunette(["ps"]).env("LUNETTE_STATE", &state).run().exits(0);
        let table = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(table.contains(&format!("127.0.0.1:{port}->80/tcp")), "{listed}");
        let second = begin(&format!("127.0.0.1:{port}:80"));
        let id = String::from_utf8_lossy(&first.stdout).trim_end().to_owned();
        lunette(["rm", "-f", &id]).env("LUNETTE_STATE", &state).run().exits(0);
        second.refuses("in use by the VM sleep").says("lunette stop sleep");
        let again = begin(&format!("127.0.0.1:{port}:80")).exits(0);
        let id = String::from_utf8_lossy(&again.stdout).trim_end().to_owned();
        lunette(["rm", "-f", &id]).env("LUNETTE_STATE", &state).run().exits(0);
    });
    s.boots("network: flags that can't be", || {
        for (words, says) in [
            (&["--net", "none", "-p", "8080:80"][..], "-p needs a network"),
            (&["--pcap", "x.pcap"], "--pcap is for nothing"),
            (&["--net", "user", "--pcap", "/nonexistent/x.pcap"], "the capture can't be written"),
            (&["-p", "[::1]:8080:80"], "IPv4 addresses only"),
            (&["-p", "192.0.2.1:8080:80"], "192.0.2.1 is no address of this machine"),
            (&["-p", "0:80", "--ip", "10.0.2.2/24"], "the gateway's address"),
            (&["--listen", "80", "--net", "unix=/nonexistent/a,/tmp/b"], "no such folder"),
        ] {
            flags(words).refuses(says);
        }
        for (words, says) in [
            (&["-p", "8080-8090:80"][..], "a range"),
            (&["-p", "8080:0"], "0 is no port"),
            (&["--net", "bridge"], "tap=NAME"),
            (&["--listen", "http"], "http"),
            (&["--connect", "db"], "db"),
            (&["--host", "--ip", "dhcp"], "--host"),
        ] {
            flags(words).exits(125).says(says);
        }
    });
    for place in [Place::Microvm, Place::Pc, Place::Q35] {
        let name = format!("network: a card, a published port and a capture on {}", place.name());
        s.needs(name, place.lack(), move || {
            let capture = folder("capture").join("a,b.pcap");
            let ran =
                vm(guest("cat")).on(place).flags(["-p", "127.0.0.1::80", "--pcap"]).flags([&capture]).run();
            let ran = ran.exits(0).says("->80/tcp");
            // The port is granted, and listened on before the guest begins.
            let ran = ran.prints("cat.wasm\0LISTEN_FDS=1\0LISTEN_FDNAMES=80\0");
            // The magic number of a capture in microseconds.
            let bytes = fs::read(&capture).expect("a capture");
            assert_eq!(bytes.get(..4), Some(&0xa1b2_c3d4u32.to_le_bytes()[..]), "{ran}");
        });
    }
    for place in [Place::Microvm, Place::Pc] {
        let name = format!("network: SIGTERM is told from Ctrl-C on {}", place.name());
        s.needs(name, place.lack(), move || {
            for (app, signal, code) in
                [(sleep(), Signal::TERM, 143), (spin(), Signal::TERM, 143), (sleep(), Signal::INT, 130)]
            {
                let running = vm(app).on(place).start();
                thread::sleep(Duration::from_millis(1500));
                running.signal(signal);
                running.wait(Duration::from_secs(5)).exits(code);
            }
        });
    }
}

fn flags(words: &[&str]) -> Ran {
    vm(guest("cat")).flags(words).run()
}
