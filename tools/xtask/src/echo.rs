//! The server of tests/vm behind QEMU's user-mode network: connections by the thousand, and what asks it to stop. What
//! is tried is the kernel: its card, its interrupts, its stack, its memory. Cards that are not virtio's carry 4 MiB each way.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use crate::{
    image,
    sh::{Result, command},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A crowd: so many that come and go, that are dropped, and that stay. The stories have larger ones, on one machine.
const FRESH: u32 = 500;
const DROPPED: u32 = 250;
const IDLE: u32 = 500;

/// A machine, the QEMU device that is its network card, and whether it has a power button.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    machine: &'static [&'static str],
    card: &'static str,
    button: bool,
    /// Its clients come by the thousand.
    crowd: bool,
    /// How the card has to interrupt, in the kernel's words; nothing: in any way.
    interrupt: &'static str,
}

/// A card that is not virtio's: whether it carries frames, all sizes at once, is all that is asked.
const fn other(name: &'static str, machine: &'static [&'static str], card: &'static str) -> Kind {
    Kind { name, machine, card, button: true, crowd: false, interrupt: "" }
}

pub(crate) const KINDS: &[Kind] = &[
    Kind {
        name: "microvm",
        machine: &["microvm,acpi=off", "-global", "virtio-mmio.force-legacy=false"],
        card: "virtio-net-device",
        button: false,
        crowd: true,
        interrupt: "Line",
    },
    Kind {
        name: "microvm-legacy",
        machine: &["microvm,acpi=off"],
        card: "virtio-net-device",
        button: false,
        crowd: true,
        interrupt: "Line",
    },
    // Its devices are found by ACPI alone; their lines are those of a second I/O APIC.
    Kind {
        name: "microvm-acpi",
        machine: &["microvm,acpi=on"],
        card: "virtio-net-device",
        button: false,
        crowd: false,
        interrupt: "Line",
    },
    // PCI without ports and without firmware; the console is on MMIO.
    Kind {
        name: "microvm-pcie",
        machine: &["microvm,acpi=on,pcie=on"],
        card: "virtio-net-pci",
        button: false,
        crowd: false,
        interrupt: "Message",
    },
    Kind {
        name: "pc",
        machine: &["pc"],
        card: "virtio-net-pci",
        button: true,
        crowd: true,
        interrupt: "Message",
    },
    // No messages: the card interrupts by its line.
    Kind {
        name: "q35",
        machine: &["q35"],
        card: "virtio-net-pci,vectors=0",
        button: true,
        crowd: true,
        interrupt: "Line",
    },
    other("pc-e1000", &["pc"], "e1000"),
    other("q35-e1000", &["q35"], "e1000-82545em"),
    other("q35-e1000e", &["q35"], "e1000e"),
    other("pc-vmxnet3", &["pc"], "vmxnet3"),
    other("q35-vmxnet3", &["q35"], "vmxnet3"),
];

struct Vm {
    child: Child,
    said: Receiver<String>,
    log: String,
    folder: std::path::PathBuf,
    tcp: u16,
    udp: u16,
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Vm {
    fn boot(kind: &Kind) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("lunette-echo-{}-{}", std::process::id(), kind.name));
        std::fs::create_dir_all(&folder)?;
        // Free a moment ago: whoever takes one in between makes QEMU say so.
        let tcp = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let udp = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut qemu = command("qemu-system-x86_64", &["-accel", "tcg", "-cpu", "max", "-M"]);
        qemu.args(kind.machine).args(["-smp", "1", "-m", "64M", "-nodefaults", "-no-user-config"]);
        qemu.args(["-display", "none", "-no-reboot", "-serial", "stdio"]);
        qemu.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        let net = format!("user,id=n,hostfwd=tcp:127.0.0.1:{tcp}-:7,hostfwd=udp:127.0.0.1:{udp}-:7");
        qemu.args(["-netdev", &net, "-device", &format!("{},netdev=n", kind.card)]);
        let socket = |name| format!("path={},server=on,wait=off", folder.join(name).display());
        let mut words = "lunette.log=debug lunette.ip=10.0.2.15/24,10.0.2.2".to_owned();
        if kind.button {
            qemu.args(["-qmp", &format!("unix:{},server=on,wait=off", folder.join("stop").display())]);
        } else {
            words.push_str(" lunette.stdin=virtio");
            qemu.args(["-device", "virtio-serial-device", "-device", "virtconsole,chardev=stop"]);
            qemu.args(["-chardev", &format!("socket,id=stop,{}", socket("stop"))]);
        }
        qemu.arg("-kernel").arg(image::path().with_file_name("echo.elf")).args(["-append", &words]);
        let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let (say, said) = channel();
        let out = child.stdout.take().ok_or("no standard output")?;
        thread::spawn(move || {
            BufReader::new(out).lines().map_while(|line| line.ok()).try_for_each(|l| say.send(l))
        });
        let mut vm = Self { child, said, log: String::new(), folder, tcp, udp };
        vm.hear("serving")?;
        if !kind.interrupt.is_empty() && !vm.log.contains(&format!(", interrupt {}(", kind.interrupt)) {
            return Err(format!("the card does not interrupt by {}:\n{}", kind.interrupt, vm.log).into());
        }
        Ok(vm)
    }

    /// Waits until the VM says this.
    fn hear(&mut self, what: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let line = self.said.recv_timeout(left).map_err(|e| format!("no `{what}`: {e}\n{}", self.log))?;
            self.log.push_str(&line);
            self.log.push('\n');
            if line.contains(what) {
                return Ok(());
            }
        }
    }

    fn connect(&self) -> Result<TcpStream> {
        let stream = TcpStream::connect(("127.0.0.1", self.tcp))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// A connection that was answered: QEMU lets one wait to be accepted, and its clients try again after a second.
    fn greeted(&self) -> Result<TcpStream> {
        let mut stream = self.connect()?;
        ping(&mut stream, b"hello")?;
        Ok(stream)
    }

    /// The KiB that the VM has free.
    fn free(&self) -> Result<u64> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        for _ in 0..10 {
            socket.send_to(b"free?", ("127.0.0.1", self.udp))?;
            let mut answer = [0; 64];
            if let Ok((n, _)) = socket.recv_from(&mut answer) {
                return Ok(std::str::from_utf8(&answer[..n])?.parse()?);
            }
        }
        Err("no datagram came back".into())
    }

    fn stop(&self, kind: &Kind) -> Result<()> {
        let path: &Path = &self.folder.join("stop");
        let mut wire = UnixStream::connect(path)?;
        wire.set_read_timeout(Some(PATIENCE))?;
        if kind.button {
            let mut lines = BufReader::new(wire.try_clone()?).lines();
            for command in ["qmp_capabilities", "system_powerdown"] {
                writeln!(wire, "{{\"execute\":\"{command}\"}}")?;
                while !lines.next().ok_or("QMP ended")??.contains("\"return\"") {}
            }
        } else {
            // The end of the input, and then the request: it is heard all the same.
            wire.write_all(b"\x10\x04\x10\x03")?;
        }
        Ok(())
    }
}

