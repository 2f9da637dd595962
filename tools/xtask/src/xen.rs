//! Lunette as a PVH guest of Xen: Debian's hypervisor in an emulated machine with SVM, and a first domain made of
//! Debian's kernel, the toolstack (`xl`, xenstored, xenconsoled) and busybox.
//!
//! In it: what `lunette image export --for xen` has written, unchanged, answers HTTP and ping, and ends when `xl shutdown` asks it
//! to; a guest without an app says why on its console and is seen to have crashed. What is interpreted only: QEMU's SVM aborts when a guest writes CR8
//! while an interrupt waits for it, which native code, that ticks, would have ours do.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    packages,
    sh::{Result, command, logged, read, target},
};

/// What the first domain has besides the hypervisor, its tools and its kernel, whose packages have versions in their names.
const PACKAGES: [&str; 18] = [
    "busybox-static",
    "libc6",
    "libgcc-s1",
    "liblzma5",
    "libuuid1",
    "libxencall1",
    "libxendevicemodel1",
    "libxenevtchn1",
    "libxenforeignmemory1",
    "libxengnttab1",
    "libxenhypfs1",
    "libxenstore4",
    "libxentoolcore1",
    "libxentoollog1",
    "libyajl2",
    "libzstd1",
    "xenstore-utils",
    "zlib1g",
];

/// In the order in which they are loaded.
const MODULES: [&str; 6] = [
    "drivers/xen/xen-privcmd",
    "drivers/xen/xenfs/xenfs",
    "drivers/xen/xen-evtchn",
    "drivers/xen/xen-gntdev",
    "drivers/xen/xen-gntalloc",
    "drivers/net/xen-netback/xen-netback",
];
/// What of the kernel's package is unpacked: it is a hundred times as large.
const KERNEL_FILES: [&str; 3] = [
    "./boot/vmlinuz-*",
    "./lib/modules/*/kernel/drivers/xen/*",
    "./lib/modules/*/kernel/drivers/net/xen-netback/*",
];

/// Where libraries lie in packages.
const LIBRARY_FOLDERS: [&str; 2] = ["lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"];

const INIT: &str = "\
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
mkdir -p /dev/pts; mount -t devpts none /dev/pts
mount -t xenfs none /proc/xen
ip link set lo up
xenstored --pid-file /run/xenstored.pid
until xenstore-read / >/dev/null 2>&1; do sleep 0.1; done
xen-init-dom0
xenconsoled --log=guest --log-dir=/log --pid-file=/run/xenconsoled.pid
echo 'test: the first domain is up'
sh /test
echo 'test: over'
poweroff -f
";

/// The toolstack calls it when the guest's card has a backend.
const VIF: &str = "\
#!/bin/busybox sh
case $1 in online|add)
    /bin/busybox ip addr add 10.0.3.1/24 dev $vif
    /bin/busybox ip link set $vif up
    /bin/xenstore-write $XENBUS_PATH/hotplug-status connected;;
esac
";

/// Lines that the verdict is made of begin with `test:`. What `xl` is told beside a configuration is for this host: the TSC is
/// native, for Xen's emulation of RDTSCP needs what QEMU's SVM does not have; and what has ended stays, to be looked at.
const TEST: &str = r#"
said() { for i in $(seq 600); do grep -q -- $1 /log/guest-$2.log 2>/dev/null && return; sleep 0.1; done; echo test: never said: $1; }
told() { sed 's/\r//; s/^/test: '$1': /' /log/guest-$1.log; }
cd /export
xl create xl.cfg 'tsc_mode="native"' 'on_poweroff="preserve"'
said ready http
ping -c 3 -W 5 10.0.3.2 | sed 's/^/test: /'
printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 20 10.0.3.2 80 | sed 's/\r//; s/^/test: /'
timeout 60 xl shutdown -w http 2>&1 | sed 's/^/test: /'
xl destroy http 2>/dev/null
told http
xl create /empty.cfg
said farewell empty
for i in $(seq 100); do xl list empty | grep -q sc- && echo test: it crashed && break; sleep 0.1; done
told empty
"#;

/// A guest without an app.
const EMPTY: &str = "\
name = 'empty'
type = 'pvh'
kernel = '/export/lunette.elf'
memory = 64
tsc_mode = 'native'
on_crash = 'preserve'
";

/// What must be among those lines.
const EXPECTED: [&str; 9] = [
    "test: 3 packets transmitted, 3 packets received, 0% packet loss",
    "test: HTTP/1.1 200 OK",
    "test: /bytes/N    N bytes",
    "reason code 0",
    "test: http: http: done after 1 requests",
    "test: http: lunette: farewell exit 0",
    "test: empty: lunette: farewell refused there is no app",
    "test: it crashed",
    "test: over",
];

/// What is booted: the hypervisor, the first domain's kernel, and its files.
pub(crate) struct Host {
    hypervisor: PathBuf,
    kernel: PathBuf,
    initrd: PathBuf,
}

/// An address that the guest has; the first domain is [`HERE`], as VIF has it.
pub(crate) const GUEST: &str = "10.0.3.2/24";
pub(crate) const HERE: &str = "10.0.3.1";

