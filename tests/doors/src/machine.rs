//! A machine to be booted, and what it said.

use std::{
    fs,
    io::{Cursor, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use lunette_bundle::Writer;
use lunette_disk::Parts;
use lunette_releases::seal;
use tempfile::TempDir;

/// Long enough for OVMF on a busy machine, and for a read of SeaBIOS' IDE driver, which was seen to stall on one (some six
/// of 150 boots, inside of INT 13h; why is not known).
const DEADLINE: Duration = Duration::from_secs(120);
pub(crate) const OVMF: [&str; 2] = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"];

/// A file beside the image, or the folder's smallest image.
pub(crate) fn built(names: &[&str]) -> Option<PathBuf> {
    let given = PathBuf::from(std::env::var_os("LUNETTE_IMAGE")?);
    let folder = if given.is_dir() { given } else { given.parent()?.to_owned() };
    names.iter().map(|name| folder.join(name)).find(|path| path.is_file())
}

pub(crate) fn image() -> Option<PathBuf> {
    built(&["lunette-wasm.elf", "lunette.elf"])
}

pub(crate) fn which(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Why nothing boots here, if so.
pub(crate) fn cannot_boot() -> Option<&'static str> {
    match () {
        () if image().is_none() => Some("no LUNETTE_IMAGE"),
        () if built(&["lunette.bios"]).is_none() || built(&["lunette.efi"]).is_none() => Some("no loaders"),
        () if !which("qemu-system-x86_64") => Some("no QEMU"),
        () => None,
    }
}

pub(crate) fn no_ovmf() -> Option<&'static str> {
    cannot_boot().or_else(|| (!OVMF.iter().all(|file| Path::new(file).is_file())).then_some("no OVMF"))
}

/// What the kernel is told, unless a try says otherwise: farewells go to COM1.
pub(crate) const CMDLINE: &str = "lunette.log=info";
pub(crate) const GOOD_END: &str = "lunette: farewell exit 0";

/// A bundle of one program and what its manifest says besides.
pub(crate) fn bundle(program: &str, more: &str) -> Vec<u8> {
    let module = wat::parse_str(program).expect("it is a module");
    let mut writer = Writer::new(format!("[app]\nmain = \"app.wasm\"\n{more}").into_bytes());
    writer.file("app.wasm", module).expect("a path");
    let mut bytes = Vec::new();
    writer.write(&mut bytes).expect("into memory");
    bytes
}

pub(crate) fn hello() -> Vec<u8> {
    bundle(include_str!("../../../samples/hello-wat/hello.wat"), "")
}

/// Answers one request.
pub(crate) fn answering() -> Vec<u8> {
    bundle(include_str!("../guests/answer.wat"), "[network]\nlisten = [\"80\"]\n")
}

/// The files of a try.
pub(crate) struct Files {
    pub(crate) dir: TempDir,
    pub(crate) kernel: Vec<u8>,
    bios: Vec<u8>,
    pub(crate) uefi: Vec<u8>,
}

impl Files {
    pub(crate) fn new() -> Self {
        let read = |path: Option<PathBuf>| {
            let path = path.expect("it was looked for");
            let bytes = fs::read(&path).expect("it is there");
            seal::open(&bytes, &path).expect("it is sealed").to_vec()
        };
        Self {
            dir: tempfile::tempdir().expect("a folder"),
            kernel: read(image()),
            bios: read(built(&["lunette.bios"])),
            uefi: read(built(&["lunette.efi"])),
        }
    }

    /// A disk with both loaders.
    pub(crate) fn disk(&self, cmdline: &str, bundle: Option<&[u8]>) -> Vec<u8> {
        let (bios, uefi) = (Some(&self.bios[..]), Some(&self.uefi[..]));
        let parts = Parts { kernel: &self.kernel, cmdline, bundle, bios, uefi };
        let mut disk = Cursor::new(Vec::new());
        lunette_disk::raw(&parts, None, &mut disk).expect("it is written");
        disk.into_inner()
    }

    /// The same as a CD.
    pub(crate) fn iso(&self, cmdline: &str, bundle: Option<&[u8]>) -> Vec<u8> {
        let (bios, uefi) = (Some(&self.bios[..]), Some(&self.uefi[..]));
        let parts = Parts { kernel: &self.kernel, cmdline, bundle, bios, uefi };
        let mut disc = Cursor::new(Vec::new());
        lunette_disk::iso(&parts, &mut disc).expect("it is written");
        disc.into_inner()
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).expect("it is written");
        path
    }
}

