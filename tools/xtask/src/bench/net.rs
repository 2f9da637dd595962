//! How fast the network is, beside a Debian guest under the same QEMU flags in the same run: the same program
//! (tests/guests/net-bench), as a module in Lunette and as a Linux process there.
//!
//! On q35, for Debian's kernel does not boot on microvm under emulation. The two take turns, round after round, and
//! the best of each counts: whoever else works on this machine disturbs both alike.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::{
    Figure, boot, debian,
    vm::{Bench, Vm, Words},
};
use crate::sh::{Result, target};

const ROUNDS: usize = 3;
const BULK: u64 = 32 << 20;
/// How long round trips and connections are counted for.
const SPELL: Duration = Duration::from_secs(2);
/// How long a guest may take to boot and listen.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a lost guest must not make us wait for.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One figure: its name, its unit, and how it is taken.
type Take = (&'static str, &'static str, fn(u16) -> io::Result<f64>);

const FIGURES: [Take; 4] = [
    ("net.bulk_rx", "MB/s", bulk_rx),
    ("net.bulk_tx", "MB/s", bulk_tx),
    ("net.tcp_rr", "round trips/s", round_trips),
    ("net.connect_rate", "connections/s", connections),
];

/// A guest that serves.
struct Served {
    /// Added to the figures' names.
    suffix: &'static str,
    port: u16,
    best: [f64; FIGURES.len()],
    _vm: Vm,
}

pub(super) fn rates(bench: &Bench) -> Result<Vec<Figure>> {
    let port = free_port()?;
    let words = served(bench, "q35", port, &debian::module()?, &[])?;
    let mut guests = vec![Served::start("", port, &words)?];
    match debian::net_bench() {
        Ok(guest) => {
            let port = free_port()?;
            guests.push(Served::start("_debian_guest", port, &beside(words, &guest, port)?)?);
        }
        // A Debian that can't be had leaves our own figures.
        Err(error) => println!("not measured: net.…_debian_guest: {error}"),
    }
    for _ in 0..ROUNDS {
        for guest in &mut guests {
            for ((name, _, take), best) in FIGURES.iter().zip(&mut guest.best) {
                let new = take(guest.port).map_err(|e| format!("{name}{}: {e}", guest.suffix))?;
                *best = best.max(new);
            }
        }
    }
    let figure = |n: usize, guest: &Served| {
        let (name, unit, _) = FIGURES[n];
        Figure::new(&format!("{name}{}", guest.suffix), round(guest.best[n]), unit)
    };
    Ok((0..FIGURES.len()).flat_map(|n| guests.iter().map(move |guest| figure(n, guest))).collect())
}

/// Guest instructions from the kernel's entry until a server says that it listens.
pub(super) fn listen(bench: &Bench) -> Result<Vec<Figure>> {
    let module = debian::module()?;
    [("boot.microvm.net_listen", &[][..]), ("boot.microvm.net_listen_dhcp", &["--ip", "dhcp"])]
        .into_iter()
        .map(|(name, more)| {
            let words = served(bench, "microvm", free_port()?, &module, more)?;
            let marks = boot::marks(words)?;
            let count = boot::at(&marks, boot::FIRST_OUTPUT)?.saturating_sub(boot::at(&marks, boot::ENTRY)?);
            Ok(Figure::new(name, count as f64, "insn"))
        })
        .collect()
}

/// The smallest `-m` with which it serves.
pub(super) fn ram(bench: &Bench) -> Result<Vec<Figure>> {
    let module = debian::module()?;
    let serves = |mib: u32| -> Result<bool> {
        let port = free_port()?;
        let words = served(bench, "microvm", port, &module, &["-m", &format!("{mib}M")])?;
        let _vm = words.start()?;
        Ok(answers(port, Duration::from_secs(10)))
    };
    let mut least = None;
    for mib in (4..=32).rev() {
        if !serves(mib)? {
            break;
        }
        least = Some(mib);
    }
    let least = least.ok_or("no server boots with 32 MiB")?;
    Ok(vec![Figure::new("ram.net", f64::from(least), "MiB")])
}

