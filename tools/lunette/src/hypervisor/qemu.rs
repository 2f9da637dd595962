//! QEMU: how to find it, how old it may be, and the command that boots a VM.

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{
        fs::{MetadataExt, OpenOptionsExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::{Accel, Backend, CommandLine, Hypervisor, Vm, Wires};
use crate::{
    cache::Cache,
    console,
    network::publish::{Published, protocol},
    problem::Problem,
};

const NAME: &str = "qemu-system-x86_64";
const INSTALL: &str = "sudo apt-get install qemu-system-x86";
/// microvm with a usable PVH boot, and what Debian and Ubuntu have had since 2022.
pub const OLDEST: (u32, u32) = (6, 2);

/// The files in the folder of a run.
/// QEMU adds `.in` and `.out`: two named pipes, of which only the first is used.
pub const STDIN: &str = "stdin";
pub const STDERR: &str = "stderr";
pub const REPORT: &str = "report";
const QMP: &str = "qmp";

/// A QEMU that is there and new enough.
#[derive(Clone, Debug)]
pub struct Qemu {
    pub path: PathBuf,
    /// As it says it: `7.2.22`.
    pub version: String,
}

impl Qemu {
    /// The one at `path`, or the one in `$PATH`. Asks for its version once, and again when it changed.
    pub fn find(path: Option<&Path>, cache: &Cache) -> Result<Self, Problem> {
        let path = match path {
            Some(path) => fs::canonicalize(path)
                .map_err(|e| Problem::new(format!("no QEMU there: {e}"), INSTALL).at(path.display()))?,
            None => in_path(NAME).ok_or_else(|| {
                Problem::new(format!("QEMU is not installed: there is no {NAME} in PATH"), INSTALL)
            })?,
        };
        let key = fingerprint(&path);
        let version = match cache.get("qemu-version", &key) {
            Some(version) => version,
            None => {
                let version = ask_version(&path)?;
                cache.put("qemu-version", &key, &version);
                version
            }
        };
        let numbers = numbers(&version);
        if numbers < Some(OLDEST) {
            let (major, minor) = OLDEST;
            let what = format!("QEMU {version} is too old: {major}.{minor} or newer is needed");
            return Err(Problem::new(what, INSTALL).at(path.display()));
        }
        Ok(Self { path, version })
    }

    /// Refuses a VM that takes a newer one.
    pub fn can(&self, vm: &Vm) -> Result<(), Problem> {
        // `-netdev dgram`
        const WIRES: (u32, u32) = (7, 2);
        let wired = vm.network.as_ref().is_some_and(|nic| matches!(nic.backend, Backend::Unix { .. }));
        if wired && numbers(&self.version) < Some(WIRES) {
            let what = format!(
                "QEMU {} can't do --net unix: {}.{} or newer is needed",
                self.version, WIRES.0, WIRES.1
            );
            return Err(Problem::new(what, INSTALL).at(self.path.display()));
        }
        Ok(())
    }
}

/// What changes when a file is replaced.
pub fn fingerprint(path: &Path) -> String {
    match fs::metadata(path) {
        Ok(m) => format!("{} {} {}.{} {}", path.display(), m.len(), m.mtime(), m.mtime_nsec(), m.ino()),
        Err(_) => path.display().to_string(),
    }
}

pub fn in_path(name: &str) -> Option<PathBuf> {
    let runnable =
        |path: &PathBuf| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(runnable)
}

/// `QEMU emulator version 7.2.22 (Debian …)` → `7.2.22`
fn ask_version(path: &Path) -> Result<String, Problem> {
    let out = Command::new(path).arg("--version").stdin(Stdio::null()).output();
    let out = out.map_err(|e| Problem::new(format!("QEMU can't be run: {e}"), INSTALL).at(path.display()))?;
    let text = String::from_utf8_lossy(&out.stdout);
    let version =
        text.lines().next().and_then(|line| line.split("version ").nth(1)?.split_whitespace().next());
    match version {
        Some(version) if out.status.success() && numbers(version).is_some() => Ok(version.to_owned()),
        _ => {
            let what = "this is no QEMU: `--version` does not say one";
            Err(Problem::new(what, format!("name the right one with --qemu, or: {INSTALL}"))
                .at(path.display()))
        }
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-', '+', '(']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl Hypervisor for Qemu {
    fn name(&self) -> &'static str {
        "QEMU"
    }

    fn command(&self, vm: &Vm, wires: Wires<'_>) -> CommandLine {
        let mut words: Vec<std::ffi::OsString> = vec![self.path.clone().into()];
        let mut add = |more: &[&str]| words.extend(more.iter().map(Into::into));
        add(&["-accel", vm.accel.name()]);
        add(&["-cpu", if vm.accel == Accel::Kvm { "host" } else { "max" }]);
        add(&["-M", vm.machine.qemu]);
        add(vm.machine.extra);
        add(&["-m", &memory(vm.memory), "-smp", "1"]);
        add(&["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
        add(&["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]);
        add(&["-device", vm.machine.rng]);
        if let Some(nic) = &vm.network {
            add(&["-netdev", &netdev(&nic.backend)]);
            let mac = nic.mac.as_ref().map(|mac| format!(",mac={mac}")).unwrap_or_default();
            add(&["-device", &format!("{},netdev=net{mac}", vm.machine.nic)]);
            if let Some(file) = &nic.capture {
                add(&["-object", &format!("filter-dump,id=capture,netdev=net,file={}", comma(file))]);
            }
        }
        add(&["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"]);

        let mut line = vec!["lunette.stderr=0xe9", "lunette.report=0xe8", "lunette.log=warn"];
        let file = |id: &str, path: &Path| format!("file,id={id},path={}", comma(path));
        match wires {
            Wires::Folder(folder) => {
                line.push("lunette.stdin=virtio");
                add(&["-device", vm.machine.serial, "-device", "virtconsole,chardev=stdin"]);
                add(&["-chardev", &format!("pipe,id=stdin,path={}", comma(&folder.join(STDIN)))]);
                add(&["-chardev", &file("stderr", &folder.join(STDERR))]);
                add(&["-chardev", &file("report", &folder.join(REPORT))]);
                add(&["-qmp", &format!("unix:{},server=on,wait=off", comma(&folder.join(QMP)))]);
            }
            Wires::Terminal => {
                line.push("lunette.stdin=tty");
                add(&["-chardev", &file("stderr", Path::new("/dev/stderr"))]);
                add(&["-chardev", &file("report", Path::new("/dev/null"))]);
            }
        }
        add(&["-device", "isa-debugcon,iobase=0xe9,chardev=stderr"]);
        add(&["-device", "isa-debugcon,iobase=0xe8,chardev=report"]);

        line.extend(vm.words.iter().map(String::as_str));
        words.extend(["-kernel".into(), vm.image.clone().into()]);
        if let Some(payload) = &vm.payload {
            words.extend(["-initrd".into(), comma(payload).into()]);
        }
        words.extend(["-append".into(), line.join(" ").into()]);
        CommandLine(words)
    }

    /// The power button; where there is none, two bytes on the console that carries standard input.
    fn drain(&self, vm: &Vm, folder: &Path) -> io::Result<()> {
        if vm.machine.power_button {
            return qmp(folder, "system_powerdown");
        }
        // Not to wait for a reader that is not there; the bytes themselves may have to wait for room.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let path = folder.join(format!("{STDIN}.in"));
        let mut pipe = fs::OpenOptions::new().write(true).custom_flags(flags).open(path)?;
        rustix::fs::fcntl_setfl(&pipe, rustix::fs::fcntl_getfl(&pipe)? - rustix::fs::OFlags::NONBLOCK)?;
        std::thread::spawn(move || pipe.write_all(&console::FINISH));
        Ok(())
    }

    /// An NMI: the kernel takes it whatever it is doing.
    fn stop(&self, folder: &Path) -> io::Result<()> {
        qmp(folder, "inject-nmi")
    }

    fn explain(&self, complaints: &str) -> Option<Problem> {
        // QEMU ends with the first thing that it can't do.
        let line = complaints.lines().rfind(|line| !line.trim().is_empty())?;
        if let Some((_, rule)) = line.split_once("Could not set up host forwarding rule '") {
            // `tcp:0.0.0.0:8080-10.0.2.15:80`
            let host = rule.split_once('-').map_or(rule, |(host, _)| host);
            let (protocol, host) = host.split_once(':').unwrap_or(("tcp", host));
            let what =
                format!("{host}/{protocol} can't be published: the port is in use, or may not be opened");
            return Some(Problem::new(what, "stop what listens there, or publish another port").at("-p"));
        }
        if let Some((_, why)) = line.split_once("could not configure /dev/net/tun (") {
            let (name, why) = why.split_once("): ").unwrap_or((why, "it may not"));
            let help =
                format!("sudo ip tuntap add dev {name} mode tap user $USER; a tap is for one VM at a time");
            return Some(Problem::new(format!("the tap {name} can't be used: {why}"), help).at("--net"));
        }
        if let Some((_, why)) = line.split_once("can't bind unix=") {
            let (path, why) = why.split_once(" to socket: ").unwrap_or((why, "it may not"));
            let help = "name a socket in a folder of yours";
            return Some(Problem::new(format!("{path} can't be a socket: {why}"), help).at("--net"));
        }
        None
    }
}

/// Has QEMU do one thing.
fn qmp(folder: &Path, command: &str) -> io::Result<()> {
    let stream = UnixStream::connect(folder.join(QMP))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    stream.set_write_timeout(Some(Duration::from_secs(1)))?;
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let mut hear = || lines.next().unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
    hear()?;
    for command in ["qmp_capabilities", command] {
        (&stream).write_all(format!("{{\"execute\":\"{command}\"}}\n").as_bytes())?;
        // Events may come in between.
        loop {
            let answer = hear()?;
            if answer.contains("\"return\"") {
                break;
            }
            if answer.contains("\"error\"") {
                return Err(io::Error::other(answer));
            }
        }
    }
    Ok(())
}

fn netdev(backend: &Backend) -> String {
    match backend {
        Backend::Tap(name) => format!("tap,id=net,ifname={name},script=no,downscript=no"),
        Backend::Unix { local, remote } => {
            let (local, remote) = (comma(local), comma(remote));
            format!("dgram,id=net,local.type=unix,local.path={local},remote.type=unix,remote.path={remote}")
        }
        Backend::User(user) => {
            let mut text = "user,id=net".to_owned();
            if user.closed {
                text += ",restrict=on";
            }
            // Writing to a string does not fail.
            if let Some((net, bits, router, dns)) = user.ipv4 {
                let _ = write!(text, ",net={net}/{bits},host={router},dns={dns}");
            }
            match user.ipv6 {
                None => text += ",ipv6=off",
                Some(None) => text += ",ipv6=on",
                Some(Some((net, bits, router))) => {
                    let _ = write!(text, ",ipv6=on,ipv6-net={net}/{bits}");
                    if let Some(router) = router {
                        let _ = write!(text, ",ipv6-host={router}");
                    }
                }
            }
            let guest = user.guest.map(|ip| ip.to_string()).unwrap_or_default();
            for Published { host, guest: port, protocol } in &user.forwards {
                let _ = write!(text, ",hostfwd={}:{host}-{guest}:{port}", protocol::name(*protocol));
            }
            text
        }
    }
}

/// In QEMU's lists of options a comma is written twice.
fn comma(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// QEMU's `-m`, in the largest unit that is exact.
fn memory(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{}M", bytes >> 20)
    } else {
        format!("{}K", bytes.div_ceil(1024))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{super::Machine, *};

    fn vm(machine: &str, accel: Accel) -> Vm {
        Vm {
            image: "/images/lunette.elf".into(),
            payload: Some("/run/app,1".into()),
            words: vec!["lunette.x=1".into()],
            machine: Machine::named(machine).unwrap(),
            accel,
            memory: 512 << 20,
            network: None,
        }
    }

    fn qemu() -> Qemu {
        Qemu { path: "/usr/bin/qemu".into(), version: "7.2".into() }
    }

    #[test]
    fn the_command_on_microvm() {
        let line = qemu().command(&vm("microvm", Accel::Tcg), Wires::Folder(Path::new("/run/l"))).quoted();
        assert_eq!(
            line,
            "/usr/bin/qemu -accel tcg -cpu max -M microvm,acpi=off -global virtio-mmio.force-legacy=false \
             -m 512M -smp 1 -nodefaults -no-user-config -display none -no-reboot \
             -device isa-debug-exit,iobase=0xf4,iosize=4 -device virtio-rng-device \
             -chardev stdio,id=console,signal=off -serial chardev:console \
             -device virtio-serial-device -device virtconsole,chardev=stdin \
             -chardev pipe,id=stdin,path=/run/l/stdin \
             -chardev file,id=stderr,path=/run/l/stderr -chardev file,id=report,path=/run/l/report \
             -qmp unix:/run/l/qmp,server=on,wait=off \
             -device isa-debugcon,iobase=0xe9,chardev=stderr -device isa-debugcon,iobase=0xe8,chardev=report \
             -kernel /images/lunette.elf -initrd /run/app,,1 \
             -append 'lunette.stderr=0xe9 lunette.report=0xe8 lunette.log=warn lunette.stdin=virtio lunette.x=1'"
        );
    }

    #[test]
    fn the_command_on_the_others_and_at_a_terminal() {
        let line = qemu().command(&vm("q35", Accel::Kvm), Wires::Terminal).quoted();
        for part in [
            "-accel kvm -cpu host -M q35 -m",
            "virtio-rng-pci",
            "path=/dev/stderr",
            "path=/dev/null",
            "lunette.stdin=tty",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("-qmp"));
    }

    #[test]
    fn sizes_are_exact() {
        assert_eq!(memory(8 << 20), "8M");
        assert_eq!(memory((8 << 20) + 4096), "8196K");
    }

    fn fake(dir: &Path, says: &str) -> PathBuf {
        let path = dir.join("qemu");
        fs::write(&path, format!("#!/bin/sh\necho x >>{}/asked\necho '{says}'\n", dir.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn an_old_qemu_is_refused_with_both_versions_and_is_asked_once() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache"));
        let path = fake(dir.path(), "QEMU emulator version 5.2.0 (Debian 1:5.2+dfsg)");
        for _ in 0..2 {
            let e = Qemu::find(Some(&path), &cache).unwrap_err();
            assert_eq!(e.what, "QEMU 5.2.0 is too old: 6.2 or newer is needed");
            assert_eq!(e.help, INSTALL);
        }
        assert_eq!(fs::read_to_string(dir.path().join("asked")).unwrap(), "x\n");
        let path = fake(dir.path(), "QEMU emulator version 10.0.2-rc1");
        assert_eq!(Qemu::find(Some(&path), &cache).unwrap().version, "10.0.2-rc1");
    }

    #[test]
    fn what_is_no_qemu_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = fake(dir.path(), "hello");
        assert!(Qemu::find(Some(&path), &Cache::none()).unwrap_err().what.contains("no QEMU"));
        let e = Qemu::find(Some(Path::new("/nonexistent/qemu")), &Cache::none()).unwrap_err();
        assert!(e.what.starts_with("no QEMU there") && e.help == INSTALL);
    }

    #[test]
    fn stopping_is_an_nmi_by_qmp() {
        let dir = tempfile::tempdir().unwrap();
        let server = std::os::unix::net::UnixListener::bind(dir.path().join(QMP)).unwrap();
        let peer = std::thread::spawn(move || {
            let (stream, _) = server.accept().unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            (&stream).write_all(b"{\"QMP\": {}}\n").unwrap();
            let mut heard = Vec::new();
            for _ in 0..2 {
                heard.push(lines.next().unwrap().unwrap());
                (&stream).write_all(b"{\"event\": \"X\"}\n{\"return\": {}}\n").unwrap();
            }
            heard
        });
        qemu().stop(dir.path()).unwrap();
        assert_eq!(
            peer.join().unwrap(),
            [r#"{"execute":"qmp_capabilities"}"#, r#"{"execute":"inject-nmi"}"#]
        );
        assert!(qemu().stop(Path::new("/nonexistent")).is_err());
    }
}