/// A machine of QEMU's.
pub(crate) struct Machine {
    qemu: Command,
    log: PathBuf,
}

impl Machine {
    /// `kind`: pc, q35; by SeaBIOS unless `uefi`.
    pub(crate) fn new(files: &Files, kind: &str, memory: &str, uefi: bool) -> Self {
        let log = files.dir.path().join("console");
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-accel", "tcg", "-cpu", "max", "-smp", "1", "-M", kind, "-m", memory]);
        // No debug exit and no end at a reset: it has to be switched off as it would be anywhere.
        qemu.args(["-nodefaults", "-no-user-config", "-display", "none"]);
        qemu.arg("-serial").arg(format!("file:{}", log.display()));
        if uefi {
            let [code, variables] = OVMF;
            qemu.args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={code}")]);
            qemu.args(["-drive", &format!("if=pflash,format=raw,snapshot=on,file={variables}")]);
        }
        Self { qemu, log }
    }

    pub(crate) fn with(mut self, words: &[&str]) -> Self {
        self.qemu.args(words);
        self
    }

    /// What QEMU itself loads, by PVH.
    pub(crate) fn kernel(self, files: &Files, cmdline: &str, bundle: &[u8]) -> Self {
        let (kernel, bundle) = (files.put("kernel", &files.kernel), files.put("bundle", bundle));
        let path = |path: &Path| path.display().to_string();
        self.with(&["-kernel", &path(&kernel), "-initrd", &path(&bundle), "-append", cmdline])
    }

    /// A disk, as what `-device` makes of it; more devices may have to come before.
    pub(crate) fn disk(self, path: &Path, devices: &[&str]) -> Self {
        self.drive(path, "", devices)
    }

    pub(crate) fn drive(self, path: &Path, media: &str, devices: &[&str]) -> Self {
        let drive = format!("if=none,id=disk,format=raw,snapshot=on,{media}file={}", path.display());
        let machine = self.with(&["-drive", &drive]);
        devices.iter().fold(machine, |machine, device| machine.with(&["-device", device]))
    }

    /// Runs until it ends or has said this, and gives back what it said.
    pub(crate) fn says(self, words: &str) -> String {
        self.run(words, |_| {})
    }

    /// As `says`, and calls `meanwhile` again and again with what it has said.
    fn run(mut self, words: &str, mut meanwhile: impl FnMut(&str)) -> String {
        let mut child = self.qemu.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("QEMU starts");
        let begun = Instant::now();
        let mut ended = false;
        let said = loop {
            let said = fs::read(&self.log)
                .map(|said| String::from_utf8_lossy(&said).into_owned())
                .unwrap_or_default();
            if ended || said.contains(words) || begun.elapsed() > DEADLINE {
                break said;
            }
            meanwhile(&said);
            thread::sleep(Duration::from_millis(20));
            ended = child.try_wait().expect("it is our child").is_some();
        };
        // After a farewell the machine is switched off; what is refused by a loader stays on the screen.
        let farewell = words == GOOD_END;
        while farewell && !ended && begun.elapsed() < DEADLINE {
            thread::sleep(Duration::from_millis(20));
            ended = child.try_wait().expect("it is our child").is_some();
        }
        let _ = child.kill();
        let _ = child.wait();
        let mut errors = String::new();
        let _ = child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut errors));
        assert!(
            said.contains(words),
            "after {:.1} s, `{words}` is not in:\n{said}\n{errors}",
            begun.elapsed().as_secs_f64()
        );
        assert!(ended || !farewell, "it was not switched off; it said:\n{said}");
        said
    }

    /// With a card behind QEMU's router: a request is answered, and the machine ends well.
    pub(crate) fn answers(self, card: &str) {
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let net = format!("user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:80");
        let machine = self.with(&["-netdev", &net, "-device", &format!("{card},netdev=net")]);
        let mut answer = None;
        let said = machine.run(GOOD_END, |said| {
            // Not before: QEMU would hold the request back, and the guest answer one that nobody waits for any more.
            if answer.is_none() && said.contains("ready") {
                answer = request(port);
            }
        });
        let answer = answer.unwrap_or_else(|| panic!("no answer; it said:\n{said}"));
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("answer\n"), "{answer}");
    }
}

/// QEMU takes connections whether the guest does or not; then they end without an answer.
fn request(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lunette\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer).filter(|answer| !answer.is_empty())
}