/// Fetches what is not there yet, and packs the first domain with what was exported: an HTTP server called `http`.
pub(crate) fn host(exported: &Path) -> Result<Host> {
    let dir = target().join("debian");
    let hypervisor = packages::dependency("xen-system-amd64", "xen-hypervisor-4")?;
    let version = hypervisor.trim_start_matches("xen-hypervisor-").trim_end_matches("-amd64").to_owned();
    let (tools, library) = (format!("xen-utils-{version}"), format!("libxenmisc{version}"));
    let mut names = PACKAGES.to_vec();
    names.extend([hypervisor.as_str(), &tools, &library]);
    let files = packages::unpacked(&dir.join("xen-files"), &names, &[])?;
    let kernel = packages::dependency("linux-image-amd64", "linux-image-")?;
    let kernel_files = packages::unpacked(&dir.join("xen-kernel"), &[&kernel], &KERNEL_FILES)?;

    let packed = files.join(format!("boot/xen-{version}-amd64.gz"));
    let hypervisor = dir.join("xen.elf");
    let unpack = "gzip -dc \"$1\" > \"$2\"";
    read(command("sh", &["-c", unpack, "sh"]).arg(&packed).arg(&hypervisor))?;

    let system = dir.join("xen-dom0");
    if system.exists() {
        fs::remove_dir_all(&system)?;
    }
    for folder in [
        "bin",
        "dev",
        "etc/xen/scripts",
        "export",
        "lib",
        "lib64",
        "log",
        "proc",
        "run",
        "sys",
        "tmp",
        "var/lib/xen",
        "var/lib/xenstored",
        "var/log/xen",
        "var/run/xenstored",
    ] {
        fs::create_dir_all(system.join(folder))?;
    }
    let copy = |from: &Path, to: &str| -> Result<()> {
        fs::copy(from, system.join(to)).map_err(|e| format!("{}: {e}", from.display()))?;
        Ok(())
    };
    copy(&files.join("bin/busybox"), "bin/busybox")?;
    for program in ["xl", "xenstored", "xenconsoled", "xen-init-dom0"] {
        copy(&files.join(format!("usr/lib/xen-{version}/bin/{program}")), &format!("bin/{program}"))?;
    }
    for program in ["xenstore-read", "xenstore-write"] {
        copy(&files.join("usr/bin").join(program), &format!("bin/{program}"))?;
    }
    for folder in LIBRARY_FOLDERS {
        for entry in fs::read_dir(files.join(folder)).map_err(|e| format!("{folder}: {e}"))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // Each by the name that it is asked for, which for most is a link.
            let asked = entry.file_type()?.is_symlink()
                || name.split_once(".so.").is_some_and(|(_, version)| !version.contains('.'));
            if name.contains(".so") && asked && entry.path().is_file() {
                copy(&entry.path(), &format!("lib/{name}"))?;
            }
        }
    }
    copy(&system.join("lib/ld-linux-x86-64.so.2"), "lib64/ld-linux-x86-64.so.2")?;

    let release = packages::only_entry(&kernel_files.join("lib/modules"))?;
    let mut init = String::from("#!/bin/busybox sh\nexport PATH=/bin\n/bin/busybox --install -s /bin\n");
    for module in MODULES {
        let from =
            kernel_files.join("lib/modules").join(&release).join("kernel").join(module).with_extension("ko");
        let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        copy(&from, &format!("lib/{name}"))?;
        init += &format!("insmod /lib/{name}\n");
    }
    init += INIT;
    fs::write(system.join("init"), init)?;
    // Where the toolstack looks for it, if a configuration says nothing else.
    fs::write(system.join("etc/xen/scripts/vif-bridge"), VIF)?;
    fs::write(system.join("test"), TEST)?;
    fs::write(system.join("etc/xen/xl.conf"), "")?;
    read(command("chmod", &["+x"]).arg(system.join("init")).arg(system.join("etc/xen/scripts/vif-bridge")))?;
    for entry in fs::read_dir(exported)? {
        let entry = entry?;
        copy(&entry.path(), &format!("export/{}", entry.file_name().to_string_lossy()))?;
    }
    fs::write(system.join("empty.cfg"), EMPTY)?;
    let initrd = dir.join("xen-dom0.cpio");
    packages::initramfs(&system, &files.join("bin/busybox"), &initrd)?;
    Ok(Host { hypervisor, kernel: kernel_files.join(format!("boot/vmlinuz-{release}")), initrd })
}

/// Boots it, and looks for what must have been said. The error is the log.
pub(crate) fn run(host: &Host, log: &Path) -> Result<String> {
    let started = std::time::Instant::now();
    // `timeout`, for a hypervisor that hangs must not hang this.
    let mut qemu = command("timeout", &["240", "qemu-system-x86_64", "-accel", "tcg", "-M", "q35"]);
    // With SMAP the first domain dies, with MONITOR the idle loop.
    qemu.args(["-cpu", "EPYC,+svm,+npt,-smap,-smep,-monitor", "-smp", "1", "-m", "768"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(&host.hypervisor);
    qemu.args(["-append", "console=com1 cpuidle=0 dom0_mem=320M loglvl=error guest_loglvl=error"]);
    let kernel = format!("{} console=hvc0 quiet panic=-1 mitigations=off", host.kernel.display());
    qemu.args(["-initrd", &format!("{kernel},{}", host.initrd.display())]);
    let (_, said) = logged(&mut qemu, log)?;
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| line.starts_with("test: ")).collect();
    let missing = EXPECTED.iter().find(|words| !lines.iter().any(|line| line.contains(*words)));
    match missing {
        None => Ok(format!("HTTP, ping, shutdown and crash in {:.0} s", started.elapsed().as_secs_f64())),
        Some(words) => Err(format!("nothing said `{words}`:\n{said}").into()),
    }
}