fn ping(stream: &mut TcpStream, bytes: &[u8]) -> Result<()> {
    stream.write_all(bytes)?;
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back)?;
    if back == bytes { Ok(()) } else { Err("what came back is not what was sent".into()) }
}

/// All of it, on one machine; says what was done.
pub(crate) fn run(kind: &Kind) -> Result<String> {
    let mut vm = Vm::boot(kind)?;
    let served = if kind.crowd { serve(&vm) } else { transfer(&vm).map(|()| "4 MiB both ways".into()) };
    match served.and_then(|words| vm.stop(kind).map(|()| words)) {
        Ok(words) => {
            vm.hear("drained")?;
            vm.hear("farewell exit 0")?;
            Ok(words)
        }
        Err(error) => {
            vm.log.extend(vm.said.try_iter().map(|line| line + "\n"));
            Err(format!("{}: {error}\n{}", kind.name, vm.log).into())
        }
    }
}

/// 4 MiB there and back, and short messages of many.
fn transfer(vm: &Vm) -> Result<()> {
    // Both directions at once, more than any buffer holds.
    let mut stream = vm.connect()?;
    let sent: Vec<u8> = (0..4_u32 << 20).map(|i| (i ^ i >> 8 ^ i >> 16) as u8).collect();
    let mut back = vec![0; sent.len()];
    let mut writer = stream.try_clone()?;
    thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&sent).and_then(|()| writer.shutdown(Shutdown::Write)));
        stream.read_exact(&mut back)
    })?;
    if back != sent || stream.read(&mut [0])? != 0 {
        return Err("4 MiB did not come back as they were sent".into());
    }
    drop(stream);

    let mut many = (0..64).map(|_| vm.connect()).collect::<Result<Vec<_>>>()?;
    for round in 0..50 {
        for stream in &mut many {
            ping(stream, &[round; 200])?;
        }
    }
    Ok(())
}

fn serve(vm: &Vm) -> Result<String> {
    transfer(vm)?;
    // The heap keeps what it had at the most, in large pieces, so a crowd may cost one; a loss is what every crowd costs.
    let mut each = crowd(vm)?;
    let mut before = settled(vm)?;
    for _ in 0..3 {
        each = each.max(crowd(vm)?);
        let now = settled(vm)?;
        if now + 512 >= before {
            return Ok(format!("{IDLE} idle connections: {each:.1} KiB each"));
        }
        before = now;
    }
    Err("memory does not come back".into())
}

/// What is free once the last connections have waited their time.
fn settled(vm: &Vm) -> Result<u64> {
    thread::sleep(Duration::from_secs(13));
    vm.free()
}

/// Many that come and go, in good order and not, and many that stay. How many KiB each of these takes.
fn crowd(vm: &Vm) -> Result<f64> {
    for _ in 0..FRESH {
        vm.greeted()?;
    }
    for i in 0..DROPPED {
        let mut stream = vm.greeted()?;
        stream.write_all(&[7; 2000])?;
        if i % 2 == 0 {
            // With an answer unread, a close is a reset.
            stream.peek(&mut [0])?;
        }
    }
    let before = vm.free()?;
    let idle = (0..IDLE).map(|_| vm.greeted()).collect::<Result<Vec<_>>>()?;
    let held = vm.free()?;
    drop(idle);
    vm.greeted()?;
    Ok(before.saturating_sub(held) as f64 / f64::from(IDLE))
}