/// The command of a VM whose port 80 is ours at `port`.
pub(super) fn served(bench: &Bench, machine: &str, port: u16, module: &Path, more: &[&str]) -> Result<Words> {
    let publish = format!("127.0.0.1:{port}:80");
    bench.words_with(machine, module, &[&["-p", &publish], more].concat())
}

/// The same machine with Debian on it, published at another port.
pub(super) fn beside(mut words: Words, debian: &debian::Debian, port: u16) -> Result<Words> {
    words.set("-kernel", |_| debian.kernel.display().to_string())?;
    words.set("-initrd", |_| debian.initrd.display().to_string())?;
    words.set("-append", |_| "quiet panic=-1".into())?;
    words.set("-netdev", |netdev| {
        let options = netdev.split(',').filter(|option| !option.starts_with("hostfwd="));
        format!("{},hostfwd=tcp:127.0.0.1:{port}-:80", options.collect::<Vec<_>>().join(","))
    })?;
    words.report_to(&target().join("bench-debian-report"))?;
    Ok(words)
}

impl Served {
    fn start(suffix: &'static str, port: u16, words: &Words) -> Result<Self> {
        let vm = words.start()?;
        if !answers(port, PATIENCE) {
            return Err(format!("the guest{suffix} did not serve within {} s", PATIENCE.as_secs()).into());
        }
        Ok(Self { suffix, port, best: [0.0; FIGURES.len()], _vm: vm })
    }
}

/// Does it answer within `patience`? QEMU accepts before anybody listens in the guest, so an answer counts.
fn answers(port: u16, patience: Duration) -> bool {
    let end = Instant::now() + patience;
    while Instant::now() < end {
        if connect(port).is_ok_and(|mut connection| ping(&mut connection).is_ok()) {
            return true;
        }
        thread::sleep(Duration::from_millis(50));
    }
    false
}

pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let connection = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    Ok(connection)
}

fn ping(connection: &mut TcpStream) -> io::Result<()> {
    connection.write_all(b"p")?;
    connection.read_exact(&mut [0])
}

fn order(connection: &mut TcpStream, letter: u8) -> io::Result<()> {
    let mut order = [letter; 9];
    order[1..].copy_from_slice(&BULK.to_le_bytes());
    connection.write_all(&order)
}

fn bulk_rx(port: u16) -> io::Result<f64> {
    let mut connection = connect(port)?;
    let begun = Instant::now();
    order(&mut connection, b'r')?;
    io::copy(&mut io::repeat(b'y').take(BULK), &mut connection)?;
    let mut came = [0; 8];
    connection.read_exact(&mut came)?;
    if u64::from_le_bytes(came) != BULK {
        return Err(io::Error::other("bytes are missing"));
    }
    Ok(BULK as f64 / 1e6 / begun.elapsed().as_secs_f64())
}

fn bulk_tx(port: u16) -> io::Result<f64> {
    let mut connection = connect(port)?;
    let begun = Instant::now();
    order(&mut connection, b't')?;
    if io::copy(&mut connection.take(BULK), &mut io::sink())? != BULK {
        return Err(io::Error::other("bytes are missing"));
    }
    Ok(BULK as f64 / 1e6 / begun.elapsed().as_secs_f64())
}

fn round_trips(port: u16) -> io::Result<f64> {
    let mut connection = connect(port)?;
    per_second(|| ping(&mut connection))
}

fn connections(port: u16) -> io::Result<f64> {
    per_second(|| ping(&mut connect(port)?))
}

fn per_second(mut one: impl FnMut() -> io::Result<()>) -> io::Result<f64> {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < SPELL {
        one()?;
        count += 1;
    }
    Ok(f64::from(count) / begun.elapsed().as_secs_f64())
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
